package audio

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrRate: a Resampler was asked for rates between which it cannot convert.
var ErrRate = errors.New("audio: rates must be two of 48000, 16000 and 8000 Hz")

// The filter: a sinc in a Kaiser window, resampleHalf samples of the lower rate long on each side of its middle. That length is
// also its delay: 1.5 ms if the lower rate is 16 kHz, 3 ms if it is 8.
const (
	resampleHalf = 24
	resampleBeta = 5.9
	resampleEdge = 0.918 // where the filter is 6 dB down, as part of the lower rate's half
)

// Resampler converts a stream of sound between two of the rates 48, 16 and 8 kHz, in steps of 10 ms. It is linear, and
// its state is nothing but the last sound that it saw: fed zeros for longer than twice its delay it gives exact zeros and is as
// new. It belongs to one goroutine and does not allocate after NewResampler.
type Resampler struct {
	from, to int
	up       bool
	ratio    int         // of the rates
	taps     int         // of one dot product
	phases   [][]float32 // reversed coefficients: one set down, ratio sets up
	past     []float32   // taps samples of history, then the frame
	quiet    bool        // the history holds zeros only
}

// NewResampler designs the filter for sound of from Hz that is to become to Hz.
func NewResampler(from, to int) (*Resampler, error) {
	if !resampleRate(from) || !resampleRate(to) || from == to {
		return nil, fmt.Errorf("%w: %d to %d", ErrRate, from, to)
	}
	r := &Resampler{from: from, to: to, up: to > from, ratio: max(from, to) / min(from, to), quiet: true}
	h := lowPass(r.ratio)
	if r.up {
		r.taps = 2 * resampleHalf
		for p := range r.ratio {
			phase := make([]float32, r.taps)
			for k := range phase {
				phase[r.taps-1-k] = float32(h[k*r.ratio+p] * float64(r.ratio))
			}
			r.phases = append(r.phases, phase)
		}
	} else {
		r.taps = len(h)
		phase := make([]float32, r.taps)
		for k := range phase {
			phase[r.taps-1-k] = float32(h[k])
		}
		r.phases = [][]float32{phase}
	}
	r.past = make([]float32, r.taps-1+from/100)
	return r, nil
}

func resampleRate(hz int) bool { return hz == 48000 || hz == 16000 || hz == 8000 }

// lowPass is the filter at the higher rate: 2*resampleHalf*ratio taps, symmetrical around the tap in the middle, with a gain of 1
// at 0 Hz.
func lowPass(ratio int) []float64 {
	middle := resampleHalf * ratio
	h := make([]float64, 2*middle)
	sum := 0.0
	for i := range h {
		x := float64(i - middle)
		v := resampleEdge / float64(ratio)
		if x != 0 {
			v = math.Sin(math.Pi*v*x) / (math.Pi * x)
		}
		w := x / float64(middle)
		h[i] = v * bessel(resampleBeta*math.Sqrt(1-w*w)) / bessel(resampleBeta)
		sum += h[i]
	}
	for i := range h {
		h[i] /= sum
	}
	return h
}

// bessel is the modified Bessel function of the first kind and order 0.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-16; k++ {
		term *= (x / (2 * k)) * (x / (2 * k))
		sum += term
	}
	return sum
}

// Delay is by how much the sound comes out later than it went in.
func (r *Resampler) Delay() time.Duration {
	return time.Second * resampleHalf / time.Duration(min(r.from, r.to))
}

// Quiet tells that nothing of former sound is left: as long as silence goes in, silence comes out, and Convert need not
// be called.
func (r *Resampler) Quiet() bool { return r.quiet }

// Reset forgets the sound so far.
func (r *Resampler) Reset() {
	clear(r.past)
	r.quiet = true
}

// Follow makes r go on where prev, of the same rates, stands.
func (r *Resampler) Follow(prev *Resampler) {
	copy(r.past, prev.past)
	r.quiet = prev.quiet
}

// Convert takes 10 ms of in (from/100 samples; nil is silence) and writes 10 ms to out (to/100 samples). The values may be
// sums that exceed 16 bits, up to 2³⁰. It does not limit.
func (r *Resampler) Convert(in, out []int32) {
	r.take(in)
	out = out[:r.to/100]
	if r.up {
		for p, phase := range r.phases {
			for n, at := 0, p; at < len(out); n, at = n+1, at+r.ratio {
				out[at] = nearest(dot(phase, r.past[n:]))
			}
		}
	} else {
		phase := r.phases[0]
		for n := range out {
			out[n] = nearest(dot(phase, r.past[n*r.ratio:]))
		}
	}
	r.keep()
}

// Convert16 is Convert for samples. What the filter overshoots full scale by is cut off.
func (r *Resampler) Convert16(in, out []int16) {
	var a, b [FrameSamples]int32
	var sums []int32
	if in != nil {
		sums = a[:r.from/100]
		for i := range sums {
			sums[i] = int32(in[i])
		}
	}
	r.Convert(sums, b[:r.to/100])
	for i := range out[:r.to/100] {
		out[i] = int16(max(math.MinInt16, min(math.MaxInt16, b[i])))
	}
}

func (r *Resampler) take(in []int32) {
	frame := r.past[r.taps-1:]
	if in == nil {
		clear(frame)
		return
	}
	in = in[:len(frame)]
	for i, v := range in {
		frame[i] = float32(v)
	}
}

func (r *Resampler) keep() {
	n := r.from / 100
	copy(r.past, r.past[n:])
	r.quiet = true
	for _, v := range r.past[:r.taps-1] {
		if v != 0 {
			r.quiet = false
			return
		}
	}
}

// dot sums in four strands, because one would wait for each addition to end.
func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	for len(a) >= 4 && len(b) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	return (s0 + s1) + (s2 + s3)
}

func nearest(v float32) int32 {
	if v < 0 {
		return int32(v - 0.5)
	}
	return int32(v + 0.5)
}
