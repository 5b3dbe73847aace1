package wire

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"parley/conference"
)

// Notice is the payload of Conf.Notice: one event of a conference. Who finds a gap in Seq asks for the snapshot by
// looking at Conf.State, and a Notice of another UID belongs to another conference that had the same number.
type Notice struct {
	Conf     string    `json:"conf"`
	UID      string    `json:"uid"`
	Seq      uint64    `json:"seq"`
	At       time.Time `json:"at"`
	Event    string    `json:"event"`            // joined, changed, left, muted, unmuted, ...
	Member   *Member   `json:"member,omitempty"` // whom it is about, as he is after the event; nil: the conference itself
	Reason   string    `json:"reason,omitempty"`
	Room     string    `json:"room,omitempty"`
	Position int       `json:"position,omitempty"` // in the queue, from 1
	Until    time.Time `json:"until,omitzero"`
	Text     string    `json:"text,omitempty"` // of a note
	By       *By       `json:"by,omitempty"`
	Why      string    `json:"why,omitempty"`
}

// By is who asked for what happened.
type By struct {
	Role   string `json:"role"` // key, member, host, system, remote
	Name   string `json:"name,omitempty"`
	Member string `json:"member,omitempty"` // the id of one in the roster
}

// Member is one line of the roster.
type Member struct {
	ID         string    `json:"id"`
	Number     string    `json:"number,omitempty"`
	Name       string    `json:"name,omitempty"` // as given by the far end: not to be trusted
	Place      bool      `json:"place,omitempty"`
	State      string    `json:"state"` // pending, dialing-out, alerting, connected, on-hold, disconnected
	Since      time.Time `json:"since"`
	Why        string    `json:"why,omitempty"`  // of disconnected
	Role       string    `json:"role,omitempty"` // host, guest
	Room       string    `json:"room,omitempty"` // lobby, or a private one; absent: the hall
	Invited    bool      `json:"invited,omitempty"`
	Mute       []Reason  `json:"mute,omitempty"`
	Deaf       []Reason  `json:"deaf,omitempty"`
	Talks      bool      `json:"talks,omitempty"`
	Floor      string    `json:"floor,omitempty"` // queued, granted
	FloorSince time.Time `json:"floor_since,omitzero"`
	SpokenS    float64   `json:"spoken_s,omitempty"` // seconds, until he last rested
	Asked      string    `json:"asked,omitempty"`    // the member who asks this one into a private room
}

// Snapshot is the payload of Conf.State: the whole conference at Seq. It holds no password.
type Snapshot struct {
	Conf           string    `json:"conf"`
	UID            string    `json:"uid"`
	Kind           string    `json:"kind,omitempty"`  // standing, immediate, appointment
	Phase          string    `json:"phase,omitempty"` // scheduled, gathering, open, over
	Theme          string    `json:"theme,omitempty"`
	Memo           string    `json:"memo,omitempty"`
	Creator        string    `json:"creator,omitempty"`
	Start          time.Time `json:"start,omitzero"`
	End            time.Time `json:"end,omitzero"`
	Max            int       `json:"max,omitempty"`      // members it takes; 0: no limit
	Speakers       int       `json:"speakers,omitempty"` // who may speak at once; 0: everybody
	Seq            uint64    `json:"seq"`
	Members        []Member  `json:"members"`
	Omitted        int       `json:"omitted,omitempty"` // members for whom there was no room in this message
	Queue          []string  `json:"queue,omitempty"`   // members' ids, the next one first
	Pinned         string    `json:"pinned,omitempty"`
	Kept           []Kept    `json:"kept,omitempty"`
	Rooms          []Room    `json:"rooms,omitempty"`
	HouseClosed    bool      `json:"house_closed,omitempty"`
	Locked         bool      `json:"locked,omitempty"`
	Recording      *Tape     `json:"recording,omitempty"` // nil: there is none
	Mode           string    `json:"mode,omitempty"`      // voice, messages
	MessagesClosed bool      `json:"messages_closed,omitempty"`
}

// Kept is a place on the floor that waits for a member who has dropped off.
type Kept struct {
	ID     string    `json:"id,omitempty"` // that the member had
	Number string    `json:"number,omitempty"`
	Name   string    `json:"name,omitempty"`
	Until  time.Time `json:"until"`
}

// Room is a private part of a conference.
type Room struct {
	ID         string `json:"id"`
	By         string `json:"by,omitempty"`
	Unrecorded bool   `json:"unrecorded,omitempty"`
}

// Tape is how the recording runs.
type Tape struct {
	Paused bool      `json:"paused,omitempty"`
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"`
}

var (
	memberStates = []string{string(conference.Pending), string(conference.DialingOut), string(conference.Alerting),
		string(conference.Connected), string(conference.OnHold), string(conference.Disconnected)}
	reasonWords = []string{string(conference.Hardware), string(conference.Self), string(conference.Host),
		string(conference.Listener), string(conference.Hold), string(conference.System)}
	roleWords = []string{string(conference.ByKey), string(conference.ByMember), string(conference.ByHost),
		string(conference.BySystem), string(conference.ByRemote)}
	chairWords = []string{string(conference.Guest), string(conference.Chair)}
	floorWords = []string{string(conference.FloorQueue), string(conference.FloorHeld)}
	kindWords  = []string{string(conference.Pair), string(conference.Standing), string(conference.Immediate),
		string(conference.Appointment)}
	phaseWords = []string{string(conference.Scheduled), string(conference.Gathering), string(conference.Open), string(conference.Over)}
	modeWords  = []string{string(conference.ByVoice), string(conference.ByMessages)}
)

// eventWords are all that conference tells.
var eventWords = []string{
	string(conference.Joined), string(conference.Changed), string(conference.Left),
	string(conference.Muted), string(conference.Unmuted), string(conference.Deafened), string(conference.Heard),
	string(conference.UnmuteRequested), string(conference.Talking), string(conference.Resting),
	string(conference.LobbyOpened), string(conference.Opened), string(conference.Call), string(conference.Kicked),
	string(conference.Ended), string(conference.Warned), string(conference.Prolonged), string(conference.HouseClosed),
	string(conference.HouseOpened), string(conference.Locked), string(conference.Unlocked),
	string(conference.BecameHost), string(conference.NoHost), string(conference.Transferred), string(conference.Queued), string(conference.QueueMoved),
	string(conference.Unqueued), string(conference.Granted), string(conference.Yielded), string(conference.Pinned),
	string(conference.RoomOpened), string(conference.RoomClosed), string(conference.Moved), string(conference.NotMoved),
	string(conference.RoomAsked), string(conference.RoomDeclined), string(conference.HostCalled),
	string(conference.RecordStarted), string(conference.RecordPaused), string(conference.RecordStopped),
	string(conference.Noted), string(conference.MessagesOnly), string(conference.VoiceAgain),
	string(conference.MessagesOff), string(conference.MessagesOn),
}

const (
	maxRoom  = 64
	maxRooms = 64
)

// Check tells what is wrong with the values.
func (n *Notice) Check() error {
	switch {
	case n.Seq == 0:
		return invalid("seq", "want a number from 1 on")
	case n.Position < 0:
		return invalid("position", "want a number from 1 on")
	}
	if err := firstOf(named("conf", CheckConfName(n.Conf)), checkID("uid", n.UID), when("at", n.At),
		known("event", n.Event, eventWords), under("member.", n.Member.check()),
		optional("reason", n.Reason, reasonWords), text("room", n.Room, 0, maxRoom), text("text", n.Text, 0, maxNote),
		text("why", n.Why, 0, 256)); err != nil {
		return err
	}
	if n.By == nil {
		return nil
	}
	return firstOf(oneOf("by.role", n.By.Role, roleWords), text("by.name", n.By.Name, 0, 128), text("by.member", n.By.Member, 0, 64))
}

func (m *Member) check() error {
	if m == nil {
		return nil
	}
	return firstOf(text("id", m.ID, 1, 64), text("number", m.Number, 0, 128), text("name", m.Name, 0, 128),
		oneOf("state", m.State, memberStates), when("since", m.Since), text("why", m.Why, 0, 256),
		optional("role", m.Role, chairWords), text("room", m.Room, 0, maxRoom), reasons("mute", m.Mute),
		reasons("deaf", m.Deaf), optional("floor", m.Floor, floorWords), number("spoken_s", &m.SpokenS, 0, 1e9),
		text("asked", m.Asked, 0, 64))
}

// under puts where a part lies before the path of its fault. Faults are rare, so that paths are not made before.
func under(at string, err error) error {
	var field *FieldError
	if errors.As(err, &field) {
		return &FieldError{Path: at + field.Path, Kind: field.Kind, Want: field.Want}
	}
	return err
}

// known is oneOf for a list that is too long to be told.
func known(path, word string, words []string) error {
	if !slices.Contains(words, word) {
		return invalid(path, "%.40q is none", word)
	}
	return nil
}

// optional takes one of the words, or none.
func optional(path, word string, words []string) error {
	if word == "" {
		return nil
	}
	return oneOf(path, word, words)
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
	if err := firstOf(named("conf", CheckConfName(s.Conf)), checkID("uid", s.UID), optional("kind", s.Kind, kindWords),
		optional("phase", s.Phase, phaseWords), text("theme", s.Theme, 0, 256), text("memo", s.Memo, 0, 256),
		text("creator", s.Creator, 0, 128), optional("mode", s.Mode, modeWords), text("pinned", s.Pinned, 0, 64),
		texts("queue", s.Queue, MaxListed, 64), s.checkParts()); err != nil {
		return err
	}
	if s.Max < 0 || s.Speakers < 0 || s.Omitted < 0 || len(s.Members) > MaxListed {
		return invalid("members", "%d at most, and max, speakers and omitted 0 or more", MaxListed)
	}
	seen := map[string]bool{}
	for i := range s.Members {
		if err := s.Members[i].check(); err != nil {
			return under(fmt.Sprintf("members[%d].", i), err)
		}
		if seen[s.Members[i].ID] {
			return invalid(fmt.Sprintf("members[%d].id", i), "is there twice")
		}
		seen[s.Members[i].ID] = true
	}
	return nil
}

func (s *Snapshot) checkParts() error {
	if len(s.Rooms) > maxRooms || len(s.Kept) > maxRooms {
		return invalid("rooms", "%d rooms and kept places at most", maxRooms)
	}
	for i, r := range s.Rooms {
		at := fmt.Sprintf("rooms[%d].", i)
		if err := firstOf(text(at+"id", r.ID, 1, maxRoom), text(at+"by", r.By, 0, 128)); err != nil {
			return err
		}
	}
	for i, k := range s.Kept {
		at := fmt.Sprintf("kept[%d].", i)
		if err := firstOf(text(at+"id", k.ID, 0, 64), text(at+"number", k.Number, 0, 128), text(at+"name", k.Name, 0, 128), when(at+"until", k.Until)); err != nil {
			return err
		}
	}
	if s.Recording == nil {
		return nil
	}
	return firstOf(when("recording.since", s.Recording.Since), text("recording.by", s.Recording.By, 0, 128))
}
