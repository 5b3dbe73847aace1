package sip

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"os"

	"parley/audio"
	"parley/audio/g711"
	"parley/sip/admit"
)

// REFER is refused unless allowed; then the far end is told how it gets on.
func TestRefer(t *testing.T) {
	a, b := newEnd(t), newEnd(t)
	out, _ := a.call(b, "udp")
	out.Refer("sip:300@127.0.0.1")
	if ev := a.want(out, ReferProgress); ev.Code != 403 {
		t.Errorf("%+v", ev)
	}
	allow := newEnd(t, func(c *Config) {
		c.AllowRefer = func(_ *Call, target string) bool { return strings.Contains(target, "300@") }
	})
	out, in := a.call(allow, "udp")
	out.Refer("sip:300@127.0.0.1")
	r := allow.want(in, Referred).Refer
	if r.Target != "sip:300@127.0.0.1" || r.Number != "300" || !strings.Contains(r.By, "sip:200@") {
		t.Errorf("%+v", r)
	}
	if ev := a.want(out, ReferProgress); ev.Code != 100 {
		t.Errorf("%+v", ev)
	}
	r.Progress(180, "")
	r.Progress(200, "")
	for ev := a.want(out, ReferProgress); ev.Code != 200; ev = a.want(out, ReferProgress) {
		if ev.Code != 180 {
			t.Errorf("%+v", ev)
		}
	}
	r.Progress(486, "") // too late: nothing happens
	out.Refer("sip:301@127.0.0.1")
	if ev := a.want(out, ReferProgress); ev.Code != 403 {
		t.Errorf("%+v", ev)
	}
}

// What a REFER may not be.
func TestReferForms(t *testing.T) {
	e := newEnd(t, func(c *Config) { c.AllowRefer = func(*Call, string) bool { return true } })
	w := newWire(t, e)
	c := w.setUp(e)
	for i, tc := range []struct {
		head []string
		code int
	}{
		{nil, 400},
		{[]string{"Refer-To: <tel:1>"}, 400},
		{[]string{"Refer-To: <sip:1@x?Replaces=abc>"}, 400},
		{[]string{"Refer-To: <sip:1@x;method=BYE>"}, 400},
		{[]string{"Refer-To: <sip:1@x>", "Refer-To: <sip:2@x>"}, 400},
		{[]string{"Refer-To: \"Bob\" <sip:1@x>"}, 202},
		{[]string{"Refer-To: <sip:2@x>", "Refer-Sub: false", "Require: norefersub"}, 202},
	} {
		w.send(w.request("REFER", 2+i, "", tc.head...))
		p := w.wantCode(tc.code, "REFER")
		switch {
		case len(tc.head) == 3:
			if p.header("Refer-Sub") != "false" {
				t.Errorf("%s", p.text)
			}
		case tc.code == 202:
			n := w.wantRequest("NOTIFY")
			if n.header("Event") != "refer;id="+fmt.Sprint(2+i) || !strings.HasPrefix(n.body(), "SIP/2.0 100 Trying") || p.header("Contact") == "" {
				t.Errorf("%s", n.text)
			}
			w.answer(n, 200, "", "")
		}
	}
	e.want(c, Referred)
	// RFC 4488: who does not want to be told how it gets on is not.
	r := e.want(c, Referred).Refer
	if r.Number != "2" {
		t.Errorf("%+v", r)
	}
	r.Progress(200, "")
	w.send(w.request("OPTIONS", 19, ""))
	if p, ok := w.read(patience); !ok || p.code() != 200 {
		t.Errorf("%s", p.text)
	}
	w.send(w.request("NOTIFY", 20, "", "Event: refer", "Subscription-State: active"))
	w.wantCode(481, "NOTIFY")
	w.send(w.request("NOTIFY", 21, "", "Event: dialog", "Subscription-State: active"))
	w.wantCode(489, "NOTIFY")
	w.send(w.request("BYE", 22, ""))
	w.wantCode(200, "BYE")
}

// the conference event package. Who is admitted sees every change; the rest see why not.
func TestConferencePackage(t *testing.T) {
	var version atomic.Int32
	e := newEnd(t, func(c *Config) {
		c.MaxSubscribers, c.Timers.Stop = 2, 100*time.Millisecond
		c.ConferenceInfo = func(n string) (*ConferenceState, bool) {
			if n != "1000" {
				return nil, false
			}
			return &ConferenceState{Entity: "sip:1000@box", Max: int(version.Load())}, true
		}
	})
	w := newWire(t, e)
	w.send(w.request("SUBSCRIBE", 1, "", "Event: conference;id=7", "Expires: 600", "Accept: application/conference-info+xml"))
	p := w.wantCode(200, "SUBSCRIBE")
	if p.header("Expires") != "600" || !strings.HasSuffix(p.header("Contact"), ";isfocus") {
		t.Errorf("%s", p.text)
	}
	n := w.wantRequest("NOTIFY")
	if n.header("Event") != "conference;id=7" || n.header("Content-Type") != infoType || !strings.Contains(n.body(), `state="full" version="1"`) ||
		!strings.HasPrefix(n.header("Subscription-State"), "active;expires=") || tagOf(n.header("From")) != w.tag {
		t.Errorf("%s", n.text)
	}
	// Several changes within a second become one, and the last state is told.
	told := time.Now()
	for range 3 {
		version.Add(1)
		e.agent.NotifyConference("1000")
	}
	e.agent.NotifyConference("2000")
	w.answer(n, 200, "", "")
	n = w.wantRequest("NOTIFY")
	if !strings.Contains(n.body(), `state="partial" version="2"`) || !strings.Contains(n.body(), "<maximum-user-count>3<") ||
		time.Since(told) < 800*time.Millisecond {
		t.Errorf("after %v: %s", time.Since(told), n.text)
	}
	w.answer(n, 200, "", "")
	// A refresh tells the state again; one with 0 ends it.
	w.send(w.request("SUBSCRIBE", 2, "", "Event: conference;id=7", "Expires: 300"))
	w.wantCode(200, "SUBSCRIBE")
	w.answer(w.wantRequest("NOTIFY"), 200, "", "")
	w.send(w.request("SUBSCRIBE", 3, "", "Event: conference;id=7", "Expires: 0"))
	w.wantCode(200, "SUBSCRIBE")
	n = w.wantRequest("NOTIFY")
	if n.header("Subscription-State") != "terminated;reason=timeout" {
		t.Errorf("%s", n.text)
	}
	w.answer(n, 200, "", "")
	until(t, "forgotten", func() bool { return e.subscribers() == 0 })
	w.send(w.request("SUBSCRIBE", 4, "", "Event: conference;id=7"))
	w.wantCode(481, "SUBSCRIBE")

	for i, tc := range []struct {
		number string
		head   []string
		code   int
	}{
		{"1000", []string{"Event: presence"}, 489},
		{"1000", nil, 489},
		{"1001", []string{"Event: conference"}, 404},
		{"1000", []string{"Event: conference", "Expires: 5"}, 423},
		{"1000", []string{"Event: conference", "Accept: text/plain"}, 406},
	} {
		w := newWire(t, e)
		w.send(strings.Replace(w.request("SUBSCRIBE", 10+i, "", tc.head...), "sip:1000@", "sip:"+tc.number+"@", 1))
		w.wantCode(tc.code, "SUBSCRIBE")
	}
	// Who does not want to hear is forgotten, and there are no more than allowed.
	for i, code := range []int{481, 200, 200, 0} {
		w := newWire(t, e)
		w.send(w.request("SUBSCRIBE", 1, "", "Event: conference"))
		if code == 0 {
			w.wantCode(503, "SUBSCRIBE")
			continue
		}
		w.wantCode(200, "SUBSCRIBE")
		w.answer(w.wantRequest("NOTIFY"), code, "", "")
		until(t, "as many as there should be", func() bool { return e.subscribers() == i })
		if i == 2 {
			defer w.farewell(e)
		}
	}
}

func (e *end) subscribers() int {
	e.agent.subs.mu.Lock()
	defer e.agent.subs.mu.Unlock()
	return len(e.agent.subs.subs)
}

// A subscription that is not refreshed ends by itself.
func TestSubscriptionExpires(t *testing.T) {
	e := newEnd(t, func(c *Config) {
		c.Timers.Second = 2 * time.Millisecond
		c.ConferenceInfo = func(string) (*ConferenceState, bool) { return &ConferenceState{Entity: "sip:1000@box"}, true }
	})
	w := newWire(t, e)
	w.send(w.request("SUBSCRIBE", 1, "", "Event: conference", "Expires: 60"))
	w.wantCode(200, "SUBSCRIBE")
	w.answer(w.wantRequest("NOTIFY"), 200, "", "")
	n := w.wantRequest("NOTIFY")
	if n.header("Subscription-State") != "terminated;reason=timeout" {
		t.Errorf("%s", n.text)
	}
	w.answer(n, 200, "", "")
}

// The roster of a conference with passwords is for who is in it: nobody subscribes to it from outside a call.
func TestPrivateRosterIsRefused(t *testing.T) {
	e := newEnd(t, func(c *Config) {
		c.ConferenceInfo = func(string) (*ConferenceState, bool) {
			return &ConferenceState{Entity: "sip:1000@box", Private: true}, true
		}
	})
	w := newWire(t, e)
	w.send(w.request("SUBSCRIBE", 1, "", "Event: conference", "Expires: 60"))
	w.wantCode(403, "SUBSCRIBE")
	if n := e.subscribers(); n != 0 {
		t.Errorf("%d subscriptions", n)
	}
}

// After many calls there are as many goroutines and file descriptors as before, and every table is empty.
func TestManyCalls(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 100
	}
	certs := withTLS(t)
	codec := func(c *Config) { c.Codecs = []audio.Codec{g711.PCMU()} }
	a := newEnd(t, certs, codec, everywhere("127.0.0.1"))
	b := newEnd(t, certs, codec, everywhere("127.0.0.1"), gated(func(c *admit.Config) { c.TrustLoopback = true }))
	networks := []string{"udp", "tcp", "tls"}
	for _, network := range networks { // connections stay
		out, in := a.call(b, network)
		out.Hangup("")
		b.wantEnded(in, 200, Remote)
	}
	before, files := runtime.NumGoroutine(), descriptors(t)
	const atOnce = 8
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			out, err := a.agent.Dial(Dial{To: b.uri("1000", networks[i%3]), From: "200"})
			if err != nil {
				t.Error(err)
				return
			}
			for ev := range a.channel(out) {
				if ev.Kind == Answered {
					out.Hangup("")
				}
				if ev.Kind == Ended {
					if ev.Code != 200 {
						t.Errorf("call %d: %d %s", i, ev.Code, ev.Reason)
					}
					break
				}
			}
			<-out.Done()
		}()
		for len(b.calls) > 0 {
			<-b.calls
		}
	}
	for range atOnce {
		slots <- struct{}{}
	}
	until(t, "no call left", func() bool { return a.agent.Calls() == 0 && b.agent.Calls() == 0 })
	until(t, "goroutines as before", func() bool { return runtime.NumGoroutine() <= before+2 })
	until(t, "file descriptors as before", func() bool { return descriptors(t) <= files })
	for _, e := range []*end{a, b} {
		until(t, "empty tables", func() bool {
			e.agent.mu.Lock()
			defer e.agent.mu.Unlock()
			return len(e.agent.invites)+len(e.agent.tickets)+e.agent.pending == 0
		})
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}
