package conference

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// script drives one conference with a clock of its own.
type script struct {
	*testing.T
	*Conference
	now time.Time
}

func play(t *testing.T, r Rules) *script {
	return &script{T: t, Conference: New(r), now: t0}
}

// do applies a command that is to succeed and gives the events' names with the member: "granted b".
func (s *script) do(cmd Command) (told []string) {
	s.Helper()
	events, err := s.Apply(s.now, cmd)
	if err != nil {
		s.Fatalf("%s %s: %v", cmd.Do, cmd.ID, err)
	}
	return names(events)
}

func names(events []Event) (told []string) {
	for _, e := range events {
		text := string(e.What)
		if e.Member.ID != "" {
			text += " " + e.Member.ID
		}
		told = append(told, text)
	}
	return told
}

func (s *script) refused(cmd Command, want error) {
	s.Helper()
	if _, err := s.Apply(s.now, cmd); !errors.Is(err, want) {
		s.Fatalf("%s %s: error %v, want %v", cmd.Do, cmd.ID, err, want)
	}
}

func (s *script) told(got []string, want ...string) {
	s.Helper()
	if !slices.Equal(got, want) {
		s.Fatalf("told %q, want %q", got, want)
	}
}

func (s *script) get(id string) Member {
	s.Helper()
	m, ok := s.Member(id)
	if !ok {
		s.Fatalf("%s is not in the roster", id)
	}
	return m
}

func (s *script) enter(id string) []string {
	s.Helper()
	return s.do(Command{Do: Add, Member: Member{ID: id, Number: "30" + id, State: Connected}})
}

func (s *script) answers(id string) []string {
	s.Helper()
	return s.do(Command{Do: Move, ID: id, State: Connected})
}

func (s *script) leave(id string) []string {
	s.Helper()
	return s.do(Command{Do: Remove, ID: id, Why: "hung up"})
}

var byHost = Actor{Role: ByHost}

func by(id string) Actor { return Actor{Role: ByMember, Member: id} }

// C-1 … C-3: the host is called first; when he answers the conference is open, and all members are called at once.
func TestAnImmediateConferenceCallsItsHostFirst(t *testing.T) {
	s := play(t, Rules{Number: "1234", Kind: Immediate, Creator: "2000"})
	for _, n := range []string{"2000", "2001", "2002"} {
		s.told(s.do(Command{Do: Invite, By: byHost, Member: Member{ID: "m" + n, Number: n}}), "joined m"+n)
	}
	if s.Phase() != Gathering || s.Due().IsZero() || s.Due().After(s.now) {
		t.Fatalf("%s, due %s", s.Phase(), s.Due())
	}
	s.told(s.do(Command{Do: Pass}), "call m2000")
	s.told(s.do(Command{Do: Pass}))
	if !s.Due().IsZero() {
		t.Fatalf("due %s while the host rings", s.Due())
	}
	s.told(s.do(Command{Do: Move, ID: "m2000", State: DialingOut}))
	s.told(s.do(Command{Do: Move, ID: "m2000", State: Alerting}), "changed m2000")
	s.told(s.answers("m2000"), "changed m2000", "opened", "call m2001", "call m2002")
	if m := s.get("m2000"); m.Role != Chair || s.Phase() != Open || s.get("m2001").State != DialingOut {
		t.Fatalf("%+v, %s", m, s.Phase())
	}
	s.told(s.do(Command{Do: Remove, ID: "m2001", Why: "486 Busy Here"}), "left m2001")
	if m := s.get("m2001"); m.State != Disconnected || m.Why != "486 Busy Here" {
		t.Fatalf("%+v", m)
	}
	s.told(s.do(Command{Do: Invite, By: byHost, Member: Member{Number: "2001"}}), "call m2001")
}

func TestAnUnreachableHostStandsInTheRosterWithTheReasonAndCanBeCalledAgain(t *testing.T) {
	s := play(t, Rules{Kind: Immediate, Creator: "2000"})
	s.do(Command{Do: Invite, By: byHost, Member: Member{ID: "b", Number: "2001"}})
	s.told(s.do(Command{Do: Pass}), "joined i2", "call i2")
	s.told(s.do(Command{Do: Remove, ID: "i2", Why: "no answer"}), "left i2")
	if m := s.get("i2"); m.Why != "no answer" || m.Number != "2000" || m.Role != Chair || s.Phase() != Gathering {
		t.Fatalf("%+v, %s", m, s.Phase())
	}
	s.told(s.do(Command{Do: Invite, By: byHost, Member: Member{Number: "2000"}}), "call i2")
	s.leave("i2")
	line, ok := s.Line("2000")
	if !ok || line.ID != "i2" {
		t.Fatalf("line %+v", line)
	}
	s.told(s.do(Command{Do: Add, Member: Member{ID: "i2", Number: "2000", State: Connected}}),
		"changed i2", "opened", "moved i2", "call b")
}

func TestCallersBeforeTheHostWaitInTheLobby(t *testing.T) {
	s := play(t, Rules{Kind: Immediate, Creator: "2000"})
	s.do(Command{Do: Pass})
	s.enter("x")
	if s.get("x").Room != Lobby || s.Hearing()["x"] != nil {
		t.Fatalf("%+v", s.get("x"))
	}
	s.enter("y")
	s.do(Command{Do: Mute, ID: "y", By: byHost})
	s.leave("y")
	s.told(s.answers("i1"), "changed i1", "opened", "moved x")
	if got := others(s.Conference, "x"); !slices.Equal(got, []string{"i1"}) {
		t.Fatalf("hears %v", got)
	}
}

func TestAnImmediateConferenceThatNobodyIsInEnds(t *testing.T) {
	s := play(t, Rules{Kind: Immediate, Creator: "2000", Idle: time.Minute})
	s.do(Command{Do: Pass})
	s.answers("i1")
	s.leave("i1")
	if want := s.now.Add(time.Minute); !s.Due().Equal(want) {
		t.Fatalf("due %s, want %s", s.Due(), want)
	}
	s.now = s.now.Add(time.Minute)
	s.told(s.do(Command{Do: Pass}), "ended")
}

// C-7: nobody before the lobby opens; by itself at the start; a warning, once, before the end; prolonged; ended.
func TestAnAppointmentKeepsItsTimes(t *testing.T) {
	start := t0.Add(time.Hour)
	s := play(t, Rules{Kind: Appointment, Creator: "2000", Start: start, End: start.Add(time.Hour),
		Early: 5 * time.Minute, Warn: 5 * time.Minute})
	at := func(when time.Time) {
		t.Helper()
		if !s.Due().Equal(when) {
			t.Fatalf("due %s, want %s", s.Due(), when)
		}
		s.now = when.Add(-time.Nanosecond)
		s.told(s.do(Command{Do: Pass}))
		s.now = when
	}
	for _, n := range []string{"2000", "2001", "2002"} {
		s.do(Command{Do: Invite, By: byHost, Member: Member{ID: "m" + n, Number: n}})
	}
	s.refused(Command{Do: Add, Member: Member{ID: "x", State: Alerting}}, ErrNotYet)
	s.refused(Command{Do: Add, Member: Member{ID: "m2000", State: Alerting}}, ErrNotYet)
	at(start.Add(-5 * time.Minute))
	s.told(s.do(Command{Do: Pass}), "lobby_opened")
	s.do(Command{Do: Add, Member: Member{ID: "m2001", State: Connected}})
	if m := s.get("m2001"); m.Room != Lobby || len(s.Hearing()) != 0 {
		t.Fatalf("%+v hears %v", m, s.Hearing())
	}
	at(start)
	s.told(s.do(Command{Do: Pass}), "opened", "moved m2001", "call m2000", "call m2002")
	at(start.Add(55 * time.Minute))
	s.told(s.do(Command{Do: Pass}), "ending_soon")
	s.told(s.do(Command{Do: Pass}))
	s.refused(Command{Do: Prolong, By: byHost, Until: start}, ErrInvalid)
	s.told(s.do(Command{Do: Prolong, By: byHost, Until: start.Add(2 * time.Hour)}), "prolonged")
	at(start.Add(115 * time.Minute))
	s.told(s.do(Command{Do: Pass}), "ending_soon")
	at(start.Add(2 * time.Hour))
	s.told(s.do(Command{Do: Pass}), "left m2000", "left m2001", "left m2002", "ended")
	s.refused(Command{Do: Pass}, ErrOver)
	if !s.Due().IsZero() || len(s.Snapshot().Members) != 0 {
		t.Fatalf("due %s, %+v", s.Due(), s.Snapshot())
	}
}

func TestABoxThatWasOffPastTheEndEndsIt(t *testing.T) {
	s := play(t, Rules{Kind: Appointment, Start: t0, End: t0.Add(time.Hour)})
	s.now = t0.Add(2 * time.Hour)
	s.told(s.do(Command{Do: Pass}), "ended")
}

// C-6: the end tells everybody and leaves nothing.
func TestTheEnd(t *testing.T) {
	s := play(t, Rules{Kind: Immediate, Creator: "2000"})
	s.do(Command{Do: Pass})
	s.answers("i1")
	s.enter("x")
	s.do(Command{Do: Record, By: by("i1")})
	s.refused(Command{Do: End, By: by("x")}, ErrDenied)
	s.told(s.do(Command{Do: End, By: by("i1"), Why: "thank you"}), "record_stopped", "left i1", "left x", "ended")
	s.refused(Command{Do: Add, Member: Member{ID: "y", State: Connected}}, ErrOver)
	s.refused(Command{Do: Remove, ID: "x"}, ErrOver)
}

func TestAStandingConferenceNeverEndsAndBindsNobodyToTheLastMeeting(t *testing.T) {
	s := play(t, Rules{Kind: Standing})
	s.enter("a")
	s.enter("b")
	s.refused(Command{Do: End, By: byHost}, ErrInvalid)
	s.do(Command{Do: Lock, By: byHost})
	s.do(Command{Do: CloseHouse, By: byHost})
	s.do(Command{Do: Kick, ID: "b", By: byHost})
	s.refused(Command{Do: Add, Member: Member{ID: "c", State: Connected}}, ErrLocked)
	s.told(s.leave("a"), "left a", "house_opened", "unlocked")
	s.told(s.enter("b"), "joined b")
}

func TestPasswordsAreAskedInTheLobby(t *testing.T) {
	s := play(t, Rules{Kind: Immediate, Creator: "2000"})
	s.do(Command{Do: Pass})
	s.answers("i1")
	s.do(Command{Do: Lock, By: by("i1")})
	for _, id := range []string{"x", "y"} {
		s.do(Command{Do: Add, Member: Member{ID: id, State: Connected, Room: Lobby}})
	}
	if len(s.Can(by("x"), nil)) != 0 || s.Hearing()["x"] != nil {
		t.Fatalf("may %v, hears %v", s.Can(by("x"), nil), s.Hearing()["x"])
	}
	s.refused(Command{Do: MoveTo, ID: "x", By: byHost}, ErrAbsent)
	s.refused(Command{Do: Admit, ID: "x"}, ErrLocked)
	s.refused(Command{Do: Admit, ID: "x", By: by("x")}, ErrDenied)
	s.told(s.do(Command{Do: Admit, ID: "y", Member: Member{Role: Chair}}), "changed y", "host y", "moved y")
	s.do(Command{Do: Unlock, By: by("y")})
	s.told(s.do(Command{Do: Admit, ID: "x"}), "changed x", "moved x")
}

// C-8: a member goes to another terminal and is still the same; what a key had muted does not open by it.
func TestRoamingKeepsTheMember(t *testing.T) {
	s := play(t, Rules{Kind: Standing, Speakers: 1})
	s.do(Command{Do: Add, Member: Member{ID: "p", Place: true, State: Connected}})
	s.do(Command{Do: AskFloor, By: Actor{Role: ByKey}})
	s.do(Command{Do: Mute, ID: "p", Reason: Hardware, By: Actor{Role: ByKey}})
	s.told(s.do(Command{Do: Roam, ID: "p"}), "changed p")
	m := s.get("p")
	if m.Place || m.Floor != FloorHeld || !slices.Equal(m.Mute.Names(), []string{"self"}) {
		t.Fatalf("%+v", m)
	}
	s.do(Command{Do: Unmute, By: by("p")})
	if !s.Heard("p") {
		t.Fatal("not heard")
	}
}
