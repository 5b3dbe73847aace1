package view

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"parley/hal"
)

// pty is a terminal: what the test writes to master is typed, what it reads there is shown.
func pty(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	var n int
	if err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err == nil {
		n, err = unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	}
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	return master, terminal
}

// transcript is everything that was written to a file.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	done chan struct{}
}

func record(r io.Reader) *transcript {
	x := &transcript{done: make(chan struct{})}
	go func() {
		defer close(x.done)
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			x.mu.Lock()
			x.text.Write(buf[:n])
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return x
}

func (x *transcript) String() string { x.mu.Lock(); defer x.mu.Unlock(); return x.text.String() }

func (x *transcript) wait(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(x.String(), want); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q is not shown; shown is %q", want, x)
		}
	}
}

func waitRunning(t *testing.T, v *View) {
	t.Helper()
	running := func() bool { v.mu.Lock(); defer v.mu.Unlock(); return v.state == taken }
	for deadline := time.Now().Add(10 * time.Second); !running(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("Run does not run")
		}
	}
}

func nextEdge(t *testing.T, edges <-chan hal.Edge) hal.Edge {
	t.Helper()
	select {
	case e := <-edges:
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("no edge")
	}
	panic("unreachable")
}

// On a terminal: a picture, keys, and in the end the terminal as it was.
func TestLive(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Setenv("TERM", "xterm")
	master, terminal := pty(t)
	was, err := term.GetState(int(terminal.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	shown := record(master)
	quit := make(chan struct{})
	v := New(Config{In: terminal, Out: terminal, Snapshot: sample, Quit: func() { close(quit) }, Debounce: 20 * time.Millisecond})
	if !v.Live() {
		t.Fatal("a terminal is not taken for one")
	}
	ctx, stop := context.WithCancel(context.Background())
	edges, ended := make(chan hal.Edge), make(chan error)
	go func() { ended <- v.Run(ctx, edges) }()
	shown.wait(t, "\x1b[?1049h")
	shown.wait(t, "alice")
	fmt.Fprint(v, "a line of the \x1b[31mlog\n")
	shown.wait(t, " a line of the [31mlog")
	v.Light(hal.LampStatus, true)
	shown.wait(t, "\x1b[32m●")

	io.WriteString(master, "m")
	down, up := nextEdge(t, edges), nextEdge(t, edges)
	if down.Key != hal.KeyMute || !down.Down || up.Key != hal.KeyMute || up.Down || up.At.Sub(down.At) <= 20*time.Millisecond {
		t.Errorf("m gives %+v and %+v", down, up)
	}
	io.WriteString(master, "\x1b[A?")
	shown.wait(t, "join the conference, answer a call")
	io.WriteString(master, "\x03")
	<-quit
	stop()
	if err := <-ended; err != context.Canceled {
		t.Error(err)
	}
	shown.wait(t, "\x1b[?25h\x1b[?1049l")
	shown.wait(t, "\x1b[?1049la line of the [31mlog\r\n") // what was logged outlives the picture
	if now, err := term.GetState(int(terminal.Fd())); err != nil || fmt.Sprint(*now) != fmt.Sprint(*was) {
		t.Errorf("the terminal is left as %v, was %v (%v)", now, was, err)
	}
	terminal.Close()
	<-shown.done
	master.Close()
}

// Without a terminal: lines, the mute lamp in words, keys only if they are asked for.
func TestLines(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, pipe := range []bool{false, true} {
		in, typed, _ := os.Pipe()
		read, out, _ := os.Pipe()
		shown := record(read)
		quit := make(chan struct{}, 1)
		v := New(Config{In: in, Out: out, Snapshot: sample, Quit: func() { quit <- struct{}{} }, Debounce: 20 * time.Millisecond, Pipe: pipe})
		if v.Live() {
			t.Fatal("a pipe is taken for a terminal")
		}
		fmt.Fprintln(v, "before")
		shown.wait(t, "before\n")
		ctx, stop := context.WithCancel(context.Background())
		edges, ended := make(chan hal.Edge, 10), make(chan error)
		go func() { ended <- v.Run(ctx, edges) }()
		waitRunning(t, v)
		v.Light(hal.LampMute, true)
		v.Light(hal.LampStatus, true)
		v.Light(hal.LampMute, true)
		fmt.Fprint(v, "one\ntwo \x1b[2Jx\n")
		shown.wait(t, "lamp mute on\none\ntwo [2Jx\n")
		io.WriteString(typed, "jq")
		typed.Close()
		if pipe {
			if down, up := nextEdge(t, edges), nextEdge(t, edges); down.Key != hal.KeyJoin || !down.Down || up.Down {
				t.Errorf("j gives %+v, %+v", down, up)
			}
			<-quit
		}
		stop()
		if err := <-ended; err != context.Canceled {
			t.Error(err)
		}
		fmt.Fprintln(v, "after")
		shown.wait(t, "after\n")
		if len(edges)+len(quit) != 0 || strings.Contains(shown.String(), "status") {
			t.Errorf("keys of a pipe, or the status lamp: %q", shown)
		}
		in.Close()
		out.Close()
		<-shown.done
		read.Close()
	}
}

// A flood of lines is cut and counted, and whoever logs never waits for a reader that does not read.
func TestFlood(t *testing.T) {
	defer goleak.VerifyNone(t)
	in, typed, _ := os.Pipe()
	read, out, _ := os.Pipe()
	v := New(Config{In: in, Out: out, Snapshot: sample, Quit: func() {}})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- v.Run(ctx, make(chan hal.Edge)) }()
	waitRunning(t, v)
	line := strings.Repeat("x", 900)
	for range 5 * keepQueue {
		fmt.Fprintln(v, line) // 4.5 MB, of which a pipe holds 64 kB
	}
	shown := record(read)
	shown.wait(t, "lines left out")
	stop()
	<-ended
	out.Close()
	<-shown.done
	lines := strings.Count(shown.String(), line)
	var left, sum int
	for l := range strings.Lines(shown.String()) {
		if n, _ := fmt.Sscanf(l, "… %d lines left out", &left); n == 1 {
			sum += left
		}
	}
	if lines < lineBurst/2 || lines > 2*lineBurst || sum == 0 || lines+sum > 5*keepQueue {
		t.Errorf("%d lines shown, %d counted as left out", lines, sum)
	}
	for _, f := range []*os.File{in, typed, read} {
		f.Close()
	}
}

// A reader that does not read cannot keep the box from ending, nor hold up those who log after that.
func TestStalledReader(t *testing.T) {
	defer goleak.VerifyNone(t)
	in, typed, _ := os.Pipe()
	read, out, _ := os.Pipe()
	v := New(Config{In: in, Out: out, Snapshot: sample, Quit: func() {}})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- v.Run(ctx, make(chan hal.Edge)) }()
	waitRunning(t, v)
	for range 5 * keepQueue {
		fmt.Fprintln(v, strings.Repeat("x", 900))
	}
	stop()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not end")
	}
	for range 100 {
		fmt.Fprintln(v, strings.Repeat("y", 900))
	}
	rest := record(read) // lets the goroutine that hangs in the write go on
	out.SetWriteDeadline(time.Now())
	out.Close()
	<-rest.done
	if strings.Contains(rest.String(), "y") {
		t.Error("written to a reader that was given up")
	}
	for _, f := range []*os.File{in, typed, read} {
		f.Close()
	}
}

func TestKeyboard(t *testing.T) {
	for _, x := range []struct{ typed, want string }{
		{"mj+-", "mute join volume-up volume-down"},
		{" =_", "mute volume-up volume-down"},
		{"?q\x03", "help quit quit"},
		{"\x1b[A\x1b[1;5Bm", "mute"},
		{"\x1bOPj", "join"},
		{"\x1bm", ""},
		{"\x1b[200~m", "mute"},
		{"xyz\x00\xff\r\n", ""},
		{"\x1b|m", "mute"}, // the escape key, later m
		{"\x1b[|Am", "mute"},
	} {
		var d decoder
		var got []string
		for _, chunk := range strings.Split(x.typed, "|") {
			d.chunk([]byte(chunk), func(c command, k hal.Key) {
				got = append(got, map[command]string{press: k.String(), toggleHelp: "help", quit: "quit"}[c])
			})
		}
		if s := strings.Join(got, " "); s != x.want {
			t.Errorf("%q gives %q, want %q", x.typed, s, x.want)
		}
	}
}

// A key that is held repeats its byte: mute and join stay one press, volume goes on in steps that the debounce can tell apart.
func TestHeldKeys(t *testing.T) {
	for _, x := range []struct {
		key         hal.Key
		every, for_ int
		least, most int
		long        bool
	}{
		{key: hal.KeyReset, every: 33, for_: 11000, least: 1, most: 1, long: true},
		{key: hal.KeyReset, every: 660, for_: 11000, least: 1, most: 1, long: true},
		{key: hal.KeyReset, every: 660, for_: 8000, least: 1, most: 1},
		{key: hal.KeyReset, every: 1500, for_: 20000, least: 10, most: 20},
		{hal.KeyMute, 33, 1000, 1, 1, false},
		{hal.KeyJoin, 92, 1000, 1, 1, false},
		{hal.KeyVolumeUp, 33, 1000, 8, 15, false},
		{hal.KeyJoin, 150, 300, 2, 2, false},
	} {
		f, d := newFingers(20*time.Millisecond), hal.NewDebounce(hal.DefaultTiming())
		presses, long := 0, false
		count := func(events []hal.Event) {
			for _, e := range events {
				if e.Kind == hal.Pressed {
					presses++
				}
				long = long || e.Kind == hal.LongPress
			}
		}
		for ms := 0; ms < x.for_+1200; ms++ {
			now := time.Unix(0, int64(ms)*1e6)
			if ms%x.every == 0 && ms < x.for_ && f.hit(x.key, now) {
				count(d.Edge(hal.Edge{Key: x.key, Down: true, At: now}))
			}
			f.lift(now, func(k hal.Key) { count(d.Edge(hal.Edge{Key: k, At: now})) })
		}
		count(d.Advance(time.Unix(40, 0)))
		if long != x.long {
			t.Errorf("%s every %d ms for %d ms: a long press: %v", x.key, x.every, x.for_, long)
		}
		if presses < x.least || presses > x.most {
			t.Errorf("%s every %d ms for %d ms: %d presses, want %d to %d", x.key, x.every, x.for_, presses, x.least, x.most)
		}
	}
}

func FuzzKeyboard(f *testing.F) {
	f.Add([]byte("mj\x1b[A"), []byte("q"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var d decoder
		for _, chunk := range [][]byte{a, b} {
			d.chunk(chunk, func(c command, k hal.Key) {
				if c == nothing || c > quit || k >= hal.NumKeys {
					t.Errorf("command %d, key %d", c, k)
				}
			})
		}
	})
}
