// Package update replaces the firmware of a box that nobody visits: it writes a signed image into the slot that does not run, has the boot
// loader try it once, and keeps it only if it proves healthy. At every moment, also when the power is cut, one slot boots.
//
// It knows disks, boot states and images. It must not know who ordered an update, how orders and reports travel, or what a call is.
package update

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Slot is one of the two places for a firmware.
type Slot string

// The slots. None is no slot: nothing is tried, or the machine has none.
const (
	A    Slot = "a"
	B    Slot = "b"
	None Slot = "-"
)

// Other is the slot that this one is not.
func (s Slot) Other() Slot {
	switch s {
	case A:
		return B
	case B:
		return A
	}
	return None
}

// ErrNoSlots: the machine does not have two slots for firmware.
var ErrNoSlots = errors.New("this machine has no slots for firmware")

// Device is a partition. Size is in bytes.
type Device interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Size() int64
}

// Disk finds the partitions of a machine by their labels, such as "state" or "kernel-a".
type Disk interface {
	// Open gives a partition for reading and writing; it fails if it is mounted. The caller closes it.
	Open(label string) (OpenDevice, error)
}

// OpenDevice is a Device that can be closed.
type OpenDevice interface {
	Device
	io.Closer
}

// stateLabel is the partition with the boot state.
const stateLabel = "state"

// label is the partition of a part of an image in a slot.
func label(part string, s Slot) string { return part + "-" + string(s) }

// Machine is the slots of the machine that this program runs on.
type Machine struct {
	Running Slot // what runs
	Disk    Disk
}

// slotParameter and its value stand on the kernel's command line; the boot loader's script writes them.
const slotParameter = "parley.slot="

// ThisMachine finds out which slot runs by the kernel's command line. The error wraps ErrNoSlots if it names none.
func ThisMachine() (*Machine, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoSlots, err)
	}
	slot := slotOf(string(line))
	if slot == None {
		return nil, ErrNoSlots
	}
	return &Machine{Running: slot, Disk: partitions{}}, nil
}

// slotOf is the slot that a kernel's command line names.
func slotOf(line string) Slot {
	for _, word := range strings.Fields(line) {
		if s, ok := strings.CutPrefix(word, slotParameter); ok && (Slot(s) == A || Slot(s) == B) {
			return Slot(s)
		}
	}
	return None
}

// InFolder is a machine whose partitions are files in a folder, and whose running slot stands in the file "running" there. It is for
// trying updates out where there are no slots. The error wraps ErrNoSlots if the folder is none of that kind.
func InFolder(dir string) (*Machine, error) {
	running, err := os.ReadFile(filepath.Join(dir, "running"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoSlots, err)
	}
	slot := Slot(strings.TrimSpace(string(running)))
	if slot != A && slot != B {
		return nil, fmt.Errorf("%w: %s does not name a slot", ErrNoSlots, filepath.Join(dir, "running"))
	}
	return &Machine{Running: slot, Disk: folder(dir)}, nil
}

// folder is a disk made of files.
type folder string

func (f folder) Open(label string) (OpenDevice, error) {
	return open(filepath.Join(string(f), label), os.O_RDWR)
}

// partitions are those of the machine, by the labels in its partition table.
type partitions struct{}

func (partitions) Open(label string) (OpenDevice, error) {
	found, _ := filepath.Glob("/sys/class/block/*/uevent")
	for _, path := range found {
		facts, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if name := partitionOf(string(facts), label); name != "" {
			// Exclusive: the kernel refuses what is mounted.
			return open("/dev/"+name, os.O_RDWR|os.O_EXCL)
		}
	}
	return nil, fmt.Errorf("%w: no partition is called %q", ErrNoSlots, label)
}

// partitionOf is the name of a device by what the kernel tells of it, if that is its label.
func partitionOf(facts, label string) (name string) {
	for _, line := range strings.Split(facts, "\n") {
		if v, ok := strings.CutPrefix(line, "DEVNAME="); ok {
			name = v
		}
	}
	if strings.Contains("\n"+facts+"\n", "\nPARTNAME="+label+"\n") {
		return name
	}
	return ""
}

// file is a partition as the operating system shows it.
type file struct {
	*os.File
	size int64
}

func open(path string, how int) (OpenDevice, error) {
	f, err := os.OpenFile(path, how, 0)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &file{f, size}, nil
}

func (f *file) Size() int64 { return f.size }

// State is what the boot loader goes by.
func (m *Machine) State() (State, error) {
	d, err := m.Disk.Open(stateLabel)
	if err != nil {
		return State{}, err
	}
	defer d.Close()
	return LoadState(d)
}
