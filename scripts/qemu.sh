#!/bin/sh
# Usage: scripts/qemu.sh
#
# Brings what a guest of `make qemu-test` is made of besides our own programs: Debian's kernels for armv7 and arm64 with the
# modules that guests load, and a static busybox, in the versions and with the hashes named here. They come from the mirror that
# this machine's apt uses and are kept under the hash of this recipe, by default in ~/.cache/parley/qemu. Prints the folder: in
# it are ARCH/vmlinuz, ARCH/busybox and ARCH/modules/*.ko, ARCH being armv7 or arm64.
set -eu
cd "$(dirname "$0")/.."

kernel=6.1.0-50
pins='
ddd1d8dd0c6beabb9eb96bcfab26549eb30c63331bae31de481ffae4af0e982a  armv7 pool/main/l/linux/linux-image-6.1.0-50-armmp_6.1.176-1_armhf.deb
2f68dbeaebeda49f3cde34ac421d5add85fb1c837ff7c4a4971945340d9d66ff  armv7 pool/main/b/busybox/busybox-static_1.35.0-4+deb12u1+b1_armhf.deb
914f75b57a8e165d85fb910c3e2dcc7000a05a9fea3f42f90b26e8dd590d5f06  arm64 pool/main/l/linux-signed-arm64/linux-image-6.1.0-50-arm64_6.1.176-1_arm64.deb
732c9135564fc71337e0e05fb4da4d11e6c28c1834bce3e405e575afef2a52f5  arm64 pool/main/b/busybox/busybox-static_1.35.0-4+deb12u1+b1_arm64.deb
'
# Where the modules are that a guest may load; what they depend on is among them.
modules='arch/*/crypto crypto drivers/block/virtio_blk.ko drivers/char/virtio_console.ko drivers/char/hw_random drivers/net/virtio_net.ko
drivers/net/net_failover.ko drivers/virtio drivers/watchdog fs/ext4 fs/fat fs/jbd2 fs/mbcache.ko fs/nls fs/squashfs lib net/core sound/core sound/drivers sound/soundcore.ko sound/usb'

say() { echo "qemu: $*" >&2; }
die() { say "$*"; exit 1; }

cache=${PARLEY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/parley}/qemu/$(sha256sum scripts/qemu.sh | cut -c1-16)
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ -e "$cache/complete" ]; then
	echo "$cache"
	exit 0
fi

targets=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages')
mirror=$(echo "$targets" | sed -n 's/^Debian Debian main //p' | head -n 1)
[ -n "$mirror" ] || die "apt knows no Debian mirror yet: as root, type: apt-get update"

echo "$pins" | sed '/^$/d' | while read -r sum arch path; do
	deb=$cache/$(basename "$path")
	say "fetching $(basename "$path")"
	# It checks the hash itself, and removes what is wrong.
	/usr/lib/apt/apt-helper -qq -o APT::Sandbox::User=root download-file "${mirror%/}/$path" "$deb" "SHA256:$sum" >"$cache/log" 2>&1 ||
		{ cat "$cache/log" >&2; die "if the mirror no longer has this version, change the pins in $0"; }
	dir=$cache/$arch
	mkdir -p "$dir/unpack" "$dir/modules"
	case $path in
	*/busybox-static_*)
		dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir/unpack" ./bin/busybox
		mv "$dir/unpack/bin/busybox" "$dir/busybox"
		;;
	*)
		dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir/unpack" ./boot ./lib/modules
		mv "$dir/unpack/boot/vmlinuz-$kernel-"* "$dir/vmlinuz"
		for m in $modules; do
			# shellcheck disable=SC2086
			find "$dir/unpack/lib/modules/"*/kernel/$m -name '*.ko' -exec mv -t "$dir/modules" {} +
		done
		;;
	esac
	rm -rf "$dir/unpack" "$deb"
done
rm -f "$cache/log"
touch "$cache/complete"
echo "$cache"
