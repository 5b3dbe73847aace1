#!/bin/sh
# Usage: scripts/bench.sh [REGEXP]
#
# All benchmarks of all packages, or those that match, one after another, so that they do not measure each other. It says first
# on what machine and how busy that is: docs/performance.md tells how to read the figures.
set -eu
cd "$(dirname "$0")/.."
export GOFLAGS="${GOFLAGS:--tags=nolibopusfile -buildvcs=false}"

printf 'machine: %s × %s, Linux %s, %s\n' "$(nproc)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
	"$(uname -r)" "$(go env GOVERSION)"
printf 'load averages at the start: %s\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
go test -p 1 -run '^$' -bench "${1:-.}" -benchmem -timeout 60m ./...
printf 'load averages at the end: %s\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
