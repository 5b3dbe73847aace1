# the binary that is flashed boots on a board's kernel, has its card, its keys and its lamps, and says how long that took.
soundcard
settings </dev/null
kernel=$(cat /run/kernel-seconds)
begin=$(uptime_s)
box
say "kernel ${kernel} s, system ${begin} s, $(grep -m 1 'parley is ready' /run/box.log), at $(uptime_s) s"
said 'no sound card is used' && fail 'the box has not found the sound card'
until_ 10 is card_open 1 || fail 'the sound card is not open'
[ "$(wget -q -O - http://127.0.0.1:8080/readyz | grep -c ok)" -ge 1 ] || fail 'the box is not ready'
parley version
