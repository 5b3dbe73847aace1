package record

import (
	"sync/atomic"

	"parley/audio"
)

// source is what a Tee listens to: the mixer's Source.
type source interface {
	ReadFrame(rate int, f *audio.Frame) audio.Status
}

// Tee is a source that lets a tape hear what is read from it: a track of one speaker. It stays in the source's place for good, so that
// a track begins and ends without the mixer's noticing. Without a tape it costs one load; with one, a copy of the frame.
type Tee struct {
	source source
	tape   atomic.Pointer[Tape]
}

// NewTee makes a tee on s without a tape.
func NewTee(s source) *Tee { return &Tee{source: s} }

// Tape gives the tee its tape, or none with nil. The tape must have no other source of sound.
func (t *Tee) Tape(tape *Tape) { t.tape.Store(tape) }

// ReadFrame is the source's.
func (t *Tee) ReadFrame(rate int, f *audio.Frame) audio.Status {
	s := t.source.ReadFrame(rate, f)
	if tape := t.tape.Load(); tape != nil {
		if s == audio.Active || s == audio.Late {
			tape.take(rate, f)
		} else {
			tape.take(rate, nil)
		}
	}
	return s
}
