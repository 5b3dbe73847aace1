// Package wire is the box's language on MQTT: the names of the topics, the payloads that travel under them, and the
// signed envelopes in which commands come. PROTOCOL.md beside it tells the same to people who write the other end.
//
// It reads and writes bytes. It knows no broker, no client and no connection, and it decides nothing: whether a command
// is genuine it can tell, what the command then does is others' business. Everything that is decoded is bounded in size
// and depth first and refused with the name of the field that is wrong.
package wire

import (
	"errors"
	"fmt"
	"strings"
)

// What a topic or a name in it can be refused for.
var (
	// ErrBadName: a name has characters or a length that topics do not take.
	ErrBadName = errors.New("bad name")
	// ErrBadTopic: the topic is none of this protocol's.
	ErrBadTopic = errors.New("not a topic of this protocol")
)

// Lengths that names in topics may have, in bytes.
const (
	maxName     = 32
	maxConfName = 8
	maxUser     = 65 // an id, and the c of a conference's group before it
)

const (
	lowerDigits = "abcdefghijklmnopqrstuvwxyz0123456789-"
	upper       = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits      = "0123456789"
	userChars   = upper + lowerDigits + "._:"
)

func checkName(what, name, alphabet string, longest int) error {
	if name == "" || len(name) > longest {
		return fmt.Errorf("%w: %s %.40q must have 1 to %d characters", ErrBadName, what, name, longest)
	}
	for i := range len(name) {
		if !strings.Contains(alphabet, name[i:i+1]) {
			return fmt.Errorf("%w: %s %q may only have characters of %s", ErrBadName, what, name, describe[alphabet])
		}
	}
	return nil
}

var describe = map[string]string{
	lowerDigits:         "a-z, 0-9 and -",
	lowerDigits + upper: "a-z, A-Z, 0-9 and -",
	digits:              "0-9",
	userChars:           "a-z, A-Z, 0-9 and -._:",
}

// CheckEID tells what is wrong with an enterprise id: 1 to 32 of a-z, A-Z, 0-9 and -.
func CheckEID(eid string) error { return checkName("eid", eid, lowerDigits+upper, maxName) }

// CheckBox tells what is wrong with a box's name: 1 to 32 of a-z, 0-9 and -.
func CheckBox(box string) error { return checkName("box", box, lowerDigits, maxName) }

// CheckConfName tells what is wrong with a conference's number: 1 to 8 digits.
func CheckConfName(name string) error { return checkName("confName", name, digits, maxConfName) }

// CheckAlert tells what is wrong with an alert's id: 1 to 32 of a-z, 0-9 and -.
func CheckAlert(id string) error { return checkName("alert", id, lowerDigits, maxName) }

// Box names the topics of one box. The leading slash is part of every name. Make it with NewBox.
type Box struct{ eid, box string }

// NewBox checks both names; the error wraps ErrBadName and says which is wrong.
func NewBox(eid, box string) (Box, error) {
	if err := CheckEID(eid); err != nil {
		return Box{}, err
	}
	if err := CheckBox(box); err != nil {
		return Box{}, err
	}
	return Box{eid: eid, box: box}, nil
}

// EID is the enterprise's id.
func (b Box) EID() string { return b.eid }

// Name is the box's own name.
func (b Box) Name() string { return b.box }

func (b Box) topic(leaf string) string { return "/e/" + b.eid + "/box/" + b.box + "/" + leaf }

// State is retained, and the topic of the last will: BoxState.
func (b Box) State() string { return b.topic("state") }

// Info is retained: BoxInfo.
func (b Box) Info() string { return b.topic("info") }

// Cmd is where a command for the box goes, never retained: an Envelope around a Command.
func (b Box) Cmd(v Verb) string { return b.topic("cmd/" + string(v)) }

// Cmds matches every Cmd topic of the box.
func (b Box) Cmds() string { return b.topic("cmd/+") }

// Res is where the answer to a command comes, not retained: Answer.
func (b Box) Res(v Verb) string { return b.topic("res/" + string(v)) }

// Keys tells key presses, not retained: KeyPress.
func (b Box) Keys() string { return b.topic("keys") }

// Mute is retained: Gate.
func (b Box) Mute() string { return b.topic("mute") }

// Call is retained: Calls.
func (b Box) Call() string { return b.topic("call") }

// Alert is retained while it holds and emptied when it is over: Alert. The error wraps ErrBadName.
func (b Box) Alert(id string) (string, error) {
	if err := CheckAlert(id); err != nil {
		return "", err
	}
	return b.topic("alert/" + id), nil
}

// Alerts matches every Alert topic of the box.
func (b Box) Alerts() string { return b.topic("alert/+") }

// Tele tells measurements, QoS 0, not retained: Tele.
func (b Box) Tele() string { return b.topic("tele") }

// Levels tells how loud everybody is, QoS 0, not retained, and only while somebody holds a lease: Levels.
func (b Box) Levels() string { return b.topic("levels") }

// LevelsLease is where levels are asked for, not retained: Lease.
func (b Box) LevelsLease() string { return b.topic("levels/lease") }

// Bookings is retained: an Envelope around a Bookings.
func (b Box) Bookings() string { return b.topic("bookings") }

// Desired is retained: an Envelope around a Desired.
func (b Box) Desired() string { return b.topic("config/desired") }

// Reported is retained: Reported.
func (b Box) Reported() string { return b.topic("config/reported") }

// FwDesired is retained: an Envelope around an FwDesired.
func (b Box) FwDesired() string { return b.topic("fw/desired") }

// FwReported is retained: FwReported.
func (b Box) FwReported() string { return b.topic("fw/reported") }

// Support is where a support bundle comes that was asked for, not retained: text, as gzip.
func (b Box) Support() string { return b.topic("support") }

// All matches every topic of the box.
func (b Box) All() string { return b.topic("#") }

// Conf names the topics of one conference. Make it with NewConf.
type Conf struct{ eid, name string }

// NewConf checks both names; the error wraps ErrBadName and says which is wrong.
func NewConf(eid, confName string) (Conf, error) {
	if err := CheckEID(eid); err != nil {
		return Conf{}, err
	}
	if err := CheckConfName(confName); err != nil {
		return Conf{}, err
	}
	return Conf{eid: eid, name: confName}, nil
}

// Notice tells the conference's events, not retained: Notice.
func (c Conf) Notice() string { return "/e/" + c.eid + "/conf/" + c.name + "/notice" }

// State is retained, and emptied at the conference's end: Snapshot.
func (c Conf) State() string { return "/e/" + c.eid + "/conf/" + c.name + "/state" }

// Cmd is where members' commands for the conference go, never retained: an Envelope around a ConfCommand.
func (c Conf) Cmd() string { return "/e/" + c.eid + "/conf/" + c.name + "/cmd" }

// Kind says what a topic is about.
type Kind string

// The kinds of topic; the text is the topic's last fixed part.
const (
	KindState      Kind = "state"
	KindInfo       Kind = "info"
	KindCmd        Kind = "cmd"
	KindRes        Kind = "res"
	KindKeys       Kind = "keys"
	KindMute       Kind = "mute"
	KindCall       Kind = "call"
	KindAlert      Kind = "alert"
	KindTele       Kind = "tele"
	KindLevels     Kind = "levels"
	KindLease      Kind = "levels/lease"
	KindConfNotice Kind = "conf/notice"
	KindConfState  Kind = "conf/state"
	KindConfCmd    Kind = "conf/cmd"
	KindBookings   Kind = "bookings"
	KindSupport    Kind = "support"
	KindDesired    Kind = "config/desired"
	KindReported   Kind = "config/reported"
	KindFwDesired  Kind = "fw/desired"
	KindFwReported Kind = "fw/reported"
	KindUserCmd    Kind = "u/cmd"
	KindUserNotice Kind = "u/notice"
	KindIM         Kind = "im"
	KindCSR        Kind = "prov/csr"
	KindEnrol      Kind = "prov"
)

// Topic is a topic taken apart. Of Box, ConfName and User one is set; Verb, Alert and Status belong to their kinds. Those of enrolment
// have no EID.
type Topic struct {
	Kind     Kind
	EID      string
	Box      string
	ConfName string
	User     string // or, of KindIM, a group
	Verb     Verb
	Alert    string
	Status   EnrolStatus
}

var boxKinds = map[string]Kind{
	"state": KindState, "info": KindInfo, "keys": KindKeys, "mute": KindMute, "call": KindCall,
	"tele": KindTele, "levels": KindLevels, "levels/lease": KindLease,
	"bookings": KindBookings, "support": KindSupport, "config/desired": KindDesired, "config/reported": KindReported,
	"fw/desired": KindFwDesired, "fw/reported": KindFwReported,
}

var (
	confKinds = map[string]Kind{"notice": KindConfNotice, "state": KindConfState, "cmd": KindConfCmd}
	userKinds = map[string]Kind{"notice": KindUserNotice, "cmd": KindUserCmd}
)

// ParseTopic takes a topic apart. The error wraps ErrBadTopic or ErrBadName. A verb is taken as it is, known or not, as
// long as it is a name.
func ParseTopic(topic string) (Topic, error) {
	parts := strings.SplitN(topic, "/", 6)
	if len(parts) < 6 || parts[0] != "" || parts[1] != "e" {
		return Topic{}, fmt.Errorf("%w: %.80q", ErrBadTopic, topic)
	}
	eid, root, name, leaf := parts[2], parts[3], parts[4], parts[5]
	if eid == "_" && root == "prov" {
		return parseProv(name, leaf)
	}
	if err := CheckEID(eid); err != nil {
		return Topic{}, err
	}
	t := Topic{EID: eid}
	switch {
	case root == "box":
		return parseBox(topic, eid, name, leaf)
	case root == "conf" && confKinds[leaf] != "":
		t.Kind, t.ConfName = confKinds[leaf], name
		return t, CheckConfName(name)
	case root == "u" && userKinds[leaf] != "":
		t.Kind, t.User = userKinds[leaf], name
		return t, CheckUser(name)
	case root == "im" && name == "u":
		t.Kind, t.User = KindIM, leaf
		return t, CheckUser(leaf)
	}
	return Topic{}, fmt.Errorf("%w: %.80q", ErrBadTopic, topic)
}

func parseBox(topic, eid, box, leaf string) (Topic, error) {
	if err := CheckBox(box); err != nil {
		return Topic{}, err
	}
	t := Topic{EID: eid, Box: box}
	if kind, ok := boxKinds[leaf]; ok {
		t.Kind = kind
		return t, nil
	}
	group, rest, _ := strings.Cut(leaf, "/")
	if err := checkName(group, rest, lowerDigits, maxName); err != nil {
		return Topic{}, fmt.Errorf("%w: %.80q: %w", ErrBadTopic, topic, err)
	}
	switch Kind(group) {
	case KindCmd, KindRes:
		t.Kind, t.Verb = Kind(group), Verb(rest)
	case KindAlert:
		t.Kind, t.Alert = KindAlert, rest
	default:
		return Topic{}, fmt.Errorf("%w: %.80q", ErrBadTopic, topic)
	}
	return t, nil
}
