package conference

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func hall(t *testing.T, ids ...string) *Conference {
	t.Helper()
	c := New(Rules{Number: "1000", UID: "u1", Max: 0})
	for _, id := range ids {
		apply(t, c, Command{Do: Add, Member: Member{ID: id, State: Connected, Place: id == "place"}})
	}
	return c
}

func apply(t *testing.T, c *Conference, cmd Command) []Event {
	t.Helper()
	events, err := c.Apply(t0, cmd)
	if err != nil {
		t.Fatalf("%+v: %v", cmd, err)
	}
	return events
}

// others is whom a member hears: the list without himself.
func others(c *Conference, id string) (list []string) {
	for _, h := range c.Hearing()[id] {
		if h != id {
			list = append(list, h)
		}
	}
	return list
}

func TestEveryoneHearsEveryoneElse(t *testing.T) {
	c := hall(t, "a", "b", "c")
	for id, want := range map[string][]string{"a": {"b", "c"}, "b": {"a", "c"}, "c": {"a", "b"}} {
		if got := others(c, id); !slices.Equal(got, want) {
			t.Errorf("%s hears %v, want %v", id, got, want)
		}
	}
}

func TestWhoRingsIsNeitherHeardNorHears(t *testing.T) {
	c := hall(t, "a")
	apply(t, c, Command{Do: Add, Member: Member{ID: "b", State: DialingOut}})
	if len(others(c, "a")) != 0 || c.Hearing()["b"] != nil {
		t.Fatalf("hearing %v", c.Hearing())
	}
	apply(t, c, Command{Do: Move, ID: "b", State: Alerting})
	apply(t, c, Command{Do: Move, ID: "b", State: Connected})
	if len(others(c, "a")) != 1 || len(others(c, "b")) != 1 {
		t.Fatalf("hearing %v", c.Hearing())
	}
}

func TestMutedIsNotHeardButHears(t *testing.T) {
	c := hall(t, "place", "b")
	apply(t, c, Command{Do: Mute, ID: "place", Reason: Hardware, By: Actor{Role: ByKey}})
	if len(others(c, "b")) != 0 || len(others(c, "place")) != 1 {
		t.Fatalf("hearing %v", c.Hearing())
	}
}

func TestAReasonIsClearedOnlyByItsOwner(t *testing.T) {
	askers := map[string]Actor{
		"key": {Role: ByKey}, "place": {Role: ByMember, Member: "place"}, "guest": {Role: ByMember, Member: "a"},
		"another": {Role: ByMember, Member: "b"}, "unknown": {Role: ByMember}, "host": {Role: ByHost}, "box": {Role: BySystem},
		"remote": {Role: ByRemote}, "nobody": {},
	}
	mine := map[Reason]map[string][]string{ // who may clear it, of the place and of a guest
		Hardware: {"place": {"key"}},
		Self:     {"place": {"key", "place", "remote"}, "a": {"guest"}},
		Host:     {"place": {"host"}, "a": {"host"}},
		Listener: {"place": {"host"}, "a": {"host"}},
		Hold:     {"place": {"box"}, "a": {"box"}},
		System:   {"place": {"box", "key"}, "a": {"box"}},
	}
	for reason, of := range mine {
		for _, id := range []string{"place", "a"} {
			for name, by := range askers {
				t.Run(fmt.Sprintf("%s of %s by %s", reason, id, name), func(t *testing.T) {
					c := hall(t, "place", "a", "b")
					c.find(id).Mute = Reasons{{Reason: reason}}
					_, err := c.Apply(t0, Command{Do: Unmute, ID: id, Reason: reason, By: by})
					m, _ := c.Member(id)
					if may := slices.Contains(of[id], name); may != (err == nil) || may == m.Mute.Has(reason) {
						t.Fatalf("may %v, error %v, reasons %v", may, err, m.Mute.Names())
					}
				})
			}
		}
	}
}

func TestRemoteUnmuteOfTheKeysMuteIsRefusedAndTold(t *testing.T) {
	c := hall(t, "place")
	apply(t, c, Command{Do: Mute, ID: "place", Reason: Hardware, By: Actor{Role: ByKey}})
	events, err := c.Apply(t0, Command{Do: Unmute, ID: "place", Reason: Hardware, By: Actor{Role: ByRemote}})
	if !errors.Is(err, ErrLocalOnly) {
		t.Fatalf("error %v, want ErrLocalOnly", err)
	}
	if len(events) != 1 || events[0].What != UnmuteRequested {
		t.Fatalf("events %+v, want the wish to be told", events)
	}
}

func TestFullConferenceTakesNobody(t *testing.T) {
	c := New(Rules{Number: "1000", UID: "u1", Max: 1})
	apply(t, c, Command{Do: Add, Member: Member{ID: "a", State: Connected}})
	if _, err := c.Apply(t0, Command{Do: Add, Member: Member{ID: "b", State: Connected}}); !errors.Is(err, ErrFull) {
		t.Fatalf("error %v, want ErrFull", err)
	}
	apply(t, c, Command{Do: Remove, ID: "a", Why: "hung up"})
	apply(t, c, Command{Do: Add, Member: Member{ID: "b", State: Connected}})
}

func TestASnapshotIsACopy(t *testing.T) {
	c := hall(t, "a")
	apply(t, c, Command{Do: Mute, ID: "a", Reason: Host, By: Actor{Role: ByHost}})
	s := c.Snapshot()
	apply(t, c, Command{Do: Unmute, ID: "a", Reason: Host, By: Actor{Role: ByHost}})
	if !s.Members[0].Mute.Has(Host) {
		t.Fatal("the snapshot changed afterwards")
	}
}
