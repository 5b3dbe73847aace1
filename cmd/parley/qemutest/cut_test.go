package qemutest

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rounds is a number from the environment.
func rounds(t *testing.T, variable string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(variable))
	if os.Getenv(variable) == "" {
		return otherwise
	}
	if err != nil || n < 1 {
		t.Fatalf("%s=%s: want a number", variable, os.Getenv(variable))
	}
	return n
}

// the power is cut at any moment of changes of settings and of a recording, again and again on one disk. The box boots each
// time, its settings are those of one version, none older than what it has called good, and of the recording at most a second is missing.
func TestPowerCuts(t *testing.T) {
	for _, a := range Archs() {
		t.Run(a.Name, func(t *testing.T) {
			folder(t, "PARLEY_QEMU_KERNELS")
			c := cuts{t: t, arch: a, disk: NewDisk(t, 128)}
			n := rounds(t, "PARLEY_CUTS", 4)
			for i := range n {
				c.round([]string{"settings", "recording"}[i%2])
			}
			c.round("nothing")
			t.Logf("%d cuts; settings reached version %d, recordings lost at most %d ms", n, c.good, c.lost)
		})
	}
}

type cuts struct {
	t          *testing.T
	arch       Arch
	disk       string
	good, sent int   // versions of the settings: called good, and sent
	recorded   int64 // when the power was cut from a recording, at the earliest, ms since 1970; 0: it was not
	lost       int64 // ms
}

// round boots, judges what the last cut has left, has the box work, and cuts its power.
func (c *cuts) round(work string) {
	c.t.Helper()
	// What QEMU has written is on the disk for us, also when it is killed: a flush can cost nothing.
	g := Boot(c.t, Config{Arch: c.arch, Scenario: "cut", Disk: c.disk + ",cache=unsafe", Words: []string{work, strconv.Itoa(c.sent)}})
	ready := g.Fact("ready", 4*time.Minute)
	c.settings(g.Fact("settings", 0))
	c.recordings(filepath.Join(g.Files, "recordings"))
	if work == "nothing" {
		g.Wait(time.Minute)
		return
	}
	g.Fact("going", 2*time.Minute)
	more := time.Duration(rand.Int64N(int64(5 * time.Second)))
	// The moment is random; nothing is waited for.
	time.Sleep(more)
	g.Cut()
	<-g.asked.done
	if g.asked.ended {
		c.t.Fatalf("scenario cut has ended by itself with %d", g.asked.code)
	}
	for fact, into := range map[string]*int{"good": &c.good, "sent": &c.sent} {
		if text, ok := g.asked.facts[fact]; ok {
			*into, _ = strconv.Atoi(text)
		}
	}
	if text, ok := g.asked.facts["now"]; ok {
		c.recorded, _ = strconv.ParseInt(text, 10, 64)
	}
	c.t.Logf("%s: ready at %s s, cut %.1f s later; settings good %d, sent %d", work, ready, more.Seconds(), c.good, c.sent)
}

// settings judges "NAME VOLUME", which every version has set together.
func (c *cuts) settings(text string) {
	c.t.Helper()
	var name, volume int
	if _, err := fmt.Sscan(text, &name, &volume); err != nil {
		c.t.Fatalf("settings %q: %v", text, err)
	}
	if volume != name%100 {
		c.t.Errorf("settings are mixed: the name is of version %d, the volume %d", name, volume)
	}
	if name < c.good || name > c.sent {
		c.t.Errorf("settings of version %d; %d was good already, and %d is the last that was sent", name, c.good, c.sent)
	}
}

// recordings judges the one that ran when the power was cut.
func (c *cuts) recordings(path string) {
	c.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	var last string
	var end int64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		id, rest, _ := strings.Cut(lines.Text(), " ")
		var from, to int64
		var state string
		if _, err := fmt.Sscan(rest, &from, &to, &state); err != nil {
			c.t.Fatalf("%q: %v", lines.Text(), err)
		}
		if strings.HasPrefix(state, "broken") {
			c.t.Errorf("recording %s", lines.Text())
		}
		if from <= c.recorded && state == "whole" && to > end {
			last, end = id, to
		}
	}
	if c.recorded == 0 {
		return
	}
	if c.lost = max(c.lost, c.recorded-end); c.recorded-end > 1000 {
		c.t.Errorf("of recording %q the last %d ms are lost", last, c.recorded-end)
	}
	c.recorded = 0
}
