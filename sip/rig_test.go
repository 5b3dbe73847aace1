package sip

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gosip "github.com/emiago/sipgo/sip"
	"go.uber.org/goleak"

	"parley/audio"
	"parley/audio/g711"
	"parley/audio/g722"
	"parley/sip/rtp"
)

// patience bounds every wait of these tests: it is reached only when something is broken.
const patience = 10 * time.Second

func TestMain(m *testing.M) {
	gosip.SetTimers(100*time.Millisecond, 400*time.Millisecond, 500*time.Millisecond)
	gosip.Timer_D = 500 * time.Millisecond
	goleak.VerifyTestMain(m)
}

// end is one agent with what a box would have around it: sockets drained by a tick, a handler that writes down.
type end struct {
	t      testing.TB
	agent  *Agent
	poller *rtp.Poller
	cancel context.CancelFunc
	done   chan error

	mu       sync.Mutex
	incoming func(*Call)
	calls    chan *Call
	events   map[*Call]chan Event
	legs     map[*Call]audio.Format
}

// quick are timers for tests: nobody waits for seconds.
func quick() Timers {
	return Timers{T1: 30 * time.Millisecond, T2: 120 * time.Millisecond, AckWait: 5 * time.Second, Try: 5 * time.Second,
		NoAnswer: 5 * time.Second, Linger: 2 * time.Second, MediaCheck: 10 * time.Millisecond, MediaAlert: time.Hour, MediaEnd: 2 * time.Hour,
		Glare: 20 * time.Millisecond, RegisterRetry: 20 * time.Millisecond}
}

type option func(*Config)

// listen puts other listeners in place of UDP on 127.0.0.1.
func listen(addrs ...string) option {
	return func(c *Config) {
		c.Listen = nil
		for _, a := range addrs {
			network, addr, _ := strings.Cut(a, " ")
			c.Listen = append(c.Listen, Listener{Network: network, Addr: addr})
		}
	}
}

func newEnd(t testing.TB, opts ...option) *end {
	t.Helper()
	e := restEnd(t, opts...)
	e.start()
	return e
}

// restEnd is an end whose agent does not run yet.
func restEnd(t testing.TB, opts ...option) *end {
	t.Helper()
	e := &end{t: t, calls: make(chan *Call, 64), events: map[*Call]chan Event{}, legs: map[*Call]audio.Format{}, done: make(chan error, 1)}
	e.incoming = func(c *Call) { c.Answer() }
	var err error
	if e.poller, err = rtp.NewPoller(); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Listen: []Listener{{"udp", "127.0.0.1:0"}},
		Codecs: []audio.Codec{g722.New(), g711.PCMU(), g711.PCMA()},
		Ports:  rtp.NewPorts(rtp.PortsConfig{Bind: netip.MustParseAddr("127.0.0.1")}),
		Poller: e.poller, Handler: e, Timers: quick(),
	}
	if os.Getenv("SIPLOG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for _, o := range opts {
		o(&cfg)
	}
	e.agent = New(cfg)
	return e
}

// start has the agent run until the test is over.
func (e *end) start() {
	t := e.t
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	go func() { e.done <- e.agent.Run(ctx) }()
	stop := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() { e.tick(stop) })
	select {
	case <-e.agent.Ready():
	case err := <-e.done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.stop()
		close(stop)
		ticking.Wait()
		e.poller.Close()
	})
}

// stop ends the agent; again does nothing.
func (e *end) stop() {
	if e.done == nil {
		return
	}
	e.cancel()
	select {
	case err := <-e.done:
		if err != nil {
			e.t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		e.t.Error("Run does not end")
	}
	e.done = nil
}

// tick does what the mixer does: receives, and sends silence on every answered leg.
func (e *end) tick(stop chan struct{}) {
	clock := time.NewTicker(10 * time.Millisecond)
	defer clock.Stop()
	var f audio.Frame
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case now := <-clock.C:
			e.poller.Drain(now)
		}
		e.mu.Lock()
		legs := make(map[*Call]audio.Format, len(e.legs))
		for c, f := range e.legs {
			legs[c] = f
		}
		e.mu.Unlock()
		for c, format := range legs {
			leg := c.Leg()
			leg.ReadFrame(format.SampleRate, &f)
			if n%2 == 0 {
				leg.WritePacket(format, make([]byte, 160))
			}
		}
	}
}

// Incoming implements Handler.
func (e *end) Incoming(c *Call) {
	e.mu.Lock()
	decide := e.incoming
	e.mu.Unlock()
	e.channel(c)
	e.calls <- c
	decide(c)
}

// Event implements Handler.
func (e *end) Event(c *Call, ev Event) {
	e.mu.Lock()
	switch ev.Kind {
	case Answered, MediaChanged, EarlyMedia:
		if c.Leg() != nil {
			e.legs[c] = c.Leg().Format()
		}
	case Ended:
		delete(e.legs, c)
	}
	e.mu.Unlock()
	e.channel(c) <- ev
}

func (e *end) channel(c *Call) chan Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.events[c] == nil {
		e.events[c] = make(chan Event, 256)
	}
	return e.events[c]
}

func (e *end) decide(f func(*Call)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.incoming = f
}

// addr is the address of the agent's first listener of a network.
func (e *end) addr(network string) string {
	for _, l := range e.agent.Addrs() {
		if l.Network == network {
			return l.Addr
		}
	}
	e.t.Fatalf("no %s listener", network)
	return ""
}

// uri is how to call number here over a network.
func (e *end) uri(number, network string) string {
	u := fmt.Sprintf("sip:%s@%s", number, e.addr(network))
	if network != "udp" {
		u += ";transport=" + network
	}
	return u
}

// next is the call that comes in next.
func (e *end) next() *Call {
	e.t.Helper()
	select {
	case c := <-e.calls:
		return c
	case <-time.After(patience):
		e.t.Fatal("no call came in")
		return nil
	}
}

// want waits for an event of the call of one of these kinds and passes over others, but not over Ended.
func (e *end) want(c *Call, kinds ...EventKind) Event {
	e.t.Helper()
	for {
		select {
		case ev := <-e.channel(c):
			if slices.Contains(kinds, ev.Kind) {
				return ev
			}
			if ev.Kind == Ended {
				e.t.Fatalf("want %v, but the call ended: %d %s by %v", kinds, ev.Code, ev.Reason, ev.By)
			}
		case <-time.After(patience):
			e.t.Fatalf("no event of %v", kinds)
		}
	}
}

// wantEnded waits for the call's end with this code.
func (e *end) wantEnded(c *Call, code int, by Side) Event {
	e.t.Helper()
	for {
		select {
		case ev := <-e.channel(c):
			if ev.Kind != Ended {
				continue
			}
			if ev.Code != code || ev.By != by {
				e.t.Fatalf("ended %d %q by %v, want %d by %v", ev.Code, ev.Reason, ev.By, code, by)
			}
			return ev
		case <-time.After(patience):
			e.t.Fatal("the call does not end")
		}
	}
}

func (e *end) dial(d Dial) *Call {
	e.t.Helper()
	c, err := e.agent.Dial(d)
	if err != nil {
		e.t.Fatal(err)
	}
	return c
}

// call sets up a call from e to b over a network: both sides of it.
func (e *end) call(b *end, network string) (*Call, *Call) {
	e.t.Helper()
	out := e.dial(Dial{To: b.uri("1000", network), From: "200"})
	in := b.next()
	e.want(out, Answered)
	b.want(in, Answered)
	return out, in
}

// until polls for something that has no event.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
