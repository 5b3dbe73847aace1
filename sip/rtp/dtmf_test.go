package rtp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"parley/audio"
)

// Digits from one leg to the other, in order, each once, with their lengths; sound pauses meanwhile and comes back.
func TestDigitsBothWays(t *testing.T) {
	for _, clock := range []int{8000, 48000} {
		t.Run(fmt.Sprint(clock), func(t *testing.T) {
			r := newRig(t)
			a, b := r.pair(func(p *Params) { p.EventClock = clock })
			r.tick()
			for _, d := range []byte("15#D") {
				if err := a.SendDTMF(d, 100*time.Millisecond); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.SendDTMF('*', 200*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			for i := range 120 {
				if i%2 == 0 {
					a.WritePacket(a.Format(), speech(i/2))
					b.WritePacket(b.Format(), speech(i/2))
					r.arrive(a.sock.rtp)
					r.arrive(b.sock.rtp)
				}
				r.tick()
				a.ReadFrame(8000, new(audio.Frame))
				b.ReadFrame(8000, new(audio.Frame))
			}
			if got := digitsOf(b); got != "1(100ms) 5(100ms) #(100ms) D(100ms) " {
				t.Errorf("heard %s", got)
			}
			if got := digitsOf(a); got != "*(200ms) " {
				t.Errorf("heard %s", got)
			}
			if st := r.figures(b); st.Missing != 0 || st.Malformed != 0 || st.Received != 60 || st.Concealed != 0 {
				t.Errorf("events cost sound: %+v", st)
			}
		})
	}
}

// digitsOf reads the events that wait.
func digitsOf(l *Leg) (s string) {
	for {
		select {
		case e := <-l.Events():
			switch e.Kind {
			case DigitDown:
				s += string(e.Digit)
			case DigitUp:
				s += fmt.Sprintf("(%v) ", e.Duration)
			}
		default:
			return s
		}
	}
}

// A digit whose sender turns into another one in its middle has ended.
func TestDigitOfAStreamThatEnds(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	far := newPeer(t, l)
	r.configure(l, pcmu(far.port()))
	far.pt = 101
	far.raw(far.packet([]byte{1, 10, 0, 160}))
	far.pt, far.ssrc = 0, 0x7777
	for range probation {
		far.raw(far.packet(speech(0)))
	}
	r.arrive(l.sock.rtp)
	r.tick()
	if got := digitsOf(l); got != "1(20ms) " {
		t.Errorf("heard %q", got)
	}
}

// What goes over the wire for a digit (RFC 4733, 2.5.1).
func TestDigitOnTheWire(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	far := newPeer(t, l)
	r.configure(l, pcmu(far.port()))
	r.tick()
	_ = l.SendDTMF('9', 60*time.Millisecond)
	for i := range 7 {
		l.WritePacket(l.Format(), speech(i))
	}
	var got []string
	var first header
	for i := range 7 {
		b := far.read(time.Second)
		h, ok := parseHeader(b)
		if !ok {
			t.Fatalf("packet %d: %x", i, b)
		}
		if i == 0 {
			first = h
		}
		if h.seq != first.seq+uint16(i) {
			t.Errorf("packet %d has number %d after %d", i, h.seq, first.seq)
		}
		s := fmt.Sprintf("pt%d mark=%v +%d", h.pt, h.marker, h.timestamp-first.timestamp)
		if h.pt == 101 {
			s += fmt.Sprintf(" event %d end=%v %d", b[12], b[13]&0x80 != 0, binary.BigEndian.Uint16(b[14:]))
		}
		got = append(got, s)
	}
	want := []string{
		"pt101 mark=true +0 event 9 end=false 160",
		"pt101 mark=false +0 event 9 end=false 320",
		"pt101 mark=false +0 event 9 end=true 480",
		"pt101 mark=false +0 event 9 end=true 480",
		"pt101 mark=false +0 event 9 end=true 480",
		"pt0 mark=true +800",
		"pt0 mark=false +960",
	}
	if !slices.Equal(got, want) {
		t.Errorf("sent %q\nwant %q", got, want)
	}
}

func TestSendDTMFRefuses(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	if err := l.SendDTMF('1', time.Second); !errors.Is(err, ErrNoEvents) {
		t.Errorf("before anything was agreed on: %v", err)
	}
	p := pcmu(4000)
	r.configure(l, p)
	if err := l.SendDTMF('x', time.Second); !errors.Is(err, ErrDigit) {
		t.Errorf("x: %v", err)
	}
	for range toneQueue {
		if err := l.SendDTMF('a', time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.SendDTMF('1', time.Second); !errors.Is(err, ErrBusy) {
		t.Errorf("a queue too long: %v", err)
	}
	p.EventPT = -1
	r.configure(l, p)
	if err := l.SendDTMF('1', time.Second); !errors.Is(err, ErrNoEvents) {
		t.Errorf("without telephone-event: %v", err)
	}
	r.tick()
	l.WritePacket(l.Format(), nil)
	if len(l.tones) != 0 {
		t.Error("digits wait for a far end that takes none")
	}
}

// Receiving events whose packets are doubled, lost, late or nonsense.
func TestListening(t *testing.T) {
	type in struct {
		ts       uint32
		event    byte
		end      bool
		duration uint16
		at       int // ms
	}
	tests := []struct {
		name string
		in   []in
		want string
	}{
		{"plain", []in{{0, 1, false, 160, 0}, {0, 1, false, 320, 20}, {0, 1, true, 480, 40}, {0, 1, true, 480, 60}, {0, 1, true, 480, 80}}, "1(60ms) "},
		{"only one end packet arrives", []in{{0, 10, true, 800, 0}}, "*(100ms) "},
		{"every packet twice", []in{{0, 1, false, 160, 0}, {0, 1, false, 160, 0}, {0, 1, true, 480, 40}, {0, 1, true, 480, 40}}, "1(60ms) "},
		{"the end is lost", []in{{0, 2, false, 160, 0}, {0, 2, false, 320, 20}}, "2(40ms) "},
		{"the end is lost and another begins", []in{{0, 2, false, 320, 0}, {1600, 3, false, 160, 150}, {1600, 3, true, 400, 180}}, "2(40ms) 3(50ms) "},
		{"the same digit twice", []in{{0, 5, true, 800, 0}, {1600, 5, true, 800, 200}}, "5(100ms) 5(100ms) "},
		{"a late packet of the digit before", []in{{0, 5, true, 800, 0}, {1600, 6, true, 800, 200}, {0, 5, true, 800, 210}}, "5(100ms) 6(100ms) "},
		{"reordered", []in{{0, 5, false, 160, 0}, {0, 5, true, 480, 20}, {0, 5, false, 320, 40}}, "5(60ms) "},
		{"timestamps wrap", []in{{1<<32 - 100, 5, true, 800, 0}, {1500, 6, true, 800, 200}}, "5(100ms) 6(100ms) "},
		{"flash and fax tones", []in{{0, 16, true, 800, 0}, {1600, 36, false, 160, 100}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var l listening
			got := ""
			report := func(e Event) {
				if e.Kind == DigitDown {
					got += string(e.Digit)
				} else {
					got += fmt.Sprintf("(%v) ", e.Duration)
				}
			}
			t0 := time.Unix(1_750_000_000, 0)
			for _, p := range tt.in {
				b := []byte{p.event, 10, 0, 0}
				if p.end {
					b[1] |= 0x80
				}
				binary.BigEndian.PutUint16(b[2:], p.duration)
				if !l.heard(p.ts, b, t0.Add(time.Duration(p.at)*time.Millisecond), 8000, report) {
					t.Error("taken as malformed")
				}
			}
			l.expire(t0.Add(time.Second), 8000, report)
			if got != tt.want {
				t.Errorf("heard %q, want %q", got, tt.want)
			}
		})
	}
	if (&listening{}).heard(0, []byte{1, 2, 3}, time.Time{}, 8000, func(Event) {}) {
		t.Error("three bytes are an event")
	}
}

// Nobody fetches the events of a leg: they are counted as lost, and the tick goes on.
func TestEventsNobodyReads(t *testing.T) {
	r := newRig(t)
	l := r.leg(loopback)
	far := newPeer(t, l)
	r.configure(l, pcmu(far.port()))
	far.pt = 101
	for range eventQueue {
		far.ts += 1000
		far.raw(far.packet([]byte{1, 0x8a, 3, 0x20}))
		r.arrive(l.sock.rtp)
		r.tick()
	}
	if st := r.figures(l); st.EventsLost != eventQueue || st.Received != eventQueue {
		t.Errorf("%d events lost of %d packets", st.EventsLost, st.Received)
	}
}
