package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// data is the box's folder: locked while the box runs, closed to everybody else.
//
//	lock      held by the running box; holds its PID
//	session   how often the box was started
//	messages/ what was written to conferences
//	files/    what was shared in them
//	recordings/
//	          a folder for each recording of a conference
//	outbox/   events that wait for the broker
//	journal/  conferences and calls as they are, for after a crash
//	identity/ the keys that the box enrols with and opens seals with, and what the enrolment gave; outlives a reset
//	provision/
//	          settings from outside: the good ones, those on trial, and what became of others
//	reset     a factory reset was asked for and is not done
//	stopped   written on a clean stop with the gate's state, removed at the start: when it is missing, the last run
//	          ended in a crash
type data struct {
	dir  string
	lock *os.File
}

// openData makes the folder if need be and locks it.
func openData(dir string) (*data, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w (setting `data`)", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return nil, fmt.Errorf("data folder must be ours alone: %w (setting `data`)", err)
		}
	}
	lock, err := openLock(dir)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w (setting `data`)", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := make([]byte, 20)
		n, _ := lock.Read(holder)
		lock.Close()
		return nil, fmt.Errorf("another parley (PID %s) runs on %s: stop it, or choose another folder with the setting `data`",
			strings.TrimSpace(string(holder[:n])), dir)
	}
	// Who reads the PID only wants to know whom to stop: a full disk must not keep the box from starting.
	if lock.Truncate(0) == nil {
		lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &data{dir: dir, lock: lock}, nil
}

// openLock opens what is locked: a file, or, where a disk that is read-only has none yet, the folder itself.
func openLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, syscall.EROFS) {
		if lock, err = os.Open(path); errors.Is(err, fs.ErrNotExist) {
			lock, err = os.Open(dir)
		}
	}
	return lock, err
}

func (d *data) close() { d.lock.Close() }

func (d *data) path(name string) string { return filepath.Join(d.dir, name) }

// begin counts the start and tells whether the place may start unmuted: only when the last run stopped in order with the
// gate open, or when there never was one. An error means that the count could not be kept; session and open hold all
// the same. A first run that leaves no trace could not be told from the next, so it may not.
func (d *data) begin() (session int, open bool, err error) {
	raw, err := os.ReadFile(d.path("session"))
	first := errors.Is(err, fs.ErrNotExist)
	session, _ = strconv.Atoi(strings.TrimSpace(string(raw)))
	session++
	stopped, _ := os.ReadFile(d.path("stopped"))
	switch strings.TrimSpace(string(stopped)) {
	case "open":
		open = true
	case "": // a run before whose count could not be written may have left the other word
		open = first
	}
	if err := os.Remove(d.path("stopped")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return session, false, err
	}
	if err := d.write("session", strconv.Itoa(session)+"\n"); err != nil {
		return session, open && !first, err
	}
	return session, open, nil
}

// end marks a clean stop.
func (d *data) end(open bool) error {
	if open {
		return d.write("stopped", "open\n")
	}
	return d.write("stopped", "closed\n")
}

// write replaces a file whole: after a power cut it holds the old content or the new.
func (d *data) write(name, content string) error {
	temp, err := os.CreateTemp(d.dir, name+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	if _, err = temp.WriteString(content); err == nil {
		err = temp.Sync()
	}
	if e := temp.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), d.path(name)); err != nil {
		return err
	}
	folder, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}
