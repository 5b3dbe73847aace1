# X-3: what each lamp shows, for what can be brought about: the ladder from idle to recording. (A fault is in stuck and card.)
settings <<'YAML'
recording: {reserve_mb: 1, quota_mb: 10}
YAML
box
conf() { parleyctl conf "$@" -data /data -as 2001; }
lit mute && press mute
until_ 5 not lit mute || fail 'the mute lamp is lit, and the microphone is open'
shows status off
press join
shows status on
press join
shows status off
parleyctl conf create -data /data -as 100 -number 1500 -theme Lamps -speakers 1 -guest-password 115577
shows status fast # it calls the place, its host
press join
shows status slow # a host has the floor while it is free
call 1500 /tmp/far.wav 300 0 -from 2001 -dtmf '*115577#'
wait_log 'msg=moved .*number=2001' 30
parleyctl conf hand-over 1500 2001 -data /data -as 100
until_ 5 conf floor 1500 ask || true
conf floor 1500 grant 2001 100
shows status double-flash # who had the floor is the next in the queue
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
