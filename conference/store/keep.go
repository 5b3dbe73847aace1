package store

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// What Run's goroutine does to the files of the log.

// write puts a batch on disk, whole or not at all, and makes it known.
func (l *Log) write(h *history, s staged) error {
	if err := l.cfg.Space.room(int64(len(s.data))); err != nil {
		return err
	}
	to, isNew := h.last(), false
	if to == nil || h.sealed || to.size >= l.cfg.Bytes/logSegments || len(to.ends) >= l.cfg.Entries/logSegments {
		to, isNew = &segment{path: filepath.Join(h.dir, fmt.Sprintf("%016x%s", s.first, segmentSuffix)), first: s.first}, true
	}
	if err := l.put(h, to, isNew, s.data); err != nil {
		h.mu.Lock()
		h.sealed = true
		h.mu.Unlock()
		return err
	}
	// A file of this name has been there already if all in it was torn.
	if last := h.last(); isNew && last != nil && last.first == to.first {
		l.count(h, -last.disk)
		h.mu.Lock()
		h.segments = h.segments[:len(h.segments)-1]
		h.mu.Unlock()
	}
	h.publish(to, isNew, s)
	l.count(h, int64(len(s.data)))
	return nil
}

func (h *history) last() *segment {
	if len(h.segments) == 0 {
		return nil
	}
	return h.segments[len(h.segments)-1]
}

func (l *Log) count(h *history, bytes int64) {
	h.bytes += bytes
	l.total += bytes
}

// put writes data at the end of a file, and undoes what it can if that fails.
func (l *Log) put(h *history, to *segment, isNew bool, data []byte) error {
	flags := 0
	if isNew {
		if err := l.disk.makeDir(h.dir); err != nil {
			return err
		}
		flags = os.O_CREATE | os.O_TRUNC
	}
	file, err := l.disk.open(to.path, flags)
	if err != nil {
		return err
	}
	defer file.Close()
	if err = l.disk.writeAt(file, data, to.size); err == nil {
		err = l.disk.sync(file)
	}
	if err == nil && isNew {
		err = l.disk.syncDir(h.dir)
	}
	if err != nil {
		// Should this fail too, the file that comes next says where this one ends.
		l.disk.truncate(file, to.size)
	}
	return err
}

// trim removes what is too much: of this history its oldest files; where all together are too much, the messages of the conference that has
// been over for the longest, and if none is over, this one's oldest. The newest file of a history stays.
func (l *Log) trim(h *history) {
	entries := 0
	for _, s := range h.segments {
		entries += len(s.ends)
	}
	for len(h.segments) > 1 && (h.bytes > l.cfg.Bytes || entries > l.cfg.Entries) {
		entries -= len(h.segments[0].ends)
		l.dropOldest(h)
	}
	for l.total > l.cfg.Total {
		if old := l.longestOver(); old != nil {
			if !l.remove(old) {
				return
			}
			continue
		}
		if len(h.segments) < 2 {
			return
		}
		l.dropOldest(h)
	}
}

func (l *Log) dropOldest(h *history) {
	old := h.segments[0]
	h.mu.Lock()
	h.segments = h.segments[1:]
	for i, id := range old.keys {
		if h.seqs[id] == old.first+uint64(i) {
			delete(h.seqs, id)
		}
	}
	h.mu.Unlock()
	l.count(h, -old.disk)
	if err := l.disk.remove(old.path); err != nil {
		l.cfg.Log.Error("old messages cannot be removed", "file", old.path, "error", err)
	}
}

// longestOver is the history of a conference that is over whose time comes first.
func (l *Log) longestOver() *history {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found *history
	for _, h := range l.histories {
		if !h.until.IsZero() && (found == nil || h.until.Before(found.until)) {
			found = h
		}
	}
	return found
}

// remove removes a history whole; false if the disk does not let go of it.
func (l *Log) remove(h *history) bool {
	if err := l.disk.removeDir(h.dir, untilName); err != nil {
		l.cfg.Log.Error("old messages cannot be removed", "folder", h.dir, "error", err)
		return false
	}
	l.count(h, -h.bytes)
	l.mu.Lock()
	delete(l.histories, filepath.Base(h.dir))
	l.mu.Unlock()
	return true
}

func (l *Log) close(uid string, keepUntil time.Time) error {
	h, _ := l.lookup(uid)
	if h == nil || !h.until.IsZero() {
		return nil
	}
	// The zero time stands for a conference that goes on.
	if keepUntil.IsZero() {
		keepUntil = time.Unix(0, 0)
	}
	keepUntil = keepUntil.UTC()
	err := l.disk.makeDir(h.dir)
	if err == nil {
		err = l.disk.replace(filepath.Join(h.dir, untilName), []byte(keepUntil.Format(time.RFC3339Nano)))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	// Even if the disk does not take it: nothing more comes in.
	h.until = keepUntil
	h.unload()
	return err
}

// unload forgets what load can find again. Called with the lock.
func (h *history) unload() { h.loaded, h.segments, h.seqs = false, nil, nil }

func (l *Log) sweep(now time.Time) {
	var over []*history
	l.mu.Lock()
	for _, h := range l.histories {
		if !h.until.IsZero() {
			over = append(over, h)
		}
	}
	l.mu.Unlock()
	for _, h := range over {
		if !now.Before(h.until) && l.remove(h) {
			continue
		}
		h.mu.Lock()
		h.unload()
		h.mu.Unlock()
	}
}
