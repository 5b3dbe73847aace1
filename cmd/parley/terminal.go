package main

import (
	"cmp"
	"slices"
	"time"

	"parley/mqtt"
	"parley/mqtt/wire"
)

// terminal is this box as the terminal of a member of somebody else's conference, which is its place (C-4). A notice announces the
// conference's call, and a token in both tells that they belong together, whichever comes first. It belongs to the
// house's goroutine.
//
//	/u/{place}/notice ─► awaited ─┐
//	INVITE, X-Parley-Join ────────┴─► the call is the conference's: its topics are known, `place.auto_answer` holds
type terminal struct {
	house   *house
	awaited []summons
}

// summons is a notice that a call comes.
type summons struct {
	wire.UserNotice
	until time.Time
}

// A notice holds for so long, and of so many the newest count: anybody who can publish can send some.
const (
	summonsHolds = time.Minute
	maxSummons   = 16
)

// makeTerminal has the box listen to what its place is told as a user.
func (b *box) makeTerminal() error {
	t := &terminal{house: b.house}
	b.house.terminal = t
	user, err := wire.NewUser(b.cfg.EID, b.cfg.Place.Number)
	if err != nil {
		return nil // no topic takes that number
	}
	return b.client.Subscribe(user.Notice(), func(m mqtt.Message) {
		var n wire.UserNotice
		if !m.Retained && wire.DecodeKnown(m.Payload, &n) == nil && n.Kind == wire.NoticeJoin {
			b.house.post(func() { t.await(n) })
		}
	})
}

// await notes that a call comes, or that it has come.
func (t *terminal) await(n wire.UserNotice) {
	now := t.house.now()
	t.awaited = slices.DeleteFunc(t.awaited, func(s summons) bool { return now.After(s.until) || s.Token == n.Token })
	if len(t.awaited) >= maxSummons {
		t.awaited = t.awaited[1:]
	}
	t.awaited = append(t.awaited, summons{n, now.Add(summonsHolds)})
	for c, l := range t.house.legs {
		if l.far == nil && c.Number() == t.house.cfg.Place.Number && t.match(l) {
			t.house.place.changed()
		}
	}
}

// match finds out whether a call for the place is one that was announced: by the token, which is good for one call, and by the
// number from which it comes.
func (t *terminal) match(l *leg) bool {
	if t == nil {
		return false
	}
	shown, now := l.call.Header(joinHeader), t.house.now()
	if shown == "" {
		return false
	}
	for i, s := range t.awaited {
		if s.Token == shown && s.Number == l.call.From() && !now.After(s.until) {
			l.far = &s.UserNotice
			t.awaited = slices.Delete(t.awaited, i, i+1)
			t.house.log.Info("a conference calls the place", "conference", s.Conf, "uid", s.UID, "theme", s.Theme, "call", l.id)
			return true
		}
	}
	return false
}

// name is how who calls the place is shown.
func (l *leg) name() string {
	if l.far != nil {
		return l.far.Conf + " " + cmp.Or(l.far.Theme, "conference")
	}
	return l.call.From()
}
