package conference

import (
	"fmt"
	"testing"
	"time"
)

// P-1 … P-4: a room is made, the legs go one by one, each told; who cannot go is told and stays; back, and the room is gone.
func TestAPrivateRoom(t *testing.T) {
	s := meeting(t, Rules{})
	s.do(Command{Do: Add, Member: Member{ID: "d", State: Alerting}})
	s.told(s.do(Command{Do: OpenRoom, IDs: []string{"a", "d", "b", "x", "a"}, Room: "side", By: by("h")}),
		"room_opened", "moved a", "moved b", "not_moved d", "not_moved x")
	s.heardBy("a", "b")
	s.heardBy("h", "c")
	s.refused(Command{Do: OpenRoom, IDs: []string{"c"}, Room: "side", By: by("h")}, ErrTaken)
	s.refused(Command{Do: OpenRoom, IDs: []string{"c"}, Room: Lobby, By: by("h")}, ErrInvalid)
	s.refused(Command{Do: OpenRoom, IDs: []string{"d"}, By: by("h")}, ErrAbsent)
	s.refused(Command{Do: MoveTo, ID: "c", Room: "none", By: by("h")}, ErrNoRoom)
	s.told(s.do(Command{Do: MoveTo, ID: "c", Room: "side", By: by("h")}), "moved c")
	s.heardBy("a", "b", "c")
	s.told(s.do(Command{Do: Return, By: by("a")}), "moved a")
	s.refused(Command{Do: Return, Room: "side", By: by("b")}, ErrDenied)
	s.told(s.do(Command{Do: Return, Room: "side", By: by("h")}), "moved b", "moved c", "room_closed")
	s.heardBy("h", "a", "b", "c")
}

// P-5: members ask each other; the room is made at the first yes, later ones follow, silence is a no.
func TestMembersAskEachOtherIntoAPrivateRoom(t *testing.T) {
	s := meeting(t, Rules{Private: 20 * time.Second})
	s.told(s.do(Command{Do: AskRoom, IDs: []string{"b", "c", "h"}, By: by("a")}), "room_asked b", "room_asked c", "room_asked h")
	s.refused(Command{Do: Accept, ID: "h", By: by("b")}, ErrInvalid)
	s.told(s.do(Command{Do: Accept, ID: "a", By: by("b")}), "room_opened", "moved a", "moved b")
	s.told(s.do(Command{Do: Decline, By: by("c")}), "room_declined c")
	s.heardBy("a", "b")
	if want := s.now.Add(20 * time.Second); !s.Due().Equal(want) {
		t.Fatalf("due %s, want %s", s.Due(), want)
	}
	s.do(Command{Do: AskRoom, IDs: []string{"c"}, By: by("b")})
	s.told(s.do(Command{Do: Accept, By: by("c")}), "moved c")
	s.heardBy("c", "a", "b")
	s.now = s.now.Add(20 * time.Second)
	s.told(s.do(Command{Do: Pass}), "room_declined h")
	s.refused(Command{Do: Accept, By: by("h")}, ErrInvalid)
	s.told(s.do(Command{Do: Return, Room: s.get("a").Room, By: by("b")}), "moved a", "moved b", "moved c", "room_closed")
}

func TestWhoSaysYesLaterFollowsIntoTheRoomThatWasMade(t *testing.T) {
	s := meeting(t, Rules{})
	s.do(Command{Do: AskRoom, IDs: []string{"b", "c"}, By: by("a")})
	s.do(Command{Do: Accept, By: by("b")})
	s.do(Command{Do: Return, By: by("a")})
	s.told(s.do(Command{Do: Accept, By: by("c")}), "moved c")
	s.heardBy("c", "b")
	s.heardBy("a", "h")
}

func TestAWishDoesNotLeadIntoAnotherRoom(t *testing.T) {
	s := meeting(t, Rules{})
	s.do(Command{Do: AskRoom, IDs: []string{"b"}, By: by("a")})
	s.do(Command{Do: OpenRoom, IDs: []string{"a", "c"}, By: by("h")})
	s.refused(Command{Do: Accept, By: by("b")}, ErrNoRoom)
	s.heardBy("a", "c")
	s.told(s.leave("a"), "room_declined b", "left a")
}

func TestTheHostIsCalledIntoAPrivateRoom(t *testing.T) {
	s := meeting(t, Rules{})
	s.refused(Command{Do: CallHost, By: by("a")}, ErrNoRoom)
	s.do(Command{Do: OpenRoom, IDs: []string{"a", "b"}, By: by("h")})
	s.told(s.do(Command{Do: CallHost, By: by("a")}), "host_called h")
	s.told(s.do(Command{Do: Accept, By: by("h")}), "moved h")
	s.heardBy("a", "h", "b")
	s.refused(Command{Do: CallHost, By: by("a")}, ErrAbsent)
}

// A move costs nothing: mute and floor are as they were; the house's microphones and the floor are the hall's affair.
func TestAMoveKeepsTheLegsState(t *testing.T) {
	s := meeting(t, Rules{Speakers: 2})
	s.asks("a", "b", "c")
	s.do(Command{Do: Mute, By: by("b")})
	s.do(Command{Do: CloseHouse, By: by("h")})
	s.do(Command{Do: OpenRoom, IDs: []string{"a", "b", "c"}, By: by("h")})
	s.heardBy("b", "a", "c")
	s.heardBy("a", "c")
	s.do(Command{Do: OpenHouse, By: by("h")})
	s.told(s.do(Command{Do: TakeFloor, ID: "a", By: by("h")}), "yielded a")
	s.queue("b", "c")
	s.told(s.do(Command{Do: Return, By: by("c")}), "moved c", "granted c")
	s.queue("b")
}

func TestWhoDropsOutOfAPrivateRoomComesBackIntoTheHall(t *testing.T) {
	s := meeting(t, Rules{})
	s.do(Command{Do: OpenRoom, IDs: []string{"h"}, By: by("h")})
	s.told(s.leave("h"), "left h", "room_closed")
	s.do(Command{Do: Add, Member: Member{ID: "h", State: Connected}})
	if s.get("h").Room != Hall {
		t.Fatalf("%+v", s.get("h"))
	}
}

func TestRoomsAreBounded(t *testing.T) {
	s := meeting(t, Rules{})
	for i := range maxRooms {
		id := fmt.Sprint("m", i)
		s.enter(id)
		s.do(Command{Do: OpenRoom, IDs: []string{id}, By: by("h")})
	}
	s.refused(Command{Do: OpenRoom, IDs: []string{"a"}, By: by("h")}, ErrFull)
	s.refused(Command{Do: MoveTo, ID: "a", Room: string(make([]byte, 1<<20)), By: by("h")}, ErrNoRoom)
	if n := len(s.Snapshot().Rooms); n != maxRooms {
		t.Fatalf("%d rooms", n)
	}
}

// A wish is for one room, and not for a later one of that name in which others are.
func TestAWishEndsWithItsRoom(t *testing.T) {
	s := meeting(t, Rules{})
	s.do(Command{Do: OpenRoom, IDs: []string{"a"}, Room: "x", By: by("h")})
	s.do(Command{Do: AskRoom, IDs: []string{"b"}, By: by("a")})
	s.do(Command{Do: Return, By: by("a")})
	s.do(Command{Do: OpenRoom, IDs: []string{"c", "h"}, Room: "x", By: by("h")})
	s.refused(Command{Do: Accept, By: by("b")}, ErrInvalid)
	if m := s.get("b"); m.Room != Hall || m.Asked != "" {
		t.Fatalf("%+v", m)
	}
}
