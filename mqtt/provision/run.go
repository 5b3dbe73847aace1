package provision

import (
	"bytes"
	"context"
	"log/slog"
	"reflect"
	"time"

	"parley/mqtt/wire"
)

// Settings takes settings from outside, on trial first. Make it with NewSettings; Run is its life.
type Settings struct {
	machine *machine
	rim     Rim
	in      chan []byte
	told    *wire.Reported
}

// Rim is what a Settings does to the world. None of it may block for long.
type Rim struct {
	Facts  func() Facts
	Report func(wire.Reported)
	Begin  func(trial uint64) // anew: with that version on trial, or, 0, with what is good
	Now    func() time.Time   // nil: time.Now
	Log    *slog.Logger
}

// NewSettings makes one at rest.
func NewSettings(c Config, r Rim) *Settings {
	if r.Now == nil {
		r.Now = time.Now
	}
	return &Settings{machine: newMachine(c), rim: r, in: make(chan []byte, 1)}
}

// Receive takes what came as desired settings. It does not block and may be called from any goroutine; of several that wait the last
// one counts.
func (s *Settings) Receive(envelope []byte) {
	envelope = bytes.Clone(envelope)
	for {
		select {
		case s.in <- envelope:
			return
		default:
		}
		select {
		case <-s.in:
		default:
		}
	}
}

// pause is the time between two looks at how the box stands.
const pause = 200 * time.Millisecond

// Run judges what comes and looks after what is on trial, until ctx ends.
func (s *Settings) Run(ctx context.Context) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		o := s.machine.look(s.rim.Now(), s.rim.Facts())
		s.tell()
		if o.Begin {
			s.rim.Begin(o.Trial)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case envelope := <-s.in:
			s.machine.receive(s.rim.Now(), envelope)
		}
	}
}

// tell reports what is news.
func (s *Settings) tell() {
	r := s.machine.report()
	if s.told != nil && reflect.DeepEqual(*s.told, r) {
		return
	}
	if x := r.Rejected; x != nil && (s.told == nil || !reflect.DeepEqual(s.told.Rejected, x)) {
		s.rim.Log.Warn("settings from outside do not hold", "version", x.Version, "reason", x.Reason, "path", x.Path, "detail", x.Detail)
	}
	if r.Trial == nil && r.Good != nil && (s.told == nil || s.told.Good == nil || s.told.Good.Version != r.Good.Version || s.told.Trial != nil) {
		s.rim.Log.Info("settings from outside are in force", "version", r.Good.Version)
	}
	s.told = &r
	s.rim.Report(r)
}
