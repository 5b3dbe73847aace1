package record_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"parley/audio/record"
)

// FuzzFolder gives a library a recording of which two files are anything: nothing may panic, and what Recover has ended is whole.
func FuzzFolder(f *testing.F) {
	d := play(f, nil)
	d.tone(130, 0, 0) // small files are fuzzed faster
	if err := d.end(); err != nil {
		f.Fatal(err)
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(d.path(name))
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	index, first, second := read("index.jsonl"), read("000000.opus"), read("000001.opus")
	lines := bytes.SplitAfter(index, []byte("\n"))
	f.Add(index, first, second)
	f.Add(lines[0], first, second)
	f.Add(bytes.Join(lines[:2], nil), first, second[:len(second)-20])
	f.Add(lines[0], first[:60], []byte("OggS"))
	f.Add([]byte(nil), []byte(nil), []byte(nil))
	folder := quick(f)
	f.Fuzz(func(t *testing.T, index, first, second []byte) {
		dir, err := os.MkdirTemp(folder, "")
		must(t, err)
		defer os.RemoveAll(dir)
		one := filepath.Join(dir, "one")
		must(t, os.Mkdir(one, 0o700))
		for name, b := range map[string][]byte{"index.jsonl": index, "000000.opus": first, "000001.opus": second} {
			must(t, os.WriteFile(filepath.Join(one, name), b, 0o600))
		}
		l := record.NewLibrary(dir, record.Limits{})
		use(t, l)
		if _, err := l.Recover(time.Unix(1, 0)); err != nil {
			return
		}
		use(t, l)
		before := files(t, one)
		if ids, err := l.Recover(time.Unix(2, 0)); err != nil || len(ids) != 0 || files(t, one) != before {
			t.Fatalf("not the same the second time: %v, %v", ids, err)
		}
	})
}

// use does everything that reads.
func use(t *testing.T, l *record.Library) {
	_ = l.Verify("one")
	if _, err := l.List(); err != nil {
		t.Fatal(err)
	}
	s, err := l.Open("one")
	if err != nil {
		return
	}
	b, err := io.ReadAll(s)
	if err == nil && int64(len(b)) != s.Size() {
		t.Fatalf("%d bytes, %d were said", len(b), s.Size())
	}
}
