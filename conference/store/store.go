// Package store keeps what a conference leaves on the box's disk beside its state: the files that its members share (Files)
// and its messages (Log).
//
// Both keep a folder per conference, named by its uid. After a crash or a power cut at any moment what was acknowledged is
// there and what was not is there whole or not at all; what a full disk refused has left nothing behind. The package does not
// know who may read or write: rights are its callers' matter, as is the way by which bytes come and go.
package store

import (
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"
)

// What can be wrong. Ask with errors.Is; the texts around them say more and may be shown to a user.
var (
	// ErrInvalid: a uid, an id, a name or a hash that cannot be one.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound: there is no such conference, file, or upload.
	ErrNotFound = errors.New("not found")
	// ErrOffset: an upload goes on where it stopped, and nowhere else. The offset returned beside it is the right one.
	ErrOffset = errors.New("wrong offset")
	// ErrBusy: somebody else writes to this upload at the moment, or more messages wait for the disk than may wait.
	ErrBusy = errors.New("busy")
	// ErrFinished: the upload is finished already; its file takes no more.
	ErrFinished = errors.New("finished already")
	// ErrIncomplete: bytes are missing still.
	ErrIncomplete = errors.New("incomplete")
	// ErrHash: the bytes are not those that were announced. The upload is gone and must begin again.
	ErrHash = errors.New("wrong SHA-256")
	// ErrTooLarge: more bytes than announced, or than one file or message may have.
	ErrTooLarge = errors.New("too large")
	// ErrQuota: the conference, or all together, have used what they may.
	ErrQuota = errors.New("quota used up")
	// ErrSpace: the disk is full, or would come too near to it.
	ErrSpace = errors.New("disk full")
	// ErrClosed: the conference is over and takes no more; what is there can be read until it is removed.
	ErrClosed = errors.New("conference is over")
	// ErrDamaged: what is on disk cannot be read. A crash does not do this, a dying disk does.
	ErrDamaged = errors.New("damaged on disk")
	// ErrStopped: the log's Run has ended, and nobody is there to write.
	ErrStopped = errors.New("stopped")
)

// maxUID bounds a uid, in bytes.
const maxUID = 128

// checkUID refuses what could not be the name of a folder, or would be one elsewhere.
func checkUID(uid string) error {
	if len(uid) == 0 || len(uid) > maxUID || uid[0] == '.' {
		return fmt.Errorf("uid of %d bytes: %w", len(uid), ErrInvalid)
	}
	for i := range len(uid) {
		c := uid[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return fmt.Errorf("uid %.40q: %w", uid, ErrInvalid)
		}
	}
	return nil
}

// Space says how near to a full disk one may come. Free nil: nobody asks.
type Space struct {
	Reserve int64                  // bytes that must stay free
	Free    func() (uint64, error) // bytes that are free
}

// room fails unless so many bytes more leave the reserve alone.
func (s Space) room(bytes int64) error {
	if s.Free == nil {
		return nil
	}
	free, err := s.Free()
	if err != nil {
		return fmt.Errorf("free space is not known: %w", err)
	}
	if free < uint64(max(0, s.Reserve))+uint64(max(0, bytes)) {
		return fmt.Errorf("%d MiB free: %w", free>>20, ErrSpace)
	}
	return nil
}

// diskError names a full disk so that callers can ask for it.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrSpace, err)
	}
	return err
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

func clock(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

// orDefault is v, or def where v says nothing.
func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
