package wire

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// Verb is what a command asks of a box.
type Verb string

// The verbs. A box that does not know one answers ReasonUnknownVerb.
const (
	VerbMute   Verb = "mute"   // closes the gate, for the reason "self"
	VerbUnmute Verb = "unmute" // clears the reason "self"; refused with ReasonLocalOnly while the key holds the gate
	VerbJoin   Verb = "join"   // the place goes into its conference, or calls the configured number
	VerbLeave  Verb = "leave"  // the place goes out of it
	VerbDial   Verb = "dial"   // Args.Number is called
	VerbHangup Verb = "hangup" // Args.Call is ended; without it, the place's own

	VerbSupport      Verb = "support"       // a support bundle is published on Box.Support
	VerbFactoryReset Verb = "factory-reset" // everything on the box but its identity goes; needs Args.Confirm and Sess
)

// verbArgs holds which arguments each verb takes.
var verbArgs = map[Verb]struct{ number, call, confirm bool }{
	VerbMute: {}, VerbUnmute: {}, VerbJoin: {}, VerbLeave: {}, VerbDial: {number: true}, VerbHangup: {call: true},
	VerbSupport: {}, VerbFactoryReset: {confirm: true},
}

// Verbs lists the verbs of this version.
func Verbs() []Verb {
	return []Verb{VerbMute, VerbUnmute, VerbJoin, VerbLeave, VerbDial, VerbHangup, VerbSupport, VerbFactoryReset}
}

// Known tells whether v is a verb of this version.
func (v Verb) Known() bool { _, ok := verbArgs[v]; return ok }

// Args are the arguments of a command.
type Args struct {
	Number  string `json:"number,omitempty"`  // dial: digits, XXX:YYY or a SIP URI
	Call    string `json:"call,omitempty"`    // hangup: an id of Calls
	Confirm string `json:"confirm,omitempty"` // factory-reset: the box's name, once more
}

// Command is what an Envelope holds. It names box and verb itself, so that nobody can send it again to another box or
// under another verb.
type Command struct {
	ID   string `json:"id"`  // the same one twice has one effect and the same answer
	Exp  int64  `json:"exp"` // Unix time in seconds from which on it is void
	EID  string `json:"eid"`
	Box  string `json:"box"`
	Verb Verb   `json:"verb"`
	// Sess, if not 0, is the session of the box for which alone the command is meant: one caught by somebody and sent
	// again after a restart, when the box has forgotten its ids, is then void.
	Sess uint64 `json:"sess,omitempty"`
	Args Args   `json:"args"`
}

const numberChars = upper + lowerDigits + "+*#:;=@.[]_"

// Check tells what is wrong with the values, whatever the verb's topic and the time.
func (c *Command) Check() error {
	if err := firstOf(checkID("id", c.ID), named("eid", CheckEID(c.EID)), named("box", CheckBox(c.Box)),
		named("verb", checkName("verb", string(c.Verb), lowerDigits, maxName))); err != nil {
		return err
	}
	if c.Exp <= 0 {
		return invalid("exp", "want a Unix time in seconds")
	}
	takes, known := verbArgs[c.Verb]
	switch {
	case !known: // told apart later, so that the answer can say unknown_verb
		return nil
	case takes.number && (c.Args.Number == "" || len(c.Args.Number) > 128 || strings.Trim(c.Args.Number, numberChars) != ""):
		return invalid("args.number", "want 1 to 128 of digits, letters and +*#:;=@.[]_-")
	case !takes.number && c.Args.Number != "":
		return invalid("args.number", "%s takes none", c.Verb)
	case !takes.call && c.Args.Call != "":
		return invalid("args.call", "%s takes none", c.Verb)
	case !takes.confirm && c.Args.Confirm != "":
		return invalid("args.confirm", "%s takes none", c.Verb)
	case takes.confirm && c.Args.Confirm != c.Box:
		return invalid("args.confirm", "want the box's name")
	case takes.confirm && c.Sess == 0: // or whoever has caught it could do it once more, since the box forgets that it did it
		return invalid("sess", "%s is for one session", c.Verb)
	case !each(c.Args.Number, numberChars):
		return invalid("args.number", "want digits, letters and +*#:;=@.[]_-")
	}
	return text("args.call", c.Args.Call, 0, 64)
}

func each(s, alphabet string) bool {
	for _, r := range s {
		if !strings.ContainsRune(alphabet, r) {
			return false
		}
	}
	return true
}

func checkID(path, id string) error {
	if id == "" || len(id) > 64 || !each(id, upper+lowerDigits+"._") {
		return invalid(path, "want 1 to 64 of a-z, A-Z, 0-9 and -._")
	}
	return nil
}

func named(path string, err error) error {
	if err != nil {
		return &FieldError{Path: path, Kind: ErrInvalidValue, Want: err.Error()}
	}
	return nil
}

// Status is how far a command has come.
type Status string

// The statuses. Accepted is followed by one of the others, or by nothing if the box goes down.
const (
	Accepted Status = "accepted"
	Done     Status = "done"
	Failed   Status = "failed"   // it was tried
	Rejected Status = "rejected" // it was not tried
)

// The reasons of an answer.
const (
	ReasonUnsigned     = "unsigned"       // no signature at all
	ReasonBadSignature = "bad_signature"  // a key that is known did not make this signature
	ReasonUnknownKey   = "unknown_key"    // none of the keys is known here
	ReasonWrongBox     = "wrong_box"      // signed for another box or enterprise
	ReasonWrongVerb    = "wrong_verb"     // signed for another verb than the topic's
	ReasonWrongSess    = "wrong_sess"     // signed for another session of the box
	ReasonClockUnset   = "clock_unset"    // the box does not know the time, so exp cannot be judged
	ReasonExpired      = "expired"        // exp is over
	ReasonTooFar       = "exp_too_far"    // exp is further away than the box takes
	ReasonIDReused     = "id_reused"      // the id has been used for another command
	ReasonBusy         = "busy"           // too many commands at once
	ReasonTooLarge     = "too_large"      // longer than is looked at
	ReasonInvalidJSON  = "invalid_json"   // cannot be read
	ReasonUnknownField = "unknown_field"  // detail names it
	ReasonInvalidValue = "invalid_value"  // detail names it
	ReasonUnknownVerb  = "unknown_verb"   // not a verb of this version
	ReasonLocalOnly    = "local_only"     // the box's own key closed the gate, and it alone opens it
	ReasonNotJoined    = "not_joined"     // the place is in no conference
	ReasonJoined       = "already_joined" // it is in one
	ReasonNoCall       = "no_call"        // no such call
	ReasonDenied       = "denied"         // the number is not one that may be dialled
	ReasonNotFound     = "not_found"      // nobody has that number (SIP 404)
	ReasonFarBusy      = "far_busy"       // the far end is busy (SIP 486, 600)
	ReasonNoAnswer     = "no_answer"      // the far end did not answer (SIP 408, 480)
	ReasonDeclined     = "declined"       // the far end refused (SIP 403, 603)
	ReasonFull         = "full"           // the conference takes no more
	ReasonUnavailable  = "unavailable"    // the means are missing: no card, no port, no PBX

	// Of members' commands.
	ReasonBadToken     = "bad_token"        // not one of ours: its signature, algorithm, issuer or audience
	ReasonTokenExpired = "token_expired"    // its time is over
	ReasonTokenRevoked = "token_revoked"    // it was withdrawn
	ReasonUnbound      = "unbound_token"    // it names no key, and so proves no sender
	ReasonWrongSender  = "wrong_sender"     // by is not the token's subject, or the topic another's
	ReasonWrongTopic   = "wrong_topic"      // signed for another topic, or not asked on this one
	ReasonWrongConf    = "wrong_conference" // the token is for another conference
	ReasonWrongUID     = "wrong_uid"        // the conference with this number is another one by now
	ReasonNoConference = "no_conference"    // there is none with this number
	ReasonForbidden    = "forbidden"        // the sender may not do that
	ReasonNoMember     = "no_member"        // nobody in the roster has this id
	ReasonNoRoom       = "no_room"          // there is no such private room
	ReasonAbsent       = "absent"           // that member is not in the conference now
	ReasonNoQueue      = "no_queue"         // everybody may speak here
	ReasonNoPlace      = "no_place"         // all places on the floor are taken
	ReasonNotRecording = "not_recording"    // nothing is recorded
	ReasonMessagesOff  = "messages_closed"  // the conference takes no messages
	ReasonLocked       = "locked"           // the conference takes in nobody who is not invited
	ReasonBarred       = "barred"           // was kicked out, and not invited again
	ReasonNotYet       = "not_yet"          // the conference has not begun
	ReasonOver         = "over"             // the conference has ended
	ReasonConflict     = "conflict"         // makes no sense as things stand; detail says why
	ReasonNotDurable   = "not_durable"      // what must last cannot be kept now, and was not done
	ReasonStorageFull  = "storage_full"     // there is no room on the disk
)

// Reasons lists every reason of this version.
func Reasons() []string {
	return []string{ReasonUnsigned, ReasonBadSignature, ReasonUnknownKey, ReasonWrongBox, ReasonWrongVerb, ReasonWrongSess,
		ReasonClockUnset, ReasonExpired, ReasonTooFar, ReasonIDReused, ReasonBusy, ReasonTooLarge, ReasonInvalidJSON,
		ReasonUnknownField, ReasonInvalidValue, ReasonUnknownVerb, ReasonLocalOnly, ReasonNotJoined, ReasonJoined,
		ReasonNoCall, ReasonDenied, ReasonNotFound, ReasonFarBusy, ReasonNoAnswer, ReasonDeclined, ReasonFull,
		ReasonUnavailable, ReasonBadToken, ReasonTokenExpired, ReasonTokenRevoked, ReasonUnbound, ReasonWrongSender,
		ReasonWrongTopic, ReasonWrongConf, ReasonWrongUID, ReasonNoConference, ReasonForbidden, ReasonNoMember, ReasonNoRoom, ReasonAbsent,
		ReasonNoQueue, ReasonNoPlace, ReasonNotRecording, ReasonMessagesOff,
		ReasonLocked, ReasonBarred, ReasonNotYet, ReasonOver, ReasonConflict, ReasonNotDurable, ReasonStorageFull}
}

// Answer is the payload of Box.Res.
type Answer struct {
	ID     string `json:"id"` // the command's; empty when none could be read
	Status Status `json:"status"`
	Reason string `json:"reason,omitempty"` // of failed and rejected: one of Reasons
	Detail string `json:"detail,omitempty"` // for people: which field, which call
}

// Check tells what is wrong with the values.
func (a *Answer) Check() error {
	if err := oneOf("status", a.Status, []Status{Accepted, Done, Failed, Rejected}); err != nil {
		return err
	}
	if a.ID != "" {
		if err := checkID("id", a.ID); err != nil {
			return err
		}
	}
	wrong := a.Status == Failed || a.Status == Rejected
	if wrong {
		if err := oneOf("reason", a.Reason, Reasons()); err != nil {
			return err
		}
	}
	if !wrong && a.Reason != "" {
		return invalid("reason", "only of failed and rejected")
	}
	return text("detail", a.Detail, 0, 256)
}

// rejectFor is the answer to a payload that could not be taken for what it should be.
func rejectFor(id string, err error) Answer {
	reason := ReasonInvalidJSON
	switch {
	case errors.Is(err, ErrTooLarge):
		reason = ReasonTooLarge
	case errors.Is(err, ErrUnknownField):
		reason = ReasonUnknownField
	case errors.Is(err, ErrInvalidValue):
		reason = ReasonInvalidValue
	}
	return Answer{ID: id, Status: Rejected, Reason: reason, Detail: printable(err.Error(), 256)}
}

// printable makes a text fit for Detail: without control characters, cut at a rune's edge.
func printable(s string, longest int) string {
	if text("", s, 0, longest) == nil {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if text("", string(r), 1, 4) != nil {
			r = '?'
		}
		if b.Len()+len(string(r)) > longest {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// claimedID reads the id that somebody unproved put into a command, so that the answer can carry it; empty if there is
// none that is fit to be repeated.
func claimedID(b []byte) string {
	var c struct {
		ID string `json:"id"`
	}
	if len(b) > MaxPayload || json.Unmarshal(b, &c) != nil || checkID("id", c.ID) != nil {
		return ""
	}
	return c.ID
}

// DefaultMaxAhead is how far exp may lie in the future.
const DefaultMaxAhead = 10 * time.Minute
