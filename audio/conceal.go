package audio

import "math"

// Concealer hides lost sound for codecs that have no concealment of their own. It repeats the last pitch period with
// smooth joints, after the idea of ITU-T G.711 appendix I, but adds no delay: what was played stays as it was. It belongs to
// one goroutine and does not allocate after NewConcealer.
type Concealer struct {
	rate     int       // Hz
	recent   []int16   // what was played, received or made up, newest last: between one and two histories of it
	history  []float32 // the last sound, newest last, as of the beginning of a loss
	lost     int       // samples made up since the last good one
	period   int       // the pitch, samples
	cycle    []float32 // what is repeated, newest last
	position int       // in the repetition
	joint    float32   // what the first made-up sample misses to the last real one
}

// Times of a Concealer.
const (
	concealHistory = 50 // ms kept
	concealFull    = 10 // ms before the fade starts
	concealEnd     = 60 // ms when it is silent
	concealJoint   = 2  // ms in which a step is smoothed away
	concealBack    = 5  // ms of cross-fade from the made-up sound to the real one
	pitchMin       = 5  // ms: 200 Hz; shorter ones are heard as several of them
	pitchMax       = 15 // ms: 66 Hz
)

// NewConcealer makes one for PCM of rate Hz (8000 or 16000).
func NewConcealer(rate int) *Concealer {
	n := rate / 1000 * concealHistory
	return &Concealer{
		rate:    rate,
		recent:  make([]int16, n, 2*n),
		history: make([]float32, n),
		cycle:   make([]float32, rate/1000*pitchMax*3),
	}
}

// Good takes note of received sound. If something before it was lost, its beginning is blended with the made-up sound, in
// place, so that there is no step.
func (c *Concealer) Good(pcm []int16) {
	if c.lost > 0 {
		n := min(c.rate/1000*concealBack, len(pcm))
		for i := range n {
			w := float32(i+1) / float32(n+1)
			made := c.next()
			pcm[i] = toSample(float32(pcm[i])*w + made*(1-w))
		}
		c.lost = 0
	}
	c.remember(pcm)
}

// Lost fills pcm with a guess at what was lost. It fades after 10 ms and is silent from 60 ms on.
func (c *Concealer) Lost(pcm []int16) {
	if c.lost == 0 {
		c.begin()
	}
	for i := range pcm {
		pcm[i] = toSample(c.next())
	}
	c.remember(pcm)
}

func (c *Concealer) remember(pcm []int16) {
	n := len(c.history)
	if len(pcm) >= n {
		c.recent = append(c.recent[:0], pcm[len(pcm)-n:]...)
		return
	}
	if len(c.recent)+len(pcm) > cap(c.recent) {
		c.recent = append(c.recent[:0], c.recent[len(c.recent)-n+len(pcm):]...)
	}
	c.recent = append(c.recent, pcm...)
}

// begin finds the pitch and prepares the cycle that is repeated: the last period, its end blended with the sound one period
// earlier, so that its end meets its beginning.
func (c *Concealer) begin() {
	h := c.history
	for i, s := range c.recent[len(c.recent)-len(h):] {
		h[i] = float32(s)
	}
	c.period = c.pitch()
	c.prepare(c.period)
	c.joint = h[len(h)-1] - c.cycle[c.period-1]
	c.position = 0
}

func (c *Concealer) prepare(period int) {
	h := c.history
	c.cycle = c.cycle[:period]
	copy(c.cycle, h[len(h)-period:])
	blend := period / 4
	for i := range blend {
		w := float32(i+1) / float32(blend+1)
		at := period - blend + i
		c.cycle[at] = c.cycle[at]*(1-w) + h[len(h)-2*period+at]*w
	}
}

// next is the next made-up sample.
func (c *Concealer) next() float32 {
	ms := c.rate / 1000
	v := c.cycle[c.position]
	if c.position++; c.position == c.period {
		c.position = 0
	}
	if n := ms * concealJoint; c.lost < n {
		v += c.joint * float32(n-c.lost) / float32(n)
	}
	gain := float32(1)
	if over := c.lost - ms*concealFull; over > 0 {
		gain = max(0, 1-float32(over)/float32(ms*(concealEnd-concealFull)))
	}
	if c.lost < ms*concealEnd {
		c.lost++
	}
	return v * gain
}

// pitch is the lag, in samples, at which the last 20 ms are most like what was before: searched coarsely in steps of two
// (at 8 kHz; four at 16), then exactly around the best.
func (c *Concealer) pitch() int {
	ms := c.rate / 1000
	step := c.rate / 4000
	best := c.search(ms*pitchMin, ms*pitchMax, step)
	return c.search(max(ms*pitchMin, best-step+1), min(ms*pitchMax, best+step-1), 1)
}

func (c *Concealer) search(from, to, step int) int {
	h, n := c.history, c.rate/1000*20
	now := h[len(h)-n:]
	best, at := float32(math.Inf(-1)), from
	for lag := from; lag <= to; lag += step {
		before := h[len(h)-n-lag:]
		var sum, energy float32
		for i := 0; i < n; i += step {
			sum += now[i] * before[i]
			energy += before[i] * before[i]
		}
		score := sum / float32(math.Sqrt(float64(energy)+1))
		if score > best {
			best, at = score, lag
		}
	}
	return at
}

func toSample(v float32) int16 {
	return int16(max(math.MinInt16, min(math.MaxInt16, v)))
}
