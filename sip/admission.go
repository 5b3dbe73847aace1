// Admission: a stranger learns nothing but that we ask for credentials (X-7b).

package sip

import (
	"net/netip"
	"strconv"
	"time"

	gosip "github.com/emiago/sipgo/sip"

	"parley/sip/admit"
)

// admitted is who a request comes from.
type admitted struct {
	user     string // by digest or certificate
	upstream string // name of the upstream whose PBX hit the contact that we registered there
}

// admit judges a request that begins something. If the answer is no, it has been sent.
func (a *Agent) admit(in *inbound) (admitted, bool) {
	if a.cfg.Gate == nil {
		return admitted{}, true
	}
	req, from := in.req, a.net.cameFrom(in.req)
	r := admit.Request{
		Method:  string(req.Method),
		URI:     req.Recipient.String(),
		URIUser: userOf(req.Recipient),
		Source:  from.addr,
	}
	stamp := a.net.stamp(req)
	r.PeerNames = stamp.Names
	if r.Local = stamp.Local; !r.Local.Addr().IsValid() || r.Local.Addr().IsUnspecified() {
		if from.addr.Addr().IsLoopback() {
			r.Local = from.addr // what comes from loopback came to it
		}
	}
	for i, h := range req.GetHeaders("Authorization") {
		if i < 8 {
			r.Authorization = append(r.Authorization, h.Value())
		}
	}
	v := a.cfg.Gate.Check(r)
	switch v.Outcome {
	case admit.Admitted:
		if v.How == admit.ByToken {
			return admitted{upstream: v.User}, true
		}
		return admitted{user: v.User}, true
	case admit.Challenged:
		var hs []gosip.Header
		for _, c := range v.Challenges {
			hs = append(hs, gosip.NewHeader("WWW-Authenticate", c))
		}
		in.reply(401, "", hs...)
	default:
		var hs []gosip.Header
		if v.RetryAfter > 0 {
			hs = append(hs, retryAfter(int((v.RetryAfter+time.Second-1)/time.Second)))
		}
		in.reply(v.Code, "", hs...)
		a.log.Info("sip: refused", "method", r.Method, "source", r.Source, "code", v.Code, "why", v.Reason)
	}
	return admitted{}, false
}

// caller is whom the limit of calls counts; empty for whom it does not: programs on this machine, and a PBX, behind which
// are many.
func (w admitted) caller(from netip.AddrPort) string {
	switch {
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
