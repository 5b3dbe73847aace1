package jitter

import "time"

// Next says what is to be played from now on. held is how much the player has decoded and not played yet, in ticks of the
// RTP clock. Apart from Idle, every call moves on; after Play the player must call Played.
func (b *Buffer) Next(now time.Time, held int) Item {
	if b.state == stopped {
		return Item{}
	}
	at := int64(now.Sub(b.epoch)) + b.ns(int64(held))
	if b.state == filling {
		if at < b.start-int64(unit)/2 { // the nearest tick to the target
			return Item{}
		}
		b.state = playing
	}
	b.measure(at)
	for range b.slots {
		s := b.ahead()
		if s == nil {
			return b.empty()
		}
		if it, ok := b.take(s); ok {
			b.dry = 0
			return it
		}
	}
	return b.empty()
}

// Played tells how long the packet was that Next gave last, in ticks of the RTP clock, Skip included.
func (b *Buffer) Played(ticks int) {
	if ticks < 1 {
		ticks = int(b.ticks)
	}
	b.ticks = int64(ticks)
	b.play = max(b.play+int64(ticks), b.floor) // a packet shorter than those before it may be over before its rest begins
}

// measure compares the delay with the target and sets the slew.
func (b *Buffer) measure(at int64) {
	b.delay, b.known = at-b.ns(b.play)-b.path.shortest(), true
	if !b.path.settled(at) {
		return
	}
	off := b.delay - b.target
	size := max(off, -off)
	sign := 1
	if off < 0 {
		sign = -1
	}
	switch {
	case size > int64(slewFast):
		b.slew = 2 * sign
	case size > int64(slewStart):
		b.slew = max(b.slew*sign, 1) * sign
	case size < int64(slewStop) || b.slew*sign < 0:
		b.slew = 0
	case b.slew != 0:
		b.slew = sign
	}
	if off <= int64(hardExcess) {
		return
	}
	for off > int64(slewStart) && b.held > 1 { // too much at once to be worked off by slewing
		s := b.ahead()
		if s == nil || s.seq != b.seq || s.ts > b.play {
			return
		}
		if !s.mark {
			b.count.Dropped++
			b.play = max(b.play, s.ts+b.ticks)
		}
		b.pass(s, false)
		off = at - b.ns(b.play) - b.path.shortest() - b.target
	}
	b.delay = off + b.target
}

// ahead is the oldest packet that waits.
func (b *Buffer) ahead() *slot {
	if b.held == 0 {
		return nil
	}
	for i := range int64(len(b.slots)) {
		if s := &b.slots[(b.seq+i)&b.mask]; s.full && s.seq == b.seq+i {
			return s
		}
	}
	return nil
}

// pass takes a packet out; the next one is its successor.
func (b *Buffer) pass(s *slot, played bool) {
	for b.seq < s.seq {
		b.history <<= 1
		b.seq++
	}
	b.history <<= 1
	b.seq++
	if played {
		b.history |= 1
	}
	b.vacate(s)
}

// take makes an item of the oldest waiting packet, or throws it away.
func (b *Buffer) take(s *slot) (Item, bool) {
	if s.mark {
		if s.seq == b.seq {
			b.pass(s, true)
			return Item{}, false
		}
		return b.lost(s)
	}
	wait := s.ts - b.play
	missing := s.seq - b.seq
	switch {
	case wait+b.ticks <= 0: // its time has passed while something else was played
		b.count.Late++
		b.pass(s, false)
		return Item{}, false
	case missing > 0 && wait > 0:
		return b.lost(s)
	case wait > 0:
		n := min(wait, b.clock*int64(unit)/int64(time.Second))
		b.play += n
		return Item{Kind: Gap, Ticks: int(n)}, true
	}
	b.count.Lost += uint64(missing) // those before it have no time left; their place was filled
	b.floor, b.play = b.play, s.ts
	b.pass(s, true)
	return Item{Kind: Play, Payload: s.payload, Skip: int(-wait)}, true
}

// lost makes an item of the first missing packet before s.
func (b *Buffer) lost(s *slot) (Item, bool) {
	missing, wait := s.seq-b.seq, s.ts-b.play
	if s.mark { // it has no time of its own: fill one packet, unless the sound goes on right after it
		wait = b.ticks * missing
	}
	for missing > 1 && wait <= (missing-1)*b.ticks { // the time of the first ones has been filled already
		b.count.Lost++
		b.history <<= 1
		b.seq++
		missing--
	}
	b.count.Lost++
	b.history <<= 1
	b.seq++
	it := Item{Kind: Lost, Ticks: int(b.ticks)}
	if missing == 1 && wait < b.ticks { // a part of it has been filled already
		it.Skip = int(b.ticks - wait)
	}
	if missing == 1 && wait <= b.ticks && !s.mark {
		it.Next = s.payload
	}
	b.play += b.ticks - int64(it.Skip)
	return it, true
}

// empty fills a moment while nothing is there.
func (b *Buffer) empty() Item {
	b.dry += int64(unit)
	if b.dry > int64(idleAfter) {
		b.stop()
		return Item{}
	}
	n := b.clock * int64(unit) / int64(time.Second)
	b.play += n
	return Item{Kind: Empty, Ticks: int(n), Dry: time.Duration(b.dry)}
}
