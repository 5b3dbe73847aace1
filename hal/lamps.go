package hal

import (
	"context"
	"sync"
	"time"
)

// Pattern is how a lamp behaves over time. Two lamps of one kind with equal patterns blink together.
type Pattern uint8

// The patterns. They are told apart by rhythm alone, for lamps of one colour.
const (
	Off         Pattern = iota
	On                  // steady
	Slow                // once a second
	Breathe             // every two seconds
	Fast                // two and a half times a second
	Flicker             // five times a second
	Wink                // on, with a short gap every second
	DoubleWink          // on, with two short gaps every second
	Flash               // off, with a short flash every two seconds
	DoubleFlash         // off, with two short flashes every two seconds
	Flurry              // a second of flicker, a second dark
	Blip                // on, with a short gap every two seconds
	numPatterns

	// WithFault, added to any of them, is a burst of flicker on top, every two seconds.
	WithFault Pattern = 0x80
	// WithReset, added to any of them, is a second of flicker in every two.
	WithReset Pattern = 0x40
)

// step is the time of one letter of a rhythm.
const step = 100 * time.Millisecond

// rhythms are the patterns, # lit. Lengths divide 20 steps, so that all of them meet again every two seconds.
var rhythms = [numPatterns]string{
	Off:         ".",
	On:          "#",
	Slow:        "#####.....",
	Breathe:     "##########..........",
	Fast:        "##..",
	Flicker:     "#.",
	Wink:        "#########.",
	DoubleWink:  "#######.#.",
	Flash:       "#...................",
	DoubleFlash: "#.#.................",
	Flurry:      "#.#.#.#.#...........",
	Blip:        "###################.",
}

// faultBurst is how many steps of every two seconds WithFault takes, at their end: flashes stand at the beginning.
const faultBurst = 6

// resetBurst is how many steps of every two seconds WithReset takes, at their beginning.
const resetBurst = 10

// Blink tells whether a lamp with pattern p is lit at the time since any common beginning.
func Blink(p Pattern, since time.Duration) bool {
	if since < 0 {
		since = 0
	}
	n := int(since/step) % 20
	if p&WithReset != 0 {
		p &^= WithReset
		if n < resetBurst {
			return n%2 == 0
		}
	}
	if p&WithFault != 0 {
		p &^= WithFault
		if n >= 20-faultBurst {
			return n%2 == 0
		}
	}
	if p >= numPatterns {
		return false
	}
	r := rhythms[p]
	return r[n%len(r)] == '#'
}

// State is a rung of the ladder: what the status lamp may have to show.
type State uint8

// The ladder, from the top. The highest rung that is true is shown. Above it stands what a finger on the reset key wants
// to know at that moment.
const (
	StateReset     State = iota // the box resets itself
	StateResetting              // it will if the key is held on
	StateFault
	StateRecording
	StatePrivateRoom
	StateFloorGranted
	StateQueued
	StateRinging
	StateInCall
	StateJoinable
	StateIdle
	NumStates = iota
)

var stateNames = [NumStates]string{"reset", "reset key held", "fault", "recording", "private room", "floor granted", "queued", "ringing", "in call", "joinable", "idle"}

// String is the state's name.
func (s State) String() string { return nameOf(stateNames[:], int(s)) }

// States is a set of rungs. Idle is always in it.
type States uint16

// With is s and the given rungs.
func (s States) With(more ...State) States {
	for _, x := range more {
		s |= 1 << x
	}
	return s
}

// Has tells whether the rung is in s.
func (s States) Has(x State) bool { return x == StateIdle || s&(1<<x) != 0 }

// Top is the highest rung of s.
func (s States) Top() State {
	for x := State(0); x < StateIdle; x++ {
		if s.Has(x) {
			return x
		}
	}
	return StateIdle
}

// shown is how each rung looks: on a status lamp of its own, and on the only lamp of a board, where steady light means muted.
var shown = [NumStates]struct{ status, only Pattern }{
	StateReset:        {Blip, Blip},
	StateResetting:    {Flurry, Flurry},
	StateFault:        {Flicker, Flicker},
	StateRecording:    {Wink, Wink},
	StatePrivateRoom:  {DoubleWink, DoubleWink},
	StateFloorGranted: {Slow, Slow},
	StateQueued:       {DoubleFlash, DoubleFlash},
	StateRinging:      {Fast, Fast},
	StateInCall:       {On, Breathe},
	StateJoinable:     {Flash, Flash},
	StateIdle:         {Off, Off},
}

// MuteLamp is the mute lamp's pattern: the gate, and nothing else.
func MuteLamp(muted bool) Pattern {
	if muted {
		return On
	}
	return Off
}

// StatusLamp is the status lamp's pattern.
func StatusLamp(s States) Pattern { return shown[s.Top()].status }

// OnlyLamp is the pattern of the lamp of a board that has one: mute above all, fault and reset as bursts on top.
func OnlyLamp(muted bool, s States) Pattern {
	p := On
	if below := s &^ (1<<StateFault | 1<<StateResetting); !muted {
		p = shown[below.Top()].only
	}
	switch {
	case s.Has(StateReset): // the box and its gate are about to go
	case s.Has(StateResetting):
		p |= WithReset
	case s.Has(StateFault):
		p |= WithFault
	}
	return p
}

// Blinker keeps lamps at their patterns.
type Blinker struct {
	lamps Lamps
	fault func(Lamp, error) // told once when a lamp fails, and with nil when it works again

	mu       sync.Mutex // holds the fields below and the lamps
	patterns [NumLamps]Pattern
	lit      [NumLamps]int8 // 0 unknown, 1 off, 2 on
	failed   [NumLamps]bool
	began    time.Time
}

// NewBlinker is a blinker at rest, with all patterns Off. fault may be nil; it must not call the blinker.
func NewBlinker(lamps Lamps, fault func(Lamp, error)) *Blinker {
	if fault == nil {
		fault = func(Lamp, error) {}
	}
	return &Blinker{lamps: lamps, fault: fault, began: time.Now()}
}

// Show gives a lamp its pattern, and lights it at once where that is due. Any goroutine may call it, before Run too.
func (b *Blinker) Show(lamp Lamp, p Pattern) {
	if lamp >= NumLamps {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.patterns[lamp] = p
	b.light(lamp, time.Now())
}

// Run blinks until ctx ends, then turns all lamps off. A lamp that fails is tried again with every step.
func (b *Blinker) Run(ctx context.Context) error {
	t := time.NewTicker(step / 2)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			for lamp := Lamp(0); lamp < NumLamps; lamp++ {
				b.Show(lamp, Off)
			}
			return nil
		case now := <-t.C:
			b.mu.Lock()
			for lamp := Lamp(0); lamp < NumLamps; lamp++ {
				b.light(lamp, now)
			}
			b.mu.Unlock()
		}
	}
}

// light sets one lamp to what its pattern says now; b.mu is held.
func (b *Blinker) light(lamp Lamp, now time.Time) {
	on := Blink(b.patterns[lamp], now.Sub(b.began))
	want := int8(1)
	if on {
		want = 2
	}
	if b.lit[lamp] == want {
		return
	}
	err := b.lamps.Light(lamp, on)
	if err == nil {
		b.lit[lamp] = want
	} else {
		b.lit[lamp] = 0
	}
	if failed := err != nil; failed != b.failed[lamp] {
		b.failed[lamp] = failed
		b.fault(lamp, err)
	}
}
