// Package tone is the call-progress tones of the place's speaker, as a source of frames.
//
// It knows frequencies and cadences; it must not know calls or who presses keys: its user says which tone.
package tone

import (
	"math"
	"sync/atomic"

	"parley/audio"
)

// Kind names a tone.
type Kind uint8

// The tones. None is silence.
const (
	None      Kind = iota
	RingBack       // the far end rings
	Busy           // the far end is busy (486)
	Refused        // the call was refused or the network cannot (reorder)
	NoAnswer       // nobody answered: three rising tones
	Knock          // a second call waits while in one
	Ring           // an incoming call
	MuteOn         // the microphone was closed: falling
	MuteOff        // the microphone was opened: rising
	RecordOn       // what is said is recorded from here on: rising
	RecordOff      // and no more: falling
	Came           // somebody has come into the conference: rising, soft
	Went           // somebody has left it: falling, soft
	kinds
)

// part is a stretch of a tone: two frequencies at once (0: none) for ms milliseconds.
type part struct{ a, b, ms int }

// sounds says how each Kind sounds. times 0 is until Stop. A brief one is laid over what else is played.
var sounds = [kinds]struct {
	parts []part
	times int
	level float64 // of each frequency, dBFS peak
	brief bool
}{
	RingBack: {parts: []part{{425, 0, 1000}, {0, 0, 4000}}, level: -18},
	Busy:     {parts: []part{{425, 0, 480}, {0, 0, 480}}, level: -18},
	Refused:  {parts: []part{{425, 0, 240}, {0, 0, 240}}, level: -18},
	NoAnswer: {parts: []part{{950, 0, 330}, {1400, 0, 330}, {1800, 0, 330}, {0, 0, 1000}}, level: -21},
	Knock:    {parts: []part{{425, 0, 200}, {0, 0, 200}, {425, 0, 200}, {0, 0, 9000}}, level: -24},
	Ring: {parts: []part{{700, 0, 60}, {880, 0, 60}, {700, 0, 60}, {880, 0, 60}, {700, 0, 60}, {880, 0, 60},
		{700, 0, 60}, {880, 0, 60}, {700, 0, 60}, {880, 0, 60}, {0, 0, 2000}}, level: -12},
	MuteOn:  {parts: []part{{660, 0, 80}, {440, 0, 100}}, times: 1, level: -21, brief: true},
	MuteOff: {parts: []part{{440, 0, 80}, {660, 0, 100}}, times: 1, level: -21, brief: true},

	RecordOn:  {parts: []part{{900, 0, 120}, {1350, 0, 240}}, times: 1, level: -24, brief: true},
	RecordOff: {parts: []part{{1350, 0, 120}, {900, 0, 240}}, times: 1, level: -24, brief: true},

	Came: {parts: []part{{520, 0, 90}, {780, 0, 130}}, times: 1, level: -27, brief: true},
	Went: {parts: []part{{780, 0, 90}, {520, 0, 130}}, times: 1, level: -27, brief: true},
}

// edge is how long a tone takes to swell and to fade where silence is beside it, ms.
const edge = 5

// Player plays one lasting tone and one brief one over it. Play and Stop are for any goroutine, ReadFrame for the mixer's.
// The zero value is silent.
type Player struct {
	lasting, brief voice
}

// Play starts k at once from its beginning. A brief one (of the microphone, of a recording, of who comes and goes) is laid over the lasting one, which a new lasting
// one replaces. Asked for the lasting tone that is being played already, it starts again.
func (p *Player) Play(k Kind) {
	switch {
	case k == None || k >= kinds:
		p.Stop()
	case sounds[k].brief:
		p.brief.order(k)
	default:
		p.lasting.order(k)
	}
}

// Stop ends the lasting tone, with a short fade. A brief one plays to its end.
func (p *Player) Stop() { p.lasting.order(None) }

// ReadFrame gives 10 ms at rate Hz: Silent while there is nothing to play.
func (p *Player) ReadFrame(rate int, f *audio.Frame) audio.Status {
	n := rate / 100
	if n <= 0 || n > audio.FrameSamples {
		return audio.Silent
	}
	heard := p.lasting.read(f[:n], rate, false)
	if p.brief.read(f[:n], rate, heard) {
		heard = true
	}
	if !heard {
		return audio.Silent
	}
	return audio.Active
}

// voice plays one sound at a time.
type voice struct {
	orders atomic.Uint64 // a counter in the upper bits, the Kind in the lowest byte

	done   uint64 // the order that is being obeyed
	kind   Kind
	index  int // of the part
	at     int // sample within the part
	rounds int
	rate   int
	wave   [2]complex128 // the two oscillators: their imaginary part is heard
	turn   [2]complex128 // what one sample turns them by
	peak   float64       // of each oscillator, in sample steps
	gain   float64       // 0 … 1, what the edges have made of it
	wanted Kind          // what follows once the old tone has faded
	ending bool
}

func (v *voice) order(k Kind) {
	for {
		o := v.orders.Load()
		if v.orders.CompareAndSwap(o, (o>>8+1)<<8|uint64(k)) {
			return
		}
	}
}

// read writes into pcm, or adds to it, and tells whether there was anything.
func (v *voice) read(pcm []int16, rate int, add bool) bool {
	if o := v.orders.Load(); o != v.done {
		v.done, v.wanted, v.ending = o, Kind(o), true
	}
	if v.ending && v.gain <= 0 {
		v.ending = false
		v.start(v.wanted)
	}
	if v.kind == None {
		return false
	}
	if v.rate != rate {
		v.at = int(int64(v.at) * int64(rate) / int64(max(v.rate, 1)))
		v.rate = rate
		v.tune()
	}
	for i := range pcm {
		s := v.sample()
		if add {
			s += float64(pcm[i])
		}
		pcm[i] = int16(max(math.MinInt16, min(math.MaxInt16, math.Round(s))))
	}
	for i, w := range v.wave {
		if a := math.Hypot(real(w), imag(w)); a > 0 { // rounding would let it grow or shrink over hours
			v.wave[i] = w * complex(1/a, 0)
		}
	}
	return true
}

// sample moves on by one sample.
func (v *voice) sample() float64 {
	step := 1000 / float64(v.rate*edge)
	if v.ending && v.gain <= 0 {
		v.ending = false
		v.start(v.wanted)
	}
	if v.kind == None {
		return 0
	}
	s := &sounds[v.kind]
	p := s.parts[v.index]
	length := p.ms * v.rate / 1000
	// Where silence is next the gain falls so that it reaches zero with the part's last sample.
	fall := v.ending || p.a == 0 || v.silentNext() && float64(length-v.at)*step <= 1
	if fall {
		v.gain = max(0, v.gain-step)
	} else {
		v.gain = min(1, v.gain+step)
	}
	out := 0.0
	for i, w := range v.wave {
		out += imag(w)
		v.wave[i] = w * v.turn[i]
	}
	if v.at++; v.at >= length && !v.ending {
		v.advance()
	}
	return out * v.gain * v.peak
}

func (v *voice) start(k Kind) {
	v.kind, v.index, v.at, v.rounds, v.gain = k, 0, 0, 0, 0
	v.wave = [2]complex128{1, 1}
	v.peak = math.MaxInt16 * math.Pow(10, sounds[k].level/20)
	v.tune()
}

// tune sets the oscillators to the current part's frequencies. They keep their phase.
func (v *voice) tune() {
	if v.kind == None {
		return
	}
	p := sounds[v.kind].parts[v.index]
	for i, hz := range [2]int{p.a, p.b} {
		sin, cos := math.Sincos(2 * math.Pi * float64(hz) / float64(v.rate))
		v.turn[i] = complex(cos, sin)
		if hz == 0 {
			v.wave[i] = 1 // an oscillator at rest is silent
		}
	}
}

// silentNext tells whether nothing is heard after the current part.
func (v *voice) silentNext() bool {
	s := &sounds[v.kind]
	if v.index+1 < len(s.parts) {
		return s.parts[v.index+1].a == 0
	}
	return v.rounds+1 == s.times || s.parts[0].a == 0
}

func (v *voice) advance() {
	s := &sounds[v.kind]
	v.at = 0
	if v.index++; v.index == len(s.parts) {
		v.index = 0
		if v.rounds++; v.rounds == s.times {
			v.kind = None
			return
		}
	}
	v.tune()
}
