package store

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// FilesConfig says where the files lie and how much there may be. Zero is the default that stands beside a field.
type FilesConfig struct {
	Dir     string // made if it is not there; its parent must be
	Space   Space
	PerConf int64         // bytes of one conference, uploads counted at their announced size (256 MiB)
	Total   int64         // bytes of all (1 GiB)
	Count   int           // files and uploads of one conference (256)
	Uploads int           // uploads of one conference that are not finished (8)
	Stale   time.Duration // an upload to which nothing came for so long is removed by Sweep (24 h)
	Now     func() time.Time
	Log     *slog.Logger

	fault func(op, path string) error
}

// Meta is what an uploader announces.
type Meta struct {
	Name   string // see CleanName
	Size   int64  // bytes
	SHA256 string // 64 hexadecimal digits
	By     string // the number of who uploads: up to 64 bytes
}

// Info is what is known of a file or an upload.
type Info struct {
	ID       string    `json:"id"` // 32 hexadecimal digits, never used again
	Name     string    `json:"name"`
	Size     int64     `json:"size"` // bytes, as announced
	SHA256   string    `json:"sha256"`
	By       string    `json:"by"`
	At       time.Time `json:"at"`   // when the upload began; of a finished file, when it was finished
	Finished bool      `json:"done"` // it can be opened and listed
	Received int64     `json:"-"`    // bytes that are safely here: where an upload goes on
}

// entry is a file or an upload of a folder. busy: somebody works on it without the lock.
type entry struct {
	Info
	touched time.Time
	busy    bool
}

// Files is the shared files of all conferences (C-31).
//
// Every method may be called from any goroutine and waits for the disk: call them where waiting harms nobody. An upload is
// Begin, then Write as often as it takes, with what arrived counted by Received, then Finish; until then nobody sees it.
type Files struct {
	cfg  FilesConfig
	disk disk

	mu      sync.Mutex // guards the folders and all in them, and is held while an index is written
	folders map[string]*folder
}

// OpenFiles reads what is there. A folder that cannot be read is told to the log, left as it is, and answers ErrDamaged.
func OpenFiles(cfg FilesConfig) (*Files, error) {
	cfg.PerConf = orDefault(cfg.PerConf, 256<<20)
	cfg.Total = orDefault(cfg.Total, 1<<30)
	cfg.Count = orDefault(cfg.Count, 256)
	cfg.Uploads = orDefault(cfg.Uploads, 8)
	cfg.Stale = orDefault(cfg.Stale, 24*time.Hour)
	cfg.Log, cfg.Now = logger(cfg.Log), clock(cfg.Now)
	s := &Files{cfg: cfg, disk: disk{cfg.fault}, folders: make(map[string]*folder)}
	if err := s.disk.makeDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := s.disk.syncDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	names, err := os.ReadDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	for _, n := range names {
		if !n.IsDir() || checkUID(n.Name()) != nil {
			continue
		}
		f, err := loadFolder(s.disk, filepath.Join(cfg.Dir, n.Name()))
		if err != nil {
			cfg.Log.Error("shared files cannot be read", "conference", n.Name(), "error", err)
		}
		s.folders[n.Name()] = f
	}
	return s, nil
}

// Begin announces an upload and returns its id. ErrInvalid, ErrTooLarge, ErrQuota, ErrSpace, ErrClosed.
func (s *Files) Begin(uid string, m Meta) (id string, err error) {
	info, err := s.check(uid, m)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.folders[uid]
	if f == nil {
		f = &folder{dir: filepath.Join(s.cfg.Dir, uid)}
	}
	if err := s.mayBegin(f, info.Size); err != nil {
		return "", err
	}
	if err := s.disk.makeDir(f.dir); err != nil {
		return "", diskError(err)
	}
	s.folders[uid] = f
	file, err := s.disk.open(f.path(info.ID), os.O_CREATE|os.O_EXCL)
	if err != nil {
		return "", diskError(err)
	}
	file.Close()
	if err := f.save(s.disk, append(slices.Clone(f.entries), &entry{Info: info, touched: info.At})); err != nil {
		s.disk.remove(f.path(info.ID))
		return "", diskError(err)
	}
	return info.ID, nil
}

// check makes an Info of what is announced.
func (s *Files) check(uid string, m Meta) (Info, error) {
	if err := checkUID(uid); err != nil {
		return Info{}, err
	}
	name, err := CleanName(m.Name)
	if err != nil {
		return Info{}, err
	}
	hash := strings.ToLower(m.SHA256)
	if sum, err := hex.DecodeString(hash); err != nil || len(sum) != 32 {
		return Info{}, fmt.Errorf("SHA-256 is 64 hexadecimal digits: %w", ErrInvalid)
	}
	if m.Size < 0 || len(m.By) > maxBy {
		return Info{}, fmt.Errorf("size or uploader: %w", ErrInvalid)
	}
	if m.Size > s.cfg.PerConf {
		return Info{}, fmt.Errorf("%d bytes, and one conference may have %d: %w", m.Size, s.cfg.PerConf, ErrTooLarge)
	}
	var random [16]byte
	rand.Read(random[:])
	return Info{ID: hex.EncodeToString(random[:]), Name: name, Size: m.Size, SHA256: hash, By: m.By, At: s.cfg.Now().UTC()}, nil
}

// mayBegin says whether one more upload of so many bytes fits everywhere. Called with the lock.
func (s *Files) mayBegin(f *folder, size int64) error {
	if f.err != nil {
		return f.err
	}
	if !f.until.IsZero() {
		return ErrClosed
	}
	var own, all, missing int64
	uploads := 0
	for _, other := range s.folders {
		for _, e := range other.entries {
			all += e.Size
			missing += e.Size - e.Received
		}
	}
	for _, e := range f.entries {
		own += e.Size
		if !e.Finished {
			uploads++
		}
	}
	switch {
	case len(f.entries) >= s.cfg.Count:
		return fmt.Errorf("%d files are the most: %w", s.cfg.Count, ErrQuota)
	case uploads >= s.cfg.Uploads:
		return fmt.Errorf("%d uploads at once are the most: %w", s.cfg.Uploads, ErrQuota)
	case size > s.cfg.PerConf-own:
		return fmt.Errorf("%d bytes are left to this conference: %w", s.cfg.PerConf-own, ErrQuota)
	case size > s.cfg.Total-all:
		return fmt.Errorf("%d bytes are left to all conferences: %w", max(0, s.cfg.Total-all), ErrQuota)
	}
	return s.cfg.Space.room(missing + size)
}

// take finds an upload and makes it busy, so that it can be worked on without the lock; give gives it back.
func (s *Files) take(uid, id string) (*folder, *entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, e, err := s.find(uid, id)
	switch {
	case err != nil:
		return nil, nil, err
	case e.Finished:
		return nil, nil, ErrFinished
	case e.busy:
		return nil, nil, fmt.Errorf("upload %s: %w", id, ErrBusy)
	}
	e.busy = true
	return f, e, nil
}

// find is called with the lock.
func (s *Files) find(uid, id string) (*folder, *entry, error) {
	f := s.folders[uid]
	if f == nil {
		return nil, nil, fmt.Errorf("no files of this conference: %w", ErrNotFound)
	}
	if f.err != nil {
		return nil, nil, f.err
	}
	for _, e := range f.entries {
		if e.ID == id {
			return f, e, nil
		}
	}
	return nil, nil, fmt.Errorf("file: %w", ErrNotFound)
}

// Status tells of a file or of how far an upload is.
func (s *Files) Status(uid, id string) (Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, e, err := s.find(uid, id)
	if err != nil {
		return Info{}, err
	}
	return e.Info, nil
}

// List is the finished files of a conference, the oldest first. A conference of which nothing is known has none.
func (s *Files) List(uid string) []Info { return s.list(uid, true) }

// Pending is the uploads of a conference that are not finished.
func (s *Files) Pending(uid string) []Info { return s.list(uid, false) }

func (s *Files) list(uid string, finished bool) []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Info
	if f := s.folders[uid]; f != nil {
		for _, e := range f.entries {
			if e.Finished == finished {
				all = append(all, e.Info)
			}
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].At.Before(all[j].At) })
	return all
}

// Open opens a finished file to be read. Who has it open can read on when it is deleted.
func (s *Files) Open(uid, id string) (io.ReadSeekCloser, Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, e, err := s.find(uid, id)
	if err != nil {
		return nil, Info{}, err
	}
	if !e.Finished {
		return nil, Info{}, fmt.Errorf("upload %s: %w", id, ErrIncomplete)
	}
	file, err := os.Open(f.path(id))
	if err != nil {
		return nil, Info{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return file, e.Info, nil
}

// Delete removes a file or an upload.
func (s *Files) Delete(uid, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, e, err := s.find(uid, id)
	if err != nil {
		return err
	}
	return s.drop(f, e)
}

// drop takes entries out of a folder's index, then their bytes. Called with the lock.
func (s *Files) drop(f *folder, gone ...*entry) error {
	if len(gone) == 0 {
		return nil
	}
	kept := slices.DeleteFunc(slices.Clone(f.entries), func(e *entry) bool { return slices.Contains(gone, e) })
	if err := f.save(s.disk, kept); err != nil {
		return diskError(err)
	}
	for _, e := range gone {
		if err := s.disk.remove(f.path(e.ID)); err != nil {
			s.cfg.Log.Warn("a file that is no longer listed stays until the next start", "file", f.path(e.ID), "error", err)
		}
	}
	return nil
}
