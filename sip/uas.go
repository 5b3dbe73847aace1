// An incoming call, from INVITE to ACK.

package sip

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	gosip "github.com/emiago/sipgo/sip"

	"parley/sip/guard"
	"parley/sip/sdp"
)

// uas is the part of a Call that only an incoming one has.
type uas struct {
	in     *inbound
	offer  []byte // their SDP, nil if the INVITE had none
	answer []byte // ours, once it was made
	caller string // counted by the gate
	final  bool   // a final response was sent
}

// serveInvite serves an INVITE outside any dialog.
func (a *Agent) serveInvite(in *inbound) {
	who, ok := a.admit(in)
	if !ok {
		return
	}
	if code, hs := a.vetInvite(in.req); code != 0 {
		in.reply(code, "", hs...)
		return
	}
	old, code := a.replaced(in.req)
	if code != 0 {
		in.reply(code, "")
		return
	}
	c := a.incoming(in, who)
	c.instead = old
	if err := c.media.prepare(a, nil, a.cfg.SRTP, in.req.Transport() == "TLS"); err != nil {
		in.reply(488, "", warning(err))
		return
	}
	if len(c.uas.offer) > 0 {
		if err := c.media.check(c.uas.offer); err != nil {
			in.reply(sdpCode(err), "", warning(err))
			return
		}
	}
	if a.merged(c.merge) {
		in.reply(482, "")
		return
	}
	if a.cfg.Gate != nil && c.uas.caller != "" && !a.cfg.Gate.Enter(c.uas.caller) {
		in.reply(486, "")
		return
	}
	if err := a.admitCall(c); err != nil {
		a.leave(c)
		if errors.Is(err, ErrBusy) {
			in.reply(486, "")
		} else {
			in.reply(503, "", retryAfter(10))
		}
		return
	}
	a.log.Info("sip: call came in", "call", c.id, "number", c.number, "from", c.from, "source", c.info.Peer, "user", who.user,
		"upstream", who.upstream)
	c.begin(in)
}

// begin starts the call's goroutine with the Handler's decision.
func (c *Call) begin(in *inbound) {
	// From here on every response, also the 487 that the transaction layer makes for a CANCEL, bears the dialog's tag. The
	// 100 follows at once: it also orders this write before anything that reads the request.
	in.req.To().Params.Add("tag", c.key.tag)
	trying := c.agent.response(in.req, 100, "", nil)
	trying.To().Params.Remove("tag")
	in.respond(trying)
	alive := in.tx.OnCancel(func(*gosip.Request) { c.box.put(c.canceled, true) }) &&
		in.tx.OnTerminate(func(string, error) { c.box.put(c.unreachable, true) })
	c.box.put(func() {
		switch {
		case !alive:
			c.canceled()
		case c.agent.cfg.Handler == nil:
			c.reject(480, "")
		default:
			c.agent.cfg.Handler.Incoming(c)
		}
	}, true)
	if !c.agent.goDo(c.run) {
		c.agent.forget(c)
	}
}

// vetInvite looks for what keeps an INVITE from being served, whoever sends it.
func (a *Agent) vetInvite(req *gosip.Request) (int, []gosip.Header) {
	if bad := unsupported(req); bad != "" {
		return 420, []gosip.Header{gosip.NewHeader("Unsupported", bad)}
	}
	if len(req.Body()) > 0 && mediaType(req) != sdpType || encoded(req) {
		return 415, []gosip.Header{gosip.NewHeader("Accept", sdpType), gosip.NewHeader("Accept-Encoding", "identity")}
	}
	if !accepts(req, sdpType) {
		return 406, []gosip.Header{gosip.NewHeader("Accept", sdpType)}
	}
	return a.vetSession(req)
}

// encoded reports whether the body is compressed or the like.
func encoded(req *gosip.Request) bool {
	for _, t := range tokens(req, "Content-Encoding", "e") {
		if t != "identity" {
			return true
		}
	}
	return false
}

// incoming makes the Call of an INVITE.
func (a *Agent) incoming(in *inbound, who admitted) *Call {
	req, tag, from := in.req, token(12), a.net.cameFrom(in.req)
	c := a.newCall(In, dialogKey{call: req.CallID().Value(), tag: tag})
	c.number = userOf(req.Recipient)
	c.target = clean(req.Recipient.String(), maxURI)
	c.from = userOf(req.From().Address)
	c.name = unquoted(req.From().DisplayName)
	c.headers = headersOf(req)
	c.dialog = uasDialog(req, tag, from)
	c.far = []string{c.dialog.remoteTag}
	c.merge = mergeKey(req)
	c.uas = uas{in: in, offer: req.Body(), caller: who.caller(from.addr)}
	c.media.peer, c.media.nat = from.addr.Addr(), c.dialog.nat
	for _, u := range a.uplinks {
		if who.upstream != "" && u.conf.Name == who.upstream {
			if c.number = u.conf.Number; c.number == "" {
				c.number = userOf(req.To().Address)
			}
			c.dialog.auth = newCredentials(u.conf.credentials())
		}
	}
	c.info.Transport, c.info.Peer = from.network, from.addr
	c.info.User, c.info.Many, c.info.Upstream = who.user, who.many, who.upstream
	c.info.Agent = clean(header(req, "User-Agent"), maxName)
	return c
}

// newCall makes a call at rest.
func (a *Agent) newCall(d Direction, key dialogKey) *Call {
	c := &Call{agent: a, id: token(8), direction: d, key: key, box: newMailbox(), done: make(chan struct{}),
		timers: make(map[*time.Timer]struct{})}
	c.info.Began = a.cfg.Now()
	c.ctx, c.stop = context.WithCancel(a.life)
	return c
}

// mergeKey is what two INVITEs of one call that came by different ways have in common (RFC 3261, 8.2.2.2).
func mergeKey(req *gosip.Request) string {
	tag, _ := req.From().Params.Get("tag")
	return req.CallID().Value() + "\x00" + tag + "\x00" + strconv.Itoa(int(req.CSeq().SeqNo))
}

// private headers are not shown to the program.
var private = map[string]bool{"authorization": true, "proxy-authorization": true, canonical(guard.ArrivalHeader): true}

// headersOf keeps what Call.Header may be asked for: at most 64 of at most maxHeader bytes.
func headersOf(req *gosip.Request) map[string]string {
	m := make(map[string]string)
	for _, h := range req.Headers() {
		name := canonical(h.Name())
		if _, twice := m[name]; twice || len(m) >= 64 || private[name] {
			continue
		}
		m[name] = clean(h.Value(), maxHeader)
	}
	return m
}

// sdpCode is the answer to a description that we cannot take.
func sdpCode(err error) int {
	if errors.Is(err, sdp.ErrMalformed) {
		return 400
	}
	return 488
}

// warning tells why (RFC 3261, 20.43): 304 is "media type not available", 399 is anything.
func warning(err error) gosip.Header {
	code := "399"
	if errors.Is(err, sdp.ErrNoCommonCodec) {
		code = "304"
	}
	return gosip.NewHeader("Warning", code+` parley "`+quoted(clean(err.Error(), maxReason))+`"`)
}

// waiting reports whether the call is an incoming one that nobody has decided yet.
func (c *Call) waiting() bool { return c.direction == In && !c.uas.final }

func (c *Call) ring() {
	if !c.waiting() {
		return
	}
	c.update(func(i *Info) { i.State = Alerting })
	c.uas.in.respond(c.reply(c.uas.in.req, 180, nil))
}

// progress sends 183 with our answer. What the INVITE did not offer cannot be answered early.
func (c *Call) progress() {
	if !c.waiting() || len(c.uas.offer) == 0 || c.uas.answer != nil {
		return
	}
	if !c.accord() {
		return
	}
	c.update(func(i *Info) { i.State = Alerting })
	c.uas.in.respond(c.reply(c.uas.in.req, 183, c.uas.answer))
	c.emit(Event{Kind: EarlyMedia})
}

// accord makes our description: an answer, or the offer if the INVITE had none. It reports false if the call had to end.
func (c *Call) accord() bool {
	if c.uas.answer != nil {
		return true
	}
	err := c.media.open(c.dialog.hop)
	if err != nil {
		c.agent.log.Warn("sip: no leg", "call", c.id, "err", err)
		c.refuse(503, "", retryAfter(10))
		return false
	}
	if len(c.uas.offer) == 0 {
		c.uas.answer = c.media.offer()
		return true
	}
	if c.uas.answer, _, err = c.media.answer(c.uas.offer); err != nil {
		c.refuse(sdpCode(err), "", warning(err))
		return false
	}
	c.publish()
	return true
}

func (c *Call) answer() {
	if !c.waiting() || !c.accord() {
		return
	}
	in := c.uas.in
	res := c.reply(in.req, 200, c.uas.answer)
	c.session.grant(c, in.req, res)
	c.uas.final = true
	if err := in.respond(res); err != nil {
		if errors.Is(err, gosip.ErrTransactionCanceled) {
			// The CANCEL was first. What the transaction repeats now must be its 487 again.
			in.reply(487, "")
			c.over(487, "cancelled", Remote)
		} else {
			c.over(503, "answer not sent", Watchdog)
		}
		return
	}
	c.update(func(i *Info) { i.State, i.Answered = Talking, c.agent.cfg.Now() })
	c.repeat(in, res, len(c.uas.offer) == 0)
	if c.media.ready() {
		c.established()
	}
}

// established tells that the call is up and has sound.
func (c *Call) established() {
	c.watch.since = c.agent.cfg.Now()
	c.publish()
	c.changed()
	c.emit(Event{Kind: Answered})
	if ag := c.media.agreed; ag != nil && ag.Held {
		c.emit(Event{Kind: Held})
	}
}

func (c *Call) reject(code int, reason string) {
	if c.waiting() {
		c.refuse(code, reason)
	}
}

// refuse ends an incoming call with a final response.
func (c *Call) refuse(code int, reason string, headers ...gosip.Header) {
	c.uas.final = true
	c.uas.in.reply(code, reason, headers...)
	if reason == "" {
		reason = phrase(code)
	}
	c.over(code, reason, Local)
}

// canceled: the caller has given up. The transaction layer has answered both the CANCEL and the INVITE.
func (c *Call) canceled() {
	if c.ended || c.uas.final {
		return
	}
	c.uas.final = true
	c.over(487, "cancelled", Remote)
}

// unreachable: the INVITE's transaction is over. If it had no final response, its connection broke and nobody can be told.
func (c *Call) unreachable() {
	if c.ended || c.uas.final {
		return
	}
	c.uas.final = true
	c.over(408, "connection lost", Remote)
}

// reply is a response within the dialog, with what makes the dialog: Contact, and what we can do.
func (c *Call) reply(req *gosip.Request, code int, body []byte) *gosip.Response {
	res := c.agent.response(req, code, "", body, c.contact(), c.agent.allow(), supported())
	if c.agent.cfg.ConferenceInfo != nil {
		res.AppendHeader(gosip.NewHeader("Allow-Events", conferenceEvent))
	}
	if body != nil {
		res.AppendHeader(gosip.NewHeader("Content-Type", sdpType))
	}
	return res
}

// contact is where this call reaches us.
func (c *Call) contact() gosip.Header {
	c.mu.Lock()
	focus := c.focus
	c.mu.Unlock()
	return c.agent.contact(c.user(), c.dialog.hop, focus)
}

// user is the user part of our Contact.
func (c *Call) user() string {
	u := c.number
	if c.direction == Out {
		u = c.from
	}
	if u = strings.SplitN(u, ":", 2)[0]; u == "" {
		return "parley"
	}
	return u
}

// leave gives the gate its count back.
func (a *Agent) leave(c *Call) {
	if a.cfg.Gate != nil && c.uas.caller != "" {
		a.cfg.Gate.Leave(c.uas.caller)
	}
}
