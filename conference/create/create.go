// Package create reads the request that makes a conference, `conferAndMembersAddJson`: which fields it has, what each may
// hold, and what comes of it in the words of package conference. Every door that takes the request (HTTP, MQTT) reads it
// here, so that it means the same at each.
//
// It must not know how the request came, which conferences there are, or who may make one.
package create

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"parley/conference"
)

// Bounds of a conference's number, and the wire's ranges.
const (
	FirstNumber = 1000
	LastNumber  = 9999

	leastNum        = 3
	defaultMaxNum   = 30
	defaultSpeakers = 12
	defaultMembers  = 300
	speakersUnsaid  = 4 // when maxSpeaker is there and empty
)

// Limits are a deployment's own bounds. The zero value has the wire's.
type Limits struct {
	MaxNum     int       // the greatest maxNum, and the one of who gives none; 0: 30
	MaxSpeaker int       // the greatest maxSpeaker; 0: 12
	Members    int       // the most numbers in membersList; 0: 300
	Now        time.Time // if not zero, an end must lie after it
}

func (l Limits) orDefaults() Limits {
	for _, d := range []struct {
		value *int
		unset int
	}{{&l.MaxNum, defaultMaxNum}, {&l.MaxSpeaker, defaultSpeakers}, {&l.Members, defaultMembers}} {
		if *d.value <= 0 {
			*d.value = d.unset
		}
	}
	return l
}

// Request is a create call whose every field is right.
type Request struct {
	ID        string            // requestId: the same one from the same caller makes one conference; may be empty
	Digest    [sha256.Size]byte // of the request as it came, to tell whether another has the same ID; not to be stored
	Number    string            // "1000" to "9999"; empty: the first that is free
	Kind      conference.Kind   // Immediate or Appointment
	Theme     string
	Creator   string // the host's number, maybe XXX:YYY
	Moderator Secret // who enters this password is a host
	User      Secret // who enters this one is a guest
	Start     time.Time
	End       time.Time
	Max       int
	Speakers  int // 0: everybody may speak at once
	Memo      string
	EID       string
	Invited   []Invitee // the creator among them only if he stood in the list
	Elsewhere []Invitee // members for conferences that exist already
}

// Invitee is one number of membersList.
type Invitee struct {
	Field      string // where it stood, for an error that names it
	Conference string // of Elsewhere: the number of the conference
	Number     string
	Name       string // the memo
	Mute, Deaf bool
}

// Parse reads a request of at most MaxBody bytes. Times without a zone are in zone. The error is a *FieldError that names
// the first field that is wrong. Both passwords are hashed, which takes twice what Hash does: not to be called where others
// wait.
func Parse(body []byte, zone *time.Location, limits Limits) (Request, error) {
	r, passwords, err := parse(body, zone, limits)
	if err != nil {
		return Request{}, err
	}
	r.Moderator, r.User = Hash(passwords[0]), Hash(passwords[1])
	return r, nil
}

func parse(body []byte, zone *time.Location, limits Limits) (r Request, passwords [2]string, err error) {
	limits = limits.orDefaults()
	whole, err := Object(body, MaxBody)
	if err != nil {
		return r, passwords, err
	}
	f := form{values: whole}
	f.only("requestId", "conferList", "membersList")
	r.ID = f.requestID()
	conf, members := f.object("conferList"), f.list("membersList")
	if f.err != nil {
		return r, passwords, f.err
	}
	r.Digest = sha256.Sum256(body)
	if passwords, err = r.conferList(conf, zone, limits); err != nil {
		return r, passwords, err
	}
	return r, passwords, r.membersList(members, limits)
}

func (r *Request) conferList(f *form, zone *time.Location, limits Limits) (passwords [2]string, err error) {
	f.only("confName", "type", "theme", "creator", "moderatorPassword", "userPassword", "startTime", "endTime", "maxNum",
		"maxSpeaker", "memo", "eid")
	r.Number = f.confName()
	r.Kind = f.kind()
	r.Theme = f.label("theme", 128)
	r.Creator = f.number("creator")
	passwords = [2]string{f.password("moderatorPassword"), f.password("userPassword")}
	if passwords[0] == passwords[1] {
		f.fail("userPassword", Invalid, "must differ from moderatorPassword, which makes a host of who enters it")
	}
	r.times(f, zone, limits.Now)
	r.Max = f.between("maxNum", leastNum, limits.MaxNum, limits.MaxNum, limits.MaxNum)
	r.Speakers = f.between("maxSpeaker", 1, limits.MaxSpeaker, 0, min(speakersUnsaid, limits.MaxSpeaker))
	r.Memo = f.label("memo", maxMemo)
	r.EID = f.eid()
	return passwords, f.err
}

func (r *Request) times(f *form, zone *time.Location, now time.Time) {
	r.Start, r.End = f.time("startTime", zone), f.time("endTime", zone)
	if r.Kind == conference.Appointment {
		f.required("startTime", !r.Start.IsZero())
		f.required("endTime", !r.End.IsZero())
	}
	if r.End.IsZero() {
		return
	}
	if !r.Start.IsZero() && !r.End.After(r.Start) {
		f.fail("endTime", OutOfRange, "must be after startTime")
	}
	if !now.IsZero() && !r.End.After(now) {
		f.fail("endTime", OutOfRange, "is over already")
	}
}

func (r *Request) membersList(list []*form, limits Limits) error {
	seen := map[string]bool{}
	for _, f := range list {
		members := f.members(r.Number, limits.Members)
		if f.err != nil {
			return f.err
		}
		for _, m := range members {
			key := m.Conference + " " + m.Number
			if seen[key] {
				f.fail("userNum", Duplicate, "names somebody twice")
				return f.err
			}
			seen[key] = true
			if m.Conference == "" {
				r.Invited = append(r.Invited, m)
			} else {
				r.Elsewhere = append(r.Elsewhere, m)
			}
		}
		if len(seen) > limits.Members {
			return &FieldError{"membersList", TooLarge, fmt.Sprintf("%d numbers at most", limits.Members)}
		}
	}
	if n := len(r.Members(time.Time{})); n > r.Max {
		return &FieldError{"membersList", OutOfRange, fmt.Sprintf("%d with the creator, and maxNum is %d", n, r.Max)}
	}
	return nil
}

// Rules gives the rules of the conference. UID, Number if none was wished, and what a deployment sets for all (Early, Warn,
// Grace, HostGone, Private) are the caller's to fill in.
func (r *Request) Rules() conference.Rules {
	rules := conference.Rules{Number: r.Number, Theme: r.Theme, Memo: r.Memo, EID: r.EID, Kind: r.Kind, Creator: r.Creator,
		End: r.End, Max: r.Max, Speakers: r.Speakers}
	if r.Kind == conference.Appointment {
		rules.Start = r.Start
	}
	return rules
}

// Members gives the roster with which the conference begins, without ids: its host first, then those invited, as their
// wishes for being muted and deaf stand in the request.
func (r *Request) Members(now time.Time) []conference.Member {
	by := conference.Actor{Role: conference.ByHost, Name: r.Creator}
	host := Invitee{Number: r.Creator}
	rest := make([]conference.Member, 0, len(r.Invited)+1)
	for _, i := range r.Invited {
		if i.Number == r.Creator {
			host = i
			continue
		}
		rest = append(rest, i.Member(now, by))
	}
	chair := host.Member(now, by)
	chair.Role = conference.Chair
	return slices.Insert(rest, 0, chair)
}

// Member is what the invitee becomes in a roster: pending, and muted and deaf as wished, by whom is given.
func (i *Invitee) Member(now time.Time, by conference.Actor) conference.Member {
	m := conference.Member{Number: i.Number, Name: i.Name, State: conference.Pending, Since: now, Role: conference.Guest, Invited: true}
	mark := conference.Reasons{{Reason: conference.Host, By: by, At: now}}
	if i.Mute {
		m.Mute = mark
	}
	if i.Deaf {
		m.Deaf = slices.Clone(mark)
	}
	return m
}

// MadeFor tells whether a caller who bears number asks for a conference of his own.
func (r *Request) MadeFor(number string) bool { return Bears(number, r.Creator) }

// Bears tells whether who bears number is meant by line: of XXX:YYY, either part is his.
func Bears(number, line string) bool {
	outside, extension, _ := strings.Cut(line, ":")
	return number != "" && (number == line || number == outside || number == extension)
}
