package rtp

import (
	"encoding/binary"
	"strings"
	"time"
)

const (
	digits = "0123456789*#ABCD" // by event number (RFC 4733, 3.2)

	minTone   = 40 * time.Millisecond
	maxTone   = 8 * time.Second
	tonePause = 60 * time.Millisecond // between two digits
	lostEnd   = 200 * time.Millisecond
	endCopies = 3
	toneLevel = 10 // -dBm0
	toneQueue = 32
)

// tone is a digit to be sent.
type tone struct {
	event uint8
	d     time.Duration
}

// toneFor checks a digit and bounds its length.
func toneFor(digit byte, d time.Duration) (tone, bool) {
	if digit >= 'a' && digit <= 'd' {
		digit -= 'a' - 'A'
	}
	i := strings.IndexByte(digits, digit)
	if i < 0 {
		return tone{}, false
	}
	return tone{event: uint8(i), d: min(max(d, minTone), maxTone)}, true
}

// dialing sends telephone events: one packet per ptime with the duration so far, and the last one three times (RFC 4733,
// 2.5.1). All of an event's packets have the timestamp of its beginning.
type dialing struct {
	active bool
	event  uint8
	ts     uint32
	sofar  uint32 // in the events' clock
	total  uint32
	ends   int
	pause  time.Duration
}

// begin starts a digit; total is at most what 16 bits hold.
func (d *dialing) begin(t tone, ts uint32, clock int) {
	total := uint32(min(int64(t.d)*int64(clock)/int64(time.Second), 0xffff))
	*d = dialing{active: true, event: t.event, ts: ts, total: total}
}

// step writes the payload of the next packet, which covers ptime, and tells whether it is the event's first.
func (d *dialing) step(b *[4]byte, ptime time.Duration, clock int) (first bool) {
	first = d.sofar == 0
	d.sofar = min(d.sofar+uint32(int64(ptime)*int64(clock)/int64(time.Second)), d.total)
	b[0], b[1] = d.event, toneLevel
	binary.BigEndian.PutUint16(b[2:], uint16(d.sofar))
	if d.sofar == d.total {
		b[1] |= 0x80
		if d.ends++; d.ends == endCopies {
			*d = dialing{pause: tonePause}
		}
	}
	return first
}

// listening receives telephone events. An event is known by its timestamp, however many packets tell of it.
type listening struct {
	some     bool // ts is that of an event that was seen
	active   bool // and it has not ended yet
	event    uint8
	ts       uint32
	duration uint16
	last     time.Time
}

// heard takes an event packet's payload and gives what is to be reported: at most an end and a beginning and an end.
func (l *listening) heard(ts uint32, p []byte, at time.Time, clock int, report func(Event)) bool {
	if len(p) < 4 {
		return false
	}
	event, end, duration := p[0], p[1]&0x80 != 0, binary.BigEndian.Uint16(p[2:])
	if int(event) >= len(digits) {
		return true // flash, fax and modem tones: valid, and nobody here wants them
	}
	if l.some && ts != l.ts && int32(ts-l.ts) < 0 {
		return true // a late packet of an earlier event
	}
	if !l.some || ts != l.ts {
		l.stop(clock, report) // the last one's end was lost
		*l = listening{some: true, active: true, event: event, ts: ts}
		report(Event{Kind: DigitDown, Digit: digits[event]})
	}
	if !l.active {
		return true // another copy of the end
	}
	l.duration, l.last = max(l.duration, duration), at
	if end {
		l.stop(clock, report)
	}
	return true
}

// stop reports the end of the event that goes on, if one does.
func (l *listening) stop(clock int, report func(Event)) {
	if !l.active {
		return
	}
	l.active = false
	report(Event{Kind: DigitUp, Digit: digits[l.event], Duration: time.Duration(l.duration) * time.Second / time.Duration(clock)})
}

// expire ends an event whose packets have ceased.
func (l *listening) expire(now time.Time, clock int, report func(Event)) {
	if l.active && now.Sub(l.last) > lostEnd {
		l.stop(clock, report)
	}
}
