package hal_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"parley/hal"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func ms(n int) time.Time { return epoch.Add(time.Duration(n) * time.Millisecond) }

// script runs edges, written "d0" (down at 0 ms) or "u15", of one key, lets time pass until end, and writes the events the
// same way.
func script(t *testing.T, key hal.Key, edges string, end int) string {
	t.Helper()
	d := hal.NewDebounce(hal.DefaultTiming())
	var out []string
	note := func(events []hal.Event) {
		for _, e := range events {
			if e.Key != key {
				t.Errorf("event of another key: %+v", e)
			}
			s := fmt.Sprintf("%s@%d", e.Kind, e.At.Sub(epoch).Milliseconds())
			if e.Repeat > 0 {
				s += fmt.Sprintf("x%d", e.Repeat+1)
			}
			out = append(out, s)
		}
	}
	for _, f := range strings.Fields(edges) {
		var at int
		if _, err := fmt.Sscanf(f[1:], "%d", &at); err != nil {
			t.Fatal(err)
		}
		note(d.Edge(hal.Edge{Key: key, Down: f[0] == 'd' || f[0] == 'D', At: ms(at), Initial: f[0] == 'D' || f[0] == 'U'}))
	}
	note(d.Advance(ms(end)))
	if next := d.Next(); !next.IsZero() && !next.After(ms(end)) {
		t.Errorf("something is due at %v and was not done", next.Sub(epoch))
	}
	return strings.Join(out, " ")
}

func TestDebounce(t *testing.T) {
	chatter := func(from, to, every int) string {
		var b strings.Builder
		for at, down := from, true; at < to; at, down = at+every, !down {
			fmt.Fprintf(&b, "%c%d ", map[bool]byte{true: 'd', false: 'u'}[down], at)
		}
		return b.String()
	}
	for _, x := range []struct {
		name, edges string
		end         int
		want        string
	}{
		{"a clean press", "d0 u100", 1000, "leading@0 pressed@20 released@120"},
		{"bounces on the way down and up", "d0 u2 d3 u5 d9 u200 d201 u206", 1000, "leading@0 pressed@29 released@226"},
		{"a glitch gives its leading edge and nothing else", "d0 u5", 1000, "leading@0"},
		{"a glitch, then a press", "d0 u5 d100 u200", 1000, "leading@0 leading@100 pressed@120 released@220"},
		{"the line drops out during a press", "d0 u100 d110 u300", 1000, "leading@0 pressed@20 released@320"},
		{"a lost edge", "d0 d50 u100", 1000, "leading@0 pressed@20 released@120"},
		{"two presses", "d0 u100 d200 u300", 1000, "leading@0 pressed@20 released@120 leading@200x2 pressed@220x2 released@320"},
		{"three presses", "d0 u100 d200 u300 d500 u600", 1000, "leading@0 pressed@20 released@120 leading@200x2 pressed@220x2 released@320 leading@500x3 pressed@520x3 released@620"},
		{"two slow presses", "d0 u100 d500 u600", 1000, "leading@0 pressed@20 released@120 leading@500 pressed@520 released@620"},
		{"held short of holding", "d0 u1999", 20000, "leading@0 pressed@20 released@2019"},
		{"held short of long", "d0 u9999", 20000, "leading@0 pressed@20 holding@2000 released@10019"},
		{"a bounce when it becomes long", "d0 u9995 d10005 u10300", 20000, "leading@0 pressed@20 holding@2000 long-press@10005 released@10320"},
		{"long", "d0 u11000", 20000, "leading@0 pressed@20 holding@2000 long-press@10000 released@11020"},
		{"stuck and healed", "d0 u60000", 70000, "leading@0 pressed@20 holding@2000 long-press@10000 stuck@30000 released@60020 healed@60020"},
		{"stuck twice", "d0 u40000 d50000", 90000, "leading@0 pressed@20 holding@2000 long-press@10000 stuck@30000 released@40020 healed@40020 leading@50000 pressed@50020 holding@52000 long-press@60000 stuck@80000"},
		{"down from the start: no press, no reset", "D0 u20000 d21000 u21100", 30000, "leading@21000 pressed@21020 released@21120"},
		{"stuck from the start", "D0 u40000", 50000, "stuck@30000 healed@40020"},
		{"lost while stuck, and found up", "d0 U40000 d50000 u50100", 60000, "leading@0 pressed@20 holding@2000 long-press@10000 stuck@30000 released@40000 healed@40000 leading@50000 pressed@50020 released@50120"},
		{"lost while stuck, and found down", "d0 D40000", 80000, "leading@0 pressed@20 holding@2000 long-press@10000 stuck@30000 released@40000 healed@40000 stuck@70000"},
		{"up from the start", "U0 d100 u200", 1000, "leading@100 pressed@120 released@220"},
		{"chattering too fast to settle", chatter(0, 2000, 10), 5000, "leading@0 chattering@400 healed@2990"},
		{"chattering slowly enough to settle is not pressing", chatter(0, 2100, 21), 5000, ""},
		{"time runs backwards", "d100 u50 d110", 1000, "leading@100 pressed@130"},
	} {
		t.Run(x.name, func(t *testing.T) {
			if x.want == "" { // counted below
				events := script(t, hal.KeyMute, x.edges, x.end)
				head, tail, found := strings.Cut(events, "chattering@")
				if !found || strings.Contains(tail, "pressed") || !strings.HasSuffix(tail, "healed@3079") || strings.Count(head, "leading") > 21 {
					t.Errorf("got %s", events)
				}
				return
			}
			if got := script(t, hal.KeyMute, x.edges, x.end); got != x.want {
				t.Errorf("got  %s\nwant %s", got, x.want)
			}
		})
	}
}

// Whether the clock is looked at often or only when the next edge comes changes nothing.
func TestLateDeliveryChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		often, late := hal.NewDebounce(hal.DefaultTiming()), hal.NewDebounce(hal.DefaultTiming())
		var a, b []string
		at := 0
		for range rapid.IntRange(1, 60).Draw(t, "edges") {
			gap := rapid.SampledFrom([]int{1, 3, 10, 19, 20, 21, 50, 390, 1000, 11000, 31000}).Draw(t, "gap")
			for now := at; now < at+gap; now += 7 {
				a = note(a, often.Advance(ms(now)))
			}
			at += gap
			e := hal.Edge{Key: hal.Key(rapid.IntRange(0, hal.NumKeys).Draw(t, "key")), Down: rapid.Bool().Draw(t, "down"), At: ms(at)}
			a, b = note(a, often.Edge(e)), note(b, late.Edge(e))
		}
		a, b = note(a, often.Advance(ms(at+100000))), note(b, late.Advance(ms(at+100000)))
		if strings.Join(a, " ") != strings.Join(b, " ") {
			t.Fatalf("often: %v\nlate:  %v", a, b)
		}
	})
}

func note(to []string, events []hal.Event) []string {
	for _, e := range events {
		to = append(to, fmt.Sprintf("%s %s %v %d", e.Key, e.Kind, e.At.Sub(epoch), e.Repeat))
	}
	return to
}

// Whatever the wire does: every Pressed has its Leading before it and at most one Released behind it, and in the end, when
// the wire has been quiet, nothing is due for a key that is up.
func TestAnyWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := hal.NewDebounce(hal.DefaultTiming())
		var leading, pressed, ill bool
		var last time.Time
		check := func(events []hal.Event) {
			for _, e := range events {
				if e.At.Before(last) {
					t.Fatalf("%v before %v", e, last)
				}
				last = e.At
				switch e.Kind {
				case hal.Leading:
					if pressed {
						t.Fatal("leading edge during a press")
					}
					leading = true
				case hal.Pressed:
					if !leading || pressed {
						t.Fatalf("pressed: leading %v, pressed already %v", leading, pressed)
					}
					leading, pressed = false, true
				case hal.Released:
					if !pressed {
						t.Fatal("released without a press")
					}
					pressed = false
				case hal.Stuck, hal.Chattering:
					ill = true
				case hal.Healed:
					if !ill {
						t.Fatal("healed without having been ill")
					}
				}
			}
		}
		at := 0
		for range rapid.IntRange(1, 300).Draw(t, "edges") {
			at += rapid.SampledFrom([]int{0, 1, 2, 5, 19, 20, 25, 100, 500, 12000, 40000}).Draw(t, "gap")
			check(d.Edge(hal.Edge{Down: rapid.Bool().Draw(t, "down"), At: ms(at)}))
		}
		check(d.Edge(hal.Edge{Down: false, At: ms(at)}))
		check(d.Advance(ms(at + 5000)))
		if pressed || !d.Next().IsZero() {
			t.Fatalf("at rest: pressed %v, due %v", pressed, d.Next())
		}
	})
}

func TestNames(t *testing.T) {
	for k := hal.Key(0); k < hal.NumKeys; k++ {
		if got, err := hal.KeyByName(k.String()); err != nil || got != k {
			t.Errorf("%s: %v, %v", k, got, err)
		}
	}
	for l := hal.Lamp(0); l < hal.NumLamps; l++ {
		if got, err := hal.LampByName(l.String()); err != nil || got != l {
			t.Errorf("%s: %v, %v", l, got, err)
		}
	}
	if _, err := hal.KeyByName("hang-up"); err == nil || !strings.Contains(err.Error(), "volume-down") {
		t.Error(err)
	}
	if _, err := hal.LampByName("red"); err == nil {
		t.Error("a lamp that there is not")
	}
	if got := hal.Key(99).String(); got != "unknown(99)" {
		t.Error(got)
	}
}
