// Phones at the box: REGISTER (RFC 3261, 10.3). Who may, the gate has said before; where to, the registrar keeps.

package sip

import (
	"errors"
	"strconv"
	"strings"
	"time"

	gosip "github.com/emiago/sipgo/sip"

	"parley/sip/registrar"
)

// maxContacts bounds the contacts of one REGISTER.
const maxContacts = 16

// serveRegister serves REGISTER.
func (a *Agent) serveRegister(in *inbound) {
	who, ok := a.admit(in)
	if !ok {
		return
	}
	if a.cfg.Registrar == nil {
		in.reply(405, "", a.allow())
		return
	}
	if bad := unsupported(in.req); bad != "" {
		in.reply(420, "", gosip.NewHeader("Unsupported", bad))
		return
	}
	user := userOf(in.req.To().Address)
	if who.upstream != "" || who.user != "" && who.user != user {
		in.reply(403, "") // nobody registers another
		return
	}
	u, ok := a.update(in.req)
	if !ok {
		in.reply(400, "")
		return
	}
	now := a.cfg.Now()
	bindings, err := a.cfg.Registrar.Register(now, user, u)
	for _, refusal := range registerRefusals {
		if errors.Is(err, refusal.err) {
			var hs []gosip.Header
			if refusal.code == 423 {
				hs = append(hs, gosip.NewHeader("Min-Expires", strconv.Itoa(int(a.cfg.Registrar.MinExpires()/time.Second))))
			}
			in.reply(refusal.code, "", hs...)
			return
		}
	}
	if err != nil {
		in.reply(500, "")
		return
	}
	var hs []gosip.Header
	for _, b := range bindings {
		left := int(b.Expires.Sub(now).Round(time.Second) / time.Second)
		hs = append(hs, gosip.NewHeader("Contact", "<"+b.URI+">;expires="+strconv.Itoa(left)))
	}
	hs = append(hs, gosip.NewHeader("Date", now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")), a.allow())
	in.reply(200, "", hs...)
}

// registerRefusals are the answers to what the registrar refuses.
var registerRefusals = []struct {
	err  error
	code int
}{
	{registrar.ErrTooBrief, 423},
	{registrar.ErrOutOfOrder, 500},
	{registrar.ErrTooManyContacts, 403},
	{registrar.ErrFull, 503},
	{registrar.ErrMalformed, 400},
}

// update reads what a REGISTER asks for.
func (a *Agent) update(req *gosip.Request) (registrar.Update, bool) {
	from := a.net.cameFrom(req)
	u := registrar.Update{
		CallID: req.CallID().Value(), CSeq: req.CSeq().SeqNo, Expires: registrar.Unset,
		Source: from.addr, Transport: from.network, UserAgent: clean(header(req, "User-Agent"), maxName),
	}
	if v := header(req, "Expires"); v != "" {
		n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 32)
		if err != nil {
			return u, false
		}
		u.Expires = int(min(n, 1<<31-1))
	}
	contacts := req.GetHeaders("Contact")
	if len(contacts) > maxContacts {
		return u, false
	}
	for _, h := range contacts {
		c, ok := h.(*gosip.ContactHeader)
		if !ok {
			return u, false
		}
		if c.Address.Wildcard {
			u.Wildcard = true
			continue
		}
		if c.Address.Scheme != "sip" && c.Address.Scheme != "sips" || c.Address.Host == "" {
			return u, false
		}
		u.Contacts = append(u.Contacts, contactOf(c))
	}
	return u, true
}

func contactOf(c *gosip.ContactHeader) registrar.Contact {
	out := registrar.Contact{URI: c.Address.String(), Q: registrar.Unset, Expires: registrar.Unset}
	for _, p := range c.Params {
		switch strings.ToLower(p.K) {
		case "q":
			if q, err := strconv.ParseFloat(p.V, 64); err == nil && q >= 0 && q <= 1 {
				out.Q = int(q*1000 + 0.5)
			}
		case "expires":
			if n, err := strconv.ParseUint(p.V, 10, 31); err == nil {
				out.Expires = int(n)
			}
		case "+sip.instance":
			out.Instance = clean(strings.Trim(p.V, `"`), maxName)
		}
	}
	return out
}
