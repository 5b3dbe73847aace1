package wire

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"parley/conference/create"
)

// NoticeKind is what a UserNotice is about.
type NoticeKind string

// The kinds of notice to a user.
const (
	NoticeAnswer     NoticeKind = "answer"           // to a command: ID, Status, Reason, Detail, Durable, Result
	NoticeMessage    NoticeKind = "message"          // to a message: the same; done means that it is on disk
	NoticeJoin       NoticeKind = "join"             // a call comes: Conf, UID, Number, Topic, Token
	NoticeInvitation NoticeKind = "invitation"       // to what comes later: Conf, UID, Number, Start, End
	NoticeGranted    NoticeKind = "granted"          // the user has the floor: Conf, UID
	NoticeQueued     NoticeKind = "queued"           // Conf, UID, Position in the queue, from 1
	NoticeUnmute     NoticeKind = "unmute-requested" // Conf, UID, Mute, By: only the user can grant it
	NoticeRoom       NoticeKind = "room_asked"       // Conf, UID, Member, By: asked into a private room
)

// UserNotice is the payload of User.Notice. Which fields count depends on Kind.
type UserNotice struct {
	Kind NoticeKind `json:"kind"`
	At   time.Time  `json:"at"`

	ID      string  `json:"id,omitempty"` // the command's or message's; empty when none could be read
	Status  Status  `json:"status,omitempty"`
	Reason  string  `json:"reason,omitempty"`  // of failed and rejected: one of Reasons
	Detail  string  `json:"detail,omitempty"`  // for people
	Durable *bool   `json:"durable,omitempty"` // false: done, and would not survive a power cut now
	Result  *Result `json:"result,omitempty"`

	Conf     string    `json:"conf,omitempty"`
	UID      string    `json:"uid,omitempty"`
	Theme    string    `json:"theme,omitempty"`
	Number   string    `json:"number,omitempty"` // from which the call comes, or that is to be called
	Topic    string    `json:"topic,omitempty"`  // to subscribe to for the conference's events
	Token    string    `json:"token,omitempty"`  // comes with the call, too, and is good for it only
	Position int       `json:"position,omitempty"`
	Mute     string    `json:"mute,omitempty"`   // the reason that is asked to be cleared
	Member   string    `json:"member,omitempty"` // who asks: what accept and decline take
	By       string    `json:"by,omitempty"`     // who asks, for people
	Start    time.Time `json:"start,omitzero"`
	End      time.Time `json:"end,omitzero"`
}

// Result is what a command has yielded.
type Result struct {
	Code        string   `json:"code,omitempty"`  // of create
	Field       string   `json:"field,omitempty"` // of create: which one is wrong
	Conf        string   `json:"conf,omitempty"`
	UID         string   `json:"uid,omitempty"`
	Seq         uint64   `json:"seq,omitempty"` // of the conference's last event by it, or the message's place in the log
	Can         []string `json:"can,omitempty"`
	Conferences []Listed `json:"conferences,omitempty"`
}

// Listed is one conference of a list.
type Listed struct {
	Conf    string    `json:"conf"`
	UID     string    `json:"uid"`
	Theme   string    `json:"theme,omitempty"`
	Kind    string    `json:"kind"`
	Phase   string    `json:"phase"`
	Creator string    `json:"creator,omitempty"`
	Start   time.Time `json:"start,omitzero"`
	End     time.Time `json:"end,omitzero"`
	Members int       `json:"members"`
}

// noticeKinds tells how each kind is checked.
var noticeKinds = map[NoticeKind]func(*UserNotice) error{
	NoticeAnswer:  (*UserNotice).checkAnswer,
	NoticeMessage: (*UserNotice).checkAnswer,
	NoticeJoin: func(n *UserNotice) error {
		return firstOf(text("number", n.Number, 1, 128), text("topic", n.Topic, 1, 128), text("token", n.Token, 1, maxToken))
	},
	NoticeInvitation: func(n *UserNotice) error {
		return when("start", n.Start)
	},
	NoticeGranted: func(*UserNotice) error { return nil },
	NoticeQueued: func(n *UserNotice) error {
		if n.Position < 1 {
			return invalid("position", "want a number from 1 on")
		}
		return nil
	},
	NoticeUnmute: func(n *UserNotice) error { return oneOf("mute", n.Mute, reasonWords) },
	NoticeRoom:   func(n *UserNotice) error { return text("member", n.Member, 1, 64) },
}

// Check tells what is wrong with the values.
func (n *UserNotice) Check() error {
	check, ok := noticeKinds[n.Kind]
	if !ok {
		return invalid("kind", "%.40q is none", string(n.Kind))
	}
	if err := firstOf(when("at", n.At), text("theme", n.Theme, 0, 256), text("number", n.Number, 0, 128),
		text("topic", n.Topic, 0, 128), text("token", n.Token, 0, maxToken), text("member", n.Member, 0, 64), text("by", n.By, 0, 128),
		text("mute", n.Mute, 0, maxName), n.Result.check("result."), check(n)); err != nil {
		return err
	}
	if n.Position < 0 {
		return invalid("position", "want a number from 1 on")
	}
	if n.Kind == NoticeAnswer || n.Kind == NoticeMessage {
		return nil
	}
	return firstOf(named("conf", CheckConfName(n.Conf)), checkID("uid", n.UID))
}

func (n *UserNotice) checkAnswer() error {
	a := Answer{ID: n.ID, Status: n.Status, Reason: n.Reason, Detail: n.Detail}
	return a.Check()
}

func (r *Result) check(at string) error {
	if r == nil {
		return nil
	}
	if err := firstOf(text(at+"code", r.Code, 0, 16), text(at+"field", r.Field, 0, 128), text(at+"conf", r.Conf, 0, maxConfName),
		text(at+"uid", r.UID, 0, 64), texts(at+"can", r.Can, MaxListed, maxName)); err != nil {
		return err
	}
	if len(r.Conferences) > MaxListed {
		return invalid(at+"conferences", "%d at most", MaxListed)
	}
	for i, c := range r.Conferences {
		at := fmt.Sprintf("%sconferences[%d].", at, i)
		if err := firstOf(named(at+"conf", CheckConfName(c.Conf)), checkID(at+"uid", c.UID), text(at+"theme", c.Theme, 0, 256),
			oneOf(at+"kind", c.Kind, kindWords), oneOf(at+"phase", c.Phase, phaseWords), text(at+"creator", c.Creator, 0, 128)); err != nil {
			return err
		}
		if c.Members < 0 {
			return invalid(at+"members", "want 0 or more")
		}
	}
	return nil
}

// fill makes texts that others chose printable, and cuts what has no end.
func (n *UserNotice) fill() {
	n.Detail, n.Theme, n.By = printable(n.Detail, 256), printable(n.Theme, 256), printable(n.By, 128)
	if n.Result == nil {
		return
	}
	r := *n.Result // the caller's may be kept by a door, too
	n.Result = &r
	r.Can, r.Conferences = r.Can[:min(len(r.Can), MaxListed)], slices.Clone(r.Conferences[:min(len(r.Conferences), MaxListed)])
	for i := range r.Conferences {
		c := &r.Conferences[i]
		c.Theme, c.Creator = printable(c.Theme, 256), printable(c.Creator, 128)
	}
}

// shrink makes a long list shorter: themes first, then conferences.
func (n *UserNotice) shrink(step int) bool {
	if n.Result == nil || len(n.Result.Conferences) == 0 {
		return false
	}
	r := n.Result
	if step < len(shorter) {
		for i := range r.Conferences {
			r.Conferences[i].Theme = printable(r.Conferences[i].Theme, shorter[step])
		}
		return true
	}
	r.Conferences = r.Conferences[:len(r.Conferences)*3/4]
	return true
}

// AnswerNotice puts the answer to a command into the form in which it travels.
func AnswerNotice(at time.Time, a Answer) UserNotice {
	return UserNotice{Kind: NoticeAnswer, At: at.UTC(), ID: a.ID, Status: a.Status, Reason: a.Reason, Detail: a.Detail}
}

// Settled says what became of a command or message: err is nil, or why it came to nothing; durable is false while the
// disk does not keep up; r may be nil. Of one of create's errors the result has code and field.
func Settled(kind NoticeKind, at time.Time, id string, err error, durable bool, r *Result) UserNotice {
	n := UserNotice{Kind: kind, At: at.UTC(), ID: id, Status: Done, Result: r}
	if err != nil {
		n.Status, n.Reason, n.Detail = Failed, ReasonFor(err), printable(err.Error(), 256)
		if wrong := new(create.FieldError); errors.As(err, &wrong) {
			n.Result = &Result{Code: string(wrong.Code), Field: printable(wrong.Field, 128)}
		}
	}
	if !durable && err == nil {
		n.Durable = new(bool)
	}
	return n
}
