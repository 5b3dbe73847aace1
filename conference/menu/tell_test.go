package menu

import (
	"strings"
	"testing"
	"time"

	"parley/conference"
)

func marks(rs ...conference.Reason) (m conference.Reasons) {
	for _, r := range rs {
		m = append(m, conference.Mark{Reason: r})
	}
	return m
}

// What happens is told to those whom it concerns, in the words for it.
func TestTell(t *testing.T) {
	me := conference.Member{ID: "me", Role: conference.Guest}
	other := conference.Member{ID: "other"}
	chair := conference.Member{ID: "chair", Role: conference.Chair}
	away := conference.Member{ID: "away", Room: "r1"}
	mine := func(mute ...conference.Reason) conference.Member {
		return conference.Member{ID: "me", Mute: marks(mute...)}
	}
	byMe, byChair := conference.Actor{Member: "me"}, conference.Actor{Member: "chair"}
	end := start.Add(5 * time.Minute)
	for _, c := range []struct {
		e    conference.Event
		to   conference.Member
		want string
	}{
		{conference.Event{What: conference.Queued, Member: me, Position: 3}, me, "you-are-number 3"},
		{conference.Event{What: conference.QueueMoved, Member: me, Position: 12}, me, "you-are-number 12"},
		{conference.Event{What: conference.Queued, Member: other, Position: 3}, me, ""},
		{conference.Event{What: conference.Granted, Member: me}, me, "floor-granted"},
		{conference.Event{What: conference.Granted, Member: other}, me, ""},
		{conference.Event{What: conference.Yielded, Member: me, By: byMe}, me, "floor-over"},
		{conference.Event{What: conference.Yielded, Member: me, By: byChair}, me, "floor-taken"},
		{conference.Event{What: conference.Unqueued, Member: me, By: byMe}, me, "queue-left"},
		{conference.Event{What: conference.Unqueued, Member: me, By: byChair}, me, "floor-refused"},
		{conference.Event{What: conference.Muted, Member: mine("host"), Reason: conference.Host}, me, "muted-by-host"},
		{conference.Event{What: conference.Muted, Member: mine("self"), Reason: conference.Self}, me, "muted"},
		{conference.Event{What: conference.Muted, Member: mine("listener"), Reason: conference.Listener}, me, "listen-only"},
		{conference.Event{What: conference.Muted, Member: mine("hold"), Reason: conference.Hold}, me, ""},
		{conference.Event{What: conference.Unmuted, Member: mine(), Reason: conference.Self}, me, "unmuted"},
		{conference.Event{What: conference.Unmuted, Member: mine("host"), Reason: conference.Self}, me, "muted-by-host"},
		{conference.Event{What: conference.Unmuted, Member: mine("self"), Reason: conference.Host}, me, "muted"},
		{conference.Event{What: conference.Unmuted, Member: mine(), Reason: conference.Hold}, me, ""},
		{conference.Event{What: conference.UnmuteRequested, Member: mine("self")}, me, "please-unmute press-star 6"},
		{conference.Event{What: conference.RecordStarted}, me, "record-started"},
		{conference.Event{What: conference.RecordStarted}, away, "record-started"},
		{conference.Event{What: conference.RecordStarted}, conference.Member{ID: "me", Proving: true}, ""},
		{conference.Event{What: conference.RecordPaused}, chair, "record-paused"},
		{conference.Event{What: conference.RecordStopped}, me, "record-stopped"},
		{conference.Event{What: conference.Locked}, chair, "locked"},
		{conference.Event{What: conference.Locked}, me, ""},
		{conference.Event{What: conference.Warned, At: start, Until: end}, me, "ends-in 5 minutes"},
		{conference.Event{What: conference.Warned, At: start, Until: start.Add(70 * time.Second)}, me, "ends-in 1 minute"},
		{conference.Event{What: conference.Warned, At: start, Until: start}, me, ""},
		{conference.Event{What: conference.Prolonged, At: start, Until: end}, me, "ends-in 5 minutes"},
		{conference.Event{What: conference.Prolonged, At: start}, me, ""},
		{conference.Event{What: conference.Moved, Member: away}, away, "private-room"},
		{conference.Event{What: conference.Moved, Member: me}, me, "hall"},
		{conference.Event{What: conference.Moved, Member: away}, me, ""},
		{conference.Event{What: conference.RoomAsked, Member: me}, me, "room-asked press-star 3"},
		{conference.Event{What: conference.RoomDeclined, Member: other, By: byMe}, me, "room-declined"},
		{conference.Event{What: conference.HostCalled, Room: "r1"}, chair, "host-called"},
		{conference.Event{What: conference.HostCalled, Room: "r1"}, me, ""},
		{conference.Event{What: conference.BecameHost, Member: chair}, chair, "you-are-host"},
		{conference.Event{What: conference.NoHost, Member: me}, me, "not-host"},
		{conference.Event{What: conference.HouseClosed}, me, "house-closed"},
		{conference.Event{What: conference.HouseClosed}, away, ""},
		{conference.Event{What: conference.Opened}, me, "begins"},
		{conference.Event{What: conference.Talking, Member: other}, me, ""},
	} {
		p, ok := Tell(&c.e, &c.to)
		if got := strings.Join(p.Names, " "); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%s to %s: %q (%v), want %q", c.e.What, c.to.ID, got, ok, c.want)
		}
		if ok && (p.Kind == "" || p.Rank <= 0 || p.Rank >= rankAnswer) {
			t.Errorf("%s: kind %q, rank %d", c.e.What, p.Kind, p.Rank)
		}
	}
	// Telling one does not change what the next one is told.
	e := conference.Event{What: conference.Queued, Member: me, Position: 3}
	Tell(&e, &me)
	e.Position = 2
	if p, _ := Tell(&e, &me); p.Names[1] != "2" {
		t.Errorf("told %v", p.Names)
	}
}
