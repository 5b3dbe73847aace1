#!/bin/sh
# Usage: scripts/need.sh PACKAGE...
#
# Installs what is missing of the named Debian packages, as root or through sudo; where neither is to be had it prints the
# one line to type and fails. Says nothing when nothing is missing. The package lists are refreshed only when apt cannot
# do without. A service that a package brings (mosquitto, janus) is neither started nor left enabled: the tests start their
# own, and a broker of the system's on the same port would be in the box's way.
set -eu

missing=
for p in "$@"; do
	case $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true) in
	installed) ;;
	*) missing="$missing $p" ;;
	esac
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "parley: needs$missing, and this is not Debian: install what corresponds, or use Debian 12" >&2
	exit 1
fi

line="apt-get update && apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" -eq 0 ]; then
	asroot=
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
	asroot=sudo
else
	echo "parley: some packages are missing; as root, type:" >&2
	echo "    $line" >&2
	exit 1
fi

echo "parley: installing$missing"
# shellcheck disable=SC2086
$asroot /bin/sh -s -- $missing <<'ROOT' && exit 0
set -eu
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
log=$(mktemp)
own=
trap 'rm -f "$log"; [ -z "$own" ] || rm -f "$policy"' EXIT
trap 'exit 130' INT TERM

apt() { apt-get -qq -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@"; }
install() { apt install -y --no-install-recommends "$@" >"$log" 2>&1; }

if [ ! -e "$policy" ]; then
	own=1
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
if ! install -s "$@" || ! install "$@"; then
	echo "parley: refreshing the package lists"
	# A mirror in the middle of an update fails one index; what is needed may be there all the same.
	apt update >"$log" 2>&1 || true
	if ! install "$@"; then
		cat "$log" >&2
		exit 1
	fi
fi
if [ -d /run/systemd/system ]; then
	for p in "$@"; do
		case $p in
		mosquitto | janus) systemctl --quiet disable "$p" >/dev/null 2>&1 || true ;;
		esac
	done
fi
ROOT

echo "parley: the packages could not be installed; to see why, as root, type:" >&2
echo "    $line" >&2
exit 1
