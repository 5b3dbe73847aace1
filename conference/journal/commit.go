package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"
)

// farewell is how long Run waits at its end for a disk that does not answer.
const farewell = 2 * time.Second

// batch is what is committed together.
type batch struct {
	puts   uint64            // everything up to here
	values map[string][]byte // the changed ones, or all; nil: deleted
	all    bool              // a new file is to be written
	must   bool              // and the old one will not do
}

// Run writes what is put, until ctx ends; then what is left. It returns nil, or, when the disk did not take the last of it,
// why. A write that hangs in the kernel is left behind after 2 s.
func (j *Journal) Run(ctx context.Context) error {
	j.mu.Lock()
	for i := range j.waiters { // until now there was nobody to be slow
		j.waiters[i].until = time.Now().Add(j.o.Patience)
	}
	j.mu.Unlock()
	written := make(chan error, 1)
	go func() { written <- j.write(ctx) }()
	err := j.watch(ctx, written)
	j.mu.Lock()
	j.closed = true
	left := j.waiters
	j.waiters = nil
	j.mu.Unlock()
	tell(left, false)
	return err
}

// watch tells those who have waited long enough, until everything is written.
func (j *Journal) watch(ctx context.Context, written <-chan error) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	ended := ctx.Done()
	var late <-chan time.Time
	for {
		timer.Reset(j.expire(time.Now()))
		select {
		case <-timer.C:
		case <-j.waiting:
		case err := <-written:
			return err
		case <-late:
			return ErrSlow
		case <-ended:
			ended = nil
			t := time.NewTimer(farewell)
			defer t.Stop()
			late = t.C
		}
	}
}

// expire calls done(false) where it is time, and gives the time until the next.
func (j *Journal) expire(now time.Time) time.Duration {
	j.mu.Lock()
	n := 0
	for n < len(j.waiters) && !now.Before(j.waiters[n].until) {
		n++
	}
	late := j.waiters[:n:n]
	j.waiters = j.waiters[n:]
	began := n > 0 && j.fault == nil
	if began {
		j.fault = ErrSlow
	}
	pause := time.Hour
	if len(j.waiters) > 0 {
		pause = j.waiters[0].until.Sub(now)
	}
	j.mu.Unlock()
	if began && j.o.OnFault != nil {
		j.o.OnFault(ErrSlow)
	}
	tell(late, false)
	return pause
}

func tell(waiters []waiter, durable bool) {
	for _, w := range waiters {
		w.done(durable)
	}
}

// write is the only goroutine that touches the disk.
func (j *Journal) write(ctx context.Context) error {
	defer func() {
		if j.file != nil {
			j.file.Close()
		}
	}()
	for {
		ending := ctx.Err() != nil
		b := j.take()
		if b == nil {
			if ending {
				return nil
			}
			select {
			case <-j.work:
			case <-ctx.Done():
			}
			continue
		}
		err := j.commit(b)
		j.settle(b, err)
		if err == nil {
			continue
		}
		if ending {
			return err
		}
		t := time.NewTimer(j.o.Retry)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// take gives everything that is not on the disk yet; nil: nothing.
func (j *Journal) take() *batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.all && len(j.dirty) == 0 {
		return nil
	}
	b := &batch{puts: j.puts, all: j.all || j.size > 2*j.live+j.o.Slack, must: j.all || j.size > 3*j.o.MaxBytes+j.o.Slack}
	if b.all {
		b.values = maps.Clone(j.values)
		for key := range j.dirty {
			if _, ok := b.values[key]; !ok {
				b.values[key] = nil // for when the old file is gone on with
			}
		}
	} else {
		b.values = make(map[string][]byte, len(j.dirty))
		for key := range j.dirty {
			b.values[key] = j.values[key]
		}
	}
	j.all = false
	clear(j.dirty)
	return b
}

// settle tells those whose put was in the batch, and notes what is to be done again.
func (j *Journal) settle(b *batch, err error) {
	j.mu.Lock()
	n := 0
	for n < len(j.waiters) && j.waiters[n].put <= b.puts {
		n++
	}
	told := j.waiters[:n:n]
	j.waiters = j.waiters[n:]
	before := j.fault
	if err != nil {
		j.all = true
		clear(j.dirty)
		j.stats.Failed++
		j.fault = err
	} else {
		j.stats.Commits++
		j.fault = nil
	}
	j.mu.Unlock()
	// Who hears of the fault knows it before the first order is called not durable.
	switch {
	case err != nil && (before == nil || errors.Is(before, ErrSlow)) && j.o.OnFault != nil:
		j.o.OnFault(err)
	case err == nil && before != nil && j.o.OnHeal != nil:
		j.o.OnHeal()
	}
	tell(told, err == nil)
}

// commit brings a batch to the disk. When the old file is still good, one that cannot be written anew is gone on with.
func (j *Journal) commit(b *batch) error {
	if b.all {
		err := j.rewrite(b.values)
		if err == nil || b.must || j.suspect {
			return err
		}
	}
	return j.add(b.values)
}

// add appends one frame. After a failure nothing is known of the file's end, and after a failed sync nothing of what the disk
// will make of it: then a new file is needed.
func (j *Journal) add(values map[string][]byte) error {
	b := beginFrame(nil)
	for key, value := range values {
		b = appendChange(b, key, value)
	}
	endFrame(b, 0, j.seq+1, j.stamp)
	_, err := j.file.Write(b)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.seq++
	j.mu.Lock()
	j.size += len(b)
	j.mu.Unlock()
	return nil
}

func appendChange(b []byte, key string, value []byte) []byte {
	if value == nil {
		return appendRecord(b, opDelete, key, nil)
	}
	return appendRecord(b, opPut, key, value)
}

// rewrite puts a new file with all values in place of the old one. Each has a frame of its own, so that rot takes no others
// with it.
func (j *Journal) rewrite(values map[string][]byte) error {
	var salt [8]byte
	rand.Read(salt[:])
	b, s := newHeader(salt)
	seq := j.seq
	for key, value := range values {
		if value != nil {
			start := len(b)
			b = appendRecord(beginFrame(b), opPut, key, value)
			seq++
			endFrame(b, start, seq, s)
		}
	}
	f, err := j.fresh(b)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if j.file != nil {
		j.file.Close()
	}
	j.file, j.stamp, j.seq, j.suspect = f, s, seq, false
	j.mu.Lock()
	j.size = len(b)
	j.stats.Rewrites++
	j.mu.Unlock()
	return nil
}

// fresh writes b under the journal's name, so that either it or the old file is found after a crash.
func (j *Journal) fresh(b []byte) (File, error) {
	f, err := j.o.FS.Open(j.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND)
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Close()
		j.o.FS.Remove(j.path + ".new") // the room that it takes may be what is missing
		return nil, err
	}
	j.suspect = true // until it is known which of the two files stands there
	if err = j.o.FS.Rename(j.path+".new", j.path); err == nil {
		err = j.o.FS.SyncDir(filepath.Dir(j.path))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
