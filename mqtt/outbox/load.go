package outbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
)

const suffix = ".seg"

// load reads all segments, the oldest first.
func (b *Outbox) load() error {
	names, err := b.o.FS.List(b.dir)
	if err != nil {
		return err
	}
	var numbers []uint64
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, suffix)
		if n, err := strconv.ParseUint(digits, 10, 64); ok && err == nil && segmentName(n) == name {
			numbers = append(numbers, n)
		}
	}
	sort.Slice(numbers, func(i, j int) bool { return numbers[i] < numbers[j] })
	known := map[uint64]bool{}
	for _, n := range numbers {
		b.name = max(b.name, n)
		if err := b.loadSegment(segmentName(n), known); err != nil {
			return err
		}
	}
	b.seq = max(b.seq, b.acked)
	b.entries = slices.DeleteFunc(b.entries, func(e *entry) bool {
		if e.Seq <= b.acked {
			b.forget(e)
			return true
		}
		return false
	})
	// What was written again because its segment was to be removed stands behind younger ones.
	slices.SortFunc(b.entries, func(x, y *entry) int {
		if x.Seq < y.Seq {
			return -1
		}
		return 1
	})
	return nil
}

func segmentName(n uint64) string { return fmt.Sprintf("%010d%s", n, suffix) }

// loadSegment notes where the messages of a segment are. Behind a frame whose head is rotten nothing can be found.
func (b *Outbox) loadSegment(name string, known map[uint64]bool) error {
	raw, err := b.readSegment(name)
	if err != nil {
		return err
	}
	seg := &segment{name: name, size: len(raw)}
	b.segments = append(b.segments, seg)
	for at := 0; at < len(raw); {
		f := readFrame(raw[at:])
		if f.size == 0 { // torn by a crash, or rotten
			b.stats.Lost++
			break
		}
		class, topic, payload, ok := f.message()
		switch {
		case len(f.body) == 1 && f.body[0] == acknowledged:
			b.acked = max(b.acked, f.seq)
		case !ok:
			b.stats.Lost++
		case !known[f.seq] && len(b.entries) < 2*b.o.MaxCount:
			known[f.seq] = true
			b.seq = max(b.seq, f.seq)
			e := &entry{Message: Message{Seq: f.seq, Class: class}, size: frameSize + bodySize + len(topic) + len(payload), seg: seg, at: int64(at)}
			b.entries = append(b.entries, e)
			b.bytes += e.size
			seg.live++
		}
		at += f.size
	}
	return nil
}

// readSegment gives the bytes of a segment, as far as the disk gives them.
func (b *Outbox) readSegment(name string) ([]byte, error) {
	f, err := b.o.FS.Open(b.path(name), os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	longest := int64(b.o.SegmentBytes + b.o.MaxMemory + maxPayload + 2*maxTopic)
	raw, err := io.ReadAll(io.NewSectionReader(f, 0, longest))
	if err != nil {
		b.stats.Lost++ // at least
	}
	return raw, nil
}

// errRotten: a frame is not what it was.
var errRotten = errors.New("rotten frame")

// fetch reads a message again.
func (b *Outbox) fetch(e *entry, f File) (Message, error) {
	raw := make([]byte, e.size)
	if _, err := f.ReadAt(raw, e.at); err != nil {
		return Message{}, err
	}
	class, topic, payload, ok := readFrame(raw).message()
	if !ok || class != e.Class {
		return Message{}, errRotten
	}
	return Message{Seq: e.Seq, Topic: string(topic), Payload: payload, Class: class}, nil
}
