package main_test

import (
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// crossing holds that in s one tone gives way to another without a gap of more than 60 ms, and without both at full. skipped are ticks
// that the machine has taken from the mixer.
func crossing(t *testing.T, what string, s phonetest.Sound, from, to float64, skipped int) {
	t.Helper()
	before, after := s.Tone(from), s.Tone(to)
	last, first := -1, -1 // windows of 100 ms
	for i := range before {
		if before[i] > toneLevel-6 && first < 0 {
			last = i
		}
		if after[i] > toneLevel-6 && first < 0 && last >= 0 {
			first = i
		}
	}
	if last < 0 || first < 0 {
		t.Errorf("%s: the two terminals are not heard one after the other", what)
		return
	}
	const step = 20 * time.Millisecond
	const level = toneLevel - 3 // of a sine
	gap, longest, loudest := 0, 0, -120.0
	for at := time.Duration(max(0, last-3)) * 100 * time.Millisecond; at < time.Duration(first+5)*100*time.Millisecond; at += step {
		rms := s.Between(at, at+step).RMS()
		loudest = max(loudest, rms)
		if gap++; rms > level-10 {
			gap = 0
		}
		longest = max(longest, gap)
	}
	t.Logf("%s: a gap of %d ms, and at most %.1f dB above one terminal alone", what, longest*20, loudest-level)
	if longest*20 > 60+10*skipped {
		t.Errorf("%s: a gap of %d ms, while the mixer skipped %d ticks", what, longest*20, skipped)
	}
	if loudest > level+4 {
		t.Errorf("%s: both terminals are heard, %.1f dB above one alone", what, loudest-level)
	}
}

// replacing is the Replaces header for the box's newest call to a number, as a telephone there would write it.
func replacing(t *testing.T, wire *phonetest.Capture, box *boxtest.Box, number string) string {
	t.Helper()
	call := ""
	part := func(text, pattern string) string {
		if m := regexp.MustCompile(pattern).FindStringSubmatch(text); m != nil {
			return m[1]
		}
		return ""
	}
	header := ""
	for _, p := range wire.Packets() {
		text := strings.ReplaceAll(string(p.Payload), "\r\n", "\n")
		id := part(text, `(?i)\nCall-ID: *(\S+)`)
		switch {
		case p.Src.String() == box.SIP && strings.HasPrefix(text, "INVITE sip:"+number):
			call = id
		case id == call && call != "" && strings.HasPrefix(text, "SIP/2.0 200") && regexp.MustCompile(`(?i)\nCSeq: *\d+ INVITE`).MatchString(text):
			header = "Replaces: " + id + ";to-tag=" + part(text, `(?i)\nFrom:[^\n]*;tag=([^;\s]+)`) + ";from-tag=" + part(text, `(?i)\nTo:[^\n]*;tag=([^;\s]+)`)
		}
	}
	if header == "" {
		t.Fatalf("no call to %s was answered", number)
	}
	return header
}

// C-8: a member goes from one telephone to another, into the room, to a third telephone, and from there takes the call over by an INVITE
// with Replaces. The others hear no gap and never two of him; the roster has one line, which is the same one throughout, and so
// are its mutes. Gaps of 60 ms are judged in what this process itself says, so nothing runs beside it.
func TestRoaming(t *testing.T) {
	a := assemble(t, phonetest.PCMU, nil, map[string]float64{host: 310, "2002": 700, "2003": 1100, "2004": 1700})
	wire, sound := sipSeen(t, a.Box), rtpSeen(t, a.Box)
	a.create(nil, "2002")
	a.in(host, "2002")
	me := a.id("2002")
	mine := a.Token("-role", "guest", "-number", "2002", "-ttl", "1h")
	atHost := func() phonetest.Sound { return phonetest.G711(sentToPhone(sound, a.phone[host])) }
	phonetest.Eventually(t, 20*time.Second, "the host hears 2002 alone, and nothing of what is said to whom comes in", func() bool {
		s := lately(atHost(), time.Second)
		return s.Duration() >= time.Second && s.Tone(a.hz["2002"]).Quantile(0) > toneLevel-1 && s.Loudest() < toneLevel-2
	})
	skipped := a.Metric("parley_mixer_skipped_ticks_total")
	moved := func(what string, from, to float64) {
		t.Helper()
		hears(t, "the host, "+what, to, atHost)
		crossing(t, what, atHost(), from, to, int(a.Metric("parley_mixer_skipped_ticks_total")-skipped))
		if m := memberIn(a.state(), "2002"); m["id"] != me || m["state"] != "connected" {
			t.Errorf("%s: the roster says %v", what, m)
		}
	}

	a.as(mine, 200, "transfer", "number", "2003")
	a.phone["2002"].Expect("CALL_CLOSED", 20*time.Second)
	moved("to another telephone", a.hz["2002"], a.hz["2003"])
	hears(t, "2003", a.hz[host], a.heard("2003", 0))

	a.as(mine, 200, "transfer", "number", a.Place)
	a.watch.Wait("/conf/"+a.conf+"/notice", "the wish for the room", 20*time.Second, func(p map[string]any) bool { return p["event"] == "transfer" && p["text"] == a.Place })
	a.Press("j")
	a.phone["2003"].Expect("CALL_CLOSED", 20*time.Second)
	moved("into the room", a.hz["2003"], placeHz)
	a.until("is the place", "2002", is("place", true))
	hears(t, "the room", a.hz[host], a.Speaker)

	a.as(mine, 200, "transfer", "number", "2004")
	moved("out of the room", placeHz, a.hz["2004"])
	a.until("is the place no more", "2002", func(m map[string]any) bool { return m["place"] == nil })
	hearsNot(t, "the room", a.hz[host], a.Speaker)

	take := func(user string) (*toneCall, phonetest.RawAnswer) {
		t.Helper()
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		raw := phonetest.NewRaw(t, conn, netip.MustParseAddrPort(a.SIP))
		q := phonetest.RawRequest{Number: a.conf, User: user, Password: "secret-" + user, Headers: []string{replacing(t, wire, a.Box, "2004")}}
		if user != "2002" {
			q.Method, q.Body = "INVITE", phonetest.SDP(phonetest.NewTap(t, "127.0.0.1").Addr())
			all := raw.Ask(q)
			return nil, all[len(all)-1]
		}
		return startToneCall(t, a.Box, nil, phonetest.NewTap(t, "127.0.0.1"), q, raw), phonetest.RawAnswer{}
	}
	if _, answer := take("2003"); answer.Code != 403 { // it is somebody else's call
		t.Errorf("a call is taken over by somebody else: %s", answer.Text)
	}
	call, _ := take("2002")
	a.phone["2004"].Expect("CALL_CLOSED", 20*time.Second)
	moved("by Replaces", a.hz["2004"], callerHz)

	// A mute goes with the member.
	a.do("mute", "member", me)
	hearsNot(t, "the host", callerHz, atHost)
	a.as(mine, 200, "transfer", "number", "2003")
	a.phone["2003"].Expect("CALL_ESTABLISHED", 20*time.Second)
	a.watch.Wait("/call", "one call to 2003 and one to the host", 20*time.Second, calls(2))
	hears(t, "2003", a.hz[host], a.heard("2003", 1))
	if level := lately(atHost(), time.Second).Tone(a.hz["2003"]).Max(); level > toneLevel-40 {
		t.Errorf("a muted member is heard from his next telephone, at %.1f dBFS", level)
	}
	call.hush()
	for _, event := range []string{"joined", "left"} {
		if n := len(a.notices(event, me)); n != map[string]int{"joined": 1}[event] {
			t.Errorf("%d notices that the member has %s", n, event)
		}
	}
	a.do("end")
	a.phone["2003"].Expect("CALL_CLOSED", 20*time.Second)
}

// notices are those of an event about a member so far.
func (a *assembly) notices(event, member string) (list []string) {
	for _, m := range a.watch.Messages("/conf/" + a.conf + "/notice") {
		text := string(m.Payload)
		if strings.Contains(text, `"event":"`+event+`"`) && strings.Contains(text, `"member":{"id":"`+member+`"`) {
			list = append(list, text)
		}
	}
	return list
}

// C-8: where nothing comes of it, the member stays where he is, whole; where the old telephone is hung up while the new one rings, he
// goes on from the new one; a room that rings for him stops when he has left.
func TestRoamingThatFails(t *testing.T) {
	t.Parallel()
	a := assemble(t, phonetest.PCMU, nil, map[string]float64{host: 310, "2002": 700, "2003": 1100}, "2003")
	a.create(nil, "2002")
	a.in(host, "2002")
	me := a.id("2002")
	mine := a.Token("-role", "guest", "-number", "2002", "-ttl", "1h")
	stays := func() {
		t.Helper()
		hears(t, "the host", a.hz["2002"], a.heard(host, 0))
		hears(t, "2002", a.hz[host], a.heard("2002", 0))
		if m := memberIn(a.state(), "2002"); m["id"] != me || m["state"] != "connected" {
			t.Errorf("the roster says %v", m)
		}
	}
	a.as(mine, 200, "transfer", "number", "2003")
	a.phone["2003"].Expect("CALL_INCOMING", 20*time.Second)
	a.phone["2003"].Hangup()
	a.phone["2003"].Expect("CALL_CLOSED", 20*time.Second)
	stays()
	a.as(mine, 200, "transfer", "number", "2999") // no such telephone
	a.WaitLine("cannot go to another terminal", 20*time.Second)
	stays()
	other := a.Token("-role", "guest", "-number", "2003", "-conf", a.uid, "-ttl", "1h")
	a.as(other, 403, "transfer", "member", me, "number", "2003") // nobody else may, but a host
	a.as(mine, 403, "transfer", "number", "sip:2002@127.0.0.1:9")

	a.as(mine, 200, "transfer", "number", "2003")
	a.phone["2003"].Expect("CALL_INCOMING", 20*time.Second)
	a.phone["2002"].Hangup()
	a.phone["2002"].Expect("CALL_CLOSED", 20*time.Second)
	a.phone["2003"].Answer()
	hears(t, "the host", a.hz["2003"], a.heard(host, 0))
	a.until("goes on", "2002", func(m map[string]any) bool { return m["id"] == me && m["state"] == "connected" })

	bell := func() int { return lately(a.Speaker(), 2*time.Second).Tone(880).Above(-40) }
	a.as(mine, 200, "transfer", "number", a.Place)
	phonetest.Eventually(t, 20*time.Second, "the room rings", func() bool { return bell() > 1 })
	a.do("kick", "member", me)
	a.phone["2003"].Expect("CALL_CLOSED", 20*time.Second)
	a.told("kicked", "2002")
	phonetest.Eventually(t, 20*time.Second, "the room rings no more", func() bool { return bell() == 0 })
	a.Press("j") // it joins the standing conference, since nobody calls any more
	a.watch.Wait("/conf/"+a.Conference+"/state", "the place", 20*time.Second, func(p map[string]any) bool { return connected(p) == 1 })
	if m := memberIn(a.state(), "2002"); m["state"] == "connected" {
		t.Errorf("who was put out is in again, in the room: %v", m)
	}
}
