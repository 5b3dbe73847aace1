// Events: what a call tells its Handler.

package sip

import (
	"fmt"
	"time"
)

// EventKind says what happened to a call.
type EventKind uint8

const (
	// Ringing: the far end rings (180). Outgoing calls only.
	Ringing EventKind = iota + 1
	// EarlyMedia: the far end sends sound before it answers (183 with SDP): the leg is configured and receives.
	EarlyMedia
	// Answered: the call is up and the leg is configured: it can be added to the mixer.
	Answered
	// MediaChanged: the leg's format or direction changed: a port made of it must be added again.
	MediaChanged
	// Held: the far end put us on hold.
	Held
	// Resumed: the far end took us off hold.
	Resumed
	// DTMF: the far end pressed Digit, by RFC 4733 or INFO.
	DTMF
	// Referred: the far end asks us to call Refer.Target (RFC 3515). Only where Config.AllowRefer said yes.
	Referred
	// MediaLost: no RTP came for Timers.MediaAlert although some was due.
	MediaLost
	// MediaBack: RTP comes again after MediaLost.
	MediaBack
	// ReferProgress: how the transfer that we asked for with Refer gets on: Code, Reason.
	ReferProgress
	// SpurtStart: the far end has begun to send sound; SpurtEnd: it has stopped (discontinuous transmission, hold).
	SpurtStart
	// SpurtEnd is the end of what SpurtStart began.
	SpurtEnd
	// DialogChanged: what Call.Dialog gives is not what it was. Not for every request: only when a
	// restart could not do without. A restored call's comes before its Answered.
	DialogChanged
	// Ended: the call is over and its leg is closed. The last event of every call, and sent exactly once.
	Ended
)

var kindNames = [...]string{"none", "ringing", "early media", "answered", "media changed", "held", "resumed", "dtmf",
	"referred", "media lost", "media back", "refer progress", "spurt start", "spurt end", "dialog changed", "ended"}

// String names the kind for logs.
func (k EventKind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// Side is who did something.
type Side uint8

const (
	// Local is this program, through the Call's methods or the Agent's end.
	Local Side = iota
	// Remote is the far end, or a proxy before it.
	Remote
	// Watchdog is a timer: no answer, no ACK, no media, session expired.
	Watchdog
)

// String names the side for logs and topics.
func (s Side) String() string { return [...]string{"local", "remote", "watchdog"}[s] }

// Event is one thing that happened to a call. Which fields count depends on Kind.
type Event struct {
	Kind     EventKind
	Code     int           // Ended: the SIP code that tells why; 200 for a normal BYE. ReferProgress too.
	Reason   string        // Ended, ReferProgress: printable, at most 128 bytes
	By       Side          // Ended
	Digit    byte          // DTMF: 0-9 * # A-D
	Duration time.Duration // DTMF
	Refer    *Referral     // Referred
}
