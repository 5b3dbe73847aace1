package audio

import (
	"math"
	"math/rand/v2"
	"testing"
)

// limited sends a tone of the given peak, which may exceed full scale, through a fresh limiter.
func limited(rate int, hz, peak float64, frames int) (in []int32, out []int16) {
	var l Limiter
	n := rate / 100
	for k := range frames {
		a, b := make([]int32, n), make([]int16, n)
		for i := range a {
			a[i] = int32(math.Round(peak * math.Sin(2*math.Pi*hz*float64(k*n+i)/float64(rate))))
		}
		l.Apply(a, b)
		in, out = append(in, a...), append(out, b...)
	}
	return in, out
}

func TestLimiterLeavesAloneWhatIsBelow3dB(t *testing.T) {
	for _, rate := range []int{8000, 16000, 48000} {
		in, out := limited(rate, 300, 0.707*32767, 20)
		for i := range in {
			if in[i] != int32(out[i]) {
				t.Fatalf("%d Hz, sample %d: %d became %d", rate, i, in[i], out[i])
			}
		}
	}
}

func TestLimiterGivesZeroForZero(t *testing.T) {
	var l Limiter
	loud, out := make([]int32, 480), make([]int16, 480)
	for i := range loud {
		loud[i] = 1 << 20
	}
	l.Apply(loud, out)
	l.Apply(make([]int32, 480), out)
	for i, v := range out {
		if v != 0 {
			t.Fatalf("sample %d of silence is %d", i, v)
		}
	}
}

// A sum of up to 30 full-scale voices neither wraps nor is cut off flat, keeps its sign and its shape.
func TestLimiterNeitherWrapsNorClips(t *testing.T) {
	for _, rate := range []int{8000, 48000} {
		for _, times := range []float64{1, 1.5, 2, 4, 30} {
			in, out := limited(rate, 440, times*32767, 50)
			flat, top := 0, int16(0)
			for i := range in {
				if in[i] > 100 && out[i] < 0 || in[i] < -100 && out[i] > 0 {
					t.Fatalf("%d Hz, %g: sample %d wrapped: %d became %d", rate, times, i, in[i], out[i])
				}
				top = max(top, out[i])
				if i > 0 && out[i] == out[i-1] && (out[i] > 30000 || out[i] < -30000) && in[i] != in[i-1] {
					flat++
				}
			}
			if flat > 2 {
				t.Errorf("%d Hz, %g: %d samples are cut off flat", rate, times, flat)
			}
			if top < 24000 {
				t.Errorf("%d Hz, %g: the loudest sample is %d", rate, times, top)
			}
			tail := out[len(out)-rate/10:]
			x := make([]float64, len(tail))
			for i, v := range tail {
				x[i] = float64(v)
			}
			level := toneDB(x, rate, 440, 1)
			third := toneDB(x, rate, 1320, 1)
			if rate == 48000 {
				t.Logf("%4.1f times full scale: tone %.2f dBFS, third harmonic %.1f dB below", times, level-20*math.Log10(32767), level-third)
			}
			if level-third < 35 {
				t.Errorf("%d Hz, %g: the third harmonic is only %.1f dB below the tone", rate, times, level-third)
			}
		}
	}
}

func TestLimiterGivesBack(t *testing.T) {
	var l Limiter
	in, out := make([]int32, 480), make([]int16, 480)
	for i := range in {
		in[i] = int32(60000 * math.Sin(2*math.Pi*float64(i)/48))
	}
	for range 10 {
		l.Apply(in, out)
	}
	for i := range in {
		in[i] /= 10
	}
	l.Apply(in, out)
	if out[12] > 5000 {
		t.Errorf("10 ms after the loud passage the gain is back already: %d", out[12])
	}
	for range 150 {
		l.Apply(in, out)
	}
	for i := range in {
		if int32(out[i]) != in[i] {
			t.Fatalf("1.5 s after the loud passage, sample %d: %d became %d", i, in[i], out[i])
		}
	}
}

func TestLimiterTakesAnyInput(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 7, 80, 160, 479, 480} {
		var l Limiter
		in, out := make([]int32, n), make([]int16, n)
		for range 100 {
			for i := range in {
				in[i] = int32(r.Uint32()) >> r.IntN(32)
			}
			if n > 2 {
				in[0], in[1] = math.MinInt32, math.MaxInt32
			}
			l.Apply(in, out)
			for i := range in {
				if in[i] > 1<<16 && out[i] < 0 || in[i] < -1<<16 && out[i] > 0 {
					t.Fatalf("%d became %d", in[i], out[i])
				}
			}
		}
	}
	var l Limiter
	l.Apply(nil, nil)
}

func TestLimiterAllocatesNothing(t *testing.T) {
	var l Limiter
	in, out := make([]int32, 480), make([]int16, 480)
	in[3] = 1 << 20
	if n := testing.AllocsPerRun(20, func() { l.Apply(in, out); Measure(out); MeasureSome(out) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLimiter(b *testing.B) {
	for name, peak := range map[string]float64{"below": 20000, "above": 60000} {
		b.Run(name, func(b *testing.B) {
			var l Limiter
			in, out := make([]int32, 480), make([]int16, 480)
			for i := range in {
				in[i] = int32(peak * math.Sin(2*math.Pi*float64(i)/48))
			}
			for b.Loop() {
				l.Apply(in, out)
			}
		})
	}
}
