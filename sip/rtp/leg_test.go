package rtp

import (
	"errors"
	"math/rand"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley/audio"
	"parley/audio/g711"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Two legs over real sockets: what one encodes the other hears, sample by sample, both ways at once.
func TestSoundBothWays(t *testing.T) {
	r := newRig(t)
	a, b := r.pair(nil)
	var heard [2][]int16
	for i := range 60 {
		if i%2 == 0 {
			a.WritePacket(a.Format(), speech(i/2))
			b.WritePacket(b.Format(), speech(1000+i/2))
			r.arrive(b.sock.rtp)
			r.arrive(a.sock.rtp)
		}
		r.tick()
		for k, l := range []*Leg{a, b} {
			var f audio.Frame
			if l.ReadFrame(8000, &f) != audio.Silent {
				heard[k] = append(heard[k], f[:80]...)
			}
		}
	}
	for k, first := range []int{1000, 0} {
		if len(heard[k]) < 160*25 {
			t.Fatalf("leg %d heard only %d samples", k, len(heard[k]))
		}
		for i := range 25 {
			if !slices.Equal(heard[k][160*i:160*i+160], sound(first+i)) {
				t.Fatalf("leg %d: packet %d sounds different", k, i)
			}
		}
	}
	st := r.figures(a)
	if st.Received != 30 || st.Sent != 30 || st.Lost != 0 || st.Foreign+st.Malformed+st.WrongType+st.SRTPFailures != 0 {
		t.Errorf("%+v", st)
	}
	if !st.HasDelay || st.Delay < 30*time.Millisecond || st.Delay > 50*time.Millisecond {
		t.Errorf("playout delay %v %v", st.Delay, st.HasDelay)
	}
	if !st.HasLevel || st.Level > -10 || st.Level < -30 {
		t.Errorf("level %.1f dBFS %v", st.Level, st.HasLevel)
	}
	if st.HasRTT || st.HasRemote {
		t.Error("round trip and remote figures without any report")
	}
}

// What goes out: sequence numbers without a hole, timestamps that grow while nothing is sent, marks at talk spurts.
func TestSending(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	far := newPeer(t, l)
	r.configure(l, pcmu(far.port()))
	r.tick()
	f := l.Format()
	l.WritePacket(f, speech(0))
	l.WritePacket(f, speech(1))
	l.WritePacket(f, nil)
	l.WritePacket(f, nil)
	l.WritePacket(g711.PCMA().Format(), speech(9)) // a format that the leg does not speak (any more)
	l.WritePacket(f, speech(2))
	var seq uint16
	var ts uint32
	for i, want := range []struct {
		marker bool
		ts     uint32
		body   []byte
	}{{true, 0, speech(0)}, {false, 160, speech(1)}, {true, 640, speech(2)}} {
		b := far.read(time.Second)
		h, ok := parseHeader(b)
		if !ok {
			t.Fatalf("packet %d: %x", i, b)
		}
		if i == 0 {
			seq, ts = h.seq, h.timestamp
		}
		if h.marker != want.marker || h.timestamp-ts != want.ts || h.seq-seq != uint16(i) || h.ssrc != l.SSRC() || h.pt != 0 {
			t.Errorf("packet %d: %+v, want mark %v, timestamp +%d", i, h, want.marker, want.ts)
		}
		if !slices.Equal(b[h.size:], want.body) {
			t.Errorf("packet %d has another payload", i)
		}
	}
	if b := far.read(20 * time.Millisecond); b != nil {
		t.Errorf("one packet too many: %x", b)
	}
}

// Directions: a held leg says nothing and hears nothing, and its timestamps go on.
func TestHold(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	far := newPeer(t, l)
	p := pcmu(far.port())
	r.configure(l, p)
	r.tick()
	l.WritePacket(l.Format(), speech(0))
	first, _ := parseHeader(far.read(time.Second))
	p.Send, p.Receive = false, false
	r.configure(l, p)
	l.WritePacket(l.Format(), speech(1))
	far.raw(far.packet(speech(0)))
	r.arrive(l.sock.rtp)
	if pcm, _ := r.hear(l, 10, nil); len(pcm) != 0 {
		t.Error("a leg that does not receive is heard")
	}
	if st := r.figures(l); st.Received != 1 {
		t.Errorf("on hold the far end's packets still show that it lives: %d", st.Received)
	}
	p.Send, p.Receive = true, true
	r.configure(l, p)
	l.WritePacket(l.Format(), speech(2))
	h, _ := parseHeader(far.read(time.Second))
	if h.timestamp-first.timestamp != 320 || h.seq-first.seq != 1 || !h.marker {
		t.Errorf("after hold: %+v after %+v", h, first)
	}
	pcm, _ := r.hear(l, 20, func(i int) {
		if i%2 == 0 {
			far.raw(far.packet(speech(i / 2)))
			r.arrive(l.sock.rtp)
		}
	})
	if len(pcm) == 0 {
		t.Error("nothing is heard after hold")
	}
}

// Reorder of 2 % and duplicates of 2 % within the target: the same samples as on the clean run.
func TestDisorderGivesTheSameSamples(t *testing.T) {
	run := func(messy bool) []int16 {
		r := newRig(t)
		l := r.leg(loopback)
		far := newPeer(t, l)
		r.configure(l, pcmu(far.port()))
		rnd := rand.New(rand.NewSource(3))
		var later []byte
		pcm, _ := r.hear(l, 1200, func(i int) {
			if i%2 != 0 {
				return
			}
			b := far.packet(speech(i / 2))
			swap, double := rnd.Float64() < 0.02, rnd.Float64() < 0.02
			if !messy || i < 10 {
				swap, double = false, false
			}
			if swap && later == nil {
				later = b
				return
			}
			far.raw(b)
			if double {
				far.raw(b)
			}
			if later != nil {
				far.raw(later)
				later = nil
			}
			r.arrive(l.sock.rtp)
		})
		if messy {
			if st := r.figures(l); st.Duplicate == 0 || st.Late != 0 {
				t.Errorf("%+v", st)
			}
		}
		return pcm
	}
	clean, messy := run(false), run(true)
	if !slices.Equal(clean, messy) {
		t.Fatalf("%d and %d samples, not the same", len(clean), len(messy))
	}
}

// Nothing of what strangers and rubbish do changes a sample of a running call, and nobody gets an answer.
func TestForeignAndGarbage(t *testing.T) {
	long := make([]byte, maxPacket+100)
	putHeader(long, header{seq: 1, ssrc: 0x1234})
	tests := []struct {
		name  string
		bytes func(far *peer) []byte // sent from the right address
		count func(s *Stats) uint64
	}{
		{"nothing", func(*peer) []byte { return []byte{} }, func(s *Stats) uint64 { return s.Malformed }},
		{"one byte", func(*peer) []byte { return []byte{0x80} }, func(s *Stats) uint64 { return s.Malformed }},
		{"text", func(*peer) []byte { return []byte("INVITE sip:1000@box SIP/2.0\r\n\r\n") }, func(s *Stats) uint64 { return s.Malformed }},
		{"version 1", func(p *peer) []byte { b := p.copy(); b[0] = 0x40; return b }, func(s *Stats) uint64 { return s.Malformed }},
		{"cut in the header", func(p *peer) []byte { return p.copy()[:11] }, func(s *Stats) uint64 { return s.Malformed }},
		{"15 CSRCs and no room", func(p *peer) []byte { b := p.copy()[:40]; b[0] |= 15; return b }, func(s *Stats) uint64 { return s.Malformed }},
		{"an extension beyond the end", func(p *peer) []byte {
			b := p.copy()
			b[0] |= 0x10
			b[14], b[15] = 0xff, 0xff
			return b
		}, func(s *Stats) uint64 { return s.Malformed }},
		{"padding longer than the packet", func(p *peer) []byte {
			b := p.copy()
			b[0] |= 0x20
			b[len(b)-1] = 255
			return b
		}, func(s *Stats) uint64 { return s.Malformed }},
		{"padding of 0", func(p *peer) []byte { b := p.copy(); b[0] |= 0x20; b[len(b)-1] = 0; return b }, func(s *Stats) uint64 { return s.Malformed }},
		{"longer than any packet", func(p *peer) []byte { return long }, func(s *Stats) uint64 { return s.Malformed }},
		{"a payload type that was not agreed on", func(p *peer) []byte { b := p.copy(); b[1] = 34; return b }, func(s *Stats) uint64 { return s.WrongType }},
		{"another SSRC", func(p *peer) []byte { b := p.copy(); b[9] ^= 1; return b }, func(s *Stats) uint64 { return s.WrongSSRC }},
		{"RTCP on a port without mux", func(p *peer) []byte { b := p.copy(); b[1] = typeSR; return b }, func(s *Stats) uint64 { return s.WrongType }},
	}
	run := func(noise func(i int, far *peer)) (*Leg, *rig, []int16) {
		r := newRig(t)
		l := r.leg(loopback)
		far := newPeer(t, l)
		r.configure(l, pcmu(far.port()))
		pcm, _ := r.hear(l, 100, func(i int) {
			if i%2 == 0 {
				far.raw(far.packet(speech(i / 2)))
				r.arrive(l.sock.rtp)
			}
			if noise != nil && i > 10 {
				noise(i, far)
			}
		})
		return l, r, pcm
	}
	_, _, clean := run(nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := uint64(0)
			l, r, pcm := run(func(i int, far *peer) {
				far.raw(tt.bytes(far))
				n++
				for far.read(time.Microsecond) != nil { // our own sound is not sent here: nothing may come
					t.Error("an answer to rubbish")
				}
			})
			if !slices.Equal(pcm, clean) {
				t.Error("the call sounds different")
			}
			st := r.figures(l)
			if got := tt.count(&st); got != n {
				t.Errorf("counted %d of %d: %+v", got, n, st)
			}
		})
	}
	t.Run("from elsewhere", func(t *testing.T) {
		var stranger *peer
		l, r, pcm := run(func(i int, far *peer) {
			if stranger == nil {
				stranger = newPeer(t, &Leg{sock: &Sockets{rtpPort: far.dst.Port}})
			}
			stranger.seq, stranger.ts = far.seq, far.ts // as good a forgery as can be
			stranger.raw(stranger.packet(speech(777)))
		})
		if !slices.Equal(pcm, clean) {
			t.Error("the call sounds different")
		}
		if st := r.figures(l); st.Foreign != 89 {
			t.Errorf("%d foreign packets counted, not 89", st.Foreign)
		}
		if stranger.read(20*time.Millisecond) != nil {
			t.Error("the stranger got an answer")
		}
	})
}

// copy is a packet such as the far end's next one, without sending it.
func (p *peer) copy() []byte {
	b := make([]byte, headerSize, headerSize+160)
	putHeader(b, header{pt: p.pt, seq: p.seq + 1, timestamp: p.ts, ssrc: p.ssrc})
	return append(b, speech(5)...)
}

// Sound with CSRCs, an extension and padding is sound all the same.
func TestOptionalHeaderParts(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	far := newPeer(t, l)
	r.configure(l, pcmu(far.port()))
	pcm, _ := r.hear(l, 30, func(i int) {
		if i%2 != 0 {
			return
		}
		b := far.packet(nil)
		b[0] |= 0x10 | 0x20 | 2
		b = append(b, 1, 2, 3, 4, 5, 6, 7, 8) // CSRCs
		b = append(b, 0xbe, 0xde, 0, 1, 0x10, 0x7f, 0, 0)
		b = append(b, speech(i/2)...)
		far.raw(append(b, 0, 0, 3))
		r.arrive(l.sock.rtp)
	})
	if len(pcm) < 160*5 || !slices.Equal(pcm[:160], sound(0)) {
		t.Fatalf("%d samples", len(pcm))
	}
}

// Behind NAT the first valid packet from the signalling address fixes the far end's address, until the next Configure.
func TestLatch(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	inside, outside, late := newPeer(t, l), newPeer(t, l), newPeer(t, l)
	p := pcmu(inside.port())
	p.Remote = netip.MustParseAddrPort("127.9.9.9:4000") // what the SDP says
	p.Latch = loopback
	r.configure(l, p)
	send := func(far *peer, b []byte) {
		far.raw(b)
		r.arrive(l.sock.rtp)
		r.tick()
	}
	send(outside, []byte("hello"))           // not valid: latches nothing
	bad := outside.copy()                    //
	bad[1] = 77                              // a wrong payload type: latches nothing
	send(outside, bad)                       //
	send(outside, outside.packet(speech(0))) // valid
	send(late, late.packet(speech(0)))       // too late
	st := r.figures(l)
	if st.Remote.Port() != uint16(outside.port()) || st.Received != 1 || st.Foreign != 1 || st.Malformed != 1 || st.WrongType != 1 {
		t.Fatalf("%+v", st)
	}
	l.WritePacket(l.Format(), speech(0))
	if outside.read(time.Second) == nil {
		t.Error("nothing is sent to the latched address")
	}
	p.Format.Ptime = 30
	r.configure(l, p) // as after a session refresh: the same address stays
	send(outside, outside.packet(speech(1)))
	if st := r.figures(l); st.Received != 2 || st.Remote.Port() != uint16(outside.port()) {
		t.Fatalf("after a refresh %+v", st)
	}
	p.Remote = netip.AddrPortFrom(loopback, uint16(late.port()))
	p.Latch = netip.Addr{}
	r.configure(l, p) // as after a re-INVITE with another address
	send(outside, outside.packet(speech(2)))
	send(late, late.packet(speech(2)))
	if st := r.figures(l); st.Received != 3 || st.Foreign != 2 || st.Remote.Port() != uint16(late.port()) {
		t.Fatalf("after a move %+v", st)
	}
}

// A new SSRC from the right address is believed after three packets in a row, not before.
func TestNewSSRC(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	far := newPeer(t, l)
	r.configure(l, pcmu(far.port()))
	n := 0
	say := func(i int) {
		if i%2 == 0 {
			far.raw(far.packet(speech(n)))
			n++
			r.arrive(l.sock.rtp)
		}
	}
	r.hear(l, 20, say)
	far.ssrc, far.seq, far.ts, n = 0x9999, 100, 5000, 500
	pcm, _ := r.hear(l, 40, say)
	if st := r.figures(l); st.WrongSSRC != 2 || st.RemoteSSRC != 0x9999 {
		t.Fatalf("%+v", st)
	}
	if want := sound(502); !contains(pcm, want) {
		t.Error("the new stream is not heard from its third packet on")
	}
}

func contains(pcm, want []int16) bool {
	for i := range pcm {
		if i+len(want) <= len(pcm) && slices.Equal(pcm[i:i+len(want)], want) {
			return true
		}
	}
	return false
}

// A lost packet is concealed and counted; a far end that falls silent is silence after a moment.
func TestLossAndSilence(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	far := newPeer(t, l)
	r.configure(l, pcmu(far.port()))
	_, states := r.hear(l, 100, func(i int) {
		if i%2 == 0 && i < 60 {
			if b := far.packet(speech(i / 2)); i != 30 {
				far.raw(b)
				r.arrive(l.sock.rtp)
			}
		}
	})
	if states[34] != audio.Late || states[35] != audio.Late || states[36] != audio.Active {
		t.Errorf("around the lost packet %v", states[30:40])
	}
	if states[64] != audio.Late || states[99] != audio.Silent {
		t.Errorf("after the end %v", states[60:])
	}
	st := r.figures(l)
	if st.Lost != 1 || st.Missing != 1 || st.Expected != 30 || st.Concealed < 3 {
		t.Errorf("%+v", st)
	}
	if age := st.Age(r.now, r.now.Add(-time.Hour)); age < 400*time.Millisecond || age > 600*time.Millisecond {
		t.Errorf("the last packet is %v old", age)
	}
	if s := l.ReadFrame(48000, new(audio.Frame)); s != audio.Silent {
		t.Errorf("asked for another rate it answers %d", s)
	}
}

// A re-INVITE to a codec of another rate while sound is coming.
func TestCodecChange(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	far := newPeer(t, l)
	p := pcmu(far.port())
	r.configure(l, p)
	r.hear(l, 20, func(i int) {
		if i%2 == 0 {
			far.raw(far.packet(speech(i / 2)))
			r.arrive(l.sock.rtp)
		}
	})
	p.Format, p.PayloadType = wide{}.Format(), 96
	r.configure(l, p)
	if l.ReadFrame(8000, new(audio.Frame)) != audio.Silent {
		t.Error("the old rate is still heard")
	}
	far.pt = 96
	body := make([]byte, 960)
	for i := range body {
		body[i] = byte(i%100 + 1)
	}
	active := 0
	for i := range 30 {
		if i%2 == 0 {
			b := far.packet(body)
			far.ts += 960 - 160
			far.raw(b)
			r.arrive(l.sock.rtp)
		}
		r.tick()
		var f audio.Frame
		if l.ReadFrame(48000, &f) == audio.Active {
			active++
			if f[0] == 0 || f[479] == 0 {
				t.Fatal("a frame is not full")
			}
		}
	}
	if active < 20 {
		t.Errorf("%d frames of the new codec", active)
	}
}

func TestConfigureRefuses(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	for name, change := range map[string]func(*Params){
		"codec": func(p *Params) { p.Format.Codec = "GSM" }, "rate": func(p *Params) { p.Format.SampleRate = 44100 },
		"clock": func(p *Params) { p.Format.ClockRate = 0 }, "ptime": func(p *Params) { p.Format.Ptime = 15 },
		"event clock": func(p *Params) { p.EventClock = 1 }, "payload type": func(p *Params) { p.PayloadType = 128 },
		"same payload type": func(p *Params) { p.EventPT = 0 },
		"suite":             func(p *Params) { p.SRTP = &Keys{Suite: "NULL", Local: make([]byte, 30), Remote: make([]byte, 30)} },
		"key": func(p *Params) {
			p.SRTP = &Keys{Suite: SuiteSHA1_80, Local: make([]byte, 30), Remote: make([]byte, 29)}
		},
	} {
		p := pcmu(4000)
		change(&p)
		if err := l.Configure(p); !errors.Is(err, ErrParams) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if l.Format() != (audio.Format{}) {
		t.Error("a refused Configure has changed something")
	}
}

func TestIPv6(t *testing.T) {
	six := netip.MustParseAddr("::1")
	if s, err := NewPorts(PortsConfig{Bind: six}).Open(); err != nil {
		t.Skip("no IPv6 here:", err)
	} else {
		s.Close()
	}
	for _, bind := range []netip.Addr{six, netip.IPv6Unspecified()} {
		r := newRig(t)
		a, b := r.leg(bind), r.leg(bind)
		for _, addr := range []netip.Addr{six, loopback} {
			if bind == six && addr == loopback {
				continue
			}
			p := pcmu(b.LocalPort())
			p.Remote = netip.AddrPortFrom(addr, uint16(b.LocalPort()))
			r.configure(a, p)
			p.Remote = netip.AddrPortFrom(addr, uint16(a.LocalPort()))
			r.configure(b, p)
			before := r.figures(b).Received
			a.WritePacket(a.Format(), speech(0))
			r.arrive(b.sock.rtp)
			if st := r.figures(b); st.Received != before+1 || st.Foreign != 0 {
				t.Errorf("bound to %s, from %s: %+v", bind, addr, st)
			}
		}
	}
}

// A flood on one leg: the other legs' packets are taken in the same tick, and the flood is bounded and counted.
func TestFlood(t *testing.T) {
	r := newRig(t)
	flooded, quiet := r.leg(loopback), r.leg(loopback)
	a, b := newPeer(t, flooded), newPeer(t, quiet)
	r.configure(flooded, pcmu(4000))
	r.configure(quiet, pcmu(b.port()))
	for range 3000 {
		a.raw(a.copy())
	}
	b.raw(b.packet(speech(0)))
	r.arrive(flooded.sock.rtp)
	r.arrive(quiet.sock.rtp)
	r.tick()
	if n := flooded.stats.Foreign; n != perTick {
		t.Errorf("%d packets of the flood in one tick, not %d", n, perTick)
	}
	if quiet.stats.Received != 1 {
		t.Error("the other leg's packet was not received")
	}
	for range 60 {
		a.raw(a.copy())
		r.tick()
	}
	if st := r.figures(flooded); st.Overflow == 0 && !overflowCounted(t, a, flooded) {
		t.Skip("this system does not count what a socket drops")
	} else if st.Overflow == 0 || st.Foreign+st.Overflow < 3000 {
		t.Errorf("of 3060 packets %d were taken and %d known to be lost", st.Foreign, st.Overflow)
	}
}

// overflowCounted tells whether control messages come through at all (qemu's user mode passes none).
func overflowCounted(t *testing.T, p *peer, l *Leg) bool {
	p.raw(p.copy())
	rec := newReceiver()
	return rec.receive(l.sock.rtp) > 0 && rec.msg[0].hdr.Controllen > 0
}

// Configure, SendDTMF, Stats, Format and Close from other goroutines while the tick goes on; the race detector judges.
func TestConcurrentUse(t *testing.T) {
	r := newRig(t)
	stop := make(chan struct{})
	var tick, others sync.WaitGroup
	var mu sync.Mutex
	var legs []*Leg
	tick.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			r.tick()
			mu.Lock()
			now := slices.Clone(legs)
			mu.Unlock()
			for _, l := range now {
				l.ReadFrame(8000, new(audio.Frame))
				l.WritePacket(g711.PCMU().Format(), speech(0))
			}
			time.Sleep(50 * time.Microsecond)
		}
	})
	key := make([]byte, 30)
	ports := NewPorts(PortsConfig{Bind: loopback})
	for range 4 {
		others.Go(func() {
			for i := range 30 {
				s, err := ports.Open()
				if err != nil {
					t.Error(err)
					return
				}
				l, err := NewLeg(LegConfig{Sockets: s, Poller: r.poller, Codecs: []audio.Codec{g711.PCMU()}})
				if err != nil {
					t.Error(err)
					return
				}
				p := pcmu(l.LocalPort()) // to itself
				if i%2 == 1 {
					p.SRTP = &Keys{Suite: SuiteSHA1_80, Local: key, Remote: key}
				}
				mu.Lock()
				legs = append(legs, l)
				mu.Unlock()
				for range 3 {
					if err := l.Configure(p); err != nil {
						t.Error(err)
					}
					_ = l.SendDTMF('5', 40*time.Millisecond)
					_, _ = l.Stats(), l.Format()
					time.Sleep(200 * time.Microsecond)
				}
				l.Close()
				for range l.Events() { // ends, since Close closes it
				}
				if l.ReadFrame(8000, nil) != audio.Gone {
					t.Error("a closed leg is not gone")
				}
				mu.Lock()
				legs = slices.DeleteFunc(legs, func(x *Leg) bool { return x == l })
				mu.Unlock()
			}
		})
	}
	others.Wait()
	close(stop)
	tick.Wait()
}

// A thousand calls leave no file descriptor behind.
func TestThousandCalls(t *testing.T) {
	r := newRig(t)
	fds := func() int {
		d, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(d)
	}
	before := fds()
	ports := NewPorts(PortsConfig{Bind: loopback})
	for range 1000 {
		s, err := ports.Open()
		if err != nil {
			t.Fatal(err)
		}
		l, err := NewLeg(LegConfig{Sockets: s, Poller: r.poller, Codecs: []audio.Codec{g711.PCMU()}})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Configure(pcmu(l.LocalPort())); err != nil {
			t.Fatal(err)
		}
		l.WritePacket(l.Format(), speech(0))
		r.tick()
		l.Close()
		l.Close()
		if err := l.Configure(pcmu(4000)); !errors.Is(err, ErrClosed) {
			t.Fatalf("Configure after Close: %v", err)
		}
	}
	if after := fds(); after > before+1 {
		t.Errorf("%d file descriptors, %d before", after, before)
	}
	if n := len(r.poller.table.Load().legs); n > 1 {
		t.Errorf("the poller's table has %d places", n)
	}
}

func TestNoAllocationInTheTick(t *testing.T) {
	key := func(b byte) []byte { k := make([]byte, 30); k[0] = b; return k }
	for name, change := range map[string]func(a, b *Params){
		"plain": func(a, b *Params) {},
		"SRTP": func(a, b *Params) {
			a.SRTP = &Keys{Suite: SuiteSHA1_80, Local: key(1), Remote: key(2)}
			b.SRTP = &Keys{Suite: SuiteSHA1_80, Local: key(2), Remote: key(1)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			a, b := r.leg(loopback), r.leg(loopback)
			pa, pb := pcmu(b.LocalPort()), pcmu(a.LocalPort())
			change(&pa, &pb)
			r.configure(a, pa)
			r.configure(b, pb)
			body := speech(0)
			f := a.Format()
			i := 0
			var frame audio.Frame
			step := func() {
				if i%2 == 0 {
					if i%14 != 0 { // now and then one is missing
						a.WritePacket(f, body)
					}
					b.WritePacket(f, body)
				}
				if i%400 == 0 {
					_ = a.SendDTMF('7', 60*time.Millisecond)
				}
				i++
				r.tick()
				a.ReadFrame(8000, &frame)
				b.ReadFrame(8000, &frame)
				select {
				case <-b.Events():
				default:
				}
			}
			for range 100 {
				step()
			}
			if n := testing.AllocsPerRun(3000, step); n != 0 {
				t.Errorf("%v allocations in a tick", n)
			}
			if st := r.figures(b); st.Received < 1000 || st.SRTPFailures != 0 || !st.HasRTT {
				t.Errorf("%+v", st)
			}
		})
	}
}
