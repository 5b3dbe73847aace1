package sip

import (
	"fmt"
	"strings"
	"testing"
)

// replacing is the Replaces header that names c as its far end would: our tag is to-tag.
func replacing(c *Call, more string) string {
	d, _ := c.Dialog()
	return fmt.Sprintf("%s;to-tag=%s;from-tag=%s%s", d.CallID, d.LocalTag, d.RemoteTag, more)
}

// C-8: a second phone takes over the call of a first one. The handler sees whose, and decides; the first call goes on until it says.
func TestReplaces(t *testing.T) {
	phone, desk, box := newEnd(t), newEnd(t), newEnd(t)
	first, old := phone.call(box, "udp")
	second := desk.dial(Dial{To: box.uri("1000", "udp"), From: "201", Headers: [][2]string{{"Replaces", replacing(old, "")}}})
	in := box.next()
	box.want(in, Answered)
	desk.want(second, Answered)
	if in.Replaces() != old || old.Replaces() != nil || old.State() != Talking {
		t.Errorf("replaces %v, the old one is %v", in.Replaces(), old.State())
	}
	old.Hangup("moved")
	phone.wantEnded(first, 200, Remote)
	if in.State() != Talking {
		t.Error("the new call is not up")
	}
	// The old one is gone, and cannot be taken over again.
	again := desk.dial(Dial{To: box.uri("1000", "udp"), From: "201", Headers: [][2]string{{"Replaces", "gone;to-tag=a;from-tag=b"}}})
	desk.wantEnded(again, 481, Remote)
}

// RFC 3891, 3: what is refused, and how.
func TestReplacesForms(t *testing.T) {
	phone, box := newEnd(t), newEnd(t)
	_, old := phone.call(box, "udp")
	d, ok := old.Dialog()
	if !ok {
		t.Fatal("no dialog")
	}
	box.decide(func(c *Call) { c.Ring() })
	phone.dial(Dial{To: box.uri("1000", "udp"), From: "202"})
	ringing := box.next() // an early dialog that the far end began
	for _, tc := range []struct {
		head []string
		code int
	}{
		{[]string{"Replaces: " + d.CallID}, 400},
		{[]string{"Replaces: " + d.CallID + ";to-tag=" + d.LocalTag}, 400},
		{[]string{"Replaces: " + replacing(old, ";to-tag=x")}, 400},
		{[]string{"Replaces: a;to-tag=b;from-tag=c", "Replaces: a;to-tag=b;from-tag=c"}, 400},
		{[]string{"Replaces: " + strings.Repeat("a", 2000) + ";to-tag=b;from-tag=c"}, 400},
		{[]string{"Replaces: " + d.CallID + ";to-tag=" + d.LocalTag + ";from-tag=other"}, 481},
		{[]string{"Replaces: " + d.CallID + ";to-tag=" + d.RemoteTag + ";from-tag=" + d.LocalTag}, 481},
		{[]string{"Replaces: other;to-tag=" + d.LocalTag + ";from-tag=" + d.RemoteTag}, 481},
		{[]string{"Replaces: " + replacing(old, ";early-only")}, 486},
		{[]string{fmt.Sprintf("Replaces: %s;to-tag=%s;from-tag=%s", ringing.key.call, ringing.key.tag, ringing.far[0])}, 481},
	} {
		w := newWire(t, box)
		w.send(w.request("INVITE", 1, sdpBody(), tc.head...))
		p := w.wantCode(tc.code, "INVITE")
		w.send(w.request("ACK", 1, "", "X-Of: "+p.start()))
	}
	if len(box.calls) > 0 {
		t.Error("the handler was asked about a call that cannot be")
	}
	// With Require it is served, like one without.
	box.decide(func(c *Call) { c.Answer() })
	w := newWire(t, box)
	c := w.setUp(box, "Require: replaces", "Replaces: "+replacing(old, ""))
	if c.Replaces() != old {
		t.Error("not the one named")
	}
	w.farewell(box)
}

// A call that we place and that still rings can be taken over by another phone of the one called (call pickup).
func TestReplacesEarly(t *testing.T) {
	box, phone, other := newEnd(t), newEnd(t), newEnd(t)
	phone.decide(func(c *Call) { c.Ring() })
	out := box.dial(Dial{To: phone.uri("200", "udp"), From: "1000"})
	phone.next()
	box.want(out, Ringing)
	out.mu.Lock()
	tag := out.far[0]
	out.mu.Unlock()
	taken := other.dial(Dial{To: box.uri("1000", "udp"), Headers: [][2]string{
		{"Replaces", fmt.Sprintf("%s;from-tag=%s;to-tag=%s;early-only", out.key.call, tag, out.key.tag)}}})
	in := box.next()
	other.want(taken, Answered)
	if in.Replaces() != out {
		t.Error("not the one named")
	}
	out.Hangup("")
	box.wantEnded(out, 487, Local)
}
