// Admission: a stranger learns nothing but that we ask for credentials (X-7b).

package sip

import (
	"net/netip"
	"strconv"

	gosip "github.com/emiago/sipgo/sip"

	"parley/sip/admit"
)

// admitted is who a request comes from.
type admitted struct {
	user     string // by digest or certificate
	upstream string // name of the upstream whose PBX hit the contact that we registered there
	many     bool   // a PBX, known by its certificate
}

// admit judges a request that begins something. If the answer is no, it has been sent.
func (a *Agent) admit(in *inbound) (admitted, bool) {
	upstream, _ := a.OwnContact(userOf(in.req.Recipient))
	if a.cfg.Gate == nil {
		return admitted{upstream: upstream}, true
	}
	req, stamp := in.req, a.net.stamp(in.req)
	if !stamp.Remote.IsValid() {
		stamp.Remote = sourceOf(req)
	}
	var credentials []string
	for _, h := range req.GetHeaders("Authorization") {
		credentials = append(credentials, h.Value())
	}
	r := visitor(string(req.Method), req.Recipient.String(), userOf(req.Recipient), credentials, stamp)
	v := a.cfg.Gate.Check(r)
	if v.Outcome == admit.Admitted {
		if v.How == admit.ByToken {
			return admitted{upstream: v.User}, true
		}
		return admitted{user: v.User, upstream: upstream, many: v.How == admit.ByCertificate}, true
	}
	var hs []gosip.Header
	for _, h := range headersFor(v) {
		hs = append(hs, gosip.NewHeader(h[0], h[1]))
	}
	in.reply(codeOf(v), "", hs...)
	if v.Outcome == admit.Refused {
		a.log.Info("sip: refused", "method", r.Method, "source", r.Source, "code", v.Code, "why", v.Reason)
	}
	return admitted{}, false
}

// caller is whom the limit of calls counts; empty for whom it does not: programs on this machine, and a PBX, behind which
// are many.
func (w admitted) caller(from netip.AddrPort) string {
	switch {
	case w.many:
		return ""
	case w.user != "":
		return "user " + w.user
	case w.upstream != "" || from.Addr().Unmap().IsLoopback():
		return ""
	}
	return "address " + from.Addr().String()
}

// OwnContact reports whether user is the user part of a contact that we have registered, and with which upstream. An
// admit.Gate asks it: only the PBX knows that name, so a call to it comes from there.
func (a *Agent) OwnContact(user string) (upstream string, ok bool) {
	for _, u := range a.uplinks {
		if u.owns(user) {
			return u.conf.Name, true
		}
	}
	return "", false
}

func headerSeconds(m gosip.Message, name string) (int, bool) {
	n, err := strconv.ParseUint(header(m, name), 10, 31)
	return int(n), err == nil
}
