package update

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// The way of an image: server → network → hash, slot (but for its first bytes) → read back, hash → first bytes → boot state.
//
// It goes straight into the slot: a box has no room for it elsewhere. The first bytes, without which the boot loader takes the slot for
// empty, are written when all else is there and right: a slot that is half written boots by no accident.

// headSize is how many bytes are written last.
const headSize = 512

// Bounds of a download.
const (
	buffer     = 256 << 10      // bytes that are read back at once
	patience   = 24 * time.Hour // without a byte, before the update is given up
	firstPause = time.Second
	lastPause  = time.Minute
)

// slot is the idle one, open for writing.
type slot struct {
	manifest Manifest
	devices  []OpenDevice
	head     []byte    // the first part's first bytes, as far as they are known
	at       int64     // how much of the image is in it
	sum      hash.Hash // of what is there of the part that at is in
}

// openSlot opens the partitions of a slot in which done bytes of the image are.
func openSlot(d Disk, s Slot, m Manifest) (*slot, error) {
	o := &slot{manifest: m}
	for _, p := range m.Parts {
		device, err := d.Open(label(p.Name, s))
		if err != nil {
			o.close()
			return nil, errors.Join(ErrWrite, err)
		}
		o.devices = append(o.devices, device)
		if device.Size() < p.Size {
			o.close()
			return nil, fmt.Errorf("%w: %s has %d bytes, and its partition %d", ErrTooLarge, p.Name, p.Size, device.Size())
		}
	}
	return o, nil
}

func (s *slot) close() {
	for _, d := range s.devices {
		d.Close()
	}
}

// part is the index of the part that an offset of the image is in, and where it begins.
func (s *slot) part(at int64) (i int, begin int64) {
	for i < len(s.manifest.Parts)-1 && at >= begin+s.manifest.Parts[i].Size {
		begin += s.manifest.Parts[i].Size
		i++
	}
	return i, begin
}

// begin goes to an offset up to which the slot holds the image, by what was kept of it. From 0 on it makes the slot unbootable first.
func (s *slot) begin(at int64, head []byte) error {
	s.at, s.head = at, bytes.Clone(head)
	if at == 0 || len(head) != headSize {
		s.at, s.head = 0, nil
		if _, err := s.devices[0].WriteAt(make([]byte, headSize), 0); err != nil {
			return errors.Join(ErrWrite, err)
		}
		if err := s.devices[0].Sync(); err != nil {
			return errors.Join(ErrWrite, err)
		}
	}
	if s.at == s.manifest.Size { // what follows is to read it back
		return nil
	}
	i, begin := s.part(s.at)
	var err error
	s.sum, err = s.hash(i, s.at-begin)
	return err
}

// hash is that of the first n bytes of a part as the slot holds it, the head put where it will be.
func (s *slot) hash(i int, n int64) (hash.Hash, error) {
	sum := sha256.New()
	var from int64
	if i == 0 && n > 0 {
		from = headSize
		sum.Write(s.head)
	}
	b := make([]byte, buffer)
	for from < n {
		part := b[:min(buffer, n-from)]
		if _, err := s.devices[i].ReadAt(part, from); err != nil && !(errors.Is(err, io.EOF) && from+int64(len(part)) == n) {
			return nil, errors.Join(ErrWrite, err)
		}
		sum.Write(part)
		from += int64(len(part))
	}
	return sum, nil
}

// Write takes the next bytes of the image. After the last one of a part it tells whether that is what was signed.
func (s *slot) Write(b []byte) (int, error) {
	done := 0
	for len(b) > 0 {
		i, begin := s.part(s.at)
		p := s.manifest.Parts[i]
		left := begin + p.Size - s.at
		if left <= 0 {
			return done, fmt.Errorf("%w: it goes on after the last part", ErrSize)
		}
		n := min(int64(len(b)), left)
		if err := s.put(i, s.at-begin, b[:n]); err != nil {
			return done, errors.Join(ErrWrite, err)
		}
		s.sum.Write(b[:n])
		s.at, b, done = s.at+n, b[n:], done+int(n)
		if n == left {
			if hex.EncodeToString(s.sum.Sum(nil)) != p.SHA256 {
				return done, fmt.Errorf("%w: the part %s is another", ErrHash, p.Name)
			}
			s.sum.Reset()
		}
	}
	return done, nil
}

// put writes bytes of a part, and keeps those back that are the head.
func (s *slot) put(i int, at int64, b []byte) error {
	if i == 0 && at < headSize {
		n := min(int64(len(b)), headSize-at)
		s.head = append(s.head[:at:at], b[:n]...)
		if at, b = at+n, b[n:]; len(b) == 0 {
			return nil
		}
	}
	_, err := s.devices[i].WriteAt(b, at)
	return err
}

func (s *slot) sync() error {
	for _, d := range s.devices {
		if err := d.Sync(); err != nil {
			return errors.Join(ErrWrite, err)
		}
	}
	return nil
}

// verify reads back what was written, and only then writes the head.
func (s *slot) verify() error {
	if err := s.sync(); err != nil {
		return err
	}
	for i, p := range s.manifest.Parts {
		forget(s.devices[i])
		sum, err := s.hash(i, p.Size)
		if err != nil {
			return err
		}
		if hex.EncodeToString(sum.Sum(nil)) != p.SHA256 {
			return fmt.Errorf("%w: the part %s is not what was written", ErrWrite, p.Name)
		}
	}
	if _, err := s.devices[0].WriteAt(s.head, 0); err != nil {
		return errors.Join(ErrWrite, err)
	}
	if err := s.sync(); err != nil {
		return err
	}
	forget(s.devices[0])
	now := make([]byte, headSize)
	if _, err := s.devices[0].ReadAt(now, 0); err != nil || !bytes.Equal(now, s.head) {
		return fmt.Errorf("%w: its beginning is not what was written", ErrWrite)
	}
	return nil
}

// install brings the image into the idle slot. A slot that runs, or that boots next, it does not touch.
func (u *Updater) install(ctx context.Context) error {
	if err := u.idle(); err != nil {
		return err
	}
	s, err := openSlot(u.cfg.Machine.Disk, u.rec.Slot, u.rec.Order.Manifest)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.begin(u.rec.Done, u.rec.Head); err != nil {
		return err
	}
	if u.rec.Phase == Queued || u.rec.Phase == Downloading {
		if err := u.phase(Downloading); err != nil {
			return err
		}
		if err := u.download(ctx, s); err != nil {
			return err
		}
		if err := u.phase(Downloaded); err != nil {
			return err
		}
	}
	if err := s.verify(); err != nil {
		return err
	}
	return u.phase(Verified)
}

// idle makes sure that the slot to be written is the one that does not run, and that the boot loader does not want it.
func (u *Updater) idle() error {
	running := u.cfg.Machine.Running
	if u.rec.Slot != running.Other() {
		u.rec.Slot, u.rec.Done, u.rec.Head, u.rec.Phase = running.Other(), 0, nil, Queued
	}
	return u.boot(func(s State) (State, error) {
		if s.Good != running {
			return s, fmt.Errorf("%w: slot %s runs, and %s is the good one", ErrWrite, running, s.Good)
		}
		return State{Good: running, Try: None}, nil
	})
}

// boot changes the boot state.
func (u *Updater) boot(change func(State) (State, error)) error {
	d, err := u.cfg.Machine.Disk.Open(stateLabel)
	if err != nil {
		return errors.Join(ErrWrite, err)
	}
	defer d.Close()
	old, err := LoadState(d)
	if err != nil {
		return errors.Join(ErrWrite, err)
	}
	s, err := change(old)
	s.Seq = old.Seq
	if err != nil || s == old {
		return err
	}
	if err := SaveState(d, s); err != nil {
		return errors.Join(ErrWrite, err)
	}
	return nil
}

// download fetches what is missing of the image, with pauses that grow while nothing comes.
func (u *Updater) download(ctx context.Context, s *slot) error {
	pause, last := firstPause, u.cfg.Now()
	for s.at < s.manifest.Size {
		if err := u.quiet(ctx); err != nil {
			return err
		}
		before := s.at
		err := u.fetch(ctx, s)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil, errors.Is(err, errCall):
			continue
		case !errors.Is(err, errAgain):
			return err
		case s.at > before:
			pause, last = firstPause, u.cfg.Now()
		case u.cfg.Now().Sub(last) > patience:
			return fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		u.waits("for the server: " + err.Error())
		if err := u.cfg.Sleep(ctx, jitter(pause)); err != nil {
			return err
		}
		pause = min(2*pause, lastPause)
	}
	u.waits("")
	return u.keep(s)
}

// errCall: the download stops because a call has begun.
var errCall = errors.New("a call has begun")

// fetch takes what the server gives in one go.
func (u *Updater) fetch(ctx context.Context, s *slot) error {
	body, err := u.cfg.Fetch(ctx, u.rec.Order.URL, s.at, u.rec.Tag)
	if err != nil {
		return err
	}
	defer body.Close()
	if body.Total != s.manifest.Size {
		return fmt.Errorf("%w: it has %d bytes, and the image %d", ErrSize, body.Total, s.manifest.Size)
	}
	if u.rec.Tag = body.Tag; body.From != s.at {
		if err := s.begin(0, nil); err != nil {
			return err
		}
	}
	u.waits("")
	b, kept := make([]byte, u.chunk), s.at
	for s.at < s.manifest.Size {
		n, err := io.ReadFull(body, b[:min(u.chunk, s.manifest.Size-s.at)])
		if _, bad := s.Write(b[:n]); bad != nil {
			return bad
		}
		if s.at-kept >= u.checkpoint || err != nil {
			if bad := u.keep(s); bad != nil {
				return bad
			}
			kept = s.at
		}
		if err != nil {
			return fmt.Errorf("%w: it breaks off after %d bytes: %w", errAgain, s.at, err)
		}
		if u.cfg.Busy() {
			return errors.Join(errCall, u.keep(s))
		}
	}
	return nil
}

// keep brings what was written onto the disk, and notes how far that goes.
func (u *Updater) keep(s *slot) error {
	if err := s.sync(); err != nil {
		return err
	}
	u.rec.Done, u.rec.Head = s.at, bytes.Clone(s.head)
	if err := u.save(); err != nil {
		return err
	}
	u.cfg.Report(u.rec)
	return nil
}
