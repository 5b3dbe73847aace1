package record

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const indexName = "index.jsonl"

// readLines gives each line of an index to each, with the hash of all before it, and returns how many bytes the good lines are. The
// error is io.EOF's absence: nil at a clean end, ErrBroken where a line is none, or what each returned.
func readLines(r io.Reader, each func(l Line, before func() string) error) (good int64, err error) {
	in := bufio.NewReaderSize(io.LimitReader(r, maxIndex), maxLine)
	sum := sha256.New()
	before := func() string { return hexSum(sum) }
	for n := 1; ; n++ {
		b, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(b) == 0 {
			return good, nil
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return good, fmt.Errorf("record: index: %w", err)
		}
		l, ok := parseLine(b)
		if !ok || (n == 1) != (l.Kind == KindStart) {
			return good, fmt.Errorf("%w: index, line %d", ErrBroken, n)
		}
		if err := each(l, before); err != nil {
			return good, err
		}
		sum.Write(b)
		good += int64(len(b))
	}
}

// parseLine reads one line with its end.
func parseLine(b []byte) (Line, bool) {
	var l Line
	if len(b) == 0 || b[len(b)-1] != '\n' || bytes.IndexByte(b, 0) >= 0 || json.Unmarshal(b, &l) != nil {
		return l, false
	}
	switch {
	case l.Kind == "", l.Position < 0, l.Start < 0, l.Length < 0, l.Bytes < 0, l.Head < 0, l.Bytes > maxSegment, l.Pages < 0,
		l.Start > maxSamples, l.Length > maxSamples, l.Kind == KindStart && (l.Meta == nil || l.V != 1):
		return l, false
	}
	return l, true
}

// maxSamples is a year of sound: what is longer is none of ours.
const maxSamples = 366 * 24 * 3600 * 48000

// story is a whole index.
type story struct {
	Lines    []Line
	segments []Line // of Lines
	end      *Line
	good     int64 // bytes
	head     string
}

// readStory reads the index of the recording at path. With ErrBroken the story is what stands before the broken line.
func readStory(path string) (story, error) {
	var s story
	f, err := os.Open(filepath.Join(path, indexName))
	if err != nil {
		return s, err
	}
	defer f.Close()
	sum := sha256.New()
	s.good, err = readLines(io.TeeReader(f, sum), func(l Line, _ func() string) error {
		if s.end != nil || !s.follows(l) {
			return fmt.Errorf("%w: index: %s out of order", ErrBroken, l.Kind)
		}
		s.Lines = append(s.Lines, l)
		switch l.Kind {
		case KindSegment:
			s.segments = append(s.segments, l)
		case KindEnd:
			s.end = &l
		}
		return nil
	})
	s.head = hexSum(sum)
	return s, err
}

// follows says whether a segment's line continues the one before.
func (s *story) follows(l Line) bool {
	return l.Kind != KindSegment || (l.File == segmentName(len(s.segments)) && l.Start == s.length() && l.Length > 0 &&
		l.Head > 0 && l.Head < l.Bytes && l.Pages > 2 && (l.Pages > 3 || len(s.segments) == 0))
}

// length is that of all whole segments, samples.
func (s *story) length() int64 {
	if len(s.segments) == 0 {
		return 0
	}
	l := s.segments[len(s.segments)-1]
	return l.Start + l.Length
}

// Verify checks the recording in the folder dir against its index: every line, every segment, and that nothing is missing or was
// added. The error is ErrBroken and names the first segment at or before which something was changed; or ErrRunning if all is well but
// there is no end yet.
func Verify(dir string) error {
	f, err := os.Open(filepath.Join(dir, indexName))
	if err != nil {
		return err
	}
	defer f.Close()
	var s story
	_, err = readLines(f, func(l Line, before func() string) error {
		if s.end != nil || !s.follows(l) {
			return fmt.Errorf("%w: %s: the index goes on wrongly", ErrBroken, segmentName(len(s.segments)))
		}
		switch l.Kind {
		case KindSegment:
			s.segments = append(s.segments, l)
			if l.Prev != before() {
				return fmt.Errorf("%w: %s: the index before it was changed", ErrBroken, l.File)
			}
			return verifySegment(dir, l)
		case KindEnd:
			s.end = &l
			if l.Prev != before() || l.Length != s.length() {
				return fmt.Errorf("%w: the index before the end was changed", ErrBroken)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if s.end == nil {
		return ErrRunning
	}
	return nothingElse(dir, len(s.segments))
}

// nothingElse looks for files that are neither the index nor one of n segments.
func nothingElse(dir string, n int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); name != indexName && (len(name) != len(segmentName(0)) || name >= segmentName(n)) {
			return fmt.Errorf("%w: %q: not in the index", ErrBroken, name)
		}
	}
	return nil
}

func verifySegment(dir string, l Line) error {
	b, err := readSegment(dir, l.File)
	if err != nil {
		return err
	}
	shape, err := shapeOf(b)
	sum := sha256.Sum256(b)
	if err != nil || fmt.Sprintf("%x", sum) != l.SHA256 || shape.bytes != len(b) || shape.pages != l.Pages || int64(shape.sound) != l.Head ||
		(l.Start == 0) != (shape.skip == lookahead) || shape.length() != l.Length {
		return fmt.Errorf("%w: %s: not what was written", ErrBroken, l.File)
	}
	return nil
}

// readSegment reads a segment's file whole.
func readSegment(dir, name string) ([]byte, error) {
	path := filepath.Join(dir, name)
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing", ErrBroken, name)
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSegment {
		return nil, fmt.Errorf("%w: %s: not a segment", ErrBroken, name)
	}
	return os.ReadFile(path)
}
