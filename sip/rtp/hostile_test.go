package rtp

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

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
	n, _ := rec.receive(l.sock.rtp)
	return n > 0 && rec.msg[0].hdr.Controllen > 0
}
