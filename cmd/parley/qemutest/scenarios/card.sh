# the sound card goes in the middle of a call and comes back: the call goes on, the lamp tells, and the sound is back by itself.
soundcard
settings </dev/null
box
press mute
until_ 5 is muted 0 || press mute
press join
call 1000 /tmp/far.wav 40 1000
caller=$!
until_ 10 is calls 1 || fail 'the call is not up'
room /tmp/before.wav 5 440
wait $!
echo snd_aloop.0 >/sys/bus/platform/drivers/snd_aloop/unbind &
wait_log 'msg="sound card" state=\(lost\|absent\|stalled\)' 10
until_ 10 is card_open 0 || fail 'the box believes that the card is open'
wait $!
shows status flicker
is calls 1 || fail 'the call has gone with the card'
echo snd_aloop.0 >/sys/bus/platform/drivers/snd_aloop/bind
until_ 15 is card_open 1 || fail 'the card does not come back'
back=$(uptime_s)
room /tmp/after.wav 5 440
wait $!
shows status on
is calls 1 || fail 'the call has ended'
kill -INT $caller
wait $caller
for f in before after far; do put /tmp/$f.wav; done
between 40 "$(ask heard before.wav 1000 -30)" 50 'what the room heard before'
between 40 "$(ask heard after.wav 1000 -30)" 50 'what the room heard after'
between 80 "$(ask heard far.wav 440 -30)" 110 'what the far end heard of the room, before and after,'
