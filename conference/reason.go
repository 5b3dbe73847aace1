package conference

import (
	"slices"
	"time"
)

// Reason is one cause for which a member is not heard, or hears nothing. Causes are independent of each other: nobody
// clears one that is not theirs.
type Reason string

// The reasons.
const (
	Hardware Reason = "hardware" // the key of the member's own box
	Self     Reason = "self"     // the member, on phone or page
	Host     Reason = "host"     // the host muted or silenced the member
	Listener Reason = "listener" // the member is in as a listener only
	Hold     Reason = "hold"     // the far end holds the call
	System   Reason = "system"   // the box, such as when it does not know its own state
)

// Role is in what capacity somebody asks.
type Role string

// The roles.
const (
	ByKey    Role = "key"    // a key of the box, pressed by somebody in the place
	ByMember Role = "member" // the member whom it is about
	ByHost   Role = "host"
	BySystem Role = "system" // the box itself, for what the far end's signalling says, too
	ByRemote Role = "remote" // somebody who controls the box from outside
)

// Actor is who asks, and as what.
type Actor struct {
	Role   Role
	Name   string // a number, a key id; may be empty
	Member string // the id of the member who asks; empty: nobody in the roster
}

// Mark is a reason with who set it and when.
type Mark struct {
	Reason Reason
	By     Actor
	At     time.Time
}

// Reasons is a set of marks, at most one for each Reason, in the order in which they were set.
type Reasons []Mark

// Has tells whether r is in the set.
func (rs Reasons) Has(r Reason) bool {
	return slices.ContainsFunc(rs, func(m Mark) bool { return m.Reason == r })
}

// Names lists the reasons.
func (rs Reasons) Names() []string {
	names := make([]string, 0, len(rs))
	for _, m := range rs {
		names = append(names, string(m.Reason))
	}
	return names
}

func (rs *Reasons) set(m Mark) bool {
	if rs.Has(m.Reason) {
		return false
	}
	*rs = append(*rs, m)
	return true
}

func (rs *Reasons) clear(r Reason) bool {
	before := len(*rs)
	*rs = slices.DeleteFunc(*rs, func(m Mark) bool { return m.Reason == r })
	return len(*rs) != before
}

// isOwn tells whether only the member can clear r, so that others' wish to do so is told to the member.
func (r Reason) isOwn() bool { return r == Hardware || r == Self || r == System }
