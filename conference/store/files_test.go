package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

var t0 = time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// text makes n bytes that do not repeat.
func text(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func openFiles(t testing.TB, cfg FilesConfig) *Files {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "files")
	}
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return t0 }
	}
	s, err := OpenFiles(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func begin(t testing.TB, s *Files, uid, name string, data []byte) string {
	t.Helper()
	id, err := s.Begin(uid, Meta{Name: name, Size: int64(len(data)), SHA256: sum(data), By: "2001"})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func upload(t testing.TB, s *Files, uid, name string, data []byte) string {
	t.Helper()
	id := begin(t, s, uid, name, data)
	if n, err := s.Write(uid, id, 0, bytes.NewReader(data)); n != int64(len(data)) || err != nil {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if _, err := s.Finish(uid, id); err != nil {
		t.Fatal(err)
	}
	return id
}

func content(t testing.TB, s *Files, uid, id string) []byte {
	t.Helper()
	r, _, err := s.Open(uid, id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// An upload that breaks off goes on where it stopped, across a restart too, and is seen when it is whole and not before (C-31).
func TestUploadGoesOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "files")
	data := text(3<<20 + 77)
	s := openFiles(t, FilesConfig{Dir: dir})
	id := begin(t, s, "u1", "plan.pdf", data)

	broken := io.MultiReader(bytes.NewReader(data[:100_000]), iotest.ErrReader(io.ErrUnexpectedEOF))
	at, err := s.Write("u1", id, 0, broken)
	if at != 100_000 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("a broken connection: %d, %v", at, err)
	}
	if _, err := s.Finish("u1", id); !errors.Is(err, ErrIncomplete) {
		t.Errorf("half a file can be finished: %v", err)
	}
	if _, _, err := s.Open("u1", id); !errors.Is(err, ErrIncomplete) {
		t.Errorf("half a file can be read: %v", err)
	}
	if l := s.List("u1"); len(l) != 0 {
		t.Errorf("half a file is listed: %v", l)
	}

	s = openFiles(t, FilesConfig{Dir: dir})
	info, err := s.Status("u1", id)
	if err != nil || info.Received != at || info.Finished {
		t.Fatalf("after a restart: %+v, %v", info, err)
	}
	for _, wrong := range []int64{0, at - 1, at + 1, -1, int64(len(data))} {
		if n, err := s.Write("u1", id, wrong, bytes.NewReader(data)); n != at || !errors.Is(err, ErrOffset) {
			t.Errorf("offset %d: %d, %v", wrong, n, err)
		}
	}
	if at, err = s.Write("u1", id, at, bytes.NewReader(data[at:])); err != nil || at != int64(len(data)) {
		t.Fatal(at, err)
	}
	info, err = s.Finish("u1", id)
	if err != nil || !info.Finished || info.Name != "plan.pdf" || info.By != "2001" || !info.At.Equal(t0) {
		t.Fatalf("%+v, %v", info, err)
	}
	if again, err := s.Finish("u1", id); err != nil || again != info {
		t.Errorf("finished twice: %+v, %v", again, err)
	}
	if _, err := s.Write("u1", id, at, strings.NewReader("x")); !errors.Is(err, ErrFinished) {
		t.Errorf("a file grows after its end: %v", err)
	}

	s = openFiles(t, FilesConfig{Dir: dir})
	if l := s.List("u1"); len(l) != 1 || l[0] != info {
		t.Fatalf("listed after a restart: %+v, want %+v", l, info)
	}
	r, _, err := s.Open("u1", id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Seek(1_000_000, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete("u1", id); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); err != nil || !bytes.Equal(rest, data[1_000_000:]) {
		t.Errorf("who reads while it is deleted gets %d bytes, %v", len(rest), err)
	}
	if _, _, err := s.Open("u1", id); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted and there: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "u1")); len(left) != 1 {
		t.Errorf("left on disk: %v", left)
	}
}

func TestUploadIsWhatWasAnnounced(t *testing.T) {
	s := openFiles(t, FilesConfig{})
	data := text(5000)
	id := begin(t, s, "u1", "a", data)
	if n, err := s.Write("u1", id, 0, bytes.NewReader(text(5001))); n != 5000 || !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte too many: %d, %v", n, err)
	}
	if _, err := s.Finish("u1", id); err != nil {
		t.Errorf("the first 5000 were right: %v", err)
	}
	id = begin(t, s, "u1", "b", data)
	forged := bytes.Clone(data)
	forged[4321] ^= 1
	if _, err := s.Write("u1", id, 0, bytes.NewReader(forged)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Finish("u1", id); !errors.Is(err, ErrHash) {
		t.Errorf("another file than announced: %v", err)
	}
	if _, err := s.Status("u1", id); !errors.Is(err, ErrNotFound) {
		t.Errorf("what is wrong stays: %v", err)
	}
	empty := upload(t, s, "u1", "empty", nil)
	if got := content(t, s, "u1", empty); len(got) != 0 {
		t.Errorf("an empty file has %d bytes", len(got))
	}
	stuck := begin(t, s, "u1", "c", data)
	if _, err := s.Write("u1", stuck, 0, stuckReader{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that gives nothing: %v", err)
	}
}

type stuckReader struct{}

func (stuckReader) Read([]byte) (int, error) { return 0, nil }

// No number of uploads, announced or real, goes over what a conference and the box may have.
func TestQuotas(t *testing.T) {
	free := uint64(10_000)
	s := openFiles(t, FilesConfig{
		PerConf: 1000, Total: 1500, Count: 4, Uploads: 2,
		Space: Space{Reserve: 2000, Free: func() (uint64, error) { return free, nil }},
	})
	try := func(uid string, size int) (string, error) {
		return s.Begin(uid, Meta{Name: "x", Size: int64(size), SHA256: sum(nil)})
	}
	for _, c := range []struct {
		uid  string
		size int
		want error
	}{
		{"a", 1001, ErrTooLarge}, {"a", 600, nil}, {"a", 401, ErrQuota}, {"b", 901, ErrQuota}, {"a", 400, nil}, {"b", 500, nil}, {"c", 1, ErrQuota},
		{"a", 0, ErrQuota}, {"b", 0, nil}, {"b", 0, ErrQuota}, {"b", -1, ErrInvalid},
	} {
		if _, err := try(c.uid, c.size); !errors.Is(err, c.want) {
			t.Errorf("%s, %d bytes: %v, want %v", c.uid, c.size, err, c.want)
		}
	}
	for _, e := range s.Pending("a") {
		if err := s.Delete("a", e.ID); err != nil {
			t.Fatal(err)
		}
	}
	free = 2000 + 500 + 299 // the reserve, and what b may still bring
	if _, err := try("a", 300); !errors.Is(err, ErrSpace) {
		t.Errorf("the reserve is given away: %v", err)
	}
	free++
	id, err := try("a", 300)
	if err != nil {
		t.Errorf("it fits: %v", err)
	}
	free = 2000 // somebody else has filled the disk meanwhile
	if n, err := s.Write("a", id, 0, bytes.NewReader(text(200))); !errors.Is(err, ErrSpace) || n != 0 {
		t.Errorf("written into the reserve: %d, %v", n, err)
	}
}

// A full disk costs the upload and nothing else: what was acknowledged is there, and it goes on when there is room.
func TestFullDisk(t *testing.T) {
	var full bool
	var mu sync.Mutex
	fault := func(op, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if full && (op == "write" || op == "create") {
			return &os.PathError{Op: op, Err: syscall.ENOSPC}
		}
		return nil
	}
	set := func(v bool) { mu.Lock(); full = v; mu.Unlock() }
	s := openFiles(t, FilesConfig{fault: fault})
	data := text(2<<20 + 5)
	id := begin(t, s, "u1", "a", data)
	reader := io.MultiReader(bytes.NewReader(data[:1_500_000]), readerFunc(func([]byte) (int, error) { set(true); return 0, nil }), bytes.NewReader(data))
	at, err := s.Write("u1", id, 0, reader)
	if !errors.Is(err, ErrSpace) || at != 1<<20 {
		t.Fatalf("full: %d, %v", at, err)
	}
	if _, err := s.Begin("u1", Meta{Name: "b", Size: 1, SHA256: sum([]byte("b"))}); !errors.Is(err, ErrSpace) {
		t.Errorf("begun on a full disk: %v", err)
	}
	set(false)
	if at, err = s.Write("u1", id, at, bytes.NewReader(data[at:])); err != nil {
		t.Fatal(at, err)
	}
	set(true)
	if _, err := s.Finish("u1", id); !errors.Is(err, ErrSpace) {
		t.Errorf("finished on a full disk: %v", err)
	}
	if len(s.List("u1")) != 0 {
		t.Error("listed though its end is not on disk")
	}
	set(false)
	if _, err := s.Finish("u1", id); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content(t, s, "u1", id), data) {
		t.Error("the content is another one")
	}
}

type readerFunc func([]byte) (int, error)

// Read once runs the function and is at its end.
func (f readerFunc) Read(b []byte) (int, error) { f(b); return 0, io.EOF }

func TestStaleAndOver(t *testing.T) {
	now := t0
	dir := filepath.Join(t.TempDir(), "files")
	s := openFiles(t, FilesConfig{Dir: dir, Stale: time.Hour, Now: func() time.Time { return now }})
	kept := upload(t, s, "u1", "kept", text(100))
	stale := begin(t, s, "u1", "stale", text(100))
	alive := begin(t, s, "u1", "alive", text(100))
	now = now.Add(59 * time.Minute)
	if _, err := s.Write("u1", alive, 0, bytes.NewReader(text(100)[:10])); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if err := s.Sweep(now); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Status("u1", stale); !errors.Is(err, ErrNotFound) {
		t.Errorf("an upload that nobody goes on with stays: %v", err)
	}
	if _, err := s.Status("u1", alive); err != nil {
		t.Errorf("an upload that goes on is removed: %v", err)
	}

	if err := s.Close("u1", now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	s = openFiles(t, FilesConfig{Dir: dir})
	if err := s.Close("u1", now.Add(9*time.Hour)); err != nil { // who closes again moves nothing
		t.Fatal(err)
	}
	if _, err := s.Status("u1", alive); !errors.Is(err, ErrNotFound) {
		t.Errorf("an upload survives its conference: %v", err)
	}
	if _, err := s.Begin("u1", Meta{Name: "x", SHA256: sum(nil)}); !errors.Is(err, ErrClosed) {
		t.Errorf("begun after the end: %v", err)
	}
	if err := s.Sweep(now.Add(time.Hour - 1)); err != nil {
		t.Fatal(err)
	}
	if got := content(t, s, "u1", kept); !bytes.Equal(got, text(100)) {
		t.Error("a file is not kept until its time")
	}
	if err := s.Sweep(now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 || len(s.Conferences()) != 0 {
		t.Errorf("left after its time: %v", left)
	}
}

// One upload has one writer, and a writer whose upload is deleted meanwhile is told.
func TestOneWriter(t *testing.T) {
	s := openFiles(t, FilesConfig{})
	data := text(1000)
	id := begin(t, s, "u1", "a", data)
	r, w := io.Pipe()
	type result struct {
		n   int64
		err error
	}
	first := make(chan result, 1)
	go func() {
		n, err := s.Write("u1", id, 0, r)
		first <- result{n, err}
	}()
	w.Write(data[:10]) // returns when the writer has read it
	if _, err := s.Write("u1", id, 0, bytes.NewReader(data)); !errors.Is(err, ErrBusy) {
		t.Errorf("a second writer: %v", err)
	}
	if _, err := s.Finish("u1", id); !errors.Is(err, ErrBusy) {
		t.Errorf("finished while it is written: %v", err)
	}
	if err := s.Delete("u1", id); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if got := <-first; !errors.Is(got.err, ErrNotFound) {
		t.Errorf("written into a deleted upload: %+v", got)
	}
}

func TestNothingLeadsOut(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openFiles(t, FilesConfig{Dir: filepath.Join(dir, "files")})
	upload(t, s, "u1", "../../secret", text(3))
	for _, uid := range []string{"", ".", "..", "../u1", "a/b", "a\\b", "a\x00", "é", strings.Repeat("u", 129), "-\n"} {
		if _, err := s.Begin(uid, Meta{Name: "x", SHA256: sum(nil)}); !errors.Is(err, ErrInvalid) {
			t.Errorf("uid %q: %v", uid, err)
		}
	}
	for _, id := range []string{"", "..", "../../secret", "index.json", "/etc/passwd"} {
		if _, _, err := s.Open("u1", id); !errors.Is(err, ErrNotFound) {
			t.Errorf("id %q: %v", id, err)
		}
		if err := s.Delete("u1", id); !errors.Is(err, ErrNotFound) {
			t.Errorf("id %q is deleted: %v", id, err)
		}
	}
	if l := s.List("u1"); l[0].Name != "_.._secret" {
		t.Errorf("shown as %q", l[0].Name)
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
		t.Errorf("%q, %v", b, err)
	}
}

// A disk that dies takes one conference's files, and leaves them to who can mend them.
func TestDamagedIndex(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "files")
	s := openFiles(t, FilesConfig{Dir: dir})
	id := upload(t, s, "bad", "a", text(10))
	good := upload(t, s, "good", "a", text(10))
	if err := os.WriteFile(filepath.Join(dir, "bad", indexName), []byte(`{"files":[{"id":"../x"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openFiles(t, FilesConfig{Dir: dir})
	if _, err := s.Status("bad", id); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
	if _, err := s.Begin("bad", Meta{Name: "x", SHA256: sum(nil)}); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "bad", id)); err != nil {
		t.Errorf("what can be mended is removed: %v", err)
	}
	content(t, s, "good", good)
	if err := s.Close("bad", t0); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(t0); err != nil || len(s.Conferences()) != 1 {
		t.Errorf("its time has come: %v, %v", err, s.Conferences())
	}
}
