// The sound of a call: offer and answer on one side, the leg on the other.

package sip

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"parley/audio"
	"parley/sip/rtp"
	"parley/sip/sdp"
)

// media belongs to its call's goroutine.
type media struct {
	agent  *Agent
	leg    *rtp.Leg
	codecs []audio.Codec
	policy sdp.Policy
	key    []byte     // our SRTP master key and salt, kept over re-INVITEs
	addr   netip.Addr // ours as the far end is to see it
	peer   netip.Addr // the far end's signalling address
	nat    bool       // it is behind NAT
	port   int        // wished for; 0: any
	ssrc   uint32     // the same

	stands  *sdp.Description // ours in force
	offered *sdp.Description // ours that waits for its answer
	agreed  *sdp.Agreed
	format  audio.Format
	hold    bool // we hold
}

// change is what a new agreement altered.
type change struct{ media, held, resumed bool }

// prepare sets what does not change during a call.
func (m *media) prepare(a *Agent, codecs []audio.Codec, policy sdp.Policy, secure bool) error {
	if len(codecs) == 0 {
		codecs = a.cfg.Codecs
	}
	if !secure && !a.cfg.SRTPInsecure {
		if policy == sdp.Require {
			return fmt.Errorf("%w without TLS", sdp.ErrCryptoRequired)
		}
		policy = sdp.Disable
	}
	m.agent, m.codecs, m.policy = a, codecs, policy
	m.key = make([]byte, sdp.KeySize)
	rand.Read(m.key)
	return nil
}

// open takes ports and makes the leg, once.
func (m *media) open(peer hop) error {
	if m.leg != nil {
		return nil
	}
	host := m.agent.mediaHost(peer)
	if !host.IsValid() {
		return fmt.Errorf("sip: advertised host has no address")
	}
	sockets, err := m.sockets()
	if err != nil {
		return err
	}
	leg, err := rtp.NewLeg(rtp.LegConfig{
		Sockets: sockets,
		Poller:  m.agent.cfg.Poller,
		Codecs:  m.agent.cfg.Codecs,
		CNAME:   token(8),
		Jitter:  m.agent.cfg.JitterTarget,
		SSRC:    m.ssrc,
		Now:     m.agent.cfg.Now,
	})
	if err != nil {
		sockets.Close()
		return err
	}
	m.leg, m.addr = leg, host
	return nil
}

// sockets are those of the port wished for if it is free, else any: the far end is told which.
func (m *media) sockets() (*rtp.Sockets, error) {
	if m.port != 0 {
		if s, err := m.agent.cfg.Ports.OpenAt(m.port); err == nil {
			return s, nil
		}
	}
	return m.agent.cfg.Ports.Open()
}

func (m *media) close() {
	if m.leg != nil {
		m.leg.Close()
	}
}

// events is the leg's channel, nil before there is one.
func (m *media) events() <-chan rtp.Event {
	if m.leg == nil {
		return nil
	}
	return m.leg.Events()
}

// local is what we can and want at the moment.
func (m *media) local() sdp.Local {
	l := sdp.Local{
		Origin:    sdp.Origin{Username: "-", ID: sessionID(), Version: 1, Addr: m.addr},
		Events:    true,
		Direction: sdp.SendRecv,
		Mux:       true,
		SRTP:      m.policy,
		Key:       m.key,
	}
	if m.leg != nil {
		l.Addr = netip.AddrPortFrom(m.addr, uint16(m.leg.LocalPort()))
	}
	if m.hold {
		l.Direction = sdp.SendOnly
	}
	for _, c := range m.codecs {
		f := c.Format()
		e := sdp.Codec{Name: f.Codec, ClockRate: f.ClockRate, Channels: 1, Fmtp: f.Fmtp}
		if f.Codec == "opus" {
			e.Channels = 2 // RFC 7587, 7: always, also for mono
		}
		l.Codecs = append(l.Codecs, e)
		l.Ptime = max(l.Ptime, f.Ptime)
	}
	return l
}

func sessionID() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:]) >> 2
}

// offer is ours, the first or a later one. It counts once an answer was accepted.
func (m *media) offer() []byte {
	m.offered = sdp.Offer(m.local(), m.stands)
	return m.offered.Marshal()
}

// accept takes the far end's answer to offer.
func (m *media) accept(body []byte) (change, error) {
	if m.offered == nil {
		return change{}, fmt.Errorf("%w: answer without offer", ErrState)
	}
	answer, err := sdp.Parse(body)
	if err != nil {
		return change{}, err
	}
	agreed, err := sdp.Accept(m.offered, answer, m.local())
	if err != nil {
		return change{}, err
	}
	ch, err := m.apply(agreed)
	if err == nil {
		m.stands = m.offered // kept: another answer of the same fork, or of another one, may follow
	}
	return ch, err
}

// check reports whether an offer could be answered, without answering it.
func (m *media) check(body []byte) error {
	offer, err := sdp.Parse(body)
	if err != nil {
		return err
	}
	l := m.local()
	l.Addr = netip.AddrPortFrom(netip.IPv4Unspecified(), 9)
	_, _, err = sdp.Answer(offer, l, nil)
	return err
}

// answer takes the far end's offer and answers it.
func (m *media) answer(body []byte) ([]byte, change, error) {
	offer, err := sdp.Parse(body)
	if err != nil {
		return nil, change{}, err
	}
	ours, agreed, err := sdp.Answer(offer, m.local(), m.stands)
	if err != nil {
		return nil, change{}, err
	}
	ch, err := m.apply(agreed)
	if err != nil {
		return nil, change{}, err
	}
	m.stands, m.offered = ours, nil
	return ours.Marshal(), ch, nil
}

// apply sets the leg to what was agreed.
func (m *media) apply(ag *sdp.Agreed) (change, error) {
	codec := m.find(ag.Codec.Name)
	if codec == nil {
		return change{}, sdp.ErrNoCommonCodec
	}
	f := codec.Format()
	f.Ptime = ag.Ptime
	p := rtp.Params{
		Codec: codec, Format: f,
		PayloadType: ag.Codec.PayloadType, EventPT: ag.EventPT, EventClock: ag.EventClock,
		Remote: ag.Remote, RemoteRTCP: ag.RemoteRTCP, Mux: ag.Mux,
		Send: ag.Send, Receive: ag.Receive,
	}
	// Sound is taken from the address in the description. If that is not where signalling comes from, the far end may not
	// know its own address: then the first valid packet from there counts too.
	if m.nat || ag.Remote.IsValid() && ag.Remote.Addr().Unmap() != m.peer {
		p.Latch = m.peer
	}
	if ag.SRTP != nil {
		p.SRTP = &rtp.Keys{Suite: ag.SRTP.Suite, Local: ag.SRTP.Local, Remote: ag.SRTP.Remote}
	}
	if err := m.leg.Configure(p); err != nil {
		return change{}, err
	}
	old := m.agreed
	ch := change{media: old == nil || f != m.format || old.Send != ag.Send || old.Receive != ag.Receive}
	ch.held = ag.Held && (old == nil || !old.Held)
	ch.resumed = !ag.Held && old != nil && old.Held
	m.agreed, m.format = ag, f
	return ch, nil
}

func (m *media) find(name string) audio.Codec {
	for _, c := range m.codecs {
		if c.Format().Codec == name {
			return c
		}
	}
	return nil
}

// ready reports whether there is an agreement, so that the leg can be heard.
func (m *media) ready() bool { return m.agreed != nil }

// mediaHost is the address that goes into SDP towards peer; not valid if the advertised name has none.
func (a *Agent) mediaHost(peer hop) netip.Addr {
	h, err := netip.ParseAddr(a.localHost(peer))
	if err != nil {
		h, _ = a.net.resolveAdvertised()
	}
	return h.Unmap()
}

// publish makes the state of the media known to others.
func (c *Call) publish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leg = c.media.leg
	c.info.Format = c.media.format
	c.info.HeldHere = c.media.hold
	if ag := c.media.agreed; ag != nil {
		c.info.SRTP = ag.SRTP != nil
		c.info.HeldThere = ag.Held
	}
}

// tell turns a change into events.
func (c *Call) tell(ch change) {
	if c.State() == Restoring {
		c.restored()
		return
	}
	c.publish()
	if ch.media {
		c.emit(Event{Kind: MediaChanged})
	}
	switch {
	case ch.held:
		c.emit(Event{Kind: Held})
	case ch.resumed:
		c.emit(Event{Kind: Resumed})
	}
	c.watch.since = c.agent.cfg.Now()
}

// mediaWatch notices that a far end has gone without a word.
type mediaWatch struct {
	since time.Time // from when on RTP is due
	lost  bool
}

// watchMedia looks at when the last packet came.
func (c *Call) watchMedia() {
	ag := c.media.agreed
	if ag == nil || c.State() != Talking {
		return
	}
	now := c.agent.cfg.Now()
	if !ag.Receive || ag.Held || c.media.hold {
		c.watch.since = now
		return
	}
	st := c.media.leg.Stats()
	silent := st.Age(now, c.watch.since)
	t := c.agent.cfg.Timers
	switch {
	case silent >= t.MediaEnd:
		c.bye(408, "no media", Watchdog)
	case silent >= t.MediaAlert && !c.watch.lost:
		c.watch.lost = true
		c.emit(Event{Kind: MediaLost})
	case silent < t.MediaAlert && c.watch.lost:
		c.watch.lost = false
		c.emit(Event{Kind: MediaBack})
	}
}
