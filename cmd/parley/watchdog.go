package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"parley/hal/watchdog"
)

// The watchdog looks at the parts that must go on:
//
//	counters of mixer, house, SIP, MQTT ─► watchdog.Judge ─► all go on: feed the device and tell the supervisor
//	                                                       └► one stands too long: write down why, end with status 70
//
// Whoever started the program starts it again then, and the place is muted, because the last run did not end in order.

const (
	lookEvery = 20 * time.Millisecond
	feedEvery = time.Second
	// deviceTimeout is how long the machine waits for a program that does not even run this.
	deviceTimeout = 10 * time.Second
	// causePatience is how long the end waits for the disk to take the cause.
	causePatience = 300 * time.Millisecond
	// stalled is the exit status of a program that has given itself up.
	stalled = 70
)

// guardian watches over the box.
type guardian struct {
	box        *box
	supervisor watchdog.Supervisor
	device     *watchdog.Device // nil: there is none, or it is switched off
	probes     atomic.Uint64
	stalls     atomic.Uint64 // parts that stood, some of which went on again
	hushed     bool          // the place is muted for it; the house's
}

// parts are what must go on, and how long each may stand. The mixer is real-time: it is seen after 200 ms at most, but given up only
// after a second, in which this thread ran on time and that one did not once: a busy machine does not do that.
func (g *guardian) parts() []watchdog.Part {
	b := g.box
	connection := func() uint64 { n, _ := b.client.Turns(); return n }
	handlers := func() uint64 { _, n := b.client.Turns(); return n }
	return []watchdog.Part{
		{Name: "mixer", Count: func() uint64 { return b.mixer.Stats().Ticks }, Seen: 130 * time.Millisecond, Lost: time.Second},
		{Name: "house", Count: func() uint64 { return uint64(b.house.pulse.house.Load()) }, Seen: 2 * time.Second, Lost: 10 * time.Second},
		{Name: "sip", Count: g.probes.Load, Seen: 5 * time.Second, Lost: 30 * time.Second},
		{Name: "mqtt", Count: connection, Seen: 3 * time.Minute, Lost: 5 * time.Minute},
		{Name: "mqtt handlers", Count: handlers, Seen: 5 * time.Second, Lost: 60 * time.Second},
	}
}

// Run watches until ctx ends.
func (g *guardian) Run(ctx context.Context) error {
	b := g.box
	if err := g.open(); err != nil {
		b.house.post(func() { b.house.fault("watchdog", true, fmt.Sprintf("the machine's watchdog is not used: %v", err)) })
	}
	defer g.close()
	go g.probe(ctx) // it may stand in a lock for good, and then nobody can wait for it
	judge := watchdog.NewJudge(lookEvery, g.parts()...)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	g.supervisor.Tell("READY=1")
	feed := feedEvery
	if every := g.supervisor.Fed(); every > 0 {
		feed = min(feed, every)
	}
	var fed time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
		now := time.Now()
		v := judge.Look(now)
		for _, name := range v.Stands {
			g.stalls.Add(1)
			b.log.Error("a part of the box stands", "part", name)
			g.hush(name, true)
		}
		for _, name := range v.Goes {
			b.log.Warn("a part of the box goes on again", "part", name)
			g.hush(name, false)
		}
		if v.Lost != "" {
			g.giveUp(v.Lost, v.Idle)
		}
		if v.Well && now.Sub(fed) >= feed {
			fed = now
			g.feed()
		}
	}
}

// probe shows that the SIP agent goes on: it asks for what is guarded by its lock, which all of its work takes, and sends it a keep-alive, which
// its reader fetches once it is done with what came before. A flood of others' messages does not hide that.
func (g *guardian) probe(ctx context.Context) {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	knock, heard := knocker(g.box.agent), uint64(0)
	for {
		g.box.agent.Calls()
		if n := g.box.agent.Heard(); knock() != nil || n != heard {
			heard = n
			g.probes.Add(1)
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

func (g *guardian) open() error {
	path := g.box.cfg.Watchdog.Device
	if path == "auto" {
		path = g.box.board.Watchdog
	}
	if path == "" || path == "off" {
		return nil
	}
	d, err := watchdog.Open(path, deviceTimeout)
	g.device = d
	return err
}

func (g *guardian) feed() {
	g.supervisor.Tell("WATCHDOG=1")
	if g.device == nil {
		return
	}
	if err := g.device.Feed(); err != nil {
		g.box.log.Warn("the machine's watchdog cannot be fed", "error", err)
	}
}

// close stops the machine's watchdog: the box was asked to end.
func (g *guardian) close() {
	if g.device != nil {
		g.device.Close()
	}
}

// giveUp ends the program at once. Nothing is stopped in order: something stands that would be waited for.
func (g *guardian) giveUp(part string, idle time.Duration) {
	// Should a thread stand where the runtime cannot have it wait, looking at the stacks has all others wait for it.
	watchdog.EndWithin(3 * causePatience)
	written := make(chan struct{})
	go func() {
		defer close(written)
		g.box.data.write(lastStall, stallText(part, idle, time.Now()))
	}()
	select {
	case <-written:
	case <-time.After(causePatience):
	}
	fmt.Fprintf(os.Stderr, "parley: %s has stood for %v: the program ends, to be started again\n", part, idle.Round(time.Millisecond))
	os.Exit(stalled)
}

// Files of the data folder that tell the next start how the last one ended; what was told is kept under another name, for support.
const (
	lastStall = "last-stall"
	lastCrash = "last-crash"
	toldName  = ".told"
	// maxCause bounds a cause, in bytes.
	maxCause = 64 << 10
)

func stallText(part string, idle time.Duration, at time.Time) string {
	stacks := make([]byte, maxCause)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return fmt.Sprintf("%s stood for %v\nat %s, firmware %s\n\n%s", part, idle, at.UTC().Format(time.RFC3339), firmware(), stacks)
}

// keepCrash has the Go runtime write what it says of a panic into the data folder as well.
func (b *box) keepCrash() {
	f, err := os.OpenFile(b.data.path(lastCrash), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err == nil {
		err = debug.SetCrashOutput(f, debug.CrashOptions{})
		f.Close()
	}
	if err != nil {
		b.log.Debug("the cause of a crash could not be kept", "error", err)
	}
}

// causeStays is how long the alert of why the box started again is to be seen.
const causeStays = 10 * time.Minute

// tellCause tells once why the last run ended, if it did not end in order. It is called before keepCrash.
func (b *box) tellCause() {
	for _, name := range []string{lastStall, lastCrash} {
		text := headOf(b.data.path(name))
		if text == "" {
			continue
		}
		if err := os.Rename(b.data.path(name), b.data.path(name+toldName)); err != nil {
			b.log.Warn("why the box started again will be told once more", "error", err)
		}
		b.log.Error("the last run did not end in order", "cause", text, "more", b.data.path(name+toldName))
		b.causes = append(b.causes, text)
	}
}

// tellCauses tells on MQTT what tellCause has found. The lamp does not show it: the box works. It belongs to the house's goroutine.
func (b *box) tellCauses() {
	if len(b.causes) == 0 {
		return
	}
	b.topics.alert("restarted", fault{text: "the last run did not end in order: " + strings.Join(b.causes, "; "), since: b.house.now()})
	time.AfterFunc(causeStays, func() { b.house.post(func() { b.topics.alert("restarted", fault{}) }) })
}

// headOf is the first line of a file, empty if there is none.
func headOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	head := make([]byte, 256)
	n, _ := f.Read(head)
	line, _, _ := strings.Cut(strings.TrimSpace(string(head[:n])), "\n")
	return strings.ToValidUTF8(line, "?")
}
