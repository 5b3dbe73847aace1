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

	mu     sync.Mutex // holds what follows, and keeps an older look at the gate from being shown after a newer one
	states hal.States
	held   hal.States // what the reset key adds to them
}

// show brings the lamps to what is true now.
func (l *lamps) show() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.single {
		l.blinker.Show(hal.LampStatus, hal.OnlyLamp(l.mic.Closed(), l.states|l.held))
		return
	}
	l.blinker.Show(hal.LampMute, hal.MuteLamp(l.mic.Closed()))
	l.blinker.Show(hal.LampStatus, hal.StatusLamp(l.states|l.held))
}

// hold shows how far the reset key is, above all else. What has taken effect is shown also after the key is let go.
func (l *lamps) hold(s hal.States, whatever bool) {
	l.mu.Lock()
	if whatever || !l.held.Has(hal.StateReset) {
		l.held = s
	}
	l.mu.Unlock()
	l.show()
}

func (l *lamps) opened(*meeting) {}
func (l *lamps) ended(*meeting)  {}

// happened follows the conference that the place is in.
func (l *lamps) happened(r *meeting, e conference.Event) {
	if r == l.house.place.leg.meeting && e.What != conference.Talking && e.What != conference.Resting {
		l.placed(l.house.place.state())
	}
}

// placed lights the rungs of the ladder that the room stands on.
func (l *lamps) placed(p placeState) {
	var s hal.States
	for _, rung := range []struct {
		on    bool
		state hal.State
	}{
		{len(l.house.faults) > 0, hal.StateFault},
		{p.Recorded, hal.StateRecording},
		{p.Private, hal.StatePrivateRoom},
		{p.Floor == conference.FloorHeld, hal.StateFloorGranted},
		{p.Floor == conference.FloorQueue, hal.StateQueued},
		{p.Ringing || p.Calling, hal.StateRinging},
		{p.Meeting != nil, hal.StateInCall},
		{p.Booked, hal.StateJoinable},
	} {
		if rung.on {
			s = s.With(rung.state)
		}
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
	return (l.states | l.held).Top()
}
