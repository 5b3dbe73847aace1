package wire

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"time"
)

// Door is where commands come in: it lets those through that are signed by a known key for this box, this verb and this
// time, each id once, and has the answer for all the others. Its methods may be called from any goroutine.
type Door struct {
	cfg    DoorConfig
	memory *memory[Answer]
}

// A signature costs the box's processor up to a millisecond: whoever can publish must not be able to take all of it.
const (
	perSecond = 20
	atOnce    = 40
)

// DoorConfig is what a Door needs.
type DoorConfig struct {
	Box  Box
	Keys KeySet
	Sess uint64 // of this run of the box; 0: commands that name a session are refused
	// Now is the clock. ClockSet tells whether it can be believed; nil: it can.
	Now      func() time.Time
	ClockSet func() bool
	MaxAhead time.Duration // how far exp may lie in the future; 0: DefaultMaxAhead
	MaxSeen  int           // ids kept until they expire; 0: 1024. When they are all taken, new commands are rejected as busy
}

// NewDoor makes a door.
func NewDoor(cfg DoorConfig) *Door {
	if cfg.MaxAhead <= 0 {
		cfg.MaxAhead = DefaultMaxAhead
	}
	if cfg.MaxSeen <= 0 {
		cfg.MaxSeen = 1024
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Door{cfg: cfg, memory: newMemory[Answer](cfg.Now, perSecond, atOnce, cfg.MaxSeen, cfg.MaxSeen)}
}

// Verdict is what a Door says of a message.
type Verdict struct {
	// Fresh: Command is genuine and new, and is to be carried out; then Settle is to be told the outcome.
	Fresh   bool
	Command Command
	KeyID   string // who signed it
	// Ignore: nothing is to be done and nothing is to be answered.
	Ignore bool
	// Answer goes to Topic, unless Ignore is set. Of a fresh command it says accepted; it need not be sent when the
	// outcome follows at once.
	Answer Answer
	Topic  string
}

// Receive judges a message that came on one of the box's Cmd topics. A retained one is ignored: a command is for now. Of
// a flood, 20 in a second are looked at and the others rejected as busy, without an id.
func (d *Door) Receive(topic string, payload []byte, retained bool) Verdict {
	t, err := ParseTopic(topic)
	if err != nil || t.Kind != KindCmd || t.EID != d.cfg.Box.eid || t.Box != d.cfg.Box.box || retained {
		return Verdict{Ignore: true}
	}
	v := Verdict{Topic: d.cfg.Box.Res(t.Verb)}
	if !d.memory.mayLook() {
		v.Answer = Answer{Status: Rejected, Reason: ReasonBusy}
		return v
	}
	signed, keyID, err := Verify(payload, d.cfg.Keys)
	if err != nil {
		v.Answer = refuse(payload, signed, err)
		return v
	}
	v.KeyID = keyID
	if err := Decode(signed, &v.Command); err != nil {
		v.Answer = rejectFor(claimedID(signed), err)
		return v
	}
	if reason := d.judge(t, v.Command); reason != "" {
		v.Answer = Answer{ID: v.Command.ID, Status: Rejected, Reason: reason}
		return v
	}
	id, reason := v.Command.ID, ""
	v.Answer, v.Fresh, reason = d.memory.once(commandID{id: id}, sha256.Sum256(signed), time.Unix(v.Command.Exp, 0),
		Answer{ID: id, Status: Accepted})
	if reason != "" {
		v.Answer = Answer{ID: id, Status: Rejected, Reason: reason}
	}
	return v
}

// refuse answers what carries no proof. The id in it is repeated so that an honest sender finds the answer.
func refuse(payload, signed []byte, err error) Answer {
	for sentinel, reason := range map[error]string{
		ErrUnsigned: ReasonUnsigned, ErrUnknownKey: ReasonUnknownKey, ErrBadSignature: ReasonBadSignature,
	} {
		if errors.Is(err, sentinel) {
			return Answer{ID: claimedID(signed), Status: Rejected, Reason: reason}
		}
	}
	// A command sent plainly is JSON with an id and no payload: say what is missing rather than which key is strange.
	if id := claimedID(payload); id != "" && !bytes.Contains(payload, []byte(`"payload"`)) {
		return Answer{ID: id, Status: Rejected, Reason: ReasonUnsigned}
	}
	return rejectFor(claimedID(payload), err)
}

// judge gives the reason for which a genuine command is not for here and now; empty if it is.
func (d *Door) judge(t Topic, c Command) string {
	switch {
	case c.EID != t.EID || c.Box != t.Box:
		return ReasonWrongBox
	case c.Verb != t.Verb:
		return ReasonWrongVerb
	case !c.Verb.Known():
		return ReasonUnknownVerb
	case c.Sess != 0 && c.Sess != d.cfg.Sess:
		return ReasonWrongSess
	case !believed(d.cfg.ClockSet):
		return ReasonClockUnset
	}
	return judgeExp(c.Exp, d.cfg.Now(), d.cfg.MaxAhead)
}

func believed(clockSet func() bool) bool { return clockSet == nil || clockSet() }

// judgeExp gives the reason for which a command is not for this time; empty if it is.
func judgeExp(unix int64, now time.Time, ahead time.Duration) string {
	exp := time.Unix(unix, 0)
	switch {
	case !now.Before(exp):
		return ReasonExpired
	case exp.After(now.Add(ahead)):
		return ReasonTooFar
	}
	return ""
}

// Settle records the outcome of a fresh command, so that the same one coming again gets the same answer.
func (d *Door) Settle(a Answer) { d.memory.settle(commandID{id: a.ID}, a) }
