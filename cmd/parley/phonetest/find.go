package phonetest

import (
	"math"
	"slices"
	"time"
)

// Find looks for a prompt in what was heard: the share of it that is there, from 0 to 1, and when it begins. It is cut into pieces
// of 300 ms; one is there if its waveform is (correlation of 0.7 or more below 900 Hz), less than 250 ms from where the
// others want it: a lost packet or a jitter buffer that moves costs a piece. Level does not matter, nor does a codec. 0.6 and more is this
// prompt; other words of the same voice give less than 0.3. Pauses in the prompt do not count.
func Find(prompt, heard Sound) (share float64, at time.Duration) {
	const rate = 2000
	p, h := prompt.coarse(rate), heard.coarse(rate)
	const piece = rate * 3 / 10
	loud := 0.0
	for i := 0; i+piece <= len(p); i += piece {
		loud = max(loud, rms(p[i:i+piece]))
	}
	var starts []int // where the prompt begins, as each piece that was found would have it
	pieces := 0
	for i := 0; i+piece <= len(p); i += piece {
		if rms(p[i:i+piece]) < loud/5 {
			continue
		}
		pieces++
		if where, r := bestMatch(p[i:i+piece], h); r >= 0.7 {
			starts = append(starts, where-i)
		}
	}
	if len(starts) == 0 {
		return 0, 0
	}
	slices.Sort(starts)
	middle := starts[len(starts)/2]
	near := 0
	for _, s := range starts {
		if s-middle < rate/4 && middle-s < rate/4 {
			near++
		}
	}
	return float64(near) / float64(pieces), time.Duration(middle) * time.Second / rate
}

// coarse is s at a much lower rate, through two moving averages: quick, and good enough to be compared with its like.
//
//go:norace
func (s Sound) coarse(rate int) []int16 {
	x := s.Samples
	width := max(1, s.Rate/rate)
	for range 2 {
		mean, sum := make([]int16, len(x)), 0
		for i := range x {
			sum += int(x[i])
			if i >= width {
				sum -= int(x[i-width])
			}
			mean[i] = int16(sum / width)
		}
		x = mean
	}
	out := make([]int16, 0, len(x)/width+1)
	for i := 0; i*s.Rate/rate < len(x); i++ {
		out = append(out, x[i*s.Rate/rate])
	}
	return out
}

// bestMatch is where x fits best into y, and the correlation there. The race detector would make it ten times slower, and it shares nothing.
//
//go:norace
func bestMatch(x, y []int16) (at int, correlation float64) {
	var xx, yy float64
	for _, v := range x {
		xx += float64(v) * float64(v)
	}
	for i := range y {
		yy += float64(y[i]) * float64(y[i])
		if i >= len(x) {
			yy -= float64(y[i-len(x)]) * float64(y[i-len(x)])
		}
		// Where hardly anything is heard, noise would correlate.
		if i < len(x)-1 || yy < float64(len(x))*100 {
			continue
		}
		from := i - len(x) + 1
		var xy int64
		for k, v := range x {
			xy += int64(v) * int64(y[from+k])
		}
		if r := float64(xy) / math.Sqrt(xx*yy); r > correlation {
			at, correlation = from, r
		}
	}
	return at, correlation
}
