package conference

import (
	"fmt"
	"slices"
	"time"
)

// Bounds on what is kept of people who are not in.
const (
	maxAbsent = 512 // roster lines
	maxBarred = 256 // numbers; the oldest is forgotten
)

// add brings in somebody who calls, or whom the box calls for somebody. With the id of an absent member's line it is that member.
func (s *step) add() error {
	m := s.cmd.Member
	line := s.find(m.ID)
	switch {
	case !printable(m.ID, 64) || !m.active() || m.Role != "" && m.Role != Guest && m.Role != Chair:
		return fmt.Errorf("%w: add needs an id, a state and perhaps a role, not %q, %q, %q", ErrInvalid, clean(m.ID, 64),
			clean(string(m.State), 64), clean(string(m.Role), 64))
	case line != nil && line.active():
		return fmt.Errorf("%s: %w", m.ID, ErrTaken)
	case m.Room == Lobby && s.proving() >= maxProving:
		return fmt.Errorf("%w: %d have to prove themselves already", ErrFull, maxProving)
	case m.Room != Lobby && s.Full():
		return fmt.Errorf("%w: it takes %d", ErrFull, s.at.Max)
	}
	if err := s.door(&m, line); err != nil {
		return err
	}
	what := Changed
	if line == nil {
		what = Joined
		line = s.newLine(m.ID, clean(m.Number, 128))
	}
	line.arrive(&m)
	line.State, line.Since, line.Why = m.State, s.now, ""
	if line.Proving || s.at.Phase != Open {
		line.Room = Lobby
	}
	role := m.Role == Chair && line.Role != Chair && !line.Proving
	if role {
		s.promote(line)
	}
	s.tell(what, line)
	if role && what == Changed {
		s.tell(BecameHost, line)
	}
	s.connected(line)
	return nil
}

// newLine is for who comes without a line of his own. What a host has put on an absent one of that number holds for him too:
// calling again under another id is no way out of it.
func (s *step) newLine(id, number string) *Member {
	line := &Member{ID: id, Number: number, Role: Guest}
	if old := s.numbered(number); old != nil && !old.active() {
		line.Mute, line.Deaf = slices.Clone(old.Mute), slices.Clone(old.Deaf)
		if !old.Invited {
			s.members = slices.DeleteFunc(s.members, func(o *Member) bool { return o == old })
		}
	}
	s.members = append(s.members, line)
	return line
}

// door refuses who may not come in. Who has to prove himself may wait in the lobby of a locked conference, since he may be a host.
func (s *step) door(m, line *Member) error {
	number := clean(m.Number, 128)
	if line != nil {
		number = line.Number
	}
	proving := m.Room == Lobby
	switch {
	case s.at.Phase == Scheduled:
		return ErrNotYet
	case number != "" && slices.Contains(s.at.Barred, number):
		return fmt.Errorf("%s: %w", number, ErrBarred)
	case s.at.Locked && !(line != nil && line.Invited) && !proving && m.Role != Chair:
		return ErrLocked
	}
	return nil
}

// arrive takes over what the box says of a member who comes in. The host's marks stay, and so does the member's own, but for
// the place, whose own the box knows better.
func (m *Member) arrive(from *Member) {
	stay := func(marks Reasons, self bool) (kept Reasons) {
		for _, k := range marks {
			if k.Reason == Host || k.Reason == Listener || self && k.Reason == Self {
				kept = append(kept, k)
			}
		}
		return kept
	}
	m.Mute, m.Deaf = stay(m.Mute, !from.Place), stay(m.Deaf, false)
	m.Mute.merge(from.Mute)
	m.Deaf.merge(from.Deaf)
	m.Place, m.Proving, m.Room = from.Place, from.Room == Lobby, Hall
	if from.Name != "" {
		m.Name = clean(from.Name, 256)
	}
}

// merge adds known reasons, each once.
func (rs *Reasons) merge(marks Reasons) {
	for _, k := range marks {
		if slices.Contains([]Reason{Hardware, Self, Host, Listener, Hold, System}, k.Reason) {
			k.At, k.By.Name, k.By.Member = k.At.UTC(), clean(k.By.Name, 128), clean(k.By.Member, 64)
			rs.set(k)
		}
	}
}

// connected is for whose call may be up now.
func (s *step) connected(m *Member) {
	if m.State != Connected {
		return
	}
	m.Came = s.now
	if s.at.Phase == Open && m.Room == Hall {
		s.seat(m)
	}
}

func (s *step) move() error {
	m, err := s.member(s.cmd.ID)
	switch {
	case err != nil:
		return err
	case m.State == s.cmd.State:
		return nil
	case !slices.Contains(next[m.State], s.cmd.State):
		return fmt.Errorf("%w: no way from %s to %q", ErrInvalid, m.State, clean(string(s.cmd.State), 64))
	case !m.active() && s.at.Phase == Scheduled:
		return ErrNotYet
	case !m.active() && s.Full():
		return fmt.Errorf("%w: it takes %d", ErrFull, s.at.Max)
	}
	if !m.active() {
		m.Why, m.Room = "", Hall
		if s.at.Phase != Open {
			m.Room = Lobby
		}
	}
	resumed := m.State == OnHold
	m.State, m.Since = s.cmd.State, s.now
	s.tell(Changed, m)
	if !resumed {
		s.connected(m)
	}
	return nil
}

// remove is the end of a member's call. Who was invited stays in the roster, and so does who has a mark of the host's, since
// calling again is no way out of it.
func (s *step) remove() error {
	m, err := s.member(s.cmd.ID)
	if err != nil || m.State == Disconnected {
		return err
	}
	wasHost := m.Role == Chair && m.active()
	s.quiet(m)
	if !s.keep(m) {
		s.leaveFloor(m, "left")
	}
	marked := m.Mute.Has(Host) || m.Mute.Has(Listener) || m.Deaf.Has(Host)
	absent := len(s.members) - s.active()
	stays := m.Invited || marked && (m.Number != "" || m.Place) && absent < maxAbsent
	m.State, m.Since, m.Why, m.Room, m.Proving = Disconnected, s.now, s.cmd.Why, Hall, false
	m.Mute.clear(Hold)
	m.Deaf.clear(Hold)
	s.forget(m)
	if !stays {
		s.members = slices.DeleteFunc(s.members, func(o *Member) bool { return o == m })
	}
	s.tell(Left, m)
	if wasHost {
		s.inherit()
	}
	return nil
}

// inherit makes who has been in for the longest a host, if the rule says so and no host is left.
func (s *step) inherit() {
	if s.at.HostGone != HostHeir || s.at.Phase != Open {
		return
	}
	var heir *Member
	for _, m := range s.members {
		switch {
		case m.Role == Chair && m.active():
			return
		case !m.placed() || m.Proving:
		case heir == nil || m.Came.Before(heir.Came):
			heir = m
		}
	}
	if heir != nil {
		s.promote(heir)
		s.tell(BecameHost, heir).Why = "no host is left"
	}
}

// promote makes a member a host. In a conference that somebody made he has a line from now on, so that he still is one when
// his call drops and he comes back.
func (s *step) promote(m *Member) {
	m.Role = Chair
	m.Invited = m.Invited || s.at.Kind == Immediate || s.at.Kind == Appointment
}

// admit lets in who had to prove himself.
func (s *step) admit() error {
	m, err := s.member(s.cmd.ID)
	role := s.cmd.Member.Role == Chair && (m == nil || m.Role != Chair)
	switch {
	case err != nil:
		return err
	case !m.active():
		return fmt.Errorf("%s: %w", m.ID, ErrAbsent)
	case m.Proving && s.at.Locked && !m.Invited && s.cmd.Member.Role != Chair:
		return ErrLocked
	case m.Proving && s.Full():
		return fmt.Errorf("%w: it takes %d", ErrFull, s.at.Max)
	}
	if m.Proving {
		m.Proving = false
		s.tell(Changed, m)
	}
	if role {
		s.promote(m)
		s.tell(BecameHost, m)
	}
	if s.at.Phase == Open && m.Room == Lobby {
		s.enterHall(m)
	}
	return nil
}

// enterHall takes somebody from the lobby into the hall.
func (s *step) enterHall(m *Member) {
	m.Room = Hall
	if m.In() {
		s.tell(Moved, m)
		s.seat(m)
	}
}

// roam hands a member over to another terminal. What the old one's key had closed stays closed, as the member's own wish, so
// that nobody is heard for having changed the telephone.
func (s *step) roam() error {
	m, err := s.member(s.cmd.ID)
	to := s.cmd.Member
	switch {
	case err != nil:
		return err
	case !m.In():
		return fmt.Errorf("%s: %w", m.ID, ErrAbsent)
	case to.State != "" && to.State != Connected && to.State != OnHold:
		return fmt.Errorf("%w: a terminal takes over when its call is up, not %q", ErrInvalid, clean(string(to.State), 64))
	}
	for i := range m.Mute {
		if k := m.Mute[i]; (k.Reason == Hardware || k.Reason == System) && !to.Mute.Has(k.Reason) {
			m.Mute.clear(k.Reason)
			k.Reason = Self
			m.Mute.set(k)
			break
		}
	}
	for _, r := range []Reason{Hardware, System, Hold} {
		m.Mute.clear(r)
	}
	m.Deaf.clear(Hold)
	m.Mute.merge(to.Mute)
	m.Deaf.merge(to.Deaf)
	m.Place = to.Place
	if to.State != "" && to.State != m.State {
		m.State, m.Since = to.State, s.now
	}
	s.tell(Changed, m)
	return nil
}

// kick ends a member's call and bars the number until it is invited again.
func (s *step) kick() error {
	m, err := s.member(s.cmd.ID)
	if err != nil {
		return err
	}
	if m == s.self(s.cmd.By) {
		return fmt.Errorf("%w: who wants to leave hangs up", ErrInvalid)
	}
	wasHost := m.Role == Chair && m.active()
	s.quiet(m)
	s.leaveFloor(m, "kicked")
	if i := s.keptFor(m); i >= 0 && s.at.Queued() {
		s.at.Kept = slices.Delete(s.at.Kept, i, i+1)
	}
	if m.Number != "" && !slices.Contains(s.at.Barred, m.Number) {
		s.at.Barred = append(s.at.Barred, m.Number)
		s.at.Barred = slices.Delete(s.at.Barred, 0, max(0, len(s.at.Barred)-maxBarred))
	}
	s.forget(m)
	s.members = slices.DeleteFunc(s.members, func(o *Member) bool { return o == m })
	m.State, m.Since, m.Why, m.Room = Disconnected, s.now, s.cmd.Why, Hall
	s.tell(Kicked, m)
	if wasHost {
		s.inherit()
	}
	return nil
}

// forget drops the wishes for a private room by and to a member who goes.
func (s *step) forget(gone *Member) {
	gone.Asked, gone.AskedTo, gone.AskUntil = "", "", time.Time{}
	for _, m := range s.members {
		if m.Asked == gone.ID && m != gone {
			s.declined(m, "who asked has left")
		}
	}
}
