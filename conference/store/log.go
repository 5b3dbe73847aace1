package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// The way of a message:
//
//	Append ─► queue ─► Run: all that waits, by conference ─► one write, one sync each ─► done
//
// While the disk is waited for, the next ones gather: a slow disk makes larger batches, and nobody but done waits for it.

// LogConfig says where the messages lie and how many there may be. Zero is the default that stands beside a field.
type LogConfig struct {
	Dir     string // made if it is not there; its parent must be
	Space   Space
	Bytes   int64 // of one conference's messages (16 MiB; 1 MiB to 1 GiB); the oldest go first
	Entries int   // of one conference (10,000, at least 64)
	Total   int64 // bytes of all (256 MiB); those of the conference that has been over for the longest go first
	Queue   int   // messages that may wait for the disk (1024), with 4 MiB together
	Log     *slog.Logger

	fault func(op, path string) error
}

const (
	queueBytes   = 4 << 20
	logSegments  = 8 // files that a full history is spread over: so much of it goes at once
	batchBytes   = minBytes / logSegments
	minBytes     = 1 << 20
	maxHistories = 4096
)

// Log is the messages of all conferences (C-30, C-32). Any name that can be a uid is a history of its own.
//
// Append and Close never wait; Since does.
type Log struct {
	cfg  LogConfig
	disk disk
	wake chan struct{} // something is in the queue

	total int64 // bytes on disk; Run's own

	mu        sync.Mutex // guards what follows; never held while the disk is waited for
	histories map[string]*history
	queue     []request
	queued    int // bytes of the bodies in queue
	stopped   bool
}

// request is a message to write, or something else to do between messages.
type request struct {
	uid   string
	entry Entry
	done  func(seq uint64, dup bool, err error)
	do    func() // nil: write entry
}

// OpenLog looks at what is there. Run must run for anything to be written.
func OpenLog(cfg LogConfig) (*Log, error) {
	cfg.Bytes = min(max(orDefault(cfg.Bytes, 16<<20), minBytes), 1<<30)
	cfg.Entries = max(orDefault(cfg.Entries, 10000), 64)
	cfg.Total = orDefault(cfg.Total, 256<<20)
	cfg.Queue = orDefault(cfg.Queue, 1024)
	cfg.Log = logger(cfg.Log)
	l := &Log{cfg: cfg, disk: disk{cfg.fault}, wake: make(chan struct{}, 1), histories: make(map[string]*history)}
	if err := l.disk.makeDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("message log: %w", err)
	}
	if err := l.disk.syncDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("message log: %w", err)
	}
	names, err := os.ReadDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("message log: %w", err)
	}
	for _, n := range names {
		if !n.IsDir() || checkUID(n.Name()) != nil {
			continue
		}
		h, err := findHistory(filepath.Join(cfg.Dir, n.Name()), l.disk, cfg.Log)
		if err != nil {
			return nil, fmt.Errorf("message log of %s: %w", n.Name(), err)
		}
		l.histories[n.Name()] = h
		l.total += h.bytes
	}
	return l, nil
}

// Append writes a message, and calls done when it is on disk, with its sequence number; dup: a message with the same id from
// the same sender, as well or as badly proved, is there already, and seq is that one's. Or it calls done with why the message
// is not acknowledged: ErrSpace, ErrClosed, or what the disk said; then it can be sent again, and is there once.
//
// Append itself answers at once; with an error (ErrInvalid, ErrTooLarge, ErrBusy, ErrStopped) done is not called. done is
// called by Run's goroutine, in the order of the Appends of one conference, and must not wait; it may be nil. The body belongs
// to the log until then. e.Seq does not matter.
func (l *Log) Append(uid string, e Entry, done func(seq uint64, dup bool, err error)) error {
	if err := errors.Join(checkUID(uid), e.check()); err != nil {
		return err
	}
	return l.enqueue(request{uid: uid, entry: e, done: done})
}

// Close says that a conference is over: after what is queued nothing more comes in, and Sweep removes the messages when keepUntil
// has come; of a conference that is over already the first time holds. done may be nil.
func (l *Log) Close(uid string, keepUntil time.Time, done func(error)) error {
	if err := checkUID(uid); err != nil {
		return err
	}
	return l.enqueue(request{uid: uid, do: func() {
		err := diskError(l.close(uid, keepUntil))
		if err != nil {
			l.cfg.Log.Error("the end of a conference's messages is not on disk", "conference", uid, "error", err)
		}
		if done != nil {
			done(err)
		}
	}})
}

// Sweep removes the messages of conferences whose time has come. It does not wait. Call it every few minutes.
func (l *Log) Sweep(now time.Time) error {
	return l.enqueue(request{do: func() { l.sweep(now) }})
}

func (l *Log) enqueue(r request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.stopped:
		return ErrStopped
	// What is not a message is small, seldom, and must not get lost behind a flood.
	case r.do == nil && (len(l.queue) >= l.cfg.Queue || l.queued+len(r.entry.Body) > queueBytes), len(l.queue) >= 2*l.cfg.Queue:
		return fmt.Errorf("%d messages wait for the disk: %w", len(l.queue), ErrBusy)
	}
	l.queue = append(l.queue, r)
	l.queued += len(r.entry.Body)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return nil
}

// Run writes what is appended until ctx ends, then what is still in the queue, and returns nil.
func (l *Log) Run(ctx context.Context) error {
	for {
		select {
		case <-l.wake:
			l.work(l.takeQueue(false))
		case <-ctx.Done():
			l.work(l.takeQueue(true))
			return nil
		}
	}
}

func (l *Log) takeQueue(last bool) []request {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.queue
	l.queue, l.queued, l.stopped = nil, 0, last
	return all
}

// work does requests in their order; messages that follow each other become one batch per conference.
func (l *Log) work(all []request) {
	for len(all) > 0 {
		if all[0].do != nil {
			all[0].do()
			all = all[1:]
			continue
		}
		n, size := 0, 0
		var uids []string
		batches := make(map[string][]request)
		for n < len(all) && n < min(256, l.cfg.Entries/logSegments) && all[n].do == nil {
			r := all[n]
			if size += r.entry.frameSize(); n > 0 && size > batchBytes {
				break
			}
			if batches[r.uid] == nil {
				uids = append(uids, r.uid)
			}
			batches[r.uid] = append(batches[r.uid], r)
			n++
		}
		for _, uid := range uids {
			l.commit(uid, batches[uid])
		}
		all = all[n:]
	}
}

// history finds or makes one. Where there are too many, the one of the conference that has been over for the longest goes.
func (l *Log) history(uid string) (*history, error) {
	h, many := l.lookup(uid)
	if h != nil {
		return h, nil
	}
	if many >= maxHistories {
		if old := l.longestOver(); old == nil || !l.remove(old) {
			return nil, fmt.Errorf("messages of %d conferences: %w", many, ErrQuota)
		}
	}
	h = &history{dir: filepath.Join(l.cfg.Dir, uid), log: l.cfg.Log, fs: l.disk, loaded: true, next: 1, seqs: make(map[key]uint64)}
	l.mu.Lock()
	l.histories[uid] = h
	l.mu.Unlock()
	return h, nil
}

func (l *Log) lookup(uid string) (h *history, many int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.histories[uid], len(l.histories)
}

// commit writes a batch of one conference and answers it.
func (l *Log) commit(uid string, batch []request) {
	var s staged
	h, err := l.history(uid)
	if err == nil {
		s, err = h.stage(batch)
	}
	if err == nil && len(s.data) > 0 {
		if err = l.write(h, s); err == nil {
			l.trim(h)
		}
	}
	for i, r := range batch {
		if r.done == nil {
			continue
		}
		if err != nil {
			r.done(0, false, diskError(err))
			continue
		}
		r.done(s.answers[i].seq, s.answers[i].dup, nil)
	}
}

// Since is the messages with a number above after, the oldest first: up to limit and a megabyte, at least one if there is
// one. Of a history that nobody knows it is none. Beside ErrDamaged stands what could be read.
func (l *Log) Since(uid string, after uint64, limit int) ([]Entry, error) {
	h, _ := l.lookup(uid)
	if h == nil {
		return nil, nil
	}
	return h.since(after, limit)
}

// Conferences is the uids of which there are messages, those that are over too.
func (l *Log) Conferences() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	uids := make([]string, 0, len(l.histories))
	for uid := range l.histories {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	return uids
}
