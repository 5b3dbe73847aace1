// Package outbox keeps messages that wait for a broker, in their order, across restarts and power cuts.
//
// It does not know MQTT, nor what topics and payloads mean. A slow or failing disk holds nobody up: messages are kept in
// memory then, as far as they fit, and who asked is told that his is not durable.
//
//	Put → entries (in order) → Next → the client → Ack → gone
//	         │  ↑ the next few, read again when it is their turn
//	         ↓  │
//	      segments (frames, one write and one fdatasync for all that came meanwhile)
//
// An event that the broker acknowledges within Linger never touches the disk. After a crash, what was acknowledged last may
// come again: receivers drop it by its id.
package outbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Class says how a message fares when there is no room.
type Class byte

// The classes. Measurements, which are told with QoS 0, are not for this package: they are worth nothing later.
const (
	Event Class = iota // the oldest one goes first
	Keep               // somebody was told that it will arrive: never dropped
)

// Message is one that waits. Seq is given by Put and only grows, also over restarts as long as anything is kept.
type Message struct {
	Seq     uint64
	Topic   string
	Payload []byte // not to be changed
	Class   Class
}

var (
	// ErrFull: there is no room, and nothing that may be dropped for it.
	ErrFull = errors.New("outbox: full")
	// ErrNotDurable: the message is kept and will be told, but it is not on the disk yet: a power cut would lose it.
	ErrNotDurable = errors.New("outbox: not on the disk")
	// ErrSlow: the disk took longer than Options.Patience.
	ErrSlow = errors.New("outbox: the disk does not answer in time")
	// ErrRefused: an empty or too long topic, or a payload of more than 1 MiB.
	ErrRefused = errors.New("outbox: topic or payload out of bounds")
)

// Options of an outbox; the zero value will do.
type Options struct {
	FS           FS            // nil: the machine's
	Patience     time.Duration // until done(ErrNotDurable) is called while the disk is at work; 0: 500 ms
	Linger       time.Duration // until an Event is written; a Keep is written at once; 0: 200 ms
	Retry        time.Duration // between attempts on a disk that fails; 0: 1 s
	MaxCount     int           // messages; 0: 16384
	MaxBytes     int           // of all messages; 0: 16 MiB. The segments take at most about twice that
	MaxMemory    int           // bytes of messages that are not on the disk; 0: 4 MiB
	SegmentBytes int           // after which a new segment is begun; 0: 256 KiB
	// OnFault is told once when the disk begins to fail or to be too slow, OnHeal when it works again. They must not block.
	OnFault func(error)
	OnHeal  func()
}

// Stats are counts since Open.
type Stats struct {
	Waiting int    // messages, those on their way among them
	Bytes   int    // that they take
	Memory  int    // messages that are not on the disk
	Disk    int    // bytes of all segments
	Dropped uint64 // events for which there was no room
	Lost    uint64 // places on the disk, of one message or more, that could not be read; the torn end of a crash is one
	Commits uint64
	Failed  uint64 // attempts
}

const (
	maxTopic    = 1 << 10
	maxPayload  = 1 << 20
	window      = 128       // messages ahead of the client that are held in memory
	windowBytes = 512 << 10 // and their bytes, one message at least
	mostTries   = 10        // to read a message again, before it is given up so that others get on
)

// entry is one message. What is on the disk only has no payload.
type entry struct {
	Message
	loaded bool
	size   int      // of its frame
	seg    *segment // nil: not on the disk
	at     int64
	done   func(error)
	until  time.Time // for done
	acked  bool      // or dropped
	tries  int       // to read it again
}

// segment is one file.
type segment struct {
	name string
	size int
	live int // entries in it that are not done with
}

// Outbox is an open outbox. Its methods may be called from any goroutine.
type Outbox struct {
	o     Options
	dir   string
	ready chan struct{}
	work  chan struct{}
	watch chan struct{}

	file File // of the last segment; with what follows it belongs to the writing goroutine
	name uint64

	mu       sync.Mutex // guards what follows
	entries  []*entry   // not acknowledged, in order
	next     int        // the first that Next has not given
	seq      uint64     // of the newest
	acked    uint64     // everything up to here is done
	ackDirty bool       // and that is not in a file
	bytes    int
	memory   int // messages without a segment
	memBytes int
	oldest   time.Time  // since when something is to be written
	hurry    bool       // and not to linger
	segments []*segment // the last is written to if file is open
	waiters  []*entry   // with done, in order
	fault    error
	closed   bool
	stats    Stats
}

// Open reads what waits in a folder, which it makes if need be. Nothing is written before Run. The error is of a folder that
// cannot be read; what is rotten in it is left out and counted in Stats.Lost.
func Open(dir string, o Options) (*Outbox, error) {
	if o.FS == nil {
		o.FS = osFS{}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	o.Patience = orDefault(o.Patience, 500*time.Millisecond)
	o.Linger = orDefault(o.Linger, 200*time.Millisecond)
	o.Retry = orDefault(o.Retry, time.Second)
	o.MaxCount = orDefault(o.MaxCount, 16<<10)
	o.MaxBytes = orDefault(o.MaxBytes, 16<<20)
	o.MaxMemory = orDefault(o.MaxMemory, 4<<20)
	o.SegmentBytes = orDefault(o.SegmentBytes, 256<<10)
	b := &Outbox{o: o, dir: dir, ready: make(chan struct{}, 1), work: make(chan struct{}, 1), watch: make(chan struct{}, 1)}
	if err := b.load(); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	return b, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Put takes a message at the end and returns at once; the payload is copied. done, which may be nil, is called once: with nil
// when the message is on the disk or acknowledged, with ErrNotDurable when it is neither after Patience, or because the disk
// fails or Run has ended; it must not block. When Put gives an error (ErrFull, ErrRefused) the message is not taken, and done is not called.
func (b *Outbox) Put(m Message, done func(error)) (seq uint64, err error) {
	if m.Topic == "" || len(m.Topic) > maxTopic || len(m.Payload) > maxPayload || m.Class > Keep {
		return 0, ErrRefused
	}
	m.Payload = slices.Clone(m.Payload)
	e := &entry{Message: m, loaded: true, size: frameSize + bodySize + len(m.Topic) + len(m.Payload), done: done}
	b.mu.Lock()
	told, err := b.room(e)
	if err != nil {
		b.stats.Dropped++
		b.mu.Unlock()
		tell(told, ErrFull)
		return 0, err
	}
	now := time.Now()
	b.seq++
	e.Seq = b.seq
	b.entries = append(b.entries, e)
	b.bytes += e.size
	if b.memory == 0 && !b.ackDirty {
		b.oldest = now
	}
	b.memory++
	b.memBytes += e.size
	b.hurry = b.hurry || m.Class == Keep || b.memBytes > b.o.MaxMemory/4
	if done != nil {
		e.until = now
		if b.fault == nil || errors.Is(b.fault, ErrSlow) {
			e.until = now.Add(b.o.Patience)
		}
		b.waiters = append(b.waiters, e)
		poke(b.watch)
	}
	closed := b.closed
	b.mu.Unlock()
	if closed {
		b.close()
	}
	tell(told, ErrFull)
	poke(b.work)
	poke(b.ready)
	return e.Seq, nil
}

// room makes room for e: the oldest events go. What is on its way stays.
func (b *Outbox) room(e *entry) (told []func(error), err error) {
	for len(b.entries) >= b.o.MaxCount || b.bytes+e.size > b.o.MaxBytes || b.memBytes+e.size > b.o.MaxMemory {
		unwritten := b.memBytes+e.size > b.o.MaxMemory
		at := b.next
		for at < len(b.entries) && (b.entries[at].Class != Event || unwritten && b.entries[at].seg != nil) {
			at++
		}
		if at == len(b.entries) {
			return told, ErrFull
		}
		if done := b.forget(b.entries[at]); done != nil {
			told = append(told, done)
		}
		b.entries = slices.Delete(b.entries, at, at+1)
		b.stats.Dropped++
	}
	return told, nil
}

// forget takes an entry out of the sums and gives who waits for it.
func (b *Outbox) forget(e *entry) (done func(error)) {
	b.bytes -= e.size
	if e.seg != nil {
		e.seg.live--
	} else {
		b.memory--
		b.memBytes -= e.size
	}
	e.acked = true
	done, e.done = e.done, nil
	return done
}

// Ready is told when Next may have something.
func (b *Outbox) Ready() <-chan struct{} { return b.ready }

// Next gives the first message that it has not given yet. ok is false if there is none, or if it has to be read from the disk
// first: then Ready is told when it is there.
func (b *Outbox) Next() (m Message, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == len(b.entries) {
		return Message{}, false
	}
	e := b.entries[b.next]
	if ahead := min(b.next+window/2, len(b.entries)-1); !e.loaded || !b.entries[ahead].loaded {
		poke(b.work)
	}
	if !e.loaded {
		return Message{}, false
	}
	b.next++
	return e.Message, true
}

// Ack says that all messages up to that one have arrived.
func (b *Outbox) Ack(seq uint64) {
	b.mu.Lock()
	var told []func(error)
	n := 0
	for n < b.next && b.entries[n].Seq <= seq {
		if b.entries[n].seg != nil && !b.ackDirty {
			b.ackDirty = true
			if b.memory == 0 {
				b.oldest = time.Now()
			}
			poke(b.work)
		}
		if done := b.forget(b.entries[n]); done != nil {
			told = append(told, done)
		}
		b.acked = max(b.acked, b.entries[n].Seq)
		n++
	}
	b.entries = slices.Delete(b.entries, 0, n)
	b.next -= n
	b.mu.Unlock()
	tell(told, nil)
}

// Rewind has Next give everything again that is not acknowledged.
func (b *Outbox) Rewind() {
	b.mu.Lock()
	b.next = 0
	b.mu.Unlock()
	poke(b.work)
	poke(b.ready)
}

// Last is the number of the newest message, First that of the oldest one that Next has not given; 0: there is none.
func (b *Outbox) Last() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seq
}

// First is the number of the message that Next gives next; 0: none waits.
func (b *Outbox) First() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == len(b.entries) {
		return 0
	}
	return b.entries[b.next].Seq
}

// Len is how many messages are not acknowledged.
func (b *Outbox) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.entries)
}

// Fault is what is wrong with the disk now; nil: nothing.
func (b *Outbox) Fault() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fault
}

// Stats tells how the outbox is doing.
func (b *Outbox) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Waiting, s.Bytes, s.Memory = len(b.entries), b.bytes, b.memory
	for _, seg := range b.segments {
		s.Disk += seg.size
	}
	return s
}

func (b *Outbox) path(name string) string { return filepath.Join(b.dir, name) }

func tell(told []func(error), err error) {
	for _, done := range told {
		done(err)
	}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
