// Package g711 is PCMU and PCMA (ITU-T G.711; RFC 3551, 4.5.14) as audio.Codec, by tables of its own.
//
// It knows companding and the concealment of what was lost; it must not know packets' headers, jitter or time.
package g711

import (
	"errors"
	"fmt"

	"parley/audio"
)

// ErrFormat: the wanted format is not this codec's.
var ErrFormat = errors.New("g711: not a format of this codec")

// ErrPacket: an empty packet.
var ErrPacket = errors.New("g711: empty packet")

// ErrLong: the packet's sound, or the PCM to be encoded, does not fit into what was given for it.
var ErrLong = errors.New("g711: longer than the buffer")

const rate = 8000

// law is one of the two compandings.
type law struct {
	name   string
	shift  int // of a 16-bit sample to the index of encode
	encode []byte
	decode *[256]int16
}

type codec struct{ law *law }

// PCMU is G.711 with µ-law, what North America and Japan speak. Digital silence is encoded as 0xFF.
func PCMU() audio.Codec { return codec{&muLaw} }

// PCMA is G.711 with A-law, what the rest of the world speaks. It has no zero: digital silence comes out as 8.
func PCMA() audio.Codec { return codec{&aLaw} }

func (c codec) Format() audio.Format {
	return audio.Format{Codec: c.law.name, SampleRate: rate, ClockRate: rate, Ptime: 20}
}

func (c codec) check(f audio.Format) error {
	want := c.Format()
	want.Ptime = f.Ptime
	if f != want || f.Ptime < 10 || f.Ptime > 60 || f.Ptime%10 != 0 {
		return fmt.Errorf("%w: %+v", ErrFormat, f)
	}
	return nil
}

func (c codec) NewEncoder(f audio.Format) (audio.Encoder, error) {
	if err := c.check(f); err != nil {
		return nil, err
	}
	return encoder{c.law}, nil
}

func (c codec) NewDecoder(f audio.Format) (audio.Decoder, error) {
	if err := c.check(f); err != nil {
		return nil, err
	}
	return &decoder{law: c.law, conceal: audio.NewConcealer(rate)}, nil
}

// encoder has no memory, so that one may follow another without a seam.
type encoder struct{ law *law }

func (e encoder) Encode(pcm []int16, packet []byte) (int, error) {
	if len(packet) < len(pcm) {
		return 0, ErrLong
	}
	table, shift := e.law.encode, e.law.shift
	for i, s := range pcm {
		packet[i] = table[uint16(s)>>shift]
	}
	return len(pcm), nil
}

func (encoder) Follow(audio.Encoder, []int16) {}

type decoder struct {
	law     *law
	conceal *audio.Concealer
}

func (d *decoder) Decode(packet []byte, pcm []int16) (int, error) {
	if len(packet) == 0 {
		return 0, ErrPacket
	}
	if len(packet) > len(pcm) {
		return 0, ErrLong
	}
	for i, b := range packet {
		pcm[i] = d.law.decode[b]
	}
	d.conceal.Good(pcm[:len(packet)])
	return len(packet), nil
}

func (d *decoder) Recover(_ []byte, pcm []int16) { d.conceal.Lost(pcm) }

func (d *decoder) Conceal(pcm []int16) { d.conceal.Lost(pcm) }
