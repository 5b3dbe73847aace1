package rtp

import (
	"math"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parley/audio"
	"parley/audio/g711"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// rig is legs on one Poller, ticked by a clock of the test's, and far ends made of plain sockets.
type rig struct {
	t      testing.TB
	poller *Poller
	now    time.Time
	legs   []*Leg
}

func newRig(t testing.TB) *rig {
	t.Helper()
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	p.IgnoreKernelTime()
	r := &rig{t: t, poller: p, now: time.Unix(1_750_000_000, 0)}
	t.Cleanup(func() {
		for _, l := range r.legs {
			l.Close()
		}
		p.Close()
	})
	return r
}

func (r *rig) leg(bind netip.Addr) *Leg {
	r.t.Helper()
	s, err := NewPorts(PortsConfig{Bind: bind}).Open()
	if err != nil {
		r.t.Fatal(err)
	}
	l, err := NewLeg(LegConfig{Sockets: s, Poller: r.poller, Codecs: []audio.Codec{g711.PCMU(), g711.PCMA(), wide{}}, CNAME: "leg@test",
		Now: func() time.Time { return r.now }})
	if err != nil {
		r.t.Fatal(err)
	}
	r.legs = append(r.legs, l)
	return l
}

// tick is one tick of the mixer's: 10 ms later.
func (r *rig) tick() {
	r.now = r.now.Add(10 * time.Millisecond)
	r.poller.Drain(r.now)
}

// arrive waits until the kernel has something for a socket, so that the next tick sees it.
func (r *rig) arrive(fd int) {
	r.t.Helper()
	pfd := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(5 * time.Second); ; {
		if n, _ := unix.Poll(pfd, 1000); n == 1 {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatal("nothing arrives")
		}
	}
}

func (r *rig) configure(l *Leg, p Params) {
	r.t.Helper()
	if err := l.Configure(p); err != nil {
		r.t.Fatal(err)
	}
}

// pcmu are parameters for PCMU with the far end at a port of 127.0.0.1.
func pcmu(port int) Params {
	return Params{Format: g711.PCMU().Format(), PayloadType: 0, EventPT: 101, Send: true, Receive: true,
		Remote: netip.AddrPortFrom(loopback, uint16(port))}
}

// pair is two legs that talk to each other.
func (r *rig) pair(change func(p *Params)) (a, b *Leg) {
	a, b = r.leg(loopback), r.leg(loopback)
	for _, x := range []struct{ l, far *Leg }{{a, b}, {b, a}} {
		p := pcmu(x.far.LocalPort())
		if change != nil {
			change(&p)
		}
		r.configure(x.l, p)
	}
	return a, b
}

// peer is a far end made of a plain UDP socket.
type peer struct {
	t    testing.TB
	c    *net.UDPConn
	dst  *net.UDPAddr
	seq  uint16
	ts   uint32
	ssrc uint32
	pt   uint8
}

func newPeer(t testing.TB, to *Leg) *peer {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &peer{t: t, c: c, dst: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: to.LocalPort()}, seq: 65530, ts: 1<<32 - 800, ssrc: 0x1234}
}

func (p *peer) port() int { return p.c.LocalAddr().(*net.UDPAddr).Port }

func (p *peer) raw(b []byte) {
	p.t.Helper()
	if _, err := p.c.WriteToUDP(b, p.dst); err != nil {
		p.t.Fatal(err)
	}
}

// packet makes the peer's next packet.
func (p *peer) packet(payload []byte) []byte {
	b := make([]byte, headerSize, headerSize+len(payload))
	putHeader(b, header{pt: p.pt, seq: p.seq, timestamp: p.ts, ssrc: p.ssrc})
	p.seq++
	p.ts += 160
	return append(b, payload...)
}

// read gets a packet within a second; nil if there is none.
func (p *peer) read(wait time.Duration) []byte {
	b := make([]byte, 4096)
	_ = p.c.SetReadDeadline(time.Now().Add(wait))
	n, _, err := p.c.ReadFromUDP(b)
	if err != nil {
		return nil
	}
	return b[:n]
}

// speech is 20 ms of PCMU, different for each i and never silent.
func speech(i int) []byte {
	enc, _ := g711.PCMU().NewEncoder(g711.PCMU().Format())
	pcm := make([]int16, 160)
	for k := range pcm {
		x := float64(i*160 + k)
		pcm[k] = int16(8000*math.Sin(x/7) + 3000*math.Sin(x/53+1))
	}
	b := make([]byte, audio.MaxPacket)
	n, _ := enc.Encode(pcm, b)
	return b[:n]
}

// sound is what speech(i) sounds like.
func sound(i int) []int16 {
	dec, _ := g711.PCMU().NewDecoder(g711.PCMU().Format())
	pcm := make([]int16, 160)
	_, _ = dec.Decode(speech(i), pcm)
	return pcm
}

// hear ticks and reads frames, and gives all samples that were not silent.
func (r *rig) hear(l *Leg, ticks int, before func(tick int)) (pcm []int16, states []audio.Status) {
	for i := range ticks {
		if before != nil {
			before(i)
		}
		r.tick()
		var f audio.Frame
		s := l.ReadFrame(8000, &f)
		states = append(states, s)
		if s == audio.Active || s == audio.Late {
			pcm = append(pcm, f[:80]...)
		}
	}
	return pcm, states
}

// figures are a leg's after it was looked after.
func (r *rig) figures(l *Leg) Stats {
	for range visits + 1 {
		r.tick()
	}
	return l.Stats()
}

// wide is a codec for tests: 48 kHz, eight bits a sample, 20 ms in 960 bytes.
type wide struct{}

func (wide) Format() audio.Format {
	return audio.Format{Codec: "wide", SampleRate: 48000, ClockRate: 48000, Ptime: 20}
}
func (wide) NewEncoder(audio.Format) (audio.Encoder, error) { return nil, nil }
func (wide) NewDecoder(audio.Format) (audio.Decoder, error) { return &wideDecoder{}, nil }

type wideDecoder struct{}

func (*wideDecoder) Decode(p []byte, pcm []int16) (int, error) {
	if len(p) > len(pcm) || len(p)%480 != 0 {
		return 0, ErrParams
	}
	for i, b := range p {
		pcm[i] = int16(int8(b)) << 8
	}
	return len(p), nil
}
func (*wideDecoder) Recover(_ []byte, pcm []int16) { clear(pcm) }
func (*wideDecoder) Conceal(pcm []int16)           { clear(pcm) }
