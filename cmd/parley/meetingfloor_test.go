package main_test

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// rtpSeen captures all RTP of the box.
func rtpSeen(t *testing.T, box *boxtest.Box) *phonetest.Capture {
	t.Helper()
	return phonetest.StartCapture(t, uint16(box.FirstRTP), uint16(box.LastRTP))
}

// sentToPhone picks out what went to a phone's RTP ports. In a phone's only call of G.711 it is one stream.
func sentToPhone(c *phonetest.Capture, p *phonetest.Baresip) (list []phonetest.Packet) {
	_, text, _ := net.SplitHostPort(p.Addr())
	port, _ := strconv.Atoi(text)
	for _, packet := range c.Packets() {
		if at := int(packet.Dst.Port()) - port; at >= 4 && at < 40 {
			list = append(list, packet)
		}
	}
	return list
}

// chords are the sets of people who are heard in the course of a recording, each for half a second or more without a change; most is the
// largest number of people in any 300 ms: a word of a prompt can sound like somebody for a moment.
func (a *assembly) chords(s phonetest.Sound) (sets []string, most int) {
	levels := map[string]phonetest.ToneLevels{}
	for number, hz := range a.hz {
		levels[number] = s.Swaying(hz)
	}
	last, n, before := "", 0, 0
	for i := range levels[host] {
		var heard []string
		for number := range a.hz {
			if levels[number][i] > toneLevel-4.5 {
				heard = append(heard, number)
			}
		}
		most, before = max(most, min(before, len(heard))), len(heard)
		slices.Sort(heard)
		set := strings.Join(heard, " ")
		if set != last {
			last, n = set, 0
		}
		if n++; n == 5 && (len(sets) == 0 || sets[len(sets)-1] != set) {
			sets = append(sets, set)
		}
	}
	return sets, most
}

// less is a set without one of its own.
func less(set, number string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(set), func(s string) bool { return s == number }), " ")
}

// C-16: six people ask and four are heard, by everybody, at every moment; who gives the floor up makes way for the next in the
// queue; and so from the keys of a plain telephone. Every moment of six telephones is judged, so
// nothing runs beside it.
func TestTheFloor(t *testing.T) {
	a := assemble(t, phonetest.PCMU, nil, map[string]float64{host: 310, "2002": 470, "2003": 730, "2004": 1090, "2005": 1570, "2006": 2210})
	wire := rtpSeen(t, a.Box)
	people := []string{host, "2002", "2003", "2004", "2005", "2006"}
	a.create(boxtest.Settings{"maxSpeaker": 4}, people[1:]...)
	a.in(people...)
	token := map[string]string{host: a.token}
	for _, n := range people[1:] {
		token[n] = a.Token("-role", "guest", "-number", n, "-conf", a.uid, "-ttl", "1h")
	}
	for _, n := range people {
		a.as(token[n], 200, "ask_floor")
	}
	var chain []string // who is heard, one after another
	holds := func(speakers string) {
		t.Helper()
		chain = append(chain, speakers)
		for _, n := range people {
			want := "" // of the floor
			if strings.Contains(speakers, n) {
				want = "granted"
			}
			a.until("has the floor: "+want, n, func(m map[string]any) bool { return (m["floor"] == "granted") == (want != "") })
		}
		for _, n := range people {
			phonetest.Eventually(t, 20*time.Second, fmt.Sprintf("%s hears %s", n, speakers), func() bool {
				s := lately(phonetest.G711(sentToPhone(wire, a.phone[n])), 2*time.Second)
				sets, _ := a.chords(s)
				return len(sets) == 1 && sets[0] == less(speakers, n)
			})
		}
	}
	holds("2001 2002 2003 2004")
	for i, n := range []string{"2005", "2006"} {
		if e := a.told("queued", n); e["position"] != float64(i+1) {
			t.Errorf("%s was told %v, want position %d", n, e, i+1)
		}
	}
	a.as(token["2002"], 200, "yield_floor")
	a.as(token["2003"], 200, "yield_floor")
	holds("2001 2004 2005 2006")
	a.told("yielded", "2002")
	a.told("granted", "2006")

	// From a plain telephone: *1 asks, and *2 gives up.
	a.phone["2003"].Digits("*1")
	a.until("waits for the floor", "2003", is("floor", "queued"))
	a.phone["2005"].Digits("*2")
	holds("2001 2003 2004 2006")

	// In no moment of it all more than four are heard, and what is heard is what was granted, in that order.
	for _, n := range people {
		sets, most := a.chords(phonetest.G711(sentToPhone(wire, a.phone[n])))
		if most > 4 {
			t.Errorf("%s heard %d at once", n, most)
		}
		var want, got []string
		for _, s := range chain {
			if s = less(s, n); len(want) == 0 || want[len(want)-1] != s {
				want = append(want, s)
			}
		}
		for _, s := range sets { // while they ask, there are fewer; while two yield, one has changed
			if slices.Contains(want, s) && !slices.Contains(got, s) {
				got = append(got, s)
			} else if len(got) > 0 && !slices.Contains(want, s) && s != less("2001 2003 2004 2005", n) && s != less("2001 2004 2006", n) {
				t.Errorf("%s heard %q, which nobody granted", n, s)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s heard %q, want %q", n, got, want)
		}
	}
}
