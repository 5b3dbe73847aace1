package audio

import "math"

// The limiter's numbers. Below limitKnee (-3 dBFS) it changes no sample. Above it a smooth curve bends towards full scale,
// which it never reaches. What exceeds limitTop (-1.8 dBFS) is turned down to that before the curve, so that the curve itself
// has little to do but for the first moment of a loud passage.
const (
	limitKnee    = 23197
	limitTop     = 26500
	limitFull    = math.MaxInt16
	limitBlocks  = 8      // of a frame: 1.25 ms each
	limitRelease = 0.0083 // share of the reduction that is given back per block: 150 ms
	limitDone    = 0.001  // a reduction this small ends
)

// Limiter turns sums into samples without wrapping or clipping. What it turns down it gives back slowly, so that loud passages
// keep their shape. Its zero value is ready; it belongs to one goroutine and one listener (or to several who hear the
// same). It adds no delay: within a frame it looks ahead, at a frame's edge the curve alone must do.
type Limiter struct {
	cut float32 // 1 - gain
}

// Apply writes the limited in to out, which is at least as long. Zeros stay zeros.
func (l *Limiter) Apply(in []int32, out []int16) {
	out = out[:len(in)]
	var bits int32 // of all magnitudes together: no magnitude is larger, and it is quicker than to look for the largest
	for i, v := range in {
		bits |= v ^ v>>31
		out[i] = int16(v)
	}
	if l.cut == 0 && (bits < limitKnee || loudest(in) <= limitKnee) {
		return
	}
	l.reduce(in, out)
}

// Quiet tells the limiter that it was not needed for a frame, because that was silence.
func (l *Limiter) Quiet() { l.cut = 0 }

// reduce is Apply for what may be loud. It goes through the frame in blocks. The gain is a chain of straight lines; at every joint it is low enough for
// the blocks on both sides.
func (l *Limiter) reduce(in []int32, out []int16) {
	size := max(1, (len(in)+limitBlocks-1)/limitBlocks)
	gain := 1 - l.cut
	allowed := allowedGain(in[:min(size, len(in))])
	for at := 0; at < len(in); at += size {
		block := in[at:min(at+size, len(in))]
		next := allowed
		if rest := in[at+len(block):]; len(rest) > 0 {
			next = allowedGain(rest[:min(size, len(rest))])
		}
		end := gain + (1-gain)*limitRelease
		if 1-end < limitDone {
			end = 1
		}
		end = min(end, allowed, next)
		step := (end - gain) / float32(len(block))
		for i, v := range block {
			gain += step
			out[at+i] = bend(int32(float32(v) * gain))
		}
		gain, allowed = end, next
	}
	l.cut = 1 - gain
}

// loudest is the largest magnitude in sums.
func loudest(sums []int32) int64 {
	var lo, hi int32
	for _, v := range sums {
		lo, hi = min(lo, v), max(hi, v)
	}
	return max(int64(hi), -int64(lo))
}

// allowedGain is the gain at which block stays below limitTop.
func allowedGain(block []int32) float32 {
	top := loudest(block)
	if top <= limitTop {
		return 1
	}
	return limitTop / float32(top)
}

// bend is the curve: straight up to the knee, then towards full scale, without a corner.
func bend(v int32) int16 {
	const room = limitFull - limitKnee
	switch {
	case v > limitKnee:
		over := int64(v) - limitKnee
		return int16(limitKnee + room*over/(room+over))
	case v < -limitKnee:
		over := -int64(v) - limitKnee
		return int16(-limitKnee - room*over/(room+over))
	}
	return int16(v)
}
