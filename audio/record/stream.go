package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Stream is a recording as one Ogg/Opus file: the segments' pages one after the other, numbered and timed anew, without what each
// repeats of the one before. (Chained as they are they would be legal Ogg, too, but browsers stop at the first one's end.) Its size
// is known and its bytes are always the same ones, as HTTP ranges want it. It belongs to one goroutine; nothing is to be closed.
type Stream struct {
	Info     Info
	path     string
	segments []Line
	parts    []part
	size     int64
	pos      int64
	now      int // the part that data is
	data     []byte
}

// part is what the stream takes from one segment.
type part struct {
	at    int64  // in the stream
	size  int64  // bytes
	pages uint32 // number of the first page in the stream
}

// Open opens a recording for reading; of one that is running, the segments that are whole. ErrID, ErrNotFound; ErrRunning if there is
// no whole segment yet; ErrBroken.
func (l *Library) Open(id string) (*Stream, error) {
	info, err := l.Info(id)
	if err != nil {
		return nil, err
	}
	path, err := l.path(id)
	if err != nil {
		return nil, err
	}
	s, err := readStory(path)
	if err != nil && !errors.Is(err, ErrBroken) {
		return nil, err
	}
	r := &Stream{Info: info, path: path, segments: s.segments, now: -1}
	var pages uint32
	for i, g := range s.segments {
		p := part{at: r.size, pages: pages, size: g.Bytes}
		n := g.Pages
		if i > 0 {
			p.size -= g.Head
			n -= headPages(preroll * packetSamples)
		}
		r.parts = append(r.parts, p)
		r.size += p.size
		pages += uint32(n)
	}
	switch {
	case len(r.parts) > 0:
		return r, nil
	case info.Running:
		return nil, ErrRunning
	}
	return nil, fmt.Errorf("%w: no sound in it", ErrBroken)
}

// Size is the length of all, bytes.
func (s *Stream) Size() int64 { return s.size }

// ModTime is since when it has been as it is.
func (s *Stream) ModTime() time.Time {
	return s.segments[len(s.segments)-1].At
}

func (s *Stream) Read(p []byte) (int, error) {
	if s.pos >= s.size {
		return 0, io.EOF
	}
	i := 0
	for i+1 < len(s.parts) && s.parts[i+1].at <= s.pos {
		i++
	}
	if err := s.load(i); err != nil {
		return 0, err
	}
	n := copy(p, s.data[s.pos-s.parts[i].at:])
	s.pos += int64(n)
	return n, nil
}

// Seek is as in io.Seeker.
func (s *Stream) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.pos
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 || whence < 0 || whence > 2 {
		return 0, errors.New("record: seek before the beginning")
	}
	s.pos = offset
	return offset, nil
}

// load makes part i the one in memory.
func (s *Stream) load(i int) error {
	if s.now == i {
		return nil
	}
	g := s.segments[i]
	b, err := readSegment(s.path, g.File)
	if err != nil {
		return err
	}
	shape, err := shapeOf(b)
	if err != nil || shape.bytes != len(b) || int64(len(b)) != g.Bytes || int64(shape.sound) != g.Head || shape.pages != g.Pages {
		return fmt.Errorf("%w: %s: not what was written", ErrBroken, g.File)
	}
	if i > 0 {
		b = b[shape.sound:]
	}
	s.rewrite(b, i, shape.skip)
	s.now, s.data = i, b
	return nil
}

// rewrite makes the pages b of segment i pages of the stream.
func (s *Stream) rewrite(b []byte, i, skip int) {
	// What is decoded up to a place in the segment's own sound is counted from the stream's beginning.
	shift := int64(lookahead - skip)
	if i > 0 {
		shift += s.segments[i].Start
	}
	number := s.parts[i].pages
	for len(b) > 0 {
		p, err := parsePage(b)
		if err != nil {
			return // shapeOf has read them
		}
		whole := b[:p.size]
		if p.granule > 0 {
			binary.LittleEndian.PutUint64(whole[6:], uint64(p.granule+shift))
		}
		binary.LittleEndian.PutUint32(whole[18:], number)
		whole[5] &^= flagLast
		if i == len(s.parts)-1 && len(b) == p.size {
			whole[5] |= flagLast
		}
		sealPage(whole)
		number++
		b = b[p.size:]
	}
}
