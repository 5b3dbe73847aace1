package audio

import "sync/atomic"

// Gate is the mute key's end of the microphone. Any goroutine closes or opens it, and every Valve of it obeys from the next
// sound that it sees. It knows nobody who could be asked first: closing is one atomic step.
//
// Whoever latches it closes it in a way that Open does not undo. It is one step too, so that no Open that is under way can get
// in between.
//
// The zero value is closed and not latched, since a place whose state is unknown starts muted.
type Gate struct {
	// state holds the two bits below, and above them a number that grows by one whenever the gate is closed or opened. A Valve
	// that looks seldom can so tell that the gate was closed meanwhile, even if it is open again.
	state atomic.Uint64
}

const (
	gateOpen    = 1
	gateLatched = 2 // never together with gateOpen
	gateChange  = 4
)

// Close shuts the gate at once. Closing a closed gate is nothing.
func (g *Gate) Close() {
	g.change(func(s uint64) uint64 { return s &^ gateOpen })
}

// Open opens the gate unless it is latched. Opening an open gate is nothing.
func (g *Gate) Open() {
	g.change(func(s uint64) uint64 {
		if s&gateLatched != 0 {
			return s
		}
		return s | gateOpen
	})
}

// Latch shuts the gate at once, and only Release opens it again.
func (g *Gate) Latch() {
	g.change(func(s uint64) uint64 { return s&^gateOpen | gateLatched })
}

// Release opens the gate, latched or not.
func (g *Gate) Release() {
	g.change(func(s uint64) uint64 { return s&^gateLatched | gateOpen })
}

// Closed tells whether the gate is closed.
func (g *Gate) Closed() bool { return g.state.Load()&gateOpen == 0 }

// Closings is how often the gate has been closed since the start. Who keeps sound in a buffer compares it to know that what
// was kept before must not get out.
func (g *Gate) Closings() uint64 { return g.state.Load() / gateChange / 2 }

func (g *Gate) change(bits func(uint64) uint64) {
	for {
		s := g.state.Load()
		to := bits(s)
		if (s^to)&gateOpen != 0 {
			to += gateChange
		}
		if s == to || g.state.CompareAndSwap(s, to) {
			return
		}
	}
}

// gateFade is how long a Valve takes from sound to silence and back: 2.5 ms of 48 kHz, in samples.
const gateFade = SampleRate * 25 / 10000

// Valve is one place in the way of the sound where the gate is obeyed. It belongs to the goroutine that carries the sound
// there. The zero value belongs to no gate and lets everything through.
type Valve struct {
	gate *Gate
	seen uint64 // the gate's state at the last Apply
	last int16  // the last sample that went out
	fade int    // samples of the fade-in that are still to come
}

// NewValve makes a valve of g, which may be nil: then everything passes. Its first sound fades in.
func NewValve(g *Gate) Valve { return Valve{gate: g} }

// Apply lets pcm (48 kHz, any length) pass or makes it silence, in place. The first sound after the gate was closed is a
// ramp of 2.5 ms from the last sample to zero, which holds nothing of pcm; after it come exact zeros until the gate
// opens, and then the sound fades in over 2.5 ms.
func (v *Valve) Apply(pcm []int16) {
	if v.gate == nil || len(pcm) == 0 {
		return
	}
	state := v.gate.state.Load()
	if state&gateOpen == 0 {
		v.close(pcm)
	} else {
		if state != v.seen {
			v.fade = gateFade
		}
		v.open(pcm)
	}
	v.seen = state
}

func (v *Valve) close(pcm []int16) {
	clear(pcm)
	if v.last != 0 {
		n := min(gateFade, len(pcm))
		for i := range n {
			pcm[i] = int16(int(v.last) * (n - 1 - i) / n)
		}
	}
	v.last = 0
}

func (v *Valve) open(pcm []int16) {
	n := min(v.fade, len(pcm))
	for i := range n {
		pcm[i] = int16(int(pcm[i]) * (gateFade - v.fade + i) / gateFade)
	}
	v.fade -= n
	v.last = pcm[len(pcm)-1]
}
