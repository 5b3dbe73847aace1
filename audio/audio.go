// Package audio is the vocabulary of sound: frames, formats, codecs, and pure functions on them.
//
// It knows no network, no sound card, no conference and no library: it imports the standard library only.
package audio

import "time"

// The clock of the house: everything is mixed in frames of 10 ms.
const (
	// SampleRate is the mixer's highest rate and the card's rate, in Hz.
	SampleRate = 48000
	// FrameSamples is the length of a Frame in samples.
	FrameSamples = 480
	// FrameDuration is the time that a Frame covers.
	FrameDuration = 10 * time.Millisecond
)

// Frame is 10 ms of mono sound, signed 16 bit. At 48 kHz all of it is used; at a lower rate the first rate/100 samples
// are, and the rest is not looked at.
type Frame [FrameSamples]int16

// Status tells what a source put into a frame.
type Status uint8

const (
	// Silent: the source says nothing (not started, on hold, discontinuous transmission); the frame was not written.
	Silent Status = iota
	// Active: the frame holds sound.
	Active
	// Late: nothing arrived in time; the frame holds what conceals it.
	Late
	// Gone: the source has ended and is never to be asked again; the frame was not written.
	Gone
)

// Format is everything that decides what an encoder's output looks like. Two listeners with equal Formats can be sent the
// same bytes. It is comparable, and is compared in the audio path: keep its strings constants.
type Format struct {
	Codec      string // SDP encoding name: "opus", "G722", "PCMU", "PCMA"
	SampleRate int    // of the PCM that goes in and comes out, Hz: 48000, 16000 or 8000
	ClockRate  int    // of RTP timestamps, Hz; G.722 has 8000 (RFC 3551, 4.5.2)
	Ptime      int    // sound in one packet, ms: a multiple of 10, at most 60
	Fmtp       string // parameters that change the encoder, in canonical form; empty is the codec's default
}

// FrameSamples is the number of samples in 10 ms of f.
func (f Format) FrameSamples() int { return f.SampleRate / 100 }

// PacketSamples is the number of samples in one packet of f.
func (f Format) PacketSamples() int { return f.SampleRate / 1000 * f.Ptime }

// PacketTicks is what the RTP timestamp grows by from one packet to the next.
func (f Format) PacketTicks() uint32 { return uint32(f.ClockRate / 1000 * f.Ptime) }

// MaxPacket is the largest encoded payload that any Encoder here makes, in bytes.
const MaxPacket = 1275

// Codec makes encoders and decoders of one kind. A list of them, in order of preference, is what the box can speak.
type Codec interface {
	// Format is the codec's own: its name, rates and the ptime that it prefers.
	Format() Format
	// NewEncoder makes an encoder at rest for f, which differs from Format in Ptime and Fmtp only.
	NewEncoder(f Format) (Encoder, error)
	// NewDecoder makes a decoder at rest. It takes packets of any legal ptime.
	NewDecoder(f Format) (Decoder, error)
}

// Encoder turns PCM into packets. It belongs to one goroutine and does not allocate.
type Encoder interface {
	// Encode writes pcm (PacketSamples long) as one packet into packet (at least MaxPacket long) and returns its length.
	// 0 means that nothing is worth sending.
	Encode(pcm []int16, packet []byte) (int, error)
	// Follow makes this encoder go on where prev, of the same Codec and Format, stopped, so that the far end's decoder
	// hears no seam. last is the PCM of the last packet that prev encoded.
	Follow(prev Encoder, last []int16)
}

// Decoder turns packets into PCM. It belongs to one goroutine and does not allocate.
type Decoder interface {
	// Decode writes the packet's sound to pcm and returns its length in samples. A packet whose sound is longer than pcm,
	// or that is not valid, is an error, and the decoder can go on with the next one.
	Decode(packet []byte, pcm []int16) (int, error)
	// Recover writes to pcm what the lost packet before next held, from next's redundancy if it has any, else as Conceal.
	Recover(next []byte, pcm []int16)
	// Conceal fills pcm with a guess at what was lost. Called again and again it fades to silence.
	Conceal(pcm []int16)
}
