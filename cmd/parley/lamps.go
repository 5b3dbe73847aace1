package main

import (
	"sync"

	"parley/conference"
	"parley/hal"
)

// lamps shows the gate and the state. The mute lamp belongs to the gate alone, and whoever changes the gate calls show; the
// status lamp follows the ladder.
type lamps struct {
	blinker *hal.Blinker
	mic     *microphone
	single  bool // the board has one lamp, which shows both
	house   *house

	mu     sync.Mutex // holds states, and keeps an older look at the gate from being shown after a newer one
	states hal.States
}

// show brings the lamps to what is true now.
func (l *lamps) show() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.single {
		l.blinker.Show(hal.LampStatus, hal.OnlyLamp(l.mic.Closed(), l.states))
		return
	}
	l.blinker.Show(hal.LampMute, hal.MuteLamp(l.mic.Closed()))
	l.blinker.Show(hal.LampStatus, hal.StatusLamp(l.states))
}

func (l *lamps) opened(*meeting)                     {}
func (l *lamps) happened(*meeting, conference.Event) {}
func (l *lamps) ended(*meeting)                      {}

func (l *lamps) placed(p placeState) {
	var s hal.States
	if len(p.Rings) > 0 || p.Calling {
		s = s.With(hal.StateRinging)
	}
	if p.Meeting != nil {
		s = s.With(hal.StateInCall)
	}
	if len(l.house.faults) > 0 {
		s = s.With(hal.StateFault)
	}
	l.mu.Lock()
	l.states = s
	l.mu.Unlock()
	l.show()
}

// shown is the rung of the ladder that the status lamp shows.
func (l *lamps) shown() hal.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.states.Top()
}
