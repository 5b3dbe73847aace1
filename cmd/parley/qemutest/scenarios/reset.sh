# the reset key, held for ten seconds, resets the box: the lamp tells while it is held, letting go in time changes nothing, and
# afterwards nothing is left but the box's identity.
settings </dev/null
box
mkdir -p /data/identity
echo kept >/data/identity/kept
echo gone >/data/gone
ask key reset down
sleep 4
shows status flurry
ask key reset up
shows status off
[ -e /data/gone ] || fail 'a key that was let go has reset the box'
ask key reset down
until_ 25 not test -e /data/gone || fail 'the box does not reset itself'
wait_log 'parley is ready' 60 2
ask key reset up
[ -e /data/identity/kept ] || fail 'the identity is gone'
shows status off
