package record

import (
	"encoding/binary"
	"fmt"
)

// The Ogg page (RFC 3533, 6): a header of 27 bytes, a table of lacing values, and the packets' bytes. The pages made here begin and
// end with whole packets.
const (
	pageHeader  = 27
	maxLacing   = 255
	maxPageSize = pageHeader + maxLacing + maxLacing*255

	flagFirst = 2
	flagLast  = 4
)

// crcTable is that of Ogg's checksum: polynomial 0x04c11db7, nothing reflected, nothing inverted.
var crcTable = func() (t [256]uint32) {
	for i := range t {
		r := uint32(i) << 24
		for range 8 {
			if r&(1<<31) != 0 {
				r = r<<1 ^ 0x04c11db7
			} else {
				r <<= 1
			}
		}
		t[i] = r
	}
	return t
}()

func oggCRC(crc uint32, p []byte) uint32 {
	for _, b := range p {
		crc = crc<<8 ^ crcTable[byte(crc>>24)^b]
	}
	return crc
}

// page is one page as it was read; body and lacing alias what was read.
type page struct {
	flags   byte
	granule int64
	serial  uint32
	number  uint32
	lacing  []byte
	body    []byte
	size    int // bytes of all
}

// appendPage appends a page of whole packets, which lie end to end in body and are of the given lengths.
func appendPage(dst []byte, flags byte, granule int64, serial, number uint32, lengths []int, body []byte) []byte {
	at := len(dst)
	dst = append(dst, "OggS\x00"...)
	dst = append(dst, flags)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(granule))
	dst = binary.LittleEndian.AppendUint32(dst, serial)
	dst = binary.LittleEndian.AppendUint32(dst, number)
	dst = append(dst, 0, 0, 0, 0, 0) // checksum, number of lacing values
	for _, n := range lengths {
		for ; n >= 255; n -= 255 {
			dst = append(dst, 255)
		}
		dst = append(dst, byte(n))
	}
	dst[at+26] = byte(len(dst) - at - pageHeader)
	dst = append(dst, body...)
	sealPage(dst[at:])
	return dst
}

// sealPage writes the checksum of the page p.
func sealPage(p []byte) {
	clear(p[22:26])
	binary.LittleEndian.PutUint32(p[22:], oggCRC(0, p))
}

// parsePage reads the page at the beginning of b. An error means that there is no whole, undamaged one.
func parsePage(b []byte) (page, error) {
	if len(b) < pageHeader || string(b[:5]) != "OggS\x00" {
		return page{}, fmt.Errorf("%w: no Ogg page", ErrBroken)
	}
	head := pageHeader + int(b[26])
	if len(b) < head {
		return page{}, fmt.Errorf("%w: half an Ogg page", ErrBroken)
	}
	p := page{
		flags: b[5], granule: int64(binary.LittleEndian.Uint64(b[6:])),
		serial: binary.LittleEndian.Uint32(b[14:]), number: binary.LittleEndian.Uint32(b[18:]),
		lacing: b[pageHeader:head], size: head,
	}
	for _, n := range p.lacing {
		p.size += int(n)
	}
	if len(b) < p.size {
		return page{}, fmt.Errorf("%w: half an Ogg page", ErrBroken)
	}
	p.body = b[head:p.size]
	crc := oggCRC(oggCRC(oggCRC(0, b[:22]), []byte{0, 0, 0, 0}), b[26:p.size])
	if crc != binary.LittleEndian.Uint32(b[22:]) {
		return page{}, fmt.Errorf("%w: damaged Ogg page", ErrBroken)
	}
	return p, nil
}

// packets is how many packets end in p.
func (p page) packets() int64 {
	n := int64(0)
	for _, l := range p.lacing {
		if l < 255 {
			n++
		}
	}
	return n
}

// opusHead is the identification header (RFC 7845, 5.1) of 48 kHz mono with skip samples to be dropped at the beginning.
func opusHead(skip int) []byte {
	b := append([]byte("OpusHead"), 1, 1)
	b = binary.LittleEndian.AppendUint16(b, uint16(skip))
	b = binary.LittleEndian.AppendUint32(b, 48000)
	return append(b, 0, 0, 0) // no gain, mapping family 0
}

// opusTags is the comment header (RFC 7845, 5.2). A comment is NAME=value.
func opusTags(comments ...string) []byte {
	text := func(b []byte, s string) []byte {
		return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	b := text([]byte("OpusTags"), "Parley")
	b = binary.LittleEndian.AppendUint32(b, uint32(len(comments)))
	for _, c := range comments {
		b = text(b, c)
	}
	return b
}

// segmentShape is what whole pages of a segment's file say.
type segmentShape struct {
	skip  int   // samples to be dropped at the beginning
	pages int   // all, with the headers
	bytes int   // up to the end of the last page
	last  int   // where the last page begins
	sound int   // where the first page begins that is not in the segment before
	end   int64 // the last page's granule position
	ended bool  // the last page says that it is the last
}

// length of the segment's sound, samples.
func (s segmentShape) length() int64 { return max(0, s.end-int64(s.skip)) }

// headPages is how many pages stand before those of a segment's own sound.
func headPages(skip int) int {
	if skip > lookahead {
		return 3 // the headers and the preroll
	}
	return 2
}

// shapeOf reads b up to the first thing that is not a whole page of the stream. An error means that not even the headers are whole.
func shapeOf(b []byte) (segmentShape, error) {
	var s segmentShape
	var serial uint32
	for s.bytes < len(b) {
		p, err := parsePage(b[s.bytes:])
		if err != nil || !s.fits(p, serial) {
			break
		}
		if s.pages == 0 {
			serial = p.serial
			if len(p.body) != 19 || string(p.body[:8]) != "OpusHead" {
				break
			}
			s.skip = int(binary.LittleEndian.Uint16(p.body[10:]))
		}
		s.last, s.end, s.ended = s.bytes, p.granule, p.flags&flagLast != 0
		s.pages++
		s.bytes += p.size
		if s.pages == headPages(s.skip) {
			s.sound = s.bytes
		}
	}
	if s.sound == 0 {
		return s, fmt.Errorf("%w: no whole header", ErrBroken)
	}
	return s, nil
}

// fits says whether p can be the next page after those that s tells of.
func (s segmentShape) fits(p page, serial uint32) bool {
	if s.pages == 0 {
		return p.number == 0 && p.flags == flagFirst
	}
	return p.serial == serial && p.number == uint32(s.pages) && p.flags&^flagLast == 0 && !s.ended &&
		p.granule >= s.end && p.granule-s.end <= p.packets()*packetSamples
}
