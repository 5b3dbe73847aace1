package conference

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func hall(t *testing.T, ids ...string) *Conference {
	t.Helper()
	c := New(Rules{Number: "1000", UID: "u1", Max: 0})
	for _, id := range ids {
		apply(t, c, Command{Do: Add, Member: Member{ID: id, State: Connected}})
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
	c := hall(t, "a", "b")
	apply(t, c, Command{Do: Mute, ID: "a", Reason: Hardware, By: Actor{Role: ByKey}})
	if len(others(c, "b")) != 0 || len(others(c, "a")) != 1 {
		t.Fatalf("hearing %v", c.Hearing())
	}
}

func TestAReasonIsClearedOnlyByItsOwner(t *testing.T) {
	roles := []Role{ByKey, ByMember, ByHost, BySystem, ByRemote}
	for reason, may := range owners {
		for _, role := range roles {
			t.Run(fmt.Sprintf("%s by %s", reason, role), func(t *testing.T) {
				c := hall(t, "a")
				apply(t, c, Command{Do: Mute, ID: "a", Reason: reason, By: Actor{Role: may[0]}})
				_, err := c.Apply(t0, Command{Do: Unmute, ID: "a", Reason: reason, By: Actor{Role: role}})
				m, _ := c.Member("a")
				if allowed := slices.Contains(may, role); allowed != (err == nil) || allowed == m.Mute.Has(reason) {
					t.Fatalf("allowed %v, error %v, reasons %v", allowed, err, m.Mute.Names())
				}
			})
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

// Under any sequence of commands sequence numbers have no gap, a refused command changes nothing, and
// no muted, held or absent member is heard.
func TestAnySequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := New(Rules{Number: "1000", UID: "u1", Max: 4})
		var seq uint64
		dos := []Do{Add, Move, Remove, Mute, Unmute, Deafen, Hear, Talk, Rest, "nonsense"}
		for range rapid.IntRange(0, 60).Draw(t, "n") {
			id := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "id")
			state := rapid.SampledFrom([]State{DialingOut, Alerting, Connected, OnHold, Disconnected}).Draw(t, "state")
			cmd := Command{
				Do: rapid.SampledFrom(dos).Draw(t, "do"), ID: id, State: state, Member: Member{ID: id, State: state},
				Reason: rapid.SampledFrom([]Reason{Hardware, Self, Host, Listener, Hold, System, "x"}).Draw(t, "reason"),
				By:     Actor{Role: rapid.SampledFrom([]Role{ByKey, ByMember, ByHost, BySystem, ByRemote}).Draw(t, "by")},
			}
			before := c.Snapshot()
			events, err := c.Apply(t0, cmd)
			for _, e := range events {
				if seq++; e.Seq != seq {
					t.Fatalf("event %d after %d", e.Seq, seq-1)
				}
			}
			after := c.Snapshot()
			before.Seq, after.Seq = 0, 0
			if err != nil && fmt.Sprint(before) != fmt.Sprint(after) {
				t.Fatalf("%+v was refused (%v) and changed the conference", cmd, err)
			}
			for listener, heard := range c.Hearing() {
				for _, h := range heard {
					m, _ := c.Member(h)
					if len(m.Mute) > 0 || m.State != Connected {
						t.Fatalf("%s hears %+v", listener, m)
					}
				}
			}
		}
	})
}
