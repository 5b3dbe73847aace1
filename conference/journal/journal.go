// Package journal keeps what must outlive a power cut: the last value of each key, in one file that only grows until it is
// written anew.
//
// It does not know what keys and values mean. A slow or failing disk never holds up who puts something: he is told that it is
// not durable yet, and the journal goes on trying with what is newest.
//
//	Put, Delete → values, dirty keys (coalesced) → Run: one frame with all of them, one write, one fdatasync → done(true)
//	                                                    failed → a new file with everything → rename
package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Bounds of one entry.
const (
	MaxKey   = 256     // bytes
	MaxValue = 1 << 20 // bytes
)

var (
	// ErrRefused: the key or value is longer than MaxKey, MaxValue, or empty (the key).
	ErrRefused = errors.New("journal: key or value out of bounds")
	// ErrFull: the values would together take more than Options.MaxBytes.
	ErrFull = errors.New("journal: full")
	// ErrClosed: Run has ended.
	ErrClosed = errors.New("journal: closed")
	// ErrSlow: the disk took longer than Options.Patience.
	ErrSlow = errors.New("journal: the disk does not answer in time")
)

// Options of a journal; the zero value will do.
type Options struct {
	FS       FS            // nil: the machine's
	Patience time.Duration // until done(false) is called while the disk is still at work; 0: 500 ms
	Retry    time.Duration // between attempts on a disk that fails; 0: 1 s
	MaxBytes int           // of all keys and values, in memory and in a file without anything dead in it; 0: 8 MiB
	Slack    int           // dead bytes, beyond as many as there are live ones, that have the file written anew; 0: 1 MiB
	// OnFault is told once when the disk begins to fail or to be too slow (ErrSlow), OnHeal when everything is on it again. Both
	// are called from Run's goroutines, and must not block.
	OnFault func(error)
	OnHeal  func()
}

// Damage says what Open could not read. The zero value: nothing.
type Damage struct {
	Torn   int   // bytes cut from the end, such as a crash leaves them: nothing that was called durable
	Unread int   // rotten bytes before that; of what they held, an older value may be back, or one that was deleted
	Frames int   // commits that were in them, as far as the numbers of the others tell
	Err    error // the disk's, if the file could not be read to its end
}

// Stats are counts since Open.
type Stats struct {
	Keys     int
	Live     int // bytes that the values take
	File     int // bytes of the file
	Waiting  int // calls whose done has not been called
	Commits  uint64
	Rewrites uint64
	Failed   uint64 // attempts
}

// maxWaiting bounds the calls that wait for the disk: who comes on top is told at once that it is not durable.
const maxWaiting = 4096

// Journal is an open journal. Its methods may be called from any goroutine.
type Journal struct {
	o       Options
	path    string // of the file
	damage  Damage
	work    chan struct{} // there is something to write
	waiting chan struct{} // there is somebody to be told in time

	file    File // belongs to the writing goroutine, as the next three
	stamp   stamp
	seq     uint64
	suspect bool // it is not known which file a power cut would leave: only a new one will do

	mu      sync.Mutex // guards what follows
	values  map[string][]byte
	live    int
	size    int // of the file
	dirty   map[string]struct{}
	all     bool // everything is dirty, and a new file is needed
	puts    uint64
	waiters []waiter // in the order of puts
	fault   error
	closed  bool
	stats   Stats
}

type waiter struct {
	put   uint64
	until time.Time
	done  func(bool)
}

// Open reads the journal of a folder, which it makes if need be. The map is the last whole value of every key; its values may
// not be changed. Nothing is written before Run. The error is of a folder or file that cannot be opened; whatever is wrong
// inside the file is in Damage.
func Open(dir string, o Options) (*Journal, map[string][]byte, error) {
	if o.FS == nil {
		o.FS = osFS{}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, nil, fmt.Errorf("journal: %w", err)
		}
	}
	o.Patience = orDefault(o.Patience, 500*time.Millisecond)
	o.Retry = orDefault(o.Retry, time.Second)
	o.MaxBytes = orDefault(o.MaxBytes, 8<<20)
	o.Slack = orDefault(o.Slack, 1<<20)
	j := &Journal{
		o: o, path: filepath.Join(dir, "journal"), work: make(chan struct{}, 1), waiting: make(chan struct{}, 1),
		dirty: map[string]struct{}{},
	}
	b, err := j.read()
	if err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	c := parse(b)
	c.damage.Err = j.damage.Err
	j.live = c.detach()
	j.values, j.stamp, j.seq, j.damage, j.size = c.values, c.stamp, c.seq, c.damage, len(b)
	// What a former life could not sync may stand here without being on the disk: a new file is written first.
	j.all = true
	given := make(map[string][]byte, len(j.values))
	for key, value := range j.values {
		given[key] = value
	}
	return j, given, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// longest is the most that a file of ours can have, in bytes.
func (j *Journal) longest() int64 {
	return 5*int64(j.o.MaxBytes) + 2*int64(j.o.Slack) + maxDirty*(MaxKey+recordSize)
}

// read gives the file's bytes, as far as the disk gives them.
func (j *Journal) read() ([]byte, error) {
	f, err := j.o.FS.Open(j.path, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, j.longest()+1))
	if err == nil && int64(len(b)) > j.longest() {
		err = errors.New("the file is longer than a journal can be")
	}
	j.damage.Err = err
	return b, nil
}

// Damage says what could not be read when the journal was opened.
func (j *Journal) Damage() Damage { return j.damage }

// Put sets the value of a key and returns at once; the value is copied. done, which may be nil, is called once: with true when
// this value, or a later one of the key, will be found by Open whatever happens; with false when the disk fails or takes
// longer than Patience (the journal goes on trying), or when Put gives an error and keeps nothing. It is called from a goroutine
// of Run, or, with an error or when more than 4096 wait already, before Put returns. It must not block; it may call Put.
func (j *Journal) Put(key string, value []byte, done func(durable bool)) error {
	if len(value) > MaxValue {
		return refuse(done, fmt.Errorf("%w: %.40q, %d bytes", ErrRefused, key, len(value)))
	}
	return j.change(key, append([]byte{}, value...), false, done) // never nil: that is a deleted one
}

// Delete takes a key away, as Put sets it. One that is not there may be deleted.
func (j *Journal) Delete(key string, done func(durable bool)) error {
	return j.change(key, nil, true, done)
}

func refuse(done func(bool), err error) error {
	if done != nil {
		done(false)
	}
	return err
}

func (j *Journal) change(key string, value []byte, remove bool, done func(bool)) error {
	if key == "" || len(key) > MaxKey {
		return refuse(done, fmt.Errorf("%w: a key of %d bytes", ErrRefused, len(key)))
	}
	overrun, err := j.set(key, value, remove, done)
	if err != nil {
		return refuse(done, err)
	}
	poke(j.work)
	if overrun && done != nil {
		done(false)
	}
	return nil
}

// set notes a change; overrun says that done could not be taken, since too many wait.
func (j *Journal) set(key string, value []byte, remove bool, done func(bool)) (overrun bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return false, ErrClosed
	}
	live := j.live
	old, known := j.values[key]
	if known {
		live -= cost(key, old)
	}
	if remove {
		delete(j.values, key)
	} else {
		if live += cost(key, value); live > j.o.MaxBytes {
			return false, fmt.Errorf("%w: %d bytes", ErrFull, j.live)
		}
		j.values[key] = value
	}
	j.live = live
	j.puts++
	j.mark(key)
	if done == nil {
		return false, nil
	}
	if len(j.waiters) >= maxWaiting {
		return true, nil
	}
	until := time.Now()
	if j.fault == nil || errors.Is(j.fault, ErrSlow) {
		until = until.Add(j.o.Patience)
	}
	j.waiters = append(j.waiters, waiter{j.puts, until, done})
	poke(j.waiting)
	return false, nil
}

// maxDirty bounds the keys that are noted one by one: of more, everything is written.
const maxDirty = 1 << 14

func (j *Journal) mark(key string) {
	if j.all {
		return
	}
	if j.dirty[key] = struct{}{}; len(j.dirty) > maxDirty {
		j.all = true
		clear(j.dirty)
	}
}

// Fault is what is wrong with the disk now; nil: nothing. While there is something, done(false) comes at once or after
// Patience, and what must last had better be refused.
func (j *Journal) Fault() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fault
}

// Stats tells how the journal is doing.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.Keys, s.Live, s.File, s.Waiting = len(j.values), j.live, j.size, len(j.waiters)
	return s
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
