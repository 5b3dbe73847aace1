package mixer

import (
	"fmt"
	"math"
	"testing"

	"parley/audio"
)

// mixOf is the reference: the sum of what the others play at 48 kHz, tick by tick.
func mixOf(n int, sources ...*script) []int16 {
	var out []int16
	var f audio.Frame
	for k := range n {
		var sum audio.Frame
		for _, s := range sources {
			s.play(k, f[:])
			for i, v := range f {
				sum[i] += v
			}
		}
		out = append(out, sum[:]...)
	}
	return out
}

func mustEqual(t *testing.T, what string, got, want []int16) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d samples, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: sample %d is %d, want %d", what, i, got[i], want[i])
		}
	}
}

func TestEveryoneHearsEveryoneButHimself(t *testing.T) {
	const n = 20
	m := New(Config{})
	play := func() []*script {
		return []*script{tone(48000, 440, 3000), tone(48000, 1000, 2000), tone(48000, 2300, 1000), silent()}
	}
	ears := make([]*ear, 4)
	var ids []PortID
	for i, s := range play() {
		ears[i] = &ear{}
		ids = append(ids, PortID(i+1))
		add(t, m, Port{ID: ids[i], Source: s, Frames: ears[i]})
	}
	m.SetHearing(everyone(ids...))
	ticks(m, n)
	for i := range ears {
		var others []*script
		for j, s := range play()[:3] {
			if j != i {
				others = append(others, s)
			}
		}
		mustEqual(t, fmt.Sprint("ear ", i), ears[i].pcm, mixOf(n, others...))
	}
}

func TestPortOutsideTheHearing(t *testing.T) {
	m := New(Config{})
	in, out := &ear{}, &ear{}
	add(t, m, Port{ID: 1, Source: tone(48000, 440, 3000), Frames: in}, Port{ID: 2, Source: tone(48000, 700, 3000), Frames: out})
	m.SetHearing(Hearing{1: {1, 77}}) // 77 is unknown
	ticks(m, 5)
	mustEqual(t, "alone", in.pcm, make([]int16, 5*480))
	mustEqual(t, "outside", out.pcm, make([]int16, 5*480))
}

// heardDB is the level of hz in the last 300 ms of pcm, relative to a tone of amplitude.
func heardDB(pcm []int16, rate int, hz, amplitude float64) float64 {
	pcm = pcm[len(pcm)-rate*3/10:]
	var s, c, ws float64
	for i, v := range pcm {
		w := 1 - math.Cos(2*math.Pi*float64(i)/float64(len(pcm)))
		p := 2 * math.Pi * hz * float64(i) / float64(rate)
		s += float64(v) * w * math.Sin(p)
		c += float64(v) * w * math.Cos(p)
		ws += w
	}
	return 20 * math.Log10(2*math.Hypot(s, c)/ws/amplitude+1e-9)
}

func TestRatesMixed(t *testing.T) {
	const amplitude = 3000.0
	codecs := map[int]*counter{}
	var list []audio.Codec
	for _, r := range rates {
		codecs[r] = &counter{rate: r}
	}
	list = append(list, anyRate{codecs})
	m := New(Config{Codecs: list})
	type member struct {
		rate int
		hz   float64
		leg  *leg
		ear  *ear
	}
	members := []member{{rate: 8000, hz: 400}, {rate: 8000, hz: 700}, {rate: 16000, hz: 1100}, {rate: 16000, hz: 1500},
		{rate: 48000, hz: 1900}, {rate: 48000, hz: 2300}}
	var ids []PortID
	for i := range members {
		w := &members[i]
		p := Port{ID: PortID(i + 1), Source: tone(w.rate, w.hz, amplitude)}
		if i == 5 {
			w.ear = &ear{}
			p.Frames = w.ear
		} else {
			w.leg = legOf(w.rate, ptimeOf(w.rate))
			p.Packets = w.leg
		}
		add(t, m, p)
		ids = append(ids, p.ID)
	}
	m.SetHearing(everyone(ids...))
	ticks(m, 60)
	for i, w := range members {
		var pcm []int16
		if w.leg != nil {
			pcm = w.leg.pcm
		} else {
			pcm = w.ear.pcm
		}
		for j, o := range members {
			db := heardDB(pcm, w.rate, o.hz, amplitude)
			if i == j && db > -60 {
				t.Errorf("%d hears himself at %.1f dB", i, db)
			}
			if i != j && math.Abs(db) > 0.2 {
				t.Errorf("%d hears %d at %.2f dB", i, j, db)
			}
		}
	}
}

// anyRate is a counter for each rate under one name.
type anyRate struct{ by map[int]*counter }

func (a anyRate) Format() audio.Format { return a.by[48000].Format() }

func (a anyRate) NewEncoder(f audio.Format) (audio.Encoder, error) {
	return a.by[f.SampleRate].NewEncoder(f)
}

func (a anyRate) NewDecoder(audio.Format) (audio.Decoder, error) { return nil, nil }

func ptimeOf(rate int) int {
	if rate == 48000 {
		return 10
	}
	return 20
}

func TestEncodeOncePerFormat(t *testing.T) {
	c8, c48 := &counter{rate: 8000}, &counter{rate: 48000}
	m := New(Config{Codecs: []audio.Codec{anyRate{map[int]*counter{8000: c8, 48000: c48}}}})
	var ids []PortID
	var legs []*leg
	for i := range 30 {
		rate := 8000
		if i%3 == 0 {
			rate = 48000
		}
		l := legOf(rate, ptimeOf(rate))
		var s *script
		if i < 2 {
			s = tone(rate, 500+float64(i)*300, 4000)
		} else {
			s = &script{play: hiss(-60)}
		}
		legs = append(legs, l)
		ids = append(ids, PortID(i+1))
		add(t, m, Port{ID: ids[i], Source: s, Packets: l})
	}
	m.SetHearing(everyone(ids...))
	ticks(m, 400) // the noise is known and everybody has settled
	c8.encodes, c48.encodes = 0, 0
	ticks(m, 20)
	// Port 0 speaks at 48 kHz and port 1 at 8: each has an encoder of its own, all others share one per format.
	if c8.encodes != 2*10 || c48.encodes != 2*20 {
		t.Errorf("0.2 s took %d and %d encodes, want 20 and 40", c8.encodes, c48.encodes)
	}
	for i := 3; i < 30; i++ {
		if i%3 != 0 {
			mustEqual(t, fmt.Sprint("leg ", i), legs[i].pcm[8000*4:], legs[2].pcm[8000*4:])
		}
		if want := 4200 / legs[i].f.Ptime; legs[i].packets != want || legs[i].empty != 0 {
			t.Errorf("leg %d: %d packets, %d empty", i, legs[i].packets, legs[i].empty)
		}
	}
}
