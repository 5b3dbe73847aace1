//go:build !race

package main_test

import (
	"bytes"
	"context"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parley/audio"
	"parley/audio/g711"
	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
	"parley/sip"
	"parley/sip/rtp"
)

const (
	phases     = 20 // talkers, whose packets of 20 ms are 1 ms apart from one to the next
	bursts     = 240
	burstEvery = 120 // ms
)

// BenchmarkLatency is how long sound takes from the packet that brings it to the packet that takes it to another leg, both as the kernel
// stamps them: PCMU, 20 ms, a clean network. The talkers' packets come at every millisecond of the box's clock, since that phase is
// half of the delay.
func BenchmarkLatency(b *testing.B) {
	for _, target := range []string{"40ms", "10ms"} {
		b.Run("jitter_target="+target, func(b *testing.B) {
			box := startHall(b, boxtest.Settings{"rtp": boxtest.Settings{"first": 21000, "last": 21999, "jitter_target": target},
				"place": boxtest.Settings{"join_at_start": false}})
			h := callHall(b, box, phases+1)
			capture := phonetest.StartCapture(b, 21000, 21999)
			b.ResetTimer()
			for range b.N {
				h.talk(b)
			}
			b.StopTimer()
			capture.Stop()
			waits := delays(capture, h.legs)
			if len(waits) < b.N*bursts*9/10 {
				b.Fatalf("of %d bursts %d came through", b.N*bursts, len(waits))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(len(waits)), "bursts")
			b.ReportMetric(quantile(waits, 0.5), "median-ms")
			b.ReportMetric(quantile(waits, 0.99), "p99-ms")
			b.ReportMetric(quantile(waits, 0), "least-ms")
			b.ReportMetric(quantile(waits, 1), "most-ms")
		})
	}
}

// delays is how long each burst took, in ms. The last leg listens, the others talk.
func delays(capture *phonetest.Capture, legs []*rtp.Leg) (ms []float64) {
	var said, heard []phonetest.Packet
	loud := func(list []phonetest.Packet) (out []phonetest.Packet) {
		for _, p := range list {
			if _, ok := p.RTP(); ok && phonetest.G711([]phonetest.Packet{p}).Peak() > -30 {
				out = append(out, p)
			}
		}
		return out
	}
	for _, l := range legs[:phases] {
		said = append(said, loud(capture.From(uint16(l.LocalPort())))...)
	}
	heard = loud(capture.To(uint16(legs[phases].LocalPort())))
	for _, in := range said {
		for _, out := range heard {
			if wait := out.At.Sub(in.At); wait >= 0 {
				if wait < burstEvery*time.Millisecond {
					ms = append(ms, float64(wait)/float64(time.Millisecond))
				}
				break
			}
		}
	}
	return ms
}

// callers are calls into a box, made by one agent.
type callers struct {
	poller *rtp.Poller
	legs   []*rtp.Leg
}

// events takes what happens to the calls; nobody reads it after they are up.
type events chan sip.Event

func (e events) Incoming(*sip.Call) {}
func (e events) Event(_ *sip.Call, v sip.Event) {
	select {
	case e <- v:
	default:
	}
}

// callHall makes n calls into the conference.
func callHall(b *testing.B, box *boxtest.Box, n int) *callers {
	b.Helper()
	c := &callers{}
	var err error
	if c.poller, err = rtp.NewPoller(); err != nil {
		b.Fatal(err)
	}
	happened := make(events, 100*n)
	agent := sip.New(sip.Config{
		Listen: []sip.Listener{{Network: "udp", Addr: "127.0.0.1:0"}}, Codecs: []audio.Codec{g711.PCMU()}, Poller: c.poller,
		Ports: rtp.NewPorts(rtp.PortsConfig{Bind: netip.MustParseAddr("127.0.0.1")}), MaxCalls: n, Handler: happened,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		<-done
		c.poller.Close()
	})
	<-agent.Ready()
	for range n {
		call, err := agent.Dial(sip.Dial{To: box.URI(box.Conference)})
		if err != nil {
			b.Fatal(err)
		}
		for up := false; !up; {
			select {
			case e := <-happened:
				if up = e.Kind == sip.Answered; e.Kind == sip.Ended {
					b.Fatalf("a call came to nothing: %d %s", e.Code, e.Reason)
				}
			case <-time.After(20 * time.Second):
				b.Fatal("a call is not answered")
			}
		}
		c.legs = append(c.legs, call.Leg())
	}
	return c
}

// talk sends digital silence on all legs and now and then one loud packet, each leg at its own millisecond of the 20.
func (c *callers) talk(b *testing.B) {
	b.Helper()
	codec := g711.PCMU()
	encoder, err := codec.NewEncoder(codec.Format())
	if err != nil {
		b.Fatal(err)
	}
	silence, burst := bytes.Repeat([]byte{0xFF}, 160), make([]byte, 160)
	if _, err := encoder.Encode(phonetest.Tone(8000, 1000, -9, 20*time.Millisecond).Samples, burst); err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // the thread ends with it, as its priority is nobody else's
		defer close(done)
		runtime.LockOSThread()
		_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 45}, 0)
		var now unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
		due := -1 // who is to be loud next
		const warm = 2000
		for step := range warm + bursts*burstEvery + 200 {
			at := unix.NsecToTimespec(now.Nano() + int64(step)*int64(time.Millisecond))
			for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &at, nil) == unix.EINTR {
			}
			if n := step - warm; n >= 0 && n%burstEvery == 0 && n/burstEvery < bursts {
				due = n / burstEvery % phases
			}
			i := step % 20
			payload := silence
			if i == due {
				payload, due = burst, -1
			}
			c.legs[i].WritePacket(codec.Format(), payload)
			if i == 0 {
				c.legs[phases].WritePacket(codec.Format(), silence)
				c.poller.Drain(time.Now())
			}
		}
	}()
	<-done
}
