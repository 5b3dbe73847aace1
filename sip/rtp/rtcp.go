package rtp

import (
	"encoding/binary"
	"time"
)

// RTCP packet types (RFC 3550, 12.1).
const (
	typeSR   = 200
	typeRR   = 201
	typeSDES = 202
	typeBYE  = 203
	typeXR   = 207
)

const (
	reportBlock   = 24
	maxCNAME      = 64
	maxRTCPPacket = 8 + 20 + reportBlock + 8 + 2 + maxCNAME + 8 + 8
	maxReports    = 16 // packets in a compound that are looked at
)

// block is a report block (RFC 3550, 6.4.1).
type block struct {
	ssrc     uint32
	fraction uint8
	lost     int32 // 24 bits, signed
	highest  uint32
	jitter   uint32
	lsr      uint32
	dlsr     uint32
}

// report is what we use of a compound packet.
type report struct {
	ssrc     uint32
	sr       bool // a sender report: ntp and timestamp are set
	ntp      uint64
	rtp      uint32
	block    block // about us
	hasBlock bool
	bye      bool
}

// parseRTCP validates a compound packet (RFC 3550, A.2) and reads from it what concerns the source own. It looks at a bounded
// number of packets and does not allocate. One that does not begin with a report is taken too (RFC 5506; baresip opens its
// way through NAT with an APP packet).
func parseRTCP(b []byte, own uint32) (r report, ok bool) {
	if len(b) < 8 || b[0]>>6 != 2 || b[1] < typeSR || b[1] > typeXR {
		return r, false
	}
	r.ssrc = binary.BigEndian.Uint32(b[4:])
	for n := 0; len(b) > 0; n++ {
		if len(b) < 4 || b[0]>>6 != 2 || n == maxReports {
			return r, false
		}
		size := 4 + 4*int(binary.BigEndian.Uint16(b[2:]))
		if size > len(b) {
			return r, false
		}
		p := b[:size]
		if p[0]&0x20 != 0 { // padding: the last packet only, and it says how much
			pad := int(p[size-1])
			if size != len(b) || pad == 0 || pad%4 != 0 || pad > size-4 {
				return r, false
			}
			p = p[:size-pad]
		}
		if !r.read(p, own) {
			return r, false
		}
		b = b[size:]
	}
	return r, true
}

// read takes what it needs from one packet of a compound.
func (r *report) read(p []byte, own uint32) bool {
	count, at := int(p[0]&0x1f), 8
	switch p[1] {
	case typeSR:
		at = 28
	case typeRR:
	case typeBYE:
		if len(p) < 4+4*count {
			return false
		}
		for i := range count {
			r.bye = r.bye || binary.BigEndian.Uint32(p[4+4*i:]) == r.ssrc
		}
		return true
	default:
		return true
	}
	if len(p) < at+count*reportBlock {
		return false
	}
	if p[1] == typeSR && binary.BigEndian.Uint32(p[4:]) == r.ssrc {
		r.sr = true
		r.ntp = binary.BigEndian.Uint64(p[8:])
		r.rtp = binary.BigEndian.Uint32(p[16:])
	}
	for i := range count {
		q := p[at+i*reportBlock:]
		if binary.BigEndian.Uint32(q) != own {
			continue
		}
		r.hasBlock = true
		r.block = block{ssrc: own, fraction: q[4], lost: int32(binary.BigEndian.Uint32(q[4:])<<8) >> 8,
			highest: binary.BigEndian.Uint32(q[8:]), jitter: binary.BigEndian.Uint32(q[12:]),
			lsr: binary.BigEndian.Uint32(q[16:]), dlsr: binary.BigEndian.Uint32(q[20:])}
	}
	return true
}

// outgoing is a compound packet of ours: a sender or receiver report, the CNAME, and perhaps a goodbye.
type outgoing struct {
	ssrc           uint32
	sender         bool
	ntp            uint64
	rtp            uint32
	packets, bytes uint32
	block          *block
	cname          string // at most maxCNAME bytes
	bye            bool
}

// put writes the packet into b, which is maxRTCPPacket long, and returns its length.
func (o *outgoing) put(b []byte) int {
	n := 8
	b[1] = typeRR
	if o.sender {
		b[1] = typeSR
		binary.BigEndian.PutUint64(b[8:], o.ntp)
		binary.BigEndian.PutUint32(b[16:], o.rtp)
		binary.BigEndian.PutUint32(b[20:], o.packets)
		binary.BigEndian.PutUint32(b[24:], o.bytes)
		n = 28
	}
	b[0] = 0x80
	if k := o.block; k != nil {
		b[0]++
		binary.BigEndian.PutUint32(b[n:], k.ssrc)
		binary.BigEndian.PutUint32(b[n+4:], uint32(k.fraction)<<24|uint32(k.lost)&0xffffff)
		binary.BigEndian.PutUint32(b[n+8:], k.highest)
		binary.BigEndian.PutUint32(b[n+12:], k.jitter)
		binary.BigEndian.PutUint32(b[n+16:], k.lsr)
		binary.BigEndian.PutUint32(b[n+20:], k.dlsr)
		n += reportBlock
	}
	binary.BigEndian.PutUint16(b[2:], uint16(n/4-1))
	binary.BigEndian.PutUint32(b[4:], o.ssrc)

	at := n // SDES: one chunk, one item, ended and filled up with zeros
	b[at], b[at+1] = 0x81, typeSDES
	binary.BigEndian.PutUint32(b[at+4:], o.ssrc)
	b[at+8], b[at+9] = 1, byte(len(o.cname))
	n = at + 10 + copy(b[at+10:], o.cname)
	for b[n] = 0; ; b[n] = 0 {
		if n++; n%4 == 0 {
			break
		}
	}
	binary.BigEndian.PutUint16(b[at+2:], uint16((n-at)/4-1))

	if o.bye {
		b[n], b[n+1], b[n+2], b[n+3] = 0x81, typeBYE, 0, 1
		binary.BigEndian.PutUint32(b[n+4:], o.ssrc)
		n += 8
	}
	return n
}

// ntpTime is wall-clock time in the format of sender reports: seconds since 1900 in 32.32 fixed point.
func ntpTime(t time.Time) uint64 {
	const since1900 = 2208988800
	return uint64(t.Unix()+since1900)<<32 | uint64(t.Nanosecond())<<32/1e9
}

// compact is the middle of an NTP time: 16.16 seconds, as in LSR and DLSR.
func compact(ntp uint64) uint32 { return uint32(ntp >> 16) }

// fixed16 is a duration in 1/65536 s; from18h on it is as long as can be said.
func fixed16(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	if d >= 65535*time.Second {
		return 65535 << 16
	}
	return uint32(uint64(d) << 16 / uint64(time.Second))
}

// duration16 is the inverse of fixed16.
func duration16(v uint32) time.Duration { return time.Duration(uint64(v) * uint64(time.Second) >> 16) }
