package mixer

import (
	"bytes"

	"parley/audio"
)

// stream is one encoder with the sound that it is about to encode. It belongs to the tick.
type stream struct {
	format audio.Format
	enc    audio.Encoder
	pcm    [2][]int16 // the packet that is being filled, and the one before it
	at     int        // which of the two is being filled
	done   int        // which of the two was encoded last
	packet [audio.MaxPacket]byte
	size   int

	using bool    // somebody is sent the packet that is being filled
	used  bool    // somebody was sent the one before
	from  *stream // the stream that this one was copied from in this tick
}

func newStream(f audio.Format, enc audio.Encoder) *stream {
	s := &stream{format: f, enc: enc}
	s.pcm[0], s.pcm[1] = make([]int16, f.PacketSamples()), make([]int16, f.PacketSamples())
	return s
}

// begin starts a packet.
func (s *stream) begin() {
	s.at = 1 - s.at
	s.used, s.using = s.using, false
}

// part is where the k-th 10 ms of the packet go.
func (s *stream) part(k int) []int16 {
	n := s.format.FrameSamples()
	return s.pcm[s.at][k*n : (k+1)*n]
}

// follow makes s go on where prev is, k frames into a packet.
func (s *stream) follow(prev *stream, k int) {
	s.enc.Follow(prev.enc, prev.pcm[prev.done])
	s.at, s.done = prev.at, prev.done
	copy(s.pcm[1-s.at], prev.pcm[1-prev.at])
	copy(s.pcm[s.at], prev.pcm[prev.at][:k*s.format.FrameSamples()])
}

// encode ends a packet. One that cannot be encoded is an empty one.
func (s *stream) encode() {
	s.done = s.at
	n, err := s.enc.Encode(s.pcm[s.at], s.packet[:])
	if err != nil {
		n = 0
	}
	s.size = n
}

func (s *stream) payload() []byte { return s.packet[:s.size] }

func (s *stream) sameAs(o *stream) bool { return bytes.Equal(s.payload(), o.payload()) }

// loudest is the largest magnitude in the last packet.
func (s *stream) loudest() int16 {
	var top int16
	for _, v := range s.pcm[s.done] {
		top = max(top, v, -v)
	}
	return top
}
