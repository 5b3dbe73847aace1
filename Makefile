# Parley. `make` says what there is; docs/development.md says more.
#
# Each target brings what it needs: scripts/need.sh installs the missing Debian packages. Go itself is checked first.

SHELL := /bin/sh
.DEFAULT_GOAL := help

export GOFLAGS := -tags=nolibopusfile -buildvcs=false
export GOTOOLCHAIN := local
# Here nothing is skipped for want of a program: what is needed is installed.
export PARLEY_TOOLS := all
VERSION := $(shell git -c safe.directory='*' describe --tags --always --dirty 2>/dev/null || echo unknown)
export VERSION
# When the sources last changed: it is never earlier than that, which a board without a clock needs to know.
BUILT := $(shell git -c safe.directory='*' log -1 --format=%ct 2>/dev/null)
export BUILT

# What each target needs, as Debian packages. ca-certificates: Go fetches its modules by https.
BUILD := gcc libc6-dev pkg-config libopus-dev ca-certificates
RUN := $(BUILD) libasound2 libasound2-data
IMAGE := device-tree-compiler genimage mtools dosfstools e2fsprogs u-boot-tools squashfs-tools
TEST := $(RUN) opus-tools sip-tester baresip-core mosquitto mosquitto-clients espeak-ng iproute2 nftables procps openssl \
	patch shellcheck $(IMAGE)
CROSS := $(BUILD) gcc-arm-linux-gnueabihf gcc-aarch64-linux-gnu linux-libc-dev-armhf-cross linux-libc-dev-arm64-cross \
	binutils make patch tar bzip2 xz-utils file util-linux
ARM := $(CROSS) qemu-user-static baresip-core libasound2 libasound2-data
QEMU := $(ARM) qemu-system-arm u-boot-qemu fdisk gdisk mosquitto $(IMAGE)
BENCH := $(TEST) janus

# Seconds for each fuzz target in `make check`.
FUZZTIME ?= 5

.PHONY: help sbom run test test-arm qemu-test soak check bench firmware image prompts build go-version

help: ## say what there is
	@echo 'Parley, the firmware of a conference box. make TARGET, with TARGET one of'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r t d; do printf '  %-10s %s\n' "$$t" "$$d"; done
	@echo
	@echo 'On Debian 12 with git, make and Go, each brings what else it needs. No other set-up step exists.'

run: go-version ## build the box and run it here, on loopback, its data in ./data
	@scripts/need.sh $(RUN)
	@$(MAKE) --no-print-directory build
	@exec bin/parley run -data data

test: go-version ## vet, and all tests with the race detector
	@scripts/need.sh $(TEST)
	go vet -race ./...
	scripts/test.sh -timeout 15m -p 3 $$(go list ./... | grep -v '^parley/cmd/parley$$')
	@echo 'parley: whole boxes, with real telephones, in real time'
	scripts/test.sh -timeout 25m -parallel 6 ./cmd/parley

test-arm: go-version ## build the firmware and test it under qemu-user, armv7 and arm64
	@scripts/need.sh $(ARM)
	@scripts/firmware.sh
	PARLEY_ARM_BINARIES="$(CURDIR)/dist" go test -race -count=1 -timeout 15m -run ARM ./cmd/parley/

# For `make qemu-test`: which machines, which tests by a pattern of go test's, and how many power cuts.
ARCHS ?= armv7 arm64
TESTS ?= .
CUTS ?= 50

qemu-test: go-version ## test the firmware on real ARM kernels under QEMU: sound, keys, lamps, power cuts
	@scripts/need.sh $(QEMU)
	@ARCHS="$(ARCHS)" scripts/firmware.sh
	@ARCHS="$(ARCHS)" scripts/firmware.sh ./cmd/parleyctl dist/qemu/parleyctl
	@ARCHS="$(ARCHS)" scripts/firmware.sh ./cmd/parley/qemutest/guest dist/qemu/guest
	PARLEY_ARM_BINARIES="$(CURDIR)/dist" PARLEY_QEMU_TOOLS="$(CURDIR)/dist/qemu" PARLEY_QEMU_KERNELS="$$(scripts/qemu.sh)" \
		PARLEY_QEMU_ARCHS="$(ARCHS)" PARLEY_CUTS="$(CUTS)" go test -count=1 -timeout 4h -v -run '$(TESTS)' ./cmd/parley/qemutest

# Rounds of `make soak`.
SOAK ?= 200

soak: go-version ## kill the box at SOAK random moments (200) of conferences that go on
	@scripts/need.sh $(TEST)
	PARLEY_SOAK=$(SOAK) go test -race -count=1 -timeout 2h -run '^TestKilledAtAnyMoment$$' -v ./cmd/parley

check: go-version ## formatting, modules, layout, known vulnerabilities, and a few seconds of every fuzz target
	@scripts/need.sh $(TEST)
	@scripts/check.sh $(FUZZTIME)

bench: go-version ## all benchmarks
	@scripts/need.sh $(BENCH)
	@scripts/bench.sh

firmware: go-version ## dist/parley-armv7 and dist/parley-arm64, fully static
	@scripts/need.sh $(CROSS)
	@scripts/firmware.sh

sbom: go-version ## dist/parley.cdx.json, what the firmware is made of (CycloneDX)
	@scripts/need.sh patch ca-certificates
	@go run ./scripts/sbom -o dist/parley.cdx.json $(wildcard dist/parley-armv7 dist/parley-arm64)

# The disk of BOARD is built with the Buildroot in the folder BUILDROOT; PARLEY_DATA is the size of its data partition.
image: go-version ## build/BOARD/images/parley-BOARD.img: a disk to be flashed (BOARD=rpi4 BUILDROOT=FOLDER)
	@scripts/image.sh -n $(BOARD)
	@$(MAKE) --no-print-directory firmware
	@scripts/image.sh $(BOARD)

prompts: go-version ## make the spoken prompts anew, after a text of theirs has changed
	@scripts/need.sh $(TEST)
	go test -count=1 -run '^TestMake$$' -v ./audio/prompt -args -make

build:
	@mkdir -p bin
	@[ -x bin/parley ] || echo 'parley: building; the first time takes some minutes'
	@go build -ldflags '-X main.version=$(VERSION) -X main.built=$(BUILT)' -o bin/ ./cmd/...

go-version:
	@scripts/go-version.sh
