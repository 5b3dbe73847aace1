package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley/conference/journal"
	"parley/conference/journal/journaltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run opens a journal and has it running until stop or the test's end.
func run(t testing.TB, dir string, o journal.Options) (j *journal.Journal, found map[string][]byte, stop func()) {
	t.Helper()
	j, found, err := journal.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { j.Run(ctx) })
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return j, found, stop
}

// put waits for done.
func put(t testing.TB, j *journal.Journal, key, value string) (durable bool) {
	t.Helper()
	told := make(chan bool, 1)
	j.Put(key, []byte(value), func(durable bool) { told <- durable })
	return answer(t, told)
}

func answer(t testing.TB, told <-chan bool) bool {
	t.Helper()
	select {
	case durable := <-told:
		return durable
	case <-time.After(10 * time.Second):
		t.Fatal("done is not called")
		return false
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func has(t testing.TB, got map[string][]byte, want map[string]string) {
	t.Helper()
	if !maps.EqualFunc(got, want, func(a []byte, b string) bool { return string(a) == b }) {
		t.Fatalf("found %q, want %q", got, want)
	}
}

func TestLastValueIsFound(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	j, found, stop := run(t, dir, journal.Options{})
	has(t, found, nil)
	for _, e := range [][2]string{{"a", "1"}, {"b", "1"}, {"a", "2"}, {"empty", ""}, {"gone", "x"}} {
		if !put(t, j, e[0], e[1]) {
			t.Fatal("not durable")
		}
	}
	told := make(chan bool, 1)
	j.Delete("gone", func(durable bool) { told <- durable })
	if !answer(t, told) {
		t.Fatal("not durable")
	}
	want := map[string]string{"a": "2", "b": "1", "empty": ""}
	again, found, err := journal.Open(dir, journal.Options{}) // as a crash would leave it
	if err != nil || again.Damage() != (journal.Damage{}) {
		t.Fatal(err, again.Damage())
	}
	has(t, found, want)
	j.Put("last", []byte("x"), nil)
	stop()
	want["last"] = "x"
	j, found, _ = run(t, dir, journal.Options{})
	has(t, found, want)
	put(t, j, "a", "3")
	_, found, _ = journal.Open(dir, journal.Options{})
	want["a"] = "3"
	has(t, found, want)
}

func TestPutRefuses(t *testing.T) {
	j, _, stop := run(t, t.TempDir(), journal.Options{MaxBytes: 3000})
	for name, c := range map[string]struct {
		key  string
		size int
		want error
	}{
		"no key": {"", 1, journal.ErrRefused}, "long key": {string(make([]byte, 257)), 1, journal.ErrRefused},
		"long value": {"k", journal.MaxValue + 1, journal.ErrRefused}, "too much": {"k", 3000, journal.ErrFull},
		"fits": {"k", 2900, nil}, "too much with the other": {"l", 200, journal.ErrFull}, "in place of the other": {"k", 2800, nil},
	} {
		if c.want != nil {
			j.Put("k", make([]byte, 2900), nil)
		}
		told := make(chan bool, 1)
		if err := j.Put(c.key, make([]byte, c.size), func(durable bool) { told <- durable }); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if answer(t, told) != (c.want == nil) {
			t.Errorf("%s: told the contrary", name)
		}
	}
	stop()
	if err := j.Put("k", nil, nil); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// All that comes while the disk is at work goes into one write and one sync.
func TestGroupCommit(t *testing.T) {
	disk := journaltest.NewDisk()
	var syncs atomic.Int32
	busy, release := make(chan struct{}), make(chan struct{})
	disk.Hook = func(op journaltest.Op, _ string) error {
		if op == journaltest.Sync && syncs.Add(1) == 2 {
			close(busy)
			<-release
		}
		return nil
	}
	j, _, _ := run(t, "d", journal.Options{FS: disk, Patience: 10 * time.Second})
	eventually(t, "no file", func() bool { return j.Stats().Commits == 1 })
	told := make(chan bool, 1001)
	j.Put("first", nil, func(d bool) { told <- d })
	<-busy
	for i := range 1000 {
		j.Put(fmt.Sprint(i%100), fmt.Append(nil, i), func(d bool) { told <- d })
	}
	close(release)
	for range 1001 {
		if !answer(t, told) {
			t.Fatal("not durable")
		}
	}
	if n := syncs.Load(); n != 3 {
		t.Errorf("%d syncs for the file, one put and 1000 that came meanwhile", n)
	}
	_, found, _ := journal.Open("d", journal.Options{FS: disk})
	if string(found["7"]) != "907" || len(found) != 101 {
		t.Errorf("%d keys, 7 is %s", len(found), found["7"])
	}
}

// What comes while a sync is under way is not durable by that one.
func TestLatecomerWaitsForTheNextSync(t *testing.T) {
	disk := journaltest.NewDisk()
	syncs := make(chan chan struct{})
	var held atomic.Bool
	disk.Hook = func(op journaltest.Op, _ string) error {
		if op == journaltest.Sync && held.Load() {
			release := make(chan struct{})
			syncs <- release
			<-release
		}
		return nil
	}
	j, _, _ := run(t, "d", journal.Options{FS: disk, Patience: time.Minute})
	put(t, j, "k", "0")
	held.Store(true)
	first, late := make(chan bool, 1), make(chan bool, 1)
	j.Put("k", []byte("1"), func(d bool) { first <- d })
	release := <-syncs
	j.Put("k", []byte("2"), func(d bool) { late <- d })
	close(release)
	if !answer(t, first) {
		t.Error("not durable")
	}
	release = <-syncs
	select {
	case <-late:
		t.Error("told before its sync")
	default:
	}
	held.Store(false)
	close(release)
	if !answer(t, late) {
		t.Error("not durable")
	}
}

// A disk that hangs: nobody waits longer than Patience, nothing is lost when it comes back.
func TestDiskHangs(t *testing.T) {
	disk := journaltest.NewDisk()
	release := make(chan struct{})
	var hangs atomic.Bool
	disk.Hook = func(op journaltest.Op, _ string) error {
		if op == journaltest.Sync && hangs.Load() {
			<-release
		}
		return nil
	}
	faults, heals := make(chan error, 9), make(chan struct{}, 9)
	j, _, _ := run(t, "d", journal.Options{FS: disk, Patience: 50 * time.Millisecond,
		OnFault: func(err error) { faults <- err }, OnHeal: func() { heals <- struct{}{} }})
	if !put(t, j, "k", "0") {
		t.Fatal("not durable")
	}
	hangs.Store(true)
	began := time.Now()
	if put(t, j, "k", "1") {
		t.Fatal("durable without a sync")
	}
	if d := time.Since(began); d < 50*time.Millisecond || d > 5*time.Second {
		t.Errorf("told after %v", d)
	}
	if err := <-faults; !errors.Is(err, journal.ErrSlow) || !errors.Is(j.Fault(), journal.ErrSlow) {
		t.Errorf("fault %v", err)
	}
	before := time.Now()
	for i := range 20000 {
		j.Put(fmt.Sprint(i%10), []byte("new"), func(bool) {})
	}
	if d := time.Since(before); d > 5*time.Second {
		t.Errorf("20000 puts took %v", d)
	}
	if w := j.Stats().Waiting; w > 4096 {
		t.Errorf("%d wait", w)
	}
	hangs.Store(false)
	close(release)
	<-heals
	eventually(t, "those who came on top still wait", func() bool { return j.Stats().Waiting == 0 })
	if !put(t, j, "k", "2") || j.Fault() != nil {
		t.Error("not healed once")
	}
	_, found, _ := journal.Open("d", journal.Options{FS: disk})
	if string(found["k"]) != "2" || string(found["9"]) != "new" {
		t.Errorf("found %q", found)
	}
}

// A disk that fails: told at once, tried again, and what was put meanwhile is there when it works again, in a new file.
func TestDiskFails(t *testing.T) {
	for _, op := range []journaltest.Op{journaltest.Open, journaltest.Write, journaltest.Sync, journaltest.Rename, journaltest.SyncDir} {
		t.Run(string(op), func(t *testing.T) {
			disk := journaltest.NewDisk()
			var full atomic.Bool
			disk.Hook = func(o journaltest.Op, _ string) error {
				if full.Load() && (o == op || o == journaltest.Sync) {
					return syscall.ENOSPC
				}
				return nil
			}
			faults, heals := make(chan error, 9), make(chan struct{}, 9)
			j, _, stop := run(t, "d", journal.Options{FS: disk, Retry: time.Millisecond,
				OnFault: func(err error) { faults <- err }, OnHeal: func() { heals <- struct{}{} }})
			put(t, j, "k", "0")
			full.Store(true)
			if put(t, j, "k", "1") {
				t.Fatal("durable")
			}
			if err := <-faults; !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("fault %v", err)
			}
			eventually(t, "not tried again", func() bool { return j.Stats().Failed > 3 })
			put(t, j, "l", "1")
			full.Store(false)
			<-heals
			if !put(t, j, "m", "1") || j.Fault() != nil || len(faults) > 0 {
				t.Error("not healed")
			}
			stop()
			found := after(t, disk, func(int) int { return 0 })
			has(t, found, map[string]string{"k": "1", "l": "1", "m": "1"})
		})
	}
}

// after opens what a power cut has left.
func after(t testing.TB, disk *journaltest.Disk, pick func(int) int) map[string][]byte {
	t.Helper()
	_, found, err := journal.Open("d", journal.Options{FS: disk.Crash(pick)})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The file does not grow with what is dead in it.
func TestFileIsBounded(t *testing.T) {
	dir := t.TempDir()
	j, _, stop := run(t, dir, journal.Options{Slack: 10000})
	value := string(make([]byte, 1000))
	for i := range 300 {
		if !put(t, j, fmt.Sprint(i%5), value) {
			t.Fatal("not durable")
		}
		info, err := os.Stat(filepath.Join(dir, "journal"))
		if err != nil || info.Size() > 2*5*1100+10000+1100 {
			t.Fatal(info.Size(), err)
		}
	}
	s := j.Stats()
	if s.Rewrites < 5 || s.Keys != 5 {
		t.Errorf("%+v", s)
	}
	stop()
	_, found, _ := journal.Open(dir, journal.Options{})
	if len(found) != 5 || !bytes.Equal(found["3"], []byte(value)) {
		t.Errorf("%d keys", len(found))
	}
}

// Where there is no room for a new file, the old one is gone on with.
func TestNoRoomToWriteAnew(t *testing.T) {
	disk := journaltest.NewDisk()
	var full atomic.Bool
	disk.Hook = func(op journaltest.Op, name string) error {
		if full.Load() && name == "d/journal.new" && op == journaltest.Write {
			return syscall.ENOSPC
		}
		return nil
	}
	j, _, _ := run(t, "d", journal.Options{FS: disk, Slack: 100})
	if !put(t, j, "gone", "x") {
		t.Fatal("not durable")
	}
	full.Store(true)
	j.Delete("gone", nil)
	for i := range 50 {
		if !put(t, j, "k", fmt.Sprint(i)) {
			t.Fatal("not durable")
		}
	}
	if s := j.Stats(); s.Rewrites != 1 || s.Failed > 0 || disk.Bytes("d/journal.new") != nil {
		t.Errorf("%+v", s)
	}
	has(t, after(t, disk, func(int) int { return 0 }), map[string]string{"k": "49"})
	full.Store(false)
	put(t, j, "k", "50")
	if s := j.Stats(); s.Rewrites != 2 {
		t.Errorf("%+v", s)
	}
}

func TestOpenSaysWhy(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)
	if _, _, err := journal.Open(filepath.Join(dir, "file"), journal.Options{}); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("got %v", err)
	}
	os.WriteFile(filepath.Join(dir, "journal"), []byte("this is not a journal of ours"), 0o600)
	j, found, err := journal.Open(dir, journal.Options{})
	if err != nil || len(found) != 0 || j.Damage().Unread != 29 {
		t.Errorf("%v, %v, %+v", err, found, j.Damage())
	}
}
