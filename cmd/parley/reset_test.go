package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parley/hal"
)

// used is a data folder as a box leaves it that has been used, and has been asked to reset itself.
func used(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range []string{"lock", "session", "clock", "identity/tls.key", "identity/seal.key", "box.key", "token.key", "tls.pem", "stopped", "bookings",
		"parley.yaml", "local.yaml", "provision/good", "provision/trial", "provision/notes", "journal/1", "journal/2", "outbox/1", "messages/c1/log", "files/c1/f1", "files/c1/f2",
		"recordings/r1/0.opus", "recordings/r1/index", "recordings/r2/0.opus", "prompts/hello.wav", "last-stall", recordFile, "what no version knows"} {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("7\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	if err := markReset(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// names lists what is in a folder, lock aside.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "provision" {
			for _, name := range names(t, filepath.Join(dir, "provision")) {
				list = append(list, "provision/"+name)
			}
		} else if e.Name() != "lock" {
			list = append(list, e.Name())
		}
	}
	return list
}

var clean = []string{"clock", "identity", "provision/notes", "session", recordFile}

// wherever a reset is cut off, at any step or within one, the marker stands as long as anything of the old is there, and the
// next start does the rest.
func TestAResetCutAnywhereIsDoneAtTheNextStart(t *testing.T) {
	t.Parallel()
	cut := errors.New("the power is gone")
	for _, torn := range []bool{false, true} {
		for step := 0; ; step++ {
			dir, n := used(t), 0
			at := func() bool { n++; return n > step }
			err := wipe(dir, eraser{
				remove: func(path string) error {
					if !at() {
						return os.RemoveAll(path)
					}
					if below, _ := os.ReadDir(path); torn && len(below) > 0 {
						os.RemoveAll(filepath.Join(path, below[0].Name()))
					} else if torn {
						os.RemoveAll(path)
					}
					return cut
				},
				sync: func(string) error {
					if at() {
						return cut
					}
					return nil
				},
			})
			left := names(t, dir)
			if !slices.Equal(left, clean) && !marked(dir) {
				t.Fatalf("step %d: %v is left, and no marker tells", step, left)
			}
			if did, err := finishReset(dir); err != nil || did == slices.Equal(left, clean) {
				t.Fatalf("step %d: the next start: %v, %v", step, did, err)
			}
			if left := names(t, dir); !slices.Equal(left, clean) {
				t.Fatalf("step %d: after the next start %v is left", step, left)
			}
			if _, err := os.Stat(filepath.Join(dir, "identity/seal.key")); err != nil {
				t.Fatal(err)
			}
			if err == nil {
				if step < 10 {
					t.Fatalf("%d steps in all", step)
				}
				break
			}
			if !errors.Is(err, cut) {
				t.Fatal(err)
			}
		}
	}
	if did, err := finishReset(t.TempDir()); did || err != nil {
		t.Errorf("nobody asked: %v, %v", did, err)
	}
}

// A reset is what helps against a full disk: there is room for its marker.
func TestAResetIsNotedOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("parley-test", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a small disk needs root: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if err := markReset(dir); err != nil {
		t.Fatal(err)
	}
	if did, err := finishReset(dir); !did || err != nil || len(names(t, dir)) > 0 {
		t.Errorf("%v, %v, %v is left", did, err, names(t, dir))
	}
}

// A full disk is told of before nothing can be written any more.
func TestAFullDiskIsAFault(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("parley-test", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small disk needs root: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	if text := storageFault(dir, ""); text != "" {
		t.Errorf("an empty disk: %s", text)
	}
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 900<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if text := storageFault(dir, ""); !strings.Contains(text, "full") {
		t.Errorf("a full disk: %q", text)
	}
	if text := storageFault(filepath.Join(dir, "gone"), ""); text == "" {
		t.Error("a folder that is gone is none")
	}
}

// the reset key must be held for ten seconds; the lamp tells from the second one on that it is, and what has come of it. One that is
// down at the start, stuck or bouncing resets nothing.
func TestTheResetKey(t *testing.T) {
	began := time.Unix(0, 0)
	for _, x := range []struct {
		name, edges string // "d0" down at 0 ms, "u15", "D0" found down
		end         int
		lamp, want  string // what is shown: a state and the time at which it began
	}{
		{"tapped", "d0 u300", 20000, "", ""},
		{"held, and let go in time", "d0 u9900", 20000, "reset key held@2000 idle@9920", ""},
		{"held", "d0 u15000", 20000, "reset key held@2000 reset@10000", "asked"},
		{"held and held on", "d0", 60000, "reset key held@2000 reset@10000", "asked"},
		{"down at the start", "D0", 60000, "", ""},
		{"down at the start, let go, held", "D0 u20000 d30000 u41000", 60000, "reset key held@32000 reset@40000", "asked"},
		{"lost while held", "d0 D5000", 60000, "reset key held@2000 idle@5000", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			asked, shown := "", ""
			h := &house{inbox: make(chan func(), 10), done: make(chan struct{}), log: slog.New(slog.DiscardHandler)}
			h.reset = func(string) error { asked += "asked"; return nil }
			k := &keys{house: h, out: deafBroker{}, lamps: &lamps{blinker: hal.NewBlinker(noLamps{}, nil), mic: &microphone{}, house: h}}
			d := hal.NewDebounce(hal.DefaultTiming())
			was := hal.StateIdle
			take := func(events []hal.Event) {
				for _, e := range events {
					k.handle(e)
					for len(h.inbox) > 0 {
						if e.Kind == hal.LongPress {
							(<-h.inbox)()
						} else {
							<-h.inbox // what is told of a key that is stuck
						}
					}
					if now := k.lamps.shown(); now != was {
						was = now
						shown += " " + now.String() + "@" + strconv.FormatInt(e.At.Sub(began).Milliseconds(), 10)
					}
				}
			}
			for _, f := range strings.Fields(x.edges) {
				at, err := time.ParseDuration(f[1:] + "ms")
				if err != nil {
					t.Fatal(err)
				}
				take(d.Edge(hal.Edge{Key: hal.KeyReset, Down: f[0] == 'd' || f[0] == 'D', Initial: f[0] == 'D', At: began.Add(at)}))
			}
			take(d.Advance(began.Add(time.Duration(x.end) * time.Millisecond)))
			if asked != x.want || strings.TrimSpace(shown) != x.lamp {
				t.Errorf("asked %q, want %q; shown %q, want %q", asked, x.want, shown, x.lamp)
			}
		})
	}
}

// A reset that cannot be noted is none: the lamp goes back.
func TestAResetThatCannotBeNoted(t *testing.T) {
	h := &house{inbox: make(chan func(), 10), done: make(chan struct{}), log: slog.New(slog.DiscardHandler)}
	h.reset = func(string) error { return unix.EROFS }
	k := &keys{house: h, out: deafBroker{}, lamps: &lamps{blinker: hal.NewBlinker(noLamps{}, nil), mic: &microphone{}, house: h}}
	k.handle(hal.Event{Key: hal.KeyReset, Kind: hal.LongPress, At: time.Unix(0, 0)})
	if s := k.lamps.shown(); s != hal.StateReset {
		t.Errorf("shown is %s", s)
	}
	(<-h.inbox)()
	if s := k.lamps.shown(); s != hal.StateIdle {
		t.Errorf("after it has failed %s is shown", s)
	}
}

// deafBroker takes everything.
type deafBroker struct{}

func (deafBroker) Publish(string, []byte, byte, bool) error { return nil }
