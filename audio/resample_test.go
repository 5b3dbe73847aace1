package audio

import (
	"errors"
	"fmt"
	"math"
	"testing"
)

var ratePairs = [][2]int{{48000, 16000}, {48000, 8000}, {16000, 8000}, {16000, 48000}, {8000, 48000}, {8000, 16000}}

// convertTone sends a tone of hz through a fresh resampler and gives 0.5 s of what came out once it had settled.
func convertTone(t *testing.T, from, to int, hz, amplitude float64) []float64 {
	t.Helper()
	r, err := NewResampler(from, to)
	if err != nil {
		t.Fatal(err)
	}
	in, out := make([]int32, from/100), make([]int32, to/100)
	var got []float64
	for frame := range 60 {
		for i := range in {
			in[i] = int32(math.Round(amplitude * math.Sin(2*math.Pi*hz*float64(frame*len(in)+i)/float64(from))))
		}
		r.Convert(in, out)
		if frame >= 10 {
			for _, v := range out {
				got = append(got, float64(v))
			}
		}
	}
	return got
}

// toneDB is the level of the part of x that is a tone of hz, relative to a tone of amplitude.
func toneDB(x []float64, rate int, hz, amplitude float64) float64 {
	var s, c, ws float64
	for i, v := range x {
		w := 1 - math.Cos(2*math.Pi*float64(i)/float64(len(x)))
		p := 2 * math.Pi * hz * float64(i) / float64(rate)
		s += v * w * math.Sin(p)
		c += v * w * math.Cos(p)
		ws += w
	}
	return 20 * math.Log10(2*math.Hypot(s, c)/ws/amplitude+1e-12)
}

func rms(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum / float64(len(x)))
}

func TestResamplerRippleAndRejection(t *testing.T) {
	const amplitude = 1e6 // a sum of many; rounding is far below the filter
	for _, p := range ratePairs {
		from, to := p[0], p[1]
		half := float64(min(from, to)) / 2
		var ripple float64
		for part := 0.01; part <= 0.8501; part += 0.02 {
			hz := part * half
			ripple = max(ripple, math.Abs(toneDB(convertTone(t, from, to, hz, amplitude), to, hz, amplitude)))
		}
		worst := math.Inf(-1)
		if to < from { // everything that comes out of a tone above the new half is alias
			for hz := half; hz < float64(from)/2; hz += 97 {
				worst = max(worst, 20*math.Log10(rms(convertTone(t, from, to, hz, amplitude))*math.Sqrt2/amplitude))
			}
		} else { // everything that comes out besides the tone is an image of it
			for hz := half * 0.03; hz < half; hz += half / 60 {
				for k := float64(from); k < float64(to); k += float64(from) {
					for _, image := range []float64{k - hz, k + hz} {
						if image < float64(to)/2 {
							worst = max(worst, toneDB(convertTone(t, from, to, hz, amplitude), to, image, amplitude))
						}
					}
				}
			}
		}
		t.Logf("%5d to %5d Hz: ripple to 0.85 of the half %.3f dB, alias or image %.1f dB", from, to, ripple, worst)
		if ripple > 0.1 {
			t.Errorf("%d to %d: ripple %.3f dB", from, to, ripple)
		}
		if worst > -60 {
			t.Errorf("%d to %d: alias or image at %.1f dB", from, to, worst)
		}
	}
}

func TestResamplerDelay(t *testing.T) {
	for _, p := range ratePairs {
		r, _ := NewResampler(p[0], p[1])
		in, out := make([]int32, p[0]/100), make([]int32, p[1]/100)
		in[0] = 1 << 20
		r.Convert(in, out)
		at := 0
		for i, v := range out {
			if v > out[at] {
				at = i
			}
		}
		want := int(r.Delay().Seconds() * float64(p[1]))
		if at != want {
			t.Errorf("%d to %d: an impulse comes out after %d samples, Delay says %d", p[0], p[1], at, want)
		}
		if r.Delay().Milliseconds() > 3 {
			t.Errorf("%d to %d: delay %v", p[0], p[1], r.Delay())
		}
	}
}

func TestResamplerEndsInExactSilence(t *testing.T) {
	for _, p := range ratePairs {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			r, _ := NewResampler(p[0], p[1])
			if !r.Quiet() {
				t.Fatal("a new resampler is not quiet")
			}
			in, out := make([]int32, p[0]/100), make([]int32, p[1]/100)
			for i := range in {
				in[i] = 12345
			}
			r.Convert(in, out)
			if r.Quiet() {
				t.Fatal("quiet right after sound")
			}
			for range 2 {
				r.Convert(nil, out)
			}
			if !r.Quiet() {
				t.Fatal("not quiet 20 ms after the sound")
			}
			r.Convert(nil, out)
			for _, v := range out {
				if v != 0 {
					t.Fatal("silence in, sound out")
				}
			}
		})
	}
}

func TestResamplerFollowGoesOnWithoutASeam(t *testing.T) {
	for _, p := range ratePairs {
		a, _ := NewResampler(p[0], p[1])
		b, _ := NewResampler(p[0], p[1])
		in, outA, outB := make([]int32, p[0]/100), make([]int32, p[1]/100), make([]int32, p[1]/100)
		for frame := range 6 {
			for i := range in {
				in[i] = int32((frame*len(in) + i) * 7919 % 65536)
			}
			if frame == 3 {
				b.Follow(a)
			}
			a.Convert(in, outA)
			if frame >= 3 {
				b.Convert(in, outB)
				for i := range outA {
					if outA[i] != outB[i] {
						t.Fatalf("%v: frame %d sample %d: %d, want %d", p, frame, i, outB[i], outA[i])
					}
				}
			}
		}
	}
}

func TestResamplerConvert16StopsAtFullScale(t *testing.T) {
	r, _ := NewResampler(8000, 48000)
	var in, out Frame
	for frame := range 4 {
		for i := range in[:80] {
			in[i] = math.MaxInt16
			if (frame*80+i)/7%2 == 1 {
				in[i] = math.MinInt16
			}
		}
		r.Convert16(in[:80], out[:])
		last := int32(out[0])
		for _, v := range out {
			if d := int32(v) - last; d > 40000 || d < -40000 {
				t.Fatal("overshoot wrapped around")
			}
			last = int32(v)
		}
	}
}

func TestResamplerRefusesOtherRates(t *testing.T) {
	for _, p := range [][2]int{{48000, 44100}, {8000, 8000}, {0, 48000}, {48000, 24000}} {
		if _, err := NewResampler(p[0], p[1]); !errors.Is(err, ErrRate) {
			t.Errorf("%v: %v", p, err)
		}
	}
}

func TestResamplerAllocatesNothing(t *testing.T) {
	for _, p := range ratePairs {
		r, _ := NewResampler(p[0], p[1])
		var in, out [FrameSamples]int32
		in[0] = 1
		var in16, out16 Frame
		if n := testing.AllocsPerRun(20, func() {
			r.Convert(in[:p[0]/100], out[:])
			r.Convert16(in16[:], out16[:])
		}); n != 0 {
			t.Errorf("%v: %v allocations", p, n)
		}
	}
}

func BenchmarkResampler(b *testing.B) {
	for _, p := range ratePairs {
		b.Run(fmt.Sprintf("%dto%d", p[0]/1000, p[1]/1000), func(b *testing.B) {
			r, _ := NewResampler(p[0], p[1])
			var in, out [FrameSamples]int32
			for i := range in {
				in[i] = int32(i * 7919 % 65536)
			}
			for b.Loop() {
				r.Convert(in[:p[0]/100], out[:])
			}
		})
	}
}
