package wire

import (
	"cmp"
	"errors"
	"math"
	"time"

	"parley/conference"
	"parley/conference/create"
)

// NoticeOf puts an event into the form in which it travels. Texts that the far end chose are made printable and cut.
func NoticeOf(e conference.Event) Notice {
	n := Notice{Conf: e.Conference, UID: e.UID, Seq: e.Seq, At: e.At.UTC(), Event: string(e.What), Reason: string(e.Reason),
		Room: printable(e.Room, maxRoom), Position: e.Position, Until: e.Until.UTC(), Text: printable(e.Text, maxNote), Why: printable(e.Why, 256)}
	if e.Member.ID != "" {
		m := memberOf(e.Member)
		if m.State == "" { // one who is not in the roster, and so could not be moved
			m.State, m.Since = string(conference.Disconnected), n.At
		}
		n.Member = &m
	}
	if e.By.Role != "" {
		n.By = &By{Role: string(e.By.Role), Name: printable(e.By.Name, 128), Member: e.By.Member}
	}
	return n
}

// SnapshotOf puts a snapshot into the form in which it travels. Beyond MaxListed, members are counted as omitted.
func SnapshotOf(s conference.Snapshot) Snapshot {
	out := Snapshot{Conf: s.Number, UID: s.UID, Kind: string(s.Kind), Phase: string(s.Phase), Theme: printable(s.Theme, 256),
		Memo: printable(s.Memo, 256), Creator: printable(s.Creator, 128), Start: s.Start.UTC(), End: s.End.UTC(), Max: s.Max,
		Speakers: s.Speakers, Seq: s.Seq, Members: []Member{}, Queue: s.Queue[:min(len(s.Queue), MaxListed)], Pinned: s.Pinned,
		HouseClosed: s.House, Locked: s.Locked, Mode: string(s.Mode), MessagesClosed: s.Messages}
	for i, m := range s.Members {
		if i >= MaxListed {
			out.Omitted++
			continue
		}
		out.Members = append(out.Members, memberOf(m))
	}
	for _, r := range s.Rooms[:min(len(s.Rooms), maxRooms)] {
		out.Rooms = append(out.Rooms, Room{ID: printable(r.ID, maxRoom), By: printable(r.By, 64), Unrecorded: r.Unrecorded})
	}
	for _, k := range s.Kept[:min(len(s.Kept), maxRooms)] {
		out.Kept = append(out.Kept, Kept{ID: k.ID, Number: printable(k.Number, 64), Name: printable(k.Name, 64), Until: k.Until.UTC()})
	}
	if r := s.Recording; r.On {
		out.Recording = &Tape{Paused: r.Paused, Since: r.Since.UTC(), By: printable(r.By, 128)}
	}
	return out
}

// shorter are the lengths to which texts of a payload that is too long are cut, one after the other.
var shorter = []int{64, 32, 16}

// shrink makes a roster shorter that does not fit into MaxPayload: names first, then what can be done without, then
// the last members.
func (s *Snapshot) shrink(step int) bool {
	if len(s.Members) == 0 {
		return false
	}
	if step > len(shorter) {
		keep := len(s.Members) * 7 / 8
		s.Omitted += len(s.Members) - keep
		s.Members = s.Members[:keep]
		return true
	}
	for i := range s.Members {
		if step < len(shorter) {
			s.Members[i].cut(shorter[step])
		} else {
			s.Members[i].coarsen()
		}
	}
	return true
}

func (m *Member) cut(longest int) {
	m.Name, m.Why = printable(m.Name, longest), printable(m.Why, longest)
	for _, list := range [][]Reason{m.Mute, m.Deaf} {
		for i := range list {
			list[i].Name = printable(list[i].Name, longest)
		}
	}
}

// coarsen leaves out who set a reason, and parts of seconds.
func (m *Member) coarsen() {
	m.Number, m.Why, m.Since, m.FloorSince = printable(m.Number, 32), "", coarse(m.Since), coarse(m.FloorSince)
	for _, list := range [][]Reason{m.Mute, m.Deaf} {
		for i := range list {
			list[i].Name, list[i].Since = "", coarse(list[i].Since)
		}
	}
}

func coarse(t time.Time) time.Time { return t.Truncate(time.Second) }

func (s *Snapshot) fill() {
	if s.Members == nil {
		s.Members = []Member{}
	}
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
		State: string(m.State), Since: m.Since.UTC(), Why: printable(m.Why, 256), Role: string(m.Role), Room: printable(m.Room, maxRoom),
		Invited: m.Invited, Mute: reasonsOf(m.Mute), Deaf: reasonsOf(m.Deaf), Talks: m.Talks, Floor: string(m.Floor),
		FloorSince: m.FloorAt.UTC(), SpokenS: math.Round(m.Spoken.Seconds()*10) / 10, Asked: m.Asked}
}

func reasonsOf(marks conference.Reasons) []Reason {
	out := []Reason{}
	for _, m := range marks {
		by := m.By.Role
		if by == "" {
			by = conference.BySystem
		}
		out = append(out, Reason{Reason: string(m.Reason), By: string(by), Name: printable(m.By.Name, 128), Since: m.At.UTC()})
	}
	return out
}

// ReasonFor names for a machine why a conference refused a command, or was not made; unavailable, if err is none of
// conference's and create's.
func ReasonFor(err error) string {
	var wrong *create.FieldError
	if errors.As(err, &wrong) {
		return cmp.Or(codeReasons[wrong.Code], ReasonUnavailable)
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return ReasonUnavailable
}

// codeReasons has one for each of create's codes but OK.
var codeReasons = map[create.Code]string{
	create.Malformed: ReasonInvalidJSON, create.TooLarge: ReasonTooLarge, create.Unknown: ReasonUnknownField,
	create.Missing: ReasonInvalidValue, create.Invalid: ReasonInvalidValue, create.OutOfRange: ReasonInvalidValue,
	create.Duplicate: ReasonInvalidValue, create.Taken: ReasonConflict, create.NoneFree: ReasonFull,
	create.NoConference: ReasonNoConference, create.Unauthorized: ReasonForbidden, create.Denied: ReasonForbidden,
	create.Limited: ReasonBusy, create.Reused: ReasonIDReused, create.NotKept: ReasonNotDurable, create.Unavailable: ReasonUnavailable,
}

// refusals stand in the order in which they are looked for.
var refusals = []struct {
	err    error
	reason string
}{
	{conference.ErrDenied, ReasonForbidden},
	{conference.ErrNotYours, ReasonForbidden},
	{conference.ErrListener, ReasonForbidden},
	{conference.ErrLocalOnly, ReasonLocalOnly},
	{conference.ErrNoMember, ReasonNoMember},
	{conference.ErrAbsent, ReasonAbsent},
	{conference.ErrTaken, ReasonConflict},
	{conference.ErrFull, ReasonFull},
	{conference.ErrLocked, ReasonLocked},
	{conference.ErrBarred, ReasonBarred},
	{conference.ErrNotYet, ReasonNotYet},
	{conference.ErrOver, ReasonOver},
	{conference.ErrNoRoom, ReasonNoRoom},
	{conference.ErrNoQueue, ReasonNoQueue},
	{conference.ErrNoPlace, ReasonNoPlace},
	{conference.ErrNotRecording, ReasonNotRecording},
	{conference.ErrInvalid, ReasonConflict},
}
