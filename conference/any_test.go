package conference

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var anyIDs = []string{"a", "b", "c", "d", "e", "f", "place", ""}

func anyRules(t *rapid.T) Rules {
	r := Rules{
		Number: "1000", UID: "u1",
		Kind:     rapid.SampledFrom([]Kind{Standing, Immediate, Appointment, Pair}).Draw(t, "kind"),
		Max:      rapid.SampledFrom([]int{0, 3, 5}).Draw(t, "max"),
		Speakers: rapid.IntRange(0, 3).Draw(t, "speakers"),
		Grace:    rapid.SampledFrom([]time.Duration{0, 10 * time.Second}).Draw(t, "grace"),
		Idle:     rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "idle"),
		HostGone: rapid.SampledFrom([]HostRule{HostWaits, HostHeir}).Draw(t, "host gone"),
	}
	if r.Kind == Immediate || r.Kind == Appointment {
		r.Creator = rapid.SampledFrom([]string{"", "2000"}).Draw(t, "creator")
	}
	if r.Kind == Appointment {
		r.Start, r.End = t0.Add(time.Minute), t0.Add(20*time.Minute)
		r.Early, r.Warn = 30*time.Second, time.Minute
	}
	return r
}

// begin gives what most often comes first: the conference opens and people come in.
func begin(t *rapid.T, c *Conference, now *time.Time) (list []Command) {
	if rapid.IntRange(0, 3).Draw(t, "from the start") == 3 {
		return nil
	}
	if c.at.Kind == Appointment {
		*now = now.Add(2 * time.Minute)
	}
	list = []Command{{Do: Invite, By: Actor{Role: ByHost}, Member: Member{ID: "a", Number: "2000", Role: Chair}}, {Do: Pass},
		{Do: Move, ID: "a", State: Connected}}
	for i := range rapid.IntRange(0, 5).Draw(t, "people") {
		id := []string{"place", "b", "c", "d", "e"}[i]
		list = append(list, Command{Do: Add, Member: Member{ID: id, Number: "300" + id, State: Connected, Place: id == "place"}})
	}
	return list
}

func anyMember(t *rapid.T, id string) Member {
	m := Member{
		ID: id, Number: rapid.SampledFrom([]string{"2000", "2001", "2002", "2003", "", "\xff"}).Draw(t, "number"),
		Name: "N", Place: id == "place",
		State: rapid.SampledFrom([]State{DialingOut, Alerting, Connected, Connected, Connected, OnHold, Disconnected}).Draw(t, "member state"),
		Role:  rapid.SampledFrom([]MemberRole{"", "", Guest, Chair, "x"}).Draw(t, "role"),
		Room:  rapid.SampledFrom([]string{Hall, Hall, Hall, Lobby}).Draw(t, "door"),
	}
	for _, r := range rapid.SliceOfN(rapid.SampledFrom([]Reason{Hardware, Host, Self, "x"}), 0, 2).Draw(t, "marks") {
		m.Mute = append(m.Mute, Mark{Reason: r, At: t0})
	}
	return m
}

func anyCommand(t *rapid.T, c *Conference, now time.Time) Command {
	ids := rapid.SampledFrom(anyIDs)
	if n := len(c.members); n > 0 {
		ids = rapid.OneOf(ids, rapid.Custom(func(t *rapid.T) string {
			return c.members[rapid.IntRange(0, n-1).Draw(t, "member")].ID
		}))
	}
	id := ids.Draw(t, "id")
	dos := []Do{Add, Move, Remove, Pass, Admit, AskFloor, AskRoom, Accept, OpenRoom, "nonsense"}
	people := rapid.Bool().Draw(t, "people")
	for _, v := range verbs {
		if v.name != End && v.system() != people {
			dos = append(dos, v.name)
		}
	}
	if rapid.IntRange(0, 99).Draw(t, "end") == 99 {
		dos = []Do{End}
	}
	rooms := []string{Hall, Lobby, "side", "none"}
	for _, r := range c.at.Rooms {
		rooms = append(rooms, r.ID)
	}
	cmd := Command{
		Do: rapid.SampledFrom(dos).Draw(t, "do"), ID: id, To: ids.Draw(t, "to"), Member: anyMember(t, id),
		IDs:      rapid.SliceOfN(ids, 0, 3).Draw(t, "ids"),
		State:    rapid.SampledFrom([]State{DialingOut, Alerting, Connected, Connected, OnHold, Disconnected}).Draw(t, "state"),
		Reason:   rapid.SampledFrom([]Reason{"", Hardware, Self, Host, Listener, Hold, System, "x"}).Draw(t, "reason"),
		Room:     rapid.SampledFrom(rooms).Draw(t, "room"),
		Position: rapid.IntRange(-1, 4).Draw(t, "position"),
		Until:    now.Add(time.Duration(rapid.IntRange(-1, 30).Draw(t, "until")) * time.Minute),
		Text:     rapid.SampledFrom([]string{"", "word", "\n"}).Draw(t, "text"),
		Why:      "because",
	}
	if v := verbOf(cmd.Do); v != nil && v.system() && rapid.IntRange(0, 9).Draw(t, "box") < 9 {
		return cmd
	}
	if v := verbOf(cmd.Do); v != nil && v.self {
		cmd.By = Actor{Role: ByMember, Member: id}
		if cmd.ID = ""; rapid.Bool().Draw(t, "named") {
			cmd.ID = cmd.To
		}
		return cmd
	}
	cmd.By = Actor{
		Role:   rapid.SampledFrom([]Role{ByKey, ByMember, ByMember, ByHost, ByHost, BySystem, ByRemote, ""}).Draw(t, "by"),
		Member: ids.Draw(t, "asker"),
	}
	cmd.May = rapid.SliceOfN(rapid.SampledFrom(chairRights), 0, 2).Draw(t, "may")
	return cmd
}

// Under any sequence of commands, whoever gives them and however they are repeated, reordered or lost, and with a restart
// between any two of them, what holds must hold.
func TestAnySequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := t0
		c := New(anyRules(t))
		var told uint64
		positions := map[string]int{}
		var cmd Command
		commands := begin(t, c, &now)
		told = c.Seq()
		for range rapid.IntRange(10, 60).Draw(t, "n") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 1, 5, 20, 40}).Draw(t, "s")) * time.Second)
			if cmd.Do == "" || rapid.IntRange(0, 9).Draw(t, "again") > 0 {
				cmd = anyCommand(t, c, now)
			}
			if len(commands) > 0 {
				cmd, commands = commands[0], commands[1:]
			}
			before := c.Snapshot()
			able := c.Can(cmd.By, cmd.May)
			twin := restarted(t, before)
			events, err := c.Apply(now, cmd)
			for _, e := range events {
				if told++; e.Seq != told {
					t.Fatalf("event %d after %d", e.Seq, told-1)
				}
				follow(positions, e)
			}
			same, sameErr := twin.Apply(now, cmd)
			if !reflect.DeepEqual(events, same) || fmt.Sprint(err) != fmt.Sprint(sameErr) || !reflect.DeepEqual(c.Snapshot(), twin.Snapshot()) {
				t.Fatalf("a restarted one does otherwise:\n%+v, %v\n%+v, %v", events, err, same, sameErr)
			}
			if rapid.Bool().Draw(t, "restart") {
				c = twin
			}
			refusals(t, c, cmd, before, events, err, able)
			promises(t, c)
			marksKept(t, c, cmd, before)
			if queue := c.at.Queue; len(queue) != len(positions) {
				t.Fatalf("told %v of the queue %v", positions, queue)
			}
			for i, id := range c.at.Queue {
				if positions[id] != i+1 {
					t.Fatalf("told %v of the queue %v", positions, c.at.Queue)
				}
			}
			if due := c.Due(); cmd.Do == Pass && err == nil && !due.IsZero() && !due.After(now) {
				t.Fatalf("something is due at %s after a pass at %s: %+v", due, now, c.Snapshot())
			}
		}
	})
}

// restarted is a conference that has been through its journal's form.
func restarted(t *rapid.T, s Snapshot) *Conference {
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back Snapshot
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	c := Restore(back)
	if got := c.Snapshot(); !reflect.DeepEqual(got, s) {
		t.Fatalf("restored\n%+v, was\n%+v", got, s)
	}
	return c
}

// follow keeps the positions that members were told.
func follow(positions map[string]int, e Event) {
	switch e.What {
	case Queued, QueueMoved:
		positions[e.Member.ID] = e.Position
	case Granted, Unqueued, Left:
		delete(positions, e.Member.ID)
	}
}

// refusals: a refused command changes nothing; who cannot, may not; the box's commands are the box's.
func refusals(t *rapid.T, c *Conference, cmd Command, before Snapshot, events []Event, err error, able []Do) {
	after := c.Snapshot()
	after.Seq = before.Seq
	if err != nil && !reflect.DeepEqual(before, after) {
		t.Fatalf("%+v was refused (%v) and changed\n%+v to\n%+v", cmd, err, before, after)
	}
	if err != nil && len(events) > 0 && (len(events) > 1 || events[0].What != UnmuteRequested) {
		t.Fatalf("%+v was refused (%v) with %+v", cmd, err, events)
	}
	if m := c.find(cmd.Member.ID); cmd.Do == Add && err == nil && m.Number != "" && slices.Contains(before.Barred, m.Number) {
		t.Fatalf("%s is barred and came in", m.Number)
	}
	v := verbOf(cmd.Do)
	switch {
	case v == nil || before.Phase == Over:
		if err == nil {
			t.Fatalf("%+v was done", cmd)
		}
	case v.system():
		if cmd.By.Role != "" && cmd.By.Role != BySystem && err == nil {
			t.Fatalf("%+v was done for %+v", cmd.Do, cmd.By)
		}
	case !slices.Contains(able, cmd.Do) && err == nil:
		t.Fatalf("%+v was done, and Can lists only %v", cmd, able)
	case cmd.By.Role == ByHost && slices.Contains(able, cmd.Do) && errors.Is(err, ErrDenied):
		t.Fatalf("%+v: Can lists it for a host: %v", cmd, err)
	}
}

// promises are what holds at every moment.
func promises(t *rapid.T, c *Conference) {
	s := c.Snapshot()
	if s.Phase == Over && (len(s.Members)+len(s.Rooms)+len(s.Queue) > 0 || !c.Due().IsZero() || len(c.Can(Actor{Role: ByHost}, nil)) > 0) {
		t.Fatalf("something is left: %+v", s)
	}
	if in := c.active() - c.proving(); c.at.Max > 0 && in > c.at.Max || c.proving() > maxProving {
		t.Fatalf("%d are in, %d may be, and %d prove themselves", in, c.at.Max, c.proving())
	}
	people := map[string]int{Hall: 0, Lobby: 0}
	for _, r := range s.Rooms {
		people[r.ID] = 0
	}
	held, ids := 0, map[string]bool{}
	for _, m := range s.Members {
		if _, ok := people[m.Room]; !ok {
			t.Fatalf("%s is in no room: %+v", m.ID, s)
		}
		people[m.Room]++
		if ids[m.ID] {
			t.Fatalf("%s is there twice", m.ID)
		}
		ids[m.ID] = true
		if m.Floor == FloorHeld {
			held++
		}
		if (m.Floor == FloorQueue) != slices.Contains(s.Queue, m.ID) {
			t.Fatalf("%s is %q and the queue %v", m.ID, m.Floor, s.Queue)
		}
		if m.Proving && m.Room != Lobby || m.Room != Hall && !m.active() {
			t.Fatalf("%+v", m)
		}
		if s.Queued() && m.Floor == FloorQueue && m.State == Connected && m.Room == Hall && c.floorFree() {
			t.Fatalf("%s waits and the floor is free: %+v", m.ID, s)
		}
	}
	for _, r := range s.Rooms {
		if people[r.ID] == 0 {
			t.Fatalf("nobody is in %s", r.ID)
		}
	}
	if held+len(s.Kept) > s.Speakers {
		t.Fatalf("%d have the floor, %d are kept, %d may: %+v", held, len(s.Kept), s.Speakers, s)
	}
	if s.Pinned != "" && (len(s.Queue) == 0 || s.Queue[0] != s.Pinned) {
		t.Fatalf("%s is pinned in %v", s.Pinned, s.Queue)
	}
	hearings(t, c, s)
}

// hearings: never more than Speakers in a queued hall, nothing from room to room, nobody who is muted, held, absent or waiting.
func hearings(t *rapid.T, c *Conference, s Snapshot) {
	for listener, heard := range c.Hearing() {
		l, _ := c.Member(listener)
		if l.Room == Lobby || l.State != Connected || len(l.Deaf) > 0 || s.Mode == ByMessages {
			t.Fatalf("%+v hears", l)
		}
		if l.Room == Hall && s.Queued() && len(heard) > s.Speakers {
			t.Fatalf("%d are heard, %d may be", len(heard), s.Speakers)
		}
		for _, id := range heard {
			m, ok := c.Member(id)
			if !ok || m.Room != l.Room || len(m.Mute) > 0 || m.State != Connected || !c.Heard(id) {
				t.Fatalf("%+v hears %+v", l, m)
			}
			if m.Room == Hall && s.House && m.Role != Chair {
				t.Fatalf("%s is heard in a closed house", id)
			}
		}
	}
}

// marksKept: a mark goes only by its owner's hand, or with the call that it is about.
func marksKept(t *rapid.T, c *Conference, cmd Command, before Snapshot) {
	for _, was := range before.Members {
		m, ok := c.Member(was.ID)
		if !ok || !was.active() || !m.active() || cmd.Do == Roam {
			continue
		}
		for _, k := range append(slices.Clone(was.Mute), was.Deaf...) {
			if m.Mute.Has(k.Reason) == was.Mute.Has(k.Reason) && m.Deaf.Has(k.Reason) == was.Deaf.Has(k.Reason) {
				continue
			}
			own := cmd.By.Member == m.ID || cmd.By.Role == ByKey && m.Place
			var chair bool
			for _, o := range before.Members {
				asks := o.ID == cmd.By.Member && cmd.By.Role != ByKey || o.Place && cmd.By.Role == ByKey
				chair = chair || asks && o.Role == Chair
			}
			owner := map[Reason]bool{
				Hardware: cmd.By.Role == ByKey && m.Place,
				System:   cmd.By.Role == ByKey && m.Place || cmd.By.Role == BySystem,
				Hold:     cmd.By.Role == BySystem,
				Self:     own || cmd.By.Role == ByRemote && m.Place,
				Host:     cmd.By.Role == ByHost || chair || slices.Contains(cmd.May, RightMute),
			}
			owner[Listener] = owner[Host]
			if setting := cmd.Do == Mute || cmd.Do == Deafen; !setting && !owner[k.Reason] {
				t.Fatalf("%+v cleared %s of %+v", cmd, k.Reason, was)
			}
		}
	}
}
