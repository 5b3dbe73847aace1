package main

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/conference"
	"parley/conference/store"
	"parley/mqtt"
	"parley/mqtt/wire"
)

// What a conference has left is closed when it is not there any more, kept for its days, and then removed; what belongs to a
// conference that stands is not touched.
func TestOldFilesAndMessagesAreRemoved(t *testing.T) {
	dir, quiet := t.TempDir(), slog.New(slog.NewTextHandler(io.Discard, nil))
	log, err := store.OpenLog(store.LogConfig{Dir: filepath.Join(dir, "messages"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	files, err := store.OpenFiles(store.FilesConfig{Dir: filepath.Join(dir, "files"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { log.Run(ctx); close(ended) }()
	h := &house{inbox: make(chan func(), 9), done: make(chan struct{}), now: time.Now, log: quiet}
	h.meetings = []*meeting{{Conference: conference.New(conference.Rules{UID: "box-1-1", Kind: conference.Standing})}}
	go func() {
		for f := range h.inbox {
			f()
		}
	}()
	defer func() { stop(); <-ended; close(h.inbox) }()
	s := &shares{house: h, files: files, keep: 30 * 24 * time.Hour, messages: &messages{
		house: h, log: log, slog: quiet, room: func() (uint64, error) { return 1 << 40, nil },
	}}
	written := func(uid string) error {
		done := make(chan error, 1)
		if err := log.Append(uid, store.Entry{From: "2001", Kind: 0xf1}, func(_ uint64, _ bool, err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		return <-done
	}
	meta := store.Meta{Name: "a", SHA256: strings.Repeat("0", 64), Size: 1, By: "2001"}
	for _, uid := range []string{"box-1-1", "box-1-2"} {
		if err := written(uid); err != nil {
			t.Fatal(err)
		}
		if _, err := files.Begin(uid, meta); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	for _, step := range []struct {
		after time.Duration
		left  []string
	}{
		{0, []string{"box-1-1", "box-1-2"}}, {29 * 24 * time.Hour, []string{"box-1-1", "box-1-2"}}, {30 * 24 * time.Hour, []string{"box-1-1"}},
	} {
		s.look(now.Add(step.after))
		if step.after == 0 {
			if err := written("box-1-2"); err == nil {
				t.Error("a conference that is over takes messages")
			}
			if _, err := files.Begin("box-1-2", meta); err == nil {
				t.Error("a conference that is over takes files")
			}
		}
		if err := written("box-1-1"); err != nil { // after the sweep, which waits in the same queue
			t.Error(err)
		}
		if a, b := files.Conferences(), log.Conferences(); !slices.Equal(a, step.left) || !slices.Equal(b, step.left) {
			t.Errorf("after %v: files %v, messages %v, want %v", step.after, a, b, step.left)
		}
	}
}

// A flood is refused above what is looked at, and what follows it is taken; others' conferences are none of this box's business.
func TestMessageFlood(t *testing.T) {
	now := time.Unix(2e9, 0)
	h := &house{inbox: make(chan func(), 2*messagesAtOnce), done: make(chan struct{}), now: func() time.Time { return now }}
	out := &told{}
	m := &messages{house: h, out: out, eid: "local", box: "box", told: map[string]bool{}, slog: slog.New(slog.NewTextHandler(io.Discard, nil))}
	send := func(uid string) {
		m.receive(mqtt.Message{Topic: "/e/local/im/u/c" + uid, Payload: []byte("\xf1" + `{"co":"x","id":"m","from":"2001"}`)})
	}
	for _, uid := range []string{"box-1", "box-1-x", "box-2-1-1-1", "other-1-1", "box-1-1-", "box--1"} {
		send(uid)
	}
	if len(h.inbox) != 0 || len(out.payloads) != 0 {
		t.Errorf("%d messages to others' conferences are taken", len(h.inbox))
	}
	for range messagesAtOnce + 100 {
		send("box-1-1")
	}
	if len(h.inbox) != messagesAtOnce || len(out.payloads) != 100 {
		t.Errorf("%d taken, %d answered", len(h.inbox), len(out.payloads))
	}
	var n wire.UserNotice
	if err := wire.DecodeKnown(out.payloads[0], &n); err != nil || n.Reason != wire.ReasonBusy || n.ID != "m" {
		t.Errorf("%v %+v", err, n)
	}
	now = now.Add(time.Second)
	send("box-1-1")
	if len(h.inbox) != messagesAtOnce+1 {
		t.Error("the flood is over, and nothing is taken")
	}
}

type told struct{ payloads [][]byte }

func (o *told) Publish(_ string, payload []byte, _ byte, _ bool) error {
	o.payloads = append(o.payloads, payload)
	return nil
}
