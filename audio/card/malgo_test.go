package card

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley/audio"
)

// within waits until ok, or fails.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// The whole way through miniaudio: open, callbacks from its own thread, both directions, close, open again.
func TestThroughMiniaudio(t *testing.T) {
	defer goleak.VerifyNone(t)
	var gate audio.Gate
	gate.Open()
	var states atomic.Int64
	c := New(Config{Driver: System{Paced: true}, Gate: &gate, Volume: 100, OnState: func(Status) { states.Add(1) }})
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		within(t, 10*time.Second, "the card is open", func() bool { return c.Status().State == Open })
		var in, out audio.Frame
		s := c.current.Load()
		within(t, 10*time.Second, "the card plays what is written", func() bool {
			c.WriteFrame(&out)
			c.ReadFrame(audio.SampleRate, &in)
			time.Sleep(5 * time.Millisecond)
			return s.speaker.read.Load() > 10*audio.FrameSamples && s.mic.read.Load() > 10*audio.FrameSamples
		})
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		calls := s.called.Load()
		time.Sleep(50 * time.Millisecond)
		if s.called.Load() != calls {
			t.Error("the card calls after it was closed")
		}
		if got := c.Status().State; got != Closed {
			t.Errorf("state %v", got)
		}
	}
	if n := states.Load(); n != 4 {
		t.Errorf("%d changes of state, want 4", n)
	}
}

// a card that does not exist is an error that names it and the cards there are, whether ALSA is installed or not.
func TestNoSuchCard(t *testing.T) {
	var sys System
	stream, err := sys.Open("plughw:CARD=nowhere,DEV=0", 480, func(_, _ []int16) {})
	if err == nil {
		t.Fatal("opened", stream.Close())
	}
	if !strings.Contains(err.Error(), "plughw:CARD=nowhere,DEV=0") && !strings.Contains(err.Error(), "no sound system") {
		t.Errorf("%v", err)
	}
	if _, err := sys.Open(strings.Repeat("x", 300), 480, nil); err == nil {
		t.Error("opened a name that is too long")
	}
	if _, err := sys.Devices(); err != nil && !errors.Is(err, ErrNoCard) {
		t.Errorf("list: %v", err)
	}
}

// ALSA's own null device goes through libasound, where that is installed.
func TestALSANull(t *testing.T) {
	var calls atomic.Int64
	stream, err := System{FirstChannel: true}.Open("null", 480, func(speaker, mic []int16) {
		if len(speaker) == len(mic) {
			calls.Add(1)
		}
		time.Sleep(time.Millisecond) // it is not paced
	})
	if err != nil {
		t.Skip("no ALSA here: ", err)
	}
	within(t, 5*time.Second, "10 calls", func() bool { return calls.Load() > 10 })
	if !stream.Alive() {
		t.Error("not alive")
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
}
