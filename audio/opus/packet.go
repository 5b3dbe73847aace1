package opus

// rate is the only PCM rate here, Hz. An Opus packet of any bandwidth decodes to it.
const rate = 48000

// maxSamples is the longest legal packet: 120 ms (RFC 6716, 3.4 R5).
const maxSamples = rate / 1000 * 120

// frameSamples are the lengths of one frame by configuration number (RFC 6716, table 2), in samples at 48 kHz.
var frameSamples = [32]int{
	480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 1920, 2880, // SILK
	480, 960, 480, 960, // hybrid
	120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960, // CELT
}

// packetSamples is the length of a packet's sound in samples, or ErrPacket. It checks the framing as RFC 6716, 3.4, wants it,
// so that libopus is only given what it accepts.
func packetSamples(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, ErrPacket
	}
	one, body := frameSamples[p[0]>>3], p[1:]
	switch p[0] & 3 {
	case 0: // one frame
		return one, checkFrame(len(body))
	case 1: // two of one length
		if len(body)%2 != 0 {
			return 0, ErrPacket
		}
		return 2 * one, checkFrame(len(body) / 2)
	case 2: // two
		n, used := frameLength(body)
		if used == 0 || n > len(body)-used {
			return 0, ErrPacket
		}
		return 2 * one, checkFrame(len(body) - used - n)
	}
	return manyFrames(one, body)
}

// manyFrames is code 3: a count, padding, and frames of one length or of many.
func manyFrames(one int, body []byte) (int, error) {
	if len(body) == 0 {
		return 0, ErrPacket
	}
	variable, padded, count := body[0]&0x80 != 0, body[0]&0x40 != 0, int(body[0]&0x3F)
	body = body[1:]
	if count == 0 || count*one > maxSamples {
		return 0, ErrPacket
	}
	if padded {
		padding := 0
		for {
			if len(body) == 0 {
				return 0, ErrPacket
			}
			b := int(body[0])
			body = body[1:]
			if b < 255 {
				padding += b
				break
			}
			padding += 254
		}
		if padding > len(body) {
			return 0, ErrPacket
		}
		body = body[:len(body)-padding]
	}
	if !variable {
		if len(body)%count != 0 {
			return 0, ErrPacket
		}
		return count * one, checkFrame(len(body) / count)
	}
	left := len(body)
	for range count - 1 {
		n, used := frameLength(body)
		if used == 0 {
			return 0, ErrPacket
		}
		body = body[used:]
		if left -= used + n; left < 0 {
			return 0, ErrPacket
		}
	}
	return count * one, checkFrame(left)
}

// frameLength reads a length of one or two bytes and how many it was; 0 bytes if there are too few.
func frameLength(b []byte) (n, used int) {
	switch {
	case len(b) == 0:
		return 0, 0
	case b[0] < 252:
		return int(b[0]), 1
	case len(b) == 1:
		return 0, 0
	}
	return int(b[0]) + 4*int(b[1]), 2
}

func checkFrame(n int) error {
	if n > 1275 {
		return ErrPacket
	}
	return nil
}
