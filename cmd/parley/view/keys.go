package view

import (
	"time"

	"parley/hal"
)

// command is what a byte of the keyboard asks for.
type command uint8

const (
	nothing command = iota
	press           // a key of the box
	toggleHelp
	quit
)

// keyboard gives each byte its meaning.
var keyboard = map[byte]struct {
	command command
	key     hal.Key
}{
	'm': {press, hal.KeyMute}, 'M': {press, hal.KeyMute}, ' ': {press, hal.KeyMute},
	'j': {press, hal.KeyJoin}, 'J': {press, hal.KeyJoin},
	'+': {press, hal.KeyVolumeUp}, '=': {press, hal.KeyVolumeUp},
	'-': {press, hal.KeyVolumeDown}, '_': {press, hal.KeyVolumeDown},
	'R': {press, hal.KeyReset},
	'?': {command: toggleHelp}, 'h': {command: toggleHelp},
	'q': {command: quit}, 'Q': {command: quit}, 3: {command: quit}, 4: {command: quit}, // Ctrl-C, Ctrl-D
}

// decoder finds the commands in what the terminal sends, and passes over escape sequences: an arrow key must not press
// anything.
type decoder struct{ state uint8 }

const (
	ground   uint8 = iota
	escaped        // after ESC
	sequence       // inside a control sequence
)

// chunk gives do every command in one read's bytes.
func (d *decoder) chunk(bytes []byte, do func(command, hal.Key)) {
	if d.state == escaped {
		d.state = ground // the escape key alone, long ago
	}
	for _, b := range bytes {
		switch {
		case b == 0x1b:
			d.state = escaped
		case d.state == escaped && (b == '[' || b == 'O'):
			d.state = sequence
		case d.state == escaped:
			d.state = ground // Alt and a key
		case d.state == sequence:
			if b >= 0x40 && b <= 0x7e || b < ' ' {
				d.state = ground
			}
		default:
			if k := keyboard[b]; k.command != nothing {
				do(k.command, k.key)
			}
		}
	}
}

// fingers makes presses of bytes: a terminal tells that a key went down, never that it came up.
type fingers struct {
	hold, gap time.Duration // down for so long; the next byte within gap is the keyboard's own repetition
	keys      [hal.NumKeys]finger
}

type finger struct {
	down       bool
	since, hit time.Time // of the press; of the latest byte
}

// keyboardRepeat is longer than the pause between the bytes of a key that is held, on a Linux console 92 ms.
const keyboardRepeat = 95 * time.Millisecond

// resetLasts is longer than a keyboard waits before it begins to repeat a key that is held: the reset key, which does nothing unless it is
// held for long, is down until no byte has come for this time.
const resetLasts = time.Second

// newFingers presses long enough for keys with this debounce.
func newFingers(debounce time.Duration) *fingers {
	hold := debounce + 20*time.Millisecond
	return &fingers{hold: hold, gap: hold + debounce + 10*time.Millisecond}
}

// hit is a byte for key; it tells whether that is a new press.
func (f *fingers) hit(key hal.Key, now time.Time) bool {
	k := &f.keys[key]
	gap := f.gap
	if key == hal.KeyMute || key == hal.KeyJoin { // holding them is one press; holding volume goes on and on
		gap = max(gap, keyboardRepeat)
		defer func() { k.hit = now }()
	}
	if key == hal.KeyReset && k.down {
		k.since = now
		return false
	}
	if k.down || !k.hit.IsZero() && now.Sub(k.hit) < gap {
		return false
	}
	k.down, k.since, k.hit = true, now, now
	return true
}

// lift gives up every key that has been held long enough, and answers when to call again.
func (f *fingers) lift(now time.Time, up func(hal.Key)) (wait time.Duration) {
	wait = time.Hour
	for i := range f.keys {
		k := &f.keys[i]
		if !k.down {
			continue
		}
		hold := f.hold
		if hal.Key(i) == hal.KeyReset {
			hold = resetLasts
		}
		if left := hold - now.Sub(k.since); left > 0 {
			wait = min(wait, left)
			continue
		}
		k.down = false
		up(hal.Key(i))
	}
	return wait
}
