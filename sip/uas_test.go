package sip

import (
	"strings"
	"testing"
	"time"

	"parley/audio"
	"parley/audio/g711"
)

// What an INVITE is refused for, and with what.
func TestInviteRefused(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		head       []string
		code       int
		has        [2]string // header, part of its value
	}{
		{"100rel", sdpBody(), []string{"Require: 100rel"}, 420, [2]string{"Unsupported", "100rel"}},
		{"body", "hello", []string{"Content-Type: text/plain"}, 415, [2]string{"Accept", sdpType}},
		{"encoding", sdpBody(), []string{"Content-Encoding: gzip"}, 415, [2]string{}},
		{"accept", sdpBody(), []string{"Accept: text/nobodyknows"}, 406, [2]string{}},
		{"codec", strings.NewReplacer("AVP 0 101", "AVP 4", "rtpmap:0 PCMU", "rtpmap:4 G723").Replace(sdpBody()), nil, 488, [2]string{"Warning", "304"}},
		{"video", strings.Replace(sdpBody(), "m=audio", "m=video", 1), nil, 488, [2]string{}},
		{"broken", "v=0\r\nm=nonsense\r\n", nil, 400, [2]string{}},
		{"session", sdpBody(), []string{"Supported: timer", "Session-Expires: 30"}, 422, [2]string{"Min-SE", "90"}},
		{"srtp", strings.Replace(sdpBody(), "RTP/AVP", "RTP/SAVP", 1), nil, 488, [2]string{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEnd(t)
			w := newWire(t, e)
			w.send(w.request("INVITE", 1, tc.body, tc.head...))
			p := w.wantCode(tc.code, "INVITE")
			if !strings.Contains(p.header(tc.has[0]), tc.has[1]) {
				t.Errorf("%s in\n%s", tc.has, p.text)
			}
			select {
			case <-e.calls:
				t.Error("the handler was asked")
			default:
			}
		})
	}
}

// A 200 without ACK is repeated with growing pauses, and BYE follows in the end (RFC 3261, 13.3.1.4).
func TestNoAck(t *testing.T) {
	e := newEnd(t, func(c *Config) { c.Timers.AckWait = 400 * time.Millisecond })
	w := newWire(t, e)
	w.send(w.request("INVITE", 1, sdpBody()))
	c := e.next()
	n := 0
	for {
		p, ok := w.read(patience)
		if !ok {
			t.Fatal("nothing comes any more")
		}
		if p.code() == 200 {
			n++
			w.tag = tagOf(p.header("To"))
		}
		if p.method() == "BYE" {
			w.answer(p, 200, "", "")
			break
		}
	}
	if n < 3 {
		t.Errorf("%d times 200", n)
	}
	e.wantEnded(c, 408, Watchdog)
}

// An INVITE that is repeated makes one call.
func TestInviteRepeated(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, e)
	msg := w.request("INVITE", 1, sdpBody())
	for range 4 {
		w.send(msg)
	}
	c := e.next()
	w.wantCode(200, "INVITE")
	w.send(w.request("ACK", 1, ""))
	e.want(c, Answered)
	if n := e.agent.Calls(); n != 1 {
		t.Errorf("%d calls", n)
	}
	w.send(w.request("BYE", 2, ""))
	w.wantCode(200, "BYE")
	e.wantEnded(c, 200, Remote)
	w.send(w.request("BYE", 3, ""))
	for p := w.wantAny(); ; p = w.wantAny() {
		if strings.HasPrefix(p.header("CSeq"), "3 BYE") {
			if p.code() != 481 {
				t.Errorf("BYE after the end: %s", p.start())
			}
			break
		}
	}
}

func (w *wire) wantAny() packet {
	w.t.Helper()
	p, ok := w.read(patience)
	if !ok {
		w.t.Fatal("nothing comes")
	}
	return p
}

// The same INVITE by two ways (another branch): 482.
func TestMerged(t *testing.T) {
	e := newEnd(t)
	e.decide(func(c *Call) { c.Ring() })
	w := newWire(t, e)
	w.send(w.request("INVITE", 1, sdpBody()))
	e.next()
	w.wantCode(180, "INVITE")
	tag := w.tag
	w.tag = ""
	w.send(w.request("INVITE", 1, sdpBody()))
	w.wantCode(482, "INVITE")
	w.tag = tag
	w.send(w.request("BYE", 2, ""))
	w.wantCode(487, "INVITE")
}

// An INVITE without an offer: ours is in the 200, the answer in the ACK.
func TestNoOffer(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, e)
	w.send(w.request("INVITE", 1, ""))
	c := e.next()
	p := w.wantCode(200, "INVITE")
	for _, m := range []string{"G722/8000", "PCMU/8000", "telephone-event/8000"} {
		if !strings.Contains(p.body(), m) {
			t.Errorf("offer without %s:\n%s", m, p.body())
		}
	}
	w.send(w.request("ACK", 1, sdpBody()))
	e.want(c, Answered)
	if f := c.Info().Format; f.Codec != "PCMU" {
		t.Errorf("format %+v", f)
	}
	c.Hangup("")
	w.answer(w.wantRequest("BYE"), 200, "", "")
}

// An ACK without the answer that was due ends the call.
func TestNoOfferNoAnswer(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, e)
	w.send(w.request("INVITE", 1, ""))
	c := e.next()
	w.wantCode(200, "INVITE")
	w.send(w.request("ACK", 1, ""))
	w.answer(w.wantRequest("BYE"), 200, "", "")
	e.wantEnded(c, 400, Local)
}

// A re-INVITE that overtakes the ACK before it waits for it.
func TestAckSwapped(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, e)
	w.send(w.request("INVITE", 1, sdpBody()))
	c := e.next()
	w.wantCode(200, "INVITE")
	w.send(w.request("INVITE", 2, sdpBody("a=sendonly")))
	w.send(w.request("ACK", 1, ""))
	for p := w.wantAny(); p.header("CSeq") != "2 INVITE" || p.code() == 100; p = w.wantAny() {
	}
	w.send(w.request("ACK", 2, ""))
	e.want(c, Held)
	c.Hangup("")
	w.answer(w.wantRequest("BYE"), 200, "", "")
}

// Requests of one dialog are served in the order in which they came.
func TestInOrder(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, e)
	c := w.setUp(e)
	const n = 40
	for i := range n {
		w.send(w.request("INFO", 2+i, "Signal="+string(digits[i%10])+"\r\n", "Content-Type: "+relayType))
	}
	for i := range n {
		if ev := e.want(c, DTMF); ev.Digit != digits[i%10] {
			t.Fatalf("digit %d is %c", i, ev.Digit)
		}
	}
	for range n {
		w.wantCode(200, "INFO")
	}
	w.send(w.request("INFO", 5, "Signal=1\r\n", "Content-Type: "+relayType)) // an old one
	w.wantCode(500, "INFO")
	w.send(w.request("INFO", 100, "1", "Content-Type: text/plain"))
	w.wantCode(415, "INFO")
	w.send(w.request("INFO", 101, "#", "Content-Type: "+dtmfType))
	w.wantCode(200, "INFO")
	if ev := e.want(c, DTMF); ev.Digit != '#' {
		t.Errorf("%c", ev.Digit)
	}
	w.send(w.request("OPTIONS", 102, ""))
	w.wantCode(200, "OPTIONS")
	w.send(w.request("PRACK", 103, "", "RAck: 1 1 INVITE"))
	w.wantCode(481, "PRACK")
	c.Hangup("")
	w.answer(w.wantRequest("BYE"), 200, "", "")
}

// OPTIONS tells what we can do, outside a call too; what is outside any call gets 481, what nobody serves 405 or 501.
func TestOutside(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, e)
	w.send(w.request("OPTIONS", 1, ""))
	p := w.wantCode(200, "OPTIONS")
	if !strings.Contains(p.header("Allow"), "UPDATE") || p.header("Supported") != "timer, replaces, norefersub" || p.header("Accept") != sdpType {
		t.Errorf("%s", p.text)
	}
	for i, tc := range []struct {
		method string
		code   int
	}{{"BYE", 481}, {"INFO", 481}, {"UPDATE", 481}, {"NOTIFY", 481}, {"REGISTER", 405}, {"SUBSCRIBE", 489}, {"REFER", 403}, {"CANCEL", 481}} {
		w.tag = ""
		w.send(w.request(tc.method, 10+i, ""))
		w.wantCode(tc.code, tc.method)
	}
	w.send(w.request("NEWTHING", 50, ""))
	w.wantCode(501, "NEWTHING")
}

// A BYE before our final response ends the call, and the INVITE gets 487.
func TestByeEarly(t *testing.T) {
	e := newEnd(t)
	e.decide(func(c *Call) { c.Ring() })
	w := newWire(t, e)
	w.send(w.request("INVITE", 1, sdpBody()))
	c := e.next()
	w.wantCode(180, "INVITE")
	w.send(w.request("BYE", 2, ""))
	var bye, invite bool
	for !bye || !invite {
		p := w.wantAny()
		bye = bye || p.code() == 200 && strings.HasSuffix(p.header("CSeq"), "BYE")
		invite = invite || p.code() == 487
	}
	e.wantEnded(c, 200, Remote)
}

// As many calls as allowed, then 486.
func TestFull(t *testing.T) {
	e := newEnd(t, func(c *Config) { c.MaxCalls = 1 })
	w := newWire(t, e)
	c := w.setUp(e)
	second := newWire(t, e)
	second.send(second.request("INVITE", 1, sdpBody()))
	second.wantCode(486, "INVITE")
	c.Hangup("")
	w.answer(w.wantRequest("BYE"), 200, "", "")
	<-c.Done()
	third := newWire(t, e)
	c = third.setUp(e)
	third.send(third.request("BYE", 2, ""))
	third.wantCode(200, "BYE")
	e.wantEnded(c, 200, Remote)
}

// isfocus stands in the Contact of a conference, and the random tag of the dialog in every response.
func TestFocus(t *testing.T) {
	e := newEnd(t)
	e.decide(func(c *Call) { c.SetFocus(true); c.Ring(); c.Answer() })
	w := newWire(t, e)
	w.send(w.request("INVITE", 1, sdpBody()))
	c := e.next()
	ringing := w.wantCode(180, "INVITE")
	p := w.wantCode(200, "INVITE")
	if !strings.HasSuffix(p.header("Contact"), ";isfocus") || tagOf(ringing.header("To")) != tagOf(p.header("To")) {
		t.Errorf("%s", p.text)
	}
	w.send(w.request("ACK", 1, ""))
	e.want(c, Answered)
	w.send(w.request("BYE", 2, ""))
	w.wantCode(200, "BYE")
}

// The 487 to a CANCEL bears the dialog's tag.
func TestCancelTag(t *testing.T) {
	e := newEnd(t)
	e.decide(func(c *Call) { c.Ring() })
	w := newWire(t, e)
	invite := w.request("INVITE", 1, sdpBody())
	w.send(invite)
	c := e.next()
	tag := tagOf(w.wantCode(180, "INVITE").header("To"))
	head, _, _ := strings.Cut(invite, "Contact:")
	w.send(strings.ReplaceAll(head, "INVITE", "CANCEL") + "Content-Length: 0\r\n\r\n")
	w.wantCode(200, "CANCEL")
	if p := w.wantCode(487, "INVITE"); tagOf(p.header("To")) != tag {
		t.Errorf("tag %s, was %s", tagOf(p.header("To")), tag)
	}
	e.wantEnded(c, 487, Remote)
}

// A response longer than 1300 bytes goes by UDP all the same.
func TestLongResponse(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, e)
	var head []string
	for range 24 {
		head = append(head, "Record-Route: <sip:"+strings.Repeat("r", 60)+"@"+w.addr()+";lr>")
	}
	w.send(w.request("INVITE", 1, sdpBody(), head...))
	e.next()
	p := w.wantCode(200, "INVITE")
	if len(p.text) < 1500 {
		t.Errorf("only %d bytes", len(p.text))
	}
	w.farewell(e)
}

// no RTP for a while is told, and later ends the call; RTP in between takes it back; a held call may be silent.
func TestMediaLost(t *testing.T) {
	slow := func(c *Config) {
		c.Timers.MediaAlert, c.Timers.MediaEnd = 150*time.Millisecond, 600*time.Millisecond
		c.Codecs = []audio.Codec{g711.PCMU()}
	}
	e := newEnd(t, slow)
	w := newWire(t, e)
	held := newWire(t, e)
	onHold := held.setUp(e)
	held.send(held.request("INVITE", 2, sdpBody("a=inactive")))
	held.wantCode(200, "INVITE")
	held.send(held.request("ACK", 2, ""))
	e.want(onHold, Held)
	began := time.Now()
	c := w.setUp(e)
	e.want(c, MediaLost)
	if d := time.Since(began); d < 150*time.Millisecond {
		t.Errorf("lost after %v", d)
	}
	p := w.wantRequest("BYE")
	if d := time.Since(began); d < 600*time.Millisecond {
		t.Errorf("ended after %v", d)
	}
	w.answer(p, 200, "", "")
	if ev := e.wantEnded(c, 408, Watchdog); ev.Reason != "no media" {
		t.Errorf("%+v", ev)
	}
	if onHold.State() != Talking {
		t.Error("the held call is gone too")
	}
	held.farewell(e)
}
