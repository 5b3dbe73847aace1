package tone

import (
	"math"
	"testing"

	"parley/audio"
)

// play gives ms milliseconds of what a player plays at rate.
func play(p *Player, rate, ms int) []int16 {
	var out []int16
	var f audio.Frame
	for range ms / 10 {
		clear(f[:])
		if p.ReadFrame(rate, &f) == audio.Silent {
			out = append(out, make([]int16, rate/100)...)
			continue
		}
		out = append(out, f[:rate/100]...)
	}
	return out
}

// strength is how loud hz is in pcm, dBFS peak.
func strength(pcm []int16, hz float64, rate int) float64 {
	var re, im float64
	for i, s := range pcm {
		sin, cos := math.Sincos(2 * math.Pi * hz * float64(i) / float64(rate))
		re, im = re+float64(s)*cos, im+float64(s)*sin
	}
	return 20 * math.Log10(2*math.Hypot(re, im)/float64(len(pcm))/math.MaxInt16+1e-9)
}

func peak(pcm []int16) (most int) {
	for _, s := range pcm {
		most = max(most, int(s), -int(s))
	}
	return most
}

// Each tone is heard with its cadence: at these moments (ms) this frequency, or 0 for silence.
func TestCadence(t *testing.T) {
	type moment struct{ at, hz int }
	for kind, c := range map[Kind]struct {
		level   float64
		moments []moment
	}{
		RingBack: {-18, []moment{{100, 425}, {900, 425}, {1010, 0}, {4900, 0}, {5100, 425}, {6010, 0}}},
		Busy:     {-18, []moment{{100, 425}, {430, 425}, {490, 0}, {900, 0}, {1000, 425}, {9700, 425}}},
		Refused:  {-18, []moment{{100, 425}, {250, 0}, {430, 0}, {500, 425}, {740, 0}}},
		NoAnswer: {-21, []moment{{100, 950}, {400, 1400}, {800, 1800}, {1000, 0}, {1900, 0}, {2100, 950}}},
		Knock:    {-24, []moment{{100, 425}, {300, 0}, {500, 425}, {700, 0}, {9500, 0}, {9700, 425}}},
		Ring:     {-12, []moment{{10, 700}, {70, 880}, {130, 700}, {610, 0}, {2550, 0}, {2610, 700}}},
		MuteOn:   {-21, []moment{{30, 660}, {130, 440}, {190, 0}, {500, 0}}},
		MuteOff:  {-21, []moment{{30, 440}, {130, 660}, {190, 0}, {500, 0}}},

		RecordOn:  {-24, []moment{{60, 900}, {200, 1350}, {370, 0}, {700, 0}}},
		RecordOff: {-24, []moment{{60, 1350}, {200, 900}, {370, 0}, {700, 0}}},
		Came:      {-27, []moment{{30, 520}, {140, 780}, {230, 0}, {500, 0}}},
		Went:      {-27, []moment{{30, 780}, {140, 520}, {230, 0}, {500, 0}}},
	} {
		for _, rate := range []int{8000, 16000, 48000} {
			var p Player
			p.Play(kind)
			pcm := play(&p, rate, 10000)
			for _, m := range c.moments {
				part := pcm[m.at*rate/1000 : (m.at+40)*rate/1000]
				if m.hz == 0 {
					if peak(part) != 0 {
						t.Errorf("kind %d, %d Hz: sound at %d ms", kind, rate, m.at)
					}
				} else if got := strength(part, float64(m.hz), rate); math.Abs(got-c.level) > 1 {
					t.Errorf("kind %d, %d Hz: %d Hz at %.1f dBFS at %d ms, want %v", kind, rate, m.hz, got, m.at, c.level)
				}
			}
		}
	}
}

// No tone begins, changes or ends with a step, and none is louder than its level.
func TestSmooth(t *testing.T) {
	for k := RingBack; k < kinds; k++ {
		var p Player
		p.Play(k)
		pcm := play(&p, 48000, 3000)
		p.Stop()
		pcm = append(pcm, play(&p, 48000, 100)...)
		loudest, highest := math.MaxInt16*math.Pow(10, sounds[k].level/20), 0
		for _, part := range sounds[k].parts {
			highest = max(highest, part.a, part.b)
		}
		steepest := loudest*2*math.Pi*float64(highest)/48000 + loudest/240 + 2
		for i := 1; i < len(pcm); i++ {
			if d := math.Abs(float64(pcm[i]) - float64(pcm[i-1])); d > steepest {
				t.Fatalf("kind %d: a step of %.0f at sample %d, the tone's own are %.0f", k, d, i, steepest)
			}
		}
		if peak(pcm) > int(loudest)+1 {
			t.Errorf("kind %d: peak %d, want %.0f", k, peak(pcm), loudest)
		}
	}
}

// Stopped at any moment, a tone is over 10 ms later, and the source is Silent.
func TestStop(t *testing.T) {
	var f audio.Frame
	for ms := 10; ms < 1200; ms += 70 {
		var p Player
		if p.ReadFrame(48000, &f) != audio.Silent {
			t.Fatal("a player at rest is not silent")
		}
		p.Play(Busy)
		play(&p, 48000, ms)
		p.Stop()
		play(&p, 48000, 10)
		if got := p.ReadFrame(48000, &f); got != audio.Silent {
			t.Errorf("stopped after %d ms: %v", ms, got)
		}
	}
}

// A new lasting tone takes the place of the old one; asked for again, it begins anew.
func TestReplace(t *testing.T) {
	var p Player
	p.Play(RingBack)
	play(&p, 48000, 300)
	p.Play(NoAnswer)
	pcm := play(&p, 48000, 300)
	if got := strength(pcm[4800:9600], 950, 48000); math.Abs(got+21) > 1 {
		t.Errorf("the new tone is at %.1f dBFS", got)
	}
	if got := strength(pcm[4800:9600], 425, 48000); got > -50 {
		t.Errorf("the old tone is at %.1f dBFS", got)
	}
	p.Play(None)
	play(&p, 48000, 20)
	var f audio.Frame
	if p.ReadFrame(48000, &f) != audio.Silent {
		t.Error("None does not stop it")
	}
	p.Play(kinds)
	if p.ReadFrame(48000, &f) != audio.Silent {
		t.Error("an unknown tone is heard")
	}
}

// The confirmation of the mute key is laid over what is played, which goes on.
func TestOverlay(t *testing.T) {
	var p Player
	p.Play(RingBack)
	play(&p, 48000, 100)
	p.Play(MuteOn)
	pcm := play(&p, 48000, 60)
	if a, b := strength(pcm[480:2880], 425, 48000), strength(pcm[480:2880], 660, 48000); math.Abs(a+18) > 1.5 || math.Abs(b+21) > 1.5 {
		t.Errorf("together: %.1f and %.1f dBFS", a, b)
	}
	pcm = play(&p, 48000, 400)
	if a, b := strength(pcm[9600:], 425, 48000), strength(pcm[9600:], 440, 48000); math.Abs(a+18) > 1 || b > -40 {
		t.Errorf("afterwards: %.1f and %.1f dBFS", a, b)
	}
}

// Hours later the tone is as loud as at the beginning.
func TestLevelLasts(t *testing.T) {
	var v voice
	v.order(RingBack)
	var f audio.Frame
	for range 6 * 60 * 100 {
		v.read(f[:80], 8000, false)
	}
	for _, w := range v.wave {
		if a := math.Hypot(real(w), imag(w)); math.Abs(a-1) > 1e-9 {
			t.Errorf("an oscillator has grown to %v", a)
		}
	}
}

func TestAllocs(t *testing.T) {
	var p Player
	var f audio.Frame
	if n := testing.AllocsPerRun(200, func() {
		p.Play(Ring)
		p.Play(MuteOff)
		p.ReadFrame(48000, &f)
		p.ReadFrame(48000, &f)
		p.Stop()
		p.ReadFrame(8000, &f)
		p.ReadFrame(0, &f)
		p.ReadFrame(96000, &f)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkReadFrame(b *testing.B) {
	var p Player
	p.Play(Busy)
	var f audio.Frame
	for b.Loop() {
		p.ReadFrame(48000, &f)
	}
}
