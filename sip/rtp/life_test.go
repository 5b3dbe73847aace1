package rtp

import (
	"errors"
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
		if err := l.SendDTMF('1', time.Second); !errors.Is(err, ErrClosed) {
			t.Fatalf("SendDTMF after Close: %v", err)
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
