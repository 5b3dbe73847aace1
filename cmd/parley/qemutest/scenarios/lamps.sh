# what each lamp shows, for what can be brought about: the ladder from idle to recording. (A fault is in stuck and card.)
settings </dev/null
box
conf() { parleyctl conf "$@" -data /data -as 2001; }
lit mute && press mute
until_ 5 not lit mute || fail 'the mute lamp is lit, and the microphone is open'
shows status off
press join
shows status on
press join
shows status off
conf create -number 1500 -theme Lamps -speakers 1 -host-password 480913 -guest-password 115577 100
call 1500 /tmp/far.wav 300 0 -from 2001 -dtmf '480913#'
wait_log 'number=100 conference=1500 state=alerting' 30
shows status fast # the host is in, and the conference calls the place
press join
shows status on
conf floor 1500 ask 100
shows status double-flash # the host has the floor
conf floor 1500 grant 100 2001
shows status slow
conf record 1500 start
shows status wink
press mute
until_ 5 lit mute || fail 'the mute lamp is dark, and the microphone is closed'
conf record 1500 stop
conf room 1500 open 100 2001
shows status double-wink
conf end 1500
shows status off
lit mute || fail 'the end of a conference has opened the microphone'
