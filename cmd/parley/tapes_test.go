package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"parley/audio/record"
	"parley/cmd/parley/config"
	"parley/conference"
	"parley/mixer"
)

// taped runs a house with one conference that is being recorded, without any sound.
func taped(t *testing.T) (h *house, r *meeting) {
	t.Helper()
	cfg := config.Default()
	cfg.Conferences = []config.Conference{{Number: "1000", Name: "Hall"}}
	h = newHouse(cfg, 1, slog.New(slog.NewTextHandler(io.Discard, nil)))
	newPlace(h, &microphone{}, true)
	h.mixer = mixer.New(mixer.Config{})
	h.tapes = newTapes(h, t.TempDir())
	for _, run := range []func(context.Context) error{h.tapes.Run, h.mixer.Run, h.Run} {
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- run(ctx) }()
		t.Cleanup(func() { stop(); <-done })
	}
	started := make(chan error, 1)
	h.ask(func() {
		r = h.find("1000")
		if err := h.do(r, conference.Command{Do: conference.Record, By: bySystem}); err != nil {
			t.Error(err)
		}
		h.tapes.begun(r, func(err error) { started <- err })
	})
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	return h, r
}

// eventually asks the house until it says yes.
func eventually(t *testing.T, h *house, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var yes bool
		if h.ask(func() { yes = ok() }); yes {
			return
		}
	}
	t.Fatal("not in time: ", what)
}

// C-21: a recording that doesn't grow is an alert, for as long as it doesn't and no longer than there is one.
func TestAStalledTapeIsAnAlert(t *testing.T) {
	h, r := taped(t)
	alert := func() bool { _, on := h.faults["recording-1000"]; return on }
	h.ask(func() {
		l := h.tapes.reels[r]
		for _, step := range []struct {
			err error
			on  bool
		}{{record.ErrStalled, true}, {nil, false}, {record.ErrLost, true}} {
			if h.tapes.stalled(l, step.err); alert() != step.on {
				t.Errorf("%v: alert %v", step.err, alert())
			}
		}
		h.do(r, conference.Command{Do: conference.StopRecord, By: bySystem})
		if h.tapes.stalled(l, record.ErrStalled); alert() {
			t.Error("the alert of a recording that has been stopped")
		}
	})
}

// A recording that has become too long goes on in another, which names it, and nobody has asked for that. One that breaks off is
// the conference's no more, with the reason.
func TestALongRecordingGoesOn(t *testing.T) {
	h, r := taped(t)
	var first, second *reel
	h.ask(func() {
		first = h.tapes.reels[r]
		h.tapes.ended(first, record.ErrLong)
	})
	eventually(t, h, "another tape", func() bool {
		second = h.tapes.reels[r]
		return second != nil && second != first && second.tape != nil
	})
	eventually(t, h, "the name of the one before", func() bool {
		lines, _ := h.tapes.library.Index(second.tape.ID())
		for _, l := range lines {
			if l.Kind == record.KindNote && strings.Contains(l.Text, first.tape.ID()) {
				return true
			}
		}
		return false
	})
	h.ask(func() {
		if !r.Snapshot().Recording.On || len(h.faults) > 0 {
			t.Errorf("recorded: %v; alerts: %v", r.Snapshot().Recording.On, h.faults)
		}
		h.tapes.ended(second, record.ErrBroken)
		if r.Snapshot().Recording.On || len(h.tapes.reels) > 0 || !strings.Contains(h.faults["recording"].text, record.ErrBroken.Error()) {
			t.Errorf("broken off: recorded %v, %d reels, alerts %v", r.Snapshot().Recording.On, len(h.tapes.reels), h.faults)
		}
		h.do(r, conference.Command{Do: conference.Record, By: bySystem})
	})
	eventually(t, h, "the alert is over with the next recording", func() bool { return h.tapes.reels[r].tape != nil && len(h.faults) == 0 })
}

// The folder is made when it is missing. Who asks for a recording for which there is no room is told, and the conference is not taken
// for recorded.
func TestNoTape(t *testing.T) {
	h, r := taped(t)
	h.ask(func() { h.do(r, conference.Command{Do: conference.StopRecord, By: bySystem}) })
	eventually(t, h, "the first recording is whole", func() bool {
		list, err := h.tapes.library.List()
		return err == nil && len(list) == 1 && !list[0].Running
	})
	if err := os.RemoveAll(h.tapes.library.Folder()); err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	h.ask(func() {
		h.do(r, conference.Command{Do: conference.Record, By: bySystem})
		h.tapes.begun(r, func(err error) { started <- err })
	})
	if err := <-started; err != nil {
		t.Errorf("without the folder: %v", err)
	}
	h.ask(func() { h.do(r, conference.Command{Do: conference.StopRecord, By: bySystem}) })
	h.tapes.reserve = 1 << 62
	told := make(chan error, 1)
	h.ask(func() {
		h.do(r, conference.Command{Do: conference.Record, By: bySystem})
		h.tapes.begun(r, func(err error) { told <- err })
	})
	if err := <-told; err == nil || !strings.Contains(err.Error(), "nearly full") {
		t.Errorf("told: %v", err)
	}
	eventually(t, h, "the conference isn't recorded", func() bool { return !r.Snapshot().Recording.On })
}
