# a tone from the room is found at the far end, one from there in the room, and nothing is missing of either.
soundcard
settings </dev/null
box
press mute
until_ 5 is muted 0 || press mute
room /tmp/room.wav 16 440
press join
call 1000 /tmp/far.wav 12 1000
wait
put /tmp/far.wav
put /tmp/room.wav
say "far end: $(ask tone far.wav 440 2 10) dBFS of the room; room: $(ask heard room.wav 1000 -26) tenths of a second of the far end"
between -24 "$(ask tone far.wav 440 2 10)" -16 'the level of the room at the far end, dBFS,'
between 78 "$(ask heard far.wav 440 -26 2 10)" 80 'the windows with the room at the far end'
between 110 "$(ask heard room.wav 1000 -26)" 122 'the windows with the far end in the room'
between 0 "$(metric card_xruns_total)" 0 'the number of xruns'
between 0 "$(metric rtp_missing_total)" 0 'the number of packets missing'
