package journal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// FS is what the journal needs of a file system, so that a test can have it fail, tear, hang or lose its power.
type FS interface {
	// Open is os.OpenFile with mode 0600.
	Open(name string, flag int) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes what was renamed in a folder last.
	SyncDir(dir string) error
}

// File is one open file. Sync returns when everything that was written is on the disk (fdatasync).
type File interface {
	io.ReadWriteCloser
	Sync() error
}

type osFS struct{}

type osFile struct{ *os.File }

func (osFS) Open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f osFile) Sync() error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
