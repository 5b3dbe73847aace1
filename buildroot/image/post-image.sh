#!/bin/sh
# Usage: post-image.sh IMAGES BOARD
#
# Buildroot runs this when kernel, boot loader and root file system are in IMAGES. It makes of them
#   parley-BOARD.img   the whole disk, for flashing
#   kernel.itb         the kernel of a slot, with its device tree where the boot loader has none
# and rootfs.squashfs with kernel.itb is what an update carries. The data partition has the size PARLEY_DATA, such as 8G; 1G if not given.
set -eu
images=$1
board=$2
here=$(cd "$(dirname "$0")" && pwd)
folder=$here/../../board/$board
cd "$images"

# Times in file systems and headers are that of the release, which Buildroot gives.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-315532800}"
export E2FSPROGS_FAKE_TIME="$SOURCE_DATE_EPOCH"

rm -rf parley && mkdir parley
cp "$here/README.boot" parley/README.txt
[ ! -e "$folder/config.txt" ] || cp "$folder/config.txt" config.txt

# boot.cmd finds the partitions by their labels on the disk that it came from, and boots the kernel's image of a slot: with the device
# tree in it, if it has one, else with that at $fdt_addr, which firmware or QEMU has left there.
mkimage -A arm -T script -C none -n parley -d "$here/boot.cmd" boot.scr >/dev/null

# The device tree with the board's additions: the Raspberry Pi's firmware joins them itself, elsewhere they go into the kernel's image.
fdt=
if [ -e "$folder/parley.dtso" ]; then
	dtc -@ -q -I dts -O dtb -o parley.dtbo "$folder/parley.dtso"
	if [ -e config.txt ]; then
		mkdir -p rpi-firmware/overlays
		cp parley.dtbo rpi-firmware/overlays/
	else
		fdtoverlay -i "$(ls ./*.dtb)" -o parley.dtb.new parley.dtbo
		mv parley.dtb.new parley.fdt
		fdt=parley.fdt
	fi
fi

# The kernel, compressed unless it brings that along. Where it is put in memory is a fact of the board.
if [ -e zImage ]; then
	arch=arm kernel=zImage compression=none
else
	gzip -9nkf Image
	arch=arm64 kernel=Image.gz compression=gzip
fi
load=$(cat "$folder/kernel.load")
# Lines that are marked stay if there is what they are about: a device tree, and a file system in memory for a kernel that needs one.
marked() { if [ -n "$2" ]; then echo "s/^@$1@//"; else echo "/^@$1@/d"; fi; }
sed -e "$(marked FDT "$fdt")" -e "$(marked RD "$(ls initrd 2>/dev/null)")" \
	-e "s/@ARCH@/$arch/; s/@KERNEL@/$kernel/; s/@COMPRESSION@/$compression/; s/@LOAD@/$load/g" "$here/kernel.its" >kernel.its
mkimage -f kernel.its kernel.itb >/dev/null

# genimage wants a root file system to make others of; there is none to be made.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/root"
sed "s/@DATA@/${PARLEY_DATA:-1G}/" "$folder/genimage.cfg" >genimage.cfg
genimage --rootpath "$work/root" --tmppath "$work/tmp" --inputpath . --outputpath . --config genimage.cfg
