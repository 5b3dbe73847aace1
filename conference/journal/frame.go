package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// The file (numbers big-endian):
//
//	header  magic 8 │ salt 8 │ CRC-32C of both 4
//	frame   length of body 4 │ sequence 8 │ CRC of body 4 │ CRC of these 16 bytes 4 │ body
//	body    records: operation 1 │ length of key 2 │ length of value 4 │ key │ value
//
// A frame is what was committed together: it counts whole or not at all. The CRCs of frames go on from that of the header, so
// that no frame of another file, and none that somebody has put into a value, is taken for one of this file.
const (
	magic      = "PARLEYJ1"
	headerSize = 8 + 8 + 4
	frameSize  = 4 + 8 + 4 + 4
	recordSize = 1 + 2 + 4

	opPut    = 1
	opDelete = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stamp is what the CRCs of one file begin with.
type stamp uint32

func (s stamp) of(b []byte) uint32 { return crc32.Update(uint32(s), castagnoli, b) }

// newHeader makes the beginning of a file.
func newHeader(salt [8]byte) ([]byte, stamp) {
	h := append([]byte(magic), salt[:]...)
	sum := crc32.Checksum(h, castagnoli)
	return binary.BigEndian.AppendUint32(h, sum), stamp(sum)
}

// beginFrame leaves room for a frame's head; endFrame fills it in when the records are there.
func beginFrame(b []byte) []byte { return append(b, make([]byte, frameSize)...) }

// endFrame closes the frame that begins at start.
func endFrame(b []byte, start int, seq uint64, s stamp) {
	head, body := b[start:start+frameSize], b[start+frameSize:]
	binary.BigEndian.PutUint32(head, uint32(len(body)))
	binary.BigEndian.PutUint64(head[4:], seq)
	binary.BigEndian.PutUint32(head[12:], s.of(body))
	binary.BigEndian.PutUint32(head[16:], s.of(head[:16]))
}

func appendRecord(b []byte, op byte, key string, value []byte) []byte {
	b = append(b, op)
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(append(b, key...), value...)
}

// content is what a file holds.
type content struct {
	values map[string][]byte // parts of the file's bytes
	stamp  stamp
	seq    uint64 // of the last whole frame
	damage Damage
}

// parse reads a file. It allocates no more than a map of what is there, whatever the lengths say.
func parse(b []byte) content {
	c := content{values: map[string][]byte{}}
	if len(b) == 0 {
		return c
	}
	if len(b) < headerSize || string(b[:8]) != magic || crc32.Checksum(b[:16], castagnoli) != binary.BigEndian.Uint32(b[16:]) {
		c.damage.Unread = len(b)
		return c
	}
	c.stamp = stamp(binary.BigEndian.Uint32(b[16:]))
	last := headerSize // the end of the last whole frame
	for at := headerSize; at+frameSize <= len(b); {
		seq, body, ok := frameAt(b[at:], c.stamp)
		if seq <= c.seq || !ok {
			// The next frame is searched for byte by byte: the length may be what is rotten.
			at++
			continue
		}
		if at > last {
			c.damage.Unread += at - last
			c.damage.Frames += int(seq - c.seq - 1)
		}
		c.seq = seq
		c.apply(body)
		at += frameSize + len(body)
		last = at
	}
	c.damage.Torn = len(b) - last
	return c
}

// frameAt takes the frame that b begins with; seq is 0 if there is none.
func frameAt(b []byte, s stamp) (seq uint64, body []byte, ok bool) {
	if s.of(b[:16]) != binary.BigEndian.Uint32(b[16:]) {
		return 0, nil, false
	}
	length := binary.BigEndian.Uint32(b)
	if uint64(length) > uint64(len(b)-frameSize) {
		return 0, nil, false
	}
	body = b[frameSize : frameSize+int(length)]
	return binary.BigEndian.Uint64(b[4:]), body, s.of(body) == binary.BigEndian.Uint32(b[12:])
}

// apply takes a frame's records over. What does not fit its lengths was never written by this package: it is left out.
func (c *content) apply(body []byte) {
	for len(body) >= recordSize {
		op, keys, values := body[0], int(binary.BigEndian.Uint16(body[1:])), uint64(binary.BigEndian.Uint32(body[3:]))
		body = body[recordSize:]
		if uint64(len(body)) < uint64(keys)+values {
			return
		}
		key, value := string(body[:keys]), body[keys:keys+int(values)]
		body = body[keys+int(values):]
		switch op {
		case opPut:
			c.values[key] = value
		case opDelete:
			delete(c.values, key)
		}
	}
}

// detach copies the values out of the file's bytes.
func (c *content) detach() (size int) {
	for key, value := range c.values {
		c.values[key] = bytes.Clone(value)
		size += cost(key, value)
	}
	return size
}

// cost is what a key takes in a file that holds nothing else of it.
func cost(key string, value []byte) int { return frameSize + recordSize + len(key) + len(value) }
