#!/bin/sh
# Usage: go build $(scripts/lean.sh) …
#
# Prints the flags by which go builds with what stands in scripts/_lean in place of others' files, and prepares what they name:
# copies of those modules in dist/.lean, a go.mod that points there, and an overlay for files of Go's own library.
#
# scripts/_lean/IMPORTPATH/FILE.go stands in for that file of that package, FILE.go.patch changes it. Each begins with the SHA-256 of the file
# that it was made for: after an upgrade of a module nothing is built until somebody has looked at it again; of Go itself, the original is used. docs/firmware.md tells why and how.
set -eu
cd "$(dirname "$0")/.."
export GOFLAGS=-buildvcs=false

die() { echo "lean: $*" >&2; exit 1; }

lean=dist/.lean
mkdir -p dist
exec 9>dist/.lean.lock
flock 9

# place FILE puts one file of scripts/_lean into its place.
place() {
	name=$(basename "$1" .patch)
	facts=$(go list -f '{{.Dir}} {{with .Module}}{{.Path}} {{.Dir}}{{else}}std -{{end}}' "$(dirname "$1")") || die "$1: no such package"
	# shellcheck disable=SC2086
	set -- "$1" $facts
	original=$2/$name module=$3 root=$4
	made=$(sed -n '1s/.* //p' "scripts/_lean/$1")
	is=$(sha256sum "$original" | cut -c1-64)
	if [ "$made" != "$is" ] && [ "$module" = std ]; then # another Go than the one it was made for: a larger program, and no worse
		echo "lean: Go's own $name is another one here, and is used as it is" >&2
		return
	fi
	[ "$made" = "$is" ] || die "scripts/_lean/$1 was made for another $name (now $is): compare them, then write that into its first line"
	if [ "$module" = std ]; then
		to=$new/std/$(dirname "$1")
		mkdir -p "$to"
		cp "$original" "$to/$name"
		printf '%s"%s": "%s"' "$comma" "$original" "$PWD/$lean/${to#"$new"/}/$name" >>"$new/overlay.json"
		comma=,
	else
		to=$new/$module${2#"$root"}
		if ! [ -d "$new/$module" ]; then
			mkdir -p "$(dirname "$new/$module")"
			cp -R "$root" "$new/$module"
			chmod -R u+w "$new/$module"
			go mod edit -replace "$module=./$lean/$module" "$new/go.mod"
		fi
	fi
	case $1 in
	*.patch) patch -s -F0 "$to/$name" "scripts/_lean/$1" >&2 || die "scripts/_lean/$1 does not apply" ;;
	*) cp "scripts/_lean/$1" "$to/$name" ;;
	esac
}

# What is there stays if it was made of the same: of this script, these files, this go.mod, this Go, in this folder.
stamp=$({ cat scripts/lean.sh go.mod go.sum; go version; go env GOROOT; pwd; find scripts/_lean -type f | sort | xargs sha256sum; } | sha256sum)
if [ "$(cat $lean/stamp 2>/dev/null)" != "$stamp" ]; then
	new=$lean.new
	rm -rf $new $lean
	mkdir -p $new
	cp go.mod go.sum $new/
	printf '{"Replace": {' >$new/overlay.json
	comma=
	for f in $(cd scripts/_lean && find . -type f | sed 's|^\./||' | sort); do place "$f"; done
	echo '}}' >>$new/overlay.json
	echo "$stamp" >$new/stamp
	mv $new $lean
fi
echo "-modfile=$lean/go.mod -overlay=$lean/overlay.json"
