// REFER (RFC 3515), both ways: we add whom the far end names, if we are allowed to, and tell how it goes by NOTIFY.

package sip

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	gosip "github.com/emiago/sipgo/sip"
)

// maxReferrals bounds how many referrals of one call go on at once.
const maxReferrals = 4

// Referral is a wish of the far end that was taken: whoever calls Target reports by Progress.
type Referral struct {
	Target string // SIP URI
	Number string // its user part
	Here   bool   // Target is at this box, as the far end knows it: Number is to be looked up as if it had been dialled
	By     string // Referred-By as it came, printable; proves nothing

	call *Call
	id   uint32 // the REFER's CSeq
	busy bool   // a NOTIFY is under way
	next string // what the next NOTIFY will say
	last bool   // and that it is the last one
	over bool
	mute bool // the far end wants no NOTIFY (RFC 4488)
}

// referState is what a call remembers of referrals.
type referState struct {
	taken map[uint32]*Referral
	sent  bool // we have asked: NOTIFYs are ours
}

func (s *referState) end() {
	for _, r := range s.taken {
		r.over = true
	}
	s.taken = nil
}

// Progress tells the far end how its wish gets on: any SIP code; one from 200 on is the last. From any goroutine.
func (r *Referral) Progress(code int, reason string) {
	if code < 100 || code > 699 || !printable(reason, maxReason) {
		return
	}
	if reason == "" {
		reason = phrase(code)
	}
	r.call.post(func() { r.tell(fmt.Sprintf("SIP/2.0 %d %s\r\n", code, reason), code >= 200) })
}

// tell sends a NOTIFY, after the one under way; what was to be said in between is out of date then.
func (r *Referral) tell(status string, last bool) {
	if r.over || r.last {
		return
	}
	if r.mute {
		if r.last = last; last {
			delete(r.call.refer.taken, r.id)
		}
		return
	}
	r.next, r.last = status, last
	if !r.busy {
		r.notify()
	}
}

func (r *Referral) notify() {
	status, last := r.next, r.last
	r.next, r.busy = "", true
	state := "active;expires=180"
	if last {
		state = "terminated;reason=noresource"
	}
	c := r.call
	c.send(gosip.NOTIFY, func(req *gosip.Request) {
		req.AppendHeader(gosip.NewHeader("Event", "refer;id="+strconv.FormatUint(uint64(r.id), 10)))
		req.AppendHeader(gosip.NewHeader("Subscription-State", state))
		req.AppendHeader(gosip.NewHeader("Content-Type", fragType+";version=2.0"))
		req.SetBody([]byte(status))
	}, func(res *gosip.Response, err error) {
		r.busy = false
		if last || err != nil || !res.IsSuccess() {
			r.over = true
			delete(c.refer.taken, r.id)
			return
		}
		if r.next != "" {
			r.notify()
		}
	})
}

// onRefer takes a REFER within a call.
func (c *Call) onRefer(in *inbound) {
	target, ok := referTo(in.req)
	switch {
	case !ok:
		in.reply(400, "")
		return
	case c.agent.cfg.AllowRefer == nil || len(c.refer.taken) >= maxReferrals || c.State() != Talking ||
		!c.agent.cfg.AllowRefer(c, target.String()):
		in.reply(403, "")
		return
	}
	mute, hs := false, []gosip.Header{c.contact()}
	if v, _, _ := strings.Cut(header(in.req, "Refer-Sub"), ";"); strings.EqualFold(strings.TrimSpace(v), "false") {
		mute, hs = true, append(hs, gosip.NewHeader("Refer-Sub", "false"))
	}
	r := &Referral{Target: target.String(), Number: userOf(target), Here: c.here(target), By: clean(header(in.req, "Referred-By"), maxURI),
		call: c, id: in.req.CSeq().SeqNo, mute: mute}
	if c.refer.taken == nil {
		c.refer.taken = make(map[uint32]*Referral)
	}
	c.refer.taken[r.id] = r
	in.respond(c.agent.response(in.req, 202, "", nil, hs...))
	r.tell("SIP/2.0 100 Trying\r\n", false)
	c.emit(Event{Kind: Referred, Refer: r})
}

// here reports whether a URI of the far end's is at this box: at the host that it calls us by, and no other program's port.
func (c *Call) here(u gosip.Uri) bool {
	if !strings.EqualFold(u.Host, c.dialog.local.Address.Host) {
		return false
	}
	return u.Port == 0 || slices.ContainsFunc(c.agent.net.sockets, func(s *socket) bool { return int(s.addr.Port()) == u.Port })
}

// referTo is whom a REFER names: a plain SIP URI, to be called by INVITE. What it would put into our INVITE's headers, such
// as Replaces, is not taken.
func referTo(req *gosip.Request) (gosip.Uri, bool) {
	if len(req.GetHeaders("Refer-To"))+len(req.GetHeaders("r")) != 1 {
		return gosip.Uri{}, false
	}
	h := req.ReferTo()
	if h == nil {
		var u gosip.Uri
		for _, g := range append(req.GetHeaders("Refer-To"), req.GetHeaders("r")...) {
			v := strings.Trim(strings.TrimSpace(g.Value()), "<>")
			if rt, ok := g.(*gosip.ReferToHeader); ok {
				u = rt.Address
			} else if p, err := parseURI(v); err == nil {
				u = p
			}
		}
		return u, u.Host != "" && len(u.Headers) == 0
	}
	u := h.Address
	if method, ok := u.UriParams.Get("method"); ok && method != "INVITE" {
		return u, false
	}
	if u.Scheme != "sip" && u.Scheme != "sips" || u.Host == "" || len(u.Headers) > 0 || !printable(u.String(), maxURI) {
		return u, false
	}
	return u, true
}

// serveRefer refuses a REFER outside a call: only who is in a call may add members.
func (a *Agent) serveRefer(in *inbound) {
	if _, ok := a.admit(in); ok {
		in.reply(403, "")
	}
}

// sendRefer asks the far end to call uri.
func (c *Call) sendRefer(uri gosip.Uri) {
	if c.State() != Talking {
		return
	}
	c.refer.sent = true
	c.send(gosip.REFER, func(req *gosip.Request) {
		req.AppendHeader(gosip.NewHeader("Refer-To", "<"+uri.String()+">"))
		req.AppendHeader(gosip.NewHeader("Referred-By", "<"+c.dialog.local.Address.String()+">"))
	}, func(res *gosip.Response, err error) {
		switch {
		case err != nil:
			c.emit(Event{Kind: ReferProgress, Code: 408, Reason: phrase(408)})
		case !res.IsSuccess():
			c.refer.sent = false
			c.emit(Event{Kind: ReferProgress, Code: res.StatusCode, Reason: clean(res.Reason, maxReason)})
		}
	})
}

// onNotify takes the far end's report about our REFER.
func (c *Call) onNotify(in *inbound) {
	event, _, _ := strings.Cut(header(in.req, "Event"), ";")
	if strings.TrimSpace(event) != "refer" {
		in.reply(489, "", gosip.NewHeader("Allow-Events", "refer"))
		return
	}
	if !c.refer.sent {
		in.reply(481, "")
		return
	}
	in.reply(200, "")
	line, _, _ := strings.Cut(string(in.req.Body()), "\n")
	parts := strings.SplitN(strings.TrimSpace(line), " ", 3)
	if len(parts) < 2 || parts[0] != "SIP/2.0" || mediaType(in.req) != fragType {
		return
	}
	code, err := strconv.Atoi(parts[1])
	if err != nil || code < 100 || code > 699 {
		return
	}
	reason := ""
	if len(parts) == 3 {
		reason = clean(parts[2], maxReason)
	}
	c.emit(Event{Kind: ReferProgress, Code: code, Reason: reason})
}
