package conference

import "fmt"

// mayChange tells whether who asks may set or clear r of m. The box has no say in what is the host's.
func (s *step) mayChange(r Reason, m *Member) error {
	by := s.cmd.By
	own := s.self(by) == m
	key := by.Role == ByKey && own
	owners := map[Reason]bool{
		Hardware: key,
		Self:     own || by.Role == ByRemote && m.Place,
		Host:     by.Role != BySystem && s.has(by, s.cmd.May, RightMute),
		Listener: by.Role != BySystem && s.has(by, s.cmd.May, RightMute),
		Hold:     by.Role == BySystem,
		System:   by.Role == BySystem || key,
	}
	yes, ok := owners[r]
	switch {
	case !ok:
		return fmt.Errorf("%w: %q is no reason", ErrInvalid, clean(string(r), 64))
	case yes:
		return nil
	case m.Mute.Has(r) && (r == Hardware || r == System):
		return fmt.Errorf("%s: %w", m.ID, ErrLocalOnly)
	}
	return fmt.Errorf("%s, reason %s, asked by %q: %w", m.ID, r, by.Role, ErrNotYours)
}

func (s *step) mute() error {
	m, err := s.subject()
	if err != nil {
		return err
	}
	r := s.cmd.Reason
	if r == "" {
		r = s.given(m)
	}
	if err := s.mayChange(r, m); err != nil {
		return err
	}
	if m.Mute.set(Mark{Reason: r, By: s.cmd.By, At: s.now}) {
		if r == Listener {
			s.leaveFloor(m, "in as a listener")
		}
		s.tell(Muted, m).Reason = r
	}
	return nil
}

// given is the reason that is meant where none is named.
func (s *step) given(m *Member) Reason {
	if s.self(s.cmd.By) == m || s.cmd.By.Role == ByRemote {
		return Self
	}
	return Host
}

// unmute refuses what is not the asker's; for the reasons that only the member can clear, the wish of somebody who may mute
// others is told to the member.
func (s *step) unmute() error {
	m, err := s.subject()
	if err != nil {
		return err
	}
	r := s.cmd.Reason
	if r == "" {
		r = s.inTheWay(m)
	}
	if err := s.mayChange(r, m); err != nil {
		by := s.cmd.By
		if m.Mute.Has(r) && r.isOwn() && s.self(by) != m && (by.Role == ByRemote || s.has(by, s.cmd.May, RightMute)) {
			s.tell(UnmuteRequested, m).Reason = r
		}
		return err
	}
	if m.Mute.clear(r) {
		s.tell(Unmuted, m).Reason = r
	}
	return nil
}

// inTheWay is the reason that is meant where none is named: the asker's own, else one that keeps the member from being heard.
func (s *step) inTheWay(m *Member) Reason {
	r := s.given(m)
	if len(m.Mute) > 0 && !m.Mute.Has(r) {
		return m.Mute[0].Reason
	}
	return r
}

func (s *step) deafen() error   { return s.deaf(Deafened, true) }
func (s *step) undeafen() error { return s.deaf(Heard, false) }

func (s *step) deaf(what What, on bool) error {
	m, err := s.subject()
	if err != nil {
		return err
	}
	r := s.cmd.Reason
	if r == "" {
		r = Host
	}
	if r != Host && r != Hold {
		return fmt.Errorf("%w: %q makes nobody deaf", ErrInvalid, clean(string(r), 64))
	}
	if err := s.mayChange(r, m); err != nil {
		return err
	}
	changed := false
	if on {
		changed = m.Deaf.set(Mark{Reason: r, By: s.cmd.By, At: s.now})
	} else {
		changed = m.Deaf.clear(r)
	}
	if changed {
		s.tell(what, m).Reason = r
	}
	return nil
}
