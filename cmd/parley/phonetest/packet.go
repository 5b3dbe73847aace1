package phonetest

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/pion/rtp"
	"golang.org/x/sys/unix"
)

// Packet is a UDP datagram and when the kernel had it.
type Packet struct {
	At       time.Time // the kernel's receive time stamp
	Src, Dst netip.AddrPort
	Payload  []byte
}

// RTP takes the datagram for RTP; false if it is none, RTCP included.
func (p Packet) RTP() (rtp.Packet, bool) {
	var r rtp.Packet
	if len(p.Payload) < 12 || p.Payload[0]>>6 != 2 || p.Payload[1] >= 192 && p.Payload[1] <= 223 {
		return r, false
	}
	return r, r.Unmarshal(p.Payload) == nil
}

// G711 is what the RTP packets of payload type 0 (PCMU) and 8 (PCMA) among these hold, laid out by their RTP time stamps: what is
// missing is digital silence, and what comes late or twice changes nothing. All must be of one stream (one SSRC); a jump of more than a
// minute starts at the end of what is there.
func G711(packets []Packet) Sound {
	s := Sound{Rate: 8000}
	var start uint32
	for _, p := range packets {
		r, ok := p.RTP()
		if !ok || r.PayloadType != 0 && r.PayloadType != 8 {
			continue
		}
		if len(s.Samples) == 0 {
			start = r.Timestamp
		}
		at := int(int32(r.Timestamp - start))
		if at > len(s.Samples)+60*s.Rate || at < -60*s.Rate {
			start, at = r.Timestamp-uint32(len(s.Samples)), len(s.Samples)
		}
		if at < 0 {
			continue
		}
		for len(s.Samples) < at+len(r.Payload) {
			s.Samples = append(s.Samples, 0)
		}
		expand(s.Samples[at:], r.Payload, r.PayloadType)
	}
	return s
}

// expand is the sound of one payload. It shares nothing, which the race detector need not look at octet by octet.
//
//go:norace
func expand(to []int16, payload []byte, payloadType uint8) {
	for i, b := range payload {
		if payloadType == 0 {
			to[i] = ulaw(b)
		} else {
			to[i] = alaw(b)
		}
	}
}

// ulaw expands G.711 μ-law.
func ulaw(b byte) int16 {
	b = ^b
	v := (int(b&15)<<3+132)<<(b>>4&7) - 132
	if b&128 != 0 {
		v = -v
	}
	return int16(v)
}

// alaw expands G.711 A-law.
func alaw(b byte) int16 {
	b ^= 0x55
	v := int(b&15)<<4 + 8
	if e := b >> 4 & 7; e > 0 {
		v = (v + 256) << (e - 1)
	}
	if b&128 == 0 {
		v = -v
	}
	return int16(v)
}

// stampOf finds the time stamp (SO_TIMESTAMPNS) among a datagram's control messages.
func stampOf(oob []byte) (time.Time, bool) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return time.Time{}, false
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_TIMESTAMPNS {
			continue
		}
		switch len(m.Data) {
		case 16:
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:]))), true
		case 8:
			return time.Unix(int64(binary.NativeEndian.Uint32(m.Data)), int64(binary.NativeEndian.Uint32(m.Data[4:]))), true
		}
	}
	return time.Time{}, false
}
