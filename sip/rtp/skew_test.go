package rtp

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"parley/audio"
	"parley/audio/g711"
)

// An hour of a tone from a sender whose clock is 100 ppm off, through the whole leg: no frame is dropped or repeated, the delay
// does not grow, and the tone has no click.
func TestClockSkew(t *testing.T) {
	for _, ppm := range []int{-100, 100} {
		r := newRig(t)
		l := r.leg(loopback)
		r.configure(l, pcmu(4000))
		l.adopt()
		from := netip.AddrPortFrom(loopback, 4000)
		start := r.now
		enc, _ := g711.PCMU().NewEncoder(g711.PCMU().Format())
		buf := make([]byte, 1500)
		pcm := make([]int16, 160)
		sent := 0
		var last int16
		worst, most, least := 0, time.Duration(0), time.Hour
		for tick := range 100 * 60 * skewMinutes {
			r.tick()
			for ; ; sent++ {
				at := start.Add(time.Duration(sent) * 20 * time.Millisecond * time.Duration(1_000_000-ppm) / 1_000_000)
				if at.After(r.now) {
					break
				}
				for i := range pcm {
					pcm[i] = int16(8000 * math.Sin(2*math.Pi*400*float64(sent*160+i)/8000))
				}
				putHeader(buf, header{seq: uint16(sent), timestamp: uint32(sent * 160), ssrc: 7})
				n, _ := enc.Encode(pcm, buf[headerSize:])
				l.packet(&datagram{from: from, data: buf[:headerSize+n]}, at)
			}
			var f audio.Frame
			s := l.ReadFrame(8000, &f)
			if tick < 10 {
				continue
			}
			if s != audio.Active {
				t.Fatalf("%+d ppm: frame %d is not sound", ppm, tick)
			}
			for _, v := range f[:80] {
				worst = max(worst, int(v)-int(last), int(last)-int(v))
				last = v
			}
			if d, ok := l.buffer.Delay(); ok && tick > 1000 {
				least, most = min(least, d), max(most, d)
			}
		}
		st := r.figures(l)
		if st.Concealed+st.Dropped+st.Late+st.Missing != 0 {
			t.Errorf("%+d ppm: %+v", ppm, st)
		}
		if least < 25*time.Millisecond || most > 55*time.Millisecond {
			t.Errorf("%+d ppm: delay from %v to %v", ppm, least, most)
		}
		if steepest := 8000 * 2 * math.Pi * 400 / 8000; float64(worst) > 1.15*steepest {
			t.Errorf("%+d ppm: a step of %d in a tone whose steepest is %.0f", ppm, worst, steepest)
		}
		if want := int64(ppm) * 60 * skewMinutes * 8000 / 1_000_000; st.Slewed < want-120 || st.Slewed > want+120 {
			t.Errorf("%+d ppm: %d samples slewed, the clocks went apart by %d", ppm, st.Slewed, want)
		}
		t.Logf("%+d ppm: delay %v to %v, %d samples slewed, steepest step %d", ppm, least, most, st.Slewed, worst)
	}
}

// Packets that are received in one tick have the kernel's times, not the tick's.
func TestKernelTimes(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	far := newPeer(t, l)
	far.raw(far.packet(speech(0)))
	time.Sleep(30 * time.Millisecond) // what is to be measured
	far.raw(far.packet(speech(1)))
	r.arrive(l.sock.rtp)
	rec := newReceiver()
	if n, _ := rec.receive(l.sock.rtp); n != 2 {
		t.Fatalf("%d packets", n)
	}
	a, b := rec.at(0), rec.at(1)
	if a.stamp == 0 || b.stamp == 0 {
		t.Skip("this system gives no time stamps: the tick's time serves")
	}
	if d := b.stamp - a.stamp; d < 30*time.Millisecond || d > 10*time.Second {
		t.Errorf("%v between two packets that were sent 30 ms apart", d)
	}
	r.poller.now, r.poller.stamps = r.now, true
	wall := b.stamp + 5*time.Millisecond
	if got := r.poller.arrival(&b, wall); !got.Equal(r.now.Add(-5 * time.Millisecond)) {
		t.Errorf("a packet 5 ms old arrived %v before the tick", r.now.Sub(got))
	}
	if got := r.poller.arrival(&b, wall+time.Hour); r.now.Sub(got) != maxAge {
		t.Errorf("after the clock was set a packet arrived %v before the tick", r.now.Sub(got))
	}
	if got := r.poller.arrival(&b, b.stamp-time.Hour); got != r.now {
		t.Errorf("after the clock was set back a packet arrived %v before the tick", r.now.Sub(got))
	}
	if got := r.poller.arrival(&datagram{}, wall); got != r.now {
		t.Error("without a stamp the tick's time serves")
	}
}

// A leg of a Poller that is closed can still be closed, and no other be added.
func TestPollerClosed(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	r.configure(l, pcmu(4000))
	r.poller.Close()
	r.poller.Close()
	r.tick()
	l.Close()
	s, err := NewPorts(PortsConfig{Bind: loopback}).Open()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := NewLeg(LegConfig{Sockets: s, Poller: r.poller}); err == nil {
		t.Error("a leg on a closed poller")
	}
}
