// Package cardtest is a sound card for tests: it has a clock of its own, and may drift, stall, be unplugged or refuse.
//
// It knows card's Driver and nothing of the mixer.
package cardtest

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"parley/audio"
	"parley/audio/card"
)

// ErrBusy is what a Driver that refuses gives.
var ErrBusy = errors.New("cardtest: the card is busy")

// Clock is a clock that stands still until it is moved. Now is for any goroutine.
type Clock struct {
	start time.Time
	ns    atomic.Int64
}

// NewClock makes a clock that stands at start.
func NewClock(start time.Time) *Clock { return &Clock{start: start} }

// Now is the time.
func (c *Clock) Now() time.Time { return c.start.Add(time.Duration(c.ns.Load())) }

// Set moves the clock to t.
func (c *Clock) Set(t time.Time) { c.ns.Store(int64(t.Sub(c.start))) }

// Driver has one card. Its calls come from Advance, so that a test decides when. The exported fields are to be set before the
// first use; the methods are for any goroutine.
type Driver struct {
	Clock *Clock
	// PPM is how much faster the card's clock is than Clock.
	PPM float64
	// Late delays the n-th call within its period; nil: never. It is what scheduling does to a real one.
	Late func(n int) time.Duration
	// Microphone fills pcm with what the microphone hears from the given sample on; nil: silence.
	Microphone func(pcm []int16, from uint64)
	// Speaker is given what is played; nil: nobody listens. The slice is the card's.
	Speaker func(pcm []int16)

	mu       sync.Mutex
	list     []card.Device
	refuse   bool
	stalled  bool
	hang     chan struct{}
	stream   *stream
	opened   int
	from     uint64
	speaker  []int16
	captured []int16
}

// device is the card that a new Driver has.
var device = card.Device{ID: "plughw:CARD=Fake,DEV=0", Name: "Fake", Card: 1, Capture: true, Playback: true}

// NewDriver makes a driver whose card is plugged in.
func NewDriver(c *Clock) *Driver { return &Driver{Clock: c, list: []card.Device{device}} }

// Plug puts cards in place of those that were there; none: the machine has no card any more.
func (d *Driver) Plug(list ...card.Device) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = list
	if len(list) == 0 && d.stream != nil {
		d.stream.gone.Store(true)
	}
}

// Replug puts the first card back.
func (d *Driver) Replug() { d.Plug(device) }

// Stall makes an open card stop calling, without a word, or call again.
func (d *Driver) Stall(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stalled = on
}

// Refuse makes Open fail.
func (d *Driver) Refuse(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = on
}

// Hang makes Close wait until release is called.
func (d *Driver) Hang() (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hang = make(chan struct{})
	return sync.OnceFunc(func() { close(d.hang) })
}

// Opened is how often the card has been opened.
func (d *Driver) Opened() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opened
}

// Devices lists what is plugged in.
func (d *Driver) Devices() ([]card.Device, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]card.Device(nil), d.list...), nil
}

// Open opens the card.
func (d *Driver) Open(id string, period int, exchange card.Exchange) (card.Stream, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse || len(d.list) == 0 {
		return nil, ErrBusy
	}
	d.opened++
	d.speaker, d.captured = make([]int16, period), make([]int16, period)
	d.stream = &stream{driver: d, exchange: exchange, hang: d.hang, began: d.Clock.Now()}
	return d.stream, nil
}

// Advance lets the card make all the calls that are due by the time t, each at its own moment of Clock, and leaves Clock at t.
func (d *Driver) Advance(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.stream; s != nil && !s.gone.Load() {
		for {
			due := s.due(s.calls + 1)
			if due.After(t) {
				break
			}
			s.calls++
			if !d.stalled {
				d.Clock.Set(due)
				d.call(s)
			}
		}
	}
	d.Clock.Set(t)
}

func (d *Driver) call(s *stream) {
	clear(d.captured)
	if d.Microphone != nil {
		d.Microphone(d.captured, d.from)
	}
	d.from += uint64(len(d.captured))
	s.exchange(d.speaker, d.captured)
	if d.Speaker != nil {
		d.Speaker(d.speaker)
	}
}

type stream struct {
	driver   *Driver
	exchange card.Exchange
	hang     chan struct{}
	began    time.Time
	calls    int
	gone     atomic.Bool
}

// due is when the n-th call comes.
func (s *stream) due(n int) time.Time {
	seconds := float64(n*len(s.driver.speaker)) / (audio.SampleRate * (1 + s.driver.PPM/1e6))
	at := s.began.Add(time.Duration(seconds * float64(time.Second)))
	if s.driver.Late != nil {
		at = at.Add(s.driver.Late(n))
	}
	return at
}

func (s *stream) Alive() bool { return !s.gone.Load() }

func (s *stream) Close() error {
	if s.hang != nil {
		<-s.hang
	}
	s.driver.mu.Lock()
	defer s.driver.mu.Unlock()
	s.gone.Store(true)
	if s.driver.stream == s {
		s.driver.stream = nil
	}
	return nil
}
