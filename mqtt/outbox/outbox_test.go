package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"parley/mqtt/outbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// disk is a folder whose operations a test can hold up or fail, and whose power it can cut.
type disk struct {
	hook   func(op string) error
	mu     sync.Mutex
	synced map[string]int64
}

type diskFile struct {
	*os.File
	d *disk
}

func (d *disk) ask(op string) error {
	if d.hook == nil {
		return nil
	}
	return d.hook(op)
}

func (d *disk) Open(name string, flag int) (outbox.File, error) {
	if err := d.ask("open"); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	if flag&os.O_CREATE != 0 {
		d.mu.Lock()
		d.synced[name] = 0
		d.mu.Unlock()
	}
	return diskFile{f, d}, nil
}

func (d *disk) Remove(name string) error { return os.Remove(name) }

func (d *disk) List(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (d *disk) SyncDir(string) error { return d.ask("syncdir") }

func (f diskFile) Write(b []byte) (int, error) {
	if err := f.d.ask("write"); err != nil {
		n, _ := f.File.Write(b[:len(b)/2])
		return n, err
	}
	return f.File.Write(b)
}

func (f diskFile) Sync() error {
	if err := f.d.ask("sync"); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	f.d.mu.Lock()
	f.d.synced[f.Name()] = info.Size()
	f.d.mu.Unlock()
	return nil
}

// crash takes away a random part of what was not synced.
func (d *disk) crash(t testing.TB, dir string, pick func(n int) int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	names, _ := d.List(dir)
	for _, name := range names {
		name = filepath.Join(dir, name)
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if size, ok := d.synced[name]; ok {
			os.Truncate(name, size+int64(pick(int(info.Size()-size)+1)))
		}
	}
}

func open(t testing.TB, dir string, o outbox.Options) *outbox.Outbox {
	t.Helper()
	b, err := outbox.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func run(t testing.TB, b *outbox.Outbox) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { b.Run(ctx) })
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

func msg(class outbox.Class, payload string) outbox.Message {
	return outbox.Message{Topic: "/t", Payload: []byte(payload), Class: class}
}

// keep puts a message that must last, and waits until it is told what became of it.
func keep(t testing.TB, b *outbox.Outbox, payload string) error {
	t.Helper()
	told := make(chan error, 1)
	if _, err := b.Put(msg(outbox.Keep, payload), func(err error) { told <- err }); err != nil {
		return err
	}
	select {
	case err := <-told:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("done is not called")
		return nil
	}
}

// drain takes everything and acknowledges it.
func drain(t testing.TB, b *outbox.Outbox) (payloads []string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for b.Len() > 0 {
		m, ok := b.Next()
		if !ok {
			select {
			case <-b.Ready():
			case <-timeout:
				t.Fatalf("%d do not come: %+v", b.Len(), b.Stats())
			}
			continue
		}
		payloads = append(payloads, string(m.Payload))
		b.Ack(m.Seq)
	}
	return payloads
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// Far more than memory holds comes back in order, from the same life and from the next.
func TestOrder(t *testing.T) {
	dir := t.TempDir()
	const n = 5000
	b := open(t, dir, outbox.Options{SegmentBytes: 20000})
	stop := run(t, b)
	for i := range n {
		if _, err := b.Put(msg(outbox.Event, fmt.Sprintf("%05d", i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "not written", func() bool { return b.Stats().Memory == 0 })
	for i := range 1000 {
		var m outbox.Message
		eventually(t, "does not come", func() (ok bool) { m, ok = b.Next(); return ok })
		if string(m.Payload) != fmt.Sprintf("%05d", i) || m.Topic != "/t" {
			t.Fatalf("%d: %+v", i, m)
		}
		b.Ack(m.Seq)
	}
	for range 50 { // on their way when the life ends
		eventually(t, "does not come", func() bool { _, ok := b.Next(); return ok })
	}
	b.Rewind()
	if m, ok := b.Next(); !ok || string(m.Payload) != "01000" {
		t.Fatalf("after Rewind: %+v", m)
	}
	stop()
	b = open(t, dir, outbox.Options{SegmentBytes: 20000})
	run(t, b)
	b.Put(msg(outbox.Event, "new"), nil)
	got := drain(t, b)
	if len(got) != n-1000+1 || got[n-1000] != "new" {
		t.Fatalf("%d come", len(got))
	}
	for i, p := range got[:n-1000] {
		if p != fmt.Sprintf("%05d", 1000+i) {
			t.Fatalf("%d: %s", i, p)
		}
	}
	eventually(t, "segments stay", func() bool { return b.Stats().Disk < 30000 })
}

// What the broker acknowledges at once costs no write.
func TestAcknowledgedAtOnce(t *testing.T) {
	var d disk
	var writes atomic.Int32
	d.synced = map[string]int64{}
	d.hook = func(op string) error { writes.Add(1); return nil }
	b := open(t, t.TempDir(), outbox.Options{FS: &d, Linger: time.Hour})
	stop := run(t, b)
	for range 100 {
		b.Put(msg(outbox.Event, "x"), nil)
		m, ok := b.Next()
		if !ok {
			t.Fatal("not there")
		}
		b.Ack(m.Seq)
	}
	stop()
	if n := writes.Load(); n > 0 {
		t.Errorf("%d operations", n)
	}
}

// Without room the oldest events go; what must last stays, or is refused.
func TestFull(t *testing.T) {
	for name, o := range map[string]outbox.Options{"count": {MaxCount: 10}, "bytes": {MaxBytes: 10 * 128}, "memory": {MaxMemory: 10 * 128}} {
		t.Run(name, func(t *testing.T) {
			d := &disk{synced: map[string]int64{}, hook: func(string) error { return syscall.ENOSPC }}
			o.FS = d
			b := open(t, t.TempDir(), o)
			run(t, b)
			fill := strings.Repeat(".", 100)
			for i := range 4 {
				b.Put(msg(outbox.Keep, fmt.Sprint("k", i, fill)), nil)
			}
			for i := range 20 {
				b.Put(msg(outbox.Event, fmt.Sprint("e", i%10, fill)), nil)
			}
			if n := b.Stats().Dropped; n != 14 {
				t.Errorf("%d dropped", n)
			}
			for i := range 6 {
				if _, err := b.Put(msg(outbox.Keep, fmt.Sprint("l", i, fill)), nil); err != nil {
					t.Fatal(err)
				}
			}
			for _, class := range []outbox.Class{outbox.Keep, outbox.Event} {
				if _, err := b.Put(msg(class, "x"+fill), nil); !errors.Is(err, outbox.ErrFull) {
					t.Errorf("got %v", err)
				}
			}
			var got string
			for _, p := range drain(t, b) {
				got += p[:2]
			}
			if got != "k0k1k2k3l0l1l2l3l4l5" {
				t.Error(got)
			}
		})
	}
}

// A disk that fails or hangs: the message is told all the same, and who asked is told that it is not durable.
func TestBadDisk(t *testing.T) {
	for name, op := range map[string]string{"open": "open", "write": "write", "sync": "sync", "folder": "syncdir", "hang": ""} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := &disk{synced: map[string]int64{}}
			var bad atomic.Bool
			release := make(chan struct{})
			d.hook = func(o string) error {
				switch {
				case bad.Load() && op == "":
					<-release
				case bad.Load() && (o == op || o == "sync"):
					return syscall.EIO
				}
				return nil
			}
			faults, heals := make(chan error, 9), make(chan struct{}, 9)
			b := open(t, dir, outbox.Options{FS: d, Patience: 50 * time.Millisecond, Retry: time.Millisecond, SegmentBytes: 1,
				OnFault: func(err error) { faults <- err }, OnHeal: func() { heals <- struct{}{} }})
			stop := run(t, b)
			if err := keep(t, b, "1"); err != nil {
				t.Fatal(err)
			}
			bad.Store(true)
			if err := keep(t, b, "2"); !errors.Is(err, outbox.ErrNotDurable) {
				t.Fatalf("got %v", err)
			}
			if err := <-faults; op == "" && !errors.Is(err, outbox.ErrSlow) || op != "" && !errors.Is(err, syscall.EIO) {
				t.Errorf("fault %v", err)
			}
			if m, ok := b.Next(); !ok || string(m.Payload) != "1" {
				t.Errorf("%+v", m)
			}
			if m, ok := b.Next(); !ok || string(m.Payload) != "2" {
				t.Errorf("%+v", m)
			}
			bad.Store(false)
			close(release)
			<-heals
			if err := keep(t, b, "3"); err != nil || b.Fault() != nil {
				t.Errorf("healed: %v, %v", err, b.Fault())
			}
			stop()
			d.crash(t, dir, func(int) int { return 0 })
			b = open(t, dir, outbox.Options{})
			run(t, b)
			if got := strings.Join(drain(t, b), ""); got != "123" {
				t.Errorf("after a power cut: %s", got)
			}
		})
	}
}

// The segments stay bounded, and nothing that must last is lost, where single such messages stand among many events.
func TestSegmentsAreCleaned(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, outbox.Options{MaxBytes: 20000, SegmentBytes: 4000})
	stop := run(t, b)
	fill := strings.Repeat(".", 200)
	var want []string
	for i := range 50 {
		for range 20 {
			b.Put(msg(outbox.Event, "e"+fill), nil)
		}
		want = append(want, fmt.Sprint("k", i))
		if err := keep(t, b, want[i]); err != nil {
			t.Fatal(err)
		}
		eventually(t, "too much", func() bool { return b.Stats().Disk <= 2*20000+2*4000 })
	}
	stop()
	b = open(t, dir, outbox.Options{})
	run(t, b)
	var got []string
	for _, p := range drain(t, b) {
		if p[0] == 'k' {
			got = append(got, p)
		}
	}
	if strings.Join(got, "") != strings.Join(want, "") {
		t.Errorf("come: %v", got)
	}
}

// Whatever the disk does and whenever the power goes: everything that was called durable comes, each in its order.
func TestPowerCut(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		faults := rapid.SliceOfN(rapid.IntRange(0, 30), 0, 5).Draw(rt, "failing operations")
		var safe, acked []string
		n := 0
		for range rapid.IntRange(1, 3).Draw(rt, "lives") {
			d := &disk{synced: map[string]int64{}}
			step := 0
			b, err := outbox.Open(dir, outbox.Options{FS: d, SegmentBytes: 100, Retry: time.Microsecond, Linger: time.Microsecond, Patience: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			d.hook = func(string) error {
				step++
				for _, f := range faults {
					if f == step {
						return syscall.EIO
					}
				}
				return nil
			}
			stop := run(t, b)
			for range rapid.IntRange(0, 12).Draw(rt, "messages") {
				n++
				payload := fmt.Sprintf("%03d", n)
				if keep(t, b, payload) == nil {
					safe = append(safe, payload)
				}
				if rapid.IntRange(0, 3).Draw(rt, "acknowledge") == 0 {
					if m, ok := b.Next(); ok {
						b.Ack(m.Seq)
						acked = append(acked, string(m.Payload))
					}
				}
			}
			stop()
			d.crash(t, dir, func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "left") })
		}
		b, err := outbox.Open(dir, outbox.Options{})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, b)
		got := drain(t, b)
		stop()
		for i := range got {
			if i > 0 && got[i] <= got[i-1] {
				rt.Fatalf("out of order or twice: %v", got)
			}
		}
		all := " " + strings.Join(append(got, acked...), " ") + " "
		for _, p := range safe {
			if !strings.Contains(all, " "+p+" ") {
				rt.Fatalf("%s was durable and does not come; come: %v, acknowledged: %v", p, got, acked)
			}
		}
	})
}

// A rotten byte costs one message, or, in a frame's head, what stands behind it in the segment; that is counted.
func TestRot(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, outbox.Options{})
	stop := run(t, b)
	for i := range 5 {
		keep(t, b, fmt.Sprint("message ", i))
	}
	stop()
	names, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
	whole, err := os.ReadFile(names[0])
	if err != nil || len(names) != 1 {
		t.Fatal(err, names)
	}
	single := 0
	for at := range whole {
		rotten := append([]byte{}, whole...)
		rotten[at] ^= 1
		os.WriteFile(names[0], rotten, 0o600)
		b := open(t, dir, outbox.Options{})
		stop := run(t, b)
		lost := b.Stats().Lost
		got := drain(t, b)
		stop()
		for i, p := range got {
			if !strings.HasPrefix(p, "message ") || i > 0 && p <= got[i-1] {
				t.Fatalf("byte %d: %q", at, got)
			}
		}
		if len(got) == 4 && got[3] == "message 4" {
			single++
		}
		if len(got) < 5 && lost == 0 {
			t.Fatalf("byte %d: %q, %d lost", at, got, lost)
		}
		os.RemoveAll(dir)
		os.Mkdir(dir, 0o700)
	}
	if single < 4*10 { // the bodies of four
		t.Errorf("%d of %d rotten bytes cost one message", single, len(whole))
	}
}

func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	b := open(f, dir, outbox.Options{})
	stop := run(f, b)
	for i := range 3 {
		keep(f, b, fmt.Sprint("message ", i))
	}
	stop()
	names, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
	whole, _ := os.ReadFile(names[0])
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Fuzz(func(t *testing.T, raw []byte) {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, "0000000001.seg"), raw, 0o600)
		b, err := outbox.Open(dir, outbox.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if s := b.Stats(); s.Bytes > len(raw) {
			t.Fatalf("%d bytes hold %+v", len(raw), s)
		}
		stop := run(t, b)
		for _, p := range drain(t, b) {
			if len(p) > len(raw) {
				t.Fatal("longer than the file")
			}
		}
		stop()
	})
}

func BenchmarkKeep(b *testing.B) {
	o := open(b, b.TempDir(), outbox.Options{})
	run(b, o)
	for b.Loop() {
		if err := keep(b, o, strings.Repeat("x", 500)); err != nil {
			b.Fatal(err)
		}
		m, ok := o.Next()
		if !ok {
			b.Fatal("not there")
		}
		o.Ack(m.Seq)
	}
}
