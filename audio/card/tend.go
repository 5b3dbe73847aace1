package card

import (
	"context"
	"errors"
	"fmt"
	"time"

	"parley/audio"
)

// Times of the watch over a card.
const (
	lookEvery  = 50 * time.Millisecond
	stallAfter = 200 * time.Millisecond
	retryFirst = 500 * time.Millisecond
	retryMost  = 5 * time.Second
	lasting    = time.Second            // of an opening that was none in vain
	closeSoon  = 100 * time.Millisecond // waited for in passing
	closeWait  = 2 * time.Second        // waited for at the end
)

// errStuck: the driver does not come back from closing the card.
var errStuck = errors.New("card: the driver does not let go of the card")

// tended is what Run's goroutine knows of the card.
type tended struct {
	stream  Stream
	session *session
	device  Device
	opened  time.Time
	closing chan error // the outcome of a Close under way
	retry   time.Duration
	state   State
	reason  string
	count   int
	xruns   uint64 // of ended sessions
	dropped uint64
	starved uint64
}

// tend looks after the card once and tells when to look again.
func (c *Card) tend(now time.Time) time.Duration {
	t := &c.tended
	if errors.Is(c.closed(0), errStuck) {
		return lookEvery
	}
	if t.stream == nil {
		if err := c.open(now); err != nil {
			return c.backOff(err)
		}
		return lookEvery
	}
	silent, age := time.Duration(t.session.since()-t.session.called.Load()), now.Sub(t.opened)
	switch {
	case !t.stream.Alive():
		_ = c.drop(Lost, "the card has gone")
	case silent > stallAfter && age > stallAfter:
		_ = c.drop(Stalled, fmt.Sprintf("the card has not called for %d ms", silent.Milliseconds()))
	default:
		if age > retryMost {
			t.retry = 0 // it has lasted: the next failure is a first one
		}
		c.publish()
		return lookEvery
	}
	if age > lasting {
		return 0 // the first attempt is made at once
	}
	t.retry = longer(t.retry)
	return t.retry
}

// longer is the pause after one of d.
func longer(d time.Duration) time.Duration { return min(max(2*d, retryFirst), retryMost) }

func (c *Card) open(now time.Time) error {
	t := &c.tended
	list, err := c.cfg.Driver.Devices()
	if err != nil {
		return err
	}
	dev, err := choose(c.cfg.Device, list)
	if err != nil {
		return err
	}
	s := newSession(c.cfg.Now, c.cfg.Gate)
	stream, err := c.cfg.Driver.Open(dev.ID, c.period, s.exchange)
	if err != nil {
		return fmt.Errorf("%w; %s", err, listed(list))
	}
	t.stream, t.session, t.device, t.opened = stream, s, dev, now
	t.count++
	c.current.Store(s)
	c.change(Open, "")
	return nil
}

func (c *Card) backOff(err error) time.Duration {
	t := &c.tended
	t.retry = longer(t.retry)
	state := Lost
	if errors.Is(err, ErrNoCard) {
		state = Absent
	}
	c.change(state, err.Error())
	return t.retry
}

// drop lets go of the card. Closing may hang in a driver whose card has gone, so it has a goroutine; until it is back the
// card is not opened again.
func (c *Card) drop(state State, reason string) error {
	t := &c.tended
	c.current.Store(nil)
	t.xruns += t.session.xruns.Load()
	t.dropped += t.session.lost.Load()
	t.starved += t.session.starved.Load()
	stream, done := t.stream, make(chan error, 1)
	go func() { done <- stream.Close() }()
	t.closing, t.stream, t.session = done, nil, nil
	c.change(state, reason)
	return c.closed(closeSoon)
}

// closed waits for a Close under way.
func (c *Card) closed(most time.Duration) error {
	if c.tended.closing == nil {
		return nil
	}
	limit := time.NewTimer(most)
	defer limit.Stop()
	select {
	case err := <-c.tended.closing:
		c.tended.closing = nil
		return err
	case <-limit.C:
		return errStuck
	}
}

// end closes the card for good and waits for it.
func (c *Card) end() error {
	var err error
	if c.tended.stream != nil {
		err = c.drop(Closed, "")
	}
	if c.tended.closing != nil {
		err = c.closed(closeWait)
	}
	c.change(Closed, "")
	return err
}

func (c *Card) change(state State, reason string) {
	t := &c.tended
	if state == t.state && reason == t.reason {
		c.publish()
		return
	}
	t.state, t.reason = state, reason
	c.publish()
	s := c.Status()
	c.cfg.Log.LogAttrs(context.Background(), level(state), "sound card", attrs(s)...)
	if c.cfg.OnState != nil {
		c.cfg.OnState(s)
	}
}

// publish makes the snapshot that Status hands out.
func (c *Card) publish() {
	t := &c.tended
	s := Status{State: t.state, Device: t.device.ID, Name: t.device.Name, Reason: t.reason, Opened: t.count, Xruns: t.xruns}
	if s.Device == "" {
		s.Device = c.cfg.Device
	}
	lost, starved := t.dropped, t.starved
	if t.session != nil {
		s.Xruns += t.session.xruns.Load()
		lost += t.session.lost.Load()
		starved += t.session.starved.Load()
		s.MicrophoneFill = duration(c.mic.fill.Load())
		s.SpeakerFill = duration(c.speaker.fill.Load())
		s.PPM = float64(c.mic.drift.Load()) / 1000
	}
	s.Dropped = c.mic.dropped.Load() + c.speaker.dropped.Load() + (lost+audio.FrameSamples-1)/audio.FrameSamples
	s.Repeated = c.mic.repeated.Load() + starved
	c.shown.Store(&s)
}

// Status is the card as it was at most 50 ms ago.
func (c *Card) Status() Status { return *c.shown.Load() }
