package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// Info is what a library says of one recording.
type Info struct {
	ID        string        `json:"id"`
	Meta                    // of what
	Started   time.Time     `json:"started"`
	Ended     time.Time     `json:"ended,omitzero"` // zero while Running
	Length    time.Duration `json:"length"`         // ns; of what is in whole segments while Running
	Bytes     int64         `json:"bytes"`          // on the disk, in whole segments and the index
	Segments  int           `json:"segments"`
	Running   bool          `json:"running,omitempty"`
	Recovered bool          `json:"recovered,omitempty"` // it was cut off
	Broken    bool          `json:"broken,omitempty"`    // the index cannot be read to its end
	Head      string        `json:"head"`                // SHA-256 of the index: who keeps it elsewhere can prove the whole recording
}

// Limits are what a Library keeps; zero values mean without end.
type Limits struct {
	Quota     int64         // bytes
	Retention time.Duration // after the end
}

// Library is a folder of recordings. All methods may be called from any goroutine.
type Library struct {
	folder string
	limits Limits

	mu    sync.Mutex // guards known
	known map[string]known
}

// known saves reading an index again that has not changed.
type known struct {
	size int64
	at   time.Time
	info Info
}

// NewLibrary makes a library at rest over folder, which may not exist yet.
func NewLibrary(folder string, l Limits) *Library {
	return &Library{folder: folder, limits: l, known: map[string]known{}}
}

// NewID makes the id of a recording that begins now: the time first, so that ids sort as they began, then the conference's number.
func NewID(now time.Time, number string) string {
	id := now.UTC().Format("20060102-150405.000")
	id = strings.Replace(id, ".", "-", 1)
	number = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(number))
	if len(number) > 32 {
		number = number[:32]
	}
	return strings.TrimSuffix(id+"-"+number, "-")
}

// validID keeps ids from being anything but the name of a folder here.
func validID(id string) bool {
	if id == "" || len(id) > 64 || id[0] == '-' {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// Folder is where a Config is to put its recording.
func (l *Library) Folder() string { return l.folder }

// path is the folder of the recording id, which exists.
func (l *Library) path(id string) (string, error) {
	if !validID(id) {
		return "", ErrID
	}
	path := filepath.Join(l.folder, id)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return "", ErrNotFound
	}
	return path, err
}

// ids are those of all recordings, the oldest first.
func (l *Library) ids() ([]string, error) {
	entries, err := os.ReadDir(l.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && validID(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, err
}

// Recover is called once at start, before the first tape: the folder is made, what was being deleted goes, and what was cut off is
// ended (see Recover). It returns the ids of those; errors of single recordings are joined and do not keep it from the others.
func (l *Library) Recover(now time.Time) ([]string, error) {
	if err := os.MkdirAll(l.folder, 0o700); err != nil {
		return nil, err
	}
	doomed, err := filepath.Glob(filepath.Join(l.folder, doomedPrefix+"*"))
	for _, path := range doomed {
		err = errors.Join(err, os.RemoveAll(path))
	}
	ids, e := l.ids()
	err = errors.Join(err, e)
	var recovered []string
	for _, id := range ids {
		path := filepath.Join(l.folder, id)
		if s, e := readStory(path); e == nil && s.end != nil {
			continue
		}
		if e := unbegun(path); e {
			err = errors.Join(err, os.RemoveAll(path))
			continue
		}
		if e := Recover(path, now); e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", id, e))
			continue
		}
		recovered = append(recovered, id)
	}
	return recovered, err
}

// unbegun says whether the power was cut while New made the recording: not even the index has anything in it.
func unbegun(path string) bool {
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) > 1 {
		return false
	}
	if len(entries) == 0 {
		return true
	}
	info, err := entries[0].Info()
	return err == nil && entries[0].Name() == indexName && info.Size() == 0
}

// List tells of all recordings, the oldest first. Tracks of one speaker are recordings of their own, whose Meta.Of is set.
func (l *Library) List() ([]Info, error) {
	ids, err := l.ids()
	if err != nil {
		return nil, err
	}
	list := make([]Info, 0, len(ids))
	for _, id := range ids {
		info, err := l.Info(id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, info)
	}
	return list, nil
}

// Info tells of one recording: ErrID, ErrNotFound.
func (l *Library) Info(id string) (Info, error) {
	path, err := l.path(id)
	if err != nil {
		return Info{}, err
	}
	st, err := os.Lstat(filepath.Join(path, indexName))
	if errors.Is(err, fs.ErrNotExist) {
		return Info{}, ErrNotFound
	}
	if err != nil {
		return Info{}, err
	}
	l.mu.Lock()
	k, ok := l.known[id]
	l.mu.Unlock()
	if ok && k.size == st.Size() && k.at.Equal(st.ModTime()) {
		return k.info, nil
	}
	s, err := readStory(path)
	if err != nil && !errors.Is(err, ErrBroken) {
		return Info{}, err
	}
	info := s.info(id, err != nil)
	l.mu.Lock()
	l.known[id] = known{st.Size(), st.ModTime(), info}
	l.mu.Unlock()
	return info, nil
}

// info sums the story up. A running one's last line may be half there, which is not broken.
func (s *story) info(id string, broken bool) Info {
	i := Info{ID: id, Length: samples(s.length()), Bytes: s.good, Segments: len(s.segments), Head: s.head}
	i.Running = s.end == nil
	i.Broken = broken && s.end != nil
	for _, g := range s.segments {
		i.Bytes += g.Bytes
		i.Recovered = i.Recovered || g.Recovered
	}
	if len(s.Lines) > 0 {
		i.Meta, i.Started = *s.Lines[0].Meta, s.Lines[0].At
	} else {
		i.Broken, i.Running = true, false
	}
	if s.end != nil {
		i.Ended = s.end.At
		i.Recovered = i.Recovered || s.end.Recovered
	}
	return i
}

// Index is everything that is written down of a recording, in the order of its happening.
func (l *Library) Index(id string) ([]Line, error) {
	path, err := l.path(id)
	if err != nil {
		return nil, err
	}
	s, err := readStory(path)
	if err != nil && !errors.Is(err, ErrBroken) {
		return nil, err
	}
	return s.Lines, nil
}

// Verify checks a recording (see the function of this name).
func (l *Library) Verify(id string) error {
	path, err := l.path(id)
	if err != nil {
		return err
	}
	return Verify(path)
}

const doomedPrefix = ".deleted-"

// Delete removes a recording and its tracks for good: ErrID, ErrNotFound; ErrRunning if any of them is, and then all stay.
func (l *Library) Delete(id string) error {
	if _, err := l.path(id); err != nil {
		return err
	}
	list, err := l.List()
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(i Info) bool { return i.ID != id && i.Of != id })
	if slices.ContainsFunc(list, func(i Info) bool { return i.Running }) {
		return ErrRunning
	}
	err = ErrNotFound
	for _, i := range list {
		if e := l.remove(i.ID); i.ID == id || e != nil {
			err = e
		}
	}
	return err
}

// remove takes the recording out of sight at once, so that half of one is never seen.
func (l *Library) remove(id string) error {
	doomed := filepath.Join(l.folder, doomedPrefix+id)
	if err := os.Rename(filepath.Join(l.folder, id), doomed); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return ErrNotFound
		}
		return err
	}
	l.mu.Lock()
	delete(l.known, id)
	l.mu.Unlock()
	return errors.Join(syncFolder(l.folder), os.RemoveAll(doomed))
}

// Tidy deletes what is kept for too long, and then the oldest ones while all together are over the quota. What is running counts and
// stays. It returns the ids of what it deleted.
func (l *Library) Tidy(now time.Time) ([]string, error) {
	list, err := l.List()
	if err != nil {
		return nil, err
	}
	var sum int64
	for _, i := range list {
		sum += i.Bytes
	}
	list = slices.DeleteFunc(list, func(i Info) bool { return i.Running })
	sort.SliceStable(list, func(i, j int) bool { return list[i].Ended.Before(list[j].Ended) })
	var gone []string
	for _, i := range list {
		old := l.limits.Retention > 0 && now.Sub(i.Ended) > l.limits.Retention
		if !old && (l.limits.Quota == 0 || sum <= l.limits.Quota) {
			continue
		}
		if err := l.remove(i.ID); err != nil {
			return gone, err
		}
		sum -= i.Bytes
		gone = append(gone, i.ID)
	}
	return gone, nil
}
