package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

const (
	writeStep = 64 << 10 // bytes written at once
	syncStep  = 1 << 20  // bytes after which the disk is waited for: small steps do not hold up those who share it
)

// Write adds the bytes of r to an upload, from offset on, which must be what Status calls Received, and returns the new
// offset: so much is on disk, whatever happens. It is right beside an error too: a connection that broke off has brought what
// it has brought. More bytes than announced are ErrTooLarge, and those announced are kept.
func (s *Files) Write(uid, id string, offset int64, r io.Reader) (int64, error) {
	f, e, err := s.take(uid, id)
	if err != nil {
		return 0, err
	}
	at := e.Received
	if offset != at {
		s.give(e, at)
		return at, fmt.Errorf("%d, and %d bytes are here: %w", offset, at, ErrOffset)
	}
	at, err = s.receive(f.path(id), at, e.Size, r)
	if !s.give(e, at) {
		return 0, fmt.Errorf("upload %s: %w", id, ErrNotFound)
	}
	return at, diskError(err)
}

// give ends the work on an upload that take began; false if it has been removed meanwhile.
func (s *Files) give(e *entry, received int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.busy = false
	if received > e.Received {
		e.Received, e.touched = received, s.cfg.Now()
	}
	for _, f := range s.folders {
		if slices.Contains(f.entries, e) {
			return true
		}
	}
	return false
}

// receive writes what r brings between at and size, and returns how far the file is on disk.
func (s *Files) receive(path string, at, size int64, r io.Reader) (int64, error) {
	file, err := s.disk.open(path, 0)
	if err != nil {
		return at, err
	}
	defer file.Close()
	// Of an earlier write that failed there may be bytes that were not acknowledged.
	if st, err := file.Stat(); err == nil && st.Size() > at {
		if err := s.disk.truncate(file, at); err != nil {
			return at, err
		}
	}
	buf := make([]byte, writeStep)
	synced, written := at, at
	for empty := 0; ; {
		n, readErr := r.Read(buf[:max(1, min(int64(len(buf)), size-written))])
		if n > 0 && written == size {
			readErr, n = ErrTooLarge, 0
		}
		if n > 0 {
			if err = s.disk.writeAt(file, buf[:n], written); err != nil {
				break
			}
			written, empty = written+int64(n), 0
		} else if empty++; empty > 100 && readErr == nil {
			readErr = io.ErrNoProgress
		}
		if written-synced >= syncStep || readErr != nil && written > synced {
			if err = s.settle(file, size-written); err != nil {
				break
			}
			synced = written
		}
		if readErr == io.EOF {
			return synced, nil
		}
		if readErr != nil {
			return synced, readErr
		}
	}
	s.disk.truncate(file, synced)
	return synced, err
}

// settle waits for the disk, and looks whether what is still to come fits on it.
func (s *Files) settle(file *os.File, rest int64) error {
	if err := s.disk.sync(file); err != nil {
		return err
	}
	return s.cfg.Space.room(rest)
}

// Finish makes an upload a file that everybody sees, if all its bytes are here (else ErrIncomplete) and are those that were
// announced: else the upload is removed and the error is ErrHash. Finishing what is finished is no error.
func (s *Files) Finish(uid, id string) (Info, error) {
	f, e, err := s.take(uid, id)
	if errors.Is(err, ErrFinished) {
		return s.Status(uid, id)
	}
	if err != nil {
		return Info{}, err
	}
	defer s.give(e, 0)
	if e.Received != e.Size {
		return Info{}, fmt.Errorf("%d of %d bytes: %w", e.Received, e.Size, ErrIncomplete)
	}
	sum, err := s.hash(f.path(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !slices.Contains(f.entries, e):
		return Info{}, fmt.Errorf("upload %s: %w", id, ErrNotFound)
	case err != nil:
		return Info{}, err
	case sum != e.SHA256:
		return Info{}, errors.Join(fmt.Errorf("upload %s: %w", id, ErrHash), s.drop(f, e))
	}
	began := e.At
	e.Finished, e.At = true, s.cfg.Now().UTC()
	if err := f.save(s.disk, f.entries); err != nil {
		e.Finished, e.At = false, began
		return Info{}, diskError(err)
	}
	return e.Info, nil
}

// hash is the SHA-256 of a file, whose bytes are on disk before: after a crash they may have been in memory only.
func (s *Files) hash(path string) (string, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if err := s.disk.sync(file); err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Close says that a conference is over: nothing more comes in, uploads are dropped, and Sweep removes the files when keepUntil
// has come. A conference without files may be closed too; of one that is over already the first time holds.
func (s *Files) Close(uid string, keepUntil time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.folders[uid]
	if f == nil || !f.until.IsZero() {
		return nil
	}
	// The zero time stands for a conference that goes on.
	if keepUntil.IsZero() {
		keepUntil = time.Unix(0, 0)
	}
	before := f.until
	f.until = keepUntil.UTC()
	if f.err != nil {
		return nil
	}
	var uploads []*entry
	kept := make([]*entry, 0, len(f.entries))
	for _, e := range f.entries {
		if e.Finished {
			kept = append(kept, e)
		} else {
			uploads = append(uploads, e)
		}
	}
	if err := f.save(s.disk, kept); err != nil {
		f.until = before
		return diskError(err)
	}
	for _, e := range uploads {
		s.disk.remove(f.path(e.ID))
	}
	return nil
}

// Sweep removes stale uploads, and the files of conferences whose time has come. Call it every few minutes.
func (s *Files) Sweep(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for uid, f := range s.folders {
		if !f.until.IsZero() && !now.Before(f.until) {
			if err := s.disk.removeDir(f.dir, indexName); err != nil {
				errs = append(errs, err)
				continue
			}
			delete(s.folders, uid)
			continue
		}
		var stale []*entry
		for _, e := range f.entries {
			if !e.Finished && !e.busy && now.Sub(e.touched) >= s.cfg.Stale {
				stale = append(stale, e)
			}
		}
		errs = append(errs, s.drop(f, stale...))
	}
	return errors.Join(errs...)
}

// Conferences is the uids of which there is a folder, those that are over too: after a crash, who knows a conference to be over can
// Close what was not closed.
func (s *Files) Conferences() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	uids := make([]string, 0, len(s.folders))
	for uid := range s.folders {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	return uids
}
