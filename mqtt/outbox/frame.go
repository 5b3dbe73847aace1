package outbox

import (
	"encoding/binary"
	"hash/crc32"
)

// A segment is a file of frames (numbers big-endian):
//
//	frame   length of body 4 │ sequence 8 │ CRC-32C of body 4 │ CRC-32C of these 16 bytes 4 │ body
//	body    kind or class 1 │ length of topic 2 │ topic │ payload
//
// A frame of kind acknowledged has no more than that byte: everything up to its sequence is done.
const (
	frameSize = 4 + 8 + 4 + 4
	bodySize  = 1 + 2

	acknowledged = 0xff
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendFrame(b []byte, seq uint64, kind byte, topic string, payload []byte) []byte {
	start := len(b)
	b = append(append(b, make([]byte, frameSize)...), kind)
	if kind != acknowledged {
		b = binary.BigEndian.AppendUint16(b, uint16(len(topic)))
		b = append(append(b, topic...), payload...)
	}
	head, body := b[start:start+frameSize], b[start+frameSize:]
	binary.BigEndian.PutUint32(head, uint32(len(body)))
	binary.BigEndian.PutUint64(head[4:], seq)
	binary.BigEndian.PutUint32(head[12:], crc32.Checksum(body, castagnoli))
	binary.BigEndian.PutUint32(head[16:], crc32.Checksum(head[:16], castagnoli))
	return b
}

// frame is one as it was read; body is nil if it is rotten, and size is 0 if not even its length can be trusted.
type frame struct {
	seq  uint64
	size int
	body []byte
}

// readFrame reads the frame that b begins with.
func readFrame(b []byte) frame {
	if len(b) < frameSize || crc32.Checksum(b[:16], castagnoli) != binary.BigEndian.Uint32(b[16:]) {
		return frame{}
	}
	length := uint64(binary.BigEndian.Uint32(b))
	if length > uint64(len(b)-frameSize) {
		return frame{}
	}
	f := frame{seq: binary.BigEndian.Uint64(b[4:]), size: frameSize + int(length)}
	body := b[frameSize:f.size]
	if crc32.Checksum(body, castagnoli) == binary.BigEndian.Uint32(b[12:]) {
		f.body = body
	}
	return f
}

// message reads a body; ok is false if it is none of ours. The parts are the body's.
func (f frame) message() (class Class, topic, payload []byte, ok bool) {
	if len(f.body) < bodySize || f.body[0] > byte(Keep) {
		return 0, nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(f.body[1:]))
	if n == 0 || n > len(f.body)-bodySize {
		return 0, nil, nil, false
	}
	return Class(f.body[0]), f.body[bodySize : bodySize+n], f.body[bodySize+n:], true
}
