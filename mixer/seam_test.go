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
	if r.dec == nil {
		return
	}
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
	for i := 60 / n; i < 100/n; i++ {
		if !bytes.Equal(talker.packets[i], other.packets[i]) {
			t.Fatalf("packet %d is not the shared one", i)
		}
	}
	if c.Format().Codec == "G722" && alone == 100 && back == 0 {
		t.Log("encoded alone to the end: two encoders of G.722 did not come together")
		return
	}
	if alone < 100 || alone > 101 || back <= 105 {
		t.Fatalf("alone from tick %d, shared again from tick %d", alone, back)
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

// Leaving the shared stream, in the middle of a packet or at its end, is exact: the port's own encoder makes the packets that the
// shared one would have made of the same sound.
func TestOwnEncoderGoesOnWhereTheSharedOneIs(t *testing.T) {
	for _, c := range []audio.Codec{g711.PCMU(), g711.PCMA(), g722.New(), opus.New(opus.Options{})} {
		for k := range 2 {
			f := c.Format()
			m := New(Config{Codecs: []audio.Codec{c}})
			a, errA := m.newStream(f)
			b, errB := m.newStream(f)
			if errA != nil || errB != nil {
				t.Fatal(errA, errB)
			}
			speech := babble(f.SampleRate, 140, 9000, 200)
			for n := range 200 {
				part := n % 2
				if part == 0 {
					a.begin()
					if n > 100+k {
						b.begin()
					}
				}
				if n == 100+k {
					b.follow(a, part)
				}
				speech(n, a.part(part))
				if n >= 100+k {
					speech(n, b.part(part))
				}
				if part == 1 {
					a.encode()
					if n >= 100+k {
						b.encode()
						if !a.sameAs(b) {
							t.Fatalf("%s, left %d frames into a packet: tick %d differs", f.Codec, k, n)
						}
					}
				}
			}
		}
	}
}

// Alone in its class, a leg never hears a seam: whichever encoder begins goes on where the other stopped.
func TestALegAloneInItsClassIsEncodedAsByOne(t *testing.T) {
	for _, c := range []audio.Codec{g722.New(), opus.New(opus.Options{})} {
		rate := c.Format().SampleRate
		m := New(Config{Codecs: []audio.Codec{c}})
		l := taped(t, c)
		// It says something a hundred times, so softly that the sum is the same, but for a sample of 1.
		word := &script{play: func(n int, pcm []int16) audio.Status {
			if n%7 > 2 {
				return audio.Silent
			}
			clear(pcm)
			pcm[n%5] = 1
			return audio.Active
		}}
		add(t, m, Port{ID: 1, Source: word, Packets: l, Ungated: true}, Port{ID: 2, Source: tone(rate, 400, 6000), Packets: &void{f: c.Format()}})
		m.SetHearing(Hearing{1: {1, 2}})
		enc, _ := c.NewEncoder(c.Format())
		dec, _ := c.NewDecoder(c.Format())
		var want []int16
		voice := tone(rate, 400, 6000)
		n := c.Format().PacketSamples()
		for k := range 100 {
			ticks(m, 2)
			pcm, packet := make([]int16, n), make([]byte, audio.MaxPacket)
			voice.play(2*k, pcm[:n/2])
			voice.play(2*k+1, pcm[n/2:])
			size, _ := enc.Encode(pcm, packet)
			out := make([]int16, n)
			if _, err := dec.Decode(packet[:size], out); err != nil {
				t.Fatal(err)
			}
			want = append(want, out...)
		}
		mustEqual(t, c.Format().Codec, l.pcm, want)
	}
}

// Many who could not be brought together cost no more than a crowd of encoders.
func TestNoMoreThanACrowdIsEncodedAlone(t *testing.T) {
	c := g722.New()
	m := New(Config{Codecs: []audio.Codec{c}})
	var ids []PortID
	for i := range 120 {
		s := tone(16000, 100+float64(i)*20, 200)
		play := s.play
		s.play = func(n int, pcm []int16) audio.Status {
			if i > 0 && (n < 20 || n > 30) {
				return audio.Silent
			} else if i == 0 {
				return babble(16000, 120, 8000, 100)(n, pcm)
			}
			return play(n, pcm)
		}
		add(t, m, Port{ID: PortID(i), Source: s, Packets: &void{f: c.Format()}, Ungated: true})
		ids = append(ids, PortID(i))
	}
	m.SetHearing(everyone(ids...))
	ticks(m, 30)
	if m.tick.settling > 0 {
		t.Fatal("everybody should talk")
	}
	ticks(m, 70)
	alone := 0
	for i := range m.plan.Load().seats {
		if p := m.plan.Load().seats[i].port; p.cur == p.own {
			alone++
		}
	}
	if alone > crowd+1 {
		t.Errorf("%d listeners are encoded alone, want %d and the talker", alone, crowd)
	}
}
