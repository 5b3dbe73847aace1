package journal_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"parley/conference/journal"
	"parley/conference/journal/journaltest"
)

// history is what was put and what was told, in order.
type history struct {
	mu    sync.Mutex
	steps []map[string]string // the state after each put
	safe  int                 // so many puts were told to be durable
}

// Whatever the disk does and whenever the power goes: what is found is the state after some put, and none before the last that
// was called durable.
func TestPowerCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := journaltest.NewDisk()
		powerless := rapid.IntRange(0, 40).Draw(t, "power cut at operation")
		faulty := rapid.SliceOfN(rapid.IntRange(0, 40), 0, 6).Draw(t, "failing operations")
		step := 0
		disk.Hook = func(journaltest.Op, string) error {
			if step++; step > powerless {
				return journaltest.ErrNoPower
			}
			for _, n := range faulty {
				if n == step {
					return fmt.Errorf("fault at operation %d", step)
				}
			}
			return nil
		}
		h := &history{steps: []map[string]string{{}}}
		for range rapid.IntRange(1, 3).Draw(t, "lives") {
			j, found, err := journal.Open("d", journal.Options{FS: disk, Slack: 40, Retry: time.Microsecond, Patience: time.Hour})
			if err != nil {
				break // no power, or a fault while reading
			}
			check(t, h, found)
			live(t, j, h)
		}
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "left by the power cut") }
		j, found, err := journal.Open("d", journal.Options{FS: disk.Crash(pick)})
		if err != nil {
			t.Fatal(err)
		}
		if d := j.Damage(); d.Unread > 0 && d.Frames > 0 {
			t.Fatalf("a power cut has made a hole: %+v", d)
		}
		check(t, h, found)
	})
}

// live puts things in groups of random size until the journal is stopped.
func live(t *rapid.T, j *journal.Journal, h *history) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { j.Run(ctx) })
	for range rapid.IntRange(0, 6).Draw(t, "groups") {
		var group sync.WaitGroup
		for range rapid.IntRange(1, 4).Draw(t, "puts") {
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
			value := rapid.StringN(0, 20, -1).Draw(t, "value")
			h.mu.Lock()
			state := maps.Clone(h.steps[len(h.steps)-1])
			n := len(h.steps)
			h.mu.Unlock()
			group.Add(1)
			done := func(durable bool) {
				h.mu.Lock()
				if durable {
					h.safe = max(h.safe, n)
				}
				h.mu.Unlock()
				group.Done()
			}
			remove := rapid.Bool().Draw(t, "delete")
			delete(state, key)
			if !remove {
				state[key] = value
			}
			h.mu.Lock()
			h.steps = append(h.steps, state)
			h.mu.Unlock()
			if remove {
				j.Delete(key, done)
			} else {
				j.Put(key, []byte(value), done)
			}
		}
		group.Wait()
	}
	cancel()
	wg.Wait()
}

// check finds the put after which the state was as found, and takes the history back to it. It is no safer for being found: a power
// cut may still take it, unless it was called durable.
func check(t *rapid.T, h *history, found map[string][]byte) {
	for n := len(h.steps) - 1; n >= h.safe; n-- {
		if maps.EqualFunc(h.steps[n], found, func(a string, b []byte) bool { return a == string(b) }) {
			h.steps = h.steps[:n+1]
			return
		}
	}
	t.Fatalf("found %q, which was never so since what was called durable: %v", found, h.steps[h.safe:])
}

// written gives the bytes of a file with one commit per value.
func written(t testing.TB, values int) ([]byte, *journaltest.Disk) {
	disk := journaltest.NewDisk()
	j, _, stop := run(t, "d", journal.Options{FS: disk})
	for i := range values {
		put(t, j, fmt.Sprint("key ", i%7), fmt.Sprint("value ", i))
	}
	stop()
	return disk.Bytes("d/journal"), disk
}

// Whatever byte is rotten, at most what was committed with it is lost, and that is told. No value is found that was not put.
func TestRot(t *testing.T) {
	whole, _ := written(t, 20)
	for at := range whole {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		disk := journaltest.NewDisk()
		disk.SetBytes("d/journal", b)
		j, found, err := journal.Open("d", journal.Options{FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		d := j.Damage()
		if at < 20 { // without its head, nothing of a file can be told from what only looks like it
			if len(found) > 0 || d.Unread != len(b) {
				t.Fatalf("byte %d: %q, %+v", at, found, d)
			}
			continue
		}
		if d.Unread == 0 && d.Torn == 0 || d.Frames > 1 || len(found) != 7 {
			t.Fatalf("byte %d: %+v, %d keys", at, d, len(found))
		}
		stale := 0
		for i := 13; i < 20; i++ {
			if string(found[fmt.Sprint("key ", i%7)]) != fmt.Sprint("value ", i) {
				stale++
			}
		}
		if stale > 1 {
			t.Fatalf("byte %d: %q", at, found)
		}
	}
}

// A file cut anywhere opens, and can be gone on with.
func TestCut(t *testing.T) {
	whole, _ := written(t, 20)
	for n := 0; n < len(whole); n += 7 {
		disk := journaltest.NewDisk()
		disk.SetBytes("d/journal", whole[:n])
		j, found, stop := run(t, "d", journal.Options{FS: disk})
		if d := j.Damage(); d.Frames > 0 || n >= 20 && d.Unread > 0 {
			t.Fatalf("%d bytes: %+v", n, d)
		}
		if !put(t, j, "new", "x") {
			t.Fatal("not durable")
		}
		stop()
		again, more, _ := journal.Open("d", journal.Options{FS: disk})
		if again.Damage() != (journal.Damage{}) || len(more) != len(found)+1 {
			t.Fatalf("%d bytes: %+v, %q", n, again.Damage(), more)
		}
	}
}

// A value that holds a whole journal is only a value, also when what is before it is rotten.
func TestFileWithinValue(t *testing.T) {
	inner, _ := written(t, 5)
	disk := journaltest.NewDisk()
	j, _, stop := run(t, "d", journal.Options{FS: disk})
	put(t, j, "outer", string(inner))
	put(t, j, "next", "x")
	stop()
	b := disk.Bytes("d/journal")
	b[bytes.Index(b, []byte("outer"))] ^= 1
	disk.SetBytes("d/journal", b)
	_, found, err := journal.Open("d", journal.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	has(t, found, map[string]string{"next": "x"})
}

// Whatever stands in the file, it opens, and what is found fits into it.
func FuzzOpen(f *testing.F) {
	whole, _ := written(f, 9)
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := journaltest.NewDisk()
		disk.SetBytes("d/journal", b)
		j, found, err := journal.Open("d", journal.Options{FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for key, value := range found {
			size += len(key) + len(value)
		}
		if d := j.Damage(); size+d.Unread+d.Torn > len(b) {
			t.Fatalf("%d bytes hold %d bytes and %+v", len(b), size, d)
		}
	})
}

// The cost of one order in a conference's life: its snapshot, on the disk.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1 << 10, 50 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			j, _, stop := run(b, b.TempDir(), journal.Options{})
			defer stop()
			value := make([]byte, size)
			told := make(chan bool, 1)
			b.ReportAllocs()
			for b.Loop() {
				j.Put("k", value, func(durable bool) { told <- durable })
				if !<-told {
					b.Fatal("not durable")
				}
			}
		})
	}
}
