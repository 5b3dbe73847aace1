package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"parley/conference"
)

// What a token can be refused for. MemberConfig.Verify wraps one of them; anything else counts as ErrToken.
var (
	// ErrToken: not signed by whom it should be, or not as it should be, or for somebody else.
	ErrToken = errors.New("bad token")
	// ErrTokenExpired: its time is over, or has not come.
	ErrTokenExpired = errors.New("token expired")
	// ErrTokenRevoked: it was withdrawn.
	ErrTokenRevoked = errors.New("token revoked")
)

// Claims are what a token says, once it is verified.
type Claims struct {
	Subject    string             // the number of the person
	Name       string             // for people
	Role       string             // host, guest, admin
	Rights     []conference.Right // what the token allows
	Narrow     bool               // Rights are all that its holder may do, whatever he is in the conference
	Conference string             // the number or uid of the one conference that it is limited to; empty: any
	Key        ed25519.PublicKey  // that it is bound to (RFC 7800, cnf); nil: none, and then it proves nothing here
	Expires    time.Time
}

// MemberDoor is where members' commands come in: it lets those through whose token is genuine, whose envelope is signed by
// the key that the token is bound to, and which are for this topic and this time, each id of one sender once. It has the
// answer for all the others. What has no effect, list and can, is let through each time. Whether the conference's uid is
// the right one, and whether the sender may, it does not know. Its methods may be called from any goroutine.
type MemberDoor struct {
	cfg    MemberConfig
	memory *memory[UserNotice]
}

// Two signatures are looked at for each command.
const (
	memberPerSecond = 50
	memberAtOnce    = 200 // everybody asks for the floor
)

// MemberConfig is what a MemberDoor needs.
type MemberConfig struct {
	EID string
	// Verify tells whether a token is genuine and in force, and what it says.
	Verify func(token string) (Claims, error)
	// Now is the clock. ClockSet tells whether it can be believed; nil: it can.
	Now      func() time.Time
	ClockSet func() bool
	MaxAhead time.Duration // how far exp may lie in the future; 0: DefaultMaxAhead
	// MaxSeen is how many ids are kept until they expire, 0: 4096; one sender has an eighth of them. When they are taken,
	// new commands are rejected as busy.
	MaxSeen int
}

// NewMemberDoor makes a door.
func NewMemberDoor(cfg MemberConfig) *MemberDoor {
	if cfg.MaxAhead <= 0 {
		cfg.MaxAhead = DefaultMaxAhead
	}
	if cfg.MaxSeen <= 0 {
		cfg.MaxSeen = 4096
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &MemberDoor{cfg: cfg, memory: newMemory[UserNotice](cfg.Now, memberPerSecond, memberAtOnce, cfg.MaxSeen, max(1, cfg.MaxSeen/8))}
}

// MemberVerdict is what a MemberDoor says of a message.
type MemberVerdict struct {
	// Fresh: Command is genuine and new, and is to be carried out; then Settle is to be told the outcome.
	Fresh   bool
	Command ConfCommand
	Conf    string // the number of the conference on whose topic it came; empty: it came on the user's
	Claims  Claims // of the sender; the zero value while nothing is proved
	// Ignore: nothing is to be done and nothing is to be answered.
	Ignore bool
	// Answer goes to Topic, unless Ignore is set. Topic is the User.Notice of the sender; of one who proved nothing, of
	// whom he says he is; and empty if that cannot be read: then nobody is answered. Of a fresh command the answer says
	// accepted; it need not be sent when the outcome follows at once.
	Answer UserNotice
	Topic  string
}

// Receive judges a message that came on Conf.Cmd or User.Cmd. A retained one is ignored: a command is for now. Of a
// flood, 50 in a second are looked at and the others rejected as busy.
func (d *MemberDoor) Receive(topic string, payload []byte, retained bool) MemberVerdict {
	t, err := ParseTopic(topic)
	if err != nil || t.Kind != KindConfCmd && t.Kind != KindUserCmd || t.EID != d.cfg.EID || retained {
		return MemberVerdict{Ignore: true}
	}
	v := MemberVerdict{Conf: t.ConfName}
	if !d.memory.mayLook() {
		return d.refuse(v, claimOf(payload), Answer{Status: Rejected, Reason: ReasonBusy})
	}
	var e Envelope
	if err := Decode(payload, &e); err != nil {
		return d.refuse(v, claimOf(payload), refuse(payload, nil, err))
	}
	signed, _ := b64Bytes(e.Payload, "payload") // as Check has seen
	if err := Decode(signed, &v.Command); err != nil {
		return d.refuse(v, claimOf(payload), rejectFor("", err))
	}
	if !believed(d.cfg.ClockSet) {
		return d.refuse(v, claimed{v.Command.ID, v.Command.By}, Answer{Status: Rejected, Reason: ReasonClockUnset})
	}
	claims, a := d.prove(payload, v.Command.Token)
	if a.Reason != "" {
		return d.refuse(v, claimed{v.Command.ID, v.Command.By}, a)
	}
	v.Claims = claims
	who := claimed{v.Command.ID, claims.Subject}
	if reason := d.judge(t, topic, v.Command, claims); reason != "" {
		return d.refuse(v, who, Answer{Status: Rejected, Reason: reason})
	}
	if v = d.refuse(v, who, Answer{Status: Accepted}); v.Ignore { // the subject is no name that a topic takes
		return v
	}
	if v.Command.Do == DoList || v.Command.Do == DoCan { // nothing to be done twice, and long answers to be kept
		v.Fresh = true
		return v
	}
	first, reason := v.Answer, ""
	v.Answer, v.Fresh, reason = d.memory.once(commandID{claims.Subject, v.Command.ID}, sha256.Sum256(signed),
		time.Unix(v.Command.Exp, 0), first)
	if reason != "" {
		return d.refuse(v, who, Answer{Status: Rejected, Reason: reason})
	}
	return v
}

// prove looks at the token and then at the envelope's signatures.
func (d *MemberDoor) prove(payload []byte, token string) (Claims, Answer) {
	claims, err := d.cfg.Verify(token)
	if err != nil {
		a := Answer{Status: Rejected, Reason: ReasonBadToken, Detail: printable(err.Error(), 256)}
		switch {
		case errors.Is(err, ErrTokenExpired):
			a.Reason = ReasonTokenExpired
		case errors.Is(err, ErrTokenRevoked):
			a.Reason = ReasonTokenRevoked
		}
		return Claims{}, a
	}
	if len(claims.Key) != ed25519.PublicKeySize {
		return Claims{}, Answer{Status: Rejected, Reason: ReasonUnbound}
	}
	if signed, _, err := Verify(payload, NewKeySet(claims.Key)); err != nil {
		return Claims{}, refuse(payload, signed, err)
	}
	return claims, Answer{}
}

// judge gives the reason for which a proved command is not for here and now; empty if it is.
func (d *MemberDoor) judge(t Topic, topic string, c ConfCommand, claims Claims) string {
	limit := claims.Conference
	switch {
	case c.By != claims.Subject || t.User != "" && t.User != c.By:
		return ReasonWrongSender
	case c.Topic != topic:
		return ReasonWrongTopic
	case !c.Known():
		return ReasonUnknownVerb
	case ownArgs[c.Do].user != (t.Kind == KindUserCmd):
		return ReasonWrongTopic
	case limit != "" && c.Do != DoList && !slices.Contains([]string{t.ConfName, c.UID}, limit):
		return ReasonWrongConf
	}
	return judgeExp(c.Exp, d.cfg.Now(), d.cfg.MaxAhead)
}

// refuse fills in the answer and whom it goes to.
func (d *MemberDoor) refuse(v MemberVerdict, who claimed, a Answer) MemberVerdict {
	a.ID = who.ID
	v.Answer = AnswerNotice(d.cfg.Now(), a)
	u, err := NewUser(d.cfg.EID, who.By)
	if err != nil {
		v.Ignore, v.Topic = true, ""
		return v
	}
	v.Topic = u.Notice()
	return v
}

// Settle records the outcome of a fresh command of that sender, so that the same one coming again gets the same answer.
func (d *MemberDoor) Settle(subject string, answer UserNotice) {
	d.memory.settle(commandID{subject, answer.ID}, answer)
}

// claimed is who somebody unproved says he is, and the id that he wants the answer under.
type claimed struct {
	ID string `json:"id"`
	By string `json:"by"`
}

// claimOf reads that out of an envelope, or of a command that was sent plainly. What cannot be repeated is left out.
func claimOf(payload []byte) (c claimed) {
	if len(payload) > MaxPayload {
		return c
	}
	var e Envelope
	if json.Unmarshal(payload, &e) == nil && e.Payload != "" {
		payload, _ = b64Bytes(e.Payload, "payload")
	}
	if json.Unmarshal(payload, &c) != nil {
		return claimed{}
	}
	if checkID("id", c.ID) != nil {
		c.ID = ""
	}
	return c
}
