package outbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// farewell is how long Run waits at its end for a disk that does not answer.
const farewell = 2 * time.Second

// Run writes and reads until ctx ends, then writes what is left. It returns nil, or, when the disk did not take the last of
// it, why. A write that hangs in the kernel is left behind after 2 s.
func (b *Outbox) Run(ctx context.Context) error {
	b.mu.Lock()
	for _, e := range b.waiters { // until now there was nobody to be slow
		e.until = time.Now().Add(b.o.Patience)
	}
	b.mu.Unlock()
	written := make(chan error, 1)
	go func() { written <- b.write(ctx) }()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	ended := ctx.Done()
	var late <-chan time.Time
	for {
		timer.Reset(b.expire(time.Now()))
		select {
		case <-timer.C:
		case <-b.watch:
		case err := <-written:
			b.close()
			return err
		case <-late:
			b.close()
			return ErrSlow
		case <-ended:
			ended = nil
			t := time.NewTimer(farewell)
			defer t.Stop()
			late = t.C
		}
	}
}

// close tells all who wait still: nothing is written any more.
func (b *Outbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.expire(time.Now().Add(2 * b.o.Patience))
}

// expire tells those who have waited long enough, and gives the time until the next.
func (b *Outbox) expire(now time.Time) time.Duration {
	b.mu.Lock()
	var told []func(error)
	pause := time.Hour
	for len(b.waiters) > 0 {
		e := b.waiters[0]
		if e.done != nil && now.Before(e.until) {
			pause = e.until.Sub(now)
			break
		}
		b.waiters = b.waiters[1:]
		if e.done != nil {
			told = append(told, e.done)
			e.done = nil
		}
	}
	began := len(told) > 0 && b.fault == nil && !b.closed
	if began {
		b.fault = ErrSlow
	}
	b.mu.Unlock()
	if began && b.o.OnFault != nil {
		b.o.OnFault(ErrSlow)
	}
	tell(told, ErrNotDurable)
	return pause
}

// write is the only goroutine that touches the disk.
func (b *Outbox) write(ctx context.Context) error {
	defer func() {
		if b.file != nil {
			b.file.Close()
		}
	}()
	for {
		ending := ctx.Err() != nil
		again := b.refill()
		pause := b.due(ending)
		if again && !ending {
			pause = min(pause, b.o.Retry)
		}
		if pause > 0 {
			if ending {
				return nil
			}
			b.sleep(ctx, pause, b.work)
			continue
		}
		err := b.commit()
		if err == nil {
			continue
		}
		if ending {
			return err
		}
		b.retry(ctx)
	}
}

// retry waits after a failure; meanwhile what can be read is read.
func (b *Outbox) retry(ctx context.Context) {
	for until := time.Now().Add(b.o.Retry); ctx.Err() == nil && time.Now().Before(until); b.refill() {
		b.sleep(ctx, time.Until(until), b.work)
	}
}

func (b *Outbox) sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
}

// due is the time until something is to be written; 0: now.
func (b *Outbox) due(ending bool) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.memory == 0 && !b.ackDirty:
		b.hurry = false
		return time.Hour
	case b.hurry || ending:
		return 0
	}
	return max(0, b.o.Linger-time.Since(b.oldest))
}

// commit writes what is not on the disk. Of acknowledgements alone no sync is made: they cost a double at worst.
func (b *Outbox) commit() error {
	b.mu.Lock()
	b.hurry, b.ackDirty = false, false
	acked := b.acked
	var batch []*entry
	for _, e := range b.entries {
		if e.seg == nil {
			batch = append(batch, e)
		}
	}
	b.oldest = time.Now()
	b.mu.Unlock()
	seg, err := b.append(batch, acked)
	b.settle(batch, seg, err)
	if err == nil {
		b.clean()
	}
	return err
}

// append writes the batch to the last segment, or to a new one. at of each entry is set.
func (b *Outbox) append(batch []*entry, acked uint64) (*segment, error) {
	seg, err := b.segment()
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	buf := appendFrame(nil, acked, acknowledged, "", nil)
	for _, e := range batch {
		e.at = int64(seg.size + len(buf))
		buf = appendFrame(buf, e.Seq, byte(e.Class), e.Topic, e.Payload)
	}
	_, err = b.file.Write(buf)
	if err == nil && len(batch) > 0 {
		err = b.file.Sync()
	}
	if err != nil {
		b.file.Close() // nothing is known of its end: the next attempt is a new segment's
		b.file = nil
		return nil, fmt.Errorf("outbox: %w", err)
	}
	b.mu.Lock()
	seg.size += len(buf)
	b.mu.Unlock()
	return seg, nil
}

// segment gives the one to write to.
func (b *Outbox) segment() (*segment, error) {
	if b.file != nil {
		b.mu.Lock()
		last := b.segments[len(b.segments)-1]
		full := last.size >= b.o.SegmentBytes
		b.mu.Unlock()
		if !full {
			return last, nil
		}
		b.file.Close()
		b.file = nil
	}
	b.name++
	seg := &segment{name: segmentName(b.name)}
	f, err := b.o.FS.Open(b.path(seg.name), os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND)
	if err != nil {
		return nil, err
	}
	b.file = f
	b.mu.Lock()
	b.segments = append(b.segments, seg)
	b.mu.Unlock()
	if err := b.o.FS.SyncDir(b.dir); err != nil {
		f.Close()
		b.file = nil
		return nil, err
	}
	return seg, nil
}

// settle notes what is on the disk now, tells those who asked, and gives memory back that the client does not need soon.
func (b *Outbox) settle(batch []*entry, seg *segment, err error) {
	b.mu.Lock()
	var told []func(error)
	for _, e := range batch {
		if e.acked { // or dropped, meanwhile
			b.ackDirty = b.ackDirty || e.Seq <= b.acked
			continue
		}
		if err == nil {
			e.seg = seg
			seg.live++
			b.memory--
			b.memBytes -= e.size
		}
		if e.done != nil {
			told = append(told, e.done)
			e.done = nil
		}
	}
	if err == nil {
		b.unload()
		b.stats.Commits++
	} else {
		b.ackDirty = true
		b.stats.Failed++
	}
	before := b.fault
	b.fault = err
	b.mu.Unlock()
	switch {
	case err != nil && (before == nil || errors.Is(before, ErrSlow)) && b.o.OnFault != nil:
		b.o.OnFault(err)
	case err == nil && before != nil && b.o.OnHeal != nil:
		b.o.OnHeal()
	}
	if err != nil {
		err = ErrNotDurable
	}
	tell(told, err)
	poke(b.watch)
}

// unload drops the payloads of entries beyond the window that are on the disk. The lock is held.
func (b *Outbox) unload() {
	bytes := 0
	for i, e := range b.entries[b.next:] {
		if bytes += e.size; (i >= window || i > 0 && bytes > windowBytes) && e.loaded && e.seg != nil {
			e.Topic, e.Payload, e.loaded = "", nil, false
		}
	}
}

// refill reads what the client needs soon; again says that the disk failed to give it, this time.
func (b *Outbox) refill() (again bool) {
	b.mu.Lock()
	var missing []*entry
	bytes := 0
	for i, e := range b.entries[b.next:] {
		if bytes += e.size; i >= window || i > 0 && bytes > windowBytes {
			break
		}
		if !e.loaded {
			missing = append(missing, e)
		}
	}
	b.mu.Unlock()
	if len(missing) > 0 {
		again = !b.read(missing)
		poke(b.ready)
	}
	return again
}

// read loads entries. What is rotten, or cannot be read time and again, is given up, so that the others get on; whole says that
// nothing else is missing.
func (b *Outbox) read(missing []*entry) (whole bool) {
	whole = true
	var f File
	var of *segment
	var err error
	for _, e := range missing {
		b.mu.Lock()
		seg := e.seg
		b.mu.Unlock()
		if seg == nil {
			continue
		}
		if seg != of {
			if f != nil {
				f.Close()
			}
			of = seg
			f, err = b.o.FS.Open(b.path(seg.name), os.O_RDONLY)
			if err != nil {
				f = nil
			}
		}
		var m Message
		if f != nil {
			m, err = b.fetch(e, f)
		}
		b.mu.Lock()
		e.tries++
		if err == nil {
			e.Message, e.loaded, e.tries = m, true, 0
		} else if !errors.Is(err, errRotten) && e.tries < mostTries {
			whole = false
		} else if at := slices.Index(b.entries, e); at >= b.next {
			b.forget(e)
			b.entries = slices.Delete(b.entries, at, at+1)
			b.stats.Lost++
		}
		b.mu.Unlock()
	}
	if f != nil {
		f.Close()
	}
	return whole
}

// clean removes segments that hold nothing any more, and empties the oldest when all together take too much.
func (b *Outbox) clean() {
	b.mu.Lock()
	var dead []string
	last := len(b.segments) - 1
	total := 0
	kept := b.segments[:0]
	for i, seg := range b.segments {
		if seg.live == 0 && i < last {
			dead = append(dead, seg.name)
			continue
		}
		total += seg.size
		kept = append(kept, seg)
	}
	b.segments = kept
	var move []*entry
	if total > 2*b.o.MaxBytes && len(kept) > 1 {
		for _, e := range b.entries {
			if e.seg == kept[0] && !e.loaded {
				move = append(move, e)
			}
		}
	}
	b.mu.Unlock()
	if len(dead) > 0 {
		b.file.Sync() // the acknowledgement of what was in them
	}
	for _, name := range dead {
		b.o.FS.Remove(b.path(name)) // one that comes back holds only what is acknowledged
	}
	if total <= 2*b.o.MaxBytes || len(kept) < 2 {
		return
	}
	b.read(move)
	b.mu.Lock()
	for _, e := range b.entries {
		if e.seg == kept[0] && e.loaded { // it is written again with the next commit
			e.seg.live--
			e.seg = nil
			b.memory++
			b.memBytes += e.size
			b.hurry = true
		}
	}
	b.mu.Unlock()
}
