package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"parley/hal"
	"parley/mqtt/wire"
)

// A factory reset, whoever asks for it:
//
//	reset key, held │ command │ `parley reset` ─► marker in the data folder, synced ─► the box begins anew
//	─► finishReset, before anything else reads the folder: all is removed, then the marker
//
// Wherever the power goes in between, the next start finds the marker, and does the rest.

// resetMarker is the marker's name. It is empty, so that it finds room on a full disk.
const resetMarker = "reset"

// outlives a reset: what the box is for the others (an operator lets nobody else enrol under its name), the numbers and the time by
// which they and it tell old from new (in provision/notes, of settings from outside), how far the machine is with its firmware, and the lock.
var outlives = []string{"lock", "identity", "session", "clock", recordFile, resetMarker, "provision", "provision/notes"}

// markReset asks for a reset at the next start. When it returns nil, that outlives a power cut.
func markReset(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, resetMarker), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close(), syncFolder(dir))
	}
	if err != nil {
		return fmt.Errorf("the reset cannot be noted: %w", err)
	}
	return nil
}

// marked tells whether a reset was asked for and is not done yet.
func marked(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, resetMarker))
	return err == nil
}

// finishReset does what was asked for before, and tells whether there was anything to do. It is called before anything in the folder
// is read. With an error some of it may still be there, and the next start tries again.
func finishReset(dir string) (did bool, err error) {
	if !marked(dir) {
		return false, nil
	}
	d, err := openData(dir) // somebody who runs on it does it at his own next start
	if err != nil {
		return false, err
	}
	defer d.close()
	return true, wipe(dir, eraser{os.RemoveAll, syncDisk})
}

// eraser is what a reset does to a disk.
type eraser struct {
	remove func(path string) error
	sync   func(dir string) error
}

// wipe removes everything that does not outlive a reset, and the marker only when all of that is certain.
func wipe(dir string, on eraser) error {
	var failed []error
	for _, folder := range []string{"", "provision"} {
		entries, err := os.ReadDir(filepath.Join(dir, folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
		for _, e := range entries {
			name := filepath.Join(folder, e.Name())
			if slices.Contains(outlives, name) {
				continue
			}
			// Where another disk is mounted the folder stays, empty.
			if err := on.remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, unix.EBUSY) {
				failed = append(failed, err)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "provision")); err == nil {
		failed = append(failed, on.sync(filepath.Join(dir, "provision")))
	}
	if err := errors.Join(append(failed, on.sync(dir))...); err != nil {
		return err
	}
	return errors.Join(on.remove(filepath.Join(dir, resetMarker)), on.sync(dir))
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// syncDisk waits until all that was done on the folder's disk is on it.
func syncDisk(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// reset makes the box what it was when it left the factory: notes it, and has the box begin anew. It belongs to the house's goroutine.
func (b *box) reset(by string) error {
	err := markReset(b.data.dir)
	b.house.fault(resetMarker, err != nil, fmt.Sprint(err))
	if err != nil {
		b.log.Error("no factory reset", "by", by, "error", err)
		return err
	}
	b.log.Warn("factory reset", "by", by)
	b.again("factory reset")
	return nil
}

// The reset key: the lamp tells that it is being held, whoever lets it go has done nothing, and whoever holds it on resets the box.

func (k *keys) resetHeld(hal.Event) { k.lamps.hold(hal.States(0).With(hal.StateResetting), false) }
func (k *keys) resetUp(hal.Event)   { k.lamps.hold(0, false) }

func (k *keys) resetLong(hal.Event) {
	k.lamps.hold(hal.States(0).With(hal.StateReset), true)
	k.house.post(func() {
		if k.house.reset("the reset key") != nil {
			k.lamps.hold(0, true)
		}
	})
}

// orderReset answers before the box goes: afterwards it does not know the command any more.
func orderReset(h *house, v wire.Verdict, s settle) {
	if err := h.reset("command, key " + v.KeyID); err != nil {
		reason := wire.ReasonUnavailable
		if errors.Is(err, unix.ENOSPC) {
			reason = wire.ReasonStorageFull
		}
		s(wire.Answer{Status: wire.Failed, Reason: reason, Detail: "the disk takes no note of it"})
		return
	}
	s(wire.Answer{Status: wire.Accepted})
}

// cmdReset is `parley reset -data FOLDER`.
func cmdReset(args []string, out io.Writer) error {
	if len(args) != 2 || args[0] != "-data" && args[0] != "--data" {
		fmt.Fprintln(os.Stderr, "usage: parley reset -data FOLDER\n\nremoves everything in a box's data folder but its identity: settings, keys, conferences, messages, recordings.\n"+
			"A box that runs on it is stopped.")
		return errUsage
	}
	dir := args[1]
	if info, err := os.Stat(filepath.Join(dir, "session")); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no box's data folder: it has no file `session`", dir)
	}
	if err := markReset(dir); err != nil {
		return err
	}
	if err := stopHolder(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if did, err := finishReset(dir); err != nil {
		return fmt.Errorf("%w\nthe rest is done when the box starts next", err)
	} else if !did {
		fmt.Fprintln(out, "the box has started again and done it by itself")
		return nil
	}
	fmt.Fprintln(out, "everything but the box's identity is gone")
	return nil
}

// stopHolder ends the box that runs on a folder, if one does. A supervisor may start it at once, and then it has done what was asked for.
func stopHolder(dir string) error {
	lock, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	told := false
	for end := time.Now().Add(holderPatience); marked(dir); time.Sleep(holderPatience / 600) {
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			return nil
		}
		var pid int
		if _, err := fmt.Fscan(lock, &pid); err == nil && pid > 1 && !told {
			told = true
			if err := unix.Kill(pid, unix.SIGTERM); err != nil {
				return fmt.Errorf("the box runs, and cannot be stopped: %w; the reset is done at its next start", err)
			}
		}
		if time.Now().After(end) {
			return errors.New("the box runs and does not end; the reset is done at its next start")
		}
	}
	return nil
}

// holderPatience is how long a box may take to end its calls.
const holderPatience = 30 * time.Second
