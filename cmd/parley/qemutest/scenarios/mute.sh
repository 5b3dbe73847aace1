# the place begins muted or open as it was left; the mute key silences it for the far end, lights its lamp, and opens it again.
soundcard
settings </dev/null
box
is muted 0 || press mute
until_ 5 is muted 0 || fail 'the key does not open the microphone'
lit mute && fail 'the mute lamp is lit, and the microphone is open'
room /tmp/room.wav 14 440
press join
shows status on
call 1000 /tmp/far.wav 12 1000
sleep 4
press mute
until_ 2 lit mute || fail 'the mute lamp stays dark'
sleep 4
is muted 1 || fail 'the box does not call itself muted'
wait
put /tmp/far.wav
put /tmp/room.wav
between 25 "$(ask heard far.wav 440 -30)" 50 'what the far end heard of the room, in tenths of a second,'
between -120 "$(ask loudest far.wav -3 -0.2)" -70 'the level of what it heard after the key, dBFS,'
between 60 "$(ask heard room.wav 1000 -30)" 130 'what the room heard of the far end'
