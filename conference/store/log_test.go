package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func message(id string, size int) Entry {
	return Entry{ID: id, From: "2001", At: t0, Kind: 0xf1, Body: bytes.Repeat([]byte{'a'}, size), Verified: true}
}

func openLog(t testing.TB, cfg LogConfig) *Log {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "messages")
	}
	l, err := OpenLog(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// appendNow does Run's work itself.
func appendNow(l *Log, uid string, e Entry) (seq uint64, dup bool, err error) {
	refused := l.Append(uid, e, func(s uint64, d bool, e error) { seq, dup, err = s, d, e })
	if refused != nil {
		return 0, false, refused
	}
	l.work(l.takeQueue(false))
	return seq, dup, err
}

func mustAppend(t testing.TB, l *Log, uid string, e Entry) uint64 {
	t.Helper()
	seq, _, err := appendNow(l, uid, e)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func since(t testing.TB, l *Log, uid string, after uint64, limit int) []Entry {
	t.Helper()
	all, err := l.Since(uid, after, limit)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Who joins late reads what was said, as it was said, also after a restart (C-30, C-32).
func TestMessagesAreThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "messages")
	l := openLog(t, LogConfig{Dir: dir})
	sent := []Entry{
		{ID: "a", From: "2001", At: t0.Add(123), Kind: 0xf1, Body: []byte(`{"co":"你好"}`), Verified: true},
		{From: "2002", At: t0, Kind: 0xf0, Body: []byte("{}")},
		{ID: strings.Repeat("i", maxID), From: strings.Repeat("f", maxFrom), At: t0, Body: text(MaxMessage)},
		{At: t0, Body: []byte{}},
	}
	for i := range sent {
		sent[i].Seq = mustAppend(t, l, "u1", sent[i])
		if sent[i].Seq != uint64(i+1) {
			t.Errorf("message %d has number %d", i, sent[i].Seq)
		}
	}
	mustAppend(t, l, "u2", sent[0])
	for _, l := range []*Log{l, openLog(t, LogConfig{Dir: dir})} {
		if got := since(t, l, "u1", 0, 100); fmt.Sprint(got) != fmt.Sprint(sent) {
			t.Errorf("got %.300v", got)
		}
		if got := since(t, l, "u1", 1, 1); len(got) != 1 || got[0].Seq != 2 {
			t.Errorf("the second alone: %v", got)
		}
		if got := since(t, l, "u1", 4, 9); len(got) != 0 {
			t.Errorf("behind the end: %v", got)
		}
		if got := since(t, l, "u3", 0, 9); len(got) != 0 {
			t.Errorf("of another conference: %v", got)
		}
	}
}

// The same message twice is one message with one answer; another sender, or one who only says that he is that sender, cannot
// take its id away.
func TestDoubles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "messages")
	l := openLog(t, LogConfig{Dir: dir})
	unproved, other, unnamed := message("x", 1), message("x", 2), message("", 3)
	unproved.Verified, other.From = false, "2002"
	var got []answer
	for _, e := range []Entry{unproved, message("x", 9), message("x", 9), other, unnamed, unnamed} {
		l.Append("u1", e, func(seq uint64, dup bool, err error) {
			if err != nil {
				t.Error(err)
			}
			got = append(got, answer{seq, dup})
		})
	}
	l.work(l.takeQueue(false)) // one batch
	if want := []answer{{1, false}, {2, false}, {2, true}, {3, false}, {4, false}, {5, false}}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("answers %v, want %v", got, want)
	}
	for _, l := range []*Log{l, openLog(t, LogConfig{Dir: dir})} {
		if seq, dup, err := appendNow(l, "u1", message("x", 9)); seq != 2 || !dup || err != nil {
			t.Errorf("again: %d, %v, %v", seq, dup, err)
		}
	}
	if n := len(since(t, l, "u1", 0, 100)); n != 5 {
		t.Errorf("%d messages", n)
	}
}

// The oldest go, in number and in bytes; what is there has no gap; numbers go on after a restart.
func TestMessagesAreBounded(t *testing.T) {
	for _, c := range []struct {
		name        string
		size, send  int
		least, most int
	}{
		{"entries", 10, 500, 64 - 8, 64 + 8},
		{"bytes", 60_000, 60, 13, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "messages")
			cfg := LogConfig{Dir: dir, Entries: 64, Bytes: 1 << 20}
			l := openLog(t, cfg)
			for i := range c.send {
				mustAppend(t, l, "u1", message(fmt.Sprint(i), c.size))
				if l.total > 1<<20+batchBytes {
					t.Fatalf("%d bytes after %d messages", l.total, i)
				}
			}
			for _, l := range []*Log{l, openLog(t, cfg)} {
				n, last := 0, uint64(0)
				for after := uint64(0); ; after = last {
					part := since(t, l, "u1", after, 1000)
					if len(part) == 0 {
						break
					}
					for _, e := range part {
						if last != 0 && e.Seq != last+1 {
							t.Errorf("after %d comes %d", last, e.Seq)
						}
						last, n = e.Seq, n+1
					}
				}
				if n < c.least || n > c.most || last != uint64(c.send) {
					t.Errorf("%d messages up to %d", n, last)
				}
				// What is gone is no double any more, what is there is.
				if _, dup, _ := appendNow(l, "u1", message(fmt.Sprint(c.send-1), c.size)); !dup {
					t.Error("the last is not known")
				}
			}
			used := int64(0)
			files, _ := os.ReadDir(filepath.Join(dir, "u1"))
			for _, f := range files {
				info, _ := f.Info()
				used += info.Size()
			}
			if used != l.total {
				t.Errorf("%d bytes on disk, %d in the books", used, l.total)
			}
			if len(l.histories["u1"].seqs) > c.most {
				t.Errorf("%d ids in memory", len(l.histories["u1"].seqs))
			}
		})
	}
}

// Where all together are too much, those go first whose conference is over.
func TestTotal(t *testing.T) {
	l := openLog(t, LogConfig{Bytes: 1 << 20, Total: 1 << 20})
	for _, uid := range []string{"over-1", "over-2", "live"} {
		for i := range 5 {
			mustAppend(t, l, uid, message(fmt.Sprint(i), 60_000))
		}
	}
	l.Close("over-1", t0.Add(2*time.Hour), nil)
	l.Close("over-2", t0.Add(time.Hour), nil)
	for i := range 4 {
		mustAppend(t, l, "live", message(fmt.Sprint("more", i), 60_000))
	}
	if got := fmt.Sprint(l.Conferences()); got != "[live over-1]" {
		t.Errorf("left: %v", got)
	}
	for i := range 40 {
		mustAppend(t, l, "live", message(fmt.Sprint("much", i), 60_000))
	}
	if got := fmt.Sprint(l.Conferences()); got != "[live]" || l.total > 1<<20 {
		t.Errorf("left: %v, %d bytes", got, l.total)
	}
}

func TestMessagesOfWhatIsOver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "messages")
	l := openLog(t, LogConfig{Dir: dir})
	mustAppend(t, l, "u1", message("a", 1))
	closed := make(chan error, 1)
	l.Append("u1", message("b", 1), func(_ uint64, _ bool, err error) {
		if err != nil {
			t.Errorf("what came before the end: %v", err)
		}
	})
	l.Close("u1", t0.Add(time.Hour), func(err error) { closed <- err })
	l.Append("u1", message("c", 1), func(_ uint64, _ bool, err error) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("what came after the end: %v", err)
		}
	})
	l.work(l.takeQueue(false))
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	l = openLog(t, LogConfig{Dir: dir})
	l.Close("u1", t0.Add(9*time.Hour), nil) // who closes again moves nothing
	if _, _, err := appendNow(l, "u1", message("d", 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("after a restart: %v", err)
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{time.Hour - 1, 2}, {time.Hour, 0}} {
		l.Sweep(t0.Add(c.after))
		l.work(l.takeQueue(false))
		if got := since(t, l, "u1", 0, 9); len(got) != c.want {
			t.Errorf("%v after the end: %v", c.after, got)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// A disk that is full or fails refuses, with nothing half behind it, and takes again when it can.
func TestFailingDisk(t *testing.T) {
	for _, op := range []string{"write", "sync", "create", "syncdir", "write+truncate", "sync+truncate"} {
		t.Run(op, func(t *testing.T) {
			bad := false
			dir := filepath.Join(t.TempDir(), "messages")
			l := openLog(t, LogConfig{Dir: dir, Entries: 64, fault: func(now, _ string) error {
				if bad && strings.Contains(op, now) {
					return syscall.ENOSPC
				}
				return nil
			}})
			want := 0
			for i := range 30 { // past the end of several files
				bad = i/6%2 == 1
				_, _, err := appendNow(l, "u1", message(fmt.Sprint(i), 5))
				if err == nil {
					want++
				} else if !errors.Is(err, ErrSpace) {
					t.Errorf("message %d: %v", i, err)
				}
			}
			bad = false
			if want < 18 || want > 29 {
				t.Fatalf("%d of 30 were taken", want)
			}
			for _, l := range []*Log{l, openLog(t, LogConfig{Dir: dir, Entries: 64})} {
				got := since(t, l, "u1", 0, 100)
				if len(got) != want {
					t.Errorf("%d messages, %d were acknowledged", len(got), want)
				}
				for i, e := range got {
					if e.Seq != uint64(i+1) {
						t.Errorf("message %d has number %d", i+1, e.Seq)
					}
				}
			}
		})
	}
}

func TestReserveIsLeftAlone(t *testing.T) {
	free := uint64(1000)
	l := openLog(t, LogConfig{Space: Space{Reserve: 900, Free: func() (uint64, error) { return free, nil }}})
	if _, _, err := appendNow(l, "u1", message("a", 100)); !errors.Is(err, ErrSpace) {
		t.Errorf("%v", err)
	}
	free = 2000
	if seq := mustAppend(t, l, "u1", message("a", 100)); seq != 1 {
		t.Errorf("number %d", seq)
	}
}

// While the disk takes its time nobody waits: Append answers at once, up to a bound, and all gather in few syncs.
func TestSlowDisk(t *testing.T) {
	var mu sync.Mutex
	var slow chan struct{}
	syncs := 0
	l := openLog(t, LogConfig{Queue: 100, fault: func(op, _ string) error {
		mu.Lock()
		wait := slow
		if op == "sync" {
			syncs++
		}
		mu.Unlock()
		if op == "sync" && wait != nil {
			<-wait
		}
		return nil
	}})
	slow = make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	var taken, busy int
	var done sync.WaitGroup
	var last uint64
	began := time.Now()
	for i := range 300 {
		done.Add(1)
		err := l.Append("u1", message(fmt.Sprint(i), 10), func(seq uint64, _ bool, err error) {
			if err != nil || seq != last+1 {
				t.Errorf("after %d: %d, %v", last, seq, err)
			}
			last = seq
			done.Done()
		})
		switch {
		case err == nil:
			taken++
		case errors.Is(err, ErrBusy):
			busy++
			done.Done()
		default:
			t.Error(err)
		}
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("300 appends took %v beside a disk that hangs", d)
	}
	if taken < 100 || busy < 50 {
		t.Errorf("%d taken, %d refused", taken, busy)
	}
	if got := since(t, l, "u1", 0, 1); len(got) != 0 {
		t.Errorf("seen before it is on disk: %v", got)
	}
	close(slow)
	done.Wait()
	mu.Lock()
	if syncs > 6 {
		t.Errorf("%d syncs for %d messages", syncs, taken)
	}
	mu.Unlock()
	l.Append("u1", message("at last", 1), nil)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := since(t, l, "u1", uint64(taken), 9); len(got) != 1 {
		t.Errorf("what was in the queue at the end: %v", got)
	}
	if err := l.Append("u1", message("after", 1), nil); !errors.Is(err, ErrStopped) {
		t.Errorf("after the end: %v", err)
	}
}

func TestAppendRefuses(t *testing.T) {
	l := openLog(t, LogConfig{})
	for name, c := range map[string]struct {
		uid  string
		e    Entry
		want error
	}{
		"uid":    {"../x", message("a", 1), ErrInvalid},
		"body":   {"u1", message("a", MaxMessage+1), ErrTooLarge},
		"id":     {"u1", message(strings.Repeat("a", maxID+1), 1), ErrInvalid},
		"sender": {"u1", Entry{From: strings.Repeat("a", maxFrom+1)}, ErrInvalid},
	} {
		if err := l.Append(c.uid, c.e, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Behind a frame that is torn nothing counts, now and later, even where it fits what is written next.
func TestNothingComesBackFromBehindATornFrame(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "messages")
	l := openLog(t, LogConfig{Dir: dir})
	for i := range 3 {
		mustAppend(t, l, "u1", message(fmt.Sprint(i), 10))
	}
	path := filepath.Join(dir, "u1", "0000000000000001.log")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, LogConfig{Dir: dir})
	if seq := mustAppend(t, l, "u1", message("n", 10)); seq != 2 {
		t.Errorf("number %d", seq)
	}
	for _, l := range []*Log{l, openLog(t, LogConfig{Dir: dir})} {
		if got := since(t, l, "u1", 0, 9); len(got) != 2 || got[1].ID != "n" {
			t.Errorf("%v", got)
		}
	}
}

// Whatever stands in a file, what is read are its first frames, whole and numbered one after the other.
func FuzzSegment(f *testing.F) {
	var whole []byte
	for i := range 3 {
		e := message(fmt.Sprint(i), 20*i)
		e.Seq = uint64(i + 1)
		whole = appendFrame(whole, &e)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(append(bytes.Clone(whole), whole...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := segment{first: 1}
		s.parse(data, 4)
		if len(s.ends) > 3 || len(s.keys) != len(s.ends) || s.size > int64(len(data)) {
			t.Fatalf("%d frames in %d of %d bytes", len(s.ends), s.size, len(data))
		}
		at := int64(0)
		for i, end := range s.ends {
			e, n, err := nextFrame(data[at:])
			if err != nil || e.Seq != uint64(i+1) || at+int64(n) != end || e.check() != nil {
				t.Fatalf("frame %d: %+v, %d, %v", i, e, n, err)
			}
			if again, _, err := nextFrame(appendFrame(nil, &e)); err != nil || fmt.Sprint(again) != fmt.Sprint(e) {
				t.Errorf("%+v comes back as %+v, %v", e, again, err)
			}
			at = end
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"until":"2026-01-01T00:00:00Z","files":[{"id":"00112233445566778899aabbccddeeff","name":"x","size":3}]}`))
	f.Add([]byte(`{"files":[{"id":"../../etc/passwd"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := parseIndex(data)
		if err != nil {
			return
		}
		for _, i := range x.Files {
			if len(i.ID) != 32 || strings.ContainsAny(i.ID, "./\\") || i.Size < 0 {
				t.Errorf("taken: %+v", i)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, body := range []int{200, 8000} {
		b.Run(fmt.Sprint(body), func(b *testing.B) {
			syncs := 0
			l := openLog(b, LogConfig{fault: func(op, _ string) error {
				if op == "sync" {
					syncs++
				}
				return nil
			}})
			ctx, stop := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- l.Run(ctx) }()
			var worst time.Duration
			slots := make(chan struct{}, 256) // waiting for the disk at once
			e := message("", body)
			for b.Loop() {
				slots <- struct{}{}
				began := time.Now()
				err := l.Append("u1", e, func(_ uint64, _ bool, err error) {
					if err != nil {
						b.Error(err)
					}
					<-slots
				})
				worst = max(worst, time.Since(began))
				if err != nil {
					b.Fatal(err)
				}
			}
			stop()
			<-ended
			b.ReportMetric(float64(b.N)/float64(max(1, syncs)), "messages/sync")
			b.ReportMetric(float64(worst.Microseconds()), "worst-µs")
		})
	}
}
