package rtp

import "time"

const (
	probation   = 3    // packets in a row until another SSRC is believed
	maxDropout  = 3000 // RFC 3550, A.1
	maxMisorder = 100
)

// source is what is known about the far end's stream (RFC 3550, A.1, A.3, A.8).
type source struct {
	known    bool
	ssrc     uint32
	base     int64 // first sequence number, extended
	max      int64 // highest
	bad      int32 // the number that would confirm a jump; -1 for none
	received int64

	jitter  int64 // RTP ticks × 16
	transit int64 // RTP ticks
	timed   bool
	twice   bool // jitter means something

	priorExpected, priorReceived int64

	lsr   uint32
	lsrAt time.Time

	candidate uint32 // another SSRC
	candSeq   uint16
	candRun   int
}

// admit judges a packet's SSRC: false while it is another stream's that has not come probation times in a row. fresh: the
// packet begins a stream.
func (s *source) admit(h header) (ok, fresh bool) {
	switch {
	case !s.known:
	case h.ssrc == s.ssrc:
		s.candRun = 0
		return true, false
	default:
		if s.candRun == 0 || s.candidate != h.ssrc || h.seq != s.candSeq+1 {
			s.candidate, s.candRun = h.ssrc, 0
		}
		s.candSeq = h.seq
		if s.candRun++; s.candRun < probation {
			return false, false
		}
	}
	*s = source{known: true, ssrc: h.ssrc, base: int64(h.seq), max: int64(h.seq) - 1, bad: -1}
	return true, true
}

// count takes note of a packet's sequence number. false: it is far from the others, and counts only if the next one is too.
func (s *source) count(seq uint16) bool {
	d := int64(int16(seq - uint16(s.max)))
	if d > maxDropout || d < -maxMisorder {
		if int32(seq) != s.bad {
			s.bad = int32(seq + 1)
			return false
		}
		s.base, s.max, s.received = int64(seq), int64(seq)-1, 0
		s.priorExpected, s.priorReceived = 0, 0
		d = 1
	}
	s.bad = -1
	if d > 0 {
		s.max += d
	}
	s.received++
	return true
}

// time takes note of an arrival, in ns of any clock.
func (s *source) time(arrived int64, timestamp uint32, clock int) {
	c := int64(clock)
	ticks := arrived/int64(time.Second)*c + arrived%int64(time.Second)*c/int64(time.Second)
	transit := int64(uint32(ticks) - timestamp)
	if s.timed {
		d := int64(int32(uint32(transit) - uint32(s.transit)))
		if d = max(d, -d); d < c { // more than a second is a new time base
			s.jitter += d - (s.jitter+8)>>4
			s.twice = true
		}
	}
	s.transit, s.timed = transit, true
}

func (s *source) expected() int64 {
	if !s.known {
		return 0
	}
	return s.max - s.base + 1
}

// report makes the report block and begins the next interval.
func (s *source) report(now time.Time) block {
	expected := s.expected()
	lost := expected - s.received
	b := block{ssrc: s.ssrc, lost: int32(min(max(lost, -1<<23), 1<<23-1)), highest: uint32(s.max), jitter: uint32(s.jitter >> 4)}
	e, r := expected-s.priorExpected, s.received-s.priorReceived
	s.priorExpected, s.priorReceived = expected, s.received
	if e > 0 && e > r {
		b.fraction = uint8(min((e-r)<<8/e, 255))
	}
	if s.lsr != 0 {
		b.lsr, b.dlsr = s.lsr, fixed16(now.Sub(s.lsrAt))
	}
	return b
}
