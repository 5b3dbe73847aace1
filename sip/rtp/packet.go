package rtp

import "encoding/binary"

const (
	headerSize = 12
	// maxPacket is the longest datagram that is looked at, in bytes; longer ones are malformed.
	maxPacket = 2048
)

// header is what we use of an RTP header (RFC 3550, 5.1).
type header struct {
	marker    bool
	pt        uint8
	seq       uint16
	timestamp uint32
	ssrc      uint32
	size      int // of the header, CSRCs and extension included
}

// parseHeader validates and reads an RTP header. Padding is not looked at: under SRTP it is encrypted.
func parseHeader(b []byte) (h header, ok bool) {
	if len(b) < headerSize || b[0]>>6 != 2 {
		return h, false
	}
	h.size = headerSize + 4*int(b[0]&0x0f)
	if len(b) < h.size {
		return h, false
	}
	if b[0]&0x10 != 0 {
		if len(b) < h.size+4 {
			return h, false
		}
		h.size += 4 + 4*int(binary.BigEndian.Uint16(b[h.size+2:]))
		if len(b) < h.size {
			return h, false
		}
	}
	h.marker, h.pt = b[1]&0x80 != 0, b[1]&0x7f
	h.seq = binary.BigEndian.Uint16(b[2:])
	h.timestamp = binary.BigEndian.Uint32(b[4:])
	h.ssrc = binary.BigEndian.Uint32(b[8:])
	return h, true
}

// payload is what stands between header and padding of a packet in clear.
func payload(b []byte, h header) ([]byte, bool) {
	end := len(b)
	if b[0]&0x20 != 0 {
		if end == h.size {
			return nil, false
		}
		n := int(b[end-1])
		if n == 0 || n > end-h.size {
			return nil, false
		}
		end -= n
	}
	return b[h.size:end], true
}

// putHeader writes a header without CSRCs and extension; b is at least headerSize long.
func putHeader(b []byte, h header) {
	b[0] = 0x80
	b[1] = h.pt
	if h.marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], h.seq)
	binary.BigEndian.PutUint32(b[4:], h.timestamp)
	binary.BigEndian.PutUint32(b[8:], h.ssrc)
}

// isRTCP tells RTCP from RTP on a shared port (RFC 5761, 4).
func isRTCP(b []byte) bool { return len(b) >= 2 && b[1] >= 192 && b[1] <= 223 }
