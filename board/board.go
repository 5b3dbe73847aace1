// Package board is the facts of each board: which lines its keys and lamps are on, and what its sound card is called. One
// small file per board, and the list. It must not know how a line is read.
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
	ActiveLow bool   // pressed is low
	Pull      Pull
}

// LampLine is a lamp on a line of the board's chip.
type LampLine struct {
	Lamp      string // "mute", "status"
	Line      int
	ActiveLow bool // lit is low
}

// Board is the facts of one board. Its slices belong to whoever asked for it.
type Board struct {
	Name     string // in the settings
	Title    string // for people
	Terminal bool   // keys and lamps are on the terminal
	Chip     string // label of the GPIO chip; empty when there is none
	Keys     []KeyLine
	Lamps    []LampLine // one lamp, "status", shows mute as well
	Card     string     // sound card where the settings say "auto"; "auto" is whichever the machine has
}

// ErrUnknown is a board that is not in the list.
var ErrUnknown = errors.New("unknown board")

// List is every board, the one for trying things out first.
func List() []Board { return []Board{desk(), rpi4()} }

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
