package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// One message on disk, little endian:
//
//	4  length of what follows the checksum
//	4  CRC-32C of the same
//	8  sequence number    8  time, Unix nanoseconds    1  flags    1  kind    1  length of id    1  length of from
//	   id    from    body
const (
	frameHead = 8
	bodyHead  = 20
	flagTrue  = 1 // the sender is verified

	// MaxMessage bounds a message's body, in bytes.
	MaxMessage = 64 << 10
	maxID      = 128 // bytes of a message's id
	maxFrom    = 65  // bytes of a sender
	maxFrame   = bodyHead + maxID + maxFrom + MaxMessage
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Entry is one message of a conference.
type Entry struct {
	Seq      uint64    // given by Append, from 1 on, without a gap within what is kept
	ID       string    // the sender's: up to 128 bytes; empty: doubles are not known
	From     string    // up to 65 bytes
	At       time.Time // to the nanosecond, in UTC when it comes back
	Kind     byte
	Body     []byte // up to MaxMessage
	Verified bool   // From is proved
}

func (e *Entry) check() error {
	switch {
	case len(e.Body) > MaxMessage:
		return fmt.Errorf("message of %d bytes: %w", len(e.Body), ErrTooLarge)
	case len(e.ID) > maxID || len(e.From) > maxFrom:
		return fmt.Errorf("message's id or sender: %w", ErrInvalid)
	}
	return nil
}

func (e *Entry) frameSize() int { return frameHead + bodyHead + len(e.ID) + len(e.From) + len(e.Body) }

// appendFrame adds e to b. e has been checked.
func appendFrame(b []byte, e *Entry) []byte {
	start := len(b)
	b = append(b, make([]byte, frameHead)...)
	b = binary.LittleEndian.AppendUint64(b, e.Seq)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.At.UnixNano()))
	var flags byte
	if e.Verified {
		flags = flagTrue
	}
	b = append(b, flags, e.Kind, byte(len(e.ID)), byte(len(e.From)))
	b = append(append(append(b, e.ID...), e.From...), e.Body...)
	payload := b[start+frameHead:]
	binary.LittleEndian.PutUint32(b[start:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[start+4:], crc32.Checksum(payload, castagnoli))
	return b
}

// nextFrame reads the frame at the start of b and says how long it is; ErrDamaged if there is none that is whole. The body is
// a part of b.
func nextFrame(b []byte) (e Entry, size int, err error) {
	if len(b) < frameHead {
		return Entry{}, 0, fmt.Errorf("%d bytes: %w", len(b), ErrDamaged)
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n < bodyHead || n > maxFrame || n > int64(len(b)-frameHead) {
		return Entry{}, 0, fmt.Errorf("frame of %d bytes: %w", n, ErrDamaged)
	}
	p := b[frameHead : frameHead+n]
	if crc32.Checksum(p, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return Entry{}, 0, fmt.Errorf("checksum: %w", ErrDamaged)
	}
	id, from := int(p[18]), int(p[19])
	if bodyHead+id+from > len(p) {
		return Entry{}, 0, fmt.Errorf("id or sender: %w", ErrDamaged)
	}
	rest := p[bodyHead:]
	e = Entry{
		Seq:      binary.LittleEndian.Uint64(p),
		At:       time.Unix(0, int64(binary.LittleEndian.Uint64(p[8:]))).UTC(),
		Verified: p[16]&flagTrue != 0,
		Kind:     p[17],
		ID:       string(rest[:id]),
		From:     string(rest[id : id+from]),
		Body:     rest[id+from:],
	}
	return e, frameHead + int(n), nil
}
