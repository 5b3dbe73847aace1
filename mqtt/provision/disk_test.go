package provision

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
)

// disk is an FS in memory that fails, or loses its power, at a chosen operation. It tells names that are safe from those that
// are not yet: those of Rename, Remove and of a file that was made wait for SyncDir.
type disk struct {
	names, safe map[string]string
	changes     []map[string]string // since the last SyncDir
	ops         int
	failAt      int   // the operation that fails; 0: none
	fails       error // with what; nil: the power is cut there
	full        bool  // every Write fails
}

var (
	errFull = errors.New("no space left on device")
	errCut  = errors.New("the power is cut") // is panicked with
)

func newDisk() *disk { return &disk{names: map[string]string{}, safe: map[string]string{}} }

// crash is the disk after a power cut, of which pick(n) chooses the outcome from n possible ones.
func (d *disk) crash(pick func(n int) int) *disk {
	states := append([]map[string]string{d.safe}, d.changes...)
	after := newDisk()
	after.names = maps.Clone(states[pick(len(states))])
	after.safe = maps.Clone(after.names)
	return after
}

func (d *disk) op() error {
	d.ops++
	if d.ops != d.failAt {
		return nil
	}
	if d.fails == nil {
		return errCut
	}
	return d.fails
}

func (d *disk) changed() { d.changes = append(d.changes, maps.Clone(d.names)) }

func (d *disk) Read(name string, most int64) ([]byte, error) {
	b, ok := d.names[name]
	if !ok {
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	if int64(len(b)) > most {
		return nil, errors.New("too long")
	}
	return []byte(b), nil
}

func (d *disk) Write(name string, content []byte) error {
	err := d.op()
	if d.full && err == nil {
		err = errFull
	}
	if err != nil { // some of it may be there
		d.names[name] = string(content[:len(content)/2])
		d.changed()
	}
	if errors.Is(err, errCut) {
		panic(errCut)
	}
	if err != nil {
		return err
	}
	d.names[name] = string(content)
	d.changed()
	return nil
}

func (d *disk) Rename(from, to string) error {
	err := d.op()
	if err != nil && !errors.Is(err, errCut) {
		return err
	}
	content, ok := d.names[from]
	if !ok {
		return &os.PathError{Op: "rename", Path: from, Err: os.ErrNotExist}
	}
	delete(d.names, from)
	d.names[to] = content
	d.changed()
	if err != nil {
		panic(errCut)
	}
	return nil
}

func (d *disk) Remove(name string) error {
	err := d.op()
	if err != nil && !errors.Is(err, errCut) {
		return err
	}
	if _, ok := d.names[name]; !ok && err == nil {
		return &os.PathError{Op: "remove", Path: name, Err: os.ErrNotExist}
	}
	delete(d.names, name)
	d.changed()
	if err != nil {
		panic(errCut)
	}
	return nil
}

func (d *disk) SyncDir(string) error {
	if err := d.op(); err != nil {
		if errors.Is(err, errCut) {
			panic(errCut)
		}
		return err
	}
	d.safe, d.changes = maps.Clone(d.names), nil
	return nil
}

// list names what is there, for errors.
func (d *disk) list() (names []string) {
	for _, n := range slices.Sorted(maps.Keys(d.names)) {
		names = append(names, fmt.Sprintf("%s(%d)", path.Base(n), len(d.names[n])))
	}
	return names
}
