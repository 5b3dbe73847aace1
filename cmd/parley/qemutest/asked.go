package qemutest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"parley/cmd/parley/phonetest"
)

// asked answers what the guest asks. Each question is a line of words, each answer a line that begins with "ok" or "no".
type asked struct {
	guest *Guest
	wire  *wire
	done  chan struct{} // closed when the guest has ended its scenario, or QEMU its life

	mu    sync.Mutex
	ended bool
	code  int               // the scenario's exit status
	facts map[string]string // what it noted
}

// questions are the first words.
var questions = map[string]func(*asked, []string) (string, error){
	"key":     (*asked).key,     // NAME down|up
	"lamp":    (*asked).lamp,    // NAME → 0 or 1
	"file":    (*asked).file,    // NAME BYTES, and then the bytes: the host keeps it
	"rhythm":  (*asked).rhythm,  // NAME: a file of lines "SECONDS 0|1" → how it blinks
	"tone":    (*asked).tone,    // NAME HZ [FROM TO] → its median level, dBFS
	"heard":   (*asked).heard,   // NAME HZ LEVEL [FROM TO] → how many tenths of a second of it are louder
	"loudest": (*asked).loudest, // NAME [FROM TO] → dBFS
	"seconds": (*asked).seconds, // NAME → how long it lasts, ms
	"say":     (*asked).say,     // TEXT, for the test's log
	"note":    (*asked).note,    // KEY VALUE, for the test
	"end":     (*asked).end,     // STATUS
}

func (g *Guest) answer(w *wire) *asked {
	a := &asked{guest: g, wire: w, done: make(chan struct{}), facts: map[string]string{}, code: -1}
	go func() {
		defer close(a.done)
		for {
			line, err := w.in.ReadString('\n')
			if err != nil {
				return
			}
			words := strings.Fields(line)
			if len(words) == 0 {
				continue
			}
			text, err := "", fmt.Errorf("what is %q?", words[0])
			if f := questions[words[0]]; f != nil {
				text, err = f(a, words[1:])
			}
			if err != nil {
				text = "no " + err.Error()
			} else {
				text = "ok " + text
			}
			if _, err := io.WriteString(w, text+"\n"); err != nil {
				return
			}
		}
	}()
	g.t.Cleanup(func() { w.Close(); <-a.done })
	return a
}

// Wait waits until the scenario has ended, and fails the test unless it ended well.
func (g *Guest) Wait(timeout time.Duration) {
	g.t.Helper()
	if code := g.ends(timeout); code != 0 {
		g.t.Errorf("scenario %s on %s ends with %d", g.cfg.Scenario, g.cfg.Arch.Name, code)
	}
}

// ends waits until the scenario has ended, and returns its exit status.
func (g *Guest) ends(timeout time.Duration) int {
	g.t.Helper()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if code, ended := g.asked.status(); ended {
			return code
		}
		select {
		case <-g.asked.done:
			if _, ended := g.asked.status(); !ended {
				g.t.Fatalf("the guest is gone before scenario %s has ended", g.cfg.Scenario)
			}
		case <-deadline.C:
			g.t.Fatalf("scenario %s on %s has not ended after %v", g.cfg.Scenario, g.cfg.Arch.Name, timeout)
		case <-tick.C:
		}
	}
}

// Said is the first line of the console that contains text, or nothing.
func (g *Guest) Said(text string) string {
	for _, line := range strings.Split(g.Tail(1<<20), "\n") {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// Fact waits for what the guest notes under key, and returns it.
func (g *Guest) Fact(key string, timeout time.Duration) string {
	g.t.Helper()
	var value string
	phonetest.Eventually(g.t, timeout, "the guest notes "+key, func() bool {
		g.asked.mu.Lock()
		defer g.asked.mu.Unlock()
		var ok bool
		value, ok = g.asked.facts[key]
		if !ok && g.asked.ended {
			g.t.Fatalf("scenario %s has ended without %s", g.cfg.Scenario, key)
		}
		return ok
	})
	return value
}

// Tells waits until the last that the guest has noted under key, since it was last asked for, is value.
func (g *Guest) Tells(key, value string, timeout time.Duration) {
	g.t.Helper()
	var last string
	defer func() {
		if g.t.Failed() {
			g.t.Logf("%s is %q, not %q", key, last, value)
		}
	}()
	phonetest.Eventually(g.t, timeout, fmt.Sprintf("the guest tells that %s is %q", key, value), func() bool {
		g.asked.mu.Lock()
		defer g.asked.mu.Unlock()
		text, said := g.asked.facts[key]
		if said {
			last = text
			delete(g.asked.facts, key)
		}
		return said && last == value
	})
}

func (a *asked) status() (code int, ended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.code, a.ended
}

func (a *asked) key(w []string) (string, error) {
	if len(w) != 2 {
		return "", io.ErrUnexpectedEOF
	}
	return "", a.guest.Key(w[0], w[1] == "down")
}

func (a *asked) lamp(w []string) (string, error) {
	if len(w) != 1 {
		return "", io.ErrUnexpectedEOF
	}
	lit, err := a.guest.Lamp(w[0])
	return map[bool]string{true: "1", false: "0"}[lit], err
}

// maxFile bounds what a guest sends, bytes.
const maxFile = 64 << 20

func (a *asked) file(w []string) (string, error) {
	if len(w) != 2 {
		return "", io.ErrUnexpectedEOF
	}
	size, err := strconv.Atoi(w[1])
	if err != nil || size < 0 || size > maxFile {
		return "", fmt.Errorf("a file of %s bytes", w[1])
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(a.wire.in, body); err != nil {
		return "", err
	}
	return "", os.WriteFile(a.path(w[0]), body, 0o600)
}

func (a *asked) path(name string) string { return filepath.Join(a.guest.Files, filepath.Base(name)) }

func (a *asked) say(w []string) (string, error) {
	a.guest.t.Logf("%6.1f s: %s", time.Since(a.guest.Began).Seconds(), strings.Join(w, " "))
	return "", nil
}

func (a *asked) note(w []string) (string, error) {
	if len(w) < 1 {
		return "", io.ErrUnexpectedEOF
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.facts[w[0]] = strings.Join(w[1:], " ")
	return "", nil
}

func (a *asked) end(w []string) (string, error) {
	if len(w) != 1 {
		return "", io.ErrUnexpectedEOF
	}
	code, err := strconv.Atoi(w[0])
	a.mu.Lock()
	defer a.mu.Unlock()
	a.code, a.ended = code, true
	return "", err
}

// recording reads a WAV file that the guest has sent, and the part of it from one second to another if the words say so.
func (a *asked) recording(name string, part []string) (phonetest.Sound, error) {
	raw, err := os.Stat(a.path(name))
	if err != nil || raw.Size() < 44 {
		return phonetest.Sound{}, fmt.Errorf("no recording %s", name)
	}
	s := phonetest.ReadWAV(a.guest.t, a.path(name))
	if len(part) == 0 {
		return s, nil
	}
	if len(part) != 2 {
		return s, io.ErrUnexpectedEOF
	}
	var at [2]time.Duration
	for i, text := range part {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return s, err
		}
		at[i] = time.Duration(seconds * float64(time.Second))
		if at[i] < 0 {
			at[i] += s.Duration() // from the end
		}
	}
	return s.Between(at[0], at[1]), nil
}

// whole is a level without decimals, which shells do not have.
func whole(level float64) string { return strconv.Itoa(int(level - 0.5)) }

func (a *asked) tone(w []string) (string, error) {
	if len(w) < 2 {
		return "", io.ErrUnexpectedEOF
	}
	hz, err := strconv.ParseFloat(w[1], 64)
	if err != nil {
		return "", err
	}
	s, err := a.recording(w[0], w[2:])
	return whole(s.Tone(hz).Median()), err
}

func (a *asked) heard(w []string) (string, error) {
	if len(w) < 3 {
		return "", io.ErrUnexpectedEOF
	}
	hz, err1 := strconv.ParseFloat(w[1], 64)
	level, err2 := strconv.ParseFloat(w[2], 64)
	if err1 != nil || err2 != nil {
		return "", fmt.Errorf("%v, %v", err1, err2)
	}
	s, err := a.recording(w[0], w[3:])
	return strconv.Itoa(s.Tone(hz).Above(level)), err
}

func (a *asked) loudest(w []string) (string, error) {
	if len(w) < 1 {
		return "", io.ErrUnexpectedEOF
	}
	s, err := a.recording(w[0], w[1:])
	return whole(s.Loudest()), err
}

func (a *asked) seconds(w []string) (string, error) {
	if len(w) != 1 {
		return "", io.ErrUnexpectedEOF
	}
	s, err := a.recording(w[0], nil)
	return strconv.FormatInt(s.Duration().Milliseconds(), 10), err
}
