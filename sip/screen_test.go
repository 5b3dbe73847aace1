package sip

import (
	"strings"
	"testing"
	"time"

	gosip "github.com/emiago/sipgo/sip"

	"parley/sip/guard"
)

// X-7b: who shows no credentials, and what belongs to no call, is answered before anything is kept of it.
func TestScreen(t *testing.T) {
	count := &guard.Counters{}
	e := newEnd(t, gated(), func(c *Config) { c.Guard = count })
	n := uint64(0)
	for _, tc := range []struct {
		method, tag string
		code        int
	}{
		{"INVITE", "", 401}, {"REGISTER", "", 401}, {"SUBSCRIBE", "", 401}, {"REFER", "", 401},
		{"CANCEL", "", 481}, {"BYE", "strange", 481}, {"INVITE", "strange", 481}, {"OPTIONS", "strange", 481}, {"SUBSCRIBE", "strange", 481},
	} {
		w := newWire(t, e)
		w.tag = tc.tag
		req := w.request(tc.method, 1, "")
		var first string
		for i := range 2 { // a repetition is judged like the first
			w.send(req)
			p := w.wantCode(tc.code, tc.method)
			if n++; count.Get(guard.Screened) != n {
				t.Errorf("%s: %d messages were stopped, want %d", tc.method, count.Get(guard.Screened), n)
			}
			if i == 0 {
				first = p.headers("To")[0]
			} else if p.headers("To")[0] != first {
				t.Errorf("%s: To is %q, then %q", tc.method, first, p.headers("To")[0])
			}
		}
	}
	w := newWire(t, e)
	w.tag = "strange"
	w.send(w.request("ACK", 1, ""))
	until(t, "the ACK is dropped", func() bool { return count.Get(guard.Screened) == n+1 })
	w.tag = ""
	w.send(w.request("OPTIONS", 1, ""))
	w.wantCode(200, "OPTIONS")
}

// What repeats itself after the end of its call still gets its answer.
func TestScreenAfterTheCall(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, e)
	w.send(w.request("INVITE", 1, sdpBody()))
	res := w.wantCode(200, "INVITE")
	_, w.tag, _ = strings.Cut(res.headers("To")[0], ";tag=")
	w.send(w.request("ACK", 1, ""))
	in := e.next()
	e.want(in, Answered)
	bye := w.request("BYE", 2, "")
	w.send(bye)
	w.wantCode(200, "BYE")
	<-in.Done()
	w.send(bye)
	w.wantCode(200, "BYE")
	w.send(w.request("BYE", 3, ""))
	w.wantCode(481, "BYE")
}

func TestCallIDsAreForgotten(t *testing.T) {
	c, now := newCallIDs(), time.Unix(1000, 0)
	c.began("live")
	c.passed("asked", now)
	for range 3 * maxLately {
		c.passed(gosip.GenerateTagN(8), now)
	}
	if n := len(c.young) + len(c.old); n > 2*maxLately {
		t.Errorf("%d are remembered", n)
	}
	if !c.known("live", now.Add(time.Hour)) || c.known("asked", now) {
		t.Error("many others pushed out the call that there is, or did not push out the one that never was")
	}
	c.over("live", now.Add(time.Hour))
	if !c.known("live", now.Add(time.Hour+aftermath-1)) {
		t.Error("a call is forgotten before its transactions")
	}
	if c.known("live", now.Add(time.Hour+2*aftermath)) {
		t.Error("a call is remembered for ever")
	}
}
