package main_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/phonetest"
)

// The two machines that firmware is made for, and the emulator that runs each.
var armMachines = []struct{ name, emulator, kind string }{
	{"armv7", "qemu-arm-static", "ARM, EABI5"},
	{"arm64", "qemu-aarch64-static", "ARM aarch64"},
}

// armBinary is one of the images in the folder PARLEY_ARM_BINARIES, which `make test-arm` builds and names.
func armBinary(t *testing.T, machine string) string {
	t.Helper()
	folder := os.Getenv("PARLEY_ARM_BINARIES")
	if folder == "" {
		t.Skip("needs the firmware: make test-arm builds it")
	}
	return filepath.Join(folder, "parley-"+machine)
}

// Each image is static, no larger than 12 MB, and runs with nothing of its machine's system around it.
func TestARMImages(t *testing.T) {
	for _, m := range armMachines {
		t.Run(m.name, func(t *testing.T) {
			image := armBinary(t, m.name)
			info, err := os.Stat(image)
			if err != nil {
				t.Fatal(err)
			}
			if info.Size() > 12_000_000 {
				t.Errorf("%d bytes, and 12 MB are allowed", info.Size())
			}
			kind := phonetest.Start(t, t.TempDir(), "file", "-b", image)
			kind.Wait(10 * time.Second)
			if said := kind.Tail(1); !strings.Contains(said, "statically linked") || !strings.Contains(said, m.kind) {
				t.Errorf("file says: %s", said)
			}
			version := phonetest.Start(t, t.TempDir(), m.emulator, image, "version")
			if code := version.Wait(30 * time.Second); code != 0 {
				t.Errorf("version ends with %d: %s", code, version.Tail(5))
			}
		})
	}
}

// Each image takes two calls to 1000: what one caller says the other one hears, and itself it does not.
func TestARMTakesCalls(t *testing.T) {
	for _, m := range armMachines {
		t.Run(m.name, func(t *testing.T) {
			image := armBinary(t, m.name)
			port := phonetest.PortBlock(t)
			dir := t.TempDir()
			settings := filepath.Join(dir, "box.yaml")
			text := fmt.Sprintf(`listen: {sip_udp: ["127.0.0.1:%d"], sip_tcp: [], sip_tls: []}
rtp: {first: %d, last: %d}
mqtt: {listen: "127.0.0.1:%d"}
http: {listen: "127.0.0.1:%d"}
card: {device: file}
place: {join_at_start: false}
`, port, port+4, port+39, port+1, port+2)
			if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			box := phonetest.Start(t, dir, m.emulator, image, "run", "-config", settings, "-data", filepath.Join(dir, "data"), "-plain")
			box.WaitLine("parley is ready", time.Minute)

			const level = -12.0
			phone := func(name, codec string, freq float64) *phonetest.Baresip {
				p := phonetest.StartBaresip(t, phonetest.BaresipConfig{
					Name: name, Codecs: []string{codec}, Says: phonetest.Tone(48000, freq, level, time.Second),
				})
				p.Dial(fmt.Sprintf("sip:1000@127.0.0.1:%d", port))
				p.Expect("CALL_ESTABLISHED", 30*time.Second)
				return p
			}
			low, high := phone("low", phonetest.PCMU, 440), phone("high", phonetest.Opus, 1000)
			phonetest.Eventually(t, 2*time.Minute, "both have heard each other for two seconds", func() bool {
				return low.Heard(0).Tone(1000).Above(level-6) >= 20 && high.Heard(0).Tone(440).Above(level-6) >= 20
			})
			for _, p := range []*phonetest.Baresip{low, high} {
				p.Hangup()
				p.Expect("CALL_CLOSED", 30*time.Second)
			}
			for _, ear := range []struct {
				phone       *phonetest.Baresip
				other, self float64
			}{{low, 1000, 440}, {high, 440, 1000}} {
				heard := ear.phone.Heard(0)
				// The other came later or left earlier: the best quarter of the windows has it whole.
				if got := heard.Tone(ear.other).Quantile(0.75); math.Abs(got-level) > 3 {
					t.Errorf("the other's %.0f Hz is heard at %.1f dBFS, and was said at %.0f", ear.other, got, level)
				}
				if got := heard.Tone(ear.self).Median(); got > level-40 {
					t.Errorf("its own %.0f Hz comes back at %.1f dBFS", ear.self, got)
				}
			}
			box.Stop()
			if code := box.ExitCode(); code != 0 {
				t.Errorf("the box ends with %d", code)
			}
		})
	}
}
