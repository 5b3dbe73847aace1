package conference

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// queuedHall is a standing conference with two places on the floor and five guests.
func queuedHall(t *testing.T) *script {
	s := play(t, Rules{Kind: Standing, Speakers: 2, Grace: 10 * time.Second})
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		s.enter(id)
	}
	return s
}

func (s *script) asks(ids ...string) (told []string) {
	s.Helper()
	for _, id := range ids {
		s.now = s.now.Add(time.Second)
		told = append(told, s.do(Command{Do: AskFloor, By: by(id)})...)
	}
	return told
}

func (s *script) queue(want ...string) {
	s.Helper()
	if got := s.Snapshot().Queue; !slices.Equal(got, want) {
		s.Fatalf("queue %v, want %v", got, want)
	}
}

// C-16: two speak, the others wait in turn and are told their places.
func TestTheFloorIsGivenInTurn(t *testing.T) {
	s := queuedHall(t)
	s.heardBy("a")
	s.told(s.asks("a", "b", "c", "d", "a", "c"), "granted a", "granted b", "queued c", "queued d")
	s.heardBy("e", "a", "b")
	s.heardBy("a", "b")
	s.told(s.do(Command{Do: YieldFloor, By: by("a")}), "yielded a", "granted c", "queue_moved d")
	s.heardBy("e", "b", "c")
	s.told(s.do(Command{Do: YieldFloor, By: by("d")}), "unqueued d")
	s.told(s.leave("e"), "left e")
	s.refused(Command{Do: AskFloor, By: by("nobody")}, ErrDenied)
	s.refused(Command{Do: AskFloor, ID: "a", By: by("b")}, ErrDenied)
	s.refused(Command{Do: Grant, ID: "a", By: by("b")}, ErrDenied)
}

func TestPositionsAreTold(t *testing.T) {
	s := queuedHall(t)
	s.asks("a", "b", "c", "d", "e")
	events, err := s.Apply(s.now, Command{Do: Refuse, ID: "c", By: byHost, Why: "later"})
	if err != nil || fmt.Sprint(names(events)) != "[unqueued c queue_moved d queue_moved e]" {
		t.Fatalf("%v, %v", names(events), err)
	}
	if events[0].Why != "later" || events[1].Position != 1 || events[2].Position != 2 {
		t.Fatalf("%+v", events)
	}
}

func TestAHostRunsTheFloor(t *testing.T) {
	s := queuedHall(t)
	s.asks("a", "b", "c", "d")
	s.refused(Command{Do: Grant, ID: "e", By: byHost}, ErrNoPlace)
	s.refused(Command{Do: Grant, ID: "e", To: "c", By: byHost}, ErrInvalid)
	s.told(s.do(Command{Do: Grant, ID: "e", To: "b", By: byHost}), "yielded b", "granted e")
	s.told(s.do(Command{Do: Reorder, ID: "d", Position: 0, By: byHost}), "queue_moved d", "queue_moved c")
	s.refused(Command{Do: Reorder, ID: "d", Position: 2, By: byHost}, ErrInvalid)
	s.told(s.do(Command{Do: Pin, ID: "c", By: byHost}), "pinned c", "queue_moved c", "queue_moved d")
	s.told(s.do(Command{Do: Reorder, ID: "d", Position: 0, By: byHost}))
	s.queue("c", "d")
	s.told(s.do(Command{Do: NextSpeaker, By: byHost}), "yielded a", "granted c", "queue_moved d")
	s.told(s.do(Command{Do: PassFloor, ID: "e", To: "b", By: byHost}), "yielded e", "granted b")
	s.told(s.do(Command{Do: TakeFloor, ID: "c", By: byHost}), "yielded c", "granted d")
	s.told(s.do(Command{Do: Pin, ID: "a", By: byHost}), "queued a", "pinned a")
	s.heardBy("e", "b", "d")
}

func TestAHostSpeaksAtOnce(t *testing.T) {
	s := queuedHall(t)
	s.told(s.do(Command{Do: Add, Member: Member{ID: "h", Role: Chair, State: Connected}}), "joined h", "granted h")
	s.told(s.asks("a", "b", "c"), "granted a", "queued b", "queued c")
	s.do(Command{Do: YieldFloor, By: by("h")})
	s.told(s.asks("h"), "yielded a", "queued a", "granted h", "queue_moved c")
	s.queue("a", "c")
	s.told(s.do(Command{Do: NextSpeaker, By: by("h")}), "yielded b", "granted a", "queue_moved c")
	s.heardBy("e", "a", "h")
}

func TestADroppedSpeakersPlaceIsKeptForAWhile(t *testing.T) {
	s := queuedHall(t)
	s.asks("a", "b", "c")
	s.told(s.leave("a"), "left a")
	s.heardBy("e", "b")
	if want := s.now.Add(10 * time.Second); !s.Due().Equal(want) {
		t.Fatalf("due %s, want %s", s.Due(), want)
	}
	s.now = s.now.Add(9 * time.Second)
	s.do(Command{Do: Pass})
	s.told(s.do(Command{Do: Add, Member: Member{ID: "a2", Number: "30a", State: Connected}}), "joined a2", "granted a2")
	s.leave("a2")
	s.now = s.now.Add(10 * time.Second)
	s.told(s.do(Command{Do: Pass}), "yielded a2", "granted c")
	s.told(s.do(Command{Do: Add, Member: Member{ID: "a3", Number: "30a", State: Connected}}), "joined a3")
	s.told(s.do(Command{Do: Kick, ID: "b", By: byHost}), "yielded b", "kicked b")
	if len(s.Snapshot().Kept) != 0 {
		t.Fatal("the place of one who was kicked is kept")
	}
}

func TestAListenerGetsNoFloor(t *testing.T) {
	s := queuedHall(t)
	s.asks("a", "b", "c")
	s.told(s.do(Command{Do: Mute, Reason: Listener, ID: "a", By: byHost}), "yielded a", "muted a", "granted c")
	s.refused(Command{Do: AskFloor, By: by("a")}, ErrListener)
}

func TestAnOpenConferenceHasNoQueue(t *testing.T) {
	s := meeting(t, Rules{})
	s.refused(Command{Do: AskFloor, By: by("a")}, ErrNoQueue)
}

func TestTalkTimeIsCountedPerPerson(t *testing.T) {
	s := meeting(t, Rules{})
	for _, d := range []time.Duration{3 * time.Second, 4 * time.Second} {
		s.told(s.do(Command{Do: Talk, ID: "a"}), "talking a")
		s.now = s.now.Add(d)
		s.told(s.do(Command{Do: Rest, ID: "a"}), "resting a")
		s.now = s.now.Add(time.Minute)
	}
	if got := s.get("a").Spoken; got != 7*time.Second {
		t.Fatalf("spoke for %s", got)
	}
	s.do(Command{Do: Talk, ID: "b"})
	s.now = s.now.Add(time.Second)
	events, _ := s.Apply(s.now, Command{Do: Remove, ID: "b"})
	if got := events[0].Member; got.Spoken != time.Second || got.Talks {
		t.Fatalf("%+v", got)
	}
}

func TestAQueuedGuestWhoBecomesHostSpeaksAtOnce(t *testing.T) {
	s := queuedHall(t)
	s.asks("a", "b", "c", "d")
	s.do(Command{Do: Pin, ID: "c", By: byHost})
	s.do(Command{Do: HandOver, ID: "c", By: byHost})
	events, err := s.Apply(s.now, Command{Do: AskFloor, By: by("c")})
	s.told(names(events), "yielded a", "queued a", "granted c")
	if err != nil || events[1].Position != 1 {
		t.Fatalf("%+v, %v", events, err)
	}
	s.queue("a", "d")
}

func TestWhoIsPinnedStaysTheNext(t *testing.T) {
	s := queuedHall(t)
	s.do(Command{Do: Add, Member: Member{ID: "h", Role: Chair, State: Connected}})
	s.do(Command{Do: YieldFloor, By: by("h")})
	s.asks("a", "b", "c", "d")
	s.do(Command{Do: Pin, ID: "d", By: byHost})
	s.told(s.asks("h"), "yielded a", "queued a", "granted h", "queue_moved c")
	s.queue("d", "a", "c")
	s.do(Command{Do: Refuse, ID: "a", By: byHost})
	before := s.Snapshot()
	s.do(Command{Do: Refuse, ID: "d", By: byHost})
	if !slices.Equal(before.Queue, []string{"d", "c"}) {
		t.Fatalf("the snapshot from before has the queue %v", before.Queue)
	}
}

func TestTheNextSpeakerDoesNotTakeTheHostsPlace(t *testing.T) {
	s := play(t, Rules{Kind: Standing, Speakers: 2})
	s.do(Command{Do: Add, Member: Member{ID: "h", Role: Chair, State: Connected}})
	for _, id := range []string{"a", "b", "c"} {
		s.enter(id)
	}
	s.asks("a", "b", "c")
	s.told(s.do(Command{Do: NextSpeaker, By: by("h")}), "yielded a", "granted b", "queue_moved c")
	s.do(Command{Do: HandOver, ID: "b", By: byHost})
	s.told(s.do(Command{Do: NextSpeaker, By: by("h")}), "yielded h", "granted c")
}
