package jitter

import (
	"bytes"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"
)

// listener plays from a Buffer as a leg does: every 10 ms of its own clock it takes 10 ms, and asks for more when it has less.
type listener struct {
	b      *Buffer
	clock  int
	turn   int
	heard  []run // not played yet
	slewed int   // ticks left out, less ticks put in
	idle   int   // frames
	filled int   // frames with Lost or Empty in them
	played []byte
}

type run struct {
	n  int
	as byte
}

func (l *listener) held() (n int) {
	for _, r := range l.heard {
		n += r.n
	}
	return n
}

// frame plays 10 ms and gives a letter for what was at its beginning: the packet's own, or one of
// "." idle, "x" lost, "f" lost with a following packet, "-" gap, "e" empty.
func (l *listener) frame(now time.Time) byte {
	need := l.clock / 100
	switch s := l.b.Slew(); {
	case s > 1 || s < -1:
		need += s / 2 * l.clock / 8000
	case s != 0:
		if l.turn++; l.turn%4 == 0 {
			need += s * l.clock / 8000
		}
	}
	l.slewed += need - l.clock/100
	for l.held() < need {
		it := l.b.Next(now, l.held())
		n, as := it.Ticks, byte('?')
		switch it.Kind {
		case Idle:
			n, as = need-l.held(), '.'
		case Play:
			n, as = int(it.Payload[1])*l.clock/100, it.Payload[0]
			l.b.Played(n)
			l.played = append(l.played, as)
		case Lost:
			as = 'x'
			if it.Next != nil {
				as = 'f'
			}
		case Gap:
			as = '-'
		case Empty:
			as = 'e'
		}
		if it.Skip < 0 || it.Skip > n && it.Kind != Play {
			panic("more is skipped than there is")
		}
		l.heard = append(l.heard, run{max(n-it.Skip, 0), as})
	}
	first := byte(0)
	for need > 0 {
		r := &l.heard[0]
		if r.n > 0 && first == 0 {
			first = r.as
		}
		k := min(need, r.n)
		need -= k
		if r.n -= k; r.n == 0 {
			l.heard = l.heard[1:]
		}
	}
	switch first {
	case '.':
		l.idle++
	case 'e', 'x', 'f':
		l.filled++
	}
	return first
}

var t0 = time.Unix(1700000000, 0)

type arrival struct {
	at   int // ms
	seq  int
	ts   int // ms since the stream's beginning; -1: a packet that is not sound
	dur  int // in 10 ms; 0: 2
	name byte
}

// stream makes packets of 20 ms, each named by a letter from 'A' on, that arrive as they are sent.
func stream(n int) []arrival {
	var a []arrival
	for i := range n {
		a = append(a, arrival{at: 20 * i, seq: i, ts: 20 * i, name: byte('A' + i%26)})
	}
	return a
}

// drive feeds the packets and plays for the given number of frames, with numbers that wrap in the middle.
func drive(l *listener, packets []arrival, frames int) string {
	const seq0, ts0 = 65533, 1<<32 - 300
	var out strings.Builder
	next := 0
	for f := range frames {
		now := t0.Add(time.Duration(10*f) * time.Millisecond)
		for next < len(packets) && packets[next].at <= 10*f {
			p := packets[next]
			next++
			if p.ts < 0 {
				l.b.Mark(uint16(seq0 + p.seq))
				continue
			}
			dur := byte(p.dur)
			if dur == 0 {
				dur = 2
			}
			l.b.Put(Packet{Seq: uint16(seq0 + p.seq), Timestamp: uint32(ts0 + p.ts*l.clock/1000),
				Arrived: t0.Add(time.Duration(p.at) * time.Millisecond), Payload: []byte{p.name, dur}})
		}
		out.WriteByte(l.frame(now))
	}
	return out.String()
}

func change(a []arrival, how func([]arrival) []arrival) []arrival { return how(a) }

func TestPlayout(t *testing.T) {
	drop := func(a []arrival, seqs ...int) []arrival {
		var out []arrival
		for _, p := range a {
			keep := true
			for _, s := range seqs {
				keep = keep && p.seq != s
			}
			if keep {
				out = append(out, p)
			}
		}
		return out
	}
	tests := []struct {
		name    string
		packets []arrival
		want    string
		count   Counters
	}{
		{"clean, across the wrap of both numbers", stream(6), "....AABBCCDDEEFF", Counters{Stored: 6, Restarts: 1}},
		{"reordered", change(stream(5), func(a []arrival) []arrival {
			a[2].at, a[1], a[2] = 20, a[2], a[1]
			a[2].at = 40
			return a
		}), "....AABBCCDDEE", Counters{Stored: 5, Restarts: 1}},
		{"the first two reordered", []arrival{{at: 0, seq: 1, ts: 20, name: 'B'}, {at: 0, seq: 0, ts: 0, name: 'A'},
			{at: 20, seq: 2, ts: 40, name: 'C'}}, "....AABBCC", Counters{Stored: 3, Restarts: 1}},
		{"duplicates, waiting and played", change(stream(4), func(a []arrival) []arrival {
			return []arrival{a[0], a[0], a[1], a[2], a[1], {at: 60, seq: 0, name: 'A'}, a[3]}
		}), "....AABBCCDD", Counters{Stored: 4, Duplicate: 3, Restarts: 1}},
		{"one lost, with the next one's help", drop(stream(6), 2), "....AABBffDDEEFF", Counters{Stored: 5, Lost: 1, Restarts: 1}},
		{"two lost", drop(stream(7), 2, 3), "....AABBxxffEEFFGG", Counters{Stored: 5, Lost: 2, Restarts: 1}},
		{"one too late", change(stream(6), func(a []arrival) []arrival {
			a[2].at = 90
			return []arrival{a[0], a[1], a[3], a[4], a[2], a[5]}
		}), "....AABBffDDEEFF", Counters{Stored: 5, Lost: 1, Late: 1, Restarts: 1}},
		{"late by a half: the rest of it is played", change(stream(3), func(a []arrival) []arrival {
			a[2].at = 90
			return a
		}), "....AABBeCe", Counters{Stored: 3, Restarts: 1}},
		{"a pause in the sender's timestamps", []arrival{{at: 0, seq: 0, ts: 0, name: 'A'}, {at: 40, seq: 1, ts: 40, name: 'B'}},
			"....AA--BB", Counters{Stored: 2, Restarts: 1}},
		{"events between sound", []arrival{{at: 0, seq: 0, ts: 0, name: 'A'}, {at: 20, seq: 1, ts: -1}, {at: 40, seq: 2, ts: -1},
			{at: 60, seq: 3, ts: 60, name: 'D'}}, "....AA----DD", Counters{Stored: 2, Restarts: 1}},
		{"packets of 10, 40 and 60 ms", []arrival{{at: 0, seq: 0, ts: 0, dur: 1, name: 'A'}, {at: 10, seq: 1, ts: 10, dur: 4, name: 'B'},
			{at: 50, seq: 2, ts: 50, dur: 6, name: 'C'}}, "....ABBBBCCCCCC", Counters{Stored: 3, Restarts: 1}},
		{"a stray number far away", change(stream(5), func(a []arrival) []arrival {
			return append(a[:3:3], arrival{at: 50, seq: 20000, ts: 20, name: '!'}, a[3], a[4])
		}), "....AABBCCDDEE", Counters{Stored: 5, Jumped: 1, Restarts: 1}},
		{"the sender began anew", []arrival{{at: 0, seq: 0, ts: 0, name: 'A'}, {at: 20, seq: 20000, ts: 90000, name: 'B'},
			{at: 40, seq: 20001, ts: 90020, name: 'C'}, {at: 60, seq: 20002, ts: 90040, name: 'D'}},
			"........CCDD", Counters{Stored: 3, Jumped: 1, Restarts: 2}},
		{"the sender has another time base", []arrival{{at: 0, seq: 0, ts: 0, name: 'A'}, {at: 20, seq: 1, ts: 20, name: 'B'},
			{at: 40, seq: 2, ts: 40, name: 'C'}, {at: 60, seq: 3, ts: 90000, name: 'D'}, {at: 80, seq: 4, ts: 90020, name: 'E'}},
			"....AA....DDEE", Counters{Stored: 5, Restarts: 2}},
		{"late and shorter than those before: time does not go back", []arrival{{at: 0, seq: 0, ts: 0, dur: 6, name: 'A'}, {at: 130, seq: 1, ts: 60, dur: 1, name: 'B'},
			{at: 130, seq: 2, ts: 70, dur: 6, name: 'C'}}, "....AAAAAAeeeeeeee", Counters{Stored: 3, Late: 1, Restarts: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := &listener{b: New(Config{ClockRate: 8000}), clock: 8000}
			got := drive(l, tt.packets, len(tt.want))
			if got != tt.want {
				t.Errorf("played %s\n   want %s", got, tt.want)
			}
			if c := l.b.Count(); c != tt.count {
				t.Errorf("counted %+v\n   want %+v", c, tt.count)
			}
		})
	}
}

func TestTooLongPayload(t *testing.T) {
	b := New(Config{ClockRate: 8000})
	if v := b.Put(Packet{Arrived: t0, Payload: make([]byte, MaxPayload+1)}); v != TooLong {
		t.Fatalf("a payload of %d bytes: verdict %d", MaxPayload+1, v)
	}
	if v := b.Put(Packet{Arrived: t0, Payload: make([]byte, MaxPayload)}); v != Stored {
		t.Fatalf("a payload of %d bytes: verdict %d", MaxPayload, v)
	}
}

// A stream that stops and comes back much later, with its clock running on, is played from its first packet.
func TestPauseOfSeconds(t *testing.T) {
	a := stream(3)
	for i := range 3 {
		a = append(a, arrival{at: 5000 + 20*i, seq: 3 + i, ts: 5000 + 20*i, name: byte('P' + i)})
	}
	l := &listener{b: New(Config{ClockRate: 8000}), clock: 8000}
	got := drive(l, a, 520)
	if want := "....AABBCC" + strings.Repeat("e", 100) + strings.Repeat(".", 394) + "PPQQRR"; !strings.HasPrefix(got, want) {
		t.Errorf("played %s\n   want %s", got, want)
	}
}

// Reorder and duplicates within the target give the same packets at the same moments as the clean run.
func TestDisorderWithinTargetIsInaudible(t *testing.T) {
	for seed := range int64(20) {
		r := rand.New(rand.NewSource(seed))
		clean := stream(1500)
		var messy []arrival
		for i, p := range clean {
			if i > 0 && r.Float64() < 0.02 {
				p.at += 10 + r.Intn(26)
			}
			messy = append(messy, p)
			if r.Float64() < 0.02 {
				messy = append(messy, arrival{at: p.at + r.Intn(60), seq: p.seq, ts: p.ts, name: p.name})
			}
		}
		sortArrivals(messy)
		a := &listener{b: New(Config{ClockRate: 8000}), clock: 8000}
		b := &listener{b: New(Config{ClockRate: 8000}), clock: 8000}
		want, got := drive(a, clean, 3004), drive(b, messy, 3004)
		if got != want {
			t.Fatalf("seed %d: differs from the clean run at frame %d", seed, common(got, want))
		}
		if c := b.b.Count(); c.Duplicate == 0 || c.Late+c.Lost != 0 {
			t.Fatalf("seed %d: %+v", seed, c)
		}
	}
}

func sortArrivals(a []arrival) {
	slices.SortStableFunc(a, func(x, y arrival) int { return x.at - y.at })
}

func common(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// An hour with clocks 100 ppm apart: nothing is lost, put in or thrown away, and the delay stays.
func TestClockSkewForAnHour(t *testing.T) {
	for _, clock := range []int{8000, 48000} {
		for _, ppm := range []int{-100, 100} {
			t.Run(fmt.Sprintf("%d Hz %+d ppm", clock, ppm), func(t *testing.T) {
				l := &listener{b: New(Config{ClockRate: clock}), clock: clock}
				r := rand.New(rand.NewSource(1))
				sent := 0
				sendAt := func(i int) time.Duration {
					return time.Duration(i) * 20 * time.Millisecond * time.Duration(1_000_000-ppm) / 1_000_000
				}
				least, most := time.Hour, time.Duration(0)
				frames := 100 * 3600
				for f := range frames {
					now := time.Duration(f) * 10 * time.Millisecond
					for ; sendAt(sent) <= now; sent++ {
						jitter := time.Duration(r.Intn(5000)) * time.Microsecond // in order all the same
						l.b.Put(Packet{Seq: uint16(sent), Timestamp: uint32(sent * clock / 50), Arrived: t0.Add(sendAt(sent) + jitter),
							Payload: []byte{'A', 2}})
					}
					l.frame(t0.Add(now))
					if d, ok := l.b.Delay(); ok && f > 1000 {
						least, most = min(least, d), max(most, d)
					}
				}
				c := l.b.Count()
				if c.Dropped+c.Lost+c.Late != 0 || l.filled != 0 || c.Restarts != 1 {
					t.Errorf("in an hour %+v, %d frames filled", c, l.filled)
				}
				if least < 25*time.Millisecond || most > 55*time.Millisecond {
					t.Errorf("the delay went from %v to %v; the target is 40 ms", least, most)
				}
				drift := time.Duration(l.slewed) * time.Second / time.Duration(clock)
				if want := time.Duration(ppm) * 3600 * time.Microsecond; drift < want-15*time.Millisecond || drift > want+15*time.Millisecond {
					t.Errorf("slewed by %v, the clocks went apart by %v", drift, want)
				}
				t.Logf("delay %v to %v, slewed by %v", least, most, drift)
			})
		}
	}
}

// The way is 200 ms longer for a moment: one gap, and the delay is where it was.
func TestSpike(t *testing.T) {
	a := stream(1000)
	for i := range a {
		if s := a[i].at; s >= 5000 && s < 5200 {
			a[i].at = 5200
		}
	}
	l := &listener{b: New(Config{ClockRate: 8000}), clock: 8000}
	got := drive(l, a, 2000)
	gaps := 0
	for i := 10; i < len(got); i++ {
		if got[i] < 'A' || got[i] > 'Z' {
			if got[i-1] >= 'A' && got[i-1] <= 'Z' {
				gaps++
			}
		}
	}
	if gaps != 1 {
		t.Errorf("%d gaps: %s", gaps, got[480:560])
	}
	if d, _ := l.b.Delay(); d < 30*time.Millisecond || d > 50*time.Millisecond {
		t.Errorf("the delay is %v afterwards", d)
	}
}

// The way becomes 120 ms longer for good, and later shorter again: each time the delay comes back to the target in 10 s.
func TestRouteChange(t *testing.T) {
	a := stream(2000)
	for i := range a {
		if s := a[i].at; s >= 10000 && s < 25000 {
			a[i].at += 120
		}
	}
	sortArrivals(a)
	l := &listener{b: New(Config{ClockRate: 8000}), clock: 8000}
	check := func(when string) {
		if d, ok := l.b.Delay(); !ok || d < 20*time.Millisecond || d > 60*time.Millisecond {
			t.Errorf("%s: delay %v %v", when, d, ok)
		}
	}
	got := drive(l, a[:1], 1)
	next := 1
	for f := 1; f < 4000; f++ {
		now := t0.Add(time.Duration(10*f) * time.Millisecond)
		for next < len(a) && a[next].at <= 10*f {
			p := a[next]
			next++
			l.b.Put(Packet{Seq: uint16(65533 + p.seq), Timestamp: uint32(1<<32 - 300 + p.ts*8), Arrived: t0.Add(time.Duration(p.at) * time.Millisecond),
				Payload: []byte{p.name, 2}})
		}
		got += string(l.frame(now))
		switch f {
		case 900:
			check("before")
		case 2000:
			check("10 s after the way got longer")
		case 3500:
			check("10 s after it got shorter")
		}
	}
	if c := l.b.Count(); c.Restarts != 2 {
		t.Errorf("%+v", c)
	}
	if gap := strings.Count(got[990:1100], "e") + strings.Count(got[990:1100], "."); gap > 30 {
		t.Errorf("%d frames without sound when the way got longer: %s", gap, got[990:1100])
	}
}

// Ten minutes of jitter: up to the target it costs nothing, beyond it only what comes too late, and the delay never runs away.
func TestJitter(t *testing.T) {
	for _, tt := range []struct {
		jitter   int // ms, uniform
		lateUpTo int // of 30000
	}{{10, 0}, {35, 0}, {80, 20000}} {
		for seed := range int64(3) {
			r := rand.New(rand.NewSource(seed))
			a := stream(30000)
			for i := range a {
				a[i].at += r.Intn(tt.jitter + 1)
			}
			sortArrivals(a)
			l := &listener{b: New(Config{ClockRate: 8000}), clock: 8000}
			drive(l, a, 60000)
			c := l.b.Count()
			if int(c.Late) > tt.lateUpTo || tt.lateUpTo == 0 && (c.Lost != 0 || l.filled > 10) ||
				c.Restarts > 1+uint64(tt.lateUpTo/2000) || c.Dropped != 0 {
				t.Errorf("jitter of %d ms: %+v, %d frames filled", tt.jitter, c, l.filled)
			}
			if d, ok := l.b.Delay(); !ok || d < 25*time.Millisecond || d > time.Duration(tt.jitter+45)*time.Millisecond {
				t.Errorf("jitter of %d ms: delay %v", tt.jitter, d)
			}
			d, _ := l.b.Delay()
			t.Logf("jitter of %d ms: %+v, delay %v", tt.jitter, c, d)
		}
	}
}

// The way becomes 300 ms shorter at once, so that later packets overtake: what is too much is thrown away, and the delay is back.
func TestMuchShorterWay(t *testing.T) {
	a := stream(400)
	for i := range a {
		if a[i].at < 4000 {
			a[i].at += 300
		}
	}
	sortArrivals(a)
	l := &listener{b: New(Config{ClockRate: 8000}), clock: 8000}
	drive(l, a, 450)
	c := l.b.Count()
	if d, ok := l.b.Delay(); !ok || d > 60*time.Millisecond || c.Dropped < 10 || c.Dropped > 20 || c.Late > 20 || c.Restarts != 1 {
		t.Errorf("half a second later the delay is %v; %+v", d, c)
	}
}

func TestNoAllocation(t *testing.T) {
	l := New(Config{ClockRate: 8000})
	payload := make([]byte, 160)
	i := 0
	n := testing.AllocsPerRun(2000, func() {
		now := t0.Add(time.Duration(i) * 20 * time.Millisecond)
		seq := i
		if i%7 == 0 {
			seq++ // lost, duplicate
		}
		l.Put(Packet{Seq: uint16(seq), Timestamp: uint32(seq * 160), Arrived: now, Payload: payload})
		for range 2 {
			if it := l.Next(now, 0); it.Kind == Play {
				l.Played(160)
			}
		}
		i++
	})
	if n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// FuzzBuffer throws packets of any number, time and order at a buffer: it never holds more than it has slots, never gives an
// item without length, and comes to rest when nothing more arrives.
func FuzzBuffer(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 2, 1, 200, 3, 3, 255, 9, 128, 0, 7})
	f.Add([]byte("reordered and doubled packets of a stream"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := &listener{b: New(Config{ClockRate: 48000, Slots: 8}), clock: 48000}
		now, seq, ts := t0, uint16(0), uint32(0)
		for len(data) >= 3 {
			now = now.Add(time.Duration(data[0]&15) * 10 * time.Millisecond)
			switch data[0] >> 4 {
			case 0:
				seq, ts = uint16(data[1])<<8, uint32(data[2])<<24
			case 1:
				l.b.Mark(seq + uint16(int8(data[1])))
			default:
				l.b.Put(Packet{Seq: seq + uint16(int8(data[1])>>2), Timestamp: ts + uint32(int8(data[2]))*480,
					Arrived: now.Add(-time.Duration(data[1]) * time.Millisecond), Payload: []byte{'A', data[0]>>4&6 + 1}})
				seq, ts = seq+1, ts+960
			}
			if l.b.Held() > 8 || l.b.Held() < 0 {
				t.Fatalf("%d packets in 8 slots", l.b.Held())
			}
			if l.frame(now) == '?' {
				t.Fatal("an unknown kind of item")
			}
			data = data[3:]
		}
		for range 1000 {
			now = now.Add(10 * time.Millisecond)
			l.frame(now)
		}
		if l.b.Held() != 0 || l.frame(now.Add(10*time.Millisecond)) != '.' {
			t.Fatalf("%d packets still wait after 10 s", l.b.Held())
		}
	})
}

// Payloads of any length come out as they went in, those that waited while a longer one came included.
func TestPayloadsOfAllLengths(t *testing.T) {
	b := New(Config{ClockRate: 8000, Target: 10 * time.Millisecond})
	now := time.Unix(0, 0)
	lengths := []int{1, 160, 320, 321, 20, 1000, MaxPayload, 3}
	for i, n := range lengths {
		payload := bytes.Repeat([]byte{byte(i + 1)}, n)
		if v := b.Put(Packet{Seq: uint16(i), Timestamp: uint32(i * 160), Arrived: now, Payload: payload}); v != Stored {
			t.Fatalf("packet %d: %v", i, v)
		}
	}
	if v := b.Put(Packet{Seq: 100, Arrived: now, Payload: make([]byte, MaxPayload+1)}); v != TooLong {
		t.Errorf("a packet of %d bytes: %v", MaxPayload+1, v)
	}
	for i, n := range lengths {
		it := b.Next(now.Add(time.Duration(10+20*i)*time.Millisecond), 0)
		if it.Kind != Play || !bytes.Equal(it.Payload, bytes.Repeat([]byte{byte(i + 1)}, n)) {
			t.Fatalf("packet %d came out as %v with %d bytes", i, it.Kind, len(it.Payload))
		}
		b.Played(160)
	}
}
