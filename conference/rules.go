package conference

import "time"

// Kind is what sort of conference it is.
type Kind string

// The kinds.
const (
	Pair        Kind = "pair"      // a plain call of two, without a number
	Standing    Kind = "standing"  // never ends
	Immediate   Kind = "immediate" // begins when its host answers
	Appointment Kind = "appointment"
)

// HostRule says who may control a conference while none of its hosts is in.
type HostRule string

// The rules for a host who has dropped off.
const (
	HostWaits HostRule = "wait" // nobody, until a host is back; the conference goes on
	HostHeir  HostRule = "heir" // who has been in for the longest becomes a host
)

// Rules are what a conference is made with.
type Rules struct {
	Number  string // what is dialled; empty: nobody can
	UID     string // never used again
	Theme   string
	Memo    string
	EID     string // of the creator
	Kind    Kind
	Creator string // the host's number; empty: nobody's conference, such as a standing one

	Start, End time.Time // zero: at once, and never
	Max        int       // members that it takes; 0: no limit
	Speakers   int       // most who are heard in the hall at once; more than 0 makes it queued, 0 is open

	Early    time.Duration // how long before Start the lobby opens
	Warn     time.Duration // how long before End the warning comes; 0: none
	Grace    time.Duration // how long Remove keeps a speaker's place for his return; who says goodbye is to YieldFloor first
	HostGone HostRule      // empty is HostWaits
	Idle     time.Duration // how long an immediate one stands with nobody in it; 0: until it is ended
	Private  time.Duration // how long a wish for a private room waits for its answers; 0: 30 s
}

// Queued tells whether the floor is limited.
func (r *Rules) Queued() bool { return r.Speakers > 0 }

// Phase is how far a conference has come.
type Phase string

// The phases. Standing ones and pairs are open from the start.
const (
	Scheduled Phase = "scheduled" // nobody gets in
	Gathering Phase = "gathering" // the lobby is open, or the host is being called
	Open      Phase = "open"
	Over      Phase = "over"
)

// Rooms that every conference has. Private ones are named by whoever makes them.
const (
	Hall  = ""      // where the conference takes place
	Lobby = "lobby" // who waits there hears prompts only
)
