package audio

import (
	"math"
	"math/rand/v2"
	"testing"
)

// vowel is something like speech: the harmonics of a pitch, the strongest around two resonances.
func vowel(rate, n int, pitch float64) []int16 {
	out := make([]int16, n)
	for k := 1; float64(k)*pitch < 3400; k++ {
		hz := float64(k) * pitch
		level := 5000/(1+math.Pow((hz-600)/150, 2)) + 2500/(1+math.Pow((hz-1200)/200, 2)) + 60
		for i := range out {
			out[i] += int16(level * math.Sin(2*math.Pi*hz*float64(i)/float64(rate)+float64(k*k)))
		}
	}
	return out
}

func level(pcm []int16) float64 {
	sum := 1e-9
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return 10 * math.Log10(sum/float64(len(pcm)))
}

// What was lost of a steady sound is made up almost as it was; the longer it lasts the quieter, and from 60 ms on silent.
func TestConcealVowel(t *testing.T) {
	for _, rate := range []int{8000, 16000} {
		for _, pitch := range []float64{80, 110, 155, 190} {
			ms := rate / 1000
			in := vowel(rate, 400*ms, pitch)
			c := NewConcealer(rate)
			pcm := append([]int16(nil), in[:200*ms]...)
			for at := 0; at < len(pcm); at += 20 * ms {
				c.Good(pcm[at : at+20*ms])
			}
			lost := make([]int16, 100*ms)
			for at := 0; at < len(lost); at += 10 * ms {
				c.Lost(lost[at : at+10*ms])
			}
			real := in[200*ms:]
			diff := make([]int16, 10*ms)
			for i := range diff {
				diff[i] = real[i] - lost[i]
			}
			if snr := level(real[:10*ms]) - level(diff); snr < 8 {
				t.Errorf("%d Hz, pitch %v: the first 10 ms are %.1f dB like the real ones", rate, pitch, snr)
			}
			before := level(real[:10*ms])
			for n, want := range []float64{0, -1, -3, -6, -9} {
				got := level(lost[10*n*ms:10*(n+1)*ms]) - before
				if math.Abs(got-want) > 5 {
					t.Errorf("%d Hz, pitch %v: after %d ms %.1f dB, want about %v", rate, pitch, 10*n, got, want)
				}
			}
			for i, s := range lost[60*ms:] {
				if s != 0 {
					t.Fatalf("%d Hz, pitch %v: not silent %d samples after 60 ms", rate, pitch, i)
				}
			}
		}
	}
}

// Neither the beginning nor the end of what is made up is a step.
func TestConcealJoints(t *testing.T) {
	const rate = 8000
	for start := 600; start < 760; start += 7 {
		in := make([]int16, 2000)
		for i := range in {
			in[i] = int16(10000 * math.Sin(2*math.Pi*float64(i)*203/rate))
		}
		steepest := 0
		for i := 1; i < len(in); i++ {
			steepest = max(steepest, int(math.Abs(float64(in[i])-float64(in[i-1]))))
		}
		c := NewConcealer(rate)
		c.Good(in[:start])
		c.Lost(in[start : start+160])
		c.Good(in[start+160:])
		for i := start - 1; i < start+400; i++ {
			if d := math.Abs(float64(in[i+1]) - float64(in[i])); d > 1.3*float64(steepest) {
				t.Fatalf("lost at %d: a step of %.0f at %d, the tone's own are %d", start, d, i, steepest)
			}
		}
	}
}

// Before anything was heard, and after silence, silence is made up; full-scale noise does not overflow.
func TestConcealExtremes(t *testing.T) {
	c := NewConcealer(8000)
	pcm := make([]int16, 160)
	c.Lost(pcm)
	c.Good(pcm)
	c.Lost(pcm)
	for _, s := range pcm {
		if s != 0 {
			t.Fatal("sound out of nothing")
		}
	}
	for i := range pcm {
		pcm[i] = int16(math.MaxInt16 * (1 - i%2*2))
	}
	for range 10 {
		c.Good(pcm)
	}
	c.Lost(pcm)
	for i, s := range pcm {
		if i > 0 && s != 0 && pcm[i-1] != 0 && (s > 0) == (pcm[i-1] > 0) && s > 20000 {
			t.Fatal("overflow at", i)
		}
	}
	c.Lost(nil)
	c.Good(nil)
}

func TestConcealAllocs(t *testing.T) {
	c := NewConcealer(16000)
	pcm := make([]int16, 320)
	if n := testing.AllocsPerRun(100, func() {
		c.Lost(pcm)
		c.Good(pcm)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkConcealLoss(b *testing.B) {
	in := vowel(8000, 800, 120)
	c := NewConcealer(8000)
	c.Good(in)
	pcm := make([]int16, 160)
	for b.Loop() {
		c.Lost(pcm)
		c.Good(in[:160])
	}
}

// At 5, 10 and 20 % loss of 20 ms packets of a sound like speech, few 10 ms frames come out much too quiet (GOALS: 0.3, 0.5
// and 1.5 % of the frames more than 25 dB below what they were).
func TestConcealLossyStream(t *testing.T) {
	const rate, packet = 8000, 160
	in := vowel(rate, 20*rate, 118)
	for i := range in { // syllables
		in[i] = int16(float64(in[i]) * (0.55 + 0.45*math.Sin(2*math.Pi*4*float64(i)/rate)))
	}
	for _, c := range []struct{ loss, most float64 }{{0.05, 0.003}, {0.1, 0.005}, {0.2, 0.015}} {
		random := rand.New(rand.NewPCG(5, 5))
		con := NewConcealer(rate)
		quiet, frames := 0, 0
		for at := 0; at < len(in); at += packet {
			var pcm [packet]int16
			if at > 0 && random.Float64() < c.loss {
				con.Lost(pcm[:])
			} else {
				copy(pcm[:], in[at:])
				con.Good(pcm[:])
			}
			for k := 0; k < packet; k += 80 {
				frames++
				if level(pcm[k:k+80]) < level(in[at+k:at+k+80])-25 {
					quiet++
				}
			}
		}
		if got := float64(quiet) / float64(frames); got > c.most {
			t.Errorf("at %.0f %% loss %.2f %% of the frames are too quiet, want at most %.1f", c.loss*100, got*100, c.most*100)
		}
	}
}
