#!/bin/sh
# Usage: scripts/check.sh [SECONDS]
#
# What a change is looked at for besides its tests: formatting, vet, modules, the house's layout, and SECONDS (5) of every
# fuzz target.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-5}

echo "check: gofmt"
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "not formatted by gofmt:" "$unformatted" >&2; exit 1; }

# With -race, as in make test: then both share what is compiled.
echo "check: vet"
go vet -race ./...

echo "check: modules"
go mod verify
twice=$(sed -n 's/^[[:space:]]*\([a-z][^ ]*\.[^ ]*\/[^ ]*\) v.*/\1/p' go.mod | sort | uniq -d)
[ -z "$twice" ] || { echo "go.mod names more than once:" "$twice" >&2; exit 1; }

echo "check: layout"
go test -race -count=1 -run Layout ./cmd/parley/

# Targets are found in the sources; each runs alone, as Go's fuzzer wants it.
grep -r --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]*' . | sed 's|^\./||; s|:func | |' | sort |
	while read -r file target; do
		echo "check: fuzz $(dirname "$file") $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${seconds}s" -parallel 2 "./$(dirname "$file")" </dev/null || exit 1
	done
echo "check: done"
