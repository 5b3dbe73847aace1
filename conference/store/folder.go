package store

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A conference's folder of files:
//
//	index.json    what there is and until when: the only thing that counts, replaced whole
//	<id>          the bytes of an upload or of a file
//
// A file is there as soon as the index says so. Bytes that the index does not know are of a Begin or Delete that a crash cut
// off: they are removed at the next start.

const (
	indexName = "index.json"
	maxIndex  = 1 << 20 // bytes
	maxBy     = 64      // bytes of a number
)

// folder is one conference's. until: the conference is over and the files are kept so long; zero: it is not over.
type folder struct {
	dir     string
	until   time.Time
	entries []*entry
	err     error // the index cannot be read
}

// index is what the file index.json holds.
type index struct {
	Until time.Time `json:"until,omitzero"`
	Files []Info    `json:"files"`
}

func (f *folder) path(id string) string { return filepath.Join(f.dir, id) }

// save writes the index with these entries; only then they are the folder's.
func (f *folder) save(d disk, entries []*entry) error {
	x := index{Until: f.until, Files: make([]Info, 0, len(entries))}
	for _, e := range entries {
		x.Files = append(x.Files, e.Info)
	}
	data, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if err := d.replace(filepath.Join(f.dir, indexName), data); err != nil {
		return err
	}
	f.entries = entries
	return nil
}

// loadFolder reads a folder and clears away what a crash has left. Where the index cannot be read, the folder has that error.
func loadFolder(d disk, dir string) (*folder, error) {
	f := &folder{dir: dir}
	x, err := readIndex(filepath.Join(dir, indexName))
	if err != nil {
		f.err = fmt.Errorf("%w: %w", ErrDamaged, err)
		return f, f.err
	}
	f.until = x.Until
	known := map[string]bool{indexName: true}
	for _, info := range x.Files {
		known[info.ID] = true
		e := &entry{Info: info, touched: info.At}
		st, err := os.Stat(f.path(info.ID))
		if err != nil || st.Size() > info.Size || info.Finished && st.Size() != info.Size {
			continue
		}
		e.Received = st.Size()
		f.entries = append(f.entries, e)
	}
	// What a process renamed that was killed right then is seen by others now, and must last.
	if err := d.syncDir(dir); err != nil {
		return f, err
	}
	names, err := os.ReadDir(dir)
	for _, n := range names {
		if !known[n.Name()] && !n.IsDir() {
			d.remove(filepath.Join(dir, n.Name()))
		}
	}
	return f, err
}

// readIndex reads an index; one that is not there is empty.
func readIndex(path string) (index, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return index{}, nil
	}
	if err != nil {
		return index{}, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxIndex+1))
	if err != nil {
		return index{}, err
	}
	return parseIndex(data)
}

// parseIndex refuses an index whose ids could mean another file than one of this folder, or whose sizes make no sense.
func parseIndex(data []byte) (index, error) {
	if len(data) > maxIndex {
		return index{}, fmt.Errorf("%s: %w", indexName, ErrTooLarge)
	}
	var x index
	if err := json.Unmarshal(data, &x); err != nil {
		return index{}, err
	}
	seen := make(map[string]bool, len(x.Files))
	for _, info := range x.Files {
		id, err := hex.DecodeString(info.ID)
		if err != nil || len(id) != 16 || info.Size < 0 || seen[info.ID] {
			return index{}, fmt.Errorf("%s: entry %.40q: %w", indexName, info.ID, ErrInvalid)
		}
		seen[info.ID] = true
	}
	return x, nil
}
