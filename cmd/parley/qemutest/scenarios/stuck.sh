# X-3: a key that stays down is reported as stuck, one with a bad contact as chattering, and both heal.
settings <<'YAML'
keys: {stuck: 12s, reset_hold: 5s}
YAML
box
shows status off
ask key volume-up down
wait_log 'key=volume-up is=stuck' 20
shows status flicker
ask key volume-up up
wait_log 'key=volume-up is=healed' 20
shows status off
for n in $(seq 80); do
	echo 'key volume-down down' >&3 && read -r answer <&3
	echo 'key volume-down up' >&3 && read -r answer <&3
done
wait_log 'key=volume-down is=chattering' 5
wait_log 'key=volume-down is=healed' 20
shows status off
# A key that is down from the start is no press; nor does it keep the box from starting.
box_end
ask key mute down
box_begin
wait_log 'parley is ready' 60 2
wait_log 'key=mute is=stuck' 20
is muted 0 || fail 'a key that was down at the start has muted the place'
