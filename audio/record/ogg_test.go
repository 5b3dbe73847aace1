package record

import (
	"bytes"
	"testing"
	"time"

	"parley/audio"
)

func TestThePageOfTheStandard(t *testing.T) {
	p := appendPage(nil, flagLast, 1234567890123, 7, 9, []int{0, 254, 255, 600}, make([]byte, 254+255+600))
	got, err := parsePage(append(bytes.Clone(p), "more"...))
	if err != nil || got.flags != flagLast || got.granule != 1234567890123 || got.serial != 7 || got.number != 9 ||
		got.size != len(p) || !bytes.Equal(got.lacing, []byte{0, 254, 255, 0, 255, 255, 90}) {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range p {
		if _, err := parsePage(p[:i]); err == nil {
			t.Fatalf("%d of %d bytes are a page", i, len(p))
		}
		p[i] ^= 0x10
		if q, err := parsePage(p); err == nil {
			t.Fatalf("changed at %d it is %+v", i, q)
		}
		p[i] ^= 0x10
	}
}

func FuzzPages(f *testing.F) {
	head := opusHead(lookahead)
	b := appendPage(nil, flagFirst, 0, 1, 0, []int{len(head)}, head)
	tags := opusTags("TITLE=x")
	b = appendPage(b, 0, 0, 1, 1, []int{len(tags)}, tags)
	b = appendPage(b, flagLast, 960, 1, 2, []int{3}, silencePacket[:])
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		// Behind a checksum that is never right nothing would be tried.
		b = bytes.Clone(b)
		for i := 0; i+pageHeader < len(b); i++ {
			if size := pageSize(b[i:]); size > 0 {
				sealPage(b[i : i+size])
			}
		}
		s, err := shapeOf(b)
		if s.bytes > len(b) || s.length() < 0 || err == nil && (s.sound > s.bytes || s.sound == 0 || s.last >= s.bytes) {
			t.Fatalf("%+v", s)
		}
		again, e := shapeOf(b[:s.bytes])
		if again != s || (e == nil) != (err == nil) {
			t.Fatalf("%+v, then %+v", s, again)
		}
	})
}

// BenchmarkRing is what the tick pays, and the writer's look.
func BenchmarkRing(b *testing.B) {
	r, f := &ring{}, &audio.Frame{}
	b.ReportAllocs()
	for b.Loop() {
		r.put(audio.SampleRate, f)
		if r.next() == nil {
			b.Fatal("nothing in it")
		}
		r.done()
	}
}

func TestADayIsADay(t *testing.T) {
	if d := samples(300 * 24 * 3600 * 48000); d != 300*24*time.Hour {
		t.Error(d)
	}
}

// pageSize is how long the page at the beginning of b is, or 0.
func pageSize(b []byte) int {
	if string(b[:4]) != "OggS" || len(b) < pageHeader+int(b[26]) {
		return 0
	}
	size := pageHeader + int(b[26])
	for _, n := range b[pageHeader:size] {
		size += int(n)
	}
	if size > len(b) {
		return 0
	}
	return size
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"kind":"start","at":"2026-01-01T00:00:00Z","ms":0,"v":1,"id":"one","meta":{}}` + "\n" +
		`{"kind":"segment","at":"2026-01-01T00:00:00Z","ms":0,"file":"000000.opus","length":1,"bytes":9,"head":1,"pages":3}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		good, err := readLines(bytes.NewReader(b), func(Line, func() string) error { n++; return nil })
		if good > int64(len(b)) || (err == nil) != (good == int64(len(b))) || n != bytes.Count(b[:good], []byte("\n")) {
			t.Fatalf("%d of %d bytes, %d lines, %v", good, len(b), n, err)
		}
	})
}
