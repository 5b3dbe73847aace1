#!/bin/sh
# Usage: scripts/image.sh [-n] BOARD
#
# Builds build/BOARD/images/parley-BOARD.img, a disk to be flashed, with the Buildroot in the folder $BUILDROOT and a data partition of
# $PARLEY_DATA (1G). The program must have been built (make firmware). With -n it only looks whether it could.
set -eu
cd "$(dirname "$0")/.."

look=
if [ "${1:-}" = -n ]; then
	look=1
	shift
fi
board=${1:-}
release=$(sed -n 's/^const Release = "\(.*\)"$/\1/p' buildroot/buildroot.go)
boards=$(cd buildroot/configs && for c in *; do c=${c#parley_}; echo "${c%_defconfig}"; done | tr '\n' ' ')

die() { echo "image: $*" >&2; exit 1; }

[ -n "$board" ] || die "which board? make image BOARD=NAME, with NAME one of: $boards"
[ -e "buildroot/configs/parley_${board}_defconfig" ] || die "there is no board $board; there are: $boards"
[ -n "${BUILDROOT:-}" ] || die "BUILDROOT=FOLDER has to name Buildroot $release (git clone --depth 1 -b $release https://gitlab.com/buildroot.org/buildroot.git)"
found=$(sed -n 's/^export BR2_VERSION := //p' "$BUILDROOT/Makefile" 2>/dev/null || true)
[ -n "$found" ] || die "$BUILDROOT is not Buildroot"
[ "$found" = "$release" ] || die "$BUILDROOT is Buildroot $found, and this is written for $release"
[ -z "$look" ] || exit 0
case $(sed -n '/^BR2_aarch64=y$/p' "buildroot/configs/parley_${board}_defconfig") in
'') program=dist/parley-armv7 ;;
*) program=dist/parley-arm64 ;;
esac
[ -x $program ] || die "there is no $program: make firmware"

output=$PWD/build/$board
mkdir -p "$output"
make -C "$BUILDROOT" O="$output" BR2_EXTERNAL="$PWD/buildroot" "parley_${board}_defconfig"
# A finished package is not built again by itself.
rm -rf "$output"/build/parley-*
make -C "$BUILDROOT" O="$output"
echo "image: $output/images/parley-$board.img"
