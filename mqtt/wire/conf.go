package wire

import (
	"fmt"
	"time"

	"parley/conference"
)

// Notice is the payload of Conf.Notice: one event of a conference. Who finds a gap in Seq asks for the snapshot by
// looking at Conf.State, and a Notice of another UID belongs to another conference that had the same number.
type Notice struct {
	Conf   string    `json:"conf"`
	UID    string    `json:"uid"`
	Seq    uint64    `json:"seq"`
	At     time.Time `json:"at"`
	Event  string    `json:"event"`  // joined, changed, left, muted, unmuted, ...
	Member Member    `json:"member"` // as it is after the event
	Reason string    `json:"reason,omitempty"`
	By     *By       `json:"by,omitempty"`
	Why    string    `json:"why,omitempty"`
}

// By is who asked for what happened.
type By struct {
	Role string `json:"role"` // key, member, host, system, remote
	Name string `json:"name,omitempty"`
}

// Member is one line of the roster.
type Member struct {
	ID     string    `json:"id"`
	Number string    `json:"number,omitempty"`
	Name   string    `json:"name,omitempty"` // as given by the far end: not to be trusted
	Place  bool      `json:"place,omitempty"`
	State  string    `json:"state"` // dialing-out, alerting, connected, on-hold, disconnected
	Since  time.Time `json:"since"`
	Mute   []Reason  `json:"mute,omitempty"`
	Deaf   []Reason  `json:"deaf,omitempty"`
	Talks  bool      `json:"talks,omitempty"`
}

// Snapshot is the payload of Conf.State: the whole conference at Seq.
type Snapshot struct {
	Conf    string   `json:"conf"`
	UID     string   `json:"uid"`
	Theme   string   `json:"theme,omitempty"`
	Max     int      `json:"max,omitempty"` // members it takes; 0: no limit
	Seq     uint64   `json:"seq"`
	Members []Member `json:"members"`
}

var (
	memberStates = []string{string(conference.DialingOut), string(conference.Alerting), string(conference.Connected),
		string(conference.OnHold), string(conference.Disconnected)}
	reasonWords = []string{string(conference.Hardware), string(conference.Self), string(conference.Host),
		string(conference.Listener), string(conference.Hold), string(conference.System)}
	roleWords = []string{string(conference.ByKey), string(conference.ByMember), string(conference.ByHost),
		string(conference.BySystem), string(conference.ByRemote)}
	eventWords = []string{string(conference.Joined), string(conference.Changed), string(conference.Left),
		string(conference.Muted), string(conference.Unmuted), string(conference.Deafened), string(conference.Heard),
		string(conference.UnmuteRequested), string(conference.Talking), string(conference.Resting)}
)

// Check tells what is wrong with the values.
func (n *Notice) Check() error {
	if err := firstOf(named("conf", CheckConfName(n.Conf)), checkID("uid", n.UID), when("at", n.At),
		oneOf("event", n.Event, eventWords), n.Member.check("member."), text("why", n.Why, 0, 256)); err != nil {
		return err
	}
	if n.Seq == 0 {
		return invalid("seq", "want a number from 1 on")
	}
	if n.Reason != "" {
		if err := oneOf("reason", n.Reason, reasonWords); err != nil {
			return err
		}
	}
	if n.By == nil {
		return nil
	}
	return firstOf(oneOf("by.role", n.By.Role, roleWords), text("by.name", n.By.Name, 0, 128))
}

func (m *Member) check(at string) error {
	return firstOf(text(at+"id", m.ID, 1, 64), text(at+"number", m.Number, 0, 128), text(at+"name", m.Name, 0, 128),
		oneOf(at+"state", m.State, memberStates), when(at+"since", m.Since), reasons(at+"mute", m.Mute), reasons(at+"deaf", m.Deaf))
}

func reasons(path string, list []Reason) error {
	seen := map[string]bool{}
	for i, r := range list {
		at := fmt.Sprintf("%s[%d].", path, i)
		if err := firstOf(oneOf(at+"reason", r.Reason, reasonWords), oneOf(at+"by", r.By, roleWords),
			text(at+"name", r.Name, 0, 128), when(at+"since", r.Since)); err != nil {
			return err
		}
		if seen[r.Reason] {
			return invalid(at+"reason", "is there twice")
		}
		seen[r.Reason] = true
	}
	return nil
}

// Check tells what is wrong with the values.
func (s *Snapshot) Check() error {
	if err := firstOf(named("conf", CheckConfName(s.Conf)), checkID("uid", s.UID), text("theme", s.Theme, 0, 256)); err != nil {
		return err
	}
	if s.Max < 0 || len(s.Members) > MaxListed {
		return invalid("members", "%d at most, and max 0 or more", MaxListed)
	}
	seen := map[string]bool{}
	for i := range s.Members {
		at := fmt.Sprintf("members[%d].", i)
		if err := s.Members[i].check(at); err != nil {
			return err
		}
		if seen[s.Members[i].ID] {
			return invalid(at+"id", "is there twice")
		}
		seen[s.Members[i].ID] = true
	}
	return nil
}

func (s *Snapshot) fill() {
	if s.Members == nil {
		s.Members = []Member{}
	}
}

// NoticeOf puts an event into the form in which it travels. Texts that the far end chose are made printable and cut.
func NoticeOf(e conference.Event) Notice {
	n := Notice{Conf: e.Conference, UID: e.UID, Seq: e.Seq, At: e.At.UTC(), Event: string(e.What), Member: memberOf(e.Member),
		Reason: string(e.Reason), Why: printable(e.Why, 256)}
	if e.By.Role != "" {
		n.By = &By{Role: string(e.By.Role), Name: printable(e.By.Name, 128)}
	}
	return n
}

// SnapshotOf puts a snapshot into the form in which it travels.
func SnapshotOf(s conference.Snapshot) Snapshot {
	out := Snapshot{Conf: s.Number, UID: s.UID, Theme: printable(s.Theme, 256), Max: s.Max, Seq: s.Seq, Members: []Member{}}
	for _, m := range s.Members {
		out.Members = append(out.Members, memberOf(m))
	}
	return out
}

// GateOf tells a member's mute reasons as the state of the place's gate.
func GateOf(mute conference.Reasons) Gate {
	g := Gate{Gate: Open, Reasons: reasonsOf(mute)}
	if len(mute) > 0 {
		g.Gate = Closed
	}
	return g
}

func memberOf(m conference.Member) Member {
	return Member{ID: m.ID, Number: printable(m.Number, 128), Name: printable(m.Name, 128), Place: m.Place,
		State: string(m.State), Since: m.Since.UTC(), Mute: reasonsOf(m.Mute), Deaf: reasonsOf(m.Deaf), Talks: m.Talks}
}

func reasonsOf(marks conference.Reasons) []Reason {
	out := []Reason{}
	for _, m := range marks {
		out = append(out, Reason{Reason: string(m.Reason), By: string(m.By.Role), Name: printable(m.By.Name, 128), Since: m.At.UTC()})
	}
	return out
}
