package sip

import "testing"

// Whether a REFER means us is told by the host that the far end calls us by, and by the port: another program may have the
// same address.
func TestReferHere(t *testing.T) {
	a := newEnd(t)
	b := newEnd(t, func(c *Config) { c.AllowRefer = func(*Call, string) bool { return true } })
	out, in := a.call(b, "udp")
	for target, here := range map[string]bool{
		b.uri("300", "udp"): true, "sip:300@127.0.0.1": true,
		"sip:300@127.0.0.1:9": false, "sip:300@example.com": false, a.uri("300", "udp"): false,
	} {
		out.Refer(target)
		r := b.want(in, Referred).Refer
		if r.Here != here || r.Number != "300" {
			t.Errorf("%s: here %v, number %q", target, r.Here, r.Number)
		}
		a.want(out, ReferProgress)
		r.Progress(200, "")
		for ev := a.want(out, ReferProgress); ev.Code != 200; ev = a.want(out, ReferProgress) {
		}
	}
}
