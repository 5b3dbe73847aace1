// Package board is the facts of each board: which lines its keys and lamps are on, what its sound card, its watchdog and its
// storage are called. One small file per board, and the list. It must not know how a line is read or a disk is written.
//
// A board's other half is the folder of its name beside this file: what kernel, boot loader and image builder have to be told.
// docs/porting.md says how a board is added.
package board

import (
	"errors"
	"fmt"
	"strings"
)

// Pull is a key line's bias.
type Pull uint8

// The biases.
const (
	PullNone Pull = iota
	PullUp
	PullDown
)

// KeyLine is a key on a line of the board's chip.
type KeyLine struct {
	Key       string // "mute", "join", "volume-up", "volume-down", "reset"
	Line      int    // offset on the chip
	Pin       string // where it is to be found on the board: a header's pin
	ActiveLow bool   // pressed is low
	Pull      Pull
}

// LampLine is a lamp on a line of the board's chip.
type LampLine struct {
	Lamp      string // "mute", "status"
	Line      int
	Pin       string
	ActiveLow bool // lit is low
}

// Board is the facts of one board. Its slices belong to whoever asked for it.
type Board struct {
	Name     string // in the settings
	Title    string // for people
	Arch     string // which of the firmware's binaries: "armv7" or "arm64"; empty is any
	Terminal bool   // keys and lamps are on the terminal
	Chip     string // label of the GPIO chip; empty when there is none
	Keys     []KeyLine
	Lamps    []LampLine // one lamp, "status", shows mute as well
	Card     string     // sound card where the settings say "auto"; "auto" is whichever the machine has
	Watchdog string     // device of the watchdog; empty when there is none
	// Disk is the device that holds everything in Layout; empty on a board that is not flashed.
	Disk string
}

// Partition is a part of a flashed board's disk. It is found by its label in the partition table, never by its number.
type Partition struct {
	Label string
	What  string
}

// Layout is the partitions of every board that is flashed, in their order on the disk.
func Layout() []Partition {
	return []Partition{
		{"boot", "boot loader's files and device tree, FAT; never written by an update"},
		{"state", "which slot boots: two copies, raw"},
		{"kernel-a", "slot a: kernel, raw"},
		{"root-a", "slot a: root file system, squashfs, read-only"},
		{"kernel-b", "slot b: kernel, raw"},
		{"root-b", "slot b: root file system, squashfs, read-only"},
		{"data", "data folder, ext4; the only part that the box writes outside an update"},
	}
}

// ErrUnknown is a board that is not in the list.
var ErrUnknown = errors.New("unknown board")

// List is every board, the one for trying things out first.
func List() []Board {
	return []Board{desk(), qemuArm(), qemuArm64(), rpi4(), rpiZero2W(), orangePiPC()}
}

// Find is the board of that name.
func Find(name string) (Board, error) {
	var names []string
	for _, b := range List() {
		if b.Name == name {
			return b, nil
		}
		names = append(names, b.Name)
	}
	return Board{}, fmt.Errorf("%w %q; there are: %s", ErrUnknown, name, strings.Join(names, ", "))
}
