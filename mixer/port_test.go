package mixer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/audio"
	"parley/audio/g711"
	"parley/audio/g722"
	"parley/audio/opus"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAddRefuses(t *testing.T) {
	m := New(Config{Codecs: []audio.Codec{g711.PCMU()}})
	ok := g711.PCMU().Format()
	long, odd, rate, other := ok, ok, ok, ok
	long.Ptime, odd.Ptime, rate.SampleRate, other.Codec = 80, 15, 44100, "GSM"
	for _, f := range []audio.Format{long, odd, rate, other, {}} {
		if err := m.Add(Port{ID: 1, Packets: &leg{f: f}}); !errors.Is(err, ErrFormat) {
			t.Errorf("%+v: %v", f, err)
		}
	}
	if err := m.Add(Port{ID: 1, Packets: &leg{f: ok}, Frames: &ear{}}); !errors.Is(err, ErrPort) {
		t.Errorf("both sinks: %v", err)
	}
	if _, there := m.State(1); there {
		t.Error("a refused port is there")
	}
}

func TestGoneIsReportedOnceAndNeverAskedAgain(t *testing.T) {
	const n = 200 // more than are kept
	gone := make(chan PortID, n)
	block := make(chan struct{})
	m := New(Config{OnGone: func(id PortID) { <-block; gone <- id }})
	sources := make([]*script, n)
	sink := &ear{}
	for i := range n {
		sources[i] = &script{play: func(int, []int16) audio.Status { return audio.Gone }}
		p := Port{ID: PortID(i), Source: sources[i]}
		if i == 0 {
			p.Frames = sink
		}
		add(t, m, p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	deadline := time.After(10 * time.Second)
	for m.Stats().Ticks < 5 { // the tick goes on while nobody takes the reports
		select {
		case <-deadline:
			t.Fatal("no ticks")
		case <-time.After(time.Millisecond):
		}
	}
	close(block)
	seen := map[PortID]int{}
	for range n {
		select {
		case id := <-gone:
			seen[id]++
		case <-deadline:
			t.Fatalf("%d of %d reported", len(seen), n)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(seen) != n || len(gone) > 0 {
		t.Errorf("%d ports reported, want %d, each once", len(seen), n)
	}
	for i, s := range sources {
		if s.n != 1 {
			t.Fatalf("source %d was asked %d times", i, s.n)
		}
	}
	if st, _ := m.State(5); !st.Gone {
		t.Error("State does not tell")
	}
	if len(sink.pcm) > 480 {
		t.Error("a port that is gone still hears")
	}
}

func TestRemovedPortIsNeverTouchedAgain(t *testing.T) {
	m := New(Config{Codecs: []audio.Codec{anyL16()}})
	w, o := newMember(1, 8000, true), newMember(2, 48000, false)
	add(t, m, w.port(), o.port())
	m.SetHearing(everyone(1, 2))
	ticks(m, 10)
	m.Remove(1)
	m.Remove(1)
	m.Remove(99)
	packets, heard := w.leg.packets, len(w.src.heard)
	ticks(m, 10)
	if w.leg.packets != packets || len(w.src.heard) != heard {
		t.Error("the port was used after Remove")
	}
	mustEqual(t, "who stays", o.ear.pcm[12*480:], make([]int16, 8*480))
}

// A re-INVITE: the port is added again with another format. What it says goes on to be heard, and the new format starts at the
// next packet.
func TestPortIsReplaced(t *testing.T) {
	m := New(Config{Codecs: []audio.Codec{anyL16()}})
	w := newMember(1, 8000, true)
	e := &ear{}
	add(t, m, w.port(), Port{ID: 2, Source: tone(48000, 300, 2000), Frames: e})
	m.SetHearing(everyone(1, 2))
	ticks(m, 10)
	first := w.leg
	again := *w
	again.leg = legOf(16000, 20)
	again.rate = 16000
	add(t, m, again.port())
	ticks(m, 40)
	if first.packets != 5 || again.leg.packets != 20 || again.leg.empty > 0 {
		t.Errorf("%d packets of the old format, %d of the new (%d empty)", first.packets, again.leg.packets, again.leg.empty)
	}
	if db := heardDB(again.leg.pcm, 16000, 300, 2000); db < -0.5 {
		t.Errorf("the new format hears the tone at %.1f dB", db)
	}
}

// The same port added again, and again before a tick came: nobody hears a difference.
func TestPortIsReplacedByItself(t *testing.T) {
	run := func(again bool) (*leg, *ear, *counter) {
		c := &counter{rate: 8000}
		m := New(Config{Codecs: []audio.Codec{c}})
		l, e := legOf(8000, 20), &ear{}
		p := Port{ID: 1, Source: tone(8000, 300, 2000), Packets: l}
		add(t, m, p, Port{ID: 2, Source: tone(48000, 500, 2000), Frames: e})
		m.SetHearing(everyone(1, 2))
		for i := range 30 {
			if again && i%5 == 3 {
				add(t, m, p, p)
			}
			ticks(m, 1)
		}
		return l, e, c
	}
	l1, e1, _ := run(false)
	l2, e2, _ := run(true)
	mustEqual(t, "the leg", l2.pcm, l1.pcm)
	mustEqual(t, "the other", e2.pcm, e1.pcm)
}

func TestOddPtimesKeepTime(t *testing.T) {
	m := New(Config{Codecs: []audio.Codec{anyL16()}})
	var legs []*leg
	ids := []PortID{100}
	add(t, m, Port{ID: 100, Source: tone(8000, 300, 3000), Packets: legOf(8000, 20)})
	for i, ptime := range []int{10, 20, 30, 40, 50, 60, 30, 60} {
		l := legOf(8000, ptime)
		legs = append(legs, l)
		ids = append(ids, PortID(i))
		add(t, m, Port{ID: PortID(i), Source: silent(), Packets: l})
	}
	m.SetHearing(everyone(ids...))
	ticks(m, 120)
	for _, l := range legs {
		if want := 1200 / l.f.Ptime; l.packets != want || l.empty > 0 {
			t.Errorf("ptime %d: %d packets (%d empty), want %d", l.f.Ptime, l.packets, l.empty, want)
		}
		mustEqual(t, fmt.Sprint("ptime ", l.f.Ptime), l.pcm, legs[0].pcm)
	}
}

// realHall is an open room of legs with real codecs and a card, of which everybody talks now and then.
func realHall(tb testing.TB, n int) *Mixer {
	codecs := []audio.Codec{opus.New(opus.Options{}), g722.New(), g711.PCMU(), g711.PCMA()}
	m := New(Config{Codecs: codecs})
	ids := []PortID{1000}
	card := tone(48000, 300, 3000)
	add(tb, m, Port{ID: 1000, Source: card, Frames: &void{}})
	for i := range n {
		c := codecs[i%len(codecs)]
		loud := newLoop(uint64(i), 3000)
		s := &script{}
		s.play = func(k int, pcm []int16) audio.Status {
			if (k+i*40)%(40*n) > 60 {
				return audio.Silent
			}
			copy(pcm, loud.frames[k%20][:])
			return audio.Active
		}
		add(tb, m, Port{ID: PortID(i), Source: s, Packets: &void{f: c.Format()}})
		ids = append(ids, PortID(i))
	}
	m.SetHearing(everyone(ids...))
	return m
}

func TestTickAllocatesNothing(t *testing.T) {
	m := realHall(t, 16)
	one := m.plan.Load()
	m.SetHearing(Hearing{1: {2, 3}, 2: {1, 3}, 3: {1, 2}, 1000: {4, 5, 6}})
	two := m.plan.Load()
	m.plan.Store(one)
	ticks(m, 10)
	n := 0
	now := time.Unix(0, 0)
	allocs := testing.AllocsPerRun(400, func() {
		if n++; n%50 == 0 { // to and fro between two plans
			m.plan.Store(two)
		} else if n%50 == 25 {
			m.plan.Store(one)
		}
		m.Tick(now)
	})
	if allocs != 0 {
		t.Errorf("%v allocations per tick", allocs)
	}
}

func TestThreeHundredPorts(t *testing.T) {
	m := New(Config{Codecs: []audio.Codec{g711.PCMU(), g722.New()}})
	var ids []PortID
	var sinks []*recorder
	for i := range 300 {
		c := m.config.Codecs[i%2]
		s := silent()
		if i < 4 {
			s = tone(c.Format().SampleRate, 300+200*float64(i), 3000)
		}
		sinks = append(sinks, taped(t, c))
		if i > 5 {
			sinks[i].dec = nil
		}
		add(t, m, Port{ID: PortID(i), Source: s, Packets: sinks[i]})
		ids = append(ids, PortID(i))
	}
	m.SetHearing(everyone(ids...))
	ticks(m, 100)
	for i, s := range sinks {
		if len(s.packets) != 50 {
			t.Fatalf("port %d: %d packets", i, len(s.packets))
		}
		if i > 5 { // it hears all four, as the fourth and the fifth do
			if !bytes.Equal(s.packets[49], sinks[4+i%2].packets[49]) {
				t.Errorf("port %d is not sent the shared packet", i)
			}
			continue
		}
		for j := range 4 {
			db := heardDB(s.pcm, s.f.SampleRate, 300+200*float64(j), 3000)
			if i == j && db > -40 || i != j && (db < -1 || db > 1) {
				t.Errorf("port %d hears %d at %.1f dB", i, j, db)
			}
		}
	}
}

func TestChangesFromAnyGoroutineWhileTicking(t *testing.T) {
	m := New(Config{Codecs: []audio.Codec{g711.PCMU(), g722.New(), anyL16()}})
	var wait sync.WaitGroup
	var working atomic.Int32
	for g := range 4 {
		working.Add(1)
		wait.Go(func() {
			defer working.Add(-1)
			for i := range 150 {
				id := PortID(g*10 + i%7)
				switch i % 5 {
				case 0, 1, 2:
					w := newMember(id, rates[(i+g)%3], i%2 == 0)
					if err := m.Add(w.port()); err != nil {
						t.Error(err)
					}
				case 3:
					m.Remove(PortID(g*10 + (i+3)%7))
				case 4:
					h := Hearing{}
					for k := range 40 {
						h[PortID(k)] = []PortID{PortID(i % 40), PortID((i + k) % 40), PortID(k)}
					}
					m.SetHearing(h)
				}
				m.States(nil)
				m.State(id)
				m.Stats()
			}
		})
	}
	for working.Load() > 0 {
		ticks(m, 1)
	}
	wait.Wait()
	ticks(m, 2)
}
