package phonetest

import (
	"math"
	"slices"
	"time"
)

// Floor is the level that stands for nothing at all, in dBFS: below the smallest step of 16 bits.
const Floor = -120.0

// dBFS is the level of an amplitude, 1 being full scale.
func dBFS(amplitude float64) float64 {
	if amplitude <= 1e-6 {
		return Floor
	}
	return 20 * math.Log10(amplitude)
}

// ToneLevels is how loud one frequency was in the course of a recording, in dBFS, by windows of 200 ms that overlap by half.
// 0 dBFS is a sine whose peaks are at full scale.
type ToneLevels []float64

// Tone measures freq in all of s. Windows are Hann's, so a tone 60 Hz away or more is at least 60 dB down. A jitter buffer that catches
// up plays a little faster or slower, which nobody hears and a narrow measure does: what is up to 0.32 % off counts as freq. Of a
// recording shorter than one window there is nothing to say, and the result is empty.
func (s Sound) Tone(freq float64) ToneLevels {
	return s.tone(freq, -0.0032, -0.0016, 0, 0.0016, 0.0032)
}

// Swaying is Tone for a tone that ought to be there, wherever a busy machine may have made packets late: a jitter buffer that then catches up
// as fast as it can plays up to 1.25 % faster or slower, and that counts, too. Others must be 3 % away, and 100 Hz.
func (s Sound) Swaying(freq float64) ToneLevels {
	offs := make([]float64, 0, 17)
	for off := -8; off <= 8; off++ {
		offs = append(offs, float64(off)*0.0016)
	}
	return s.tone(freq, offs...)
}

// tone is the loudest of several pitches beside freq in each window.
func (s Sound) tone(freq float64, offs ...float64) ToneLevels {
	n := s.Rate / 5
	if n == 0 {
		return nil
	}
	window := make([]float64, n)
	for i := range window {
		window[i] = 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(n))
	}
	var levels ToneLevels
	for at := 0; at+n <= len(s.Samples); at += n / 2 {
		loudest := Floor
		for _, off := range offs {
			loudest = max(loudest, goertzel(s.Samples[at:at+n], window, freq*(1+off)/float64(s.Rate)))
		}
		levels = append(levels, loudest)
	}
	return levels
}

// goertzel is the level of one frequency, in cycles per sample, in windowed samples. It shares nothing, and the race detector would look
// at every sample of hours of sound.
//
//go:norace
func goertzel(x []int16, window []float64, freq float64) float64 {
	c := 2 * math.Cos(2*math.Pi*freq)
	var s1, s2, gain float64
	for i, v := range x {
		s1, s2 = float64(v)/32767*window[i]+c*s1-s2, s1
		gain += window[i]
	}
	power := s1*s1 + s2*s2 - c*s1*s2
	return dBFS(2 * math.Sqrt(max(0, power)) / gain)
}

// Quantile is the level that a share q (0 to 1) of the windows does not exceed; Floor if there is no window. The median is
// what to judge a tone that should be there by: a gap at the ends or a lost packet does not move it.
func (l ToneLevels) Quantile(q float64) float64 {
	if len(l) == 0 {
		return Floor
	}
	sorted := slices.Sorted(slices.Values(l))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// Median is Quantile(0.5).
func (l ToneLevels) Median() float64 { return l.Quantile(0.5) }

// Max is the loudest window: what to judge a tone by that should never be there.
func (l ToneLevels) Max() float64 { return l.Quantile(1) }

// Above is the number of windows louder than level dBFS. Windows are 100 ms apart.
func (l ToneLevels) Above(level float64) int {
	n := 0
	for _, v := range l {
		if v > level {
			n++
		}
	}
	return n
}

// RMS is the level of all of s, in dBFS; a sine at full scale has −3.01.
func (s Sound) RMS() float64 { return dBFS(rms(s.Samples)) }

// Peak is the level of the largest sample, in dBFS.
func (s Sound) Peak() float64 {
	peak := 0.0
	for _, v := range s.Samples {
		peak = max(peak, math.Abs(float64(v)))
	}
	return dBFS(peak / 32767)
}

// Loudest is the RMS level of the loudest stretch of 20 ms, in dBFS. Silence is judged by it: a mean would hide a click.
func (s Sound) Loudest() float64 {
	loudest := 0.0
	for _, v := range s.envelope(20 * time.Millisecond) {
		loudest = max(loudest, v)
	}
	return dBFS(loudest)
}

// Active is the part of s from the first to the last 20 ms stretch louder than threshold dBFS.
func (s Sound) Active(threshold float64) Sound {
	const step = 20 * time.Millisecond
	first, last := -1, -1
	for i, v := range s.envelope(step) {
		if dBFS(v) > threshold {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return Sound{Rate: s.Rate}
	}
	return s.Between(time.Duration(first)*step, time.Duration(last+1)*step)
}

//go:norace
func rms(x []int16) float64 {
	var sum float64
	for _, v := range x {
		f := float64(v) / 32767
		sum += f * f
	}
	return math.Sqrt(sum / float64(max(1, len(x))))
}

// envelope is the RMS of each step of s; an incomplete last step counts.
func (s Sound) envelope(step time.Duration) []float64 {
	n := int(step * time.Duration(s.Rate) / time.Second)
	if n == 0 {
		return nil
	}
	out := make([]float64, 0, len(s.Samples)/n+1)
	for at := 0; at < len(s.Samples); at += n {
		out = append(out, rms(s.Samples[at:min(at+n, len(s.Samples))]))
	}
	return out
}

// Envelope compares how loud heard is from moment to moment with how loud said was: the largest correlation coefficient of
// their envelopes (10 ms, smoothed to 30) over all delays of heard from −maxDelay to maxDelay, and the delay where it is found. Rates may
// differ. Only delays where the shorter of the two is at least four fifths covered count. Level does not matter, order and
// gaps do: 1 is the same speech, 0.3 is some other speech. Sound without any ups and downs gives 0.
func Envelope(said, heard Sound, maxDelay time.Duration) (correlation float64, delay time.Duration) {
	const step = 10 * time.Millisecond
	a, b := smooth(said.envelope(step)), smooth(heard.envelope(step))
	need := min(len(a), len(b)) * 4 / 5
	reach := int(maxDelay / step)
	for lag := -reach; lag <= reach; lag++ {
		from, to := max(0, -lag), min(len(a), len(b)-lag)
		if to-from < max(need, 10) {
			continue
		}
		if r := pearson(a[from:to], b[from+lag:to+lag]); r > correlation {
			correlation, delay = r, time.Duration(lag)*step
		}
	}
	return correlation, delay
}

// smooth is the mean of each value and its neighbours: two recordings' 10 ms grids do not coincide.
func smooth(x []float64) []float64 {
	out := make([]float64, len(x))
	for i := range x {
		first, last := max(0, i-1), min(len(x)-1, i+1)
		for _, v := range x[first : last+1] {
			out[i] += v / float64(last-first+1)
		}
	}
	return out
}

func pearson(a, b []float64) float64 {
	n := float64(len(a))
	var sa, sb float64
	for i := range a {
		sa += a[i]
		sb += b[i]
	}
	ma, mb := sa/n, sb/n
	var ab, aa, bb float64
	for i := range a {
		x, y := a[i]-ma, b[i]-mb
		ab += x * y
		aa += x * x
		bb += y * y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}
