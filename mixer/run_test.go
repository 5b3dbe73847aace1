package mixer

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"parley/audio"
)

func TestScheduleIsAbsolute(t *testing.T) {
	const ms = int64(time.Millisecond)
	s := schedule{next: 1000 * ms}
	for _, c := range []struct {
		name      string
		now       int64
		run, skip int
		next      int64
	}{
		{"too early", 999 * ms, 0, 0, 1000},
		{"on time", 1000 * ms, 1, 0, 1010},
		{"3 ms late: the next one is not", 1013 * ms, 1, 0, 1020},
		{"a tick missed", 1035 * ms, 2, 0, 1040},
		{"200 ms late: all are made up for", 1240 * ms, 21, 0, 1250},
		{"later than that: one is run, the others are not", 1461 * ms, 1, 21, 1470},
		{"an hour", 3601470 * ms, 1, 360000, 3601480},
		{"and back on time", 3601480 * ms, 1, 0, 3601490},
	} {
		run, skip := s.due(c.now)
		if run != c.run || skip != c.skip || s.next != c.next*ms {
			t.Errorf("%s: %d run, %d skipped, next at %d ms; want %d, %d, %d", c.name, run, skip, s.next/ms, c.run, c.skip, c.next)
		}
	}
}

func TestSkippedTicksKeepTheSinksInTime(t *testing.T) {
	m := New(Config{Codecs: []audio.Codec{anyL16()}})
	a, b := legOf(8000, 20), legOf(16000, 30)
	add(t, m, Port{ID: 1, Packets: a}, Port{ID: 2, Source: tone(16000, 300, 3000), Packets: b})
	m.SetHearing(Hearing{1: {2}})
	m.tick.skip(12) // before there was a plan
	ticks(m, 12)
	m.tick.skip(25)
	ticks(m, 11)
	if a.packets != 48/2 || b.packets != 48/3 {
		t.Errorf("48 ticks gave %d packets of 20 ms and %d of 30", a.packets, b.packets)
	}
	if a.empty != 12 {
		t.Errorf("%d empty packets, want 12", a.empty)
	}
}

// tickTimes notes when the mixer drains.
type tickTimes struct{ at chan time.Time }

func (d tickTimes) Drain(now time.Time) {
	select {
	case d.at <- now:
	default:
	}
}

func TestRunTicksEveryTenMilliseconds(t *testing.T) {
	d := tickTimes{at: make(chan time.Time, 1000)}
	m := New(Config{Drain: d})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	first := <-d.at
	var last time.Time
	for range 30 {
		last = <-d.at
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// A busy machine may be late with any tick, but never early, and what was skipped is counted.
	want := 30 * audio.FrameDuration
	if got := last.Sub(first); got < want-2*lateness-m.Stats().Worst {
		t.Errorf("31 ticks took %v", got)
	}
	s := m.Stats()
	if s.Ticks < 31 || s.Worst <= 0 || s.CPU <= 0 {
		t.Errorf("stats: %+v", s)
	}
	t.Logf("%+v", s)
}

func TestRunGoesOnWithoutThePriorityThatItCannotHave(t *testing.T) {
	var said bytes.Buffer
	d := tickTimes{at: make(chan time.Time, 1)}
	m := New(Config{Drain: d, Priority: 1000, Log: slog.New(slog.NewTextHandler(&said, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	<-d.at
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "priority") {
		t.Errorf("Run said %q", said.String())
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	m := New(Config{OnGone: func(PortID) {}})
	if err := m.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n := m.Stats().Ticks; n != 0 {
		t.Errorf("%d ticks after the end", n)
	}
}
