# A power cut loses neither settings nor recordings: what has been left by the last one is told to the host, and then the box works until the next.
# Words: what it shall work at, and the highest version of settings that anybody has sent.
set -- $words
disk
mkdir -p /etc/parley
cat >/etc/parley/parley.yaml <<YAML
board: $board
data: /data
box: box-1
card: {device: file, volume: 0, microphone: "", speaker: /tmp/speaker.wav}
place: {name: "0", join_at_start: true}
recording: {reserve_mb: 1, quota_mb: 10}
YAML
box
dmesg | grep -i 'ext4.*error' && fail 'the file system has errors'
until_ 30 look || fail 'the box tells nothing of itself' # it may begin anew, with what was on trial
ask note settings "$(setting place name) $(setting card volume)"
settled() { [ "$(guest recordings /data | grep -c running)" -le 1 ]; }
running() { guest recordings /data | grep -q running; }
until_ 20 settled || fail 'recordings that were cut off are not finished'
guest recordings /data >/tmp/recordings
put /tmp/recordings
ask note ready "$(uptime_s)"
case $1 in
settings)
	version=$2
	while :; do
		version=$((version + 1))
		ask note sent $version
		outcome=$(guest desired -version $version -settings "{\"place\":{\"name\":\"$version\"},\"card\":{\"volume\":$((version % 100))}}")
		ask note "$outcome" $version
		ask note going $version
	done
	;;
recording)
	# What was on trial when the power was cut may be tried again, and the box begin anew for it: then it is recorded anew.
	record() { running || { parleyctl conf record 1000 start -data /data -role admin && running; }; }
	until_ 40 record || fail 'nothing is recorded'
	ask note going 1
	while :; do
		at=$(guest now)
		if running; then ask note now "$at"; else record || true; fi >/dev/null 2>&1
	done
	;;
esac
