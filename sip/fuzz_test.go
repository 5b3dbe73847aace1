package sip

import (
	"strings"
	"testing"

	gosip "github.com/emiago/sipgo/sip"
)

// FuzzMessage reads everything that the agent reads out of a message, and looks at what it would show or write.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{
		"INVITE sip:1000:2000@box SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: \"A \\\"x\" <sip:%00%31@a>;tag=1\r\nTo: <sip:1000@box>\r\nCall-ID: 1\r\n" +
			"CSeq: 1 INVITE\r\nContact: <sip:a@b>;q=0.5;expires=10\r\nSession-Expires: 90;refresher=uac\r\nSupported: timer\r\nMin-SE: 5\r\n" +
			"Accept: application/sdp, */*;q=0\r\nReason: SIP;cause=486;text=\"x\"\r\nRefer-To: <sip:a@b;method=INVITE?Replaces=1>\r\nExpires: 7\r\n\r\n",
		"INFO sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nFrom: <sip:a>\r\nTo: <sip:b>\r\nCall-ID: 1\r\nCSeq: 1 INFO\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal=5\r\nDuration=1",
		"REGISTER sip:b SIP/2.0\r\nContact: *\r\nContact: <sip:[::1]:5060>;+sip.instance=\"<urn>\"\r\n\r\n",
	} {
		f.Add(s)
	}
	a := New(Config{})
	f.Fuzz(func(t *testing.T, s string) {
		msg, err := gosip.ParseMessage([]byte(s))
		if err != nil {
			return
		}
		req, ok := msg.(*gosip.Request)
		if !ok || a.vet(req) != 0 {
			return
		}
		shown := []string{userOf(req.Recipient), userOf(req.From().Address), unquoted(req.From().DisplayName)}
		for _, v := range headersOf(req) {
			shown = append(shown, v)
		}
		if _, text := reasonOf(req); true {
			shown = append(shown, text)
		}
		if u, ok := referTo(req); ok {
			shown = append(shown, u.String())
		}
		for _, v := range shown {
			if strings.ContainsAny(v, "\r\n\x00") || len(v) > maxHeader {
				t.Errorf("%q", v)
			}
		}
		for _, u := range shown[:1] {
			if e := escapeUser(u); u != "" && strings.ContainsAny(e, "@<>\" ;?") {
				t.Errorf("%q as a user is %q", u, e)
			}
		}
		if n, _, ok := sessionWish(req); ok && (n <= 0 || n > maxExpires) {
			t.Errorf("session of %d s", n)
		}
		a.vetInvite(req)
		mediaType(req)
		uasDialog(req, "tag", hop{})
		behindNAT(req)
		relay(string(req.Body()))
		for _, h := range req.GetHeaders("Contact") {
			if c, ok := h.(*gosip.ContactHeader); ok {
				contactOf(c)
			}
		}
	})
}
