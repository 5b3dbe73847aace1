// A 200 to INVITE is repeated until its ACK comes (RFC 3261, 13.3.1.4), over TCP too.

package sip

import (
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// unacked is a 200 that waits for its ACK.
type unacked struct {
	in      *inbound
	res     *gosip.Response
	seq     uint32
	offered bool // the 200 bears our offer: the answer comes in the ACK
	again   *time.Timer
	giveUp  *time.Timer
}

// repeat sends res again and again, the first time after T1.
func (c *Call) repeat(in *inbound, res *gosip.Response, offered bool) {
	t := c.agent.cfg.Timers
	ok := &unacked{in: in, res: res, seq: in.req.CSeq().SeqNo, offered: offered}
	c.re.ok = ok
	var next func(time.Duration)
	next = func(d time.Duration) {
		ok.again = c.after(d, func() {
			ok.in.respond(ok.res)
			next(min(2*d, t.T2))
		})
	}
	next(t.T1)
	ok.giveUp = c.after(t.AckWait, func() {
		c.settle()
		c.bye(408, "no ACK", Watchdog)
	})
}

// settle stops waiting.
func (c *Call) settle() {
	if ok := c.re.ok; ok != nil {
		c.stopTimer(&ok.again)
		c.stopTimer(&ok.giveUp)
		c.re.ok = nil
	}
}

// onAck takes the ACK of a 200. An ACK of anything else concerns nobody.
func (c *Call) onAck(req *gosip.Request) {
	ok := c.re.ok
	if c.ended || ok == nil || req.CSeq().SeqNo != ok.seq || !c.dialog.ours(req) {
		return
	}
	c.settle()
	if ok.offered {
		ch, err := c.media.accept(req.Body())
		if err != nil {
			c.agent.log.Info("sip: bad answer in ACK", "call", c.id, "err", err)
			c.bye(sdpCode(err), "bad answer in ACK", Local)
			return
		}
		if c.Info().Answered.IsZero() || ok.in == c.uas.in {
			c.established()
		} else {
			c.tell(ch)
			c.changed()
		}
	}
	if c.re.byeCode != 0 {
		c.bye(c.re.byeCode, c.re.byeReason, Local)
		return
	}
	c.resume()
}
