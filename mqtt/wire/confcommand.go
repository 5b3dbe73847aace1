package wire

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"parley/conference"
)

// What a member can ask for that changes no conference. They are for the topic of the user, and DoCan for a conference's.
const (
	DoCreate conference.Do = "create" // makes the conference that Request describes
	DoList   conference.Do = "list"   // the conferences that there are for the asker
	DoCan    conference.Do = "can"    // what the asker may do in this conference
)

// ConfCommand is what an Envelope on Conf.Cmd or User.Cmd holds. It names its topic and, in a conference, the
// conference's uid itself, so that nobody can send it again elsewhere, or to a later conference with the same number.
type ConfCommand struct {
	ID    string        `json:"id"`  // of one sender, the same one twice has one effect and the same answer
	Exp   int64         `json:"exp"` // Unix time in seconds from which on it is void
	Topic string        `json:"topic"`
	UID   string        `json:"uid,omitempty"` // of the conference; on User.Cmd there is none
	By    string        `json:"by"`            // the sender's number: the token's subject
	Token string        `json:"token"`         // bound to the key that signs the envelope
	Do    conference.Do `json:"do"`

	// What it is asked with. Which of these each Do takes stands in a table in PROTOCOL.md.
	Member     string          `json:"member,omitempty"` // the id of the member whom it is about; without it, the sender
	Members    []string        `json:"members,omitempty"`
	To         string          `json:"to,omitempty"` // another member's id
	Room       string          `json:"room,omitempty"`
	Position   *int            `json:"position,omitempty"`
	Until      time.Time       `json:"until,omitzero"`
	Unrecorded bool            `json:"unrecorded,omitempty"`
	Text       string          `json:"text,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	Number     string          `json:"number,omitempty"`
	Name       string          `json:"name,omitempty"`
	Muted      bool            `json:"muted,omitempty"`
	Deaf       bool            `json:"deaf,omitempty"`
	Why        string          `json:"why,omitempty"`
	Request    json.RawMessage `json:"request,omitempty"` // of create: an object, as in conferAndMembersAddJson
}

// arg is one of the arguments of a ConfCommand; several are a set.
type arg uint16

const (
	argMember arg = 1 << iota
	argMembers
	argTo
	argRoom
	argPosition
	argUntil
	argUnrecorded
	argText
	argReason
	argNumber
	argName
	argMuted
	argDeaf
	argWhy
	argRequest
)

// argNames are the keys, in the order of the bits.
var argNames = []string{"member", "members", "to", "room", "position", "until", "unrecorded", "text", "reason", "number", "name",
	"muted", "deaf", "why", "request"}

func (a arg) names() (names []string) {
	for i, name := range argNames {
		if a&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// takes is what a Do must and may have, and whether it is asked on User.Cmd rather than Conf.Cmd.
type takes struct {
	must, may arg
	user      bool
}

// ownArgs are what can be asked that changes no conference.
var ownArgs = map[conference.Do]takes{
	DoCreate: {must: argRequest, user: true},
	DoList:   {user: true},
	DoCan:    {},
}

// takesOf is what a Do is asked with; false if it cannot be asked for.
func takesOf(do conference.Do) (takes, bool) {
	if t, ok := ownArgs[do]; ok {
		return t, true
	}
	t, ok := conference.TakesOf(do)
	return takes{must: argsOf(t.Must), may: argsOf(t.May)}, ok
}

func argsOf(names []string) (set arg) {
	for i, name := range argNames {
		if slices.Contains(names, name) {
			set |= 1 << i
		}
	}
	return set
}

// has tells which arguments are there.
func (c *ConfCommand) has() (set arg) {
	for i, there := range []bool{c.Member != "", len(c.Members) > 0, c.To != "", c.Room != "", c.Position != nil, !c.Until.IsZero(),
		c.Unrecorded, c.Text != "", c.Reason != "", c.Number != "", c.Name != "", c.Muted, c.Deaf, c.Why != "", len(c.Request) > 0} {
		if there {
			set |= 1 << i
		}
	}
	return set
}

const (
	maxToken = 4096
	maxNote  = 256 // bytes; conference counts characters
)

// Check tells what is wrong with the values, whatever the topic on which it came and the time. A Do that is not known is
// let pass, so that the answer can say unknown_verb.
func (c *ConfCommand) Check() error {
	if err := firstOf(checkID("id", c.ID), text("topic", c.Topic, 1, 128), named("by", CheckUser(c.By)),
		named("do", checkName("do", string(c.Do), lowerDigits+"_", maxName)), c.checkArgs()); err != nil {
		return err
	}
	if c.Exp <= 0 {
		return invalid("exp", "want a Unix time in seconds")
	}
	if c.Token == "" || len(c.Token) > maxToken || !each(c.Token, upper+lowerDigits+"._") {
		return invalid("token", "want a JWT of at most %d bytes", maxToken)
	}
	known, ok := takesOf(c.Do)
	switch {
	case !ok:
		return nil
	case known.user && c.UID != "":
		return invalid("uid", "%s takes none", c.Do)
	case known.user:
	case c.UID == "":
		return invalid("uid", "want the uid of the conference")
	}
	if c.UID != "" {
		if err := checkID("uid", c.UID); err != nil {
			return err
		}
	}
	has := c.has()
	if missing := (known.must &^ has).names(); len(missing) > 0 {
		return invalid(missing[0], "%s needs it", c.Do)
	}
	if more := (has &^ (known.must | known.may)).names(); len(more) > 0 {
		return invalid(more[0], "%s takes none", c.Do)
	}
	return nil
}

func (c *ConfCommand) checkArgs() error {
	if len(c.Members) > MaxListed {
		return invalid("members", "%d at most", MaxListed)
	}
	seen := map[string]bool{}
	for i, id := range c.Members {
		at := fmt.Sprintf("members[%d]", i)
		if err := text(at, id, 1, 64); err != nil {
			return err
		}
		if seen[id] {
			return invalid(at, "is there twice")
		}
		seen[id] = true
	}
	switch words := conference.Wished(c.Do); {
	case c.Position != nil && (*c.Position < 0 || *c.Position >= MaxListed):
		return invalid("position", "want 0 to %d", MaxListed-1)
	case c.Number != "" && (len(c.Number) > 128 || !each(c.Number, numberChars)):
		return invalid("number", "want 1 to 128 of digits, letters and +*#:;=@.[]_-")
	case len(c.Request) > 0 && c.Request[0] != '{':
		return invalid("request", "want an object")
	case c.Reason != "" && words != nil:
		if err := oneOf("reason", conference.Reason(c.Reason), words); err != nil {
			return err
		}
	}
	return firstOf(text("member", c.Member, 0, 64), text("to", c.To, 0, 64), text("room", c.Room, 0, 64), text("text", c.Text, 0, maxNote),
		text("reason", c.Reason, 0, maxName), text("name", c.Name, 0, 128), text("why", c.Why, 0, 256))
}

// Known tells whether it asks for something that this version knows.
func (c *ConfCommand) Known() bool { _, ok := takesOf(c.Do); return ok }

// Dos lists everything that can be asked.
func Dos() []conference.Do {
	dos := []conference.Do{DoCreate, DoList, DoCan}
	for _, t := range conference.Asked() {
		dos = append(dos, t.Do)
	}
	return dos
}

// ToCommand gives what a checked command asks of its conference. By and May are left to who knows the sender, and so is
// an empty ID, which means the sender. Without a reason, muting is for host where a member is named and for self where none
// is. The error is a *FieldError: create, list and can are nothing to a conference.
func ToCommand(c ConfCommand) (conference.Command, error) {
	if known, ok := takesOf(c.Do); !ok || known.user || c.Do == DoCan {
		return conference.Command{}, invalid("do", "%.40q is no command of a conference", string(c.Do))
	}
	cmd := conference.Command{Do: c.Do, ID: c.Member, IDs: c.Members, To: c.To, Reason: conference.Reason(c.Reason), Room: c.Room,
		Unrecorded: c.Unrecorded, Text: c.Text, Why: c.Why, Until: c.Until}
	if c.Position != nil {
		cmd.Position = *c.Position
	}
	if c.Reason == "" {
		cmd.Reason = conference.Meant(c.Do, c.Member)
	}
	if c.Do == conference.Invite || c.Do == conference.Transfer {
		cmd.Member = conference.Member{Number: c.Number, Name: strings.TrimSpace(c.Name)}
		if c.Muted {
			cmd.Member.Mute = conference.Reasons{{Reason: conference.Host}}
		}
		if c.Deaf {
			cmd.Member.Deaf = conference.Reasons{{Reason: conference.Host}}
		}
	}
	return cmd, nil
}

// SignConfCommand checks a member's command and puts it into an envelope, signed with the key that its token is bound to.
func SignConfCommand(c ConfCommand, key ed25519.PrivateKey) ([]byte, error) {
	payload, err := Encode(&c)
	if err != nil {
		return nil, err
	}
	return Sign(payload, key)
}
