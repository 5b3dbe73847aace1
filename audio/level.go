package audio

import "math"

// SilenceDB is the level of digital silence and the lowest that is ever told, in dBFS.
const SilenceDB = -127

// Level is how loud a stretch of sound was. 0 dBFS is the RMS of a square wave at full scale (as dBov in RFC 6464), so a
// full-scale sine has an RMS of -3.01 dBFS and a peak of 0.
type Level struct {
	Power float64 // mean square of the samples, full scale = 32768²
	Peak  int32   // largest magnitude, 0 … 32768
}

// Measure is the level of pcm. It looks at every sample.
func Measure(pcm []int16) Level {
	if len(pcm) == 0 {
		return Level{}
	}
	n := len(pcm)
	var s0, s1 uint64
	var top0, top1 uint32 // of the squares: their order is that of the magnitudes
	for len(pcm) >= 4 {
		q := pcm[:4:4]
		pcm = pcm[4:]
		a, b, c, d := int32(q[0]), int32(q[1]), int32(q[2]), int32(q[3])
		a, b, c, d = a*a, b*b, c*c, d*d
		s0 += uint64(a) + uint64(b)
		s1 += uint64(c) + uint64(d)
		top0 = max(top0, uint32(a), uint32(b))
		top1 = max(top1, uint32(c), uint32(d))
	}
	for _, s := range pcm {
		a := int32(s) * int32(s)
		s0 += uint64(a)
		top0 = max(top0, uint32(a))
	}
	return Level{Power: float64(s0+s1) / float64(n), Peak: root(max(top0, top1))}
}

// MeasureSome is the level of a quarter of pcm's samples: enough to know low noise by, at a fraction of the cost. They are
// taken at changing distances, so that no tone can hide between them: its RMS is at most 6 dB off, that of noise 0.5.
func MeasureSome(pcm []int16) Level {
	n := len(pcm) / 17
	if n == 0 {
		return Measure(pcm)
	}
	var s0, s1 uint64
	var top0, top1 uint32
	for len(pcm) >= 17 {
		q := pcm[:17:17]
		pcm = pcm[17:]
		a, b, c, d := int32(q[0]), int32(q[5]), int32(q[10]), int32(q[15])
		a, b, c, d = a*a, b*b, c*c, d*d
		s0 += uint64(a) + uint64(b)
		s1 += uint64(c) + uint64(d)
		top0 = max(top0, uint32(a), uint32(b))
		top1 = max(top1, uint32(c), uint32(d))
	}
	return Level{Power: float64(s0+s1) / float64(4*n), Peak: root(max(top0, top1))}
}

// root is exact: the squares of 16-bit samples are whole numbers far below 2⁵³.
func root(square uint32) int32 { return int32(math.Sqrt(float64(square))) }

// RMS is the level in dBFS, at least SilenceDB.
func (l Level) RMS() float64 { return PowerDB(l.Power) }

// PeakDB is the largest magnitude in dBFS, at least SilenceDB.
func (l Level) PeakDB() float64 { return PowerDB(float64(l.Peak) * float64(l.Peak)) }

// fullPower is the power at 0 dBFS.
const fullPower = 32768.0 * 32768.0

// PowerDB turns a mean square into dBFS, at least SilenceDB.
func PowerDB(power float64) float64 {
	if power <= 0 {
		return SilenceDB
	}
	return max(SilenceDB, 10*math.Log10(power/fullPower))
}

// DBPower turns dBFS into a mean square.
func DBPower(db float64) float64 { return fullPower * math.Pow(10, db/10) }

// Meter smooths the levels of successive frames of 10 ms into what a display shows: RMS with a time constant of
// 100 ms, and a peak that jumps up at once and falls by 20 dB per second. The zero value is silent. It belongs to one goroutine.
type Meter struct {
	power float64
	peak  float64
}

const (
	meterShare = 0.0952 // 1 - e^(-10/100)
	meterFall  = 0.9772 // -0.2 dB
)

// Add takes the next frame's level. Silence is Level{}.
func (m *Meter) Add(l Level) {
	m.power += (l.Power - m.power) * meterShare
	m.peak = max(float64(l.Peak), m.peak*meterFall)
	if m.power < 0.01 { // -110 dBFS: nothing that a 16-bit sample can hold for long; ends the tail of tiny numbers
		m.power = 0
	}
}

// Level is the smoothed level.
func (m *Meter) Level() Level { return Level{Power: m.power, Peak: int32(m.peak)} }
