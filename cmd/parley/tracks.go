package main

import (
	"cmp"
	"context"

	"parley/audio/record"
	"parley/conference"
	"parley/mixer"
)

// track is what one who is in the hall of a recorded conference says, as a recording of its own.
type track struct {
	tee  *record.Tee
	tape *record.Tape // nil until there is one, and when it has broken off
	stop context.CancelFunc
}

// source is what the mixer reads of a leg: with a tee in it, if tracks are wanted.
func (t *tapes) source(l *leg, s mixer.Source) mixer.Source {
	if t == nil || !t.house.cfg.Recording.Tracks {
		return s
	}
	if l.tee == nil || l.teed != s {
		l.tee, l.teed = record.NewTee(s), s
	}
	return l.tee
}

// follow has everybody in the hall have a track, which is silent while he is not heard there, and nobody else.
func (l *reel) follow(t *tapes) {
	if !t.house.cfg.Recording.Tracks {
		return
	}
	paused := l.meeting.Snapshot().Recording.Paused
	for o, k := range l.tracks {
		if m, ok := l.meeting.Member(o.member); !ok || o.meeting != l.meeting || o.tee != k.tee || !o.gone.IsZero() || o.port == 0 || m.Room != conference.Hall {
			l.cut(o)
		}
	}
	for _, o := range l.meeting.legs {
		m, ok := l.meeting.Member(o.member)
		if !ok || !m.In() || o.tee == nil || !o.gone.IsZero() || o.port == 0 || m.Room != conference.Hall {
			continue
		}
		if k := l.tracks[o]; k == nil {
			t.track(l, o, m)
		} else if k.tape != nil {
			t.said(k.tape, k.tape.Pause(paused || !l.meeting.Heard(m.ID), "", t.house.now()))
		}
	}
}

// cut ends the track of a leg.
func (l *reel) cut(o *leg) {
	k := l.tracks[o]
	delete(l.tracks, o)
	k.tee.Tape(nil)
	k.stop()
}

// track begins one, on a goroutine of its own. It is silent until who is heard is told.
func (t *tapes) track(l *reel, o *leg, m conference.Member) {
	ctx, stop := context.WithCancel(t.over)
	k := &track{tee: o.tee, stop: stop}
	l.tracks[o] = k
	now := t.house.now
	c := record.Config{
		Folder: t.library.Folder(), ID: record.NewID(now(), l.meeting.Number()) + "-" + o.id, Codec: t.codec, Reserve: t.reserve, Now: now,
		Meta: record.Meta{UID: l.meeting.UID(), Number: l.meeting.Number(), Theme: l.meeting.theme(), By: l.meeting.Snapshot().Recording.By,
			Speaker: cmp.Or(m.Number, m.Name), Of: l.tape.ID()},
	}
	t.work.Go(func() {
		defer stop()
		tape, err := record.New(c)
		if err == nil {
			t.house.post(func() {
				if l.tracks[o] == k {
					t.said(tape, tape.Pause(true, "", now()))
					k.tape = tape
					k.tee.Tape(tape)
					t.house.moved = true
				}
			})
			err = tape.Run(ctx)
			t.tell(tape, err)
		} else {
			t.house.log.Error("there is no track of a speaker", "id", c.ID, "error", err)
		}
		t.house.post(func() {
			if l.tracks[o] == k { // it has broken off, and is not tried again
				k.tee.Tape(nil)
				k.tape = nil
			}
		})
	})
}
