package record

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"syscall"
)

// File is what a Tape writes to, from one goroutine, only ever at the end.
type File interface {
	Write(p []byte) (int, error)
	// Sync returns when what was written outlives a power cut.
	Sync() error
	Close() error
}

// diskFile is a File on the disk; a new one is in its folder for good once it was made.
type diskFile struct{ *os.File }

func (f diskFile) Sync() error { return syscall.Fdatasync(int(f.Fd())) }

// create makes the file at path, which must not exist yet.
func create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		_ = f.Close()
		return nil, err
	}
	return diskFile{f}, nil
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

// index appends lines and keeps the hash of all of them.
type index struct {
	file  File
	sum   hash.Hash
	bytes int64
	dirty bool
}

// chain is the hash of all lines so far.
func (x *index) chain() string { return hexSum(x.sum) }

// add writes l; it is safe from a power cut after sync.
func (x *index) add(l Line) error {
	b, err := encodeLine(l)
	if err != nil {
		return err
	}
	x.dirty = true
	if _, err := x.file.Write(b); err != nil {
		return fmt.Errorf("record: index: %w", err)
	}
	x.sum.Write(b)
	x.bytes += int64(len(b))
	return nil
}

func (x *index) sync() error {
	if !x.dirty {
		return nil
	}
	if err := x.file.Sync(); err != nil {
		return fmt.Errorf("record: index: %w", err)
	}
	x.dirty = false
	return nil
}

func encodeLine(l Line) ([]byte, error) {
	b, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("record: index: %w", err)
	}
	b = append(b, '\n')
	if len(b) > maxLine {
		return nil, ErrFull
	}
	return b, nil
}

// segment is the file that is being written.
type segment struct {
	file   File
	name   string
	sum    hash.Hash
	serial uint32
	first  int64 // number of the first packet of its own, from the beginning of the recording
	skip   int   // samples to be dropped
	before int   // packets that stand before the first one of its own
	pages  uint32
	bytes  int64
	head   int64 // of them, before the first page of its own
}

// segmentName is the file of segment number n.
func segmentName(n int) string { return fmt.Sprintf("%06d.opus", n) }

// skipOf is what of segment number n is to be dropped, samples.
func skipOf(n int) int {
	if n == 0 {
		return lookahead
	}
	return preroll * packetSamples
}

// start is where the segment's sound begins, samples from the beginning of the recording.
func (s *segment) start() int64 {
	if s.before == 0 {
		return 0
	}
	return s.first*packetSamples - lookahead
}

// page appends a page. Its granule position counts what is decoded up to its end, with what is to be dropped.
func (s *segment) page(buf []byte, flags byte, granule int64, lengths []int, body []byte) ([]byte, error) {
	buf = appendPage(buf[:0], flags, granule, s.serial, s.pages, lengths, body)
	if _, err := s.file.Write(buf); err != nil {
		return buf, fmt.Errorf("record: %s: %w", s.name, err)
	}
	s.sum.Write(buf)
	s.pages++
	s.bytes += int64(len(buf))
	return buf, nil
}

// hexSum is the hash so far, in hex.
func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
