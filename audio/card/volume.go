package card

import (
	"math"
	"sync/atomic"

	"parley/audio"
)

// volume is the speaker's, 0 … 100: silence, then steps of half a dB from −49.5 dB to 0 dB. It may be set from any
// goroutine; the gain moves to it within one frame.
type volume struct {
	percent atomic.Int32
	last    int32 // the percentage that gain stands for
	gain    float32
}

func (v *volume) set(percent int) { v.percent.Store(int32(max(0, min(100, percent)))) }

// start sets it without a way there.
func (v *volume) start(percent int) {
	v.set(percent)
	v.last = v.percent.Load()
	v.gain = gainOf(v.last)
}

func gainOf(percent int32) float32 {
	if percent <= 0 {
		return 0
	}
	return float32(math.Pow(10, float64(percent-100)/40))
}

// apply writes f at the volume to out.
func (v *volume) apply(out, f *audio.Frame) {
	from, to := v.gain, v.gain
	if p := v.percent.Load(); p != v.last {
		to = gainOf(p)
		v.last, v.gain = p, to
	}
	if from == 1 && to == 1 {
		*out = *f
		return
	}
	step := (to - from) / audio.FrameSamples
	for i, s := range f {
		from += step
		out[i] = toSample(float32(s) * from)
	}
}
