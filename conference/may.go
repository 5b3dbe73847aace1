package conference

import (
	"fmt"
	"slices"
)

// Can lists what people may ask for that by may do now, with the rights of his token. What depends on whom it is about, such
// as muting, is in the list if he may do it to anybody, himself counted.
func (c *Conference) Can(by Actor, may []Right) []Do {
	var list []Do
	for i := range verbs {
		v := &verbs[i]
		senseless := c.at.Phase == Over || v.when != nil && v.when(c) != nil
		if !v.system() && !senseless && c.may(v, by, may, "") {
			list = append(list, v.name)
		}
	}
	return list
}

func (v *verb) system() bool { return v.right == "" && v.own == "" }

// allowed refuses what is not for who asks, or not for now.
func (s *step) allowed(v *verb) error {
	switch by := s.cmd.By; {
	case s.at.Phase == Over:
		return ErrOver
	case !v.judged() && !s.may(v, by, s.cmd.May, s.cmd.ID):
		return fmt.Errorf("%s by %q: %w", v.name, by.Role, ErrDenied)
	case v.when != nil:
		return v.when(s.Conference)
	}
	return nil
}

func (c *Conference) may(v *verb, by Actor, may []Right, id string) bool {
	me := c.self(by)
	mine := me != nil && v.own != "" && c.has(by, may, v.own)
	switch {
	case v.system():
		return by.Role == "" || by.Role == BySystem
	case v.self:
		return mine
	case v.right != "" && c.has(by, may, v.right):
		return true
	case by.Role == ByRemote && (v.name == Mute || v.name == Unmute) && c.place() != nil:
		return true
	}
	return mine && (id == "" || id == me.ID)
}

// has tells whether who asks has a right by what he is, by his token, or by his role here.
func (c *Conference) has(by Actor, may []Right, r Right) bool {
	if by.Role == BySystem || by.Role == ByHost || slices.Contains(may, r) {
		return true
	}
	me := c.self(by)
	return me != nil && slices.Contains(me.Role.rights(), r)
}

// self is the member who asks: a key's is the place. Who is not in, or has to prove himself yet, is nobody.
func (c *Conference) self(by Actor) *Member {
	m := c.find(by.Member)
	if by.Role == ByKey {
		m = c.place()
	}
	if m == nil || !m.active() || m.Proving {
		return nil
	}
	return m
}

func (c *Conference) place() *Member {
	for _, m := range c.members {
		if m.Place {
			return m
		}
	}
	return nil
}

func begun(c *Conference) error {
	if c.at.Phase != Open {
		return ErrNotYet
	}
	return nil
}

func queued(c *Conference) error {
	if !c.at.Queued() {
		return ErrNoQueue
	}
	return begun(c)
}

func recording(c *Conference) error {
	if !c.at.Recording.On {
		return ErrNotRecording
	}
	return nil
}

func mayEnd(c *Conference) error {
	if c.at.Kind == Standing {
		return fmt.Errorf("%w: a standing conference does not end", ErrInvalid)
	}
	return nil
}

func hasEnd(c *Conference) error {
	if c.at.End.IsZero() {
		return fmt.Errorf("%w: it has no end that could be moved", ErrInvalid)
	}
	return mayEnd(c)
}
