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

func (l *lamps) opened(*meeting) {}
func (l *lamps) ended(*meeting)  {}

// happened follows the conference that the place is in.
func (l *lamps) happened(r *meeting, e conference.Event) {
	if r == l.house.place.leg.meeting && e.What != conference.Talking && e.What != conference.Resting {
		l.placed(l.house.place.state())
	}
}

// rungs are those of the ladder that the place's own line in its conference stands on.
func rungs(r *meeting, member string) (s hal.States) {
	m, ok := r.Member(member)
	if !ok {
		return s
	}
	now := r.Snapshot()
	for _, rung := range []struct {
		on    bool
		state hal.State
	}{
		{now.Recording.On && !now.Recording.Paused, hal.StateRecording},
		{m.Room != conference.Hall && m.Room != conference.Lobby, hal.StatePrivateRoom},
		{now.Queued() && m.Floor == conference.FloorHeld, hal.StateFloorGranted},
		{now.Queued() && m.Floor == conference.FloorQueue, hal.StateQueued},
	} {
		if rung.on {
			s = s.With(rung.state)
		}
	}
	return s
}

func (l *lamps) placed(p placeState) {
	var s hal.States
	if len(p.Rings) > 0 || p.Calling {
		s = s.With(hal.StateRinging)
	}
	if p.Meeting != nil {
		s = s.With(hal.StateInCall) | rungs(p.Meeting, l.house.place.leg.member)
	} else if p.Booked {
		s = s.With(hal.StateJoinable)
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
