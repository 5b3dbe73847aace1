# the whole program is stopped: the machine's watchdog resets the machine, and the place is muted when it comes back. (A disk is needed.)
disk
settings </dev/null
if [ -e /data/stopped ]; then
	box
	say "ready again at $(uptime_s) s"
	is muted 1 || fail 'the place is not muted after a reset'
	exit 0
fi
[ -c /dev/watchdog ] || fail 'there is no watchdog'
box
is muted 0 || press mute
until_ 5 is muted 0 || fail 'the key does not open the microphone'
sleep 2
touch /data/stopped
sync
kill -STOP "$(pidof parley)"
say 'stopped'
sleep 120
fail 'the watchdog has not reset the machine'
