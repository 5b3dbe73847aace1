// Package g722 is G.722 at 64 kbit/s (ITU-T G.722; RFC 3551, 4.5.2) as audio.Codec: 16 kHz PCM under an RTP clock of 8000.
//
// It knows packets and PCM; it must not know RTP, jitter or time.
package g722

import (
	"errors"
	"fmt"

	"parley/audio"
)

var (
	// ErrFormat: the wanted format is not this codec's.
	ErrFormat = errors.New("g722: not a format of this codec")
	// ErrPacket: an empty packet.
	ErrPacket = errors.New("g722: empty packet")
	// ErrLong: the packet's sound, or the PCM to be encoded, does not fit into what was given for it.
	ErrLong = errors.New("g722: longer than the buffer")
)

const rate = 16000

type codec struct{}

// New makes the codec.
func New() audio.Codec { return codec{} }

func (codec) Format() audio.Format {
	return audio.Format{Codec: "G722", SampleRate: rate, ClockRate: 8000, Ptime: 20}
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
	return &encoder{newState()}, nil
}

func (c codec) NewDecoder(f audio.Format) (audio.Decoder, error) {
	if err := c.check(f); err != nil {
		return nil, err
	}
	return &decoder{state: newState(), conceal: audio.NewConcealer(rate)}, nil
}

type encoder struct{ state }

// Encode takes an even number of samples: two make one byte.
func (e *encoder) Encode(pcm []int16, packet []byte) (int, error) {
	n := len(pcm) / 2
	if len(pcm)%2 != 0 || len(packet) < n {
		return 0, ErrLong
	}
	for i := range n {
		packet[i] = e.encode(pcm[2*i], pcm[2*i+1])
	}
	return n, nil
}

// Follow copies the state of prev, so that the next packet is the one that prev would have made.
func (e *encoder) Follow(prev audio.Encoder, _ []int16) {
	if p, ok := prev.(*encoder); ok {
		e.state = p.state
	}
}

type decoder struct {
	state
	conceal *audio.Concealer
}

func (d *decoder) Decode(packet []byte, pcm []int16) (int, error) {
	if len(packet) == 0 {
		return 0, ErrPacket
	}
	if 2*len(packet) > len(pcm) {
		return 0, ErrLong
	}
	for i, code := range packet {
		pcm[2*i], pcm[2*i+1] = d.decode(code)
	}
	d.conceal.Good(pcm[:2*len(packet)])
	return 2 * len(packet), nil
}

func (d *decoder) Recover(_ []byte, pcm []int16) { d.Conceal(pcm) }

func (d *decoder) Conceal(pcm []int16) { d.conceal.Lost(pcm) }
