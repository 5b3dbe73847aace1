package rtp

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"testing"
	"time"

	pion "github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"parley/audio"
)

func newKey() []byte {
	k := make([]byte, keyLen+saltLen)
	_, _ = rand.Read(k)
	return k
}

// secured are two legs with SRTP between them; rekey gives both new keys.
func secured(r *rig, suite string) (a, b *Leg, rekey func(a2b, b2a []byte)) {
	a, b = r.leg(loopback), r.leg(loopback)
	rekey = func(a2b, b2a []byte) {
		p := pcmu(b.LocalPort())
		p.SRTP = &Keys{Suite: suite, Local: a2b, Remote: b2a}
		r.configure(a, p)
		p = pcmu(a.LocalPort())
		p.SRTP = &Keys{Suite: suite, Local: b2a, Remote: a2b}
		r.configure(b, p)
	}
	return a, b, rekey
}

// talk lets both legs talk for n packets and gives what b heard.
func talk(r *rig, a, b *Leg, n int) (heard []int16) {
	for i := range 2 * n {
		if i%2 == 0 {
			a.WritePacket(a.Format(), speech(i/2))
			b.WritePacket(b.Format(), speech(i/2))
			r.arrive(a.sock.rtp)
			r.arrive(b.sock.rtp)
		}
		r.tick()
		var f audio.Frame
		if b.ReadFrame(8000, &f) == audio.Active {
			heard = append(heard, f[:80]...)
		}
		a.ReadFrame(8000, &f)
	}
	return heard
}

func TestSRTPBothWays(t *testing.T) {
	for _, suite := range []string{SuiteSHA1_80, SuiteSHA1_32} {
		t.Run(suite, func(t *testing.T) {
			r := newRig(t)
			a, b, rekey := secured(r, suite)
			rekey(newKey(), newKey())
			_ = a.SendDTMF('3', 40*time.Millisecond)
			heard := talk(r, a, b, 1000) // 20 s: reports as well
			if !contains(heard, sound(30)) {
				t.Error("not what was sent")
			}
			if got := digitsOf(b); got != "3(40ms) " {
				t.Errorf("digits %q", got)
			}
			for _, l := range []*Leg{a, b} {
				if st := r.figures(l); !st.SRTP || st.SRTPFailures != 0 || st.Received != 1000 || !st.HasRTT {
					t.Errorf("%+v", st)
				}
			}
		})
	}
}

// What another implementation has encrypted we hear, also across the wrap of the sequence number; what was changed, replayed
// or sent in clear we count and do not hear.
func TestSRTPAgainstOther(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	far := newPeer(t, l)
	p := pcmu(far.port())
	p.SRTP = &Keys{Suite: SuiteSHA1_80, Local: newKey(), Remote: newKey()}
	r.configure(l, p)
	out, err := srtp.CreateContext(p.SRTP.Remote[:16], p.SRTP.Remote[16:], srtp.ProtectionProfileAes128CmHmacSha1_80)
	if err != nil {
		t.Fatal(err)
	}
	in, err := srtp.CreateContext(p.SRTP.Local[:16], p.SRTP.Local[16:], srtp.ProtectionProfileAes128CmHmacSha1_80)
	if err != nil {
		t.Fatal(err)
	}
	failures := uint64(0)
	pcm, _ := r.hear(l, 40, func(i int) {
		if i%2 != 0 {
			return
		}
		clear := far.packet(speech(i / 2)) // begins at 65530: it wraps
		b, err := out.EncryptRTP(nil, clear, nil)
		if err != nil {
			t.Fatal(err)
		}
		far.raw(b)
		if i > 4 {
			far.raw(b) // replayed
			far.raw(clear)
			b[20] ^= 1
			far.raw(b)
			failures += 3
		}
		r.arrive(l.sock.rtp)
	})
	for i := range 10 {
		if !slices.Equal(pcm[160*i:160*i+160], sound(i)) {
			t.Fatalf("packet %d sounds different", i)
		}
	}
	if st := r.figures(l); st.SRTPFailures != failures || st.Received != 20 {
		t.Errorf("%d failures, want %d; %d received", st.SRTPFailures, failures, st.Received)
	}
	l.WritePacket(l.Format(), speech(4))
	var h pion.Header
	b, err := in.DecryptRTP(nil, far.read(time.Second), &h)
	if err != nil || !slices.Equal(b[12:], speech(4)) || h.PayloadType != 0 {
		t.Errorf("the other one does not understand us: %v", err)
	}
}

// Keys that change in the middle of a call, on both sides, before and after the sequence numbers have wrapped; and the same
// keys again, which go on where they were.
func TestRekey(t *testing.T) {
	r := newRig(t)
	a, b, rekey := secured(r, SuiteSHA1_80)
	k1, k2 := newKey(), newKey()
	rekey(k1, k2)
	talk(r, a, b, 20)
	rekey(newKey(), newKey())
	talk(r, a, b, 20)
	rekey(k1, k2)
	talk(r, a, b, 20)
	if st := r.figures(b); st.Received != 60 || st.SRTPFailures != 0 {
		t.Fatalf("three keys: %+v", st)
	}
	ssrc := a.SSRC()
	a.out.seq = 65530 // to the wrap; b follows since the jump is confirmed by the next packet
	talk(r, a, b, 20)
	rekey(k1, k2) // nothing new
	talk(r, a, b, 20)
	if a.SSRC() != ssrc {
		t.Error("another stream without another key")
	}
	failed := r.figures(b).SRTPFailures
	rekey(newKey(), newKey())
	heard := talk(r, a, b, 20)
	if a.SSRC() == ssrc {
		t.Error("a new key after a wrap goes on with the old stream, whose roll-over count is anybody's guess")
	}
	if st := r.figures(b); st.SRTPFailures != failed || len(heard) < 160*10 {
		t.Errorf("after the wrap: %+v, %d samples", st, len(heard))
	}
}

// One side has the new keys before the other: what is under way under the old ones is heard, until the new ones come.
func TestRekeyIsSeamless(t *testing.T) {
	r := newRig(t)
	a, b := r.leg(loopback), r.leg(loopback)
	old, next := newKey(), newKey()
	set := func(l, far *Leg, key []byte) {
		p := pcmu(far.LocalPort())
		p.SRTP = &Keys{Suite: SuiteSHA1_80, Local: key, Remote: key}
		r.configure(l, p)
	}
	set(a, b, old)
	set(b, a, old)
	talk(r, a, b, 20)
	set(b, a, next)
	for range 5 { // a has not heard of it yet
		a.WritePacket(a.Format(), speech(0))
		r.arrive(b.sock.rtp)
		r.tick()
	}
	set(a, b, next)
	a.WritePacket(a.Format(), speech(0))
	r.arrive(b.sock.rtp)
	r.tick()
	if st := r.figures(b); st.Received != 26 || st.SRTPFailures != 0 {
		t.Fatalf("%+v", st)
	}
	forged, _ := (&contexts{}).get(SuiteSHA1_80, old, false)
	a.params.Load().sealer = forged // the old key once more, after the new one
	a.WritePacket(a.Format(), speech(0))
	r.arrive(b.sock.rtp)
	r.tick()
	if st := r.figures(b); st.Received != 26 || st.SRTPFailures != 1 {
		t.Fatalf("the old key still opens: %+v", st)
	}
}

// A far end whose new key goes on with the old roll-over count, and one that begins at zero: both are understood.
func TestRekeyAfterWrapOfTheFarEnd(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		r := newRig(t)
		l := r.leg(loopback)
		far := newPeer(t, l)
		p := pcmu(far.port())
		p.SRTP = &Keys{Suite: SuiteSHA1_80, Local: newKey(), Remote: newKey()}
		r.configure(l, p)
		ctx := func() *srtp.Context {
			c, err := srtp.CreateContext(p.SRTP.Remote[:16], p.SRTP.Remote[16:], srtp.ProtectionProfileAes128CmHmacSha1_80)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		say := func(c *srtp.Context, n int) {
			for range n {
				b, err := c.EncryptRTP(nil, far.packet(speech(0)), nil)
				if err != nil {
					t.Fatal(err)
				}
				far.raw(b)
				r.arrive(l.sock.rtp)
				r.tick()
			}
		}
		say(ctx(), 20) // wraps
		p.SRTP = &Keys{Suite: SuiteSHA1_80, Local: p.SRTP.Local, Remote: newKey()}
		r.configure(l, p)
		c := ctx()
		if keeps {
			c.SetROC(far.ssrc, 1)
		}
		say(c, 20)
		if st := r.figures(l); st.Received != 40 || st.SRTPFailures != 0 {
			t.Errorf("keeps %v: %d received, %d failures", keeps, st.Received, st.SRTPFailures)
		}
	}
}

// Forged packets of ever new sources from the right address do not make the receiver's memory grow, nor silence the true one.
func TestSRTPForgedSources(t *testing.T) {
	r := newRig(t)
	a, b, rekey := secured(r, SuiteSHA1_80)
	rekey(newKey(), newKey())
	talk(r, a, b, 10)
	from := netip.AddrPortFrom(loopback, uint16(a.LocalPort()))
	for i := range 1000 {
		pkt := make([]byte, 60, maxPacket)
		putHeader(pkt, header{ssrc: uint32(i), seq: 5})
		b.play.strangers = 0
		b.packet(&datagram{from: from, data: pkt}, r.now)
	}
	if st := r.figures(b); st.SRTPFailures+st.WrongSSRC != 1000 {
		t.Errorf("%+v", st)
	}
	if heard := talk(r, a, b, 20); len(heard) < 160*15 {
		t.Errorf("%d samples of the true stream", len(heard))
	}
}
