// Package conference is the vocabulary of people: conferences, members, why somebody is not heard, and who hears whom.
//
// It does no I/O, reads no clock and knows no sound, no protocol and no hardware: a command and a time go in, events come
// out, and the same sequence always gives the same result.
package conference

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// What Apply can refuse a command for.
var (
	// ErrNoMember: the command names a member who is not in the roster.
	ErrNoMember = errors.New("no such member")
	// ErrTaken: a member with this id is in the roster already.
	ErrTaken = errors.New("member is in the roster already")
	// ErrFull: as many are in the roster as the conference takes.
	ErrFull = errors.New("conference is full")
	// ErrNotYours: a reason can be cleared only by whom it belongs to.
	ErrNotYours = errors.New("the reason is not the asker's to change")
	// ErrLocalOnly: the member's own key closed the microphone, and only that key opens it.
	ErrLocalOnly = errors.New("muted by the member's own key, which alone can open it")
	// ErrDenied: who asks may not do that.
	ErrDenied = errors.New("not allowed")
	// ErrLocked: the conference is locked, and who comes is not invited.
	ErrLocked = errors.New("conference is locked")
	// ErrBarred: who comes was kicked out, and not invited since.
	ErrBarred = errors.New("barred from the conference")
	// ErrNotYet: the conference has not begun, or its lobby is not open.
	ErrNotYet = errors.New("conference has not begun")
	// ErrOver: the conference has ended.
	ErrOver = errors.New("conference is over")
	// ErrAbsent: the member is not there: the call is not up, or he waits in the lobby.
	ErrAbsent = errors.New("member is not in the conference now")
	// ErrNoRoom: there is no such private room.
	ErrNoRoom = errors.New("no such room")
	// ErrNoQueue: the conference is open: everybody may speak.
	ErrNoQueue = errors.New("conference has no queue for the floor")
	// ErrNoPlace: all places on the floor are taken.
	ErrNoPlace = errors.New("all places on the floor are taken")
	// ErrNotRecording: nothing is recorded.
	ErrNotRecording = errors.New("nothing is being recorded")
	// ErrInvalid: the command makes no sense.
	ErrInvalid = errors.New("invalid command")
)

// State is where a member's call stands, in the words of RFC 4575, section 5.6.2.
type State string

// The states of a member. Who came by himself leaves the roster when disconnected; who was invited stays in it, with Why.
const (
	Pending      State = "pending" // invited, and not called yet
	DialingOut   State = "dialing-out"
	Alerting     State = "alerting"
	Connected    State = "connected"
	OnHold       State = "on-hold"
	Disconnected State = "disconnected"
)

// next holds the ways from state to state.
var next = map[State][]State{
	DialingOut: {Alerting, Connected},
	Alerting:   {Connected},
	Connected:  {OnHold},
	OnHold:     {Connected},
}

// Member is a person, or the place, in the roster.
type Member struct {
	ID     string // unique in the conference, never reused
	Number string // as dialled or as calling; empty for the place
	Name   string // as given by the far end; not to be trusted, and to be escaped wherever it is shown
	Place  bool   // the room that this box stands in
	State  State
	Since  time.Time // of State
	Mute   Reasons   // heard only while it is empty
	Deaf   Reasons   // hears only while it is empty
	Talks  bool      // is contributing sound

	Role     MemberRole
	Room     string        // Hall, Lobby, or a private one
	Invited  bool          // stands in the roster whether the call is up or not
	Floor    Floor         // of a queued conference
	FloorAt  time.Time     // since when it is so
	Spoken   time.Duration // in this conference, until the last Rest
	SpokeAt  time.Time     // since when the member talks
	Came     time.Time     // when the call was connected
	Proving  bool          // waits in the lobby until admitted, and has no rights
	Why      string        // Disconnected: why
	Asked    string        // the member whose wish for a private room waits for this one's answer
	AskedTo  string        // the room that it leads to; empty: one that is made at the first yes
	AskUntil time.Time
}

// Floor is whether a member of a queued conference may speak.
type Floor string

// The ways to stand to the floor.
const (
	FloorNone  Floor = ""
	FloorQueue Floor = "queued"
	FloorHeld  Floor = "granted"
)

// Heard tells whether the member's sound is to reach anybody.
func (m *Member) Heard() bool { return m.State == Connected && len(m.Mute) == 0 }

// Hears tells whether anybody's sound is to reach the member.
func (m *Member) Hears() bool { return m.State == Connected && len(m.Deaf) == 0 }

func (m *Member) clone() Member {
	c := *m
	c.Mute, c.Deaf = slices.Clone(m.Mute), slices.Clone(m.Deaf)
	return c
}

// Conference is one conference with its roster. The zero value is not ready; use New. It belongs to one goroutine.
type Conference struct {
	rules   Rules
	seq     uint64
	members []*Member // in the order of their coming
}

// New makes an empty conference.
func New(r Rules) *Conference { return &Conference{rules: r} }

// Number is what is dialled to get in.
func (c *Conference) Number() string { return c.rules.Number }

// UID names this conference and no other, ever.
func (c *Conference) UID() string { return c.rules.UID }

// Seq is the sequence number of the last event; 0 before the first.
func (c *Conference) Seq() uint64 { return c.seq }

// Full tells whether another member would be refused.
func (c *Conference) Full() bool { return c.rules.Max > 0 && len(c.members) >= c.rules.Max }

// Member returns a copy of the member with that id.
func (c *Conference) Member(id string) (Member, bool) {
	if m := c.find(id); m != nil {
		return m.clone(), true
	}
	return Member{}, false
}

// Snapshot is the whole of a conference at one sequence number, for whoever comes late or missed an event.
// It is all there is: Restore makes the conference of it again.
type Snapshot struct {
	Rules
	Phase     Phase
	Seq       uint64
	Members   []Member
	Queue     []string // ids, the next one first; a pinned one stands first
	Pinned    string   // who stands first by the host's wish; empty: nobody
	Kept      []Kept   // floors of members who have dropped off
	Rooms     []Room   // private ones, in the order of their making
	Barred    []string // numbers that were kicked out, and not invited again
	House     bool     // the microphones of the house are closed
	Locked    bool
	Recording Recording
	Mode      Mode
	Messages  bool      // are closed
	Warned    bool      // of the end
	Begun     bool      // an immediate one's host has been called
	IdleSince time.Time // of an immediate one: since when nobody is in it; zero: somebody is
}

// Kept is a place on the floor that waits for a member who has dropped off.
type Kept struct {
	ID     string
	Number string
	Name   string
	Until  time.Time
}

// Room is a private part of a conference.
type Room struct {
	ID         string
	By         string // the member who made it, or the name of who did
	Unrecorded bool   // it is not to be recorded
}

// Recording is how the tape runs.
type Recording struct {
	On     bool
	Paused bool
	Since  time.Time
	By     string
}

// Mode is in what the conference takes place.
type Mode string

// The modes.
const (
	ByVoice    Mode = "voice"
	ByMessages Mode = "messages"
)

// Snapshot copies the conference as it is.
func (c *Conference) Snapshot() Snapshot {
	s := Snapshot{Rules: c.rules, Seq: c.seq}
	for _, m := range c.members {
		s.Members = append(s.Members, m.clone())
	}
	return s
}

// Hearing gives for each member who hears anything the members whom he hears, by id, in roster order. Nobody hears
// himself, although his id may be in his list: members who hear the same share one list, which is not to be changed.
func (c *Conference) Hearing() map[string][]string {
	heard := []string{}
	for _, m := range c.members {
		if m.Heard() {
			heard = append(heard, m.ID)
		}
	}
	hearing := make(map[string][]string, len(c.members))
	for _, m := range c.members {
		if m.Hears() {
			hearing[m.ID] = heard
		}
	}
	return hearing
}

// Apply carries out one command, or refuses it and changes nothing. The events are in order, their sequence numbers
// follow on each other without a gap, and a command that changes nothing yields none.
func (c *Conference) Apply(now time.Time, cmd Command) ([]Event, error) {
	do, ok := verbs[cmd.Do]
	if !ok {
		return nil, fmt.Errorf("%w: %q is not known", ErrInvalid, cmd.Do)
	}
	return do(c, now, cmd)
}

func (c *Conference) find(id string) *Member {
	for _, m := range c.members {
		if m.ID == id {
			return m
		}
	}
	return nil
}

func (c *Conference) event(now time.Time, what What, m *Member, cmd Command) Event {
	c.seq++
	return Event{
		Seq: c.seq, At: now, Conference: c.rules.Number, UID: c.rules.UID,
		What: what, Member: m.clone(), Reason: cmd.Reason, By: cmd.By, Why: cmd.Why,
	}
}
