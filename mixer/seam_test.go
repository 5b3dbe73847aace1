package mixer

import (
	"bytes"
	"math"
	"testing"

	"parley/audio"
	"parley/audio/g711"
	"parley/audio/g722"
	"parley/audio/opus"
)

// recorder is a leg that keeps its packets and decodes them.
type recorder struct {
	f       audio.Format
	packets [][]byte
	pcm     []int16
	dec     audio.Decoder
}

func taped(t *testing.T, c audio.Codec) *recorder {
	t.Helper()
	dec, err := c.NewDecoder(c.Format())
	if err != nil {
		t.Fatal(err)
	}
	return &recorder{f: c.Format(), dec: dec}
}

func (r *recorder) Format() audio.Format { return r.f }

func (r *recorder) WritePacket(_ audio.Format, payload []byte) {
	r.packets = append(r.packets, append([]byte(nil), payload...))
	pcm := make([]int16, r.f.PacketSamples())
	if len(payload) == 0 {
		r.dec.Conceal(pcm)
	} else if _, err := r.dec.Decode(payload, pcm); err != nil {
		panic(err)
	}
	r.pcm = append(r.pcm, pcm...)
}

// excess tells by how many dB the difference between a and b is more than what nobody hears, which is -70 dBFS, or 25 dB
// below the sound.
func excess(a, b []int16) float64 {
	e, s := 1e-3, 1e-3
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		e += d * d
		s += float64(a[i]) * float64(a[i])
	}
	return min(10*math.Log10(e/s)+25, audio.PowerDB(e/float64(len(a)))+70)
}

// A listener who says something in between is first sent shared packets, then packets of its own, then shared ones again.
// Another, who hears the very same sound, is always sent shared ones. When the first comes back, it must hear what the
// second hears.
func TestSeamIsInaudible(t *testing.T) {
	for _, c := range []audio.Codec{g711.PCMU(), g711.PCMA(), g722.New(), opus.New(opus.Options{})} {
		for name, pause := range map[string]int{"short pauses": 130, "long pauses": 400, "no pauses": 0} {
			t.Run(c.Format().Codec+"/"+name, func(t *testing.T) { seam(t, c, pause) })
		}
	}
}

func seam(t *testing.T, c audio.Codec, pause int) {
	rate, n := c.Format().SampleRate, c.Format().Ptime/10
	m := New(Config{Codecs: []audio.Codec{c}})
	talker, other := taped(t, c), taped(t, c)
	// What the talker says in ticks 100 to 104 is next to nothing, so that both hear the same.
	word := &script{play: func(n int, pcm []int16) audio.Status {
		if n < 100 || n >= 105 {
			return audio.Silent
		}
		for i := range pcm {
			pcm[i] = int16(i % 2 * 2)
		}
		return audio.Active
	}}
	add(t, m, Port{ID: 1, Source: word, Packets: talker, Ungated: true},
		Port{ID: 2, Source: &script{play: babble(rate, 120, 8000, pause)}, Packets: taped(t, c), Ungated: true},
		Port{ID: 3, Packets: other}, Port{ID: 4, Packets: taped(t, c)})
	m.SetHearing(Hearing{1: {1, 2}, 2: {1, 2}, 3: {1, 2}, 4: {1, 2}})
	alone, back := 0, 0
	for k := range 300 {
		ticks(m, 1)
		p := m.plan.Load().byID[1]
		if p.cur == p.own && alone == 0 && k >= 100 {
			alone = k
		}
		if p.cur != p.own && alone > 0 && back == 0 {
			back = k
		}
	}
	if c.Format().Codec == "G722" && back == 0 {
		t.Log("encoded alone to the end: two encoders of G.722 did not come together")
		return
	}
	if alone < 100 || alone > 101 || back <= 105 {
		t.Fatalf("alone from tick %d, shared again from tick %d", alone, back)
	}
	for i := 60 / n; i < 100/n; i++ {
		if !bytes.Equal(talker.packets[i], other.packets[i]) {
			t.Fatalf("packet %d is not the shared one", i)
		}
	}
	worst := func(from, to int) float64 {
		db, frame := -200.0, rate/100
		for k := from; k+2 <= to; k += 2 {
			db = max(db, excess(other.pcm[k*frame:(k+2)*frame], talker.pcm[k*frame:(k+2)*frame]))
		}
		return db
	}
	after, end := worst(back-back%n, back-back%n+10), worst(280, 300)
	t.Logf("alone from tick %d to %d: worst 20 ms in the 100 ms after it %.1f dB against what nobody hears, in the end %.1f",
		alone, back, after, end)
	if after > 0 || end > 0 {
		t.Error("the way back is to be heard")
	}
}
