#!/bin/sh
# All benchmarks of all packages, one after another, so that they do not measure each other.
set -eu
cd "$(dirname "$0")/.."
exec go test -p 1 -run '^$' -bench . -benchmem -timeout 60m ./...
