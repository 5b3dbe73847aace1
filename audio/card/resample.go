package card

import "math"

const (
	taps   = 24   // of the filter
	phases = 1024 // between two samples: the nearest is taken, which is off by 70 dB less than a tone of 8 kHz
)

// kernel is a windowed sinc for every phase.
var kernel = makeKernel()

func makeKernel() *[phases + 1][taps]float32 {
	const beta = 7
	// The filter is symmetric: half of its points are worked out.
	var half [phases*taps/2 + 1]float32
	for i := range half {
		x := float64(i) / phases // distance from the wanted point, samples
		w := x / (taps / 2)
		v := bessel(beta*math.Sqrt(1-w*w)) / bessel(beta)
		if i > 0 {
			v *= math.Sin(math.Pi*x) / (math.Pi * x)
		}
		if i%phases == 0 && i > 0 {
			v = 0
		}
		half[i] = float32(v)
	}
	var k [phases + 1][taps]float32
	for p := range k {
		for t := range k[p] {
			i := (t-taps/2+1)*phases - p
			k[p][t] = half[max(i, -i)]
		}
	}
	return &k
}

// bessel is the modified Bessel function of the first kind and order zero, of which a Kaiser window is made.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for n := 1.0; term > sum*1e-12; n++ {
		term *= (x / 2 / n) * (x / 2 / n)
		sum += term
	}
	return sum
}

// resampler changes the rate by a little that may change from call to call, so that two clocks can be told to agree. At rest
// (ratio 1) it gives back what it was given, taps/2 samples later.
type resampler struct {
	buf  [2048]float32
	have int     // samples in buf
	pos  float64 // of the next output within buf, less the filter's first half
}

// reset forgets what was fed; the filter begins in silence.
func (r *resampler) reset() {
	clear(r.buf[:taps])
	r.have, r.pos = taps-1, 0
}

// silence makes all that it has taken in be silence.
func (r *resampler) silence() { clear(r.buf[:r.have]) }

// need is how many samples are to be fed before n can come out at ratio input samples per output sample.
func (r *resampler) need(n int, ratio float64) int {
	return max(0, int(r.pos+float64(n-1)*ratio)+taps-r.have)
}

// feed takes samples in; room for them is what need and run leave.
func (r *resampler) feed(pcm []int16) {
	n := min(len(pcm), len(r.buf)-r.have)
	for i, s := range pcm[:n] {
		r.buf[r.have+i] = float32(s)
	}
	r.have += n
}

// run fills out as far as what was fed allows, and returns how much that was.
func (r *resampler) run(out []int16, ratio float64) int {
	n := 0
	for ; n < len(out); n++ {
		at := int(r.pos)
		if at+taps > r.have {
			break
		}
		out[n] = toSample(r.point(at, r.pos-float64(at)))
		r.pos += ratio
	}
	used := min(int(r.pos), r.have)
	copy(r.buf[:], r.buf[used:r.have])
	r.have -= used
	r.pos -= float64(used)
	return n
}

func (r *resampler) point(at int, frac float64) float32 {
	k, x := &kernel[int(frac*phases+0.5)], (*[taps]float32)(r.buf[at:at+taps])
	// Four sums, so that one need not wait for the other.
	var a, b, c, d float32
	for i := 0; i < taps; i += 4 {
		a += x[i] * k[i]
		b += x[i+1] * k[i+1]
		c += x[i+2] * k[i+2]
		d += x[i+3] * k[i+3]
	}
	return (a + b) + (c + d)
}

// toSample rounds and saturates.
func toSample(v float32) int16 {
	half := float32(0.5)
	if v < 0 {
		half = -0.5
	}
	return int16(max(math.MinInt16, min(math.MaxInt16, int32(v+half))))
}
