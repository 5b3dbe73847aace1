package main_test

import (
	"math"
	"math/cmplx"
	"testing"
	"time"

	"parley/cmd/parley/phonetest"
)

// narrow is the level of one frequency in all of s, in dBFS, measured as one: what is even and lasts is found deep below the noise.
func narrow(s phonetest.Sound, hz float64) float64 {
	var sum complex128
	var gain float64
	for i, v := range s.Samples {
		w := 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(len(s.Samples)))
		sum += complex(w*float64(v)/32767, 0) * cmplx.Rect(1, -2*math.Pi*hz*float64(i)/float64(s.Rate))
		gain += w
	}
	return 20 * math.Log10(max(1e-9, 2*cmplx.Abs(sum)/gain))
}

// P-1 … P-6: three of five go into a private room and come back. On either side nothing is heard of the other one, at least 60 dB
// down over 5 s; nobody's stream has a gap; and the telephones are not told of it: no SIP message is on the wire.
func TestAPrivateRoomAtTheFarEnds(t *testing.T) {
	t.Parallel()
	// No tone is where a codec's distortion of those in the other room falls.
	a := assemble(t, phonetest.PCMU, nil, map[string]float64{host: 893, "2002": 2419, "2003": 1209, "2004": 1688, "2005": 2068})
	people, aside := []string{host, "2002", "2003", "2004", "2005"}, map[string]bool{"2002": true, "2003": true, "2004": true}
	a.create(nil, people[1:]...)
	a.in(people...)
	everybody := func() {
		t.Helper()
		for _, n := range people {
			for _, o := range people {
				if o != n {
					hears(t, n, a.hz[o], a.heard(n, 0))
				}
			}
		}
	}
	everybody()
	wire, sound := sipSeen(t, a.Box), rtpSeen(t, a.Box)
	a.do("open_room", "members", []string{a.id("2002"), a.id("2003"), a.id("2004")}, "room", "aside")
	a.told("room_opened", "")
	for n := range aside {
		if e := a.told("moved", n); e["room"] != "aside" {
			t.Errorf("%s: %v", n, e)
		}
		a.until("is away", n, is("room", "aside")) // P-5: all see who is
	}
	from := map[string]time.Duration{}
	for _, n := range people {
		for _, o := range people {
			if aside[o] != aside[n] {
				hearsNot(t, n, a.hz[o], a.heard(n, 0))
			}
		}
	}
	for _, n := range people {
		from[n] = a.phone[n].Heard(0).Duration()
	}
	for _, n := range people {
		var s phonetest.Sound
		phonetest.Eventually(t, 30*time.Second, "5 s more", func() bool {
			s = a.phone[n].Heard(0)
			s = s.Between(from[n], from[n]+5*time.Second)
			return s.Duration() >= 5*time.Second
		})
		for _, o := range people {
			levels := s.Tone(a.hz[o])
			switch {
			case o == n:
			case aside[o] == aside[n]:
				if level := s.Swaying(a.hz[o]).Median(); level < toneLevel-3 || level > toneLevel+3 {
					t.Errorf("%s hears %s, who is with him, at %.1f dBFS", n, o, level)
				}
			case narrow(s, a.hz[o]) > toneLevel-60 || levels.Max() > toneLevel-40:
				t.Errorf("%s hears %s, who is in another room, at %.1f dBFS, and at %.1f for a moment", n, o, narrow(s, a.hz[o]), levels.Max())
			}
		}
	}
	a.do("return", "room", "aside")
	a.told("room_closed", "")
	everybody()
	for _, p := range wire.Packets() {
		if string(p.Payload) == "\r\n\r\n" { // the box asks its own reader whether it goes on
			continue
		}
		t.Errorf("on the wire: %.200q", p.Payload)
	}
	for _, n := range people {
		var last phonetest.Packet
		gaps := 0
		for _, p := range sentToPhone(sound, a.phone[n]) {
			r, ok := p.RTP()
			if before, had := last.RTP(); ok && had && (r.SSRC != before.SSRC || r.SequenceNumber != before.SequenceNumber+1 || r.Timestamp != before.Timestamp+160) {
				gaps++
			}
			if ok {
				last = p
			}
		}
		if gaps > 0 || last.Payload == nil {
			t.Errorf("%d gaps in what is sent to %s", gaps, n)
		}
	}
}
