package conference

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Bounds of private rooms.
const (
	maxRooms = 32
	maxMoved = 512 // members named in one command
	answerIn = 30 * time.Second
)

func (c *Conference) room(id string) *Room {
	for i := range c.at.Rooms {
		if c.at.Rooms[i].ID == id {
			return &c.at.Rooms[i]
		}
	}
	return nil
}

// movable tells why a member cannot be moved; empty: he can.
func movable(m *Member) string {
	switch {
	case !m.In():
		return "the call is not up"
	case m.Room == Lobby:
		return "waits in the lobby"
	}
	return ""
}

// put moves a member: nothing else of him changes, not even his place on the floor, which a host can take.
func (s *step) put(m *Member, room string) {
	if m.Room != room {
		m.Room = room
		s.tell(Moved, m)
	}
}

// named splits the members whom a command names into those who can be moved and events for the others.
func (s *step) named(ids []string) (can []*Member, cannot []Event, err error) {
	if len(ids) == 0 || len(ids) > maxMoved {
		return nil, nil, fmt.Errorf("%w: 1 to %d members are to be named, not %d", ErrInvalid, maxMoved, len(ids))
	}
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		m := s.find(id)
		why := ErrNoMember.Error()
		if m != nil {
			why = movable(m)
		}
		if why == "" {
			can = append(can, m)
			continue
		}
		if m == nil {
			m = &Member{ID: clean(id, 64)}
		}
		cannot = append(cannot, Event{Member: *m, Why: why})
	}
	if len(can) == 0 {
		return nil, nil, fmt.Errorf("%w: nobody who is named can be moved", ErrAbsent)
	}
	return can, cannot, nil
}

func (s *step) tellNotMoved(cannot []Event) {
	for _, e := range cannot {
		s.tell(NotMoved, &e.Member).Why = e.Why
	}
}

// newRoom makes a private room, under a name of its own if none is wished.
func (s *step) newRoom(id string, unrecorded bool) string {
	for n := s.at.Seq + 1; id == "" || id == Lobby || s.room(id) != nil; n++ {
		id = fmt.Sprintf("r%d", n)
	}
	by := s.cmd.By.Name
	if me := s.self(s.cmd.By); me != nil {
		by = me.ID
	}
	s.at.Rooms = append(s.at.Rooms, Room{ID: id, By: cmp.Or(by, string(s.cmd.By.Role)), Unrecorded: unrecorded})
	s.tell(RoomOpened, nil).Room = id
	return id
}

func (s *step) roomFor(id string) error {
	switch {
	case len(s.at.Rooms) >= maxRooms:
		return fmt.Errorf("%w: there are %d private rooms", ErrFull, maxRooms)
	case id != "" && (!printable(id, 64) || id == Lobby):
		return fmt.Errorf("%w: %q cannot be a room's name", ErrInvalid, clean(id, 64))
	case id != "" && s.room(id) != nil:
		return fmt.Errorf("room %s: %w", id, ErrTaken)
	}
	return nil
}

func (s *step) openRoom() error {
	if err := s.roomFor(s.cmd.Room); err != nil {
		return err
	}
	can, cannot, err := s.named(s.cmd.IDs)
	if err != nil {
		return err
	}
	id := s.newRoom(s.cmd.Room, s.cmd.Unrecorded)
	for _, m := range can {
		s.put(m, id)
	}
	s.tellNotMoved(cannot)
	return nil
}

func (s *step) moveTo() error {
	m, err := s.member(s.cmd.ID)
	if err != nil {
		return err
	}
	if why := movable(m); why != "" {
		return fmt.Errorf("%s: %s: %w", m.ID, why, ErrAbsent)
	}
	if s.cmd.Room != Hall && s.room(s.cmd.Room) == nil {
		return fmt.Errorf("%q: %w", clean(s.cmd.Room, 64), ErrNoRoom)
	}
	s.put(m, s.cmd.Room)
	return nil
}

// returnToHall brings back one, or all who are in a room: that is for who may place people, and for who made the room.
func (s *step) returnToHall() error {
	if s.cmd.ID == "" && s.cmd.Room != "" {
		return s.returnAll()
	}
	m, err := s.subject()
	if err != nil {
		return err
	}
	if why := movable(m); why != "" {
		return fmt.Errorf("%s: %s: %w", m.ID, why, ErrAbsent)
	}
	s.put(m, Hall)
	return nil
}

func (s *step) returnAll() error {
	room, me := s.room(s.cmd.Room), s.self(s.cmd.By)
	switch {
	case room == nil:
		return fmt.Errorf("%q: %w", clean(s.cmd.Room, 64), ErrNoRoom)
	case !s.has(s.cmd.By, s.cmd.May, RightRooms) && (me == nil || me.ID != room.By):
		return fmt.Errorf("fetching all out of %s: %w", room.ID, ErrDenied)
	}
	id := room.ID
	for _, m := range s.members {
		if m.Room == id {
			s.put(m, Hall)
		}
	}
	return nil
}

// closeEmptyRooms ends the private rooms that the last one has left.
func (s *step) closeEmptyRooms() {
	for _, r := range slices.Clone(s.at.Rooms) {
		if !slices.ContainsFunc(s.members, func(m *Member) bool { return m.Room == r.ID }) {
			s.at.Rooms = slices.DeleteFunc(s.at.Rooms, func(o Room) bool { return o.ID == r.ID })
			s.tell(RoomClosed, nil).Room = r.ID
			for _, m := range s.members { // another room may have that name later, and others in it
				if m.AskedTo == r.ID {
					s.declined(m, "the room has closed")
				}
			}
		}
	}
}

// askRoom asks others into the asker's private room, or into one that is made when the first of them says yes.
func (s *step) askRoom() error {
	me := s.self(s.cmd.By)
	if why := movable(me); why != "" {
		return fmt.Errorf("%s: %s: %w", me.ID, why, ErrAbsent)
	}
	can, cannot, err := s.named(s.cmd.IDs)
	if err != nil {
		return err
	}
	asked := slices.DeleteFunc(can, func(m *Member) bool { return m == me || m.Room != Hall && m.Room == me.Room })
	for _, m := range slices.Clone(asked) {
		if m.Asked != "" {
			cannot = append(cannot, Event{Member: *m, Why: "is being asked already"})
			asked = slices.DeleteFunc(asked, func(o *Member) bool { return o == m })
		}
	}
	if len(asked) == 0 {
		return fmt.Errorf("%w: nobody can be asked", ErrAbsent)
	}
	for _, m := range asked {
		s.ask(m, me)
	}
	s.tellNotMoved(cannot)
	return nil
}

func (s *step) ask(m, by *Member) {
	m.Asked, m.AskedTo, m.AskUntil = by.ID, by.Room, s.now.Add(cmp.Or(s.at.Private, answerIn))
	e := s.tell(RoomAsked, m)
	e.Room, e.Until = m.AskedTo, m.AskUntil
}

// wished finds the wish that who answers means.
func (s *step) wished() (me *Member, err error) {
	me = s.self(s.cmd.By)
	if me.Asked == "" || s.cmd.ID != "" && s.cmd.ID != me.Asked {
		return nil, fmt.Errorf("%w: %s was not asked", ErrInvalid, me.ID)
	}
	return me, nil
}

func (s *step) accept() error {
	me, err := s.wished()
	if err != nil {
		return err
	}
	if why := movable(me); why != "" {
		return fmt.Errorf("%s: %s: %w", me.ID, why, ErrAbsent)
	}
	asker, room := s.find(me.Asked), me.AskedTo
	if room != "" && s.room(room) == nil || room == "" && (asker == nil || !asker.placed() || asker.Room != Hall) {
		return fmt.Errorf("%w: who asked is not there any more", ErrNoRoom)
	}
	if room == "" {
		if err := s.roomFor(""); err != nil {
			return err
		}
		room = s.newRoom("", true)
		s.put(asker, room)
		for _, m := range s.members {
			if m.Asked == asker.ID && m.AskedTo == "" {
				m.AskedTo = room
			}
		}
	}
	me.Asked, me.AskedTo, me.AskUntil = "", "", time.Time{}
	s.put(me, room)
	return nil
}

func (s *step) decline() error {
	me, err := s.wished()
	if err != nil {
		return err
	}
	s.declined(me, s.cmd.Why)
	return nil
}

func (s *step) declined(m *Member, why string) {
	m.Asked, m.AskedTo, m.AskUntil = "", "", time.Time{}
	s.tell(RoomDeclined, m).Why = why
}

func (s *step) lapseWishes() {
	for _, m := range s.members {
		if m.Asked != "" && !s.now.Before(m.AskUntil) {
			s.declined(m, "no answer")
		}
	}
}

// callHost asks every host who is in into the asker's private room; a host comes by Accept.
func (s *step) callHost() error {
	me := s.self(s.cmd.By)
	if !me.placed() || me.Room == Hall {
		return fmt.Errorf("%s is in no private room: %w", me.ID, ErrNoRoom)
	}
	called := false
	for _, m := range s.members {
		if m.Role != Chair || m == me || movable(m) != "" || m.Room == me.Room || m.Asked != "" {
			continue
		}
		called = true
		m.Asked, m.AskedTo, m.AskUntil = me.ID, me.Room, s.now.Add(cmp.Or(s.at.Private, answerIn))
		e := s.tell(HostCalled, m)
		e.Room, e.Until = m.AskedTo, m.AskUntil
	}
	if !called {
		return fmt.Errorf("no host can be called: %w", ErrAbsent)
	}
	return nil
}
