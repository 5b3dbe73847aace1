// Package view is the board on the desk: the terminal shows what the box does, and the keyboard is its keys.
//
//	keyboard --bytes--> decoder --> fingers --> hal.Edge
//	Snapshot --> Render --> terminal;   log lines --> View.Write --> the picture, or plain lines where there is no terminal
//
// It draws what it is given. It must not know where a figure comes from, nor decide what a key does.
package view

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"parley/hal"
)

// Config is what a View stands on.
type Config struct {
	In, Out  *os.File        // keyboard and screen
	Snapshot func() Snapshot // asked for every picture, from Run's goroutine; must not block
	Quit     func()          // the quit key; Run goes on until its context ends
	Debounce time.Duration   // of the keys, so that a press is long enough
	Pipe     bool            // take keys from In although it is no terminal
	Plain    bool            // write lines although Out is a terminal
	NoColour bool
}

const (
	frameEvery = 100 * time.Millisecond
	keepLog    = 200  // lines shown again, and told when the picture is taken away
	keepQueue  = 1000 // lines that wait to be written where there is no picture
	tellAtEnd  = 20   // lines of the log that stay on the screen after the end
	maxLine    = 1000 // bytes of a line that are kept
	giveUp     = time.Second
)

// state is who has the output.
type state uint8

const (
	given   state = iota // whoever writes
	taken                // Run
	stalled              // nobody: it takes nothing, not even at the end
)

// View is a hal.Keys, a hal.Lamps and an io.Writer for log lines.
type View struct {
	config Config
	live   atomic.Bool

	mu      sync.Mutex // holds what follows
	state   state
	log     []string // live: the latest lines
	queue   []string // not live: lines to be written
	dropped int
	lit     [hal.NumLamps]bool
	help    bool
	wake    chan struct{}
}

// New is a view at rest. It is live, and draws, where In and Out are terminals that know more than lines.
func New(c Config) *View {
	kind := os.Getenv("TERM")
	live := !c.Plain && term.IsTerminal(int(c.In.Fd())) && term.IsTerminal(int(c.Out.Fd())) && kind != "dumb" && kind != ""
	v := &View{config: c, wake: make(chan struct{}, 1)}
	v.live.Store(live)
	return v
}

// Live tells whether the view draws; otherwise it writes lines.
func (v *View) Live() bool { return v.live.Load() }

// Light is hal.Lamps: the picture changes at once. Without a picture the mute lamp is told in a line; the status lamp blinks,
// and is not.
func (v *View) Light(lamp hal.Lamp, on bool) error {
	if lamp >= hal.NumLamps {
		return nil
	}
	v.mu.Lock()
	changed := v.lit[lamp] != on
	v.lit[lamp] = on
	v.mu.Unlock()
	if !changed {
		return nil
	}
	if !v.Live() && lamp == hal.LampMute {
		fmt.Fprintf(v, "lamp %s %s\n", lamp, map[bool]string{true: "on", false: "off"}[on])
	}
	v.redraw()
	return nil
}

// Write takes log lines. It never blocks while Run runs: without a picture, what cannot be written in time is dropped and
// counted. Before and after Run it writes through.
func (v *View) Write(p []byte) (int, error) {
	v.mu.Lock()
	if v.state != taken {
		s := v.state
		v.mu.Unlock()
		if s == stalled {
			return len(p), nil
		}
		return v.config.Out.Write(p)
	}
	for line := range bytes.Lines(p) {
		line = bytes.TrimRight(line, "\r\n")
		v.keep(string(line[:min(len(line), maxLine)]))
	}
	v.mu.Unlock()
	v.redraw()
	return len(p), nil
}

// keep puts a line where Run finds it; v.mu is held.
func (v *View) keep(line string) {
	switch {
	case v.Live():
		if len(v.log) == keepLog {
			copy(v.log, v.log[1:])
			v.log = v.log[:keepLog-1]
		}
		v.log = append(v.log, line)
	case len(v.queue) < keepQueue:
		v.queue = append(v.queue, line)
	default:
		v.dropped++
	}
}

// redraw asks Run for a picture, without waiting for it.
func (v *View) redraw() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// Run is hal.Keys: it draws, or writes lines, and sends the keyboard's edges, until ctx ends. It leaves the terminal as it
// found it. Whoever reads Out and does not read on cannot keep the box from ending: after a second what is still to be
// written is given up, and with it the one goroutine that hangs in the write.
func (v *View) Run(ctx context.Context, edges chan<- hal.Edge) error {
	restore := func() {}
	if v.Live() {
		was, err := term.MakeRaw(int(v.config.In.Fd()))
		v.live.Store(err == nil)
		restore = func() { term.Restore(int(v.config.In.Fd()), was) }
	}
	live := v.Live()
	if live || v.config.Pipe {
		var reader sync.WaitGroup
		defer reader.Wait()
		reader.Add(1)
		go func() {
			defer reader.Done()
			v.read(ctx, edges)
		}()
	}
	v.mu.Lock()
	v.state = taken
	v.mu.Unlock()
	written := make(chan struct{})
	go func() {
		defer close(written)
		if live {
			io.WriteString(v.config.Out, "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J") // a screen of our own
			v.draw(ctx)
			io.WriteString(v.config.Out, "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l")
		} else {
			v.tell(ctx)
		}
	}()
	<-ctx.Done()
	after := given
	select {
	case <-written:
	case <-time.After(giveUp):
		after = stalled
	}
	if live {
		restore()
	}
	v.leave(after)
	return ctx.Err()
}

// leave lets lines through again, those first that came too late for Run.
func (v *View) leave(to state) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state = to
	if to == given {
		for _, l := range append(v.log[max(0, len(v.log)-tellAtEnd):], v.queue...) {
			fmt.Fprintln(v.config.Out, harmless(l))
		}
	}
	v.log, v.queue = nil, nil
}

// draw draws until ctx ends. A picture that is the one before it is not sent again.
func (v *View) draw(ctx context.Context) {
	ticker := time.NewTicker(frameEvery)
	defer ticker.Stop()
	var last []byte
	for {
		width, height, err := term.GetSize(int(v.config.Out.Fd()))
		if err != nil || width <= 0 || height <= 0 {
			width, height = 80, 24
		}
		if frame := Render(v.snapshot(), width, height); !bytes.Equal(frame, last) {
			v.config.Out.Write(frame) // a terminal that is gone is told by ctx
			last = frame
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-v.wake:
		}
	}
}

// snapshot is the box's, with what only the view knows.
func (v *View) snapshot() Snapshot {
	s := v.config.Snapshot()
	v.mu.Lock()
	defer v.mu.Unlock()
	s.MuteLamp, s.StatusLamp = v.lit[hal.LampMute], v.lit[hal.LampStatus]
	s.Help, s.NoColour = v.help, v.config.NoColour
	s.Log = append([]string(nil), v.log...)
	return s
}

// read makes edges of the keyboard's bytes until ctx or the keyboard ends.
func (v *View) read(ctx context.Context, edges chan<- hal.Edge) {
	fd := int(v.config.In.Fd())
	var d decoder
	f := newFingers(v.config.Debounce)
	send := func(key hal.Key, down bool) {
		select {
		case edges <- hal.Edge{Key: key, Down: down, At: time.Now()}:
		case <-ctx.Done():
		}
	}
	wait, open := time.Hour, true
	for ctx.Err() == nil {
		wait = min(wait, frameEvery)
		if open {
			var buf [64]byte
			var n int
			if n, open = readWithin(fd, buf[:], wait); n > 0 {
				d.chunk(buf[:n], func(c command, key hal.Key) {
					switch c {
					case press:
						if f.hit(key, time.Now()) {
							send(key, true)
						}
					case toggleHelp:
						v.toggleHelp()
					case quit:
						v.config.Quit()
					}
				})
			}
		} else {
			select {
			case <-time.After(wait): // the last press is still to be let go
			case <-ctx.Done():
			}
		}
		if wait = f.lift(time.Now(), func(key hal.Key) { send(key, false) }); !open && wait == time.Hour {
			return
		}
	}
}

func (v *View) toggleHelp() {
	v.mu.Lock()
	v.help = !v.help
	v.mu.Unlock()
	v.redraw()
}

// readWithin reads what is there within d, and tells whether more may come. It does not block beyond that, as a read of a
// terminal would.
func readWithin(fd int, buf []byte, d time.Duration) (n int, open bool) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	ready, err := unix.Poll(fds, int(max(d.Milliseconds(), 1)))
	if err == unix.EINTR || err == nil && ready == 0 {
		return 0, true
	}
	if err != nil {
		return 0, false
	}
	n, err = unix.Read(fd, buf)
	if err == unix.EINTR || err == unix.EAGAIN {
		return 0, true
	}
	return max(n, 0), err == nil && n > 0
}
