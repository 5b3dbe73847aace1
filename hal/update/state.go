package update

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// State is what the boot loader goes by. It stands twice in the state partition, in the form of U-Boot's `env export -c`: a CRC-32 of all
// that follows it, then key=value texts, each ended by a zero byte, and zeros up to the end of the copy.
type State struct {
	Good Slot   // boots when nothing is tried
	Try  Slot   // is to be tried; None: nothing is
	Left int    // how often it may still be tried. The boot loader takes one off before each try
	Seq  uint32 // the copy with the higher one counts
}

// Where the copies are. They are so far apart that no block which a card erases at once holds both.
const (
	// CopySize is the length of a copy, in bytes.
	CopySize = 4096
	// CopyGap is how far the second copy lies behind the first, in bytes.
	CopyGap = 4 << 20
)

// maxLeft is the most tries that a state may promise; one digit reads the same in every base.
const maxLeft = 9

// ErrState: a copy of the boot state is not one.
var ErrState = errors.New("not a boot state")

// Encode gives the state as one copy of CopySize bytes.
func (s State) Encode() []byte {
	b := make([]byte, CopySize)
	// As the boot loader writes it: in the order of the alphabet, numbers in hexadecimal.
	copy(b[4:], fmt.Sprintf("good=%s\x00left=%d\x00seq=%x\x00try=%s\x00\x00", s.Good, s.Left, s.Seq, s.Try))
	return seal(b)
}

// seal puts the checksum in front of a copy.
func seal(b []byte) []byte {
	binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
	return b
}

// ParseState reads a copy. Keys that it does not know are passed over. Errors wrap ErrState.
func ParseState(b []byte) (State, error) {
	var s State
	if len(b) != CopySize || binary.LittleEndian.Uint32(b) != crc32.ChecksumIEEE(b[4:]) {
		return s, fmt.Errorf("%w: the checksum is wrong", ErrState)
	}
	text, _, ok := bytes.Cut(b[4:], []byte{0, 0})
	if !ok {
		return s, fmt.Errorf("%w: it has no end", ErrState)
	}
	values := map[string]string{}
	for _, line := range strings.Split(string(text), "\x00") {
		key, value, _ := strings.Cut(line, "=")
		values[key] = value
	}
	s.Good, s.Try = Slot(values["good"]), Slot(values["try"])
	left, errLeft := strconv.ParseUint(values["left"], 10, 8)
	seq, errSeq := strconv.ParseUint(values["seq"], 16, 32)
	s.Left, s.Seq = int(left), uint32(seq)
	switch {
	case s.Good != A && s.Good != B:
		return State{}, fmt.Errorf("%w: good is %.16q", ErrState, s.Good)
	case s.Try != A && s.Try != B && s.Try != None:
		return State{}, fmt.Errorf("%w: try is %.16q", ErrState, s.Try)
	case errLeft != nil || left > maxLeft:
		return State{}, fmt.Errorf("%w: left is %.16q", ErrState, values["left"])
	case errSeq != nil:
		return State{}, fmt.Errorf("%w: seq is %.16q", ErrState, values["seq"])
	}
	return s, nil
}

// LoadState reads the copy that counts. A partition in which none is right, as it comes from the factory, says that slot a is good; the
// boot loader takes it so, too. Errors are those of reading.
func LoadState(d Device) (State, error) {
	s, _, err := loadState(d)
	return s, err
}

// loadState also tells which copy is to be written next: never the one that counts.
func loadState(d Device) (s State, next int64, err error) {
	best := State{Good: A, Try: None}
	found := false
	var failed error
	for _, at := range [2]int64{0, CopyGap} {
		b := make([]byte, CopySize)
		if _, err := d.ReadAt(b, at); err != nil {
			failed = err
			continue
		}
		s, err := ParseState(b)
		if err == nil && (!found || s.Seq > best.Seq) {
			best, found, next = s, true, CopyGap-at
		}
	}
	if !found && failed != nil {
		return State{}, 0, failed
	}
	return best, next, nil
}

// SaveState writes a state in place of the older copy and reads it back. Seq is counted on by itself. After an error the state that counts
// is the old or the new one.
func SaveState(d Device, s State) error {
	old, at, err := loadState(d)
	if err != nil {
		return err
	}
	s.Seq = old.Seq + 1
	if _, err := ParseState(s.Encode()); err != nil {
		return err
	}
	if _, err := d.WriteAt(s.Encode(), at); err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return err
	}
	forget(d)
	now, _, err := loadState(d)
	if err == nil && now != s {
		err = fmt.Errorf("%w: it is not what was written", ErrState)
	}
	return err
}

// Choice is what the boot loader does with a state.
type Choice struct {
	Slot Slot   // boots
	Save *State // is written first; if that fails, State.Good boots. nil: nothing is written
}

// Choose is the decision of the boot loader's script (buildroot/board/parley/boot.cmd), so that it can be tested against every state.
func (s State) Choose() Choice {
	if s.Try != None && s.Try != s.Good && s.Left > 0 {
		counted := s
		counted.Left, counted.Seq = s.Left-1, s.Seq+1
		return Choice{Slot: s.Try, Save: &counted}
	}
	return Choice{Slot: s.Good}
}
