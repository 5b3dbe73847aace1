package conference

import (
	"fmt"
	"slices"
	"strings"
)

// invite has somebody called: at once, or when the conference begins. An absent member is called again.
func (s *step) invite() error {
	as := s.cmd.Member
	number := as.Number
	line := s.find(as.ID)
	if line != nil {
		number = line.Number
	} else {
		line = s.numbered(number)
	}
	chair := as.Role == Chair || number != "" && number == s.at.Creator
	switch {
	case !printable(number, 128) || as.ID != "" && !printable(as.ID, 64):
		return fmt.Errorf("%w: whom to call is missing or not printable", ErrInvalid)
	case as.Role != "" && as.Role != Guest && as.Role != Chair:
		return fmt.Errorf("%w: role %q", ErrInvalid, clean(string(as.Role), 64))
	case as.Role == Chair && number != s.at.Creator && !s.has(s.cmd.By, s.cmd.May, RightHand):
		return fmt.Errorf("making %s a host: %w", number, ErrDenied)
	case line != nil && line.active():
		return fmt.Errorf("%s: %w", number, ErrTaken)
	case line == nil && len(s.members)-s.active() >= maxAbsent, s.Full() && s.callsNow(chair):
		return fmt.Errorf("%w: it takes %d", ErrFull, s.at.Max)
	}
	s.at.Barred = slices.DeleteFunc(s.at.Barred, func(n string) bool { return n == number })
	what := Changed
	if line == nil {
		what = Joined
		line = &Member{ID: as.ID, Number: number, Role: Guest}
		s.members = append(s.members, line)
	}
	s.wish(line, &as, chair)
	if s.callsNow(chair) {
		if what == Joined {
			s.tell(Joined, line)
		}
		s.call(line)
		return nil
	}
	s.tell(what, line)
	return nil
}

// wish writes an invitation into its line.
func (s *step) wish(line, as *Member, chair bool) {
	if line.ID == "" {
		line.ID = fmt.Sprintf("i%d", s.at.Seq+1)
	}
	if as.Name != "" {
		line.Name = clean(as.Name, 256)
	}
	line.Invited, line.State, line.Since, line.Why = true, Pending, s.now, ""
	if chair {
		line.Role = Chair
	}
	for _, r := range []Reason{Host, Listener} {
		if as.Mute.Has(r) {
			line.Mute.set(Mark{Reason: r, By: s.cmd.By, At: s.now})
		}
	}
	if as.Deaf.Has(Host) {
		line.Deaf.set(Mark{Reason: Host, By: s.cmd.By, At: s.now})
	}
}

// callsNow tells whether an invitation is a call at once: in an open conference, or for the host whom an immediate one waits for.
func (c *Conference) callsNow(chair bool) bool {
	return c.at.Phase == Open || c.at.Phase == Gathering && c.at.Kind == Immediate && c.at.Begun && chair
}

// call has a member called; who does the calling need not say that it begins.
func (s *step) call(m *Member) {
	m.Since, m.Room, m.Why = s.now, Hall, ""
	if s.Full() {
		m.State, m.Why = Disconnected, ErrFull.Error()
		s.tell(Changed, m).Why = m.Why
		return
	}
	m.State = DialingOut
	s.tell(Call, m)
}

// transfer has a member called at another terminal. Who may not invite has only numbers called, which the box's routes allow or
// not, and no address anywhere.
func (s *step) transfer() error {
	m, err := s.subject()
	number := s.cmd.Member.Number
	switch {
	case err != nil:
		return err
	case !printable(number, 128):
		return fmt.Errorf("%w: where to call is missing or not printable", ErrInvalid)
	case isAddress(number) && !s.has(s.cmd.By, s.cmd.May, RightInvite):
		return fmt.Errorf("going to an address that is no number: %w", ErrDenied)
	case !m.In():
		return fmt.Errorf("%s: %w", m.ID, ErrAbsent)
	}
	s.tell(Transferred, m).Text = number
	return nil
}

// isAddress tells whether what is to be called is more than a number, which the box's routes judge: a SIP URI needs no "@".
func isAddress(number string) bool {
	scheme, _, _ := strings.Cut(strings.ToLower(number), ":")
	return strings.Contains(number, "@") || scheme == "sip" || scheme == "sips"
}
