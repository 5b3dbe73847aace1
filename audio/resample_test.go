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

// impulseResponse is the whole filter, at the higher rate, as it shows from the outside: what comes out for single samples.
func impulseResponse(t *testing.T, from, to int) []float64 {
	t.Helper()
	const unit = 1 << 29 // so that rounding is far below the filter
	ratio := max(from, to) / min(from, to)
	h := make([]float64, 6*max(from, to)/100)
	sources := 1 // impulses that it takes
	if to < from {
		sources = ratio
	}
	for p := range sources {
		r, err := NewResampler(from, to)
		if err != nil {
			t.Fatal(err)
		}
		in, out := make([]int32, from/100), make([]int32, to/100)
		for frame := range 5 {
			clear(in)
			if frame == 0 {
				in[p] = unit
			}
			r.Convert(in, out)
			for i, v := range out {
				if at := frame*len(out) + i; to > from {
					h[at] = float64(v) / unit
				} else if k := at*ratio - p; k >= 0 {
					h[k] = float64(v) / unit
				}
			}
		}
	}
	return h
}

// responseDB is the gain of the filter h at hz.
func responseDB(h []float64, rate int, hz float64) float64 {
	var re, im float64
	for i, v := range h {
		re += v * math.Cos(2*math.Pi*hz*float64(i)/float64(rate))
		im += v * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))
	}
	return 20 * math.Log10(math.Hypot(re, im)+1e-12)
}

func TestResamplerRippleAndRejection(t *testing.T) {
	for _, p := range ratePairs {
		from, to := p[0], p[1]
		high, half := max(from, to), float64(min(from, to))/2
		h := impulseResponse(t, from, to)
		gain := 0.0 // an upward filter makes up for the zeros between its samples
		if to > from {
			gain = 20 * math.Log10(float64(to)/float64(from))
		}
		ripple, worst := 0.0, math.Inf(-1)
		for part := 0.0; part <= 0.8501; part += 0.01 {
			ripple = max(ripple, math.Abs(responseDB(h, high, part*half)-gain))
		}
		for hz := half; hz <= float64(high)/2; hz += half / 150 { // alias on the way down, images on the way up
			worst = max(worst, responseDB(h, high, hz)-gain)
		}
		r, _ := NewResampler(from, to)
		t.Logf("%5d to %5d Hz: ripple to 0.85 of the half %.3f dB, alias or image %.1f dB, delay %v", from, to, ripple, worst, r.Delay())
		if ripple > 0.1 {
			t.Errorf("%d to %d: ripple %.3f dB", from, to, ripple)
		}
		if worst > -60 {
			t.Errorf("%d to %d: alias or image at %.1f dB", from, to, worst)
		}
	}
}

// The same as heard: a tone comes through, and nothing of it where it does not belong.
func TestResamplerTones(t *testing.T) {
	const amplitude = 1e6 // a sum of many
	for _, p := range ratePairs {
		from, to := p[0], p[1]
		half := float64(min(from, to)) / 2
		for _, part := range []float64{0.1, 0.5, 0.85} {
			hz := part * half
			out := convertTone(t, from, to, hz, amplitude)
			if db := toneDB(out, to, hz, amplitude); math.Abs(db) > 0.1 {
				t.Errorf("%d to %d: %g Hz comes out at %.2f dB", from, to, hz, db)
			}
			if image := float64(from) - hz; image < float64(to)/2 {
				if db := toneDB(out, to, image, amplitude); db > -60 {
					t.Errorf("%d to %d: %g Hz has an image at %.1f dB", from, to, hz, db)
				}
			}
		}
		if to < from {
			hz := half * 1.3
			if db := toneDB(convertTone(t, from, to, hz, amplitude), to, 2*half-hz, amplitude); db > -60 {
				t.Errorf("%d to %d: %g Hz has an alias at %.1f dB", from, to, hz, db)
			}
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
