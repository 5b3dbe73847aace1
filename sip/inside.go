// Inside a dialog: its requests in order, ours and theirs, up to BYE.

package sip

import (
	gosip "github.com/emiago/sipgo/sip"
)

// inside says who serves a request within a dialog.
func inside() map[gosip.RequestMethod]func(*Call, *inbound) {
	return map[gosip.RequestMethod]func(*Call, *inbound){
		gosip.INVITE:    (*Call).onReinvite,
		gosip.UPDATE:    (*Call).onUpdate,
		gosip.BYE:       (*Call).onBye,
		gosip.INFO:      (*Call).onInfo,
		gosip.REFER:     (*Call).onRefer,
		gosip.NOTIFY:    (*Call).onNotify,
		gosip.SUBSCRIBE: (*Call).onSubscribe,
		gosip.OPTIONS:   func(c *Call, in *inbound) { c.agent.serveOptions(in) },
		gosip.PRACK:     func(_ *Call, in *inbound) { in.reply(481, "") },
	}
}

// maxEarly bounds how many requests wait for the response that completes the dialog.
const maxEarly = 4

// serve takes the next request of the dialog.
func (c *Call) serve(in *inbound) {
	if !in.await() {
		return
	}
	if c.ended {
		in.reply(481, "")
		return
	}
	if code := c.agent.vet(in.req); code != 0 {
		in.reply(code, "")
		return
	}
	if c.direction == Out && !c.uac.final { // it overtook the 200 that it belongs to
		if len(c.early) < maxEarly {
			c.early = append(c.early, in)
		} else {
			in.reply(503, "", retryAfter(1))
		}
		return
	}
	if !c.dialog.ours(in.req) {
		in.reply(481, "")
		return
	}
	if !c.dialog.inOrder(in.req) {
		in.reply(500, "")
		return
	}
	if bad := unsupported(in.req); bad != "" && in.req.Method != gosip.BYE {
		in.reply(420, "", gosip.NewHeader("Unsupported", bad))
		return
	}
	if serve, ok := c.agent.inside[in.req.Method]; ok {
		serve(c, in)
		return
	}
	code, known := refusals[in.req.Method]
	if !known {
		code = 501
	}
	in.reply(code, "", c.agent.allow())
}

// send sends a request within the dialog and has done called with its final response on the call's goroutine.
func (c *Call) send(method gosip.RequestMethod, fill func(*gosip.Request), done func(*gosip.Response, error)) {
	auth := c.dialog.auth.again()
	var try func(*gosip.Response, *gosip.Request)
	try = func(challenge *gosip.Response, last *gosip.Request) {
		req := c.dialog.request(c.agent, method)
		c.outran()
		if challenge == nil {
			req.SetBody(nil)
			fill(req)
		} else {
			copyRest(last, req)
			if auth.answer(req, challenge) != nil {
				done(challenge, nil)
				return
			}
		}
		c.mu.Lock()
		o := &outgoing{req: req, where: c.dialog.where(c.agent), user: c.user(), focus: c.focus}
		c.mu.Unlock()
		c.agent.exchange(o, func(res *gosip.Response, err error) {
			c.post(func() {
				if err == nil && challenged(res) && auth != nil {
					try(res, req)
					return
				}
				done(res, err)
			})
		})
	}
	try(nil, nil)
}

// hangup ends the call in the way that its state asks for.
func (c *Call) hangup(reason string) {
	if reason == "" {
		reason = "hung up"
	}
	switch {
	case c.waiting():
		c.uas.final = true
		c.uas.in.reply(603, "")
		c.over(603, reason, Local)
	case c.direction == Out && !c.uac.final:
		c.cancel(487, reason, Local)
	default:
		c.bye(200, reason, Local)
	}
}

// bye ends the dialog. Before the ACK for our 200 it must wait, unless that is given up (RFC 3261, 15).
func (c *Call) bye(code int, reason string, by Side) {
	if c.ended {
		return
	}
	if c.re.ok != nil && by != Watchdog && c.re.byeCode == 0 && !c.agent.ending() {
		c.re.byeCode, c.re.byeReason = code, reason
		return
	}
	c.settle()
	if c.re.out != nil {
		c.re.out.abandon()
	}
	c.agent.release(c.dialog, code, reason)
	c.over(code, reason, by)
}

// release sends the BYE of a dialog as soon as there are sockets, and again with credentials if they are asked for.
func (a *Agent) release(d dialog, code int, reason string) {
	select {
	case <-a.ready:
	default:
		a.goDo(func() {
			select {
			case <-a.ready:
				a.release(d, code, reason)
			case <-a.life.Done():
			}
		})
		return
	}
	req := d.request(a, gosip.BYE)
	if code != 200 {
		req.AppendHeader(gosip.NewHeader("Reason", reasonHeader(code, reason)))
	}
	req.SetBody(nil)
	auth, where := d.auth.again(), d.where(a)
	a.exchange(&outgoing{req: req, where: where}, func(res *gosip.Response, err error) {
		if err != nil || !challenged(res) {
			return
		}
		again := d.request(a, gosip.BYE)
		copyRest(req, again)
		if auth.answer(again, res) == nil {
			a.final(a.life, &outgoing{req: again, where: where})
		}
	})
}

// onBye: the far end hangs up. An INVITE that it has not waited for gets 487 (15.1.2).
func (c *Call) onBye(in *inbound) {
	in.reply(200, "")
	if c.waiting() {
		c.uas.final = true
		c.uas.in.reply(487, "")
	}
	c.settle()
	code, reason := reasonOf(in.req)
	c.over(code, reason, Remote)
}
