package conference

import (
	"fmt"
	"slices"
	"time"
)

// Do names what a command asks for.
type Do string

// The commands.
const (
	Add    Do = "add"    // Member comes into the roster in its State
	Move   Do = "state"  // the member's call goes to State
	Remove Do = "remove" // the member leaves the roster; Why says why
	Mute   Do = "mute"   // sets Reason
	Unmute Do = "unmute" // clears Reason
	Deafen Do = "deafen" // sets Reason
	Hear   Do = "hear"   // clears Reason
	Talk   Do = "talk"   // the member began to contribute sound
	Rest   Do = "rest"   // the member stopped
)

// Command is one wish. Which fields count depends on Do.
type Command struct {
	Do     Do
	ID     string // the member whom it is about
	Member Member // Add only
	State  State  // Move only
	Reason Reason // Mute, Unmute, Deafen, Hear
	By     Actor  // who asks
	Why    string // Remove: the cause, in plain words
}

// What names what has happened.
type What string

// The events.
const (
	Joined          What = "joined"  // came into the roster, whatever the call's state
	Changed         What = "changed" // the call's state
	Left            What = "left"
	Muted           What = "muted"
	Unmuted         What = "unmuted"
	Deafened        What = "deafened"
	Heard           What = "hears"
	UnmuteRequested What = "unmute-requested" // somebody asked for what only the member can grant
	Talking         What = "talking"
	Resting         What = "resting"
)

// Event is one thing that has happened, with the member as he is after it.
type Event struct {
	Seq        uint64
	At         time.Time
	Conference string
	UID        string
	What       What
	Member     Member
	Reason     Reason
	By         Actor
	Why        string
}

var verbs = map[Do]func(*Conference, time.Time, Command) ([]Event, error){
	Add:    (*Conference).add,
	Move:   (*Conference).move,
	Remove: (*Conference).remove,
	Mute: func(c *Conference, t time.Time, cmd Command) ([]Event, error) {
		return c.reason(t, cmd, true, Muted, muteOf)
	},
	Unmute: (*Conference).unmute,
	Deafen: func(c *Conference, t time.Time, cmd Command) ([]Event, error) {
		return c.reason(t, cmd, true, Deafened, deafOf)
	},
	Hear: func(c *Conference, t time.Time, cmd Command) ([]Event, error) {
		return c.reason(t, cmd, false, Heard, deafOf)
	},
	Talk: func(c *Conference, t time.Time, cmd Command) ([]Event, error) { return c.talk(t, cmd, true, Talking) },
	Rest: func(c *Conference, t time.Time, cmd Command) ([]Event, error) { return c.talk(t, cmd, false, Resting) },
}

func muteOf(m *Member) *Reasons { return &m.Mute }
func deafOf(m *Member) *Reasons { return &m.Deaf }

func (c *Conference) add(now time.Time, cmd Command) ([]Event, error) {
	m := cmd.Member.clone()
	switch {
	case m.ID == "" || next[m.State] == nil:
		return nil, fmt.Errorf("%w: add needs an id and a state, not %q and %q", ErrInvalid, m.ID, m.State)
	case c.find(m.ID) != nil:
		return nil, fmt.Errorf("%s: %w", m.ID, ErrTaken)
	case c.Full():
		return nil, fmt.Errorf("%w: it takes %d", ErrFull, c.max)
	}
	m.Since = now
	c.members = append(c.members, &m)
	return []Event{c.event(now, Joined, &m, cmd)}, nil
}

func (c *Conference) move(now time.Time, cmd Command) ([]Event, error) {
	m := c.find(cmd.ID)
	switch {
	case m == nil:
		return nil, fmt.Errorf("%s: %w", cmd.ID, ErrNoMember)
	case m.State == cmd.State:
		return nil, nil
	case !slices.Contains(next[m.State], cmd.State):
		return nil, fmt.Errorf("%w: no way from %s to %q", ErrInvalid, m.State, cmd.State)
	}
	m.State, m.Since = cmd.State, now
	return []Event{c.event(now, Changed, m, cmd)}, nil
}

func (c *Conference) remove(now time.Time, cmd Command) ([]Event, error) {
	m := c.find(cmd.ID)
	if m == nil {
		return nil, fmt.Errorf("%s: %w", cmd.ID, ErrNoMember)
	}
	c.members = slices.DeleteFunc(c.members, func(o *Member) bool { return o == m })
	m.State, m.Since, m.Talks = Disconnected, now, false
	return []Event{c.event(now, Left, m, cmd)}, nil
}

func (c *Conference) reason(now time.Time, cmd Command, set bool, what What, of func(*Member) *Reasons) ([]Event, error) {
	m := c.find(cmd.ID)
	if m == nil {
		return nil, fmt.Errorf("%s: %w", cmd.ID, ErrNoMember)
	}
	if err := cmd.Reason.mayChange(cmd.By, m); err != nil {
		return nil, err
	}
	var changed bool
	if set {
		changed = of(m).set(Mark{Reason: cmd.Reason, By: cmd.By, At: now})
	} else {
		changed = of(m).clear(cmd.Reason)
	}
	if !changed {
		return nil, nil
	}
	return []Event{c.event(now, what, m, cmd)}, nil
}

// unmute refuses what is not the asker's; for the reasons that only the member can clear it also tells the member.
func (c *Conference) unmute(now time.Time, cmd Command) ([]Event, error) {
	m := c.find(cmd.ID)
	if m != nil && m.Mute.Has(cmd.Reason) && cmd.Reason.isOwn() {
		if err := cmd.Reason.mayChange(cmd.By, m); err != nil {
			return []Event{c.event(now, UnmuteRequested, m, cmd)}, err
		}
	}
	return c.reason(now, cmd, false, Unmuted, muteOf)
}

func (c *Conference) talk(now time.Time, cmd Command, on bool, what What) ([]Event, error) {
	m := c.find(cmd.ID)
	if m == nil {
		return nil, fmt.Errorf("%s: %w", cmd.ID, ErrNoMember)
	}
	if m.Talks == on {
		return nil, nil
	}
	m.Talks = on
	return []Event{c.event(now, what, m, cmd)}, nil
}
