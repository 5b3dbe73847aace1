#!/bin/sh
# Usage: scripts/check.sh [SECONDS]
#
# What a change is looked at for besides its tests: formatting, vet, modules, the house's layout, the list of what the firmware is made of,
# known vulnerabilities of that, and SECONDS (5) of every fuzz target.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-5}

echo "check: gofmt"
unformatted=$(find . -path ./dist -prune -o -name "*.go" -print | xargs gofmt -l) # dist has copies of what others have written
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

echo "check: what the firmware is made of"
go run ./scripts/sbom -o dist/parley.cdx.json

echo "check: known vulnerabilities"
scripts/vulns.sh

# Go's fuzzer sometimes calls the end of its own time a failure; what it has really found, it writes down as an input.
fuzz() {
	log=$(mktemp)
	if go test -run '^$' -fuzz "^$1\$" -fuzztime "${seconds}s" -parallel 2 "$2" </dev/null >"$log" 2>&1 ||
		{ grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input written' "$log"; }; then
		tail -n 1 "$log"
		rm -f "$log"
		return 0
	fi
	cat "$log" >&2
	rm -f "$log"
	return 1
}

# Targets are found in the sources; each runs alone, as Go's fuzzer wants it.
grep -r --include='*_test.go' --exclude-dir=dist -o '^func Fuzz[A-Za-z0-9_]*' . | sed 's|^\./||; s|:func | |' | sort |
	while read -r file target; do
		echo "check: fuzz $(dirname "$file") $target"
		fuzz "$target" "./$(dirname "$file")" || exit 1
	done
echo "check: done"
