package rtp

import (
	"math/rand"
	"slices"
	"testing"
	"time"

	"parley/audio"
	"parley/audio/g711"
)

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
	}{{true, 0, speech(0)}, {false, 160, speech(1)}, {true, 800, speech(2)}} {
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
