# the audio loop stands in the middle of a call: the box notices, is started again within two seconds, muted, takes
# its call up, and tells once why.
soundcard
settings </dev/null
box
is muted 0 || press mute
until_ 5 is muted 0 || fail 'the key does not open the microphone'
press join
call 1000 /tmp/far.wav 60 1000
caller=$!
until_ 10 is calls 1 || fail 'the call is not up'
room /tmp/room.wav 40 440
sleep 3
guest freeze "$(pidof parley)" parley-mixer >/tmp/frozen &
until_ 5 grep -q frozen /tmp/frozen || fail 'the thread is not stopped'
stopped=$(guest now)
wait_log 'a part of the box stands" part=mixer' 5
say "seen after $(($(guest now) - stopped)) ms"
wait_log 'parley is ready' 20 2
took=$(($(guest now) - stopped))
say "ready again after $took ms"
between 0 $took 2000 'the time until the box is back, ms,'
is muted 1 || fail 'the place is not muted after a restart'
lit mute || fail 'the mute lamp is dark'
until_ 20 is calls 1 || fail 'the call is lost'
wait_log 'the last run did not end in order.*mixer' 5
kill -INT $caller
wait $caller || true
