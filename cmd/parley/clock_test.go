package main

import (
	"fmt"
	"testing"
	"time"
)

const thisBoot, lastBoot = "b-2", "b-1"

func clockAt(text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return at
}

// A clock that is past everything known to have passed is believed, and one that is not, is not: not before a network has set it.
func TestTheClockAtTheStart(t *testing.T) {
	for _, c := range []struct {
		name, now, saved string
		guessed, synced  bool
		want             bool
	}{
		{"first start", "2026-11-22T10:00:00Z", "", false, false, true},
		{"no clock on the board", "1970-01-01T00:00:07Z", "", false, false, false},
		{"later than it last ran", "2026-11-22T10:00:00Z", "2026-11-21T10:00:00Z\n", false, false, true},
		{"before it last ran", "2026-11-22T10:00:00Z", "2026-11-23T10:00:00Z\n", false, false, false},
		{"put right by a little", "2026-11-22T10:00:00Z", "2026-11-22T10:02:00Z\n", false, false, true},
		{"before it last ran, and in step", "2026-11-22T10:00:00Z", "2026-11-23T10:00:00Z\n", false, true, true},
		{"in step with nonsense", "1970-01-01T00:00:07Z", "", false, true, false},
		{"set forward by the program", "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z\n", true, false, false},
		{"set forward since the machine started", "2026-11-22T10:05:00Z", "2026-11-22T10:00:00Z guessed " + thisBoot + "\n", false, false, false},
		{"set forward, and in step since", "2026-11-22T10:05:00Z", "2026-11-22T10:00:00Z guessed " + thisBoot + "\n", false, true, true},
		{"guessed before the machine started", "2026-11-22T10:05:00Z", "2026-11-22T10:00:00Z guessed " + lastBoot + "\n", false, false, true},
		{"a file of nonsense", "2026-11-22T10:00:00Z", "soon\n", false, false, true},
		{"a file from too far", "2026-11-22T10:00:00Z", "2200-01-01T00:00:00Z\n", false, false, true},
		{"an empty file", "1970-01-01T00:00:07Z", "\n", false, false, false},
	} {
		if got := newClock(clockAt(c.now), c.saved, thisBoot, c.guessed, c.synced).set.Load(); got != c.want {
			t.Errorf("%s: believed %v, want %v", c.name, got, c.want)
		}
	}
}

// A clock that was not set is believed once it is in step, or once somebody has moved it, and never because time passes.
func TestTheClockIsSet(t *testing.T) {
	began := time.Now()
	// A look at the clock so long after the start, at which somebody has moved it by so much.
	at := func(passed, moved time.Duration) time.Time {
		now := began.Add(passed) // with a monotonic reading
		if moved != 0 {
			now = began.Add(passed).Add(moved).Round(0) // such as cannot be had of a real clock without setting it
		}
		return now
	}
	guess := func() *clock { return newClock(began, "", thisBoot, true, false) }
	c := guess()
	for i := range 100 {
		if c.look(at(time.Duration(i)*time.Hour, 0), false) {
			t.Fatalf("believed after %d hours by itself", i)
		}
	}
	if text := c.text(at(100*time.Hour, 0)); text != began.Add(100*time.Hour).UTC().Format(time.RFC3339)+" guessed "+thisBoot+"\n" {
		t.Errorf("kept as %q", text)
	}
	if !c.look(at(101*time.Hour, 0), true) || !c.set.Load() || c.look(at(102*time.Hour, 0), true) {
		t.Error("in step, and not believed, or told twice")
	}
	if text := c.text(began); text != began.UTC().Format(time.RFC3339)+"\n" {
		t.Errorf("kept as %q", text)
	}

	// Before the floor, where the program may not set it: whoever sets it past the floor is believed.
	c = newClock(clockAt("1970-01-01T00:01:00Z"), "2026-11-22T10:00:00Z\n", thisBoot, false, false)
	if c.look(clockAt("1970-01-01T00:02:00Z"), false) || c.look(clockAt("2026-11-20T00:00:00Z"), false) {
		t.Error("believed before the floor")
	}
	if text := c.text(clockAt("1970-01-01T00:03:00Z")); text != "2026-11-22T10:00:00Z\n" {
		t.Errorf("kept as %q", text)
	}
	if !c.look(clockAt("2026-11-22T11:00:00Z"), false) {
		t.Error("set past the floor, and not believed")
	}
}

// The floor is the latest of what is known to have passed.
func TestTheClocksFloor(t *testing.T) {
	defer func(was string) { built = was }(built)
	for _, c := range []struct{ built, saved, want string }{
		{"", "", "2026-01-01T00:00:00Z"},
		{"nonsense", "", "2026-01-01T00:00:00Z"},
		{fmt.Sprint(clockAt("2027-03-01T00:00:00Z").Unix()), "", "2027-03-01T00:00:00Z"},
		{fmt.Sprint(clockAt("2027-03-01T00:00:00Z").Unix()), "2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"},
		{fmt.Sprint(clockAt("2027-03-01T00:00:00Z").Unix()), "2027-04-01T00:00:00Z", "2027-04-01T00:00:00Z"},
		{fmt.Sprint(clockAt("2300-03-01T00:00:00Z").Unix()), "", "2026-01-01T00:00:00Z"},
	} {
		built = c.built
		at, _ := parseClock(c.saved)
		if got := floorOf(at).UTC().Format(time.RFC3339); got != c.want {
			t.Errorf("built %q, last ran %q: %s, want %s", c.built, c.saved, got, c.want)
		}
	}
}

func FuzzClock(f *testing.F) {
	for _, s := range []string{"", "2026-11-22T10:00:00Z\n", "2026-11-22T10:00:00Z guessed b\n", "9999-99-99T99:99:99Z", "0000-01-01T00:00:00Z guessed"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, _ := parseClock(text)
		if floor := floorOf(at); floor.Before(firstBuild) || floor.After(latestClock) {
			t.Errorf("%q makes the floor %v", text, floor)
		}
	})
}
