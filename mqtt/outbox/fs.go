package outbox

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// FS is what the outbox needs of a file system, so that a test can have it fail or hang.
type FS interface {
	// Open is os.OpenFile with mode 0600.
	Open(name string, flag int) (File, error)
	Remove(name string) error
	// List gives the names in a folder.
	List(dir string) ([]string, error)
	// SyncDir makes files that were made in a folder last.
	SyncDir(dir string) error
}

// File is one open file. Sync returns when everything that was written is on the disk (fdatasync).
type File interface {
	io.ReaderAt
	io.WriteCloser
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

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
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
