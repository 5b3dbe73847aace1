package record_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley/audio"
	"parley/audio/record"
)

// disk is one that can be stopped and filled.
type disk struct {
	mu    sync.Mutex // held: nothing gets through
	slow  atomic.Int64
	room  atomic.Int64 // bytes
	stuck atomic.Int32 // who waits
}

type diskFile struct {
	*os.File
	d *disk
}

func newDisk() *disk {
	d := &disk{}
	d.room.Store(1 << 40)
	return d
}

func (d *disk) create(path string) (record.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return &diskFile{f, d}, err
}

func (f *diskFile) Write(p []byte) (int, error) {
	if left := f.d.room.Add(-int64(len(p))); left < 0 {
		n, _ := f.File.Write(p[:max(0, int64(len(p))+left)])
		return n, syscall.ENOSPC
	}
	return f.File.Write(p)
}

func (f *diskFile) Sync() error {
	time.Sleep(time.Duration(f.d.slow.Load()))
	f.d.stuck.Add(1)
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.d.stuck.Add(-1)
	return nil
}

// stop holds the disk up until it is called again, and returns when the tape waits for it.
func (d *deck) hold(on *disk) (release func()) {
	on.mu.Lock()
	f := d.sine(1000, -20)
	for range 60 {
		d.WriteFrame(&f)
	}
	eventually(d.t, func() bool { return on.stuck.Load() > 0 })
	return on.mu.Unlock
}

func TestADiskThatHangsCostsNoTickAndNoSound(t *testing.T) {
	defer goleak.VerifyNone(t)
	on := newDisk()
	d := play(t, func(c *record.Config) { c.Create = on.create })
	d.tone(100, 1000, -20)
	release := d.hold(on)
	// All of this is while the disk lets nothing through: WriteFrame would never return if it waited.
	f := d.sine(0, 0)
	for range 940 {
		d.WriteFrame(&f)
	}
	release()
	l := d.done()
	if s := d.Status(); s.Lost != 0 || s.Heard != 11*time.Second {
		t.Errorf("%+v", s)
	}
	if n := len(decode(t, whole(t, l, "one"))); n != 1100*480 {
		t.Errorf("%d samples", n)
	}
}

func TestWhatTheRingCannotHoldIsSilenceAndTold(t *testing.T) {
	on, told := newDisk(), &faults{}
	d := play(t, func(c *record.Config) { c.Create, c.OnFault, c.Stall = on.create, told.tell, 50*time.Millisecond })
	d.tone(100, 1000, -20)
	release := d.hold(on)
	f := d.sine(1000, -20)
	for range 1500 {
		d.WriteFrame(&f)
	}
	eventually(t, func() bool { return told.count(record.ErrLost) == 1 && d.Status().Stalled })
	release()
	eventually(t, func() bool { return d.Status().Written > 10*time.Second })
	d.tone(100, 1000, -20)
	l := d.done()
	s := d.Status()
	if s.Lost < 4*time.Second || s.Lost > 6*time.Second || s.Heard != 17600*time.Millisecond {
		t.Errorf("%+v", s)
	}
	pcm := decode(t, whole(t, l, "one"))
	if len(pcm) != 1760*480 {
		t.Errorf("%d samples", len(pcm))
	}
	for _, line := range index(t, l) {
		if line.Kind != record.KindLost {
			continue
		}
		from, to := line.Position*48+4800, line.Position*48+line.Length-4800
		if line.Length != int64(s.Lost/time.Millisecond)*48 || audio.MeasureSome(pcm[from:to]).RMS() > -70 {
			t.Errorf("%+v: not silence", line)
		}
		if a := audio.MeasureSome(pcm[to+9600 : to+19200]).RMS(); a < -21 || a > -19 {
			t.Errorf("after it: %.1f dBFS", a)
		}
		return
	}
	t.Error("nothing is written down")
}

func TestTheIndexTakesOnlySoMuchAtOnce(t *testing.T) {
	on := newDisk()
	d := play(t, func(c *record.Config) { c.Create = on.create })
	release := d.hold(on)
	took := 0
	for d.Speaking("m1", "Ada", true, time.Now()) == nil && took < 100000 {
		took++
	}
	release()
	if took < 1000 || took > 10000 {
		t.Errorf("%d lines", took)
	}
	eventually(t, func() bool { return d.Speaking("m1", "Ada", false, time.Now()) == nil })
	d.done()
}

func TestADiskThatIsAlwaysSlowKeepsUp(t *testing.T) {
	on := newDisk()
	on.slow.Store(int64(700 * time.Millisecond)) // longer than a page
	d := play(t, func(c *record.Config) { c.Create, c.Segment = on.create, time.Minute })
	for range 15 {
		d.tone(50, 1000, -20)
		before := d.Status().Written
		eventually(t, func() bool { s := d.Status(); return s.Written > before || s.Heard-s.Written < 3*time.Second })
	}
	d.done()
	if s := d.Status(); s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}

func TestFilesThatDoNotGrowAreToldAndSoIsTheEndOfIt(t *testing.T) {
	on, told := newDisk(), &faults{}
	d := play(t, func(c *record.Config) { c.Create, c.OnFault, c.Stall = on.create, told.tell, 100*time.Millisecond })
	release := d.hold(on)
	eventually(t, func() bool { return told.count(record.ErrStalled) == 1 && d.Status().Stalled })
	release()
	eventually(t, func() bool { d.tone(50, 440, -20); return told.count(nil) >= 1 })
	d.done()
}

func TestATapeThatIsGivenNothingIsTold(t *testing.T) {
	told := &faults{}
	d := play(t, func(c *record.Config) { c.OnFault, c.Stall = told.tell, 20*time.Millisecond })
	eventually(t, func() bool { return told.count(record.ErrStalled) == 1 })
	d.done()
}

func TestARecordingEndsBeforeTheDiskIsFull(t *testing.T) {
	var left atomic.Uint64
	left.Store(1 << 30)
	d := play(t, func(c *record.Config) {
		c.Reserve, c.Free = 1<<20, func() (uint64, error) { return left.Load(), nil }
	})
	d.tone(200, 1000, -20)
	left.Store(1 << 19)
	if err := d.wait(); !errors.Is(err, record.ErrDiskFull) {
		t.Fatal(err)
	}
	l := d.library()
	must(t, l.Verify("one"))
	lines := index(t, l)
	if end := lines[len(lines)-1]; end.Reason != "disk full" || end.Recovered {
		t.Errorf("%+v", end)
	}
	if n := len(decode(t, whole(t, l, "one"))); n != 200*480 {
		t.Errorf("%d samples", n)
	}
}

func TestARecordingDoesNotBecomeTooLong(t *testing.T) {
	d := play(t, func(c *record.Config) { c.Longest = 2 * time.Second })
	d.tone(250, 1000, -20)
	if err := d.wait(); !errors.Is(err, record.ErrLong) {
		t.Fatal(err)
	}
	must(t, d.library().Verify("one"))
	info, err := d.library().Info("one")
	if err != nil || info.Length < 2*time.Second || info.Length > 2500*time.Millisecond || info.Recovered {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestADiskThatFailsLeavesWhatWasSafe(t *testing.T) {
	for _, room := range []int64{0, 1, 500, 5000} {
		on := newDisk()
		d := play(t, func(c *record.Config) { c.Create = on.create })
		d.tone(310, 1000, -20)
		eventually(t, func() bool { return d.Status().Written > 2900*time.Millisecond })
		safe := d.Status().Written
		on.room.Store(room)
		d.tone(300, 1000, -20)
		if err := d.wait(); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		l := d.library()
		must(t, l.Verify("one"))
		info, err := l.Info("one")
		if err != nil || !info.Recovered || info.Running || info.Length < safe {
			t.Errorf("%+v, %v; %v was safe", info, err, safe)
		}
		b := whole(t, l, "one")
		inspectBytes(t, b)
		if got := samples(len(decode(t, b))); got != info.Length {
			t.Errorf("%v plays, %v is said", got, info.Length)
		}
	}
}

func samples(n int) time.Duration { return time.Duration(n) * time.Second / 48000 }

// quick is a folder where syncing takes no time, if there is one.
func quick(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "parley-record-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// cutOff is a recording in the making: what stands on the disk when the power goes, 2.9 s of a tone.
func cutOff(t *testing.T) (dir string, name string) {
	d := play(t, nil)
	d.tone(291, 1000, -20)
	must(t, d.Note("a note", "Ada", time.Now()))
	eventually(t, func() bool { return d.Status().Written > 2400*time.Millisecond })
	dir = t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(d.path())))
	d.done()
	return dir, "000002.opus"
}

func TestASegmentCutAnywhereIsRecovered(t *testing.T) {
	dir, name := cutOff(t)
	full, err := os.ReadFile(filepath.Join(dir, name))
	must(t, err)
	var cuts, ends []int
	for i := 0; i <= len(full); i++ {
		page := i+4 <= len(full) && string(full[i:i+4]) == "OggS" || i == len(full)
		if page && i > 0 {
			ends = append(ends, i)
		}
		if page {
			cuts = append(cuts, max(0, i-1), i, min(i+1, len(full)), min(i+27, len(full)), min(i+300, len(full)))
		}
	}
	for _, n := range cuts {
		for what, spoilt := range map[string][]byte{
			"short": full[:n], "zeros": append(bytes.Clone(full[:n]), make([]byte, 4096)...), "noise": append(bytes.Clone(full[:n]), "OggS\x00\x00 and more"...),
		} {
			folder := quick(t)
			copied := filepath.Join(folder, "one")
			must(t, os.CopyFS(copied, os.DirFS(dir)))
			must(t, os.WriteFile(filepath.Join(copied, name), spoilt, 0o600))
			l := record.NewLibrary(folder, record.Limits{})
			ids, err := l.Recover(time.Now())
			if err != nil || len(ids) != 1 {
				t.Fatalf("%s at %d: %v, %v", what, n, ids, err)
			}
			must(t, l.Verify("one"))
			info, err := l.Info("one")
			must(t, err)
			// Two whole segments, which end where the encoder was, and 500 ms for each whole page of the third.
			want := samples(2*48000 - 312)
			for i, end := range ends {
				if i >= 3 && end <= n {
					want += 500 * time.Millisecond
				}
			}
			if !info.Recovered || info.Length != want {
				t.Errorf("%s at %d: %v left, want %v", what, n, info.Length, want)
			}
			before := files(t, copied)
			again, err := l.Recover(time.Now())
			if err != nil || len(again) != 0 || files(t, copied) != before {
				t.Errorf("%s at %d: not the same the second time: %v, %v", what, n, again, err)
			}
			if what != "short" {
				continue
			}
			b := whole(t, l, "one")
			inspectBytes(t, b)
			if got := samples(len(decode(t, b))); got != info.Length {
				t.Errorf("at %d: %v plays, %v is said", n, got, info.Length)
			}
		}
	}
}

// files is everything in a folder.
func files(t testing.TB, dir string) string {
	t.Helper()
	var all strings.Builder
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		must(t, err)
		fmt.Fprintf(&all, "%s %x\n", name, b)
	}
	return all.String()
}

func TestAnIndexCutAnywhereIsRecovered(t *testing.T) {
	dir, _ := cutOff(t)
	full, err := os.ReadFile(filepath.Join(dir, "index.jsonl"))
	must(t, err)
	first := bytes.IndexByte(full, '\n') + 1
	for n := first; n <= len(full); n += 7 {
		for what, spoilt := range map[string][]byte{"short": full[:n], "zeros": append(bytes.Clone(full[:n]), make([]byte, 2000)...)} {
			folder := quick(t)
			copied := filepath.Join(folder, "one")
			must(t, os.CopyFS(copied, os.DirFS(dir)))
			must(t, os.WriteFile(filepath.Join(copied, "index.jsonl"), spoilt, 0o600))
			l := record.NewLibrary(folder, record.Limits{})
			if ids, err := l.Recover(time.Now()); err != nil || len(ids) != 1 {
				t.Fatalf("%s at %d: %v, %v", what, n, ids, err)
			}
			must(t, l.Verify("one"))
			if info, err := l.Info("one"); err != nil || info.Length < 2490*time.Millisecond || info.Segments != 3 {
				t.Errorf("%s at %d: %+v, %v", what, n, info, err)
			}
		}
	}
}

func TestAnIndexThatWasSpoiltOtherwiseIsLeftAlone(t *testing.T) {
	dir, _ := cutOff(t)
	path := filepath.Join(dir, "index.jsonl")
	must(t, os.WriteFile(path, []byte("nothing of ours\n"), 0o600))
	before := files(t, dir)
	if err := record.Recover(dir, time.Now()); !errors.Is(err, record.ErrBroken) || files(t, dir) != before {
		t.Error(err)
	}
}

func TestAFolderThatNeverBecameARecordingGoes(t *testing.T) {
	folder := t.TempDir()
	must(t, os.Mkdir(filepath.Join(folder, "empty"), 0o700))
	must(t, os.Mkdir(filepath.Join(folder, "nearly"), 0o700))
	must(t, os.WriteFile(filepath.Join(folder, "nearly", "index.jsonl"), nil, 0o600))
	must(t, os.MkdirAll(filepath.Join(folder, ".deleted-x", "y"), 0o700))
	l := record.NewLibrary(folder, record.Limits{})
	if ids, err := l.Recover(time.Now()); err != nil || len(ids) != 0 {
		t.Error(ids, err)
	}
	if left := files(t, folder); left != "" {
		t.Error(left)
	}
	if hidden, _ := filepath.Glob(filepath.Join(folder, ".*")); len(hidden) != 0 {
		t.Error(hidden)
	}
}

// TestKill kills a process that records in real time; what it had heard a second before must be there.
func TestKill(t *testing.T) {
	if dir := os.Getenv("PARLEY_RECORD_HERE"); dir != "" {
		recordForever(dir)
	}
	for _, after := range []time.Duration{700 * time.Millisecond, 1333 * time.Millisecond, 2050 * time.Millisecond} {
		folder := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "PARLEY_RECORD_HERE="+folder)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		heard := time.Duration(0)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			ms, _ := strconv.Atoi(lines.Text())
			if heard = time.Duration(ms) * time.Millisecond; heard >= after {
				must(t, cmd.Process.Kill())
			}
		}
		_ = cmd.Wait()
		l := record.NewLibrary(folder, record.Limits{})
		if _, err := l.Recover(time.Now()); err != nil {
			t.Fatal(err)
		}
		must(t, l.Verify("one"))
		info, err := l.Info("one")
		must(t, err)
		t.Logf("killed after %v: %v is missing", heard, heard-info.Length)
		if heard < after || info.Length < heard-time.Second {
			t.Errorf("of %v heard %v is left", heard, info.Length)
		}
		if info.Length > 0 {
			inspectBytes(t, whole(t, l, "one"))
		}
	}
}

func recordForever(dir string) {
	tape, err := record.New(record.Config{Folder: dir, ID: "one", Codec: codec(), Segment: time.Second, Free: plenty})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() { _ = tape.Run(context.Background()) }()
	var w wave
	var f audio.Frame
	began := time.Now()
	for n := 1; ; n++ {
		time.Sleep(time.Until(began.Add(time.Duration(n) * audio.FrameDuration)))
		w.ReadFrame(48000, &f)
		tape.WriteFrame(&f)
		fmt.Println(n * 10)
	}
}
