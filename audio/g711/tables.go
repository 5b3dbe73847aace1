package g711

var (
	muLaw = law{name: "PCMU", shift: 2, encode: encodeTable(2, muCompress), decode: decodeTable(muExpand)}
	aLaw  = law{name: "PCMA", shift: 4, encode: encodeTable(4, aCompress), decode: decodeTable(aExpand)}
)

// encodeTable lists compress for every sample of 16-shift bits. The bits below are not looked at by the law.
func encodeTable(shift int, compress func(int) byte) []byte {
	t := make([]byte, 1<<16>>shift)
	for i := range t {
		t[i] = compress(int(int16(i<<shift)) >> shift)
	}
	return t
}

func decodeTable(expand func(byte) int16) *[256]int16 {
	var t [256]int16
	for i := range t {
		t[i] = expand(byte(i))
	}
	return &t
}

// muCompress takes 14 bits (G.711, table 2). Negative values are folded as ones' complement, so that -1 is the negative
// zero, 0x7F, and 0 is the positive one, 0xFF.
func muCompress(v int) byte {
	sign := byte(0x80)
	if v < 0 {
		v, sign = ^v, 0
	}
	v = min(v+33, 0x1FFF) // the bias makes every segment start at a power of two
	segment := 0
	for v>>(segment+6) != 0 {
		segment++
	}
	return ^(byte(segment<<4|v>>(segment+1)&0xF) | sign ^ 0x80)
}

func muExpand(b byte) int16 {
	b = ^b
	segment, mantissa := int(b>>4&7), int(b&0xF)
	v := ((mantissa<<1+33)<<segment - 33) << 2
	if b&0x80 != 0 {
		v = -v
	}
	return int16(v)
}

// aCompress takes 12 bits (G.711, table 1); even bits are inverted on the wire.
func aCompress(v int) byte {
	sign := byte(0x80)
	if v < 0 {
		v, sign = ^v, 0
	}
	segment := 0
	for v>>(segment+4) != 0 {
		segment++
	}
	if segment > 0 {
		v = segment<<4 | v>>(segment-1)&0xF
	}
	return (byte(v) | sign) ^ 0x55
}

func aExpand(b byte) int16 {
	b ^= 0x55
	segment, v := int(b>>4&7), int(b&0xF)<<4+8
	if segment > 0 {
		v = (v + 0x100) << (segment - 1)
	}
	if b&0x80 == 0 {
		v = -v
	}
	return int16(v)
}
