package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"parley/audio/record"
)

func TestTheWholeIsOneStreamThatCanBeReadFromAnywhere(t *testing.T) {
	d := play(t, nil)
	d.tone(430, 1000, -20)
	l := d.done()
	b := whole(t, l, "one")
	if n := bytes.Count(b, []byte("OpusHead")); n != 1 {
		t.Errorf("%d streams are chained", n)
	}
	inspectBytes(t, b)
	s, err := l.Open("one")
	must(t, err)
	if err := iotest.TestReader(s, b); err != nil {
		t.Error(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		from := random.IntN(len(b))
		n := random.IntN(len(b) - from + 1)
		got := make([]byte, n)
		_, err := s.Seek(int64(from), io.SeekStart)
		must(t, err)
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, b[from:from+n]) {
			t.Fatalf("%d bytes from %d: %v", n, from, err)
		}
	}
	for _, bad := range []struct {
		offset int64
		whence int
	}{{-1, 0}, {0, 3}, {-s.Size() - 1, 2}} {
		if _, err := s.Seek(bad.offset, bad.whence); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestRangesOverHTTP(t *testing.T) {
	d := play(t, nil)
	d.tone(250, 1000, -20)
	l := d.done()
	b := whole(t, l, "one")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := l.Open("one")
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		http.ServeContent(w, r, "one.opus", s.ModTime(), s)
	}))
	defer server.Close()
	r, err := http.NewRequest(http.MethodGet, server.URL, nil)
	must(t, err)
	r.Header.Set("Range", "bytes=1000-4999")
	answer, err := server.Client().Do(r)
	must(t, err)
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusPartialContent || !bytes.Equal(got, b[1000:5000]) {
		t.Error(answer.Status, len(got), err)
	}
}

func TestARunningRecordingIsReadAsFarAsItIsWhole(t *testing.T) {
	d := play(t, nil)
	l := d.library()
	if _, err := l.Open("one"); !errors.Is(err, record.ErrRunning) {
		t.Error(err)
	}
	d.tone(350, 1000, -20)
	eventually(t, func() bool { i, err := l.Info("one"); return err == nil && i.Segments == 3 })
	info, err := l.Info("one")
	if err != nil || !info.Running || info.Broken || !info.Ended.IsZero() {
		t.Errorf("%+v, %v", info, err)
	}
	b := whole(t, l, "one")
	inspectBytes(t, b)
	if got := samples(len(decode(t, b))); got != info.Length || got != samples(3*48000-312) {
		t.Errorf("%v plays, %v is said", got, info.Length)
	}
	if err := l.Verify("one"); !errors.Is(err, record.ErrRunning) {
		t.Error(err)
	}
	if err := l.Delete("one"); !errors.Is(err, record.ErrRunning) {
		t.Error(err)
	}
	d.done()
	must(t, l.Delete("one"))
	if _, err := l.Info("one"); !errors.Is(err, record.ErrNotFound) {
		t.Error(err)
	}
	if err := l.Delete("one"); !errors.Is(err, record.ErrNotFound) {
		t.Error(err)
	}
}

// spoil changes a file.
func spoil(change func([]byte) []byte) func(string) error {
	return func(path string) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, change(b), 0o600)
	}
}

func replace(old, with string) func(string) error {
	return spoil(func(b []byte) []byte {
		if !bytes.Contains(b, []byte(old)) {
			panic("nothing to change")
		}
		return bytes.Replace(b, []byte(old), []byte(with), 1)
	})
}

func TestTamperingIsFoundAndNamed(t *testing.T) {
	d := play(t, nil)
	d.tone(150, 1000, -20)
	must(t, d.Note("first", "Ada", time.Now()))
	d.tone(150, 1000, -20)
	eventually(t, func() bool { i, err := d.library().Info("one"); return err == nil && i.Segments >= 2 })
	must(t, d.Note("second", "Ada", time.Now()))
	d.tone(120, 1000, -20)
	d.done()
	flip := func(at int) func(string) error {
		return spoil(func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 1; return b })
	}
	cases := []struct {
		what, file string
		change     func(string) error
		named      string
	}{
		{"sound", "000001.opus", flip(500), "000001.opus"},
		{"sound at the end", "000003.opus", flip(-1), "000003.opus"},
		{"a header", "000000.opus", flip(5), "000000.opus"},
		{"something appended", "000002.opus", spoil(func(b []byte) []byte { return append(b, 0) }), "000002.opus"},
		{"cut", "000001.opus", spoil(func(b []byte) []byte { return b[:len(b)-1] }), "000001.opus"},
		{"missing", "000002.opus", os.Remove, "000002.opus"},
		{"the theme", "index.jsonl", replace("Monday", "Sunday"), "000000.opus"},
		{"a note", "index.jsonl", replace("second", "secant"), ""},
		{"who ended it", "index.jsonl", replace(`"kind":"end"`, `"kind":"not"`), "still running"},
		{"more", "000004.opus", func(p string) error { return os.WriteFile(p, nil, 0o600) }, "000004.opus"},
		{"a stranger", "a.txt", func(p string) error { return os.WriteFile(p, nil, 0o600) }, "a.txt"},
		{"a segment's hash", "index.jsonl", spoil(func(b []byte) []byte {
			i := bytes.Index(b, []byte(`"sha256":"`)) + 10
			b[i] = "01"[1&^(b[i]&1)]
			return b
		}), "000000.opus"},
		{"two segments swapped", "", func(p string) error {
			return errors.Join(os.Rename(filepath.Join(p, "000001.opus"), filepath.Join(p, "x")),
				os.Rename(filepath.Join(p, "000002.opus"), filepath.Join(p, "000001.opus")),
				os.Rename(filepath.Join(p, "x"), filepath.Join(p, "000002.opus")))
		}, "000001.opus"},
	}
	for _, c := range cases {
		dir := t.TempDir()
		must(t, os.CopyFS(dir, os.DirFS(d.path())))
		must(t, record.Verify(dir))
		must(t, c.change(filepath.Join(dir, c.file)))
		err := record.Verify(dir)
		if !errors.Is(err, record.ErrBroken) && !errors.Is(err, record.ErrRunning) || !strings.Contains(err.Error(), c.named) {
			t.Errorf("%s: %v, want %s named", c.what, err, c.named)
		}
	}
}

// TestEveryByteCounts changes each byte of the index, one at a time.
func TestEveryByteCounts(t *testing.T) {
	d := play(t, nil)
	must(t, d.Speaking("m1", "Ada", true, time.Now()))
	d.tone(30, 1000, -20)
	d.done()
	path := d.path("index.jsonl")
	good, err := os.ReadFile(path)
	must(t, err)
	end := bytes.LastIndex(good[:len(good)-1], []byte("\n")) + 1
	for i := range end {
		bad := bytes.Clone(good)
		bad[i] ^= 0x04
		must(t, os.WriteFile(path, bad, 0o600))
		if err := record.Verify(d.path()); err == nil {
			t.Errorf("byte %d, %q, may be %q", i, good[i], bad[i])
		}
	}
	// The last line itself is vouched for by the hash that Status and Info give.
	must(t, os.WriteFile(path, bytes.Replace(good, []byte(`"kind":"end"`), []byte(`"kind":"end","by":"x"`), 1), 0o600))
	if i, err := d.library().Info("one"); err != nil || i.Head == d.Status().Head {
		t.Error(i, err)
	}
}

func TestNamesThatLeadElsewhere(t *testing.T) {
	folder := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(folder, "in"), 0o700))
	must(t, os.Symlink("/", filepath.Join(folder, "in", "link")))
	must(t, os.WriteFile(filepath.Join(folder, "in", "file"), nil, 0o600))
	l := record.NewLibrary(filepath.Join(folder, "in"), record.Limits{})
	for _, id := range []string{"", ".", "..", "../in", "a/b", "/etc", "-a", "A", "a\x00", "a.b", strings.Repeat("a", 65), ".deleted-a"} {
		_, a := l.Info(id)
		_, b := l.Open(id)
		_, c := l.Index(id)
		for _, err := range []error{a, b, c, l.Delete(id), l.Verify(id)} {
			if !errors.Is(err, record.ErrID) {
				t.Errorf("%q: %v", id, err)
			}
		}
	}
	for _, id := range []string{"none", "link", "file"} {
		if err := l.Delete(id); !errors.Is(err, record.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if list, err := l.List(); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
	if list, err := record.NewLibrary(filepath.Join(folder, "not yet"), record.Limits{}).List(); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
}

func TestIDsSortAsTheyBegan(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.FixedZone("", 3600))
	if id := record.NewID(at, "+10 00/../X"); id != "20260102-020405-006-1000x" {
		t.Error(id)
	}
	if id := record.NewID(at, "会议"); id != "20260102-020405-006" {
		t.Error(id)
	}
}

func TestQuotaAndRetention(t *testing.T) {
	folder := t.TempDir()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	make1 := func(id string, at time.Time) {
		d := play(t, func(c *record.Config) { c.Folder, c.ID, c.Now = folder, id, func() time.Time { return at } })
		d.tone(120, 1000, -20)
		must(t, d.end())
	}
	for n := range 5 {
		// The names are in another order than the ends.
		make1(fmt.Sprintf("r%d", 4-n), now.Add(time.Duration(n)*time.Hour))
	}
	play(t, func(c *record.Config) { c.Folder, c.ID = folder, "a-running" })
	ids := func() (ids []string) {
		list, err := record.NewLibrary(folder, record.Limits{}).List()
		must(t, err)
		for _, i := range list {
			ids = append(ids, i.ID)
		}
		return ids
	}
	l := record.NewLibrary(folder, record.Limits{Retention: 24 * time.Hour})
	gone, err := l.Tidy(now.Add(24*time.Hour + 90*time.Minute))
	if want := []string{"r4", "r3"}; err != nil || !slices.Equal(gone, want) {
		t.Errorf("%v, %v; want %v", gone, err, want)
	}
	list, err := l.List()
	must(t, err)
	var sum int64
	for _, i := range list {
		sum += i.Bytes
		if i.Number != "1000" {
			t.Errorf("%+v", i)
		}
	}
	l = record.NewLibrary(folder, record.Limits{Quota: sum})
	if gone, err := l.Tidy(now); err != nil || len(gone) != 0 {
		t.Error(gone, err)
	}
	l = record.NewLibrary(folder, record.Limits{Quota: sum - 1})
	if gone, err := l.Tidy(now); err != nil || !slices.Equal(gone, []string{"r2"}) {
		t.Error(gone, err)
	}
	l = record.NewLibrary(folder, record.Limits{Quota: 1})
	if _, err := l.Tidy(now); err != nil || !slices.Equal(ids(), []string{"a-running"}) {
		t.Error(ids(), err)
	}
}

func TestARecordingGoesWithItsTracks(t *testing.T) {
	folder := t.TempDir()
	for id, of := range map[string]string{"main": "", "track-1": "main", "track-2": "main", "other": ""} {
		d := play(t, func(c *record.Config) { c.Folder, c.ID, c.Meta.Of = folder, id, of })
		d.tone(10, 440, -20)
		must(t, d.end())
	}
	late := play(t, func(c *record.Config) { c.Folder, c.ID, c.Meta.Of = folder, "track-3", "main" })
	l := record.NewLibrary(folder, record.Limits{})
	if err := l.Delete("main"); !errors.Is(err, record.ErrRunning) {
		t.Error(err)
	}
	if list, err := l.List(); err != nil || len(list) != 5 {
		t.Error(list, err)
	}
	must(t, late.end())
	must(t, l.Delete("main"))
	if list, err := l.List(); err != nil || len(list) != 1 || list[0].ID != "other" {
		t.Error(list, err)
	}
}

func TestBytesAreThoseOnTheDisk(t *testing.T) {
	d := play(t, nil)
	d.tone(230, 1000, -20)
	l := d.done()
	var sum int64
	entries, err := os.ReadDir(d.path())
	must(t, err)
	for _, e := range entries {
		i, err := e.Info()
		must(t, err)
		sum += i.Size()
	}
	info, err := l.Info("one")
	if err != nil || info.Bytes != sum || d.Status().Bytes != sum {
		t.Errorf("%d, %d, %v; %d are there", info.Bytes, d.Status().Bytes, err, sum)
	}
}

// BenchmarkRecording tells what a second of recording costs in processor time; the time that passes is the pace at which it is fed.
func BenchmarkRecording(b *testing.B) {
	for _, c := range []struct {
		name string
		hz   float64
	}{{"tone", 440}, {"silence", 0}} {
		b.Run(c.name, func(b *testing.B) {
			d := play(b, func(c *record.Config) { c.Segment = time.Minute })
			before := processor(b)
			for b.Loop() {
				d.tone(100, c.hz, -20)
			}
			if err := d.end(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(processor(b)-before)/1e6/float64(b.N), "cpu-ms/s")
			b.ReportMetric(float64(d.Status().Bytes)/float64(b.N), "bytes/s")
		})
	}
}

// processor is the time that this process has taken of the processor.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
