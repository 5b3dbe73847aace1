package watchdog

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// rig is a judge of two parts with a clock of its own.
type rig struct {
	*Judge
	now        time.Time
	tick, calm uint64
}

const look = 50 * time.Millisecond

func newRig() *rig {
	r := &rig{now: time.Unix(1000, 0)}
	r.Judge = NewJudge(look,
		Part{Name: "tick", Count: func() uint64 { return r.tick }, Seen: 150 * time.Millisecond, Lost: time.Second},
		Part{Name: "calm", Count: func() uint64 { return r.calm }, Seen: 5 * time.Second, Lost: 30 * time.Second})
	r.look(0)
	return r
}

func (r *rig) look(after time.Duration) Verdict {
	r.now = r.now.Add(after)
	return r.Look(r.now)
}

// A part that stands is seen within 200 ms of its last step, and given up after its time.
func TestAPartThatStandsIsSeen(t *testing.T) {
	r := newRig()
	for range 100 {
		r.tick, r.calm = r.tick+5, r.calm+1
		if v := r.look(look); !v.Well || v.Stands != nil || v.Lost != "" {
			t.Fatalf("while all goes on: %+v", v)
		}
	}
	last := r.now
	var seen, lost time.Duration
	for lost == 0 {
		r.calm++
		v := r.look(look)
		if slices.Contains(v.Stands, "tick") {
			if seen != 0 {
				t.Fatal("told twice")
			}
			seen = r.now.Sub(last)
		}
		if v.Well != (seen == 0) {
			t.Fatalf("after %v: %+v", r.now.Sub(last), v)
		}
		if v.Lost != "" {
			lost = r.now.Sub(last)
			if v.Lost != "tick" || v.Idle != time.Second {
				t.Errorf("%+v", v)
			}
		}
	}
	if seen > 200*time.Millisecond || lost > 1050*time.Millisecond || lost < time.Second {
		t.Errorf("seen after %v, given up after %v", seen, lost)
	}
}

// A part that goes on again is no longer blamed.
func TestAPartGoesOn(t *testing.T) {
	r := newRig()
	for range 10 {
		r.look(look)
	}
	r.tick++
	if v := r.look(look); !v.Well || !slices.Equal(v.Goes, []string{"tick"}) {
		t.Errorf("%+v", v)
	}
}

// When the whole machine stood, or the program was stopped, no part is blamed for it.
func TestTheWholeStood(t *testing.T) {
	r := newRig()
	if v := r.look(time.Hour); !v.Well || v.Lost != "" {
		t.Errorf("after an hour of nothing: %+v", v)
	}
	// The judge is woken late every time, as on a machine that is much too busy: counted is what it has seen.
	for range 8 {
		if v := r.look(500 * time.Millisecond); v.Lost != "" {
			t.Errorf("%+v", v)
		}
	}
}

// The device is fed; a clean end stops it with the letter that the kernel asks for, any other leaves it running.
func TestDevice(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "watchdog"), time.Minute); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no device: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	if _, err := Open(file, time.Minute); err == nil {
		t.Error("a file is taken for a watchdog")
	}
	if b, _ := os.ReadFile(file); len(b) > 0 {
		t.Errorf("it was written to: %q", b)
	}
	d, err := Open("/dev/null", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Feed(), d.Close()); err != nil {
		t.Error(err)
	}
}

// A supervisor that asked for it hears the states; nobody hears nothing.
func TestSupervisor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "2000000")
	t.Setenv("WATCHDOG_PID", "")
	s := TakeSupervisor()
	if s.Fed() != time.Second {
		t.Errorf("fed every %v", s.Fed())
	}
	if err := s.Tell("READY=1"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	n, err := l.Read(b)
	if err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("%q, %v", b[:n], err)
	}
	t.Setenv("WATCHDOG_PID", "1")
	if s := TakeSupervisor(); s.Fed() != 0 {
		t.Error("fed for another process")
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if s := TakeSupervisor(); s.Fed() != 0 || s.Tell("READY=1") != nil {
		t.Error("somebody hears where nobody is")
	}
}
