package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"parley/cmd/parley/config"
	"parley/conference"
	"parley/conference/create"
	"parley/conference/journal"
	"parley/mixer"
	"parley/sip"
	"parley/web"
	"parley/web/token"
)

// lodging is a house with a journal, and nobody to call.
type lodging struct {
	*house
	t    testing.TB
	stop func() // of what writes the journal: a crash
	over []string

	dialled, restored, byes []string
}

var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

// lodge makes a house on a data folder, with what a run before has left there; its clock stands at now.
func lodge(t testing.TB, dir string, now time.Time, disk journal.FS) *lodging {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	b := &box{log: log, data: &data{dir: dir}}
	before := b.openJournal(disk)
	b.keep.session = before.life.Session + 1
	h := newHouse(config.Default(), b.keep.session, log)
	b.house = h
	l := &lodging{house: h, t: t}
	h.keep, h.now, h.phone, h.doors, h.mixer = b.keep, func() time.Time { return now }, l, []door{l}, mixer.New(mixer.Config{})
	h.restore(before)
	newPlace(h, &microphone{}, before.life.At.IsZero())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.keep.Run(ctx)
	}()
	l.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(l.stop)
	noted := make(chan struct{})
	h.resume(l, func(bool) { close(noted) })
	h.settle()
	<-noted
	h.wake()
	h.settle()
	return l
}

func (l *lodging) Dial(d sip.Dial) (*sip.Call, error) {
	l.dialled = append(l.dialled, d.To)
	return nil, sip.ErrNoRoute
}

func (l *lodging) Restore(d sip.Dialog) (*sip.Call, error) {
	l.restored = append(l.restored, d.CallID)
	return nil, sip.ErrBusy
}

func (l *lodging) Bye(d sip.Dialog) error {
	l.byes = append(l.byes, fmt.Sprint(d.CallID, " ", d.LocalSeq))
	return nil
}

func (l *lodging) opened(*meeting)                     {}
func (l *lodging) happened(*meeting, conference.Event) {}
func (l *lodging) ended(r *meeting)                    { l.over = append(l.over, r.UID()) }
func (l *lodging) placed(placeState)                   {}
func (l *lodging) book(kind conference.Kind) *meeting {
	l.t.Helper()
	r, err := l.create(create.Request{
		ID: string(kind), Kind: kind, Theme: "Budget", Creator: "2001", Start: noon.Add(time.Hour), End: noon.Add(2 * time.Hour), Max: 9,
		Moderator: create.Hash("480913"), Invited: []create.Invitee{{Number: "2002"}},
	}, conference.Actor{Name: "2001"}, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

func (l *lodging) must(r *meeting, c conference.Command) {
	l.t.Helper()
	if err := l.do(r, c); err != nil {
		l.t.Fatal(err)
	}
}

// lasts waits for the journal's word on a conference.
func (l *lodging) lasts(r *meeting) bool {
	said := make(chan bool, 1)
	l.kept(r, func(durable bool) { said <- durable })
	l.settle()
	return <-said
}

// live fills a house: an immediate conference with the host in, whom it has called, and a member who is being called; one that is booked; and in the
// standing one a caller, who talks, and the place.
func live(t *testing.T, dir string) (l *lodging, now, booked, hall *meeting) {
	t.Helper()
	l = lodge(t, dir, noon, nil)
	now, booked, hall = l.book(conference.Immediate), l.book(conference.Appointment), l.find("1000")
	host, _ := now.Line("2001")
	l.must(now, conference.Command{Do: conference.Move, ID: host.ID, State: conference.Connected})
	l.must(now, conference.Command{Do: conference.Pass})
	called, _ := now.Line("2002")
	l.must(now, conference.Command{Do: conference.Move, ID: called.ID, State: conference.Alerting})
	l.must(now, conference.Command{Do: conference.Lock, By: conference.Actor{Role: conference.BySystem}})
	l.must(hall, conference.Command{Do: conference.Add, Member: conference.Member{ID: "m90", Number: "2009", State: conference.Connected}})
	l.must(hall, conference.Command{Do: conference.Talk, ID: "m90"})
	if _, err := l.place.join("1000"); err != nil {
		t.Fatal(err)
	}
	dialog := sip.Dialog{CallID: "host", LocalSeq: 7, Outgoing: true}
	l.keep.hand(dialogKey+"m80", keptDialog{dialog, keptSeat{now.UID(), host.ID}}, nil)
	dialog = sip.Dialog{CallID: "caller", LocalSeq: 9}
	l.keep.hand(dialogKey+"m90", keptDialog{dialog, keptSeat{hall.UID(), "m90"}}, nil)
	for _, r := range []*meeting{now, booked, hall} {
		if !l.lasts(r) {
			t.Fatal("not kept")
		}
	}
	return l, now, booked, hall
}

func (l *lodging) states(r *meeting) (s string) {
	for _, m := range r.Snapshot().Members {
		s += fmt.Sprint(m.Number, " ", m.State, " ", m.Why, "; ")
	}
	return s
}

// A minute and more after a crash nobody waits on the line any more: old calls get BYE, conferences of the moment end, what is
// booked and what always stands goes on as itself.
func TestAnOldCrashIsClosed(t *testing.T) {
	dir := t.TempDir()
	was, now, booked, hall := live(t, dir)
	was.stop()
	l := lodge(t, dir, noon.Add(takeUp+time.Second), nil)
	slices.Sort(l.byes)
	if len(l.restored) > 0 || fmt.Sprint(l.byes) != "[caller 109 host 107]" || len(l.dialled) > 0 {
		t.Errorf("restored %v, BYE %v, dialled %v", l.restored, l.byes, l.dialled)
	}
	if l.known(now.UID()) != nil || !slices.Contains(l.over, now.UID()) {
		t.Errorf("the immediate one stands; over %v", l.over)
	}
	if r := l.known(booked.UID()); r == nil || r.Number() != booked.Number() || r.Rules() != booked.Rules() || !r.moderator.Matches("480913") {
		t.Errorf("what was booked: %+v", r)
	}
	r := l.known(hall.UID())
	if r == nil || r != l.find("1000") || l.states(r) != "" || r.Seq() <= hall.Seq() || l.place.leg.meeting != nil {
		t.Errorf("the standing one: %v", l.states(l.find("1000")))
	}
	again, err := l.create(create.Request{ID: string(conference.Appointment)}, conference.Actor{Name: "2001"}, nil)
	if err != nil || again.UID() != booked.UID() {
		t.Errorf("the request that made it, again: %v", err)
	}
	if fresh := l.book("immediate"); fresh.UID() == now.UID() {
		t.Error("a uid is used again")
	}
	l.settle()
	l.lasts(r)
	l.stop()
	if l = lodge(t, dir, noon.Add(2*takeUp), nil); len(l.byes) > 0 {
		t.Errorf("told twice: %v", l.byes)
	}
}

// Right after a crash calls are taken up. Whose cannot be is called again once, if it was the conference who had called; who had
// called in has left. The place sits where it sat, muted.
func TestWhoIsLostIsCalledAgainOnce(t *testing.T) {
	dir := t.TempDir()
	was, now, _, hall := live(t, dir)
	was.stop()
	l := lodge(t, dir, noon.Add(takeUp-time.Second), nil)
	slices.Sort(l.restored)
	slices.Sort(l.dialled)
	if fmt.Sprint(l.restored) != "[caller host]" || len(l.byes) != 2 || fmt.Sprint(l.dialled) != "[2001 2002]" {
		t.Errorf("restored %v, BYE %v, dialled %v", l.restored, l.byes, l.dialled)
	}
	r := l.known(now.UID())
	if r == nil || !r.Snapshot().Locked || l.states(r) != "2001 disconnected sip: no route; 2002 disconnected sip: no route; " {
		t.Errorf("the immediate one: %s", l.states(l.known(now.UID())))
	}
	r = l.known(hall.UID())
	if want := "100 connected ; "; l.states(r) != want || l.place.leg.meeting != r || !l.place.mute.Has(conference.System) || !l.place.gate.Closed() {
		t.Errorf("the standing one: %s, want %s; the place %v", l.states(r), want, l.place.mute)
	}
	if m, _ := r.Member("place"); !m.Mute.Has(conference.System) {
		t.Errorf("the place in the roster: %v", m.Mute)
	}
	if l.do(r, conference.Command{Do: conference.Unmute, ID: "place", Reason: conference.System, By: conference.Actor{Role: conference.ByRemote}}) == nil {
		t.Error("somebody else opened the microphone")
	}
}

// After a stop in order there are no calls, conferences of the moment are over, and what is booked stands; events go on without a gap.
func TestAfterAStopInOrder(t *testing.T) {
	dir := t.TempDir()
	was, now, booked, hall := live(t, dir)
	was.must(hall, conference.Command{Do: conference.Remove, ID: "m90"}) // as the agent's end does
	was.keep.hand(dialogKey+"m80", nil, nil)
	was.keep.hand(dialogKey+"m90", nil, nil)
	was.close()
	was.settle()
	was.stop()
	if !slices.Contains(was.over, now.UID()) || was.place.leg.meeting != nil {
		t.Errorf("over %v", was.over)
	}
	l := lodge(t, dir, noon.Add(time.Second), nil)
	if len(l.restored)+len(l.byes)+len(l.dialled) > 0 || l.known(now.UID()) != nil || l.place.leg.meeting != nil {
		t.Errorf("restored %v, BYE %v, dialled %v", l.restored, l.byes, l.dialled)
	}
	if r := l.known(booked.UID()); r == nil || r.Seq() != booked.Seq() || l.known(hall.UID()) == nil || l.known(hall.UID()).Seq() != hall.Seq() {
		t.Errorf("%+v", r)
	}
}

// A standing conference that is in the settings no more goes, and so does one whose number is taken; its rules follow the settings.
func TestSettingsHaveTheLastWord(t *testing.T) {
	dir := t.TempDir()
	was := lodge(t, dir, noon, nil)
	old := was.open(conference.Rules{Kind: conference.Standing, Number: "1234"})
	taken := was.open(conference.Rules{Kind: conference.Appointment, Number: was.cfg.Place.Number, End: noon.Add(time.Hour)})
	for _, r := range []*meeting{old, taken, was.find("1000")} {
		was.lasts(r)
	}
	was.stop()
	l := lodge(t, dir, noon, nil)
	if l.known(old.UID()) != nil || l.known(taken.UID()) != nil || l.find("1000").UID() != was.find("1000").UID() {
		t.Error("a conference is there that should not be, or is another")
	}
}

// disk is one that can be slow or full.
type disk struct {
	slow atomic.Int64 // ns for each sync
	full atomic.Bool
}

type diskFile struct {
	*os.File
	of *disk
}

func (d *disk) Open(name string, flag int) (journal.File, error) {
	if d.full.Load() && flag&os.O_CREATE != 0 {
		return nil, syscall.ENOSPC
	}
	f, err := os.OpenFile(name, flag, 0o600)
	return diskFile{f, d}, err
}
func (d *disk) Rename(from, to string) error { return os.Rename(from, to) }
func (d *disk) Remove(name string) error     { return os.Remove(name) }
func (d *disk) SyncDir(string) error         { return nil }

func (f diskFile) Write(b []byte) (int, error) {
	if f.of.full.Load() {
		return 0, syscall.ENOSPC
	}
	return f.File.Write(b)
}

func (f diskFile) Sync() error {
	time.Sleep(time.Duration(f.of.slow.Load()))
	return nil
}

// While the disk is full, or takes two seconds to sync, the house does at once what it is asked, says that it may not last, and
// raises an alert; what must last is refused. The mixer does not notice. When the disk is well again all is written.
// The mixer's ticks in this process are judged, so nothing runs beside it.
func TestADiskThatFails(t *testing.T) {
	for name, spoil := range map[string]func(*disk, bool){
		"full": func(d *disk, on bool) { d.full.Store(on) },
		"slow": func(d *disk, on bool) { d.slow.Store(map[bool]int64{true: int64(2 * time.Second)}[on]) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, d := t.TempDir(), &disk{}
			if err := os.MkdirAll(filepath.Join(dir, "journal"), 0o700); err != nil {
				t.Fatal(err)
			}
			l := lodge(t, dir, noon, d)
			r := l.book(conference.Immediate)
			if !l.lasts(r) {
				t.Fatal("a good disk does not keep")
			}
			ctx, cancel := context.WithCancel(context.Background())
			parts := make(chan struct{}, 2)
			for _, run := range []func(context.Context) error{l.mixer.Run, l.Run} {
				go func() {
					run(ctx)
					parts <- struct{}{}
				}()
			}
			defer func() {
				cancel()
				<-parts
				<-parts
			}()
			spoil(d, true)
			before := l.mixer.Stats()
			for _, c := range []conference.Command{
				{Do: conference.CloseHouse}, {Do: conference.Invite, Member: conference.Member{ID: "m70", Number: "2007"}},
				{Do: conference.Kick, ID: "m70"}, {Do: conference.Lock}, {Do: conference.End},
			} {
				c.By = conference.Actor{Role: conference.BySystem}
				said, began := make(chan bool, 1), time.Now()
				var err error
				l.ask(func() {
					err = l.do(r, c)
					l.kept(r, func(durable bool) { said <- durable })
				})
				if took := time.Since(began); err != nil || took > 100*time.Millisecond {
					t.Errorf("%s took %v: %v", c.Do, took, err)
				}
				if durable := <-said; durable {
					t.Errorf("%s is said to last", c.Do)
				}
			}
			l.eventually("an alert", func() bool { return l.faults["journal"].text != "" })
			dialled := 0
			l.ask(func() { dialled = len(l.dialled) })
			if _, err := (api{l.house}).Create(t.Context(), token.Claims{Subject: "2001", Role: token.Admin}, create.Request{Kind: conference.Immediate, Creator: "2001"}); !errors.Is(err, web.ErrNotDurable) {
				t.Errorf("what must last: %v", err)
			}
			l.eventually("it is gone", func() bool { return len(l.meetings) == 1 })
			l.eventually("a second of sound", func() bool { return l.mixer.Stats().Ticks >= before.Ticks+100 })
			if after := l.mixer.Stats(); after.Skipped > before.Skipped {
				t.Errorf("ticks: %+v, then %+v", before, after)
			} else {
				t.Logf("%d ticks, %d late", after.Ticks-before.Ticks, after.Late-before.Late)
			}
			l.ask(func() {
				if len(l.dialled) > dialled {
					t.Errorf("somebody was called into a conference that was not kept: %v", l.dialled[dialled:])
				}
			})
			spoil(d, false)
			l.eventually("it is well again", func() bool { return l.faults["journal"].text == "" })
			said := make(chan bool, 1)
			l.ask(func() { l.kept(l.find("1000"), func(durable bool) { said <- durable }) })
			if !<-said {
				t.Error("a disk that is well again does not keep")
			}
		})
	}
}

func (l *lodging) eventually(what string, ok func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		yes := false
		l.ask(func() { yes = ok() })
		if yes {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("still not so: %s", what)
		}
	}
}

// BenchmarkKeep is what it costs the house to hand over a conference of 30: copies, no text.
func BenchmarkKeep(b *testing.B) {
	l := lodge(b, b.TempDir(), noon, nil)
	r := l.find("1000")
	for n := range 30 {
		m := conference.Member{ID: fmt.Sprint("m", n), Number: fmt.Sprint(2000 + n), Name: "Somebody", State: conference.Connected}
		if err := l.do(r, conference.Command{Do: conference.Add, Member: m}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		l.keep.mark(r)
		l.keep.flush(l.house)
	}
}
