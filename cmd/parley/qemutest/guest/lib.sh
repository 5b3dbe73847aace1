# What scenarios have in common. A scenario runs with "set -eu": what fails ends it.

# word NAME is what the kernel's command line says of parley.NAME.
word() { tr ' ' '\n' </proc/cmdline | sed -n "s/^parley\.$1=//p"; }

# ask WORD... asks the host, and prints its answer.
ask() {
	echo "$*" >&3
	IFS= read -r answer <&3 || exit 99
	case $answer in
	ok*) answer=${answer#ok} && echo "${answer# }" ;;
	*) echo "$*: ${answer#no }" >&2 && return 1 ;;
	esac
}

say() { echo "$*" && ask say "$*" >/dev/null; }
fail() { say "FAILED: $*" && exit 1; }
uptime_s() { read -r up rest </proc/uptime && echo "$up"; }

# load MODULE [PARAMETER...] loads a module and what it needs.
load() {
	module=$1
	shift
	for ko in $(sed -n "s/^$module //p" /lib/modules/order); do
		name=$(echo "${ko%.ko}" | tr - _)
		[ -d "/sys/module/$name" ] && [ -e "/sys/module/$name/initstate" ] && continue
		if [ "$name" = "$(echo "$module" | tr - _)" ]; then insmod "/lib/modules/$ko" "$@"; else insmod "/lib/modules/$ko"; fi
	done
}

# soundcard brings a card whose other side is heard and spoken to by room.
soundcard() { load snd-aloop pcm_substreams=1; }

# network brings the way to the host, which is 10.0.2.2.
network() {
	load virtio_net
	ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
	route add default gw 10.0.2.2
}

# disk brings the data folder that outlives this boot.
disk() {
	load crc32c_generic
	load ext4
	load virtio_blk
	until_ 5 test -b /dev/vda || fail 'there is no disk'
	mount -t ext4 /dev/vda /data
}

# settings writes the box's settings: what all scenarios have in common, and standard input.
settings() {
	mkdir -p /etc/parley /data
	{
		echo "board: $board"
		echo 'data: /data'
		echo 'card: {volume: 100, ducking: false}'
		echo 'meetings: {greet: false}'
		cat
	} >/etc/parley/parley.yaml
}

# box_begin has the image's own supervisor run the box, and again whenever it ends; box waits until it is ready.
box_begin() {
	cat >/lib/box <<'BOX'
#!/bin/sh
export PATH=/bin:/sbin PARLEY=/sbin/parley PARLEY_OWN_CONFIG=/none PARLEY_LOG=/none
exec >>/run/box.log 2>&1
echo $$ >/run/box.pid
exec /lib/supervise
BOX
	chmod +x /lib/box
	grep -q /lib/box /etc/inittab || echo '::respawn:/lib/box' >>/etc/inittab
	kill -HUP 1
}
box() {
	: >>/run/box.log
	box_begin
	wait_log 'parley is ready' 60
}

# box_end stops the box in order.
box_end() {
	sed -i '/\/lib\/box/d' /etc/inittab
	kill -HUP 1
	kill "$(cat /run/box.pid)"
	until_ 20 not pidof parley || fail 'the box does not end'
}

not() { ! "$@" >/dev/null 2>&1; }

# until_ SECONDS COMMAND... tries again and again until it succeeds.
until_() {
	end=$(($(date +%s) + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt "$end" ] || return 1
		sleep 0.05
	done
}

# wait_log TEXT [SECONDS [TIMES]] waits until the box has said so, so many times.
wait_log() { until_ "${2:-20}" said "$1" "${3:-1}" || fail "the box does not say: $1"; }
said() { [ "$(grep -c -e "$1" /run/box.log)" -ge "${2:-1}" ]; }

# look has the box tell what it is and has; setting SECTION KEY is one of the settings in force then.
look() { parleyctl support -data /data -o /tmp/bundle.gz && zcat /tmp/bundle.gz >/tmp/bundle; }
setting() { sed -n "/^$1:\$/,/^[a-z]*:\$/s/^  $2: \"*\([^\"]*\)\"*\$/\1/p" /tmp/bundle; }

# metric NAME is one of the box's figures, without decimals.
metric() { wget -q -O - http://127.0.0.1:8080/metrics | sed -n "s/^parley_$1 \([0-9-]*\).*/\1/p"; }
# is FIGURE VALUE fails unless it is.
is() { [ "$(metric "$1")" = "$2" ]; }

# press KEY [SECONDS]
press() {
	ask key "$1" down >/dev/null
	sleep "${2:-0.2}"
	ask key "$1" up >/dev/null
}

# lit LAMP fails unless it is lit.
lit() { [ "$(ask lamp "$1")" = 1 ]; }

# rhythm LAMP tells how it blinks: off, on, slow, fast and so on.
rhythm() {
	: >/tmp/looks
	end=$(($(date +%s) + 3))
	while [ "$(date +%s)" -lt "$end" ]; do
		read -r up rest </proc/uptime
		echo "$up $(ask lamp "$1")" >>/tmp/looks
		usleep 10000
	done
	put /tmp/looks
	ask rhythm looks
}

# shows LAMP RHYTHM fails unless the lamp blinks so, or comes to do so in 5 s.
shows() {
	for tries in 1 2; do
		seen=$(rhythm "$1") && [ "$seen" = "$2" ] && echo "the $1 lamp: $2" && return
	done
	fail "the $1 lamp: ${seen:-not understood}, and it should be $2"
}

# put FILE sends a file to the host, where ask tone, heard, loudest and seconds judge it by its name.
put() {
	{
		echo "file $(basename "$1") $(stat -c %s "$1")"
		cat "$1"
	} >&3
	IFS= read -r answer <&3 && [ "$answer" = 'ok ' ] || fail "$1 is not taken: $answer"
}

# room WAV SECONDS [HZ]: the people in the room, who hear and say a tone, on the other side of the card. In the background.
room() { guest sound -device plughw:CARD=Loopback,DEV=1 -record "$1" -for "${2}s" -tone "${3:-0}" & }

# call NUMBER WAV SECONDS [HZ [FLAG...]]: a telephone that calls the box, hears, and says a tone. In the background.
call() {
	number=$1 wav=$2 seconds=$3 hz=${4:-0}
	shift 3
	[ $# -eq 0 ] || shift
	parleyctl call "$number" -codec pcmu -record "$wav" -for "${seconds}s" -tone "$hz" "$@" &
}

# between LOW VALUE HIGH WHAT
between() { [ "$2" -ge "$1" ] && [ "$2" -le "$3" ] || fail "$4 is $2, and should be $1 to $3"; }
