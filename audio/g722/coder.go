package g722

// bank is one half of the pair of filters between 16 kHz and the two bands of 8 kHz: the last 24 samples, the newest last.
type bank [24]int32

// push takes two samples in and returns the sums of the two phases of the filter.
func (x *bank) push(a, b int32) (odd, even int32) {
	copy(x[:22], x[2:])
	x[22], x[23] = a, b
	for i, h := range qmf {
		odd += x[2*i] * h
		even += x[2*i+1] * qmf[11-i]
	}
	return odd, even
}

// state is all that an encoder or a decoder remembers. It is copied to go on elsewhere.
type state struct {
	filter    bank
	low, high band
}

func newState() state { return state{low: band{det: 32}, high: band{det: 8}} }

// limit is the range of a band's signal.
func limit(v int32) int32 { return max(-16384, min(16383, v)) }

// encode turns two samples into a byte.
func (s *state) encode(a, b int16) byte {
	odd, even := s.filter.push(int32(a), int32(b))
	low, high := limit((even+odd)>>14), limit((even-odd)>>14)
	l := s.low.quantLow(sat(low - s.low.s))
	h := s.high.quantHigh(sat(high - s.high.s))
	s.low.low(l)
	s.high.high(h)
	return byte(h<<6 | l)
}

// decode turns a byte into two samples. They saturate: what was full scale must not come out with the other sign.
func (s *state) decode(code byte) (a, b int16) {
	l, h := int32(code&0x3F), int32(code>>6)
	low := limit(s.low.s + s.low.det*qm6[l]>>15)
	s.low.low(l)
	before := s.high.s
	high := limit(before + s.high.high(h))
	odd, even := s.filter.push(low+high, low-high)
	return int16(sat(even >> 11)), int16(sat(odd >> 11))
}
