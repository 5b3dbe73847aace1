package opus

import (
	"strconv"
	"strings"

	lib "github.com/hraban/opus"
)

// tuning is what a far end's parameters change in the encoder.
type tuning struct {
	bandwidth lib.Bandwidth
	bitrate   int // bit/s, 0: as configured
	fec       bool
}

var bandwidths = [...]struct {
	name string
	rate int // the lowest maxplaybackrate that has use for it, Hz
	lib  lib.Bandwidth
}{
	{"48000", 48000, lib.Fullband},
	{"24000", 24000, lib.SuperWideband},
	{"16000", 16000, lib.Wideband},
	{"12000", 12000, lib.Mediumband},
	{"8000", 0, lib.Narrowband},
}

// bitrates are the steps to which a far end's limit is rounded down, so that far ends with nearly equal limits share one
// encoder.
var bitrates = [...]struct {
	name string
	rate int
}{{"24000", 24000}, {"16000", 16000}, {"12000", 12000}, {"8000", 8000}, {"6000", 0}}

// Canonical turns what a far end says in its fmtp line (RFC 7587, 6.1) into the Fmtp of an audio.Format: only what changes
// the encoder, rounded to a few steps, always in the same words; empty if nothing does. Parameters that are unknown or
// make no sense are passed over, as the RFC wants.
func Canonical(params string) string {
	var bitrate, bandwidth, fec string
	for part := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(part, "=")
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			continue
		}
		switch key {
		case "maxaveragebitrate":
			if n >= 6000 && n < defaultBitrate {
				for _, b := range bitrates {
					if int(n) >= b.rate {
						bitrate = "maxaveragebitrate=" + b.name
						break
					}
				}
			}
		case "maxplaybackrate":
			if n >= 8000 && n < rate {
				for _, b := range bandwidths {
					if int(n) >= b.rate {
						bandwidth = "maxplaybackrate=" + b.name
						break
					}
				}
			}
		case "useinbandfec":
			if n == 0 {
				fec = "useinbandfec=0"
			}
		}
	}
	var words []string
	for _, w := range []string{bitrate, bandwidth, fec} {
		if w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, ";")
}

// tunings reads what Canonical wrote; nothing else is accepted.
func tunings(fmtp string) (tuning, bool) {
	t := tuning{bandwidth: lib.Fullband, fec: true}
	if fmtp == "" {
		return t, true
	}
	if Canonical(fmtp) != fmtp {
		return t, false
	}
	for part := range strings.SplitSeq(fmtp, ";") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "maxaveragebitrate":
			t.bitrate, _ = strconv.Atoi(value)
		case "maxplaybackrate":
			for _, b := range bandwidths {
				if b.name == value {
					t.bandwidth = b.lib
				}
			}
		case "useinbandfec":
			t.fec = false
		}
	}
	return t, true
}
