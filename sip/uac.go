// An outgoing call, from Dial to 200 or to the end of its trials.

package sip

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	gosip "github.com/emiago/sipgo/sip"

	"parley/audio"
	"parley/sip/route"
)

// Dial is what to call, and as whom.
type Dial struct {
	To       string        // a number, "XXX:YYY" (number and identity), or a SIP URI
	From     string        // our number or name, unless To or its route gives an identity; empty: the upstream's user, else "parley"
	Name     string        // display name
	Outbound string        // proxy as a SIP URI, for a To that is a URI
	Hops     []route.Hop   // where to send it, instead of looking To up
	Auth     Auth          // for challenges; empty: that of the upstream with the gateway's name
	Headers  [][2]string   // more headers for the INVITE
	Early    bool          // take early media; without it only the answer opens the leg
	Focus    bool          // Contact bears isfocus: this end is a conference
	NoAnswer time.Duration // 0: Timers.NoAnswer
	Codecs   []audio.Codec // nil: Config.Codecs
	SRTP     *SRTPPolicy   // nil: Config.SRTP
}

// uac is the part of a Call that only an outgoing one has.
type uac struct {
	dial     Dial
	trials   trials
	trial    trial
	auth     *credentials
	inv      *invite // the one under way
	first    time.Time
	tag      string // To tag of the early dialog whose sound is heard
	noAnswer *time.Timer
	try      *time.Timer
	last     error // why the last trial failed
	lastCode int
	se       time.Duration // Session-Expires asked for, raised by 422
	final    bool
}

// Dial places a call and returns at once: what becomes of it is told by events. An error means that nothing was sent.
func (a *Agent) Dial(d Dial) (*Call, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	select {
	case <-a.ready:
	default:
		return nil, fmt.Errorf("%w: not running yet", ErrState)
	}
	where, identity, err := a.search(d)
	if err != nil {
		return nil, err
	}
	d.From = cmp.Or(identity, d.From)
	c := a.newCall(Out, dialogKey{call: token(16), tag: token(12)})
	c.number, c.from, c.target, c.name = d.To, d.From, d.To, d.Name
	c.focus = d.Focus
	c.uac = uac{dial: d, trials: where, se: a.cfg.SessionExpires}
	if c.uac.dial.NoAnswer <= 0 {
		c.uac.dial.NoAnswer = a.cfg.Timers.NoAnswer
	}
	if err := a.admitCall(c); err != nil {
		return nil, err
	}
	c.box.put(func() {
		c.uac.noAnswer = c.after(c.uac.dial.NoAnswer, func() { c.cancel(408, "no answer", Watchdog) })
		c.nextTrial(false)
	}, true)
	if !a.goDo(c.run) {
		a.forget(c)
		return nil, ErrEnded
	}
	a.log.Info("sip: calling", "call", c.id, "number", c.number, "from", c.from)
	return c, nil
}

// headerNames are those that Dial.Headers may not set: they make the dialog or the transaction.
var headerNames = map[string]bool{"via": true, "from": true, "to": true, "call-id": true, "cseq": true, "contact": true,
	"route": true, "record-route": true, "max-forwards": true, "content-length": true, "content-type": true,
	"require": true, "supported": true, "allow": true, "session-expires": true, "min-se": true, "authorization": true,
	"proxy-authorization": true}

func (d Dial) check() error {
	if d.From != "" && !validUser(d.From) {
		return fmt.Errorf("%w: from %q", ErrInvalid, d.From)
	}
	if !printable(d.Name, maxName) {
		return fmt.Errorf("%w: display name %q", ErrInvalid, d.Name)
	}
	if d.Outbound != "" {
		if _, err := parseURI(d.Outbound); err != nil {
			return err
		}
	}
	for _, h := range d.Headers {
		if !isToken(h[0]) || headerNames[canonical(h[0])] || !printable(h[1], maxHeader) {
			return fmt.Errorf("%w: header %q", ErrInvalid, h)
		}
	}
	return nil
}

// isToken is a header's name (RFC 3261, 25.1).
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// nextTrial goes on to the next place. Looking it up can take time, so it happens beside the call's goroutine.
func (c *Call) nextTrial(skip bool) {
	c.stopTimer(&c.uac.try)
	c.agent.goDo(func() {
		t, err := c.uac.trials.next(c.ctx, skip)
		c.post(func() {
			if err != nil {
				c.exhausted(err)
				return
			}
			c.attempt(t)
		})
	})
}

// exhausted: nothing is left to try. What the last one said counts.
func (c *Call) exhausted(err error) {
	code, reason := c.uac.lastCode, ""
	if c.uac.last != nil {
		err = c.uac.last
	}
	if code == 0 {
		code, reason = 503, clean(err.Error(), maxReason)
	} else {
		reason = phrase(code)
	}
	c.over(code, reason, Remote)
}

// attempt sends an INVITE to t.
func (c *Call) attempt(t trial) {
	a := c.agent
	c.uac.trial, c.uac.tag = t, ""
	c.media.stands, c.media.agreed = nil, nil // of an earlier trial
	secure := t.hop.network == "tls"
	policy := a.cfg.SRTP
	if c.uac.dial.SRTP != nil {
		policy = *c.uac.dial.SRTP
	}
	if err := c.media.prepare(a, c.uac.dial.Codecs, policy, secure); err != nil {
		c.over(488, clean(err.Error(), maxReason), Local)
		return
	}
	if err := c.media.open(t.hop); err != nil {
		a.log.Warn("sip: no leg", "call", c.id, "err", err)
		c.over(503, "no media port", Local)
		return
	}
	c.media.peer, c.media.nat = t.hop.addr.Addr(), t.nat
	from, auth := a.caller(t, c.uac.dial)
	c.uac.auth = auth
	tag := c.dialog.key.tag
	c.dialog = dialog{
		key: c.key, localSeq: max(c.dialog.localSeq, firstSeq()), hop: t.hop, nat: t.nat, auth: auth,
		local:  gosip.FromHeader{DisplayName: quoted(c.uac.dial.Name), Address: from},
		remote: gosip.ToHeader{Address: address(t.uri)},
		target: t.uri,
	}
	if tag == "" {
		tag = c.key.tag
	}
	c.dialog.local.Params.Add("tag", tag)
	c.invite(c.media.offer())
}

// address is a URI as it stands in To: without port and parameters (RFC 3261, 20.39 and table 1).
func address(u gosip.Uri) gosip.Uri {
	return gosip.Uri{Scheme: u.Scheme, User: u.User, Password: u.Password, Host: u.Host}
}

// invite sends the INVITE of the present trial, the first time or again with what was missing.
func (c *Call) invite(body []byte, more ...gosip.Header) {
	req := c.dialog.request(c.agent, gosip.INVITE)
	c.describe(req, body)
	req.AppendHeader(sessionHeader(c.uac.se, c.agent.cfg.Timers.Second, ""))
	req.AppendHeader(minSE(c.agent))
	for _, h := range c.uac.dial.Headers {
		req.AppendHeader(gosip.NewHeader(h[0], h[1]))
	}
	for _, h := range more {
		req.AppendHeader(h)
	}
	c.sendInvite(req)
}

func (c *Call) sendInvite(req *gosip.Request) {
	c.uac.inv = c.newInvite(req, at(c.uac.trial.hop))
	c.update(func(i *Info) {
		i.Transport, i.Peer = c.uac.trial.hop.network, c.uac.trial.hop.addr
		i.Upstream = c.uac.trial.gateway
	})
	c.stopTimer(&c.uac.try)
	c.uac.try = c.after(c.agent.cfg.Timers.Try, func() { c.trialFailed(fmt.Errorf("%w: no response", errTimeout), 408) })
	c.uac.inv.start()
}

var errTimeout = errors.New("sip: time-out")

// describe puts what every INVITE and UPDATE of ours says into req.
func (c *Call) describe(req *gosip.Request, body []byte) {
	req.AppendHeader(c.agent.allow())
	req.AppendHeader(supported())
	if body != nil {
		req.AppendHeader(gosip.NewHeader("Content-Type", sdpType))
	}
	req.SetBody(body)
}

// trialFailed gives this place up and goes on to the next.
func (c *Call) trialFailed(err error, code int) {
	if c.uac.inv != nil {
		c.uac.inv.abandon()
		c.uac.inv = nil
	}
	c.uac.last, c.uac.lastCode = err, code
	c.agent.log.Info("sip: trial failed", "call", c.id, "hop", c.uac.trial.hop.addr, "err", err)
	c.nextTrial(code == 503)
}

// onInvite takes a response to the first INVITE, or the reason why none will come.
func (c *Call) onInvite(inv *invite, res *gosip.Response, err error) {
	if inv != c.uac.inv || c.uac.final {
		return
	}
	if err != nil {
		c.trialFailed(err, 0)
		return
	}
	c.stopTimer(&c.uac.try)
	switch code := res.StatusCode; {
	case code < 200:
		c.onProvisional(res)
	case code < 300:
		c.onAccepted(inv, res)
	default:
		c.onRefused(inv, res)
	}
}

func (c *Call) onProvisional(res *gosip.Response) {
	if res.StatusCode == 100 || res.To() == nil {
		return
	}
	tag, _ := res.To().Params.Get("tag")
	if tag != "" {
		c.meet(tag, false)
	}
	if c.uac.dial.Early && tag != "" && len(res.Body()) > 0 && mediaType(res) == sdpType && (c.uac.tag == "" || c.uac.tag == tag) {
		if _, err := c.media.accept(res.Body()); err == nil && c.uac.tag == "" {
			c.uac.tag = tag
			c.publish()
			c.emit(Event{Kind: EarlyMedia})
		}
	}
	if res.StatusCode == 180 && c.State() == Calling {
		c.update(func(i *Info) { i.State = Alerting })
		c.emit(Event{Kind: Ringing})
	}
}

// onAccepted: the far end has answered.
func (c *Call) onAccepted(inv *invite, res *gosip.Response) {
	c.uac.final = true
	c.stopTimer(&c.uac.noAnswer)
	early := c.uac.tag
	c.dialog.hop = inv.hop
	c.dialog.establish(res)
	c.meet(c.dialog.remoteTag, true)
	ack := c.ack(inv, nil)
	body := res.Body()
	if len(body) > 0 || early == "" || early != c.dialog.remoteTag {
		ch, err := c.media.accept(body)
		if err != nil {
			c.agent.log.Info("sip: bad answer", "call", c.id, "err", err)
			ack()
			c.bye(sdpCode(err), "bad answer", Local)
			return
		}
		_ = ch
	}
	ack()
	c.session.accepted(c, res, c.uac.se)
	c.update(func(i *Info) {
		i.State, i.Answered = Talking, c.agent.cfg.Now()
		i.Transport, i.Peer = inv.hop.network, inv.hop.addr
		i.Agent = clean(header(res, "Server"), maxName)
		if i.Agent == "" {
			i.Agent = clean(header(res, "User-Agent"), maxName)
		}
	})
	c.established()
	c.resume()
}

// onRefused: a final response other than 2xx. It may be a question.
func (c *Call) onRefused(inv *invite, res *gosip.Response) {
	switch code := res.StatusCode; code {
	case 401, 407:
		again := c.dialog.request(c.agent, gosip.INVITE)
		again.Recipient = inv.req.Recipient
		copyRest(inv.req, again)
		if err := c.uac.auth.answer(again, res); err != nil {
			c.refused(res)
			return
		}
		c.sendInvite(again)
	case 422:
		if least, ok := headerSeconds(res, "Min-SE"); ok && c.agent.seconds(least) > c.uac.se && least <= maxExpires {
			c.uac.se = c.agent.seconds(least)
			c.invite(c.media.offer())
			return
		}
		c.refused(res)
	case 408, 503, 504:
		c.trialFailed(fmt.Errorf("sip: %d from %s", code, c.uac.trial.hop.addr), code)
	default:
		c.refused(res)
	}
}

// refused ends the call with the far end's own words. That includes redirections: we follow none, because who answers
// decides whom we call then.
func (c *Call) refused(res *gosip.Response) {
	c.uac.final = true
	reason := clean(res.Reason, maxReason)
	if reason == "" {
		reason = phrase(res.StatusCode)
	}
	c.over(res.StatusCode, reason, Remote)
}

// cancel gives an outgoing call up that was not answered. The transaction is finished in the background.
func (c *Call) cancel(code int, reason string, by Side) {
	if c.uac.inv != nil {
		c.uac.inv.abandon()
	}
	c.uac.final = true
	c.over(code, reason, by)
}

// copyRest copies the headers and the body that a repeated request keeps.
func copyRest(from, to *gosip.Request) {
	have := map[string]bool{"via": true, "contact": true, "content-length": true}
	for _, h := range to.Headers() {
		have[canonical(h.Name())] = true
	}
	for _, h := range from.Headers() {
		if !have[canonical(h.Name())] {
			to.AppendHeader(gosip.HeaderClone(h))
		}
	}
	to.SetBody(from.Body())
}
