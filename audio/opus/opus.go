// Package opus is the Opus codec (RFC 6716, RFC 7587) as audio.Codec, 48 kHz mono, through libopus.
//
// It knows packets and PCM; it must not know RTP, SDP's grammar, jitter or time.
package opus

import (
	"errors"
	"fmt"
	"reflect"

	"parley/audio"

	lib "github.com/hraban/opus"
)

var (
	// ErrFormat: the wanted format is not Opus, or its parameters are none that Canonical makes.
	ErrFormat = errors.New("opus: not a format of this codec")
	// ErrPacket: the packet is not Opus.
	ErrPacket = errors.New("opus: malformed packet")
	// ErrLong: the packet's sound does not fit into the PCM given, or the PCM to be encoded is no legal packet.
	ErrLong = errors.New("opus: wrong length of PCM")
)

// Options are the encoder's settings; zero values mean the default.
type Options struct {
	Complexity int // 1 … 10; default 5
	Bitrate    int // bit/s; default 32000
	// Loss is the expected packet loss in percent that the in-band error correction is made for. Above 5 the encoder leaves
	// CELT for SILK, whose packets carry a copy of the one before; at 0 the correction costs nothing and helps nothing.
	Loss int
}

const (
	defaultComplexity = 5
	defaultBitrate    = 32000
)

type codec struct{ o Options }

// New makes the codec with o for its encoders.
func New(o Options) audio.Codec {
	if o.Complexity == 0 {
		o.Complexity = defaultComplexity
	}
	if o.Bitrate == 0 {
		o.Bitrate = defaultBitrate
	}
	return codec{o}
}

func (c codec) Format() audio.Format {
	return audio.Format{Codec: "opus", SampleRate: rate, ClockRate: rate, Ptime: 20}
}

func (c codec) check(f audio.Format) (tuning, error) {
	want := c.Format()
	want.Ptime, want.Fmtp = f.Ptime, f.Fmtp
	t, ok := tunings(f.Fmtp)
	if f != want || !ok || f.Ptime < 10 || f.Ptime > 60 || f.Ptime%10 != 0 {
		return t, fmt.Errorf("%w: %+v", ErrFormat, f)
	}
	return t, nil
}

func (c codec) NewEncoder(f audio.Format) (audio.Encoder, error) {
	t, err := c.check(f)
	if err != nil {
		return nil, err
	}
	e, err := lib.NewEncoder(rate, 1, lib.AppAudio)
	if err != nil {
		return nil, fmt.Errorf("opus: encoder: %w", err)
	}
	bitrate := c.o.Bitrate
	if t.bitrate > 0 {
		bitrate = min(bitrate, t.bitrate)
	}
	err = errors.Join(e.SetComplexity(c.o.Complexity), e.SetBitrate(bitrate), e.SetInBandFEC(t.fec),
		e.SetPacketLossPerc(c.o.Loss), e.SetMaxBandwidth(t.bandwidth), e.SetDTX(false))
	if err != nil {
		return nil, fmt.Errorf("opus: encoder settings: %w", err)
	}
	return &encoder{lib: e, state: stateOf(e)}, nil
}

func (c codec) NewDecoder(f audio.Format) (audio.Decoder, error) {
	if _, err := c.check(f); err != nil {
		return nil, err
	}
	d, err := lib.NewDecoder(rate, 1)
	if err != nil {
		return nil, fmt.Errorf("opus: decoder: %w", err)
	}
	return &decoder{lib: d}, nil
}

type encoder struct {
	lib   *lib.Encoder
	state []byte // libopus's own state, or empty if it could not be found
	spare [audio.MaxPacket]byte
}

// stateOf is the memory in which libopus keeps the encoder. opus.h promises that it is one block that a shallow copy copies;
// the binding keeps it in a field of its own, which reflection may read.
func stateOf(e *lib.Encoder) []byte {
	v := reflect.ValueOf(e).Elem().FieldByName("mem")
	if !v.IsValid() || v.Kind() != reflect.Slice || v.Type().Elem().Kind() != reflect.Uint8 {
		return nil
	}
	return v.Bytes()
}

// Encode: packets of 10, 20, 40 and 60 ms. 0 bytes means that nothing is worth sending.
func (e *encoder) Encode(pcm []int16, packet []byte) (int, error) {
	switch len(pcm) {
	case rate / 100, rate / 50, rate / 25, rate * 6 / 100:
	default:
		return 0, ErrLong
	}
	// The binding goes by capacity. libopus says of packets of up to two bytes that they need not be sent.
	room := min(len(packet), audio.MaxPacket)
	n, err := e.lib.Encode(pcm[:len(pcm):len(pcm)], packet[:room:room])
	if err != nil {
		return 0, err
	}
	if n <= 2 {
		return 0, nil
	}
	return n, nil
}

// Follow copies the whole state of prev, so that the next packet is the one that prev would have made. Should the binding
// hide its state one day, the encoder is primed with the last packet instead.
func (e *encoder) Follow(prev audio.Encoder, last []int16) {
	p, ok := prev.(*encoder)
	if ok && len(e.state) > 0 && len(e.state) == len(p.state) {
		copy(e.state, p.state)
		return
	}
	_, _ = e.Encode(last, e.spare[:])
}

type decoder struct {
	lib  *lib.Decoder
	made int // samples concealed since the last packet
}

// After so much concealment libopus still gives comfort noise; a leg that has gone quiet should be silent.
const (
	fadeFrom = rate / 10
	fadeTo   = rate * 3 / 10
)

func (d *decoder) Decode(packet []byte, pcm []int16) (int, error) {
	n, err := packetSamples(packet)
	if err != nil {
		return 0, err
	}
	if n > len(pcm) {
		return 0, ErrLong
	}
	n, err = d.lib.Decode(packet, pcm[:n:n])
	if err != nil {
		return 0, err
	}
	d.back(pcm[:n])
	return n, nil
}

// back fades in what comes after a concealment that had been faded out.
func (d *decoder) back(pcm []int16) {
	if d.made > fadeFrom {
		n := min(len(pcm), rate/200)
		for i := range n {
			pcm[i] = int16(int(pcm[i]) * (i + 1) / n)
		}
	}
	d.made = 0
}

// Recover needs pcm to be as long as the lost packet: a multiple of 2.5 ms.
func (d *decoder) Recover(next []byte, pcm []int16) {
	if _, err := packetSamples(next); err != nil || len(pcm) == 0 || d.lib.DecodeFEC(next, pcm[:len(pcm):len(pcm)]) != nil {
		d.Conceal(pcm)
		return
	}
	d.fade(pcm)
}

// Conceal needs the length of pcm to be a multiple of 2.5 ms.
func (d *decoder) Conceal(pcm []int16) {
	if len(pcm) == 0 {
		return
	}
	if d.lib.DecodePLC(pcm[:len(pcm):len(pcm)]) != nil {
		clear(pcm)
	}
	d.fade(pcm)
}

func (d *decoder) fade(pcm []int16) {
	if d.made+len(pcm) > fadeFrom {
		for i := range pcm {
			pcm[i] = int16(int(pcm[i]) * max(0, min(fadeTo-fadeFrom, fadeTo-d.made-i)) / (fadeTo - fadeFrom))
		}
	}
	d.made = min(d.made+len(pcm), fadeTo)
}
