package card

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"parley/audio"
)

// The way of the sound, two clocks and two rings:
//
//	card's thread                          mixer's goroutine
//	microphone → valve → ring of 48 kHz →  resampler, steered by the ring's fill → duck → valve → ReadFrame
//	speaker   ←  ramp  ← ring of 48 kHz ←  resampler, steered by the ring's fill ← volume ← WriteFrame

// Config is what a Card needs to know.
type Config struct {
	// Device names the card: empty or "default" for the first that has a microphone and a speaker, an ALSA name with a colon
	// as it is ("plughw:CARD=Device,DEV=0"), or a part of its name.
	Device string
	// Period is the card's, default 10 ms.
	Period time.Duration
	// Gate is obeyed before the ring and again after it. Nil: the card cannot be muted.
	Gate *audio.Gate
	// Volume is the speaker's at the start, 0 … 100.
	Volume int
	// Duck attenuates the microphone while the speaker plays; nil: never.
	Duck *DuckConfig
	// Driver opens it; nil is System{}.
	Driver Driver
	// OnState is called on Run's goroutine with every change of State.
	OnState func(Status)
	// Log is told of changes of State; nil: nobody.
	Log *slog.Logger
	// Now is the monotonic clock of mixer and card, default time.Now. It is called from the card's thread too.
	Now func() time.Time
}

// State is how the card is.
type State uint8

const (
	// Closed: Run has not begun or has ended.
	Closed State = iota
	// Open: sound goes both ways.
	Open
	// Absent: there is no such card.
	Absent
	// Lost: it was open and has gone, or it cannot be opened.
	Lost
	// Stalled: it is open and has stopped calling.
	Stalled
)

func (s State) String() string {
	return [...]string{"closed", "open", "absent", "lost", "stalled"}[s]
}

// Status is a snapshot. Counters grow over all openings.
type Status struct {
	State  State
	Device string // ALSA's name of what is or was open
	Name   string // for people
	Reason string // why it is not open
	Opened int    // how often

	Xruns    uint64 // holes in the card's calls
	Dropped  uint64 // frames of 10 ms thrown away, both ways
	Repeated uint64 // frames of 10 ms that were missing and made up, both ways

	MicrophoneFill time.Duration // in the ring towards the mixer
	SpeakerFill    time.Duration // in the ring towards the card
	PPM            float64       // how much faster the card's clock is than the mixer's
}

// Card is a sound card as one port of the mixer: ReadFrame is its Source, WriteFrame its FrameSink, both for the mixer's
// goroutine. The rest is for any.
type Card struct {
	cfg    Config
	period int // samples

	current atomic.Pointer[session]
	vol     volume
	mic     micSide
	speaker speakerSide
	duck    *Duck

	tended tended // of Run's goroutine
	shown  atomic.Pointer[Status]
}

// New makes a card at rest: until Run it is silent.
func New(cfg Config) *Card {
	if cfg.Period <= 0 {
		cfg.Period = audio.FrameDuration
	}
	if cfg.Driver == nil {
		cfg.Driver = System{}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Card{cfg: cfg, period: int(cfg.Period * audio.SampleRate / time.Second)}
	c.vol.start(cfg.Volume)
	c.mic.valve = audio.NewValve(cfg.Gate)
	if cfg.Duck != nil {
		c.duck = NewDuck(*cfg.Duck)
	}
	c.shown.Store(&Status{Device: cfg.Device})
	return c
}

// SetVolume sets the speaker's volume, 0 (silence) … 100, in steps of half a dB.
func (c *Card) SetVolume(percent int) { c.vol.set(percent) }

// Volume is the speaker's, 0 … 100.
func (c *Card) Volume() int { return int(c.vol.percent.Load()) }

// Devices lists the cards that there are now.
func (c *Card) Devices() ([]Device, error) { return c.cfg.Driver.Devices() }

// Run opens the card, again and again when it is lost, until ctx ends. It returns nil then; that a card is missing is a
// state and no error.
func (c *Card) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return c.end()
		case <-timer.C:
			timer.Reset(c.tend(c.cfg.Now()))
		}
	}
}

func level(s State) slog.Level {
	if s == Open || s == Closed {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

func attrs(s Status) []slog.Attr {
	list := []slog.Attr{slog.String("state", s.State.String()), slog.String("device", s.Device)}
	if s.Reason != "" {
		list = append(list, slog.String("reason", s.Reason))
	}
	return list
}
