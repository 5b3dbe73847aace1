package gpio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley/hal"
)

// fakeLine is a line with a queue of edges, as the kernel keeps one.
type fakeLine struct {
	mu     sync.Mutex // holds what follows
	high   bool
	input  bool
	output bool
	closed bool
	pull   Pull
	sets   []bool
	err    error
	edges  chan struct{}
	gone   chan struct{} // closed: every wait returns at once
}

func newFakeLine() *fakeLine {
	return &fakeLine{edges: make(chan struct{}, 16), gone: make(chan struct{})}
}

func (f *fakeLine) Input(p Pull) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.input, f.pull = true, p
	return f.err
}
func (f *fakeLine) Output(high bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.output, f.high = true, high
		f.sets = append(f.sets, high)
	}
	return f.err
}
func (f *fakeLine) High() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.high }
func (f *fakeLine) Close()     { f.mu.Lock(); defer f.mu.Unlock(); f.closed = true }
func (f *fakeLine) Wait(d time.Duration) bool {
	select {
	case <-f.edges:
		return true
	case <-f.gone:
		return false
	case <-time.After(d):
		return false
	}
}

// set changes the level; the kernel notes an edge unless it is lost.
func (f *fakeLine) set(high, lost bool) {
	f.mu.Lock()
	f.high = high
	f.mu.Unlock()
	if !lost {
		f.edges <- struct{}{}
	}
}

type fakeChip map[int]*fakeLine

func (c fakeChip) find(_ string, n int) (line, error) {
	if l, ok := c[n]; ok {
		return l, nil
	}
	return nil, fmt.Errorf("%w: fake", ErrNoLine)
}

var config = Config{Chip: "fake", Keys: []KeyLine{
	{Key: hal.KeyMute, Line: 1, ActiveLow: true, Pull: PullUp},
	{Key: hal.KeyJoin, Line: 2},
}, Lamps: []LampLine{{Lamp: hal.LampMute, Line: 3}, {Lamp: hal.LampStatus, Line: 4, ActiveLow: true}}}

func newFakeChip() fakeChip {
	c := fakeChip{1: newFakeLine(), 2: newFakeLine(), 3: newFakeLine(), 4: newFakeLine()}
	c[1].high = true
	return c
}

func next(t *testing.T, edges <-chan hal.Edge) hal.Edge {
	t.Helper()
	select {
	case e := <-edges:
		if e.At.IsZero() {
			t.Errorf("no time: %+v", e)
		}
		e.At = time.Time{}
		return e
	case <-time.After(5 * time.Second):
		t.Fatal("no edge")
	}
	panic("unreachable")
}

func TestKeys(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := newFakeChip()
	p, err := open(config, c.find)
	if err != nil {
		t.Fatal(err)
	}
	if !c[1].input || c[1].pull != PullUp || !c[2].input || c[2].pull != PullNone {
		t.Error("keys are no inputs, or without their bias")
	}
	ctx, stop := context.WithCancel(context.Background())
	edges, ended := make(chan hal.Edge), make(chan error)
	go func() { ended <- p.Run(ctx, edges) }()
	first := map[hal.Edge]bool{next(t, edges): true, next(t, edges): true}
	if !first[hal.Edge{Key: hal.KeyMute, Initial: true}] || !first[hal.Edge{Key: hal.KeyJoin, Initial: true}] {
		t.Errorf("found %v", first)
	}
	want := func(key hal.Key, down bool) {
		t.Helper()
		if e := next(t, edges); e != (hal.Edge{Key: key, Down: down}) {
			t.Errorf("got %+v, want %s %v", e, key, down)
		}
	}
	c[1].set(false, false)
	want(hal.KeyMute, true)
	c[1].set(true, false)
	want(hal.KeyMute, false)
	c[2].set(true, false)
	want(hal.KeyJoin, true)
	// An edge that the kernel lost is found by looking.
	c[2].set(false, true)
	want(hal.KeyJoin, false)
	// A press that was over before it could be looked at is one all the same.
	c[1].edges <- struct{}{}
	want(hal.KeyMute, true)
	want(hal.KeyMute, false)
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	p.Close()
	for n, l := range c {
		if !l.closed {
			t.Errorf("line %d is not given back", n)
		}
	}
}

// A reader that does not read holds up neither the end nor the other keys' lines.
func TestRunEndsWithoutAReader(t *testing.T) {
	defer goleak.VerifyNone(t)
	p, err := open(config, newFakeChip().find)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := p.Run(ctx, make(chan hal.Edge)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A line that can no longer be waited on is told with its name, is no busy loop, and heals.
func TestLostLine(t *testing.T) {
	defer goleak.VerifyNone(t)
	c, faults := newFakeChip(), make(chan error, 10)
	conf := config
	conf.Keys = conf.Keys[:1]
	conf.Fault = func(k hal.Key, err error) {
		if k != hal.KeyMute {
			t.Errorf("fault of key %s", k)
		}
		faults <- err
	}
	p, err := open(conf, c.find)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	back := c[1].gone
	close(back)
	pauses := 0
	p.pause = func(_ context.Context, d time.Duration) {
		if d == reopenEvery { // the line comes back
			c[1].gone = make(chan struct{})
			return
		}
		pauses++
	}
	edges, ended := make(chan hal.Edge), make(chan error)
	go func() { ended <- p.Run(ctx, edges) }()
	next(t, edges)
	if err := <-faults; !errors.Is(err, ErrNoEdges) || !strings.Contains(err.Error(), "key mute on fake line 1") {
		t.Error(err)
	}
	if err := <-faults; err != nil {
		t.Errorf("back with %v", err)
	}
	if e := next(t, edges); !e.Initial || pauses != maxBadWaits {
		t.Errorf("%+v after %d pauses", e, pauses)
	}
	c[1].set(false, false)
	if e := next(t, edges); e != (hal.Edge{Key: hal.KeyMute, Down: true}) {
		t.Errorf("got %+v", e)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestLamps(t *testing.T) {
	c := newFakeChip()
	p, err := open(config, c.find)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, on := range []bool{true, false} {
		for _, l := range []hal.Lamp{hal.LampMute, hal.LampStatus} {
			if err := p.Light(l, on); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := fmt.Sprint(c[3].sets, c[4].sets); got != "[false true false] [true false true]" {
		t.Errorf("dark, lit, dark gives levels %s", got)
	}
	if err := p.Light(hal.NumLamps, true); err != nil {
		t.Error(err)
	}
	c[3].err = syscall.ENODEV
	if err := p.Light(hal.LampMute, true); !errors.Is(err, ErrLine) || !strings.Contains(err.Error(), "lamp mute") {
		t.Error(err)
	}
}

// A line that cannot be had is named with what can be done, and what was taken before is given back.
func TestOpenErrors(t *testing.T) {
	for _, x := range []struct {
		err  error
		is   error
		want string
	}{
		{syscall.EBUSY, ErrLine, "gpioinfo tells who"},
		{syscall.EACCES, ErrPermission, "run as root"},
		{syscall.EIO, ErrLine, "input/output error"},
	} {
		c := newFakeChip()
		c[2].err = x.err
		_, err := open(config, c.find)
		if !errors.Is(err, x.is) || !strings.Contains(err.Error(), "key join on fake line 2") || !strings.Contains(err.Error(), x.want) {
			t.Error(err)
		}
		if !c[1].closed || !c[2].closed {
			t.Error("lines are kept")
		}
	}
	c := newFakeChip()
	delete(c, 4)
	_, err := open(config, c.find)
	if !errors.Is(err, ErrNoLine) || !strings.Contains(err.Error(), "lamp status on fake line 4") || !c[3].closed {
		t.Error(err)
	}
}

// Why there is no such chip is told apart.
func TestMissingChip(t *testing.T) {
	dir := t.TempDir()
	devices := filepath.Join(dir, "gpiochip*")
	if err := missing("x", nil, devices); !errors.Is(err, ErrNoChip) || !strings.Contains(err.Error(), "this machine has none") {
		t.Error(err)
	}
	file := filepath.Join(dir, "gpiochip0")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := missing("x", []string{"other"}, devices); !errors.Is(err, ErrNoChip) || !strings.Contains(err.Error(), "there are other") {
		t.Error(err)
	}
	if os.Geteuid() != 0 {
		if err := os.Chmod(file, 0); err != nil {
			t.Fatal(err)
		}
		if err := missing("x", nil, devices); !errors.Is(err, ErrPermission) {
			t.Error(err)
		}
	}
}

// On a machine without the chip, Open says so; this is the only test that goes through periph.
func TestOpenWithoutChip(t *testing.T) {
	_, err := Open(Config{Chip: "no-such-chip", Keys: []KeyLine{{Line: 1}}})
	if !errors.Is(err, ErrNoChip) && !errors.Is(err, ErrPermission) {
		t.Error(err)
	}
}
