package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// disk is every change that this package makes to the file system. fault, if there is one, is asked before each and can
// forbid it: tests let the power fail there.
type disk struct {
	fault func(op, path string) error
}

func (d disk) before(op, path string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(op, path)
}

// open opens a file to write to; flags are added to os.O_WRONLY.
func (d disk) open(path string, flags int) (*os.File, error) {
	if flags&os.O_CREATE != 0 {
		if err := d.before("create", path); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_WRONLY|flags, 0o600)
}

func (d disk) writeAt(f *os.File, b []byte, at int64) error {
	if err := d.before("write", f.Name()); err != nil {
		return err
	}
	_, err := f.WriteAt(b, at)
	return err
}

func (d disk) sync(f *os.File) error {
	if err := d.before("sync", f.Name()); err != nil {
		return err
	}
	return f.Sync()
}

func (d disk) truncate(f *os.File, size int64) error {
	if err := d.before("truncate", f.Name()); err != nil {
		return err
	}
	return f.Truncate(size)
}

func (d disk) remove(path string) error {
	if err := d.before("remove", path); err != nil {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes what was created, renamed or removed in a folder last.
func (d disk) syncDir(dir string) error {
	if err := d.before("syncdir", dir); err != nil {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// makeDir makes dir below a parent that exists, and makes it last. One that is there already is fine.
func (d disk) makeDir(dir string) error {
	if err := d.before("mkdir", dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return d.syncDir(filepath.Dir(dir))
}

// newSuffix ends the name of what is written to take another file's place.
const newSuffix = ".new"

// replace puts data in the place of the file at path, whole: a crash leaves the old or the new.
func (d disk) replace(path string, data []byte) error {
	temp := path + newSuffix
	f, err := d.open(temp, os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	err = d.writeAt(f, data, 0)
	if err == nil {
		err = d.sync(f)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = d.rename(temp, path)
	}
	if err != nil {
		d.remove(temp)
		return err
	}
	return d.syncDir(filepath.Dir(path))
}

func (d disk) rename(from, to string) error {
	if err := d.before("rename", to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// removeDir removes a folder of plain files, those in last at the end.
func (d disk) removeDir(dir string, last string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != last {
			if err := d.remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := d.remove(filepath.Join(dir, last)); err != nil {
		return err
	}
	return d.remove(dir)
}
