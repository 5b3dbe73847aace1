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

// Whatever the hearing: everybody hears, to the sample, the sum of those whom he should hear. Where it has just changed, the first
// two frames hold the ramps that keep it from clicking, and the tails of filters.
func TestAnyHearingIsTheSumOfTheHeard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := New(Config{Codecs: []audio.Codec{anyL16()}})
		n := rapid.IntRange(1, 7).Draw(t, "members")
		var all []*member
		refs := map[*member]*reference{}
		for i := range n {
			rate := rapid.SampledFrom(rates[:]).Draw(t, "rate")
			w := newMember(PortID(i+1), rate, rapid.Bool().Draw(t, "packets"))
			all = append(all, w)
			refs[w] = newReference(w.rate)
			if err := m.Add(w.port()); err != nil {
				t.Fatal(err)
			}
		}
		tick := 0
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			h := Hearing{}
			heard := map[*member][]*member{}
			for _, w := range all {
				w.src.status = rapid.SampledFrom([]audio.Status{audio.Active, audio.Late, audio.Silent}).Draw(t, "status")
				for _, o := range all {
					if rapid.Bool().Draw(t, "hears") {
						h[w.id] = append(h[w.id], o.id)
						if o != w {
							heard[w] = append(heard[w], o)
						}
					}
				}
				h[w.id] = append(h[w.id], 99)
			}
			m.SetHearing(h)
			for k := range 6 {
				ticks(m, 1)
				for _, w := range all {
					want := refs[w].mix(tick, w.rate, heard[w])
					if k < 2 || len(w.pcm()) < (tick+1)*w.rate/100 {
						continue // just changed; or not yet in a packet
					}
					got := w.pcm()[tick*w.rate/100 : (tick+1)*w.rate/100]
					for i := range got {
						if got[i] != want[i] {
							t.Fatalf("tick %d, member %d at %d Hz, sample %d: %d, want %d", tick, w.id, w.rate, i, got[i], want[i])
						}
					}
				}
				tick++
			}
		}
	})
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
