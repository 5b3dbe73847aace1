package conference

import (
	"fmt"
	"slices"
	"time"
)

// pass does what is due.
func (s *step) pass() error {
	r := &s.at.Rules
	due := func(t time.Time) bool { return !t.IsZero() && !s.now.Before(t) }
	if s.hasClock() && due(r.End) {
		s.over("its time is over")
		return nil
	}
	switch {
	case r.Kind == Immediate && !s.at.Begun:
		s.begin()
	case r.Kind == Appointment && s.at.Phase != Open && !s.now.Before(r.Start):
		s.open()
	case s.at.Phase == Scheduled && !s.now.Before(r.Start.Add(-r.Early)):
		s.at.Phase = Gathering
		s.tell(LobbyOpened, nil).Until = r.Start
	}
	if s.warns() && due(r.End.Add(-r.Warn)) {
		s.at.Warned = true
		s.tell(Warned, nil).Until = r.End
	}
	s.lapseKept()
	s.lapseWishes()
	if s.idles() && due(s.at.IdleSince.Add(r.Idle)) {
		s.over("nobody is in it")
	}
	return nil
}

func (c *Conference) hasClock() bool { return c.at.Kind == Immediate || c.at.Kind == Appointment }

// warns tells whether the warning of the end is still to come.
func (c *Conference) warns() bool {
	return c.at.Phase == Open && c.hasClock() && c.at.Warn > 0 && !c.at.Warned && !c.at.End.IsZero()
}

// idles tells whether the conference ends by itself if nobody comes.
func (c *Conference) idles() bool {
	return c.at.Kind == Immediate && c.at.Idle > 0 && !c.at.IdleSince.IsZero()
}

// Due is when Pass next has something to do; zero is never, and a time in the past is at once.
func (c *Conference) Due() (due time.Time) {
	r := &c.at.Rules
	at := func(yes bool, t time.Time) {
		if yes && !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	if c.at.Phase == Over {
		return due
	}
	at(r.Kind == Immediate && !c.at.Begun, time.Unix(0, 0).UTC())
	at(c.at.Phase == Scheduled, r.Start.Add(-r.Early))
	at(c.at.Phase != Open && r.Kind == Appointment, r.Start)
	at(c.warns(), r.End.Add(-r.Warn))
	at(c.hasClock(), r.End)
	at(c.idles(), c.at.IdleSince.Add(r.Idle))
	for _, k := range c.at.Kept {
		at(true, k.Until)
	}
	for _, m := range c.members {
		at(m.Asked != "", m.AskUntil)
	}
	return due
}

// begin has the host of an immediate conference called; one without a host opens at once.
func (s *step) begin() {
	s.at.Begun = true
	host := s.host()
	switch {
	case host == nil && s.at.Creator == "":
		s.open()
		return
	case host == nil && s.barred(s.at.Creator):
		return
	case host == nil:
		host = &Member{Number: s.at.Creator}
		s.members = append(s.members, host)
		s.wish(host, &Member{}, true)
		s.tell(Joined, host)
	}
	if host.State == Pending {
		s.call(host)
	}
}

// host is the creator's line, else the first host's; nil: there is none.
func (c *Conference) host() (host *Member) {
	for _, m := range c.members {
		if m.Role != Chair {
			continue
		}
		if m.Number == c.at.Creator {
			return m
		}
		if host == nil {
			host = m
		}
	}
	return host
}

func (c *Conference) barred(number string) bool { return slices.Contains(c.at.Barred, number) }

// openIfHostIsIn opens an immediate conference as soon as a host has answered.
func (s *step) openIfHostIsIn() {
	if s.at.Kind != Immediate || s.at.Phase != Gathering || !s.at.Begun {
		return
	}
	for _, m := range s.members {
		if m.Role == Chair && m.State == Connected && !m.Proving {
			s.open()
			return
		}
	}
}

// open begins the conference: who waits in the lobby comes in, and who was invited and is not there is called.
func (s *step) open() {
	s.at.Phase = Open
	s.tell(Opened, nil).Until = s.at.End
	for _, m := range s.members {
		if m.Room == Lobby && !m.Proving {
			s.enterHall(m)
		} else if m.In() && m.Room == Hall {
			s.seat(m)
		}
	}
	for _, m := range s.members {
		if m.Invited && !m.active() {
			s.call(m)
		}
	}
}

func (s *step) end() error {
	s.over(s.cmd.Why)
	return nil
}

// over ends the conference: everybody has left, and then it has ended.
func (s *step) over(why string) {
	s.stopTape()
	members := s.members
	s.members = nil
	s.at.Queue, s.at.Pinned, s.at.Kept, s.at.Rooms, s.at.Barred = nil, "", nil, nil, nil
	for _, m := range members {
		if m.active() {
			s.quiet(m)
			m.State, m.Since, m.Why, m.Room, m.Floor = Disconnected, s.now, why, Hall, FloorNone
			m.Asked, m.AskedTo, m.AskUntil = "", "", time.Time{}
			s.tell(Left, m).Why = why
		}
	}
	s.at.Phase = Over
	s.tell(Ended, nil).Why = why
}

// longest is how far ahead an end can be moved.
const longest = 7 * 24 * time.Hour

func (s *step) prolong() error {
	until := s.cmd.Until.UTC()
	switch {
	case !until.After(s.at.End) || !until.After(s.now):
		return fmt.Errorf("%w: the new end must be after %s and not past", ErrInvalid, s.at.End.Format(time.RFC3339))
	case until.Sub(s.now) > longest && until.Sub(s.at.Start) > longest:
		return fmt.Errorf("%w: no end is more than %s ahead", ErrInvalid, longest)
	}
	s.at.End, s.at.Warned = until, false
	s.tell(Prolonged, nil).Until = until
	return nil
}

// reset makes a standing conference that everybody has left ready for whoever comes next: nothing of one meeting binds another.
func (s *step) reset() {
	s.stopTape()
	for _, m := range slices.Clone(s.members) {
		m.Invited = false
		s.members = s.members[1:]
		s.tell(Left, m).Why = "everybody has left"
	}
	s.members = nil
	for len(s.at.Kept) > 0 {
		s.unkeep(0, "everybody has left")
	}
	s.at.Barred = nil
	for _, t := range []struct {
		of   func(*Snapshot) *bool
		what What
	}{{house, HouseOpened}, {lock, Unlocked}, {messages, MessagesOn}} {
		if on := t.of(&s.at); *on {
			*on = false
			s.tell(t.what, nil)
		}
	}
	if s.at.Mode == ByMessages {
		s.at.Mode = ByVoice
		s.tell(VoiceAgain, nil)
	}
}
