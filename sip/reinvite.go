// New offers inside a dialog, from either side (RFC 3261, 14; RFC 3311).

package sip

import (
	"math/rand/v2"
	"time"

	gosip "github.com/emiago/sipgo/sip"

	"parley/audio"
)

// reinvite is what is under way inside a dialog.
type reinvite struct {
	ok        *unacked   // our 200 that waits for its ACK
	out       *invite    // our re-INVITE
	waiting   []*inbound // INVITE and UPDATE that overtook the ACK before them
	wanted    bool       // a new offer is to go out as soon as nothing else is under way
	later     *time.Timer
	auth      *credentials
	byeCode   int // hang up as soon as the ACK is there (RFC 3261, 15)
	byeReason string

	heldThen   bool // what to go back to if our offer is refused
	codecsThen []audio.Codec
}

// resume goes on with what had to wait.
func (c *Call) resume() {
	early, waiting := c.early, c.re.waiting
	c.early, c.re.waiting = nil, nil
	for _, in := range early {
		c.serve(in)
	}
	for _, in := range waiting {
		if c.ended {
			in.reply(481, "")
			continue
		}
		c.agent.inside[in.req.Method](c, in)
	}
	if c.re.wanted && !c.ended {
		c.renegotiate()
	}
}

// moved notes where the far end is now. What it returns forgets that again, for an offer that is refused (RFC 6141, 3).
func (c *Call) moved(in *inbound) (back func()) {
	target, hop, nat, peer := c.dialog.target, c.dialog.hop, c.dialog.nat, c.media.peer
	c.dialog.learn(in.req)
	c.dialog.retarget(in.req)
	c.dialog.hop = c.agent.net.cameFrom(in.req)
	c.dialog.nat = len(c.dialog.routes) == 0 && behindNAT(in.req)
	c.media.peer, c.media.nat = c.dialog.hop.addr.Addr(), c.dialog.nat
	show := func() {
		c.update(func(i *Info) { i.Transport, i.Peer = c.dialog.hop.network, c.dialog.hop.addr })
	}
	show()
	return func() {
		c.dialog.target, c.dialog.hop, c.dialog.nat, c.media.peer, c.media.nat = target, hop, nat, peer, nat
		show()
	}
}

// onReinvite: the far end wants something else: hold, another codec, another address.
func (c *Call) onReinvite(in *inbound) {
	switch {
	case c.waiting():
		in.reply(500, "", retryAfter(rand.IntN(10)))
		return
	case c.re.ok != nil && len(c.re.waiting) == 0: // it may have overtaken the ACK
		c.re.waiting = append(c.re.waiting, in)
		return
	case c.re.ok != nil:
		in.reply(500, "", retryAfter(rand.IntN(10)))
		return
	case c.re.out != nil || c.media.leg == nil: // none yet: the call is being restored
		in.reply(491, "")
		return
	}
	if code, hs := c.agent.vetInvite(in.req); code != 0 {
		in.reply(code, "", hs...)
		return
	}
	back := c.moved(in)
	var body []byte
	var ch change
	var err error
	if offer := in.req.Body(); len(offer) > 0 {
		if body, ch, err = c.media.answer(offer); err != nil {
			back()
			in.reply(sdpCode(err), "", warning(err)) // and all stays as it was (14.2)
			return
		}
	} else {
		body = c.media.offer()
	}
	res := c.reply(in.req, 200, body)
	c.session.grant(c, in.req, res)
	if in.respond(res) != nil {
		return
	}
	c.repeat(in, res, len(in.req.Body()) == 0)
	c.tell(ch)
	c.changed()
}

// onUpdate: the same without an ACK, or a mere refresh of the session.
func (c *Call) onUpdate(in *inbound) {
	offer := in.req.Body()
	switch {
	case len(offer) > 0 && (c.waiting() || c.re.ok != nil && c.re.ok.offered):
		in.reply(500, "", retryAfter(rand.IntN(10)))
		return
	case len(offer) > 0 && (c.re.out != nil || c.media.leg == nil):
		in.reply(491, "")
		return
	case len(offer) > 0 && mediaType(in.req) != sdpType:
		in.reply(415, "", gosip.NewHeader("Accept", sdpType))
		return
	}
	if code, hs := c.agent.vetSession(in.req); code != 0 {
		in.reply(code, "", hs...)
		return
	}
	back := c.moved(in)
	var body []byte
	var ch change
	var err error
	if len(offer) > 0 {
		if body, ch, err = c.media.answer(offer); err != nil {
			back()
			in.reply(sdpCode(err), "", warning(err))
			return
		}
	}
	res := c.reply(in.req, 200, body)
	c.session.grant(c, in.req, res)
	in.respond(res)
	if body != nil {
		c.tell(ch)
	}
	c.changed()
}

// hold puts the far end on hold, or takes it off.
func (c *Call) hold(on bool) {
	if c.media.hold == on || c.State() != Talking {
		return
	}
	c.media.hold = on
	c.renegotiate()
}

func (c *Call) recode(codecs []audio.Codec) {
	if c.State() != Talking {
		return
	}
	c.media.codecs = codecs
	c.renegotiate()
}

// readdress offers the same again, from the address that we have now.
func (c *Call) readdress() {
	if c.State() != Talking {
		return
	}
	if host := c.agent.mediaHost(hop{network: c.dialog.hop.network, addr: c.dialog.hop.addr}); host.IsValid() {
		c.media.addr = host
	}
	c.renegotiate()
}

// renegotiate sends a re-INVITE with what we want now, as soon as nothing else is under way.
func (c *Call) renegotiate() {
	c.re.wanted = true
	if c.re.out != nil || c.re.ok != nil || c.re.later != nil {
		return
	}
	c.re.wanted = false
	c.re.auth = c.dialog.auth.again()
	c.reoffer(c.media.offer())
}

func (c *Call) reoffer(body []byte) {
	req := c.dialog.request(c.agent, gosip.INVITE)
	c.describe(req, body)
	c.session.ask(c, req)
	c.sendReinvite(req)
}

func (c *Call) sendReinvite(req *gosip.Request) {
	inv := c.newInvite(req, c.dialog.where(c.agent))
	inv.done = c.onReinvited
	c.re.out = inv
	c.take.expect(c)
	inv.start()
}

// onReinvited takes the response to our re-INVITE.
func (c *Call) onReinvited(inv *invite, res *gosip.Response, err error) {
	if inv != c.re.out {
		return
	}
	c.stopTimer(&c.take.silence)
	if res != nil && res.IsProvisional() {
		return
	}
	c.re.out = nil
	switch {
	case err != nil:
		c.bye(408, "no response", Watchdog)
	case res.IsSuccess():
		c.reaccepted(inv, res)
	case res.StatusCode == 491:
		c.tryLater(c.glareWait())
	case challenged(res):
		again := c.dialog.request(c.agent, gosip.INVITE)
		copyRest(inv.req, again)
		if c.re.auth.answer(again, res) == nil {
			c.sendReinvite(again)
			return
		}
		c.goBack(res)
	case res.StatusCode == 422 && c.session.raise(c, res):
		c.reoffer(c.media.offer())
	case res.StatusCode == 481 || res.StatusCode == 408:
		c.bye(res.StatusCode, phrase(res.StatusCode), Remote)
	default:
		if wait, ok := headerSeconds(res, "Retry-After"); ok && res.StatusCode == 500 && wait <= 10 {
			c.tryLater(c.agent.seconds(wait))
			return
		}
		c.goBack(res)
	}
}

func (c *Call) reaccepted(inv *invite, res *gosip.Response) {
	c.dialog.learn(res)
	c.dialog.retarget(res)
	ch, err := c.media.accept(res.Body())
	c.ack(inv, nil)()
	if err != nil {
		c.bye(sdpCode(err), "bad answer", Local)
		return
	}
	c.re.heldThen, c.re.codecsThen = c.media.hold, c.media.codecs
	c.session.accepted(c, res, c.session.interval)
	c.tell(ch)
	c.changed()
	c.resume()
}

// goBack: the far end did not want it. The session goes on as it was (14.1), if there is one.
func (c *Call) goBack(res *gosip.Response) {
	if c.State() == Restoring {
		c.bye(res.StatusCode, phrase(res.StatusCode), Remote)
		return
	}
	c.media.hold = c.re.heldThen
	if c.re.codecsThen != nil {
		c.media.codecs = c.re.codecsThen
	}
	c.media.offered = nil
	c.tell(change{media: true})
	c.resume()
}

// tryLater renegotiates after d.
func (c *Call) tryLater(d time.Duration) {
	c.re.wanted = true
	c.re.later = c.after(d, func() {
		c.re.later = nil
		c.renegotiate()
	})
	c.resume()
}

// glareWait is random so that the same does not happen again; who owns the Call-ID waits longer (14.1).
func (c *Call) glareWait() time.Duration {
	unit := c.agent.cfg.Timers.Glare
	if c.direction == Out {
		return 2*unit + unit/10 + time.Duration(rand.Int64N(int64(2*unit-unit/10)))
	}
	return time.Duration(rand.Int64N(int64(2 * unit)))
}
