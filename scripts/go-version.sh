#!/bin/sh
# Fails, with one line that says what was found and what is needed, unless the Go on the PATH is as new as go.mod asks for.
set -eu
cd "$(dirname "$0")/.."

needed=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' go.mod)
if ! command -v go >/dev/null; then
	echo "parley: needs Go $needed or later on the PATH, and there is no go there" >&2
	exit 1
fi
# The release in use, asked for outside any module: an old go stumbles over a newer go.mod.
found=$(cd / && GOFLAGS='' GOTOOLCHAIN=local go env GOVERSION)
version=${found#go}
major=${version%%.*}
minor=${version#*.}
minor=${minor%%[!0-9]*}
case $major$minor in
'' | *[!0-9]*) exit 0 ;; # a development build of Go: let it try
esac
if [ "$major" -lt "${needed%.*}" ] || { [ "$major" -eq "${needed%.*}" ] && [ "$minor" -lt "${needed#*.}" ]; }; then
	echo "parley: needs Go $needed or later, and $(command -v go) is $found" >&2
	exit 1
fi
