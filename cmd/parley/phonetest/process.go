// Package phonetest runs foreign clients against the box and judges what they heard: baresip and sipp as telephones,
// mosquitto as an outside broker, espeak-ng as a talker; tones, levels and envelopes; packets with the kernel's time stamps.
//
// It is for tests only. It speaks to the box through sockets and files alone and must not know any of the box's packages.
// Everything that it starts ends with the test that started it; a program that is not installed fails the test with the
// line that installs it.
package phonetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// packages says which Debian package has a program.
var packages = map[string]string{
	"baresip":             "baresip-core",
	"espeak-ng":           "espeak-ng",
	"file":                "file",
	"gcc":                 "gcc",
	"ip":                  "iproute2",
	"janus":               "janus",
	"mkfs.ext4":           "e2fsprogs",
	"mosquitto":           "mosquitto",
	"mosquitto_passwd":    "mosquitto",
	"mosquitto_pub":       "mosquitto-clients",
	"mosquitto_sub":       "mosquitto-clients",
	"qemu-aarch64-static": "qemu-user-static",
	"qemu-arm-static":     "qemu-user-static",
	"qemu-system-aarch64": "qemu-system-arm",
	"qemu-system-arm":     "qemu-system-arm",
	"sipp":                "sip-tester",
	"ss":                  "iproute2",
	"stdbuf":              "coreutils",
}

// Need returns the path of a program, and fails the test with the line that installs it if it is not there.
func Need(t testing.TB, program string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	// Debian keeps daemons where an ordinary user's PATH does not look.
	if path, err := exec.LookPath("/usr/sbin/" + program); err == nil {
		return path
	}
	t.Fatalf("%s is not installed: make test installs it; by hand: apt-get install --no-install-recommends %s", program, packages[program])
	return ""
}

// Process is a foreign program that runs in a process group of its own.
type Process struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	keys io.WriteCloser
	done chan struct{} // closed when it has ended and all its output has been read

	mu      sync.Mutex
	changed *sync.Cond
	lines   []string
	ended   bool
}

// maxLines bounds what is kept of a program's output.
const maxLines = 20000

// Start runs a program in folder dir and collects the lines that it prints. It is stopped when the test ends, and if the
// test has failed by then, the last lines are told.
func Start(t testing.TB, dir, program string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, name: program, done: make(chan struct{})}
	p.changed = sync.NewCond(&p.mu)
	p.cmd = exec.Command(Need(t, program), args...)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), "TERM=dumb", "LC_ALL=C")
	// Pdeathsig: a test binary that panics runs no cleanup, and must not leave telephones behind.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if p.keys, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		t.Fatalf("starting %s: %v", program, err)
	}
	go p.collect(r)
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("%s %s said at last:\n%s", program, strings.Join(args, " "), p.Tail(40))
		}
	})
	return p
}

// InTime has the program go before everything else on the machine but a box's mixer, from now on: a telephone has a processor of its own, and is not late
// because others are at work. Threads that it has made already stay as they are. It needs root; without, the telephone is as late as it is.
func (p *Process) InTime() {
	unix.SchedSetAttr(p.PID(), &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0)
}

// collect reads the program's output to its end, then reaps it.
func (p *Process) collect(r io.ReadCloser) {
	defer close(p.done)
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), 1<<20)
	s.Split(splitLines)
	for s.Scan() {
		line := strings.TrimRight(s.Text(), " \t")
		p.mu.Lock()
		if line != "" && len(p.lines) < maxLines {
			p.lines = append(p.lines, line)
		}
		p.changed.Broadcast()
		p.mu.Unlock()
	}
	io.Copy(io.Discard, r)
	r.Close()
	p.cmd.Wait()
	p.mu.Lock()
	p.ended = true
	p.changed.Broadcast()
	p.mu.Unlock()
}

// splitLines ends lines at a carriage return too: baresip overwrites its status line with one.
func splitLines(data []byte, atEOF bool) (int, []byte, error) {
	for i, b := range data {
		if b == '\n' || b == '\r' {
			return i + 1, data[:i], nil
		}
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// Type writes to the program's standard input.
func (p *Process) Type(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.keys, text); err != nil {
		p.t.Errorf("%s: typing %q: %v", p.name, text, err)
	}
}

// PID is the program's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is the program's exit code once it has ended; −1 if a signal ended it.
func (p *Process) ExitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends a signal to the program's process group. One that has ended already is no error.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(-p.PID(), s); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.t.Errorf("%s: signal %v: %v", p.name, s, err)
	}
}

// Stop asks the program to end, kills it if it has not after 3 s, and waits for it.
func (p *Process) Stop() { p.end(syscall.SIGTERM) }

// Kill ends the program as kill −9 does, and waits for it.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

func (p *Process) end(s syscall.Signal) {
	select {
	case <-p.done:
		return
	default:
	}
	p.Signal(s)
	select {
	case <-p.done:
	case <-time.After(3 * time.Second):
		p.Signal(syscall.SIGKILL)
		<-p.done
	}
}

// Wait waits until the program has ended by itself, and fails the test if it has not in time.
func (p *Process) Wait(timeout time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(timeout):
		p.t.Fatalf("%s has not ended after %v; it said:\n%s", p.name, timeout, p.Tail(40))
	}
	return p.ExitCode()
}

// WaitLine waits for a line that contains text, and returns it. Lines printed before the call count.
func (p *Process) WaitLine(text string, timeout time.Duration) string {
	p.t.Helper()
	line, err := p.waitLine(text, timeout)
	if err != nil {
		p.t.Fatalf("%v; it said:\n%s", err, p.Tail(40))
	}
	return line
}

func (p *Process) waitLine(text string, timeout time.Duration) (string, error) {
	stop := time.AfterFunc(timeout, p.changed.Broadcast)
	defer stop.Stop()
	deadline := time.Now().Add(timeout)
	p.mu.Lock()
	defer p.mu.Unlock()
	for seen := 0; ; {
		for ; seen < len(p.lines); seen++ {
			if strings.Contains(p.lines[seen], text) {
				return p.lines[seen], nil
			}
		}
		switch {
		case p.ended:
			return "", fmt.Errorf("%s has ended without saying %q", p.name, text)
		case !time.Now().Before(deadline):
			return "", fmt.Errorf("%s has not said %q in %v", p.name, text, timeout)
		}
		p.changed.Wait()
	}
}

// Lines returns what the program has printed so far.
func (p *Process) Lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines...)
}

// Tail returns the last n lines.
func (p *Process) Tail(n int) string {
	lines := p.Lines()
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Eventually polls until ok, and fails the test with what was awaited if it is not so in time. Who looks at a long recording does not keep
// the machine busy with it: three quarters of the time are others'.
func Eventually(t testing.TB, timeout time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for began := time.Now(); !ok(); began = time.Now() {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not so: %s", timeout, what)
		}
		time.Sleep(max(10*time.Millisecond, min(3*time.Since(began), 200*time.Millisecond)))
	}
}
