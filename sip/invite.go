// INVITE transactions of ours: ACK, CANCEL, forks, and what is left when the call does not wait for them any more.

package sip

import (
	"context"
	"sync"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// maxForks bounds how many further dialogs one INVITE may make: each costs an ACK and a BYE.
const maxForks = 8

// invite is one INVITE transaction of a call.
type invite struct {
	agent  *Agent
	call   *Call
	req    *gosip.Request
	out    outgoing
	hop    hop // set before the first response is delivered
	nat    bool
	ctx    context.Context // ends when it need not be sent any more
	stop   context.CancelFunc
	gaveUp chan struct{}
	once   sync.Once
	done   func(*invite, *gosip.Response, error) // on the call's goroutine

	mu       sync.Mutex
	accepted string                    // To tag of the dialog that the call took
	acks     map[string]*gosip.Request // by To tag
}

// newInvite prepares req as a transaction whose responses go to onInvite.
func (c *Call) newInvite(req *gosip.Request, where func(context.Context) ([]hop, error)) *invite {
	c.mu.Lock()
	focus := c.focus
	c.mu.Unlock()
	inv := &invite{agent: c.agent, call: c, req: req, nat: c.dialog.nat, gaveUp: make(chan struct{}), acks: make(map[string]*gosip.Request)}
	inv.ctx, inv.stop = context.WithCancel(c.ctx)
	inv.out = outgoing{req: req, where: where, user: c.user(), focus: focus}
	inv.done = c.onInvite
	return inv
}

// start sends it. The transaction is followed until its final response, if the call still waits or not.
func (inv *invite) start() {
	inv.agent.hold(1)
	if !inv.agent.goDo(func() {
		defer inv.agent.hold(-1)
		inv.run()
	}) {
		inv.agent.hold(-1)
	}
}

// abandon says that the call does not wait any more: the INVITE is cancelled, and if it is answered nevertheless, ended.
func (inv *invite) abandon() {
	inv.once.Do(func() {
		close(inv.gaveUp)
		inv.stop()
	})
}

func (inv *invite) abandoned() bool {
	select {
	case <-inv.gaveUp:
		return true
	default:
		return false
	}
}

func (inv *invite) run() {
	defer inv.stop()
	tx, h, err := inv.agent.launch(inv.ctx, &inv.out)
	if err != nil {
		inv.deliver(nil, err)
		return
	}
	inv.hop = h
	tx.OnRetransmission(inv.repeated)
	var linger <-chan time.Time
	gaveUp, provisional := inv.gaveUp, false
	for {
		select {
		case res := <-tx.Responses():
			if res.StatusCode >= 200 {
				inv.final(res)
				return
			}
			if !provisional && linger != nil {
				inv.cancel()
			}
			provisional = true
			inv.deliver(res, nil)
		case <-gaveUp:
			gaveUp = nil
			timer := time.NewTimer(inv.agent.cfg.Timers.Linger)
			defer timer.Stop()
			linger = timer.C
			if provisional {
				inv.cancel() // before one, it must not be sent (RFC 3261, 9.1)
			}
		case <-linger:
			tx.Terminate()
			return
		case <-tx.Done():
			inv.deliver(nil, tx.Err())
			return
		case <-inv.agent.life.Done():
			tx.Terminate()
			return
		}
	}
}

// deliver passes on to the call what it may still want.
func (inv *invite) deliver(res *gosip.Response, err error) {
	inv.call.box.put(func() {
		if !inv.call.ended && !inv.abandoned() {
			inv.done(inv, res, err)
		}
	}, true)
}

// final passes on the final response. A 2xx that nobody waits for is acknowledged and ended.
func (inv *invite) final(res *gosip.Response) {
	if !res.IsSuccess() {
		inv.deliver(res, nil)
		return
	}
	inv.mu.Lock()
	inv.accepted, _ = res.To().Params.Get("tag")
	inv.mu.Unlock()
	taken := inv.call.box.put(func() {
		if inv.call.ended || inv.abandoned() {
			inv.refuse(res)
			return
		}
		inv.done(inv, res, nil)
	}, true)
	if !taken {
		inv.refuse(res)
	}
}

// repeated takes every further 2xx: of the dialog that we have, or of another fork.
func (inv *invite) repeated(res *gosip.Response) {
	if res.To() == nil {
		return
	}
	tag, _ := res.To().Params.Get("tag")
	inv.mu.Lock()
	ack, own, forks := inv.acks[tag], tag == inv.accepted, len(inv.acks)
	inv.mu.Unlock()
	switch {
	case ack != nil:
		if inv.agent.begin() {
			inv.agent.tp.WriteMsg(ack.Clone()) // sipgo writes into what it sends, and repetitions come on goroutines of their own
			inv.agent.wg.Done()
		}
	case !own && forks < maxForks:
		inv.refuse(res)
	}
}

// acknowledge remembers ack for repetitions of its 2xx, and sends it.
func (inv *invite) acknowledge(tag string, o *outgoing, direct bool) {
	send := func() {
		inv.agent.write(o)
		inv.mu.Lock()
		inv.acks[tag] = o.req
		inv.mu.Unlock()
	}
	if direct {
		send()
		return
	}
	inv.agent.goDo(send)
}

// refuse ends a dialog that nobody wants: ACK, then BYE.
func (inv *invite) refuse(res *gosip.Response) {
	d := dialog{key: inv.call.key, local: *inv.req.From(), localSeq: inv.req.CSeq().SeqNo, hop: inv.hop, nat: inv.nat,
		target: inv.req.Recipient}
	d.local.Params = d.local.Params.Clone()
	d.establish(res)
	a := inv.agent
	a.hold(1)
	if !a.goDo(func() {
		defer a.hold(-1)
		o := outgoing{req: d.requestSeq(a, gosip.ACK, inv.req.CSeq().SeqNo), where: d.where(a)}
		inv.acknowledge(d.remoteTag, &o, true)
		if inv.req.To().Params.Has("tag") {
			return // a re-INVITE: the dialog is ended already
		}
		bye := outgoing{req: d.request(a, gosip.BYE), where: d.where(a)}
		a.final(a.life, &bye)
	}) {
		a.hold(-1)
	}
}

// cancel sends CANCEL the way that the INVITE went (RFC 3261, 9.1).
func (inv *invite) cancel() {
	req := gosip.NewRequest(gosip.CANCEL, *inv.req.Recipient.Clone())
	req.AppendHeader(inv.req.Via().Clone())
	for _, name := range []string{"Route", "From", "To", "Call-ID"} {
		for _, h := range inv.req.GetHeaders(name) {
			req.AppendHeader(gosip.HeaderClone(h))
		}
	}
	maxForwards := gosip.MaxForwardsHeader(70)
	req.AppendHeader(&maxForwards)
	req.AppendHeader(&gosip.CSeqHeader{SeqNo: inv.req.CSeq().SeqNo, MethodName: gosip.CANCEL})
	req.SetBody(nil)
	req.SetTransport(inv.req.Transport())
	req.SetDestination(inv.req.Destination())
	req.Laddr = inv.req.Laddr
	a := inv.agent
	a.hold(1)
	if !a.goDo(func() {
		defer a.hold(-1)
		tx, err := a.tx.Request(a.life, req)
		if err != nil {
			return
		}
		defer tx.Terminate()
		for {
			select {
			case res := <-tx.Responses():
				if !res.IsProvisional() {
					return
				}
			case <-tx.Done():
				return
			case <-a.life.Done():
				return
			}
		}
	}) {
		a.hold(-1)
	}
}

// ack makes the ACK for a 2xx of inv; what is returned sends it.
func (c *Call) ack(inv *invite, body []byte) func() {
	d := &c.dialog
	req := d.requestSeq(c.agent, gosip.ACK, inv.req.CSeq().SeqNo)
	for _, name := range []string{"Authorization", "Proxy-Authorization"} {
		for _, h := range inv.req.GetHeaders(name) { // 13.2.2.4
			req.AppendHeader(gosip.HeaderClone(h))
		}
	}
	if body != nil {
		req.AppendHeader(gosip.NewHeader("Content-Type", sdpType))
	}
	req.SetBody(body)
	o := &outgoing{req: req, where: d.where(c.agent)}
	_, direct := d.direct(c.agent)
	tag := d.remoteTag
	return func() { inv.acknowledge(tag, o, direct) }
}
