// Package conference is the vocabulary of people: conferences, members, why somebody is not heard, and who hears whom.
//
// It does no I/O, reads no clock and knows no sound, no protocol and no hardware: a command and a time go in, events come
// out, and the same sequence always gives the same result.
package conference

import (
	"slices"
	"time"
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

// next holds the ways from state to state. The way to Disconnected is Remove.
var next = map[State][]State{
	Pending:      {DialingOut, Alerting, Connected},
	Disconnected: {DialingOut, Alerting, Connected},
	DialingOut:   {Alerting, Connected},
	Alerting:     {Connected},
	Connected:    {OnHold},
	OnHold:       {Connected},
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

// In tells whether the member's call is up.
func (m *Member) In() bool { return m.State == Connected || m.State == OnHold }

// active tells whether the member is in or being called.
func (m *Member) active() bool { return m.In() || m.State == DialingOut || m.State == Alerting }

// placed tells whether the member is in the hall or a private room, so that floor and rooms are for him.
func (m *Member) placed() bool { return m.In() && m.Room != Lobby }

func (m *Member) clone() Member {
	c := *m
	c.Mute, c.Deaf = slices.Clone(m.Mute), slices.Clone(m.Deaf)
	return c
}

// Conference is one conference with its roster. The zero value is not ready; use New. It belongs to one goroutine.
type Conference struct {
	at      Snapshot  // all but Members
	members []*Member // in the order of their coming
}

// New makes an empty conference. Standing ones and pairs are open at once. An appointment follows the clock that Pass tells.
// An immediate one is given its members by Invite (the creator's number, or whoever is invited as Chair, is its host), and the
// first Pass has the host called.
func New(r Rules) *Conference {
	r.Start, r.End = r.Start.UTC(), r.End.UTC()
	for _, text := range []*string{&r.Number, &r.UID, &r.Theme, &r.Memo, &r.EID, &r.Creator} {
		*text = clean(*text, 512)
	}
	phases := map[Kind]Phase{Appointment: Scheduled, Immediate: Gathering}
	c := &Conference{at: Snapshot{Rules: r, Phase: Open, Mode: ByVoice}}
	if p, ok := phases[r.Kind]; ok {
		c.at.Phase = p
	}
	return c
}

// Restore makes the conference of which s is the snapshot.
func Restore(s Snapshot) *Conference {
	c := &Conference{at: s.clone()}
	c.at.Members = nil
	for i := range s.Members {
		m := s.Members[i].clone()
		c.members = append(c.members, &m)
	}
	return c
}

// Rules are what the conference was made with; End is where it was moved to.
func (c *Conference) Rules() Rules { return c.at.Rules }

// Number is what is dialled to get in.
func (c *Conference) Number() string { return c.at.Number }

// UID names this conference and no other, ever.
func (c *Conference) UID() string { return c.at.UID }

// Seq is the sequence number of the last event; 0 before the first.
func (c *Conference) Seq() uint64 { return c.at.Seq }

// Phase tells how far the conference has come.
func (c *Conference) Phase() Phase { return c.at.Phase }

// Full tells whether another member would be refused: who is in or being called counts, who is absent or has to prove himself does
// not, so that strangers take nobody's place.
func (c *Conference) Full() bool { return c.at.Max > 0 && c.active()-c.proving() >= c.at.Max }

// maxProving is how many may be proving themselves at the same time.
const maxProving = 32

func (c *Conference) proving() (n int) {
	for _, m := range c.members {
		if m.Proving && m.active() {
			n++
		}
	}
	return n
}

func (c *Conference) active() (n int) {
	for _, m := range c.members {
		if m.active() {
			n++
		}
	}
	return n
}

// Line is the roster line of somebody with that number who is expected and not in: whoever calls in and is certainly that
// person is to be added with its ID, and has its role and its mutes. An empty number has none.
func (c *Conference) Line(number string) (Member, bool) {
	if m := c.numbered(number); m != nil && !m.active() {
		return m.clone(), true
	}
	return Member{}, false
}

// numbered prefers who is active, then the line of who was invited. Who has to prove himself only says that the number is his, and stands
// in nobody's way.
func (c *Conference) numbered(number string) (found *Member) {
	for _, m := range c.members {
		if number == "" || m.Number != number || m.Proving {
			continue
		}
		if m.active() {
			return m
		}
		if found == nil || m.Invited && !found.Invited {
			found = m
		}
	}
	return found
}

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
	s := c.at.clone()
	for _, m := range c.members {
		s.Members = append(s.Members, m.clone())
	}
	return s
}

func (s *Snapshot) clone() Snapshot {
	c := *s
	c.Members = nil
	c.Queue, c.Barred = slices.Clone(s.Queue), slices.Clone(s.Barred)
	c.Kept, c.Rooms = slices.Clone(s.Kept), slices.Clone(s.Rooms)
	return c
}

func (c *Conference) find(id string) *Member {
	for _, m := range c.members {
		if m.ID == id {
			return m
		}
	}
	return nil
}
