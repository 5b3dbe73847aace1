package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

func unpack(t *testing.T, bundle []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(bundle))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The last whole lines are kept, however long they are and wherever the ring begins.
func TestRing(t *testing.T) {
	r, all := newRing(), make([]byte, 0, 6*ringSize)
	if len(r.last(100)) > 0 {
		t.Error("an empty one has lines")
	}
	for i := range 20000 {
		line := fmt.Sprintf("line %d %s\n", i, strings.Repeat("x", i%97))
		all = append(all, line...)
		if n, err := r.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
		if i%1000 != 0 && i < 19990 {
			continue
		}
		for _, most := range []int{1 << 30, ringSize, 5000, 1} {
			got := string(r.last(most))
			if len(got) > most || len(got) > ringSize || !bytes.HasSuffix(all, []byte(got)) || got != "" && !strings.HasPrefix(got, "line ") {
				t.Fatalf("after line %d the last %d bytes are %d: %.80q", i, most, len(got), got)
			}
			if len(all) > ringSize+200 && most >= ringSize && len(got) < ringSize-200 {
				t.Fatalf("after line %d only %d bytes are kept", i, len(got))
			}
		}
	}
	r.Write(bytes.Repeat([]byte("y"), 3*ringSize)) // a line that is longer than the ring
	r.Write([]byte("\nend\n"))
	if got := string(r.last(ringSize)); got != "end\n" {
		t.Errorf("after a line without end: %.80q", got)
	}
	var many sync.WaitGroup
	for range 4 {
		many.Go(func() {
			for range 30 {
				r.Write([]byte("z\n"))
				r.last(100)
			}
		})
	}
	many.Wait()
}

// A bundle is one message: of a log that does not compress as much stands in it as there is room for, the latest of it. A part that does not
// answer costs its section only.
func TestABundleFits(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	for log.Len() < ringSize {
		fmt.Fprintf(&log, "%016x%016x\n", rand.Uint64(), rand.Uint64())
	}
	r := newRing()
	io.WriteString(r, log.String()+"the last line\n")
	stuck := make(chan struct{})
	defer close(stuck)
	bundle, err := pack([]section{
		{"one", func(w io.Writer) { io.WriteString(w, "fact\n") }},
		{"stuck", func(io.Writer) { <-stuck }},
		{"two", func(w io.Writer) { io.WriteString(w, "another\n") }},
	}, r.last)
	if err != nil {
		t.Fatal(err)
	}
	text := unpack(t, bundle)
	if len(bundle) > maxBundle || len(bundle) < maxBundle/4 || !strings.HasSuffix(text, "\nthe last line\n") {
		t.Errorf("%d bytes, %d unpacked, and the end is %.40q", len(bundle), len(text), text[max(0, len(text)-40):])
	}
	if want := "\n=== one ===\nfact\n\n=== stuck ===\nwhoever knows does not answer\n\n=== two ===\nanother\n\n=== log ===\n"; !strings.HasPrefix(text, want) {
		t.Errorf("it begins %.120q", text)
	}
	if _, err := pack([]section{{"noise", func(w io.Writer) { // nothing gives way any more
		for range 9000 {
			fmt.Fprintf(w, "%016x", rand.Uint64())
		}
	}}}, r.last); err == nil {
		t.Error("a bundle that is too long is one")
	}
}
