// Package hal speaks of wires: keys that are pressed and lamps that are lit.
//
// It holds what keys and lamps of every board have in common: debouncing, long and repeated presses, keys that are stuck or
// chatter, blinking, and which state is to be seen. All of that is pure and takes the time as an argument. It must not know
// what a key does, what a conference is, or which library reaches the hardware.
package hal

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Key is a key of the box.
type Key uint8

// The keys that a board may have.
const (
	KeyMute Key = iota
	KeyJoin
	KeyVolumeUp
	KeyVolumeDown
	KeyReset
	NumKeys = iota // how many there are
)

var keyNames = [NumKeys]string{"mute", "join", "volume-up", "volume-down", "reset"}

// String is the key's name, as boards and MQTT write it.
func (k Key) String() string { return nameOf(keyNames[:], int(k)) }

// Lamp is a lamp of the box.
type Lamp uint8

// The lamps that a board may have.
const (
	LampMute   Lamp   = iota // belongs to the gate alone
	LampStatus               // follows the ladder
	NumLamps   = iota        // how many there are
)

var lampNames = [NumLamps]string{"mute", "status"}

// String is the lamp's name, as boards write it.
func (l Lamp) String() string { return nameOf(lampNames[:], int(l)) }

// ErrUnknownName is a name that no key or lamp has.
var ErrUnknownName = errors.New("hal: unknown name")

// KeyByName is the key that a board calls so.
func KeyByName(name string) (Key, error) {
	for i, n := range keyNames {
		if n == name {
			return Key(i), nil
		}
	}
	return 0, fmt.Errorf("%w: key %q; there are %q", ErrUnknownName, name, keyNames)
}

// LampByName is the lamp that a board calls so.
func LampByName(name string) (Lamp, error) {
	for i, n := range lampNames {
		if n == name {
			return Lamp(i), nil
		}
	}
	return 0, fmt.Errorf("%w: lamp %q; there are %q", ErrUnknownName, name, lampNames)
}

func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown(%d)", i)
}

// Edge is a raw change of a key's level, bounces and all.
type Edge struct {
	Key  Key
	Down bool
	At   time.Time // monotonic
	// Initial: this is how the key was found at the start, not a change. A key that is down then is not being pressed: a
	// reset key with a broken spring must not reset the box at every start.
	Initial bool
}

// Keys is where edges come from.
type Keys interface {
	// Run sends every edge to edges until ctx ends or the keys are lost for good. It owns its goroutines and waits for
	// them; it does not close edges, and sends nothing after it has returned.
	Run(ctx context.Context, edges chan<- Edge) error
}

// Lamps is what lights.
type Lamps interface {
	// Light turns a lamp on or off at once. A lamp that the board does not have is no error. It is called from one
	// goroutine at a time.
	Light(lamp Lamp, on bool) error
}
