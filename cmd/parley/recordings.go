package main

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"parley/audio/record"
	"parley/web"
)

// recordings are the library's recordings as they are asked for over HTTP.
type recordings struct{ library *record.Library }

// List implements web.Recordings.
func (r recordings) List() ([]web.Recording, error) {
	infos, err := r.library.List()
	list := make([]web.Recording, 0, len(infos))
	for _, i := range infos {
		list = append(list, recordingOf(i))
	}
	return list, err
}

func recordingOf(i record.Info) web.Recording {
	return web.Recording{
		ID: i.ID, Number: i.Number, UID: i.UID, Theme: i.Theme, Started: i.Started, Ended: i.Ended, Seconds: i.Length.Seconds(),
		Bytes: i.Bytes, Speaker: i.Speaker, Of: i.Of, Running: i.Running, Broken: i.Broken, Head: i.Head,
	}
}

// Open implements web.Recordings. A recording that has no sound, or none that can be read, can be opened all the same, since
// it has an index and may be deleted: reading it gives the reason.
func (r recordings) Open(id string) (io.ReadSeeker, web.Recording, error) {
	s, err := r.library.Open(id)
	if err == nil {
		return s, recordingOf(s.Info), nil
	}
	info, e := r.library.Info(id)
	if e != nil {
		return nil, web.Recording{}, asked(e)
	}
	return unreadable{asked(err)}, recordingOf(info), nil
}

type unreadable struct{ err error }

func (u unreadable) Read([]byte) (int, error)       { return 0, u.err }
func (u unreadable) Seek(int64, int) (int64, error) { return 0, u.err }

// Delete implements web.Recordings.
func (r recordings) Delete(id string) error { return asked(r.library.Delete(id)) }

// index is what is written down about a recording.
func (r recordings) index(id string) (any, error) {
	lines, err := r.library.Index(id)
	return lines, asked(err)
}

// asked is an error of the library in the words of the API.
func asked(err error) error {
	switch {
	case errors.Is(err, record.ErrNotFound), errors.Is(err, record.ErrID):
		return web.ErrNotFound
	case errors.Is(err, record.ErrRunning):
		return fmt.Errorf("%w: %w", web.ErrConflict, err)
	}
	return err
}

// freeSpace is how much may still be written to the disk of a folder, bytes.
func freeSpace(folder string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}
