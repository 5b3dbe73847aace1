#!/bin/sh
# Usage: post-build.sh TARGET BOARD
#
# Buildroot runs this when everything is in TARGET, before the root file system is made of it.
set -eu
target=$1
here=$(dirname "$0")

mkdir -p "$target/boot" "$target/data"

# Ours go first: mdev takes the first line that fits.
if ! grep -q '^gpiochip' "$target/etc/mdev.conf"; then
	cat "$here/mdev.conf" "$target/etc/mdev.conf" >"$target/etc/mdev.conf.new"
	mv "$target/etc/mdev.conf.new" "$target/etc/mdev.conf"
fi

# The firmware's own entry for /boot, on boards that have one, would mount it writable.
sed -i '\|[[:space:]]/boot[[:space:]]|d' "$target/etc/fstab"

# What is asked of the network must have somewhere to go.
ln -sfn ../run/resolv.conf "$target/etc/resolv.conf"
