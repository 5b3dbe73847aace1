package prompt

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrPack: the built-in prompts are not what `make prompts` writes.
var ErrPack = errors.New("prompt: malformed pack")

// builtin is the pack that texts.txt was made into.
//
//go:embed prompts.bin
var builtin []byte

// magic begins a pack. What follows it:
//
//	32 bytes   SHA-256 of what the pack was made of
//	entries up to the end, each
//	  byte, language    its length and itself
//	  byte, name        likewise
//	  2 bytes           samples of sound at 48 kHz, in units of 48 (ms), big-endian
//	  2 bytes           packets, big-endian
//	  byte, gain        by how many 64ths the decoded sound is to be multiplied
//	  packets           each one byte of length and as many of Opus
const magic = "parley prompts 1"

// lead is what an Opus decoder gives before the sound, in samples at 48 kHz: the encoder's look-ahead.
const lead = 312

// maxMillis is the longest prompt, built in or of a file, ms.
const maxMillis = 30000

// unity is the gain that changes nothing.
const unity = 64

// packed is one prompt as it stands in a pack.
type packed struct {
	millis  int
	gain    int    // in units of 1/unity
	packets []byte // each with its length before it; part of the pack
}

// pack is the index of a pack: language, then name.
type pack map[string]map[string]packed

// readPack indexes a pack without copying it, and tells what it was made of.
func readPack(b []byte) (p pack, made [sha256.Size]byte, err error) {
	if len(b) < len(magic)+len(made) || string(b[:len(magic)]) != magic {
		return nil, made, fmt.Errorf("%w: header", ErrPack)
	}
	b = b[len(magic):]
	b = b[copy(made[:], b):]
	p = pack{}
	for len(b) > 0 {
		var language, name []byte
		var ok1, ok2 bool
		language, b, ok1 = cut(b)
		name, b, ok2 = cut(b)
		if !ok1 || !ok2 || len(language) == 0 || len(name) == 0 || len(b) < 5 {
			return nil, made, fmt.Errorf("%w: entry", ErrPack)
		}
		e := packed{millis: int(binary.BigEndian.Uint16(b))}
		count := int(binary.BigEndian.Uint16(b[2:]))
		e.gain, b = int(b[4]), b[5:]
		rest := b
		for range count {
			var ok bool
			if _, rest, ok = cut(rest); !ok {
				return nil, made, fmt.Errorf("%w: %s is cut off", ErrPack, name)
			}
		}
		e.packets, b = b[:len(b)-len(rest)], rest
		if e.millis > maxMillis {
			return nil, made, fmt.Errorf("%w: %s is too long", ErrPack, name)
		}
		if p[string(language)] == nil {
			p[string(language)] = map[string]packed{}
		}
		p[string(language)][string(name)] = e
	}
	return p, made, nil
}

// cut takes a length of one byte and as many bytes.
func cut(b []byte) (piece, rest []byte, ok bool) {
	if len(b) == 0 || len(b)-1 < int(b[0]) {
		return nil, b, false
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], true
}
