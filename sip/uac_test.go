package sip

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"parley/sip/route"
)

// gateway is a wire as a way out.
func (w *wire) gateway(name string) route.Hop {
	return route.Hop{Gateway: route.Gateway{Name: name, URI: "sip:" + w.addr()}, Number: "0123"}
}

func (w *wire) uri() string { return "sip:300@" + w.addr() }

// A final code that is the callee's own ends the call at once; redirections are refused, not followed.
func TestDialRefused(t *testing.T) {
	e := newEnd(t)
	for _, code := range []int{302, 404, 486, 488, 603} {
		w := newWire(t, nil)
		c := e.dial(Dial{To: w.uri()})
		w.answer(w.wantRequest("INVITE"), code, "x", "", "Contact: <sip:evil@127.0.0.9>")
		w.wantRequest("ACK")
		e.wantEnded(c, code, Remote)
	}
}

// The next gateway on 503, on time-out and on a refused connection, and on nothing else (X-7a).
func TestFailover(t *testing.T) {
	e := newEnd(t, listen("udp 127.0.0.1:0", "tcp 127.0.0.1:0"), func(c *Config) { c.Timers.Try = 200 * time.Millisecond })
	last := newEnd(t)
	busy, silent, closed := newWire(t, nil), newWire(t, nil), newWire(t, nil)
	refused := closed.gateway("closed")
	refused.Gateway.URI += ";transport=tcp"
	good := route.Hop{Gateway: route.Gateway{Name: "good", URI: "sip:" + last.addr("udp")}, Number: "0123"}
	c := e.dial(Dial{To: "0123", Hops: []route.Hop{busy.gateway("busy"), silent.gateway("silent"), refused, good}})
	busy.answer(busy.wantRequest("INVITE"), 503, "x", "")
	busy.wantRequest("ACK")
	in := last.next()
	e.want(c, Answered)
	if got := c.Info().Upstream; got != "good" || in.Number() != "0123" {
		t.Errorf("went through %q to %q", got, in.Number())
	}
	// Who answers late after all, is sent away: CANCEL for a 1xx, ACK and BYE for a 200.
	p := silent.wantRequest("INVITE")
	silent.answer(p, 180, "late", "")
	silent.answer(silent.wantRequest("CANCEL"), 200, "late", "")
	silent.answer(p, 200, "late", sdpBody())
	silent.wantRequest("ACK")
	silent.answer(silent.wantRequest("BYE"), 200, "", "")
	if c.State() != Talking {
		t.Error(c.State())
	}

	last.decide(func(c *Call) { c.Reject(486, "") })
	other := newWire(t, nil)
	c = e.dial(Dial{To: "0123", Hops: []route.Hop{good, other.gateway("other")}})
	e.wantEnded(c, 486, Remote)
	if p, ok := other.read(50 * time.Millisecond); ok {
		t.Errorf("tried the next one after 486: %s", p.start())
	}

	c = e.dial(Dial{To: "0123", Hops: []route.Hop{refused}})
	if ev := e.wantEnded(c, 503, Remote); !strings.Contains(ev.Reason, "refused") {
		t.Errorf("%+v", ev)
	}
}

// Two forks answer: the first has the call, the second gets ACK and BYE. A repeated 200 gets its ACK again.
func TestForks(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, nil)
	c := e.dial(Dial{To: w.uri()})
	p := w.wantRequest("INVITE")
	w.answer(p, 200, "one", sdpBody())
	if ack := w.wantRequest("ACK"); tagOf(ack.header("To")) != "one" {
		t.Errorf("%s", ack.text)
	}
	e.want(c, Answered)
	w.answer(p, 200, "two", sdpBody())
	if ack := w.wantRequest("ACK"); tagOf(ack.header("To")) != "two" {
		t.Errorf("%s", ack.text)
	}
	bye := w.wantRequest("BYE")
	if tagOf(bye.header("To")) != "two" {
		t.Errorf("%s", bye.text)
	}
	w.answer(bye, 200, "", "")
	w.answer(p, 200, "one", sdpBody())
	if ack := w.wantRequest("ACK"); tagOf(ack.header("To")) != "one" {
		t.Errorf("%s", ack.text)
	}
	if c.State() != Talking {
		t.Error(c.State())
	}
	c.Hangup("")
	w.answer(w.wantRequest("BYE"), 200, "", "")
}

// A 200 that crosses the CANCEL is acknowledged and ended; the program has long been told.
func TestCancelCrosses(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, nil)
	c := e.dial(Dial{To: w.uri()})
	p := w.wantRequest("INVITE")
	w.answer(p, 180, "one", "")
	e.want(c, Ringing)
	c.Hangup("")
	e.wantEnded(c, 487, Local)
	w.answer(w.wantRequest("CANCEL"), 200, "one", "")
	w.answer(p, 200, "one", sdpBody())
	w.wantRequest("ACK")
	w.answer(w.wantRequest("BYE"), 200, "", "")
}

// Nothing is cancelled before a provisional response (RFC 3261, 9.1), and then it is.
func TestCancelWaits(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, nil)
	c := e.dial(Dial{To: w.uri()})
	p := w.wantRequest("INVITE")
	c.Hangup("")
	e.wantEnded(c, 487, Local)
	for {
		q, ok := w.read(50 * time.Millisecond)
		if !ok {
			break
		}
		if q.method() == "CANCEL" {
			t.Fatal("CANCEL before any response")
		}
	}
	w.answer(p, 100, "", "")
	cancel := w.wantRequest("CANCEL")
	if cancel.header("Via") != p.header("Via") || cancel.header("CSeq") != strings.Replace(p.header("CSeq"), "INVITE", "CANCEL", 1) {
		t.Errorf("%s", cancel.text)
	}
	w.answer(cancel, 200, "one", "")
	w.answer(p, 487, "one", "")
	w.wantRequest("ACK")
}

// Challenges of either kind are answered once; a wrong password ends the call.
func TestDialDigest(t *testing.T) {
	for _, code := range []int{401, 407} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			ask := map[int]string{401: "WWW-Authenticate", 407: "Proxy-Authenticate"}[code]
			reply := map[int]string{401: "Authorization", 407: "Proxy-Authorization"}[code]
			challenge := func(nonce string) []string {
				stale := map[bool]string{true: ", stale=true"}[nonce == "n2"]
				return []string{ask + `: Digest realm="pbx", nonce="` + nonce + `", algorithm=MD5, qop="auth"` + stale,
					ask + `: Digest realm="pbx", nonce="` + nonce + `", algorithm=SHA-256, qop="auth"` + stale}
			}
			e := newEnd(t)
			w := newWire(t, nil)
			c := e.dial(Dial{To: w.uri(), Auth: Auth{"ann", "secret"}})
			first := w.wantRequest("INVITE")
			w.answer(first, code, "x", "", challenge("n1")...)
			w.wantRequest("ACK")
			second := w.wantRequest("INVITE")
			got := second.header(reply)
			if !strings.Contains(got, `username="ann"`) || !strings.Contains(got, "SHA-256") || !strings.Contains(got, `nonce="n1"`) {
				t.Errorf("%s: %s", reply, got)
			}
			if second.header("Call-ID") != first.header("Call-ID") || second.header("CSeq") == first.header("CSeq") || second.body() != first.body() {
				t.Errorf("second INVITE:\n%s", second.text)
			}
			w.answer(second, code, "x", "", challenge("n2")...)
			w.wantRequest("ACK")
			third := w.wantRequest("INVITE")
			w.answer(third, code, "x", "", challenge("n3")...)
			w.wantRequest("ACK")
			e.wantEnded(c, code, Remote)

			w = newWire(t, nil)
			c = e.dial(Dial{To: w.uri()})
			w.answer(w.wantRequest("INVITE"), code, "x", "", challenge("n1")...)
			e.wantEnded(c, code, Remote)
		})
	}
}

// 422 raises the session interval (RFC 4028, 7.3).
func TestDial422(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, nil)
	c := e.dial(Dial{To: w.uri()})
	w.answer(w.wantRequest("INVITE"), 422, "x", "", "Min-SE: 5000")
	w.wantRequest("ACK")
	p := w.wantRequest("INVITE")
	if p.header("Session-Expires") != "5000" {
		t.Errorf("Session-Expires %q", p.header("Session-Expires"))
	}
	w.answer(p, 486, "x", "")
	e.wantEnded(c, 486, Remote)
}

// A 200 whose answer cannot be taken is acknowledged and ended.
func TestDialBadAnswer(t *testing.T) {
	e := newEnd(t)
	for _, body := range []string{"", "rubbish", strings.Replace(sdpBody(), "m=audio 9000", "m=audio 0", 1)} {
		w := newWire(t, nil)
		c := e.dial(Dial{To: w.uri()})
		w.answer(w.wantRequest("INVITE"), 200, "x", body)
		w.wantRequest("ACK")
		w.answer(w.wantRequest("BYE"), 200, "", "")
		<-c.Done()
	}
}

// Nothing goes into a header that would make another one.
func TestDialInjection(t *testing.T) {
	e := newEnd(t)
	for _, d := range []Dial{
		{To: "sip:1@127.0.0.1\r\nX: y"}, {To: "1\r\n"}, {To: ""}, {To: "sip:1@"},
		{To: "sip:1@127.0.0.1", From: "a b"}, {To: "sip:1@127.0.0.1", From: "a>"},
		{To: "sip:1@127.0.0.1", Name: "a\r\nb"}, {To: "sip:1@127.0.0.1", Name: strings.Repeat("x", 200)},
		{To: "sip:1@127.0.0.1", Headers: [][2]string{{"X-A", "b\nc"}}},
		{To: "sip:1@127.0.0.1", Headers: [][2]string{{"X A", "b"}}},
		{To: "sip:1@127.0.0.1", Headers: [][2]string{{"Via", "b"}}},
		{To: "sip:1@127.0.0.1", Outbound: "nonsense"},
	} {
		if _, err := e.agent.Dial(d); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", d, err)
		}
	}
	if _, err := e.agent.Dial(Dial{To: "12345"}); !errors.Is(err, ErrNoRoute) {
		t.Errorf("a number without routes: %v", err)
	}
	w := newWire(t, nil)
	c := e.dial(Dial{To: w.uri(), Name: `A "b" \`, Headers: [][2]string{{"X-Token", "t"}}})
	p := w.wantRequest("INVITE")
	if !strings.HasPrefix(p.header("From"), `"A \"b\" \\" <sip:`) || p.header("X-Token") != "t" {
		t.Errorf("%s", p.text)
	}
	for _, f := range []func() error{
		func() error { return c.Hangup("a\r\nb") }, func() error { return c.Reject(486, "a\x00") }, func() error { return c.Reject(200, "") },
		func() error { return c.SendDTMF("x", time.Second) }, func() error { return c.Refer("sip:a b") },
	} {
		if err := f(); !errors.Is(err, ErrInvalid) {
			t.Error(err)
		}
	}
	w.answer(p, 486, "x", "")
	e.wantEnded(c, 486, Remote)
}

// An outbound proxy gets the request, whatever its URI says; Record-Route decides where the rest goes.
func TestOutboundProxy(t *testing.T) {
	e := newEnd(t)
	proxy, far := newWire(t, nil), newWire(t, nil)
	c := e.dial(Dial{To: "sip:300@nowhere.example", Outbound: "sip:" + proxy.addr()})
	p := proxy.wantRequest("INVITE")
	if !strings.HasPrefix(p.start(), "INVITE sip:300@nowhere.example SIP/2.0") {
		t.Error(p.start())
	}
	proxy.answer(p, 200, "x", sdpBody(), "Record-Route: <sip:second.example;lr>, <sip:"+proxy.addr()+";lr>", "Contact: <sip:300@"+far.addr()+">")
	ack := proxy.wantRequest("ACK")
	if got := ack.headers("Route"); len(got) != 2 || got[0] != "<sip:"+proxy.addr()+";lr>" || got[1] != "<sip:second.example;lr>" ||
		!strings.HasPrefix(ack.start(), "ACK sip:300@"+far.addr()) {
		t.Errorf("%s", ack.text)
	}
	e.want(c, Answered)
	c.Hangup("")
	bye := proxy.wantRequest("BYE")
	if !strings.HasPrefix(bye.start(), "BYE sip:300@"+far.addr()) {
		t.Errorf("%s", bye.text)
	}
	proxy.answer(bye, 200, "", "")
}

// A request too long for a datagram goes by TCP if the far end has it, else in fragments.
func TestLongRequest(t *testing.T) {
	e := newEnd(t, listen("udp 127.0.0.1:0", "tcp 127.0.0.1:0"))
	b := newEnd(t)
	long := [][2]string{{"X-Long", strings.Repeat("l", 1000)}}
	c := e.dial(Dial{To: b.uri("1000", "udp"), Headers: long})
	in := b.next()
	e.want(c, Answered)
	if got := in.Info().Transport; got != "udp" || in.Header("X-Long") != long[0][1] {
		t.Errorf("came by %s", got)
	}
	port := strings.TrimPrefix(b.addr("udp"), "127.0.0.1:")
	both := newEnd(t, listen("tcp 127.0.0.1:"+port))
	c = e.dial(Dial{To: b.uri("1000", "udp"), Headers: long})
	in = both.next()
	e.want(c, Answered)
	if got := in.Info().Transport; got != "tcp" || c.Info().Transport != "tcp" {
		t.Errorf("came by %s", got)
	}
}
