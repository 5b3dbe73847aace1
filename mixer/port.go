package mixer

import (
	"sync/atomic"

	"parley/audio"
)

// port is a Port on the mixer's side.
type port struct {
	id      PortID
	source  Source
	packets PacketSink
	frames  FrameSink
	format  audio.Format
	rate    int // index of the rate of source and sink
	ungated bool

	// For build, under Mixer.mu.
	slot int
	mark uint32

	// What this port replaces; read once by the tick.
	prev       *port
	sameSource bool
	sameSink   bool

	hearing
	speaking

	state atomic.Uint64 // for other goroutines: see publish
}

// speaking is the source's side. It belongs to the tick.
type speaking struct {
	readAt  uint64 // the tick in which the source was last asked
	sounds  bool   // it contributed in that tick
	sounded bool   // and in the one before
	last    int16  // the last sample that it contributed
	gone    bool
	told    bool // gone was reported
	talk    talk
	meter   audio.Meter
	heir    *port // in the tick of a replacement: whose sound this one continues
	frame   audio.Frame
}

// hearing is the listener's side. It belongs to the tick.
type hearing struct {
	cur     *stream // whose packets it is sent
	own     *stream
	equal   int    // packets of its own in a row that were the same as the shared ones
	class   *class // what it heard last
	end     int16  // the last sample of the last frame that was made for it alone
	alone   bool   // that was in the last tick
	moved   bool   // in this tick: it hears another class than before
	jump    int32  // if so: the last sample that it was given
	limiter audio.Limiter
	out     audio.Frame
}

// A form is how much of a source is in a sum: all of it, or, where it begins or ends, what keeps the sum from jumping.
type form uint8

const (
	none form = iota
	full
	begins // the frame, less a ramp from its first sample to zero
	ends   // a ramp from the last sample of the frame before to zero
)

func formOf(before, now bool) form {
	switch {
	case before && now:
		return full
	case now:
		return begins
	case before:
		return ends
	}
	return none
}

// before and now tell whether the source contributed in the tick before n, and does so in tick n.
func (p *port) before(n uint64) bool {
	if p.readAt == n {
		return p.sounded
	}
	return p.readAt+1 == n && p.sounds
}

func (p *port) now(n uint64) bool { return p.readAt == n && p.sounds }

// addTo adds p, in form f, to sum; sign is 1, or -1 to take the same out again.
func (p *port) addTo(sum []int32, f form, sign int32) {
	x := p.frame[:len(sum)]
	switch f {
	case full:
		addFrame(sum, x, sign)
	case begins:
		addFrame(sum, x, sign)
		ramp(sum, -sign*int32(x[0]))
	case ends:
		ramp(sum, sign*int32(p.last))
	}
}

func addFrame(sum []int32, x []int16, sign int32) {
	x = x[:len(sum)]
	if sign < 0 {
		for i, v := range x {
			sum[i] -= int32(v)
		}
		return
	}
	for i, v := range x {
		sum[i] += int32(v)
	}
}

// ramp adds a straight line from step to zero, 5 ms long.
func ramp(sum []int32, step int32) {
	n := int32(len(sum) / 2)
	for i := range n {
		sum[i] += step * (n - i) / n
	}
}

// read asks the source for tick n and decides whether it contributes.
func (p *port) read(n uint64) {
	p.sounded = p.readAt+1 == n && p.sounds
	p.readAt, p.sounds = n, false
	if p.gone {
		return
	}
	switch status := p.source.ReadFrame(rates[p.rate], &p.frame); status {
	case audio.Active, audio.Late:
		pcm := p.frame[:frameLen(p.rate)]
		l := p.talk.measure(pcm)
		p.meter.Add(l)
		if p.ungated {
			p.talk.bar = 0
		} else if status == audio.Active {
			p.talk.learn(l.Power)
		}
		p.sounds = p.talk.open(l.Power)
	case audio.Gone:
		p.gone = true
		p.meter = audio.Meter{}
	default:
		p.meter.Add(audio.Level{})
		p.talk.hang = max(0, p.talk.hang-1)
	}
	p.publish()
}

// takeOver makes p go on where the port that it replaces is.
func (p *port) takeOver() {
	old, source, sink := p.prev, p.sameSource, p.sameSink
	for old.prev != nil { // that one was added and replaced between two ticks
		source, sink = source && old.sameSource, sink && old.sameSink
		old = old.prev
	}
	p.prev = nil
	if source && !old.gone {
		p.speaking = old.speaking
		p.heir = old
	}
	if sink && old.hearing.class != nil {
		own := p.own
		if p.hearing = old.hearing; p.cur != old.own {
			p.own = own
		}
	}
}
