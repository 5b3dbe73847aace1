package record

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// maxTorn is the most that a power cut can have spoilt of an index's end, bytes: what may wait, and a line.
const maxTorn = 4 << 20

// Recover ends the recording in the folder dir, which nobody is making any more, as what was safe of it: the index is cut after its
// last whole line, segments that are not in it are cut after their last whole page and written down, and the end is marked as
// recovered. A recording of which there is no sound at all keeps its index. It may be cut off itself and run again; on what has an
// end it does nothing. ErrBroken: the index was spoilt otherwise than by being cut off; nothing is changed.
func Recover(dir string, now time.Time) error {
	s, err := readStory(dir)
	if err == nil && s.end != nil {
		return nil
	}
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: no index", ErrBroken)
	}
	if err != nil && !errors.Is(err, ErrBroken) {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, indexName), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if torn := info.Size() - s.good; s.end != nil || len(s.Lines) == 0 || torn > maxTorn {
		return fmt.Errorf("%w: index", ErrBroken)
	}
	if err := f.Truncate(s.good); err != nil {
		return err
	}
	x := &index{file: diskFile{f}, sum: sha256.New()}
	if _, err := io.Copy(x.sum, f); err != nil { // which leaves the file at its end
		return err
	}
	return s.finish(dir, x, now)
}

// finish writes down the segments that are not in the index yet, and the end.
func (s *story) finish(dir string, x *index, now time.Time) error {
	for {
		l, err := recoverSegment(dir, len(s.segments))
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		l.At, l.Start, l.Prev = now, s.length(), x.chain()
		l.Position = l.Start * 1000 / 48000
		if err := x.add(l); err != nil {
			return err
		}
		s.segments = append(s.segments, l)
	}
	length := s.length()
	end := Line{Kind: KindEnd, At: now, Position: length * 1000 / 48000, Length: length, Prev: x.chain(), Reason: "cut off", Recovered: true}
	if err := x.add(end); err != nil {
		return err
	}
	if err := x.sync(); err != nil {
		return err
	}
	return syncFolder(dir)
}

// recoverSegment cuts a segment after its last whole page and marks that as the last one. What has no sound is removed and does not
// exist any more.
func recoverSegment(dir string, n int) (Line, error) {
	name := segmentName(n)
	l := Line{Kind: KindSegment, File: name, Recovered: true}
	b, err := readSegment(dir, name)
	if errors.Is(err, ErrBroken) {
		return l, os.ErrNotExist
	}
	if err != nil {
		return l, err
	}
	path := filepath.Join(dir, name)
	shape, err := shapeOf(b)
	if err != nil || shape.length() == 0 || shape.sound == shape.bytes {
		if err := os.Remove(path); err != nil {
			return l, err
		}
		return l, os.ErrNotExist
	}
	if shape.skip != skipOf(n) {
		return l, fmt.Errorf("%w: %s: of another recording", ErrBroken, name)
	}
	b = b[:shape.bytes]
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return l, err
	}
	defer f.Close()
	if err := f.Truncate(int64(len(b))); err != nil {
		return l, err
	}
	if !shape.ended {
		p := b[shape.last:]
		p[5] |= flagLast
		sealPage(p)
		if _, err := f.WriteAt(p[:pageHeader], int64(shape.last)); err != nil {
			return l, err
		}
	}
	if err := f.Sync(); err != nil {
		return l, err
	}
	l.Bytes, l.Head, l.Pages, l.Length = int64(len(b)), int64(shape.sound), shape.pages, shape.length()
	l.SHA256 = fmt.Sprintf("%x", sha256.Sum256(b))
	return l, nil
}
