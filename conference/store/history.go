package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A history's folder:
//
//	<number of the first message, 16 hexadecimal digits>.log    frames, numbers one after the other
//	until                                                       the conference is over; kept until this time
//
// Only the last file grows. A file ends where a frame is not whole, or where the next file begins: after a write that
// failed, or was torn by a crash, a new file goes on with the next number, and what is behind the last whole frame of the old one is nobody's.

const (
	segmentSuffix = ".log"
	untilName     = "until"
	maxSegment    = 1 << 30 // bytes
	readBytes     = 1 << 20 // of one Since
)

// key is what doubles are known by: a hash of id, sender, and whether the sender is proved; so nobody can take another's id first.
type key [16]byte

func keyOf(e *Entry) key {
	sum := sha256.Sum256(fmt.Appendf(nil, "%t %d %s%s", e.Verified, len(e.From), e.From, e.ID))
	return key(sum[:16])
}

// segment is one file. Its messages are numbered first, first+1, …; message i ends at ends[i].
type segment struct {
	path  string
	first uint64
	size  int64 // bytes that are frames
	disk  int64 // bytes of the file
	ends  []int64
	keys  []key // zero: without an id
}

// history is the messages of one conference. Run's goroutine alone changes it, except for the loading, and so reads it without the lock;
// it changes what others read with the lock.
type history struct {
	dir   string
	log   *slog.Logger
	fs    disk
	bytes int64 // on disk; Run's own

	mu       sync.Mutex // guards what follows; held while an old history is read for the first time, never while the disk is written
	loaded   bool       // what follows is known
	segments []*segment
	seqs     map[key]uint64
	next     uint64
	sealed   bool // the next message begins a new file
	until    time.Time
}

// findHistory looks how much there is, and whether it is over. It is loaded when somebody asks for it.
func findHistory(dir string, d disk, log *slog.Logger) (*history, error) {
	h := &history{dir: dir, fs: d, log: log}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if info, err := n.Info(); err == nil && strings.HasSuffix(n.Name(), segmentSuffix) {
			h.bytes += info.Size()
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, untilName))
	if err == nil {
		h.until, err = time.Parse(time.RFC3339Nano, string(text))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Error("when messages may be removed is not known: they are kept", "folder", dir, "error", err)
	}
	return h, nil
}

// load reads the files, once. Called with the lock.
func (h *history) load() error {
	if h.loaded {
		return nil
	}
	segments, err := findSegments(h.dir)
	if err != nil {
		return err
	}
	h.seqs, h.next, h.sealed = make(map[key]uint64), 1, false
	for i, s := range segments {
		limit := ^uint64(0)
		last := i == len(segments)-1
		if !last {
			limit = segments[i+1].first
		}
		if err := s.load(limit); err != nil {
			return err
		}
		h.next = s.first + uint64(len(s.ends))
		if !last && h.next != limit {
			h.log.Error("messages are lost: their file is damaged", "file", s.path, "from", h.next, "to", limit-1)
		}
		h.sealed = s.size != s.disk
		for k, id := range s.keys {
			if id != (key{}) {
				h.seqs[id] = s.first + uint64(k)
			}
		}
	}
	if len(segments) > 0 {
		if err := h.settle(segments[len(segments)-1]); err != nil {
			return err
		}
	}
	h.segments, h.loaded = segments, true
	return nil
}

// settle syncs the newest file: what a process wrote that was killed before its sync is seen, and may be acknowledged as a double.
func (h *history) settle(s *segment) error {
	file, err := h.fs.open(s.path, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := h.fs.sync(file); err != nil {
		return err
	}
	return h.fs.syncDir(h.dir)
}

// findSegments lists the files of a history in their order, unread.
func findSegments(dir string) ([]*segment, error) {
	names, err := os.ReadDir(dir) // sorted
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var segments []*segment
	for _, n := range names {
		digits, ok := strings.CutSuffix(n.Name(), segmentSuffix)
		first, err := strconv.ParseUint(digits, 16, 64)
		if ok && err == nil && len(digits) == 16 && first > 0 {
			segments = append(segments, &segment{path: filepath.Join(dir, n.Name()), first: first})
		}
	}
	return segments, nil
}

// load reads a file as far as it is whole and its numbers stay below limit.
func (s *segment) load(limit uint64) error {
	st, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if st.Size() > maxSegment {
		return fmt.Errorf("%s: %w", s.path, ErrTooLarge)
	}
	data, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	s.disk = int64(len(data))
	s.parse(data, limit)
	return nil
}

// parse finds the frames of a file.
func (s *segment) parse(data []byte, limit uint64) {
	for int(s.size) < len(data) {
		e, n, err := nextFrame(data[s.size:])
		if err != nil || e.Seq != s.first+uint64(len(s.ends)) || e.Seq >= limit {
			return
		}
		s.add(int64(n), idKey(&e))
	}
}

func (s *segment) add(frame int64, id key) {
	s.size += frame
	s.ends = append(s.ends, s.size)
	s.keys = append(s.keys, id)
}

// idKey is the key of a message that has an id, else zero.
func idKey(e *Entry) key {
	if e.ID == "" {
		return key{}
	}
	return keyOf(e)
}

// staged is a batch that has numbers and is not on disk yet.
type staged struct {
	data    []byte
	first   uint64
	frames  []int64 // lengths
	keys    []key
	answers []answer
}

type answer struct {
	seq uint64
	dup bool
}

// stage numbers a batch and encodes what is new in it.
func (h *history) stage(batch []request) (staged, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.until.IsZero() {
		return staged{}, ErrClosed
	}
	if err := h.load(); err != nil {
		return staged{}, err
	}
	s := staged{first: h.next, answers: make([]answer, len(batch))}
	inBatch := make(map[key]uint64)
	for i := range batch {
		e := &batch[i].entry
		id := idKey(e)
		if seq := max(h.seqs[id], inBatch[id]); seq != 0 {
			s.answers[i] = answer{seq, true}
			continue
		}
		e.Seq = h.next + uint64(len(s.frames))
		s.answers[i] = answer{e.Seq, false}
		before := len(s.data)
		s.data = appendFrame(s.data, e)
		s.frames = append(s.frames, int64(len(s.data)-before))
		s.keys = append(s.keys, id)
		if id != (key{}) {
			inBatch[id] = e.Seq
		}
	}
	return s, nil
}

// publish makes a batch that is on disk known.
func (h *history) publish(to *segment, isNew bool, s staged) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, n := range s.frames {
		to.add(n, s.keys[i])
		if s.keys[i] != (key{}) {
			h.seqs[s.keys[i]] = s.first + uint64(i)
		}
	}
	to.disk = to.size
	h.next = s.first + uint64(len(s.frames))
	h.sealed = false
	if isNew {
		h.segments = append(h.segments, to)
	}
}

// stretch is a part of a file, of whole frames.
type stretch struct {
	path     string
	first    uint64
	from, to int64
	count    int
}

// since reads outside the lock: a file that has gone by then was the oldest, and its messages are gone.
func (h *history) since(after uint64, limit int) ([]Entry, error) {
	parts, err := h.find(after, limit)
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, p := range parts {
		file, err := os.Open(p.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return all, err
		}
		data := make([]byte, p.to-p.from)
		_, err = file.ReadAt(data, p.from)
		file.Close()
		if err != nil {
			return all, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		for i := range p.count {
			e, n, err := nextFrame(data)
			if err != nil || e.Seq != p.first+uint64(i) {
				return all, fmt.Errorf("message %d: %w", p.first+uint64(i), ErrDamaged)
			}
			data = data[n:]
			all = append(all, e)
		}
	}
	return all, nil
}

// find says where the messages after a number stand.
func (h *history) find(after uint64, limit int) ([]stretch, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.load(); err != nil {
		return nil, err
	}
	var parts []stretch
	left := int64(readBytes)
	for _, s := range h.segments {
		i := 0
		if after >= s.first {
			i = int(min(after-s.first+1, uint64(len(s.ends))))
		}
		p := stretch{path: s.path, first: s.first + uint64(i)}
		if i > 0 {
			p.from = s.ends[i-1]
		}
		p.to = p.from
		for ; i < len(s.ends) && limit > 0; i++ {
			if n := s.ends[i] - p.to; n <= left || len(parts) == 0 && p.count == 0 {
				left -= n
			} else {
				limit = 0
				break
			}
			p.to = s.ends[i]
			p.count++
			limit--
		}
		if p.count > 0 {
			parts = append(parts, p)
		}
	}
	return parts, nil
}
