package sip

import (
	"fmt"
	"strings"
	"testing"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

func TestUserOf(t *testing.T) {
	for in, want := range map[string]string{
		"sip:1000@box":           "1000",
		"sip:1000:2000@box":      "1000:2000",
		"sip:%31000@box":         "1000",
		"sip:a%00b@box":          "a%00b", // hides no control character
		"sip:a%0d%0aX@box":       "a%0d%0aX",
		"sip:a%4@box":            "a%4",
		"sip:j%40x@box":          "j@x",
		"sip:box":                "",
		"sip:+49-30;x=y@box;z=1": "+49-30;x=y",
	} {
		u, err := parseURI(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := userOf(u); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestText(t *testing.T) {
	if got := clean("a\r\nb\x00\u0085é\xff", 100); got != "abé" {
		t.Errorf("%q", got)
	}
	if got := clean("aéé", 4); got != "aé" {
		t.Errorf("cut to %q", got)
	}
	for _, s := range []string{`a"b\c`, "é", ""} {
		if got := unquoted(quoted(s)); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
	if got := escapeUser(`a b@c;d?e#f`); got != "a%20b%40c%3Bd%3Fe%23f" {
		t.Error(got)
	}
	for code, want := range map[int]string{486: "Busy Here", 499: "Request Failure", 699: "Global Failure", 199: "Trying"} {
		if got := phrase(code); got != want {
			t.Errorf("%d: %q", code, got)
		}
	}
}

func TestSessionWish(t *testing.T) {
	for in, want := range map[string]string{
		"1800":                  "1800  true",
		"90;refresher=UAS":      "90 uas true",
		" 90 ; refresher = uac": "90  true", // no space belongs there
		"999999999":             "86400  true",
		"0":                     "0  false",
		"-1":                    "0  false",
		"x":                     "0  false",
		"":                      "0  false",
	} {
		req := gosip.NewRequest(gosip.INVITE, gosip.Uri{})
		req.AppendHeader(gosip.NewHeader("Session-Expires", in))
		n, r, ok := sessionWish(req)
		if got := fmt.Sprintf("%d %s %v", n, strings.TrimSpace(r), ok); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// sipgo's pool forgets no address; here it is bounded, however many come by.
func TestPeersBounded(t *testing.T) {
	e := newEnd(t)
	n := e.agent.net
	s := n.sockets[0]
	req := gosip.NewRequest(gosip.OPTIONS, gosip.Uri{})
	for i := range maxPeers + 500 {
		s.last = fmt.Sprintf("127.1.%d.%d:5060", i>>8, i&255)
		req.SetTransport("UDP")
		req.SetSource(s.packet.LocalAddr().String())
		n.arrived(req)
		if req.Source() != s.last {
			t.Fatalf("source %q", req.Source())
		}
	}
	if size := e.agent.tp.Pool("udp").Size(); size > maxPeers+2 {
		t.Errorf("%d addresses", size)
	}
	if len(n.peers) != maxPeers || n.recent.Len() != maxPeers {
		t.Errorf("%d and %d peers", len(n.peers), n.recent.Len())
	}
}

// Run ends in time also where nobody answers BYE, CANCEL and REGISTER any more.
func TestStopDeaf(t *testing.T) {
	w, ringing, pbx := newWire(t, nil), newWire(t, nil), newWire(t, nil)
	e := newEnd(t, func(c *Config) {
		c.Timers.Stop = 200 * time.Millisecond
		c.Upstreams = []Upstream{{Name: "pbx", Registrar: "sip:" + pbx.addr(), User: "ann"}}
	})
	pbx.answer(pbx.wantRequest("REGISTER"), 200, "x", "")
	c := e.dial(Dial{To: w.uri()})
	w.answer(w.wantRequest("INVITE"), 200, "x", sdpBody())
	e.want(c, Answered)
	r := e.dial(Dial{To: ringing.uri()})
	ringing.answer(ringing.wantRequest("INVITE"), 180, "x", "")
	e.want(r, Ringing)
	until(t, "registered", func() bool { return e.agent.Registrations()[0].Registered })
	began := time.Now()
	e.stop()
	if d := time.Since(began); d > 1500*time.Millisecond {
		t.Errorf("took %v", d)
	}
	e.wantEnded(c, 200, Local)
	e.wantEnded(r, 487, Local)
	w.wantRequest("BYE")
	ringing.wantRequest("CANCEL")
	if p := pbx.wantRequest("REGISTER"); p.header("Expires") != "0" {
		t.Errorf("%s", p.text)
	}
}
