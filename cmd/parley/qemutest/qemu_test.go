package qemutest

import (
	"os"
	"strings"
	"testing"
	"time"
)

// inside are the scenarios that need nothing but the guest. They run in the time of the guest's own instructions, so that nothing is late
// however busy this machine is.
var inside = []struct {
	name    string
	timeout time.Duration // by this machine's clock
	// What the scenario is about: with broken in its place it must fail.
	promise, broken string
}{
	{"boot", 4 * time.Minute, "soundcard\n", ""},
	{"mute", 4 * time.Minute, "sleep 4\npress mute\nuntil_ 2 lit mute || fail 'the mute lamp stays dark'\n", "sleep 4\n"},
	{"sound", 4 * time.Minute, "room.wav 16 440", "room.wav 16 0"},
	{"stuck", 4 * time.Minute, "ask key volume-up down", ""},
	{"card", 6 * time.Minute, "echo snd_aloop.0 >/sys/bus/platform/drivers/snd_aloop/bind", ""},
	{"lamps", 8 * time.Minute, "conf record 1500 start", ""},
	{"reset", 4 * time.Minute, "ask key reset down\nuntil_", "until_"},
	{"stall", 6 * time.Minute, "guest freeze \"$(pidof parley)\" parley-mixer", "echo frozen"},
}

func TestInside(t *testing.T) {
	for _, a := range Archs() {
		t.Run(a.Name, func(t *testing.T) {
			for _, s := range inside {
				t.Run(s.name, func(t *testing.T) {
					g := Boot(t, Config{Arch: a, Scenario: s.name})
					g.Wait(s.timeout)
				})
			}
		})
	}
}

// Each scenario fails when what it promises is taken out of it. On one machine, and when asked for.
func TestBroken(t *testing.T) {
	if os.Getenv("PARLEY_QEMU_BROKEN") == "" {
		t.Skip("PARLEY_QEMU_BROKEN=1 breaks each scenario")
	}
	for _, s := range inside {
		t.Run(s.name, func(t *testing.T) {
			path := "scenarios/" + s.name + ".sh"
			script, err := scripts.ReadFile(path)
			if err != nil || strings.Count(string(script), s.promise) != 1 {
				t.Fatalf("%s: %v, %q is in it %d times", path, err, s.promise, strings.Count(string(script), s.promise))
			}
			g := Boot(t, Config{Arch: Archs()[0], Scenario: s.name, Files: map[string][]byte{
				path: []byte(strings.Replace(string(script), s.promise, s.broken, 1)),
			}})
			if g.ends(s.timeout) == 0 {
				t.Errorf("nobody notices without %q", s.promise)
			}
			t.Log(g.Said("FAILED"))
		})
	}
}

// a watchdog resets the machine when the program is stopped. In real time, by which a watchdog counts.
func TestWatchdog(t *testing.T) {
	for _, a := range Archs() {
		t.Run(a.Name, func(t *testing.T) {
			folder(t, "PARLEY_QEMU_KERNELS")
			g := Boot(t, Config{Arch: a, Scenario: "watchdog", RealTime: true, Disk: NewDisk(t, 64) + ",cache=unsafe"})
			g.Wait(6 * time.Minute)
		})
	}
}
