package conference

import (
	"fmt"
	"slices"
	"time"
)

// floorFree tells whether a place on the floor is free. One that is kept for who has dropped off is not.
func (c *Conference) floorFree() bool { return c.holders()+len(c.at.Kept) < c.at.Speakers }

func (c *Conference) holders() (n int) {
	for _, m := range c.members {
		if m.Floor == FloorHeld {
			n++
		}
	}
	return n
}

// maySpeak tells why somebody cannot have the floor.
func maySpeak(m *Member) error {
	switch {
	case !m.placed() || m.Room != Hall:
		return fmt.Errorf("%s: %w", m.ID, ErrAbsent)
	case m.Mute.Has(Listener):
		return fmt.Errorf("%s: %w", m.ID, ErrListener)
	}
	return nil
}

// speaker finds who is to have the floor.
func (s *step) speaker(id string) (*Member, error) {
	m, err := s.member(id)
	if err == nil {
		err = maySpeak(m)
	}
	return m, err
}

func (s *step) give(m *Member) {
	s.unqueue(m)
	m.Floor, m.FloorAt = FloorHeld, s.now
	s.tell(Granted, m)
}

func (s *step) take(m *Member, why string) {
	m.Floor, m.FloorAt = FloorNone, s.now
	s.tell(Yielded, m).Why = why
}

func (s *step) unqueue(m *Member) bool {
	i := slices.Index(s.at.Queue, m.ID)
	if i < 0 {
		return false
	}
	s.at.Queue = slices.Delete(s.at.Queue, i, i+1)
	if s.at.Pinned == m.ID {
		s.at.Pinned = ""
	}
	m.Floor, m.FloorAt = FloorNone, s.now
	return true
}

// enqueue puts somebody at a place in the queue, behind who is pinned.
func (s *step) enqueue(m *Member, at int) {
	if at == 0 && s.at.Pinned != "" {
		at = 1
	}
	s.at.Queue = slices.Insert(s.at.Queue, at, m.ID)
	m.Floor, m.FloorAt = FloorQueue, s.now
	s.tell(Queued, m).Position = at + 1
}

// leaveFloor takes somebody off the floor and out of the queue.
func (s *step) leaveFloor(m *Member, why string) {
	if m.Floor == FloorHeld {
		s.take(m, why)
	} else if s.unqueue(m) {
		s.tell(Unqueued, m).Why = why
	}
}

// fillFloor gives every free place to the next in the queue who is in the hall. Who is away meanwhile keeps his turn.
func (s *step) fillFloor() {
	for _, id := range slices.Clone(s.at.Queue) {
		if m := s.find(id); s.floorFree() && m.State == Connected && m.Room == Hall {
			s.give(m)
		}
	}
}

// tellQueue tells everybody whose position is another than before.
func (s *step) tellQueue(before []string) {
	for i, id := range s.at.Queue {
		if was := slices.Index(before, id); was >= 0 && was != i {
			s.tell(QueueMoved, s.find(id)).Position = i + 1
		}
	}
}

// makeWay frees a place: one that is kept for an absent speaker, else that of who has had it for the longest, hosts last.
// It returns who lost it, if anybody did.
func (s *step) makeWay(why string) *Member {
	if s.floorFree() {
		return nil
	}
	if len(s.at.Kept) > 0 {
		s.unkeep(0, why)
		return nil
	}
	var longest *Member
	for _, m := range s.members {
		if m.Floor != FloorHeld {
			continue
		}
		guest := m.Role != Chair
		switch {
		case longest == nil, guest && longest.Role == Chair:
			longest = m
		case guest == (longest.Role != Chair) && m.FloorAt.Before(longest.FloorAt):
			longest = m
		}
	}
	s.take(longest, why)
	return longest
}

// keep holds a dropped speaker's place for him, if he can be known again.
func (s *step) keep(m *Member) bool {
	if m.Floor != FloorHeld || s.at.Grace <= 0 || m.Number == "" && !m.Invited {
		return false
	}
	m.Floor, m.FloorAt = FloorNone, s.now
	s.at.Kept = append(s.at.Kept, Kept{ID: m.ID, Number: m.Number, Name: m.Name, Until: s.now.Add(s.at.Grace)})
	return true
}

func (c *Conference) keptFor(m *Member) int {
	return slices.IndexFunc(c.at.Kept, func(k Kept) bool {
		return k.ID == m.ID || m.Number != "" && k.Number == m.Number
	})
}

// unkeep frees a kept place.
func (s *step) unkeep(i int, why string) {
	k := s.at.Kept[i]
	s.at.Kept = slices.Delete(s.at.Kept, i, i+1)
	m := s.find(k.ID)
	if m == nil {
		m = &Member{ID: k.ID, Number: k.Number, Name: k.Name, State: Disconnected}
	}
	s.tell(Yielded, m).Why = why
}

func (s *step) lapseKept() {
	for i := len(s.at.Kept) - 1; i >= 0; i-- {
		if !s.now.Before(s.at.Kept[i].Until) {
			s.unkeep(i, "did not come back in time")
		}
	}
}

// seat is for who comes into the hall with his call up: he has the place again that was kept for him, and a host takes a free one.
func (s *step) seat(m *Member) {
	if !s.at.Queued() || m.Floor == FloorHeld || maySpeak(m) != nil {
		return
	}
	if i := s.keptFor(m); i >= 0 {
		s.at.Kept = slices.Delete(s.at.Kept, i, i+1)
		s.give(m)
	} else if m.Role == Chair && s.floorFree() {
		s.give(m)
	}
}

func (s *step) askFloor() error {
	m, err := s.subject()
	if err != nil {
		return err
	}
	if err := maySpeak(m); err != nil {
		return err
	}
	switch {
	case m.Floor == FloorHeld:
	case m.Role == Chair:
		s.unqueue(m)
		if gone := s.makeWay("a host speaks"); gone != nil {
			s.enqueue(gone, 0)
		}
		s.give(m)
	case m.Floor == FloorNone && s.floorFree():
		s.give(m)
	case m.Floor == FloorNone:
		s.enqueue(m, len(s.at.Queue))
	}
	return nil
}

func (s *step) yieldFloor() error {
	m, err := s.subject()
	if err != nil {
		return err
	}
	s.leaveFloor(m, s.cmd.Why)
	return nil
}

func (s *step) grant() error {
	m, err := s.speaker(s.cmd.ID)
	if err != nil || m.Floor == FloorHeld {
		return err
	}
	if !s.floorFree() && s.cmd.To != "" {
		if _, err := s.holder(s.cmd.To); err != nil {
			return err
		}
		s.take(s.find(s.cmd.To), s.cmd.Why)
	} else if !s.floorFree() {
		if len(s.at.Kept) == 0 {
			return fmt.Errorf("%s: %w", m.ID, ErrNoPlace)
		}
		s.unkeep(0, "given to another")
	}
	s.give(m)
	return nil
}

// holder finds somebody who has the floor.
func (s *step) holder(id string) (*Member, error) {
	m, err := s.member(id)
	if err == nil && m.Floor != FloorHeld {
		err = fmt.Errorf("%w: %s does not have the floor", ErrInvalid, m.ID)
	}
	return m, err
}

// waiting finds somebody in the queue.
func (s *step) waiting(id string) (*Member, error) {
	m, err := s.member(id)
	if err == nil && m.Floor != FloorQueue {
		err = fmt.Errorf("%w: %s is not in the queue", ErrInvalid, m.ID)
	}
	return m, err
}

func (s *step) refuse() error {
	m, err := s.waiting(s.cmd.ID)
	if err != nil {
		return err
	}
	s.leaveFloor(m, s.cmd.Why)
	return nil
}

func (s *step) takeFloor() error {
	if i := slices.IndexFunc(s.at.Kept, func(k Kept) bool { return k.ID == s.cmd.ID }); i >= 0 {
		s.unkeep(i, s.cmd.Why)
		return nil
	}
	m, err := s.holder(s.cmd.ID)
	if err != nil {
		return err
	}
	s.take(m, s.cmd.Why)
	return nil
}

func (s *step) passFloor() error {
	from, err := s.holder(s.cmd.ID)
	if err != nil {
		return err
	}
	to, err := s.speaker(s.cmd.To)
	if err != nil {
		return err
	}
	if to.Floor == FloorHeld {
		return fmt.Errorf("%w: %s has the floor already", ErrInvalid, to.ID)
	}
	s.take(from, s.cmd.Why)
	s.give(to)
	return nil
}

// pin takes somebody into the queue, if he is not in it, and to its head.
func (s *step) pin() error {
	m, err := s.speaker(s.cmd.ID)
	switch {
	case err != nil:
		return err
	case m.Floor == FloorHeld:
		return fmt.Errorf("%w: %s has the floor already", ErrInvalid, m.ID)
	case s.at.Pinned == m.ID:
		return nil
	}
	s.at.Pinned = ""
	if m.Floor == FloorNone {
		s.enqueue(m, 0)
	}
	i := slices.Index(s.at.Queue, m.ID)
	s.at.Queue = slices.Insert(slices.Delete(s.at.Queue, i, i+1), 0, m.ID)
	s.at.Pinned = m.ID
	s.tell(Pinned, m).Position = 1
	return nil
}

// reorder leaves who is pinned at the head, unless he is who goes elsewhere.
func (s *step) reorder() error {
	m, err := s.waiting(s.cmd.ID)
	if err != nil {
		return err
	}
	to := s.cmd.Position
	if to < 0 || to >= len(s.at.Queue) {
		return fmt.Errorf("%w: the queue has no place %d", ErrInvalid, to)
	}
	if s.at.Pinned == m.ID && to > 0 {
		s.at.Pinned = ""
	}
	if s.at.Pinned != "" && s.at.Pinned != m.ID {
		to = max(to, 1)
	}
	i := slices.Index(s.at.Queue, m.ID)
	s.at.Queue = slices.Insert(slices.Delete(s.at.Queue, i, i+1), to, m.ID)
	return nil
}

func (s *step) nextSpeaker() error {
	for _, id := range s.at.Queue {
		if m := s.find(id); m.State == Connected && m.Room == Hall {
			s.makeWay("the next one speaks")
			s.give(m)
			return nil
		}
	}
	return fmt.Errorf("%w: nobody in the queue is there to speak", ErrAbsent)
}

// talk counts for how long everybody speaks.
func (s *step) talk(on bool) error {
	m, err := s.member(s.cmd.ID)
	if err != nil || m.Talks == on {
		return err
	}
	if on {
		m.Talks, m.SpokeAt = true, s.now
		s.tell(Talking, m)
		return nil
	}
	s.quiet(m)
	s.tell(Resting, m)
	return nil
}

func (s *step) quiet(m *Member) {
	if m.Talks {
		m.Spoken += max(0, s.now.Sub(m.SpokeAt))
		m.Talks, m.SpokeAt = false, time.Time{}
	}
}
