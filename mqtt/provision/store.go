package provision

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"parley/mqtt/wire"
)

// FS is what the store needs of a file system, so that a test can have it fail or lose its power.
type FS interface {
	// Read reads a file of at most that many bytes.
	Read(name string, most int64) ([]byte, error)
	// Write makes a file, or makes it anew, and returns when its content is on the disk. Its name may not be.
	Write(name string, content []byte) error
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes what was renamed or removed in a folder last.
	SyncDir(dir string) error
}

// Store keeps documents, each whole or not at all:
//
//	good    what the box goes back to       trial   what is to be tried, or is        notes   what became of others
type Store struct {
	dir string
	fs  FS
}

// The files. The first line is SHA-256 of the rest: the envelope of a document, or the notes.
const (
	goodFile  = "good"
	trialFile = "trial"
	notesFile = "notes"
	maxKept   = wire.MaxPayload + 128
)

// NewStore makes a store in a folder, which need not be there before something is written. fs nil is the machine's own.
func NewStore(dir string, fs FS) *Store {
	if fs == nil {
		fs = OS{}
	}
	return &Store{dir: dir, fs: fs}
}

// Document is a document of settings that was genuine when it came.
type Document struct {
	wire.Desired
	Hash     string
	Envelope []byte
}

func (d *Document) version(at time.Time) *wire.Version {
	if at.IsZero() {
		at = time.Unix(0, 0)
	}
	return &wire.Version{Version: d.Version, Hash: d.Hash, At: at.UTC()}
}

// Kept is what a Store holds.
type Kept struct {
	Good, Trial *Document // nil: none. A Trial is newer than Good and was not refused
	Faults      []error   // files that are there and cannot be used
	notes       notes
}

// Load reads what is there for that box. Files that are for another one, or damaged, are passed over.
func (s *Store) Load(box wire.Box) (k Kept) {
	read := func(name string, take func([]byte) error) {
		b, err := s.read(name)
		if err == nil {
			err = take(b)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			k.Faults = append(k.Faults, fmt.Errorf("%s: %w", filepath.Join(s.dir, name), err))
		}
	}
	document := func(to **Document) func([]byte) error {
		return func(b []byte) error {
			desired, err := wire.OpenKept(b)
			d := &Document{Desired: desired, Hash: wire.HashOf(b), Envelope: b}
			if err == nil && (d.EID != box.EID() || d.Box != box.Name()) {
				err = wire.ErrWrongBox
			}
			if err == nil {
				*to = d
			}
			return err
		}
	}
	read(goodFile, document(&k.Good))
	read(trialFile, document(&k.Trial))
	read(notesFile, func(b []byte) error {
		var n notes
		err := json.Unmarshal(b, &n)
		if err == nil && n.For == nameOf(box) {
			n.usable()
			k.notes = n
		}
		return err
	})
	k.notes.For = nameOf(box)
	k.settle()
	return k
}

func nameOf(box wire.Box) string { return box.EID() + "/" + box.Name() }

// settle drops what a power cut between two writes may have left.
func (k *Kept) settle() {
	n := &k.notes
	if g := k.Good; g != nil {
		if n.Good != g.Hash { // the power went before it was noted
			n.accept(*g, time.Time{})
		}
		n.Seen = max(n.Seen, g.Version)
	}
	if n.Refused != nil && (k.Good != nil && n.Refused.Version <= k.Good.Version) {
		n.Refused = nil
	}
	if t := k.Trial; t != nil {
		refused := n.Refused != nil && n.Refused.Hash == t.Hash && n.tries(t.Hash) == 0 // and is not tried once more
		if k.Good != nil && t.Version <= k.Good.Version || refused || t.Version < n.Seen {
			k.Trial = nil
		}
	}
}

// read reads what put has written.
func (s *Store) read(name string) ([]byte, error) {
	b, err := s.fs.Read(filepath.Join(s.dir, name), maxKept)
	if err != nil {
		return nil, err
	}
	sum, content, _ := bytes.Cut(b, []byte("\n"))
	if string(sum) != sumOf(content) {
		return nil, errors.New("is damaged")
	}
	return content, nil
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Life is what the box begins with.
type Life struct {
	Doc     *Document // nil: no settings from outside
	Trial   bool      // Doc is on trial
	Problem error     // why it is not what it should be
}

// Choose says what the box is to begin with. trial is what the last life has left for this one: a version, in digits. Without it a
// document that is on trial has ended in a crash or a power cut, and what was good comes back.
func (k Kept) Choose(trial string) Life {
	if k.Trial != nil && strconv.FormatUint(k.Trial.Version, 10) == trial {
		return Life{Doc: k.Trial, Trial: true}
	}
	return Life{Doc: k.Good}
}

// Fail notes that the box could not run with what is on trial, and takes it away.
func (s *Store) Fail(box wire.Box, d Document, firmware, detail string, now time.Time) error {
	n := s.Load(box).notes
	n.refuse(wire.Refusal{Version: d.Version, Hash: d.Hash, Reason: wire.ReasonApplyFailed, Detail: detail, At: now.UTC()}, firmware)
	return errors.Join(s.putNotes(n), s.dropTrial())
}

func (s *Store) putGood(d Document) error  { return s.put(goodFile, d.Envelope) }
func (s *Store) putTrial(d Document) error { return s.put(trialFile, d.Envelope) }

func (s *Store) putNotes(n notes) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return s.put(notesFile, b)
}

// promote makes what is on trial good.
func (s *Store) promote(d Document) error {
	if b, err := s.read(trialFile); err != nil || !bytes.Equal(b, d.Envelope) { // something newer waits there, or somebody has taken it away
		return s.putGood(d)
	}
	return s.move(trialFile, goodFile)
}

func (s *Store) dropTrial() error {
	if err := s.fs.Remove(filepath.Join(s.dir, trialFile)); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	return s.fs.SyncDir(s.dir)
}

// put writes what read reads. The file is replaced whole: after a power cut it holds the old content or the new.
func (s *Store) put(name string, content []byte) error {
	return s.replace(name, append([]byte(sumOf(content)+"\n"), content...))
}

func (s *Store) replace(name string, content []byte) error {
	if err := s.fs.Write(filepath.Join(s.dir, name+".new"), content); err != nil {
		s.fs.Remove(filepath.Join(s.dir, name+".new")) // it may take the room that others need
		return err
	}
	return s.move(name+".new", name)
}

func (s *Store) move(from, to string) error {
	if err := s.fs.Rename(filepath.Join(s.dir, from), filepath.Join(s.dir, to)); err != nil {
		return err
	}
	return s.fs.SyncDir(s.dir)
}

// OS is the machine's own file system.
type OS struct{}

// Read is FS's.
func (OS) Read(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: more than %d bytes", name, most)
	}
	return b, err
}

// Write is FS's. The folder is made if it is not there.
func (OS) Write(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Rename is FS's.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove is FS's.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir is FS's.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
