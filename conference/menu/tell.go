package menu

import (
	"slices"
	"strconv"
	"time"

	"parley/conference"
)

// audience is whom an event is told to.
type audience int

const (
	oneself audience = iota // whom it is about
	asker                   // whose command it was
	hosts
	hall // who is in the hall
	all
)

func (a audience) has(e *conference.Event, m *conference.Member) bool {
	switch a {
	case oneself:
		return m.ID == e.Member.ID
	case asker:
		return m.ID == e.By.Member
	case hosts:
		return m.Role == conference.Chair
	case hall:
		return m.Room == conference.Hall
	}
	return true
}

// numberHere stands for a number that the event holds.
const numberHere = "#"

// rankAnswer is that of what is said in answer to digits: before everything that only informs.
const rankAnswer = 100

// told says what is said when something happens, the most important first: of the lines for one event the first that
// fits counts, and what stands higher is spoken sooner.
var told = [...]struct {
	what  conference.What
	to    audience
	kind  string
	names []string
	when  func(*conference.Event, *conference.Member) bool // nil: always
}{
	{conference.Granted, oneself, "floor", []string{"floor-granted"}, nil},
	{conference.Yielded, oneself, "floor", []string{"floor-over"}, own},
	{conference.Yielded, oneself, "floor", []string{"floor-taken"}, nil},
	{conference.Muted, oneself, "mute", []string{"muted-by-host"}, reason(conference.Host)},
	{conference.Muted, oneself, "mute", []string{"listen-only"}, reason(conference.Listener)},
	{conference.Muted, oneself, "mute", []string{"muted"}, reason(conference.Self)},
	{conference.Unmuted, oneself, "mute", []string{"muted-by-host"}, still(conference.Host)},
	{conference.Unmuted, oneself, "mute", []string{"listen-only"}, still(conference.Listener)},
	{conference.Unmuted, oneself, "mute", []string{"muted"}, still(conference.Self)},
	{conference.Unmuted, oneself, "mute", []string{"unmuted"}, audible},
	{conference.RecordStarted, all, "record", []string{"record-started"}, nil},
	{conference.RecordPaused, all, "record", []string{"record-paused"}, nil},
	{conference.RecordStopped, all, "record", []string{"record-stopped"}, nil},
	{conference.RoomAsked, oneself, "room", []string{"room-asked", "press-star", "3"}, nil},
	{conference.Moved, oneself, "room", []string{"hall"}, in(conference.Hall)},
	{conference.Moved, oneself, "room", []string{"wait-for-start"}, in(conference.Lobby)},
	{conference.Moved, oneself, "room", []string{"private-room"}, nil},
	{conference.NotMoved, asker, "room", []string{"not-possible"}, nil},
	{conference.Opened, all, "phase", []string{"begins"}, nil},
	{conference.BecameHost, oneself, "host", []string{"you-are-host"}, nil},
	{conference.NoHost, oneself, "host", []string{"not-host"}, nil},
	{conference.Warned, all, "end", []string{"ends-in", numberHere, "minutes"}, nil},
	{conference.Prolonged, all, "end", []string{"ends-in", numberHere, "minutes"}, nil},
	{conference.UnmuteRequested, oneself, "mute", []string{"please-unmute", "press-star", "6"}, muted(conference.Self)},
	{conference.HouseClosed, hall, "house", []string{"house-closed"}, nil},
	{conference.HouseOpened, hall, "house", []string{"house-opened"}, nil},
	{conference.MessagesOnly, all, "mode", []string{"messages-only"}, nil},
	{conference.Queued, oneself, "floor", []string{"you-are-number", numberHere}, nil},
	{conference.QueueMoved, oneself, "floor", []string{"you-are-number", numberHere}, nil},
	{conference.Unqueued, oneself, "floor", []string{"queue-left"}, own},
	{conference.Unqueued, oneself, "floor", []string{"floor-refused"}, nil},
	{conference.HostCalled, hosts, "called", []string{"host-called"}, nil},
	{conference.RoomDeclined, asker, "declined", []string{"room-declined"}, nil},
	{conference.Locked, hosts, "lock", []string{"locked"}, nil},
	{conference.Unlocked, hosts, "lock", []string{"unlocked"}, nil},
}

func own(e *conference.Event, _ *conference.Member) bool { return e.By.Member == e.Member.ID }

// wished tells that people wanted it, and not the far end's signalling.
func wished(e *conference.Event) bool {
	return e.Reason == conference.Self || e.Reason == conference.Host || e.Reason == conference.Listener
}

func audible(e *conference.Event, _ *conference.Member) bool {
	return wished(e) && len(e.Member.Mute) == 0
}

func still(r conference.Reason) func(*conference.Event, *conference.Member) bool {
	return func(e *conference.Event, _ *conference.Member) bool { return wished(e) && e.Member.Mute.Has(r) }
}

func reason(r conference.Reason) func(*conference.Event, *conference.Member) bool {
	return func(e *conference.Event, _ *conference.Member) bool { return e.Reason == r }
}

func muted(r conference.Reason) func(*conference.Event, *conference.Member) bool {
	return func(e *conference.Event, _ *conference.Member) bool { return e.Member.Mute.Has(r) }
}

func in(room string) func(*conference.Event, *conference.Member) bool {
	return func(e *conference.Event, _ *conference.Member) bool { return e.Member.Room == room }
}

// Tell is what an event says to the member to, if anything. The caller asks for each member whose call is up. Who has to
// prove himself first hears nothing of the conference.
func Tell(e *conference.Event, to *conference.Member) (Phrase, bool) {
	if to.Proving {
		return Phrase{}, false
	}
	for i := range told {
		t := &told[i]
		if t.what != e.What || t.when != nil && !t.when(e, to) {
			continue
		}
		if !t.to.has(e, to) {
			return Phrase{}, false
		}
		p := Phrase{Kind: t.kind, Rank: len(told) - i, Names: slices.Clone(t.names)}
		at := slices.Index(p.Names, numberHere)
		if at < 0 {
			return p, true
		}
		n := e.Position
		if at+1 < len(p.Names) {
			n = int((e.Until.Sub(e.At) + 30*time.Second) / time.Minute)
			if n == 1 {
				p.Names[at+1] = "minute"
			}
		}
		p.Names[at] = strconv.Itoa(n)
		return p, n > 0
	}
	return Phrase{}, false
}
