package card

import (
	"math"
	"slices"
	"time"

	"parley/audio"
)

// DuckConfig is how a Duck behaves. Zero values mean the default.
type DuckConfig struct {
	Threshold float64       // the speaker's RMS above which it counts as playing, dBFS; default −45
	Depth     float64       // attenuation of the microphone, dB; default 30
	Clearer   float64       // the near talker is heard when the microphone is this much above the speaker, dB; default 9
	Hold      time.Duration // attenuated after the speaker's last sound: the way through card and room; default 250 ms, at most 640
	Release   time.Duration // from attenuated to open; default 100 ms
}

// Duck is half-duplex for a room without an echo canceller: while the speaker plays, the microphone is attenuated, unless the
// near talker is clearly louder. Its attack is one frame. It belongs to the mixer's goroutine.
type Duck struct {
	threshold, clearer float64 // energies per frame, and a ratio of such
	floor              float32 // the attenuated gain
	hold, release      int     // frames
	gain               float32
	held               int              // frames of hold left
	far                [maxHold]float64 // the speaker's energy in the last frames, as a ring
	at                 int
}

// maxHold bounds DuckConfig.Hold, frames.
const maxHold = 64

// NewDuck makes a duck at rest: the microphone is open.
func NewDuck(c DuckConfig) *Duck {
	or := func(v, def float64) float64 {
		if v == 0 {
			return def
		}
		return v
	}
	frames := func(d, def time.Duration) int {
		if d == 0 {
			d = def
		}
		return max(1, int(d/audio.FrameDuration))
	}
	return &Duck{
		threshold: energyOf(or(c.Threshold, -45)),
		clearer:   math.Pow(10, or(c.Clearer, 9)/10),
		floor:     float32(math.Pow(10, -or(c.Depth, 30)/20)),
		hold:      min(maxHold, frames(c.Hold, 250*time.Millisecond)),
		release:   frames(c.Release, 100*time.Millisecond),
		gain:      1,
	}
}

// energyOf is the energy of a frame whose RMS is db dBFS.
func energyOf(db float64) float64 {
	return audio.FrameSamples * math.MaxInt16 * math.MaxInt16 * math.Pow(10, db/10)
}

func energy(f *audio.Frame) float64 {
	var sum int64
	for _, s := range f {
		sum += int64(s) * int64(s)
	}
	return float64(sum)
}

// Speaker is told every frame that is about to be played, after the volume.
func (d *Duck) Speaker(f *audio.Frame) {
	e := energy(f)
	if e > d.threshold {
		d.held = d.hold
	} else if d.held > 0 {
		d.held--
	}
	d.far[d.at] = e
	d.at = (d.at + 1) % d.hold
}

// Microphone attenuates f in place while it has to.
func (d *Duck) Microphone(f *audio.Frame) {
	to := float32(1)
	// What was played within the hold may be in the room still: the near talker must be louder than the loudest of it.
	if d.held > 0 && energy(f) < d.clearer*max(d.threshold, slices.Max(d.far[:d.hold])) {
		to = d.floor
	}
	if to > d.gain {
		to = min(to, d.gain+1/float32(d.release))
	}
	if d.gain == 1 && to == 1 {
		return
	}
	step := (to - d.gain) / audio.FrameSamples
	for i, s := range f {
		d.gain += step
		f[i] = toSample(float32(s) * d.gain)
	}
	d.gain = to
}
