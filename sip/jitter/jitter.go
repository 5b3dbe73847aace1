// Package jitter puts the packets of one RTP stream back into order and time.
//
//	packets, as they arrive --Put--> slots, by sequence number --Next--> what to decode now
//
// It holds encoded payloads and knows neither codecs, samples, sockets nor clocks: the time is an argument. Whoever plays
// asks Next for another piece whenever it has less sound than it needs, so the buffer follows the player's clock, and the
// sender's clock is followed by Slew, which says when to play a little faster or slower.
package jitter

import "time"

// MaxPayload is the longest payload that a Buffer takes, in bytes.
const MaxPayload = 1500

// DefaultTarget is how long the fastest packets wait if the Config does not say.
const DefaultTarget = 40 * time.Millisecond

const (
	defaultSlots = 32
	historyBits  = 64 // how far back a second copy can be told from a late packet

	usualPayload = 320 // bytes that a slot has room for at first: 40 ms of G.711

	maxForward  = 3000 // RFC 3550, A.1: MAX_DROPOUT
	maxBackward = 100  // RFC 3550, A.1: MAX_MISORDER

	unit        = 10 * time.Millisecond  // what is filled at once while nothing is there
	idleAfter   = time.Second            // without a packet the stream is taken as paused and starts anew
	transitJump = time.Second            // a change of transit that is a new time base, not a slow network
	lateRun     = 8                      // so many late packets in a row,
	lateSpan    = 140 * time.Millisecond // over so long a time: the way has become longer for good
	hardExcess  = 120 * time.Millisecond // more delay than this over the target is thrown away at once
	slewStart   = 10 * time.Millisecond  // a smaller error is left alone
	slewFast    = 25 * time.Millisecond  // a larger one is worked off quickly
	slewStop    = time.Millisecond
	slewSettle  = time.Second // no judgement on the clock before this much of the stream was seen
)

// Config sets up a Buffer.
type Config struct {
	// Target is how long the packets with the shortest way wait before they are played; jitter up to it costs nothing.
	// 0 means DefaultTarget.
	Target time.Duration
	// ClockRate is the RTP clock in Hz.
	ClockRate int
	// Slots is how many packets are held at most, rounded up to a power of two, 4 to 1024; 0 means 32.
	Slots int
}

// Verdict is what became of a packet.
type Verdict uint8

const (
	// Stored: it waits for its turn.
	Stored Verdict = iota
	// Duplicate: it is here already, or was played.
	Duplicate
	// Late: its time has passed.
	Late
	// Jumped: far from where the stream was; dropped, the stream moves if the next packet agrees.
	Jumped
	// TooLong: its payload is longer than MaxPayload.
	TooLong
)

// Packet is one RTP packet; the payload is copied by Put.
type Packet struct {
	Seq       uint16
	Timestamp uint32
	Arrived   time.Time
	Payload   []byte
}

// Kind says what an Item is.
type Kind uint8

const (
	// Idle: there is no stream now, or it is just filling up. Play silence; time stands still in the buffer.
	Idle Kind = iota
	// Play: decode Payload, tell its length with Played, and leave out the first Skip ticks.
	Play
	// Lost: a packet of Ticks is missing. Next, if not nil, is the payload after it, whose redundancy may help. Leave out
	// the first Skip ticks.
	Lost
	// Gap: the sender left Ticks out on purpose (its sequence numbers go on without a hole).
	Gap
	// Empty: nothing is here and nobody knows why yet; fill Ticks.
	Empty
)

// Item is what is to be played next. Payload and Next belong to the Buffer and are good until its next call.
type Item struct {
	Kind    Kind
	Payload []byte
	Next    []byte
	Ticks   int           // in units of the RTP clock
	Skip    int           // in units of the RTP clock; perhaps all of a packet, if it is shorter than those before it
	Dry     time.Duration // Empty: how long there has been nothing
}

// Counters count since New, through every Reset.
type Counters struct {
	Stored, Duplicate, Late, Jumped uint64
	Lost                            uint64 // packets that were missing when their turn came
	Dropped                         uint64 // good packets thrown away to get the delay down
	Restarts                        uint64 // the stream began, or began anew after a jump, a pause or a longer way
}

type slot struct {
	full    bool
	mark    bool // a packet of another kind: takes a number and no time
	seq     int64
	ts      int64
	payload []byte // while full
}

// Buffer is a jitter buffer with a fixed target. It belongs to one goroutine and does not allocate after New, but for the
// first packets that are longer than usual: at most three times.
type Buffer struct {
	target int64 // ns
	clock  int64 // Hz
	slots  []slot
	mask   int64
	room   int      // bytes for each payload
	free   [][]byte // for payloads; the one that was used last is taken first, as it is in the processor's cache

	state   state
	epoch   time.Time // of all times below, in ns
	seen    bool
	topSeq  int64 // the newest number seen
	topTS   int64 // and its extended timestamp
	seq     int64 // the next number to be played
	play    int64 // the next timestamp to be played
	floor   int64 // play does not go back behind this
	ticks   int64 // length of the last packet
	start   int64 // ns: filling ends
	dry     int64 // ns of Empty in a row
	late    int   // packets in a row
	lateAt  int64 // ns: the first of them
	badSeq  int64 // what follows a jump; -1 for none
	history uint64
	held    int64 // packets in slots

	path  transit
	delay int64 // ns: how long the fastest packet waits as things are
	known bool
	slew  int

	count Counters
}

type state uint8

const (
	stopped state = iota
	filling
	playing
)

// New makes an empty buffer. A clock rate below 1 is taken as 8000 Hz.
func New(c Config) *Buffer {
	if c.Slots <= 0 {
		c.Slots = defaultSlots
	}
	n := 4
	for n < c.Slots && n < 1024 {
		n *= 2
	}
	if c.Target <= 0 {
		c.Target = DefaultTarget
	}
	b := &Buffer{target: int64(c.Target), slots: make([]slot, n), mask: int64(n - 1), free: make([][]byte, 0, n)}
	b.widen(usualPayload)
	b.Reset(c.ClockRate)
	return b
}

// widen makes room for payloads of size bytes, in one piece of memory.
func (b *Buffer) widen(size int) {
	memory := make([]byte, len(b.slots)*size)
	b.room, b.free = size, b.free[:0]
	for i := range b.slots {
		room := memory[i*size : i*size : (i+1)*size]
		if s := &b.slots[i]; s.full {
			s.payload = append(room, s.payload...)
		} else {
			b.free = append(b.free, room)
		}
	}
}

// vacate takes the packet out of a full slot. Its payload stays as it is until the next one is stored.
func (b *Buffer) vacate(s *slot) {
	s.full = false
	b.free = append(b.free, s.payload[:0])
	b.held--
}

// Reset forgets the stream and its packets, for another SSRC or another codec. The counters stay.
func (b *Buffer) Reset(clockRate int) {
	if clockRate < 1 {
		clockRate = 8000
	}
	b.clock = int64(clockRate)
	b.ticks = b.clock / 50
	b.seen, b.badSeq = false, -1
	b.stop()
}

// stop empties the slots and waits for a packet to start from.
func (b *Buffer) stop() {
	for i := range b.slots {
		if s := &b.slots[i]; s.full {
			b.vacate(s)
		}
	}
	b.state, b.held, b.late, b.dry, b.history = stopped, 0, 0, 0, 0
	b.known, b.slew = false, 0
	b.path = transit{}
}

// Put takes a packet that has arrived.
func (b *Buffer) Put(p Packet) Verdict {
	if len(p.Payload) > MaxPayload {
		return TooLong
	}
	v := b.put(p, false)
	switch v {
	case Stored:
		b.count.Stored++
	case Duplicate:
		b.count.Duplicate++
	case Late:
		b.count.Late++
	case Jumped:
		b.count.Jumped++
	}
	return v
}

// Mark takes note of a packet of the same stream that is not sound (a telephone event, comfort noise): its number is not
// missing, and it takes no time.
func (b *Buffer) Mark(seq uint16) {
	if b.state != stopped {
		b.put(Packet{Seq: seq}, true)
	}
}

func (b *Buffer) put(p Packet, mark bool) Verdict {
	seq, ts := b.extend(p.Seq, p.Timestamp, mark)
	if !b.seen {
		return b.begin(seq, ts, p)
	}
	if d := seq - b.topSeq; d > maxForward || d < -maxBackward {
		if mark {
			return Jumped
		}
		if seq != b.badSeq {
			b.badSeq = b.wrapSeq(seq + 1)
			return Jumped
		}
		return b.begin(seq, ts, p)
	}
	if mark {
		return b.store(seq, 0, p, true)
	}
	b.badSeq = -1
	arrived := int64(p.Arrived.Sub(b.epoch))
	way := arrived - b.ns(ts)
	if b.path.jumped(way) {
		return b.begin(seq, ts, p)
	}
	b.top(seq, ts)
	if b.state == stopped {
		return b.begin(seq, ts, p)
	}
	if v, done := b.tooLate(seq, ts, p); done {
		return v
	}
	if seq >= b.seq+int64(len(b.slots)) { // more was lost than is ever held
		return b.begin(seq, ts, p)
	}
	b.path.add(arrived, way)
	return b.store(seq, ts, p, false)
}

// tooLate judges a packet whose turn has gone by.
func (b *Buffer) tooLate(seq, ts int64, p Packet) (v Verdict, done bool) {
	if b.state == filling {
		if seq >= b.seq {
			return 0, false
		}
		if b.topSeq-seq >= int64(len(b.slots)) {
			return Late, true
		}
		b.seq, b.play = seq, ts // it overtook the one that we wanted to start from
		return 0, false
	}
	if seq < b.seq {
		if back := b.seq - 1 - seq; back < historyBits && b.history>>uint(back)&1 == 1 {
			return Duplicate, true
		}
	} else if ts+b.ticks > b.play {
		b.late = 0
		return 0, false
	}
	arrived := int64(p.Arrived.Sub(b.epoch))
	if b.late == 0 {
		b.lateAt = arrived
	}
	if b.late++; b.late >= lateRun && arrived-b.lateAt >= int64(lateSpan) {
		return b.begin(seq, ts, p), true
	}
	b.path.add(arrived, arrived-b.ns(ts))
	return Late, true
}

// begin starts the stream at a packet.
func (b *Buffer) begin(seq, ts int64, p Packet) Verdict {
	b.stop()
	b.count.Restarts++
	if b.epoch.IsZero() {
		b.epoch = p.Arrived
	}
	b.seen, b.badSeq = true, -1
	b.topSeq, b.topTS = seq, ts
	b.seq, b.play = seq, ts
	arrived := int64(p.Arrived.Sub(b.epoch))
	b.path.add(arrived, arrived-b.ns(ts))
	b.state, b.start = filling, arrived+b.target
	return b.store(seq, ts, p, false)
}

func (b *Buffer) store(seq, ts int64, p Packet, mark bool) Verdict {
	if seq < b.seq || seq >= b.seq+int64(len(b.slots)) {
		return Late
	}
	s := &b.slots[seq&b.mask]
	if s.full && s.seq == seq {
		return Duplicate
	}
	if len(p.Payload) > b.room {
		b.widen(min(max(len(p.Payload), 2*b.room), MaxPayload))
	}
	if !s.full {
		b.held++
		last := len(b.free) - 1
		s.payload, b.free = b.free[last], b.free[:last]
	}
	s.full, s.mark, s.seq, s.ts = true, mark, seq, ts
	s.payload = append(s.payload[:0], p.Payload...)
	return Stored
}

// extend turns the wire's 16 and 32 bits into numbers that do not wrap.
func (b *Buffer) extend(seq uint16, ts uint32, mark bool) (int64, int64) {
	if !b.seen {
		return int64(seq) + 1<<16, int64(ts) + 1<<32
	}
	s := b.topSeq + int64(int16(seq-uint16(b.topSeq)))
	if mark {
		return s, 0
	}
	return s, b.topTS + int64(int32(ts-uint32(b.topTS)))
}

// wrapSeq brings a number to where extend would put it seen from here.
func (b *Buffer) wrapSeq(seq int64) int64 {
	return b.topSeq + int64(int16(uint16(seq)-uint16(b.topSeq)))
}

func (b *Buffer) top(seq, ts int64) {
	if seq > b.topSeq {
		b.topSeq, b.topTS = seq, ts
	}
}

// ns is a timestamp as time, without overflow in calls that last for weeks.
func (b *Buffer) ns(ts int64) int64 {
	return ts/b.clock*int64(time.Second) + ts%b.clock*int64(time.Second)/b.clock
}

// Count returns the counters.
func (b *Buffer) Count() Counters { return b.count }

// Delay is how long the packets with the shortest way wait here, playing included; false while nothing plays.
func (b *Buffer) Delay() (time.Duration, bool) { return time.Duration(b.delay), b.known }

// Held is the number of packets that wait.
func (b *Buffer) Held() int { return int(b.held) }

// Slew says how the player's speed should change to follow the sender's clock: 0 as it is, +1 a little and +2 clearly
// faster (the delay is above the target), -1 and -2 slower.
func (b *Buffer) Slew() int { return b.slew }
