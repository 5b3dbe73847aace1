package hal_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley/hal"
	"parley/hal/haltest"
)

// rhythm is two seconds of a pattern, a letter for 100 ms.
func rhythm(p hal.Pattern) string {
	var b strings.Builder
	for i := range 20 {
		b.WriteByte(".#"[map[bool]int{true: 1}[hal.Blink(p, time.Duration(i)*100*time.Millisecond)]])
	}
	return b.String()
}

// the ladder, and that no two rungs look the same.
func TestLadder(t *testing.T) {
	looks := map[string]hal.State{}
	only := map[string]hal.State{rhythm(hal.OnlyLamp(true, 0)): 99, rhythm(hal.OnlyLamp(true, hal.States(0).With(hal.StateFault))): 98,
		rhythm(hal.OnlyLamp(true, hal.States(0).With(hal.StateResetting))): 97}
	for s := hal.State(0); s < hal.NumStates; s++ {
		var all hal.States
		for below := s; below < hal.NumStates; below++ {
			all = all.With(below)
		}
		if all.Top() != s || hal.StatusLamp(all) != hal.StatusLamp(hal.States(0).With(s)) {
			t.Errorf("%s does not stand above what follows it", s)
		}
		r := rhythm(hal.StatusLamp(all))
		if other, twice := looks[r]; twice {
			t.Errorf("%s looks like %s: %s", s, other, r)
		}
		looks[r] = s
		patterns := []hal.Pattern{hal.OnlyLamp(false, all), hal.OnlyLamp(false, all.With(hal.StateFault))}
		if held := rhythm(hal.OnlyLamp(false, all.With(hal.StateResetting))); s > hal.StateReset && !strings.HasPrefix(held, "#.#.#.#.#.") {
			t.Errorf("one lamp: %s hides that the reset key is held: %s", s, held)
		}
		switch s {
		case hal.StateFault, hal.StateResetting:
			continue // a burst on top of the others
		case hal.StateReset:
			patterns = patterns[:1] // nothing comes on top
		}
		for _, p := range patterns {
			if other, twice := only[rhythm(p)]; twice {
				t.Errorf("one lamp: %s looks like %s: %s", s, other, rhythm(p))
			}
			only[rhythm(p)] = s
		}
	}
	if hal.States(0).Top() != hal.StateIdle || rhythm(hal.StatusLamp(0)) != strings.Repeat(".", 20) {
		t.Error("nothing to show is not dark")
	}
}

// A board with one lamp: mute above all, fault and a held reset key as a blink on top.
func TestOnlyLamp(t *testing.T) {
	ringing := hal.States(0).With(hal.StateRinging, hal.StateRecording)
	for _, x := range []struct {
		muted  bool
		states hal.States
		want   string
	}{
		{true, ringing, "####################"},
		{true, ringing.With(hal.StateFault), "###############.#.#."},
		{true, ringing.With(hal.StateFault, hal.StateResetting), "#.#.#.#.#.##########"},
		{false, hal.States(0).With(hal.StateFault, hal.StateResetting), "#.#.#.#.#..........."},
		{false, hal.States(0).With(hal.StateInCall, hal.StateReset, hal.StateResetting), "###################."},
		{false, 0, "...................."},
		{false, hal.States(0).With(hal.StateFault), "..............#.#.#."},
		{false, ringing, "#########.#########."},
		{false, hal.States(0).With(hal.StateInCall, hal.StateFault), "##########....#.#.#."},
	} {
		if got := rhythm(hal.OnlyLamp(x.muted, x.states)); got != x.want {
			t.Errorf("muted %v, %b:\ngot  %s\nwant %s", x.muted, x.states, got, x.want)
		}
	}
}

func TestBlinkOutsideItsRange(t *testing.T) {
	if hal.Blink(hal.Pattern(0x7f), time.Second) || !hal.Blink(hal.On, -time.Hour) || hal.Blink(hal.Off, 1<<62) {
		t.Error("a pattern that there is not lights, or a steady one does not")
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

func TestBlinker(t *testing.T) {
	defer goleak.VerifyNone(t)
	var lamps haltest.Lamps
	var mu sync.Mutex
	var faults []error
	b := hal.NewBlinker(&lamps, func(_ hal.Lamp, err error) {
		mu.Lock()
		defer mu.Unlock()
		faults = append(faults, err)
	})
	b.Show(hal.LampMute, hal.On)
	if !lamps.Lit(hal.LampMute) {
		t.Fatal("a lamp waits for Run")
	}
	b.Show(hal.NumLamps, hal.On) // a lamp that there is not
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- b.Run(ctx) }()
	b.Show(hal.LampStatus, hal.Flicker)
	blinks := func() (n int) {
		for _, c := range lamps.Changes() {
			if c.Lamp == hal.LampStatus && c.On {
				n++
			}
		}
		return n
	}
	eventually(t, "three blinks", func() bool { return blinks() >= 3 })

	broken := errors.New("no light")
	lamps.Break(broken)
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(faults) }
	eventually(t, "the fault is told", func() bool { return count() == 1 })
	lamps.Break(nil)
	eventually(t, "the healing is told", func() bool { return count() == 2 })
	if faults[0] != broken || faults[1] != nil {
		t.Errorf("told %v", faults)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if lamps.Lit(hal.LampMute) || lamps.Lit(hal.LampStatus) {
		t.Error("a lamp burns after the end")
	}
}

// Keys, debounce and clock together: a press comes through, and Listen ends with its keys.
func TestListen(t *testing.T) {
	defer goleak.VerifyNone(t)
	keys := haltest.NewKeys()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	events, ended := make(chan hal.Event, 10), make(chan error, 1)
	go func() {
		ended <- hal.Listen(ctx, keys, hal.DefaultTiming(), func(e hal.Event) { events <- e })
	}()
	keys.Down(ctx, hal.KeyJoin)
	for _, want := range []hal.Kind{hal.Leading, hal.Pressed} {
		select {
		case e := <-events:
			if e.Key != hal.KeyJoin || e.Kind != want {
				t.Fatalf("got %+v, want %s", e, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("no %s", want)
		}
	}
	keys.Up(ctx, hal.KeyJoin)
	if e := <-events; e.Kind != hal.Released {
		t.Fatalf("got %+v", e)
	}
	lost := errors.New("unplugged")
	keys.Fail(lost)
	if err := <-ended; !errors.Is(err, lost) {
		t.Errorf("ended with %v", err)
	}

	go func() { ended <- hal.Listen(ctx, keys, hal.DefaultTiming(), func(hal.Event) {}) }()
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}
