package hal_test

import (
	"os"
	"regexp"
	"testing"

	"parley/hal"
)

// the page for the people in the room shows each rung of the ladder, in its order, as the lamps blink it.
func TestLampsPage(t *testing.T) {
	page, err := os.ReadFile("../docs/lamps.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| ([a-z, ]+) \\| `([#.]{20})` \\|")
	one := regexp.MustCompile(`(?m)^## A board with one lamp$`).FindIndex(page)
	if one == nil {
		t.Fatal("nothing on boards with one lamp")
	}
	rows := row.FindAllSubmatch(page[:one[0]], -1)
	if len(rows) != hal.NumStates {
		t.Fatalf("%d rungs on the page, %d in the ladder", len(rows), hal.NumStates)
	}
	for s := hal.State(0); s < hal.NumStates; s++ {
		if name, shown := string(rows[s][1]), string(rows[s][2]); name != s.String() || shown != rhythm(hal.StatusLamp(hal.States(0).With(s))) {
			t.Errorf("rung %d is %s, %s; the page has %s, %s", s, s, rhythm(hal.StatusLamp(hal.States(0).With(s))), name, shown)
		}
	}

	set := func(s ...hal.State) hal.States { return hal.States(0).With(s...) }
	differs := map[string]string{
		"in call":               rhythm(hal.OnlyLamp(false, set(hal.StateInCall))),
		"muted":                 rhythm(hal.OnlyLamp(true, set(hal.StateInCall))),
		"muted, and a fault":    rhythm(hal.OnlyLamp(true, set(hal.StateFault))),
		"a fault, idle":         rhythm(hal.OnlyLamp(false, set(hal.StateFault))),
		"a fault, in call":      rhythm(hal.OnlyLamp(false, set(hal.StateFault, hal.StateInCall))),
		"muted, reset key held": rhythm(hal.OnlyLamp(true, set(hal.StateResetting))),
	}
	for _, r := range row.FindAllSubmatch(page[one[0]:], -1) {
		if want := differs[string(r[1])]; want != string(r[2]) {
			t.Errorf("one lamp, %s: %s, the page has %s", r[1], want, r[2])
		}
		delete(differs, string(r[1]))
	}
	if len(differs) > 0 {
		t.Errorf("one lamp: the page lacks %v", differs)
	}
	// Everything else looks the same on the only lamp while the microphone is open, as the page says.
	for s := hal.StateRecording; s < hal.NumStates; s++ {
		if s != hal.StateInCall && hal.OnlyLamp(false, set(s)) != hal.StatusLamp(set(s)) {
			t.Errorf("one lamp: %s is another, and the page does not say so", s)
		}
	}
}
