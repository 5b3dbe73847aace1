package qemutest

import (
	"testing"
	"time"
)

// inside are the scenarios that need nothing but the guest. They run in the time of the guest's own instructions, so that nothing is late
// however busy this machine is.
var inside = []struct {
	name    string
	timeout time.Duration // by this machine's clock
}{
	{"boot", 4 * time.Minute},
	{"mute", 4 * time.Minute},
	{"sound", 4 * time.Minute},
	{"stuck", 4 * time.Minute},
	{"card", 6 * time.Minute},
	{"lamps", 6 * time.Minute},
	{"reset", 4 * time.Minute},
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
