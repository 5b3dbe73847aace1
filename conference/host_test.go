package conference

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// meeting is an open conference with the host h and guests a, b, c in it.
func meeting(t *testing.T, r Rules) *script {
	t.Helper()
	r.Kind, r.Creator = Immediate, "2000"
	s := play(t, r)
	s.do(Command{Do: Invite, By: byHost, Member: Member{ID: "h", Number: "2000"}})
	s.do(Command{Do: Pass})
	s.answers("h")
	for _, id := range []string{"a", "b", "c"} {
		s.now = s.now.Add(time.Second)
		s.enter(id)
	}
	return s
}

func (s *script) heardBy(id string, want ...string) {
	s.Helper()
	if got := others(s.Conference, id); !slices.Equal(got, want) {
		s.Fatalf("%s hears %v, want %v", id, got, want)
	}
}

// Who is no host gets a clear refusal of everything that is a host's, and can ask for what he may do.
func TestAGuestHasNoneOfTheHostsControls(t *testing.T) {
	s := meeting(t, Rules{Speakers: 2})
	s.do(Command{Do: Record, By: by("h")})
	for _, do := range []Do{Deafen, Hear, Kick, Invite, CloseHouse, OpenHouse, Lock, Unlock, HandOver, End, Grant, Refuse,
		TakeFloor, PassFloor, Pin, Reorder, NextSpeaker, OpenRoom, MoveTo, Record, PauseRecord, StopRecord, ToMessages,
		CloseMessages} {
		cmd := Command{Do: do, ID: "b", IDs: []string{"b"}, By: by("a"), Member: Member{Number: "5"}}
		if _, err := s.Apply(s.now, cmd); err == nil {
			t.Errorf("%s was done", do)
		}
		if slices.Contains(s.Can(by("a"), nil), do) {
			t.Errorf("%s is listed", do)
		}
	}
	want := []Do{Mute, Unmute, Transfer, AskFloor, YieldFloor, Return, AskRoom, Accept, Decline, CallHost, Note}
	if got := s.Can(by("a"), nil); !slices.Equal(got, want) {
		t.Fatalf("a guest may %v, want %v", got, want)
	}
	if got := s.Can(Actor{Role: ByMember}, nil); got != nil {
		t.Fatalf("a stranger may %v", got)
	}
	if got := s.Can(by("a"), []Right{RightKick}); !slices.Contains(got, Kick) {
		t.Fatalf("with a token for it a guest may %v", got)
	}
	s.do(Command{Do: Kick, ID: "b", By: by("a"), May: []Right{RightKick}})
}

// C-10, C-11, C-12: mute, silence, listener; calling again is no way out.
func TestAHostMutesSilencesAndMakesListeners(t *testing.T) {
	s := meeting(t, Rules{})
	s.told(s.do(Command{Do: Mute, ID: "a", By: by("h")}), "muted a")
	s.told(s.do(Command{Do: Deafen, ID: "b", By: by("h")}), "deafened b")
	s.told(s.do(Command{Do: Mute, ID: "c", Reason: Listener, By: by("h")}), "muted c")
	s.heardBy("a", "h", "b")
	s.heardBy("b")
	s.heardBy("h", "b")
	s.refused(Command{Do: Unmute, By: by("a")}, ErrNotYours)
	s.refused(Command{Do: Unmute, ID: "a", By: by("b")}, ErrNotYours)
	s.leave("a")
	s.do(Command{Do: Add, Member: Member{ID: "a", Number: "30a", State: Connected}})
	s.heardBy("h", "b")
	s.leave("a")
	s.do(Command{Do: Add, Member: Member{ID: "a2", Number: "30a", State: Connected}})
	s.heardBy("h", "b")
	if _, ok := s.Member("a"); ok {
		t.Fatal("the old line is still there")
	}
	s.do(Command{Do: Unmute, ID: "a2", By: by("h")})
	s.heardBy("h", "b", "a2")
}

// C-13: hosts are exempt, who comes later is covered, who was muted stays so.
func TestTheHousesMicrophones(t *testing.T) {
	s := meeting(t, Rules{})
	s.do(Command{Do: Mute, ID: "a", By: by("h")})
	s.told(s.do(Command{Do: CloseHouse, By: by("h")}), "house_closed")
	s.told(s.do(Command{Do: CloseHouse, By: by("h")}))
	s.enter("late")
	s.heardBy("late", "h")
	s.heardBy("h")
	s.do(Command{Do: OpenHouse, By: by("h")})
	s.heardBy("late", "h", "b", "c")
}

// C-14, C-15.
func TestWhoIsKickedComesInAgainOnlyIfInvited(t *testing.T) {
	s := meeting(t, Rules{})
	s.told(s.do(Command{Do: Kick, ID: "a", By: by("h"), Why: "noise"}), "kicked a")
	s.refused(Command{Do: Remove, ID: "a"}, ErrNoMember)
	s.refused(Command{Do: Add, Member: Member{ID: "a2", Number: "30a", State: Alerting}}, ErrBarred)
	s.told(s.do(Command{Do: Invite, By: by("h"), Member: Member{ID: "ann", Number: "30a", Name: "Ann", Mute: Reasons{{Reason: Host}}}}),
		"joined ann", "call ann")
	if m := s.get("ann"); m.Name != "Ann" || !m.Mute.Has(Host) || m.Mute[0].By != by("h") {
		t.Fatalf("%+v", m)
	}
	s.refused(Command{Do: Invite, By: by("h"), Member: Member{Number: "30a"}}, ErrTaken)
	s.refused(Command{Do: Invite, By: by("h"), Member: Member{Number: "1\r\n2"}}, ErrInvalid)
	s.refused(Command{Do: Invite, By: by("b"), May: []Right{RightInvite}, Member: Member{Number: "7", Role: Chair}}, ErrDenied)
	for i := range maxBarred + 1 {
		id := fmt.Sprint("k", i)
		s.enter(id)
		s.do(Command{Do: Kick, ID: id, By: by("h")})
	}
	if n := len(s.Snapshot().Barred); n != maxBarred {
		t.Fatalf("%d are barred", n)
	}
}

func TestAbsentMembersTakeNoPlace(t *testing.T) {
	s := play(t, Rules{Kind: Immediate, Creator: "2000", Max: 3})
	for _, n := range []string{"2001", "2002", "2003"} {
		s.do(Command{Do: Invite, By: byHost, Member: Member{ID: "m" + n, Number: n}})
	}
	s.do(Command{Do: Pass})
	s.told(s.answers("i4"), "changed i4", "opened", "call m2001", "call m2002", "changed m2003")
	if m := s.get("m2003"); m.State != Disconnected || m.Why == "" {
		t.Fatalf("%+v", m)
	}
	s.refused(Command{Do: Invite, By: byHost, Member: Member{ID: "m2003"}}, ErrFull)
	s.leave("m2001")
	s.told(s.do(Command{Do: Invite, By: byHost, Member: Member{ID: "m2003"}}), "call m2003")
}

// Who has proved nothing takes nobody's place and nobody's line, whatever number he says is his.
func TestStrangersStandInNobodysWay(t *testing.T) {
	s := play(t, Rules{Max: 2})
	s.do(Command{Do: Invite, By: byHost, Member: Member{ID: "m2001", Number: "2001", Role: Chair}})
	s.do(Command{Do: Remove, ID: "m2001"})
	for i := range maxProving {
		s.do(Command{Do: Add, Member: Member{ID: fmt.Sprint("s", i), Number: "2001", State: Connected, Room: Lobby}})
	}
	s.refused(Command{Do: Add, Member: Member{ID: "more", State: Connected, Room: Lobby}}, ErrFull)
	if m, ok := s.Line("2001"); !ok || m.ID != "m2001" {
		t.Fatalf("the line of the one who is invited: %+v", m)
	}
	s.do(Command{Do: Add, Member: Member{ID: "m2001", State: Connected}})
	s.enter("a")
	s.refused(Command{Do: Admit, ID: "s0"}, ErrFull)
	s.leave("a")
	s.do(Command{Do: Admit, ID: "s0"})
}

func TestALockedConferenceTakesOnlyTheInvited(t *testing.T) {
	s := meeting(t, Rules{})
	s.do(Command{Do: Lock, By: by("h")})
	s.refused(Command{Do: Add, Member: Member{ID: "x", State: Alerting}}, ErrLocked)
	s.told(s.do(Command{Do: Add, Member: Member{ID: "y", State: Alerting, Role: Chair}}), "joined y")
	s.leave("h")
	s.told(s.do(Command{Do: Add, Member: Member{ID: "h", Number: "2000", State: Connected}}), "changed h")
	if s.get("h").Role != Chair {
		t.Fatal("a host who drops off and comes back is no host any more")
	}
}

// C-18.
func TestHandingOver(t *testing.T) {
	s := meeting(t, Rules{})
	s.refused(Command{Do: HandOver, ID: "nobody", By: by("h")}, ErrNoMember)
	s.told(s.do(Command{Do: HandOver, ID: "b", By: by("h")}), "host b", "no_longer_host h")
	s.refused(Command{Do: Lock, By: by("h")}, ErrDenied)
	s.do(Command{Do: Lock, By: by("b")})
}

func TestWhenTheLastHostDropsOff(t *testing.T) {
	for rule, want := range map[HostRule][]string{"": {"left h"}, HostWaits: {"left h"}, HostHeir: {"left h", "host a"}} {
		s := meeting(t, Rules{HostGone: rule})
		s.told(s.leave("h"), want...)
		s.heardBy("b", "a", "c")
	}
}

// The place is a member, and its key has what the member has.
func TestThePlacesKeyIsHostIfThePlaceIs(t *testing.T) {
	s := meeting(t, Rules{})
	s.do(Command{Do: Add, Member: Member{ID: "place", Place: true, State: Connected}})
	key := Actor{Role: ByKey}
	s.refused(Command{Do: CloseHouse, By: key}, ErrDenied)
	s.do(Command{Do: HandOver, ID: "place", By: by("h")})
	s.do(Command{Do: CloseHouse, By: key})
}

// C-21: recording with notes.
func TestRecordingAndItsNotes(t *testing.T) {
	s := meeting(t, Rules{})
	note := Command{Do: Note, Text: "budget", By: by("a")}
	s.refused(note, ErrNotRecording)
	s.told(s.do(Command{Do: Record, By: by("h")}), "record_started")
	if r := s.Snapshot().Recording; !r.On || r.By != "h" || !r.Since.Equal(s.now) {
		t.Fatalf("%+v", r)
	}
	s.told(s.do(note), "noted a")
	for _, text := range []string{"", "a\nb", string(make([]byte, 65)), "\xff"} {
		s.refused(Command{Do: Note, Text: text, By: by("a")}, ErrInvalid)
	}
	s.told(s.do(Command{Do: PauseRecord, By: by("h")}), "record_paused")
	s.told(s.do(Command{Do: PauseRecord, By: by("h")}))
	s.told(s.do(Command{Do: Record, By: by("h")}), "record_started")
	s.told(s.do(Command{Do: StopRecord, By: by("h")}), "record_stopped")
	s.refused(Command{Do: StopRecord, By: by("h")}, ErrNotRecording)
}

// C-30, C-33.
func TestToMessagesAndBack(t *testing.T) {
	s := meeting(t, Rules{})
	s.told(s.do(Command{Do: ToMessages, By: by("h")}), "messages_only")
	if h := s.Hearing(); len(h) != 0 || s.Heard("a") {
		t.Fatalf("%v", h)
	}
	s.told(s.do(Command{Do: ToVoice, By: by("h")}), "voice_again")
	s.heardBy("a", "h", "b", "c")
	s.told(s.do(Command{Do: CloseMessages, By: by("h")}), "messages_closed")
	s.told(s.do(Command{Do: OpenMessages, By: by("h")}), "messages_opened")
}

func TestAHostsWishForAnUnmuteGoesToTheMember(t *testing.T) {
	s := meeting(t, Rules{})
	s.do(Command{Do: Mute, By: by("a")})
	events, err := s.Apply(s.now, Command{Do: Unmute, ID: "a", By: by("h")})
	if err == nil || len(events) != 1 || events[0].What != UnmuteRequested || events[0].Reason != Self {
		t.Fatalf("%+v, %v", events, err)
	}
	if events, _ = s.Apply(s.now, Command{Do: Unmute, ID: "a", By: by("b")}); len(events) != 0 {
		t.Fatalf("a guest's wish was told: %+v", events)
	}
	s.told(s.do(Command{Do: Unmute, By: by("a")}), "unmuted a")
}

// C-8: whoever is in may have himself called at another terminal, hosts also others; only who may invite gives addresses.
func TestGoingToAnotherTerminalIsAsked(t *testing.T) {
	s := meeting(t, Rules{})
	to := func(number string) Member { return Member{Number: number} }
	for _, cmd := range []Command{
		{Do: Transfer, By: by("a"), Member: to("207")},
		{Do: Transfer, By: by("h"), ID: "b", Member: to("sip:b@192.0.2.7")},
	} {
		events, err := s.Apply(s.now, cmd)
		if err != nil || len(events) != 1 || events[0].What != Transferred || events[0].Text != cmd.Member.Number ||
			events[0].Member.ID != map[string]string{"": "a", "b": "b"}[cmd.ID] || events[0].Member.State != Connected {
			t.Errorf("%+v: %+v, %v", cmd, events, err)
		}
	}
	s.refused(Command{Do: Transfer, By: by("a"), ID: "b", Member: to("207")}, ErrDenied)
	for _, address := range []string{"sip:a@192.0.2.7", "sip:192.0.2.7", "SIPS:pbx.example", "a@b"} {
		s.refused(Command{Do: Transfer, By: by("a"), Member: to(address)}, ErrDenied)
	}
	s.refused(Command{Do: Transfer, By: by("h"), Member: to("")}, ErrInvalid)
	s.refused(Command{Do: Transfer, By: by("h"), Member: to("2\r\n07")}, ErrInvalid)
	s.refused(Command{Do: Transfer, By: by("h"), ID: "nobody", Member: to("207")}, ErrNoMember)
}
