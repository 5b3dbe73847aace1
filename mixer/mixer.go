// Package mixer decides nothing and mixes everything: who hears whom, a hundred times a second.
//
// It takes 10 ms from every source, adds them up for those who hear the same, and hands each listener a frame or an
// encoded packet. It knows sound and encoders. It must not know members, rooms, SIP, RTP or a sound card: a private room, a
// mute, a recorder are all just a Hearing.
//
//	Drain ─ sources ─ gate ─ sums by class and rate ─ rates joined ─┬─ limit ─ shared frame ─ shared encoder ─ many listeners
//	                                                                └─ less one's own ─ limit ─ own encoder ─ one talker
//
// A class is a set of sources that some listeners hear, themselves included. Tick is the pure step and Run the clock.
package mixer

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"parley/audio"
)

// PortID names a port. Whoever adds ports chooses it and uses it once.
type PortID uint32

// Source is what is heard.
type Source interface {
	// ReadFrame writes the next 10 ms at rate Hz to f. It is called once per tick on the mixer's goroutine and must
	// neither block nor allocate. A source that has sound at another rate only (for the few ticks of a change of
	// format) answers audio.Silent.
	ReadFrame(rate int, f *audio.Frame) audio.Status
}

// PacketSink takes encoded packets: a leg.
type PacketSink interface {
	// Format is what the sink wants. It is read when the port is added.
	Format() audio.Format
	// WritePacket is called once per ptime of f, with an empty payload when nothing is to be sent, so that the sink's clock
	// of samples goes on. payload is valid during the call only.
	WritePacket(f audio.Format, payload []byte)
}

// FrameSink takes 10 ms of 48 kHz: the card, the tape. f is valid during the call only and must not be changed, because
// others are given the same frame.
type FrameSink interface{ WriteFrame(f *audio.Frame) }

// Drain is called first in every tick: it reads every ready socket. now is the time of the tick.
type Drain interface{ Drain(now time.Time) }

// Port is one thing that is heard, or hears, or both.
type Port struct {
	ID PortID
	// Source is what is heard of the port. Its rate is that of Packets' format, or 48000 without Packets. nil: only hears.
	Source Source
	// Packets and Frames are where the port hears; at most one of them is set.
	Packets PacketSink
	Frames  FrameSink
	// Ungated lets everything through that is not digital silence. Without it, sound that is low and even counts as
	// nothing, so that the port shares its encoder with the other listeners.
	Ungated bool
}

// Hearing tells for each listener which sources it hears. Nobody hears himself, listed or not. Unknown ids are ignored. A port
// without a list hears silence, and one that is on no list is heard by nobody. Listeners may share one slice, which is also
// the quickest. The mixer keeps the Hearing: neither it nor its slices may be changed after SetHearing.
type Hearing map[PortID][]PortID

// Config is what a Mixer needs. All of it may be left out.
type Config struct {
	// Drain is called first in every tick.
	Drain Drain
	// Codecs are those whose formats a PacketSink may have.
	Codecs []audio.Codec
	// Now is the clock for Run; time.Now if nil. It must be monotonic.
	Now func() time.Time
	// OnGone is told of a source that answered audio.Gone: the port is silent and hears nothing from that tick on, and waits for
	// Remove. It is called on a goroutine of Run's and may block.
	OnGone func(PortID)
	// Priority is that of Run's thread among the machine's real-time threads (SCHED_FIFO), 1 to 99; 0 leaves it an ordinary
	// one. If it is not permitted, Run says so and goes on without.
	Priority int
	// Log gets what Run has to say, never from within a tick. nil: nothing is said.
	Log *slog.Logger
}

var (
	// ErrPort: a Port that has both kinds of sink.
	ErrPort = errors.New("mixer: a port has packets or frames, not both")
	// ErrFormat: a sink's format that no codec makes, or whose ptime or rate the mixer does not have.
	ErrFormat = errors.New("mixer: no encoder for this format")
)

// Mixer mixes one box's ports. Add, Remove, SetHearing and everything that only reads may be called from any goroutine.
type Mixer struct {
	config Config
	plan   atomic.Pointer[plan]
	stats  stats
	gone   chan PortID

	mu sync.Mutex // guards build, which makes the plans; never taken in a tick
	build
	tick ticker
}

// New makes a mixer at rest, without ports.
func New(c Config) *Mixer {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	m := &Mixer{config: c, gone: make(chan PortID, 64), build: newBuild()}
	m.tick.n = firstTick - 1
	m.rebuild()
	return m
}

// Add gives the mixer a port, or replaces the one of the same ID. What is the same in both (the source, the sink with its format)
// goes on without a seam. It takes effect at the next tick; until a Hearing names it, the port hears silence.
func (m *Mixer) Add(p Port) error {
	if p.Packets != nil && p.Frames != nil {
		return ErrPort
	}
	n := &port{id: p.ID, source: p.Source, packets: p.Packets, frames: p.Frames, ungated: p.Ungated, rate: fullRate}
	n.talk = newTalk()
	if p.Packets != nil {
		f := p.Packets.Format()
		ri, ok := rateIndex(f.SampleRate)
		if !ok || f.Ptime < 10 || f.Ptime > maxPtime || f.Ptime%10 != 0 {
			return fmt.Errorf("%w: %+v", ErrFormat, f)
		}
		s, err := m.newStream(f)
		if err != nil {
			return err
		}
		n.format, n.rate, n.own = f, ri, s
		n.cur = s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.ports[p.ID]; old != nil {
		n.prev = old
		n.sameSource = same(old.source, n.source) && old.rate == n.rate
		n.sameSink = same(old.packets, n.packets) && same(old.frames, n.frames) && old.format == n.format
	}
	m.ports[p.ID] = n
	m.rebuild()
	return nil
}

// same compares two interface values that may hold anything.
func same(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return reflect.TypeOf(a).Comparable() && a == b
}

// Remove takes a port away. At the next tick nothing of it is called any more.
func (m *Mixer) Remove(id PortID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ports[id] == nil {
		return
	}
	delete(m.ports, id)
	m.rebuild()
}

// SetHearing replaces who hears whom, whole, between two ticks.
func (m *Mixer) SetHearing(h Hearing) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hearing = h
	m.rebuild()
}

// rebuild makes the next plan. A shared encoder that cannot be made is no error: its listeners keep their own.
func (m *Mixer) rebuild() {
	p, err := m.build.next(m.newStream)
	if err != nil {
		m.config.Log.Error("mixer: shared encoder", "err", err)
	}
	m.plan.Store(p)
}

func (m *Mixer) newStream(f audio.Format) (*stream, error) {
	for _, c := range m.config.Codecs {
		if c.Format().Codec != f.Codec {
			continue
		}
		enc, err := c.NewEncoder(f)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		return newStream(f, enc), nil
	}
	return nil, fmt.Errorf("%w: %s", ErrFormat, f.Codec)
}
