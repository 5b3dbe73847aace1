package rtp

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"parley/audio"
	"parley/sip/jitter"
)

const eventQueue = 64

// LegConfig sets up a Leg.
type LegConfig struct {
	Sockets *Sockets      // the Leg closes them
	Poller  *Poller       // receives for it
	Codecs  []audio.Codec // where Params names none
	CNAME   string        // of RTCP (RFC 3550, 6.5.1), at most 64 bytes are sent; empty: random
	// Jitter is the jitter buffer's target; 0 is its default.
	Jitter time.Duration
	// SSRC is that of what is sent first, for a stream that goes on after the program was started again; 0 is random.
	SSRC uint32
	Now  func() time.Time // for Close and Configure; nil: time.Now
}

// Leg is the media of one call: a port of the mixer. ReadFrame, WritePacket and its Poller's Drain belong to one goroutine.
type Leg struct {
	conf   LegConfig
	sock   *Sockets
	poller *Poller
	events chan Event
	tones  chan tone
	emit   func(Event) // the method, bound once so that the tick does not allocate

	conf1  sync.Mutex // orders Configure
	keys   contexts   // Configure's
	params atomic.Pointer[params]

	// The tick is inside, or Close. The tick only tries: Close is the only other one, and holds it for one last packet.
	mu   sync.Mutex
	done bool
	cur  *params // what the tick goes by; it takes l.params up at its next call

	dst, dstRTCP destination // after latching
	latched      bool
	latchedRTCP  bool

	buffer *jitter.Buffer
	src    source
	roc    uint32   // of the source under the key before
	oldIn  *context // the key before, until something comes under the new one
	heard  listening
	play   player
	out    outbound
	rep    reports
	stats  Stats

	ssrc   atomic.Uint32
	closed atomic.Bool
	pub    struct {
		sync.Mutex // held for a copy; the tick tries, and publishes the next time if a reader is in
		Stats
	}
}

// params is what one Configure has made: immutable, but for what the tick alone uses (the decoder, the SRTP contexts).
type params struct {
	Params
	decoder      audio.Decoder
	dst, dstRTCP destination
	in, sealer   *context
}

// outbound is the state of what we send.
type outbound struct {
	ssrc    uint32
	seq     uint16
	ts      uint32
	talking bool // the packet before had sound
	any     bool // something was sent
	last    time.Time
	rolled  bool // the sequence numbers have wrapped
	dial    dialing
	buf     [maxPacket]byte
}

// NewLeg makes a leg that is silent in both directions until it is configured. On an error the sockets are still the caller's.
func NewLeg(c LegConfig) (*Leg, error) {
	if c.Sockets == nil || c.Poller == nil {
		return nil, fmt.Errorf("%w: a leg needs sockets and a poller", ErrParams)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.CNAME == "" {
		c.CNAME = fmt.Sprintf("%016x", rand.Uint64())
	}
	c.CNAME = c.CNAME[:min(len(c.CNAME), maxCNAME)]
	l := &Leg{conf: c, sock: c.Sockets, poller: c.Poller, events: make(chan Event, eventQueue), tones: make(chan tone, toneQueue),
		buffer: jitter.New(jitter.Config{Target: c.Jitter, ClockRate: 8000})}
	l.emit = l.event
	// A sequence number below 2^15 spares SRTP receivers a guess at the first roll-over (RFC 3711, 3.3.1).
	l.out.ssrc, l.out.seq, l.out.ts = cmp.Or(c.SSRC, rand.Uint32()), uint16(rand.IntN(1<<15)), rand.Uint32()
	l.ssrc.Store(l.out.ssrc)
	if err := c.Poller.add(l); err != nil {
		return nil, err
	}
	return l, nil
}

// Configure sets what is sent and received, from the tick's next call on. What does not change goes on undisturbed: the
// decoder, the SRTP counters, the stream. ErrParams, ErrClosed: nothing has changed.
func (l *Leg) Configure(p Params) error {
	l.conf1.Lock()
	defer l.conf1.Unlock()
	if l.closed.Load() {
		return ErrClosed
	}
	n := &params{Params: p}
	if err := l.check(n); err != nil {
		return err
	}
	prev := l.params.Load()
	if prev != nil && sameDecoder(prev.Format, n.Format) {
		n.decoder = prev.decoder
	} else {
		dec, err := n.Codec.NewDecoder(n.Format)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrParams, err)
		}
		n.decoder = dec
	}
	if p.SRTP != nil {
		k := Keys{Suite: p.SRTP.Suite, Local: bytes.Clone(p.SRTP.Local), Remote: bytes.Clone(p.SRTP.Remote)}
		n.SRTP = &k
		var err error
		if n.in, err = l.keys.get(k.Suite, k.Remote, true); err != nil {
			return err
		}
		if n.sealer, err = l.keys.get(k.Suite, k.Local, false); err != nil {
			return err
		}
	}
	n.dst = makeDestination(n.Remote, l.sock.v6)
	n.dstRTCP = makeDestination(n.RemoteRTCP, l.sock.v6)
	l.params.Store(n)
	return nil
}

// sameDecoder tells whether a decoder can go on: what the packets look like is the same, whatever their length.
func sameDecoder(a, b audio.Format) bool {
	a.Ptime, a.Fmtp, b.Ptime, b.Fmtp = 0, "", 0, ""
	return a == b
}

// check validates parameters and fills in what they leave open.
func (l *Leg) check(p *params) error {
	f := p.Format
	for i := range l.conf.Codecs {
		if p.Codec == nil && l.conf.Codecs[i].Format().Codec == f.Codec {
			p.Codec = l.conf.Codecs[i]
		}
	}
	switch {
	case p.Codec == nil:
		return fmt.Errorf("%w: no codec %q", ErrParams, f.Codec)
	case f.SampleRate != 8000 && f.SampleRate != 16000 && f.SampleRate != 48000:
		return fmt.Errorf("%w: %d Hz", ErrParams, f.SampleRate)
	case f.ClockRate != 8000 && f.ClockRate != 16000 && f.ClockRate != 48000:
		return fmt.Errorf("%w: an RTP clock of %d Hz", ErrParams, f.ClockRate)
	case f.Ptime < 10 || f.Ptime > 60 || f.Ptime%10 != 0:
		return fmt.Errorf("%w: packets of %d ms", ErrParams, f.Ptime)
	case p.PayloadType > 127 || p.EventPT > 127 || p.EventPT < -1:
		return fmt.Errorf("%w: payload types %d and %d", ErrParams, p.PayloadType, p.EventPT)
	case p.EventPT == int(p.PayloadType):
		return fmt.Errorf("%w: sound and events under payload type %d", ErrParams, p.EventPT)
	case p.EventClock < 0 || p.EventClock > 48000 || p.EventClock != 0 && p.EventClock < 8000:
		return fmt.Errorf("%w: events at %d Hz", ErrParams, p.EventClock)
	}
	if p.EventClock == 0 {
		p.EventClock = f.ClockRate
	}
	p.Remote, p.RemoteRTCP, p.Latch = plain(p.Remote), plain(p.RemoteRTCP), p.Latch.Unmap().WithZone("")
	if p.Mux {
		p.RemoteRTCP = p.Remote
	} else if !p.RemoteRTCP.IsValid() && p.Remote.IsValid() && p.Remote.Port() < 65535 {
		p.RemoteRTCP = netip.AddrPortFrom(p.Remote.Addr(), p.Remote.Port()+1)
	}
	return nil
}

// plain is an address as it is compared: IPv4 as such, no zone. Port 0 and the unspecified address are nobody's.
func plain(a netip.AddrPort) netip.AddrPort {
	if !a.IsValid() || a.Port() == 0 || a.Addr().IsUnspecified() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// adopt takes up what Configure has left. It is called at the head of everything that the tick does.
func (l *Leg) adopt() bool {
	n := l.params.Load()
	if n == l.cur {
		return n != nil
	}
	old := l.cur
	l.cur = n
	if n.EventPT < 0 || !n.Send {
		l.hush()
	}
	if old == nil || old.decoder != n.decoder || old.Receive && !n.Receive {
		l.buffer.Reset(n.Format.ClockRate)
		l.play.clear()
	}
	if old == nil || old.Remote != n.Remote || old.RemoteRTCP != n.RemoteRTCP || old.Latch != n.Latch || old.Mux != n.Mux {
		l.dst, l.dstRTCP, l.latched, l.latchedRTCP = n.dst, n.dstRTCP, false, false
	}
	if old == nil {
		return true
	}
	if old.Remote != n.Remote || old.Format.ClockRate != n.Format.ClockRate {
		l.src = source{} // another sender, whom nobody has to believe by and by
		l.roc = 0
	}
	if old.in != n.in {
		l.roc, l.oldIn = old.in.rollovers(l.src.ssrc), old.in
		if n.in == nil {
			l.oldIn = nil
		}
	}
	if old.sealer != n.sealer && l.out.rolled {
		// Whether a new key sets the roll-over count back is understood in two ways; a new stream has it at zero for all.
		l.restream()
	}
	return true
}

// restream goes on as another synchronisation source.
func (l *Leg) restream() {
	l.out.ssrc, l.out.seq, l.out.rolled, l.out.talking = rand.Uint32(), uint16(rand.IntN(1<<15)), false, false
	l.ssrc.Store(l.out.ssrc)
	l.rep.packets, l.rep.bytes = 0, 0
}

// event leaves the tick through a queue; what does not fit is counted. Talk spurts fill no more than half of it, so that they
// take no digit's place.
func (l *Leg) event(e Event) {
	if (e.Kind == SpurtStart || e.Kind == SpurtEnd) && len(l.events) >= eventQueue/2 {
		l.stats.EventsLost++
		return
	}
	select {
	case l.events <- e:
	default:
		l.stats.EventsLost++
	}
}

// Events gives what the tick has seen. The channel is closed by Close. Who does not read loses events, nothing else.
func (l *Leg) Events() <-chan Event { return l.events }

// Format is what WritePacket takes, and the rate of ReadFrame. Before the first Configure it is the zero Format.
func (l *Leg) Format() audio.Format {
	if p := l.params.Load(); p != nil {
		return p.Format
	}
	return audio.Format{}
}

// LocalPort is the RTP port; RTCP has the next one.
func (l *Leg) LocalPort() int { return l.sock.rtpPort }

// SSRC is the synchronisation source of what we send. It changes only when SRTP keys do.
func (l *Leg) SSRC() uint32 { return l.ssrc.Load() }

// SendDTMF queues a digit as telephone event of length d, 40 ms to 8 s (1.3 s where events have a clock of 48 kHz). Sound
// pauses while it lasts; the next digit follows after 60 ms. Digits that wait when sending ends (hold) are forgotten.
func (l *Leg) SendDTMF(digit byte, d time.Duration) error {
	t, ok := toneFor(digit, d)
	if !ok {
		return ErrDigit
	}
	if l.closed.Load() {
		return ErrClosed
	}
	p := l.params.Load()
	if p == nil || p.EventPT < 0 || !p.Send {
		return ErrNoEvents
	}
	select {
	case l.tones <- t:
		return nil
	default:
		return ErrBusy
	}
}

// Close says goodbye to the far end (RTCP BYE, if anything was ever sent), closes the sockets and ends Events. Later calls do
// nothing; a mixer that still has the leg hears audio.Gone.
func (l *Leg) Close() {
	l.poller.remove(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return
	}
	l.done = true
	l.closed.Store(true)
	if l.cur != nil && (l.out.any || l.rep.any) {
		l.sendReport(l.conf.Now(), true)
	}
	l.publish()
	l.sock.Close()
	close(l.events)
}
