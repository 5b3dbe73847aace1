// Package journaltest has a disk in memory that fails, tears, hangs and loses its power where a test wants it to.
package journaltest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"

	"parley/conference/journal"
)

// Op is what is asked of the disk.
type Op string

// The operations that a hook sees.
const (
	Open    Op = "open"
	Write   Op = "write"
	Sync    Op = "sync"
	Rename  Op = "rename"
	Remove  Op = "remove"
	SyncDir Op = "syncdir"
)

// Disk is a journal.FS. It tells what was written from what is safe: a power cut (Crash) keeps the one and may lose, tear or
// keep the other.
type Disk struct {
	// Hook, if set before the disk is used, is asked before each operation. It may block, for a disk that hangs. Its error is the
	// operation's: of a write, half is done then; what a failed sync should have made safe is lost even if a later one succeeds.
	Hook func(op Op, name string) error

	mu      sync.Mutex
	names   map[string]*inode
	safe    map[string]*inode // the names as they are on the disk for certain
	changes []map[string]*inode
}

type inode struct {
	data   []byte
	synced int   // so much of data is safe
	lost   []int // from, to: what a failed sync has lost
}

// NewDisk makes an empty disk.
func NewDisk() *Disk { return &Disk{names: map[string]*inode{}, safe: map[string]*inode{}} }

// Crash is the disk as it is found after a power cut. pick(n) gives a number from 0 to n-1.
func (d *Disk) Crash(pick func(n int) int) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := d.safe
	if n := pick(len(d.changes) + 1); n > 0 {
		names = d.changes[n-1]
	}
	after := NewDisk()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f := names[name]
		end := f.synced + pick(len(f.data)-f.synced+1)
		data := slices.Clone(f.data[:end])
		if end > f.synced && pick(3) == 0 { // a block that was not written before one that was
			data[f.synced+pick(end-f.synced)] ^= 0x55
		}
		f.lose(data)
		after.names[name] = &inode{data: data, synced: len(data)}
	}
	after.safe = maps.Clone(after.names)
	return after
}

func (f *inode) lose(data []byte) {
	for i := 0; i < len(f.lost); i += 2 {
		from, to := min(f.lost[i], len(data)), min(f.lost[i+1], len(data))
		clear(data[from:to])
	}
}

// Bytes are those of a file, nil if there is none.
func (d *Disk) Bytes(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.names[name]; f != nil {
		return slices.Clone(f.data)
	}
	return nil
}

// SetBytes puts a file there, safely.
func (d *Disk) SetBytes(name string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &inode{data: slices.Clone(data), synced: len(data)}
	d.names[name], d.safe[name] = f, f
}

func (d *Disk) ask(op Op, name string) error {
	if d.Hook == nil {
		return nil
	}
	if err := d.Hook(op, name); err != nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	return nil
}

// renamed notes the names as they are now, which are not safe yet. The lock is held.
func (d *Disk) renamed() { d.changes = append(d.changes, maps.Clone(d.names)) }

// Open opens for appending or for reading.
func (d *Disk) Open(name string, flag int) (journal.File, error) {
	if err := d.ask(Open, name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.names[name]
	switch {
	case f == nil && flag&os.O_CREATE == 0:
		return nil, os.ErrNotExist
	case f == nil || flag&os.O_TRUNC != 0:
		f = &inode{}
		d.names[name] = f
		d.renamed()
	}
	return &file{disk: d, name: name, inode: f}, nil
}

// Rename is not safe before SyncDir.
func (d *Disk) Rename(from, to string) error {
	if err := d.ask(Rename, from); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.names[from]
	if f == nil {
		return os.ErrNotExist
	}
	d.names[to] = f
	delete(d.names, from)
	d.renamed()
	return nil
}

// Remove is not safe before SyncDir.
func (d *Disk) Remove(name string) error {
	if err := d.ask(Remove, name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] == nil {
		return os.ErrNotExist
	}
	delete(d.names, name)
	d.renamed()
	return nil
}

// SyncDir makes all names safe.
func (d *Disk) SyncDir(dir string) error {
	if err := d.ask(SyncDir, dir); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.safe, d.changes = maps.Clone(d.names), nil
	return nil
}

type file struct {
	disk  *Disk
	name  string
	inode *inode
	at    int // of Read
}

func (f *file) Read(b []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.at >= len(f.inode.data) {
		return 0, io.EOF
	}
	n := copy(b, f.inode.data[f.at:])
	f.at += n
	return n, nil
}

func (f *file) Write(b []byte) (int, error) {
	err := f.disk.ask(Write, f.now())
	if err != nil {
		b = b[:len(b)/2]
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.inode.data = append(f.inode.data, b...)
	return len(b), err
}

func (f *file) Sync() error {
	err := f.disk.ask(Sync, f.now())
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err != nil {
		f.inode.lost = append(f.inode.lost, f.inode.synced, len(f.inode.data))
		return err
	}
	f.inode.synced = len(f.inode.data)
	return nil
}

// now is the file's name after what was renamed.
func (f *file) now() string {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	for name, inode := range f.disk.names {
		if inode == f.inode {
			return name
		}
	}
	return f.name
}

func (f *file) Close() error { return nil }

// ErrNoPower is for a hook: the disk has gone.
var ErrNoPower = errors.New("no power")
