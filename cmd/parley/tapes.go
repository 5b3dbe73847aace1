package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"parley/audio"
	"parley/audio/opus"
	"parley/audio/record"
	"parley/audio/tone"
	"parley/conference"
	"parley/mixer"
	"parley/web"
)

// tapes records conferences (C-21): a tape per conference that is recorded hears what is heard of those in its hall.
//
//	record → event → reel → (another goroutine: record.New, Run) → a port that hears the hall
//
// What is said in private rooms is on no tape (P-3). Everything here belongs to the house's goroutine but what says otherwise.
type tapes struct {
	house   *house
	library *record.Library
	codec   audio.Codec
	reserve uint64

	reels  map[*meeting]*reel
	chimes []*chime
	broken error // why a recording could not be made, until one can

	over  context.Context // ends with the box
	quit  context.CancelFunc
	ready chan struct{}  // closed once what a crash had cut off is whole
	work  sync.WaitGroup // tapes that run
	full  chan struct{}  // asks Run to tell when there is room again
}

// reel is the recording of one conference, until it is stopped.
type reel struct {
	meeting  *meeting
	stop     context.CancelFunc
	tape     *record.Tape // nil until there is one
	port     mixer.PortID
	speaking map[string]string // names of those who are being recorded speaking, by number
	later    []func(*record.Tape) error
	waiting  []func(error) // are told whether it runs
	tracks   map[*leg]*track
}

// What a library is looked after for.
const (
	tidyPause = time.Hour
	roomPause = 5 * time.Second // between two looks whether a full disk has room again
)

func newTapes(h *house, folder string) *tapes {
	c := h.cfg.Recording
	t := &tapes{
		house: h, codec: opus.New(opus.Options{Bitrate: c.Bitrate}), reserve: uint64(c.Reserve) * 1e6,
		library: record.NewLibrary(folder, record.Limits{Quota: int64(c.Quota) * 1e6, Retention: time.Duration(c.Keep) * 24 * time.Hour}),
		reels:   map[*meeting]*reel{}, ready: make(chan struct{}), full: make(chan struct{}, 1),
	}
	t.over, t.quit = context.WithCancel(context.Background())
	return t
}

// Run is the recordings' life. It is started before the house and ends after it, when every tape is whole.
func (t *tapes) Run(ctx context.Context) error {
	cut, err := t.library.Recover(time.Now())
	if err != nil {
		t.house.log.Warn("recordings that were cut off are not whole", "error", err)
	}
	for _, id := range cut {
		t.house.log.Warn("a recording that was cut off has been ended", "id", id)
	}
	t.tidy()
	close(t.ready)
	tidy := time.NewTicker(tidyPause)
	defer tidy.Stop()
	var look <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			t.quit()
			t.work.Wait()
			return nil
		case <-tidy.C:
			t.tidy()
		case <-t.full:
			look = time.After(roomPause)
		case <-look:
			if look = nil; t.room() {
				t.house.post(t.roomAgain)
			} else {
				look = time.After(roomPause)
			}
		}
	}
}

// tidy deletes what is kept for too long or is too much. It is called by any goroutine but the house's.
func (t *tapes) tidy() {
	gone, err := t.library.Tidy(time.Now())
	if err != nil {
		t.house.log.Warn("old recordings cannot be deleted", "error", err)
	}
	for _, id := range gone {
		t.house.log.Info("a recording has been deleted: it was too old, or all together too large", "id", id)
	}
}

// follow does what an event asks of the tape.
func (t *tapes) follow(r *meeting, e conference.Event) {
	if t == nil {
		return
	}
	switch e.What {
	case conference.Opened:
		if t.house.cfg.Recording.Auto {
			t.house.do(r, conference.Command{Do: conference.Record, By: bySystem})
		}
	case conference.RecordStarted:
		if t.reels[r] == nil {
			t.begin(r, false)
		} else {
			t.pause(r, e, false)
		}
	case conference.RecordPaused:
		t.pause(r, e, true)
	case conference.RecordStopped, conference.Ended:
		t.stop(r)
	case conference.Noted:
		t.write(r, func(tape *record.Tape) error { return tape.Note(e.Text, byOf(e), e.At) })
	case conference.RoomOpened, conference.RoomClosed:
		t.write(r, func(tape *record.Tape) error { return tape.LeaveOut(e.Room, e.What == conference.RoomOpened, e.At) })
	}
}

// bySystem asks for what the settings want, or what cannot be otherwise.
var bySystem = conference.Actor{Role: conference.BySystem}

// pause has silence take the place of what is heard, or ends that.
func (t *tapes) pause(r *meeting, e conference.Event, on bool) {
	t.write(r, func(tape *record.Tape) error {
		t.chime(r, map[bool]tone.Kind{false: tone.RecordOn, true: tone.RecordOff}[on])
		return tape.Pause(on, byOf(e), e.At)
	})
}

// write does something with the conference's tape now, or once there is one.
func (t *tapes) write(r *meeting, f func(*record.Tape) error) {
	switch l := t.reels[r]; {
	case l == nil:
	case l.tape == nil:
		l.later = append(l.later, f)
	default:
		t.said(l.tape, f(l.tape))
	}
}

// said is told of what could not be written down about a recording.
func (t *tapes) said(tape *record.Tape, err error) {
	if err != nil {
		t.house.log.Warn("not everything is written down about a recording", "id", tape.ID(), "error", err)
	}
}

// byOf names who has caused an event.
func byOf(e conference.Event) string {
	return cmp.Or(e.Member.Name, e.Member.Number, e.By.Name, string(e.By.Role))
}

// restored has a conference go on being recorded that was when the box went down: in another recording, which names the one before.
func (t *tapes) restored(r *meeting) {
	if t != nil && t.reels[r] == nil && r.Snapshot().Recording.On {
		t.begin(r, true)
	}
}

// begin makes a tape on a goroutine of its own, which then runs it. again: the conference's last recording goes on in it.
func (t *tapes) begin(r *meeting, again bool) {
	ctx, stop := context.WithCancel(t.over)
	l := &reel{meeting: r, stop: stop, speaking: map[string]string{}, tracks: map[*leg]*track{}}
	t.reels[r] = l
	c := record.Config{
		Folder: t.library.Folder(), ID: record.NewID(t.house.now(), r.Number()), Codec: t.codec, Reserve: t.reserve, Now: t.house.now,
		Meta:    record.Meta{UID: r.UID(), Number: r.Number(), Theme: r.theme(), By: r.Snapshot().Recording.By},
		OnFault: func(err error) { t.house.post(func() { t.stalled(l, err) }) },
	}
	for _, room := range r.Snapshot().Rooms {
		t.write(r, func(tape *record.Tape) error { return tape.LeaveOut(room.ID, true, c.Now()) })
	}
	if r.Snapshot().Recording.Paused {
		t.write(r, func(tape *record.Tape) error { return tape.Pause(true, c.Meta.By, c.Now()) })
	}
	t.work.Go(func() {
		defer stop()
		tape, err := t.make(ctx, c, again)
		if err == nil {
			t.house.post(func() { t.runs(l, tape) })
			err = tape.Run(ctx)
			t.tell(tape, err)
		}
		t.house.post(func() { t.ended(l, err) })
	})
}

// make is called by the tape's own goroutine.
func (t *tapes) make(ctx context.Context, c record.Config, again bool) (*record.Tape, error) {
	select {
	case <-t.ready:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := os.MkdirAll(c.Folder, 0o700); err != nil { // at the start there may have been no room for it
		return nil, err
	}
	t.tidy()
	before := ""
	if again {
		before = t.last(c.Meta.UID)
	}
	tape, err := record.New(c)
	if err == nil && before != "" {
		t.said(tape, tape.Note("goes on from "+before, string(conference.BySystem), c.Now()))
	}
	return tape, err
}

// last is the newest recording of a conference; empty: there is none.
func (t *tapes) last(uid string) (id string) {
	list, err := t.library.List()
	if err != nil {
		t.house.log.Warn("the recordings cannot be listed", "error", err)
	}
	for _, i := range list {
		if i.UID == uid && i.Of == "" {
			id = i.ID
		}
	}
	return id
}

// tell logs what has become of a recording. The head is what proves it: who keeps the log elsewhere can show that nothing was changed.
func (t *tapes) tell(tape *record.Tape, err error) {
	s := tape.Status()
	log := t.house.log.With("id", tape.ID(), "length", s.Written.Round(time.Millisecond), "lost", s.Lost, "head", s.Head)
	if err != nil && !errors.Is(err, record.ErrLong) {
		log.Error("a recording has broken off", "error", err)
		return
	}
	log.Info("a recording has ended")
}

// runs is told that there is a tape now.
func (t *tapes) runs(l *reel, tape *record.Tape) {
	if t.reels[l.meeting] != l {
		return // stopped already
	}
	l.tape = tape
	t.trouble(nil)
	if !l.meeting.Snapshot().Recording.Paused {
		t.chime(l.meeting, tone.RecordOn)
	}
	for _, f := range l.later {
		t.said(tape, f(tape))
	}
	l.later = nil
	t.house.ports++
	l.port = t.house.ports
	t.house.mixer.Add(mixer.Port{ID: l.port, Frames: tape})
	t.house.moved = true
	l.answer(nil)
}

// stop ends the recording of a conference, if there is one; its goroutine brings it to the disk.
func (t *tapes) stop(r *meeting) {
	if t == nil || t.reels[r] == nil {
		return
	}
	l := t.reels[r]
	if t.take(l); l.tape != nil {
		t.chime(r, tone.RecordOff)
	}
}

// take has a conference be recorded by this reel no more.
func (t *tapes) take(l *reel) {
	delete(t.reels, l.meeting)
	for o := range l.tracks {
		l.cut(o)
	}
	l.stop()
	if l.port != 0 {
		t.house.mixer.Remove(l.port)
		l.port = 0
	}
	t.house.fault(l.alert(), false, "")
	l.answer(errStopped)
}

// errStopped: somebody else stopped the recording before it began.
var errStopped = errors.New("stopped before it began")

func (l *reel) answer(err error) {
	for _, f := range l.waiting {
		f(err)
	}
	l.waiting = nil
}

// ended is told that a tape is over, or could not be made. A long one goes on in another; if it was not to end the conference is told
// that it isn't recorded any more, and why.
func (t *tapes) ended(l *reel, err error) {
	r, wanted := l.meeting, t.reels[l.meeting] == l
	switch {
	case errors.Is(err, record.ErrLong) && wanted:
		t.take(l)
		t.begin(r, true)
	case errors.Is(err, record.ErrLong) || err == nil || t.over.Err() != nil || !wanted && l.tape == nil:
	default:
		err = fmt.Errorf("no recording: %w", err)
		t.trouble(err)
		if !wanted {
			return
		}
		l.answer(err)
		if t.house.do(r, conference.Command{Do: conference.StopRecord, By: bySystem, Why: err.Error()}) != nil {
			t.take(l)
		}
	}
}

// trouble notes why conferences cannot be recorded, or with nil that they can be.
func (t *tapes) trouble(err error) {
	t.broken = err
	t.house.fault("recording", err != nil, fmt.Sprint(err))
	if errors.Is(err, record.ErrDiskFull) {
		select {
		case t.full <- struct{}{}:
		default:
		}
	}
}

// roomAgain is told that a disk which was full has room.
func (t *tapes) roomAgain() {
	if errors.Is(t.broken, record.ErrDiskFull) {
		t.trouble(nil)
	}
}

// alert is the name of what is wrong with this recording only.
func (l *reel) alert() string { return "recording-" + l.meeting.Number() }

// stalled is told that a tape doesn't grow, or loses sound, or with nil that it grows again.
func (t *tapes) stalled(l *reel, err error) {
	if t.reels[l.meeting] == l {
		t.house.fault(l.alert(), err != nil, fmt.Sprintf("conference %s: %v", l.meeting.Number(), err))
	}
}

// begun tells, once it is known, whether the conference is being recorded, or why not.
func (t *tapes) begun(r *meeting, answer func(error)) {
	told := func(err error) {
		if err != nil {
			err = fmt.Errorf("%w: %w", web.ErrUnavailable, err)
		}
		answer(err)
	}
	switch l := t.reels[r]; {
	case l == nil && !r.Snapshot().Recording.On:
		told(cmp.Or(t.broken, errStopped))
	case l == nil || l.tape != nil:
		told(nil)
	default:
		l.waiting = append(l.waiting, told)
	}
}

// hear gives the tapes what they hear, writes down who speaks, and lets the halls hear their chimes.
func (t *tapes) hear(matrix mixer.Hearing) {
	if t == nil {
		return
	}
	for _, l := range t.reels {
		l.hear(t, matrix)
	}
	for _, c := range t.chimes {
		c.hear(matrix)
	}
}

func (l *reel) hear(t *tapes, matrix mixer.Hearing) {
	if l.port == 0 {
		return
	}
	var list []mixer.PortID
	now := map[string]string{}
	for _, o := range l.meeting.legs {
		m, ok := l.meeting.Member(o.member)
		if !ok || o.port == 0 || m.Room != conference.Hall || !l.meeting.Heard(m.ID) {
			continue
		}
		list = append(list, o.port)
		if m.Talks {
			now[cmp.Or(m.Number, m.ID)] = m.Name
		}
	}
	matrix[l.port] = list
	l.follow(t)
	for number, name := range l.speaking {
		if _, still := now[number]; !still {
			t.said(l.tape, l.tape.Speaking(number, name, false, t.house.now()))
		}
	}
	for number, name := range now {
		if _, before := l.speaking[number]; !before {
			t.said(l.tape, l.tape.Speaking(number, name, true, t.house.now()))
		}
	}
	l.speaking = now
}

// room tells whether there is enough on the disk for a recording. It is called by any goroutine but the house's.
func (t *tapes) room() bool {
	free, err := freeSpace(filepath.Dir(t.library.Folder()))
	return err == nil && free >= t.reserve
}
