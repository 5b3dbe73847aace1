package mixer

import (
	"fmt"
	"testing"

	"parley/audio"

	"pgregory.net/rapid"
)

// noise is a source of its own noise; it falls silent and comes back as told.
type noise struct {
	state  uint32
	status audio.Status
	heard  []int16 // what it played, zeros when it was silent
}

func (s *noise) ReadFrame(rate int, f *audio.Frame) audio.Status {
	n := rate / 100
	for i := range n {
		s.state = s.state*1664525 + 1013904223
		f[i] = int16(int32(s.state>>16)%2000) - 1000
	}
	if s.status != audio.Active && s.status != audio.Late {
		s.heard = append(s.heard, make([]int16, n)...)
		return s.status
	}
	s.heard = append(s.heard, f[:n]...)
	return s.status
}

// member is a port of a test with what it played and what it was given.
type member struct {
	id   PortID
	rate int
	src  *noise
	leg  *leg
	ear  *ear
}

func newMember(id PortID, rate int, packets bool) *member {
	w := &member{id: id, rate: rate, src: &noise{state: uint32(id) * 77777, status: audio.Active}}
	if packets {
		w.leg = legOf(rate, ptimeOf(rate))
	} else {
		w.ear, w.rate = &ear{}, 48000
	}
	return w
}

func (w *member) port() Port {
	p := Port{ID: w.id, Source: w.src, Ungated: true}
	if w.leg != nil {
		p.Packets = w.leg
	} else {
		p.Frames = w.ear
	}
	return p
}

func (w *member) pcm() []int16 {
	if w.leg != nil {
		return w.leg.pcm
	}
	return w.ear.pcm
}

// pad fills up with zeros to n samples.
func (w *member) pad(n int) {
	if w.leg != nil {
		w.leg.pcm = append(w.leg.pcm, make([]int16, max(0, n-len(w.leg.pcm)))...)
		return
	}
	w.ear.pcm = append(w.ear.pcm, make([]int16, max(0, n-len(w.ear.pcm)))...)
}

func anyL16() audio.Codec {
	return anyRate{map[int]*counter{8000: {rate: 8000}, 16000: {rate: 16000}, 48000: {rate: 48000}}}
}

// reference is what w hears if each of those whom it hears is added up at their own rate, each sum converted, and all added:
// no classes, no sharing, nothing subtracted.
type reference struct{ conv [rateCount]*audio.Resampler }

func newReference(rate int) *reference {
	r := &reference{}
	for i, hz := range rates {
		if hz != rate {
			r.conv[i], _ = audio.NewResampler(hz, rate)
		}
	}
	return r
}

func (r *reference) mix(tick, rate int, heard []*member) []int16 {
	total := make([]int32, rate/100)
	for i, hz := range rates {
		sum := make([]int32, hz/100)
		for _, w := range heard {
			if w.rate == hz {
				for j, v := range w.src.heard[tick*hz/100 : (tick+1)*hz/100] {
					sum[j] += int32(v)
				}
			}
		}
		if r.conv[i] != nil {
			out := make([]int32, rate/100)
			r.conv[i].Convert(sum, out)
			sum = out
		}
		for j, v := range sum {
			total[j] += v
		}
	}
	out := make([]int16, len(total))
	for i, v := range total {
		out[i] = int16(v)
	}
	return out
}

// Whatever the hearing, whoever comes, goes or is added again: everybody hears, to the sample, the sum of those whom he should
// hear, and is sent packets that follow each other. Where something has just changed, the first two frames hold the ramps
// that keep it from clicking, and the tails of filters.
func TestAnyHearingIsTheSumOfTheHeard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{m: New(Config{Codecs: []audio.Codec{anyL16()}}), refs: map[*member]*reference{}, here: map[*member]bool{}}
		for i := range rapid.IntRange(1, 7).Draw(t, "members") {
			rate := rapid.SampledFrom(rates[:]).Draw(t, "rate")
			o := newMember(PortID(i+1), rate, rapid.Bool().Draw(t, "packets"))
			w.all = append(w.all, o)
			w.refs[o] = newReference(o.rate)
		}
		for range rapid.IntRange(1, 5).Draw(t, "changes") {
			heard := w.change(t)
			for k := range 6 {
				w.tick(t, heard, k < 2)
			}
		}
		for _, o := range w.all {
			if o.leg != nil && o.leg.seams > 0 {
				t.Fatalf("member %d was sent %d packets that do not follow the one before", o.id, o.leg.seams)
			}
		}
	})
}

// world is a mixer with its members and what they should hear.
type world struct {
	m    *Mixer
	all  []*member
	refs map[*member]*reference
	here map[*member]bool
	n    int // ticks so far
}

// change draws who is there, who sounds, and who hears whom.
func (w *world) change(t *rapid.T) map[*member][]*member {
	h, heard := Hearing{}, map[*member][]*member{}
	for _, o := range w.all {
		o.src.status = rapid.SampledFrom([]audio.Status{audio.Active, audio.Late, audio.Silent}).Draw(t, "status")
		here := rapid.IntRange(0, 3).Draw(t, "here") > 0
		switch {
		case here && (!w.here[o] || rapid.Bool().Draw(t, "again")):
			if !w.here[o] && o.leg != nil {
				o.leg.state = 0 // a new encoder
			}
			if err := w.m.Add(o.port()); err != nil {
				t.Fatal(err)
			}
		case !here:
			w.m.Remove(o.id)
		}
		w.here[o] = here
	}
	for _, o := range w.all {
		for _, x := range w.all {
			if rapid.Bool().Draw(t, "hears") {
				h[o.id] = append(h[o.id], x.id)
				if o != x && w.here[x] {
					heard[o] = append(heard[o], x)
				}
			}
		}
		h[o.id] = append(h[o.id], 99)
	}
	w.m.SetHearing(h)
	return heard
}

// tick runs one and compares.
func (w *world) tick(t *rapid.T, heard map[*member][]*member, changing bool) {
	ticks(w.m, 1)
	w.n++
	for _, o := range w.all {
		if n := w.n * o.rate / 100; !w.here[o] { // time goes on for who is not there
			o.src.heard = append(o.src.heard, make([]int16, o.rate/100)...)
			o.pad(n)
		}
	}
	for _, o := range w.all {
		from, to := (w.n-1)*o.rate/100, w.n*o.rate/100
		want := w.refs[o].mix(w.n-1, o.rate, heard[o])
		if changing || !w.here[o] || len(o.pcm()) < to {
			continue
		}
		got := o.pcm()[from:to]
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("tick %d, member %d at %d Hz, sample %d: %d, want %d", w.n, o.id, o.rate, i, got[i], want[i])
			}
		}
	}
}

func TestPrivateRoomIsAsIfAlone(t *testing.T) {
	run := func(others bool) []*member {
		m := New(Config{Codecs: []audio.Codec{anyL16()}})
		var all []*member
		room, hall := []PortID{1, 2, 3}, []PortID{}
		for i := range 12 {
			w := newMember(PortID(i+1), rates[i%3], i%2 == 0)
			if i >= 3 {
				if !others {
					break
				}
				hall = append(hall, w.id)
			}
			all = append(all, w)
			add(t, m, w.port())
		}
		for k := range 40 {
			if k%10 == 0 { // those in the hall come and go
				h := everyone(room...)
				for _, id := range hall[:len(hall)*(k/10)/4] {
					h[id] = hall
				}
				m.SetHearing(h)
			}
			ticks(m, 1)
		}
		return all[:3]
	}
	with, without := run(true), run(false)
	for i := range with {
		mustEqual(t, fmt.Sprint("member ", i), with[i].pcm(), without[i].pcm())
	}
}

func TestLossOfOneIsHeardOfThatOneOnly(t *testing.T) {
	run := func(lossy bool) []*member {
		m := New(Config{Codecs: []audio.Codec{anyL16()}})
		all := []*member{newMember(1, 8000, true), newMember(2, 8000, true), newMember(3, 8000, true), newMember(4, 48000, false)}
		x := newMember(5, 8000, true)
		for _, w := range append(all, x) {
			add(t, m, w.port())
		}
		m.SetHearing(Hearing{1: {2, 3, 5}, 2: {1, 3}, 3: {1, 2, 5}, 4: {1, 2, 3}, 5: {1, 2, 3}})
		for k := range 100 {
			x.src.status = audio.Active
			if lossy && k%5 == 4 {
				x.src.status = audio.Late
				x.src.state += 12345 // what conceals it is something else
			}
			ticks(m, 1)
		}
		return append(all, x)
	}
	lossy, clean := run(true), run(false)
	for _, i := range []int{1, 3, 4} { // who does not hear X
		mustEqual(t, fmt.Sprint("member ", i), lossy[i].pcm(), clean[i].pcm())
	}
	for _, i := range []int{0, 2} {
		got, want := lossy[i].pcm(), clean[i].pcm()
		for j := range got {
			if d := int32(lossy[4].src.heard[j]) - int32(clean[4].src.heard[j]); int32(got[j])-int32(want[j]) != d {
				t.Fatalf("member %d, sample %d: the difference is %d, X's own is %d", i, j, got[j]-want[j], d)
			}
		}
	}
}

func TestPlanIsSwappedWholeBetweenTwoTicks(t *testing.T) {
	m := New(Config{})
	var ears []*ear
	constant := func(v int16) *script {
		return &script{play: func(_ int, pcm []int16) audio.Status {
			for i := range pcm {
				pcm[i] = v
			}
			return audio.Active
		}}
	}
	for i := range 4 {
		ears = append(ears, &ear{})
		add(t, m, Port{ID: PortID(i), Source: constant(1000 << i), Frames: ears[i], Ungated: true})
	}
	hall := everyone(0, 1, 2, 3)
	private := Hearing{0: {1}, 1: {0}, 2: {3}, 3: {2}}
	m.SetHearing(hall)
	ticks(m, 3)
	for k := range 20 {
		h, want := hall, []int16{14000, 13000, 11000, 7000}
		if k%2 == 0 {
			h, want = private, []int16{2000, 1000, 8000, 4000}
		}
		m.SetHearing(h)
		ticks(m, 1)
		for i, e := range ears {
			f := e.pcm[len(e.pcm)-480:]
			for j := 240; j < 480; j++ { // after the ramp
				if f[j] != want[i] {
					t.Fatalf("swap %d, ear %d, sample %d: %d, want %d", k, i, j, f[j], want[i])
				}
			}
			for j := len(e.pcm) - 480; j < len(e.pcm); j++ {
				if d := int(e.pcm[j]) - int(e.pcm[j-1]); d > 60 || d < -60 {
					t.Fatalf("swap %d, ear %d: a click of %d at sample %d of the frame", k, i, d, j-len(e.pcm)+480)
				}
			}
		}
	}
}

func TestAClassThatSplitsOrGrowsDoesNotClick(t *testing.T) {
	// A low tone at 8 kHz is heard at 48 kHz while people come and go: its slope is 0.03 of its amplitude at the most.
	const amplitude = 8000
	var ears []*ear
	m := New(Config{Codecs: []audio.Codec{anyL16()}})
	add(t, m, Port{ID: 1, Source: tone(8000, 200, amplitude), Packets: legOf(8000, 20), Ungated: true})
	ids := []PortID{1}
	for i := 2; i <= 6; i++ {
		e := &ear{}
		ears = append(ears, e)
		add(t, m, Port{ID: PortID(i), Source: silent(), Frames: e})
		ids = append(ids, PortID(i))
	}
	m.SetHearing(everyone(ids...))
	ticks(m, 10)
	for _, h := range []Hearing{
		everyone(1, 2, 3), // the class shrinks; others leave it
		everyone(ids...),  // they come back
		{2: {1}, 3: {1, 4}, 4: {1, 2}, 5: {1, 5}, 6: {1}}, // it splits into several
		everyone(ids...),
		everyone(2, 3, 4, 5, 6), // the tone is muted
		everyone(ids...),
	} {
		m.SetHearing(h)
		ticks(m, 7)
	}
	for i, e := range ears {
		for j := 10 * 480; j < len(e.pcm); j++ {
			if d := int(e.pcm[j]) - int(e.pcm[j-1]); d > amplitude*4/100 || d < -amplitude*4/100 {
				t.Fatalf("ear %d: a step of %d at sample %d of tick %d", i, d, j%480, j/480)
			}
		}
	}
}
