# X-5, X-6: the join key calls the number of the settings, a telephone outside, and the sound is there both ways; pressed again it hangs up.
# Words: our SIP port, the telephone's, which believes that it is at 127.0.0.1.
set -- $words
network
guest relay udp 127.0.0.1:$2 10.0.2.2:$2 &
soundcard
settings <<YAML
place: {join: "sip:phone@10.0.2.2:$2"}
listen: {lan: true, rtp: 0.0.0.0, sip_udp: ["0.0.0.0:$1"], sip_tcp: [], sip_tls: []}
rtp: {first: $(($1 + 4)), last: $(($1 + 11))}
sip: {advertise: 127.0.0.1}
YAML
box
is muted 0 || press mute
until_ 5 is muted 0 || fail 'the key does not open the microphone'
room /tmp/room.wav 20 440
room=$!
press join
until_ 20 is calls 1 || fail 'the join key calls nobody'
until_ 5 lit status || fail "the status lamp is dark in a call"
wait $room
[ "$(metric calls)" = 1 ] || fail 'the call has ended by itself'
press join
until_ 10 is calls 0 || fail 'the join key does not hang up'
until_ 5 not lit status || fail "the status lamp is lit after the call"
put /tmp/room.wav
say "room: $(ask heard room.wav 1000 -30) tenths of a second of the telephone"
between 20 "$(ask heard room.wav 1000 -30)" 200 'what the room heard of the telephone, in tenths of a second,'
