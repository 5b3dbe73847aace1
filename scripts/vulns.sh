#!/bin/sh
# Usage: scripts/vulns.sh [PACKAGE...]
#
# Looks whether known vulnerabilities of modules can be reached from the packages (./...), with govulncheck, pinned here. It fails when there
# are any. Its database is on the network; PARLEY_VULNDB names another (https://… or file://…). Where neither tool nor database can be
# reached it says in one line that nothing was checked, and does not fail, unless PARLEY_VULNDB is set.
set -eu
cd "$(dirname "$0")/.."
tool=golang.org/x/vuln/cmd/govulncheck@v1.8.0

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# unchecked WHY
unchecked() {
	echo "vulns: NOT CHECKED for known vulnerabilities: $1"
	[ -z "${PARLEY_VULNDB:-}" ] || exit 1
	exit 0
}

# Outside the module: its go.mod is not the tool's.
(cd "$dir" && GOBIN="$dir" GOFLAGS='' go install "$tool") >"$dir/log" 2>&1 ||
	unchecked "$tool cannot be fetched ($(tail -n 1 "$dir/log"))"
status=0
# shellcheck disable=SC2086
"$dir/govulncheck" ${PARLEY_VULNDB:+-db "$PARLEY_VULNDB"} "${@:-./...}" >"$dir/log" 2>&1 || status=$?
case $status in
0)
	echo "vulns: $(grep -m 1 'vulnerabilities' "$dir/log")"
	;;
3) # what it is there for
	cat "$dir/log" >&2
	exit 1
	;;
*)
	if grep -q 'fetching vulnerabilities' "$dir/log"; then
		unchecked "the database cannot be reached from here ($(grep -m 1 'fetching vulnerabilities' "$dir/log" | sed 's/.*: //'))"
	fi
	cat "$dir/log" >&2
	exit 1
	;;
esac
