// What comes in: put into the order in which it came, and given to whom it concerns.
//
// sipgo hands every message to a goroutine of its own, so two requests of one dialog can overtake each other on the way
// through its transaction layer. Each request within a dialog therefore draws a ticket in arrived, which the transport calls
// in the reading goroutine, and is served in the order of tickets when its transaction is there.

package sip

import (
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// ticketWait bounds how long a call waits for the transaction of a request that has arrived. It is reached only where the
// transaction layer swallowed the request, as it does when the connection to answer on is gone.
const ticketWait = 200 * time.Millisecond

// inbound is one request and the transaction to answer it by.
type inbound struct {
	agent *Agent
	req   *gosip.Request
	tx    *gosip.ServerTx // nil until it is there
	ready chan *gosip.ServerTx
}

// reply answers with code and, if reason is empty, the usual reason.
func (in *inbound) reply(code int, reason string, headers ...gosip.Header) {
	in.respond(in.agent.response(in.req, code, reason, nil, headers...))
}

// respond sends res. A request whose transaction never came cannot be answered.
func (in *inbound) respond(res *gosip.Response) error {
	if in.tx == nil {
		return ErrEnded
	}
	err := in.tx.Respond(res)
	if err != nil {
		in.agent.log.Debug("sip: response not sent", "code", res.StatusCode, "err", err)
	}
	return err
}

// await fills in the transaction, or reports that none came.
func (in *inbound) await() bool {
	if in.tx != nil {
		return true
	}
	wait := time.NewTimer(ticketWait)
	defer wait.Stop()
	select {
	case in.tx = <-in.ready:
		return true
	case <-wait.C:
	case <-in.agent.life.Done():
	}
	in.agent.mu.Lock()
	delete(in.agent.tickets, in.req)
	in.agent.mu.Unlock()
	select { // it may have come between the two
	case in.tx = <-in.ready:
		return true
	default:
		return false
	}
}

// arrived sees every message in the goroutine that read it, before the transaction layer does.
func (a *Agent) arrived(msg gosip.Message) {
	a.net.arrived(msg)
	req, ok := msg.(*gosip.Request)
	if !ok || req.To() == nil || req.CallID() == nil || req.CSeq() == nil || req.IsCancel() {
		return
	}
	tag, ok := req.To().Params.Get("tag")
	if !ok {
		return
	}
	c := a.find(dialogKey{call: req.CallID().Value(), tag: tag})
	if c == nil {
		return
	}
	if req.IsAck() {
		c.box.put(func() { c.onAck(req) }, false)
		return
	}
	key, err := gosip.ServerTxKeyMake(req)
	if err != nil || !c.fresh(key) {
		return // a retransmission: the transaction layer answers it
	}
	in := &inbound{agent: a, req: req, ready: make(chan *gosip.ServerTx, 1)}
	a.mu.Lock()
	a.tickets[req] = in
	a.mu.Unlock()
	if !c.box.put(func() { c.serve(in) }, false) {
		a.mu.Lock()
		delete(a.tickets, req)
		a.mu.Unlock()
	}
}

// onRequest is called by the transaction layer for the first arrival of every request, in any order.
func (a *Agent) onRequest(req *gosip.Request, tx *gosip.ServerTx) {
	if req.IsAck() {
		tx.Terminate() // an ACK for 200 has no transaction; arrived has passed it on
		return
	}
	if !a.begin() { // an answer after the sockets are closed would make sipgo open another
		tx.Terminate()
		return
	}
	defer a.wg.Done()
	a.mu.Lock()
	in := a.tickets[req]
	delete(a.tickets, req)
	if in != nil {
		in.ready <- tx // has room: this happens once
	}
	a.mu.Unlock()
	if in != nil {
		return
	}
	in = &inbound{agent: a, req: req, tx: tx}
	if code := a.vet(req); code != 0 {
		in.reply(code, "")
		return
	}
	if tag, ok := req.To().Params.Get("tag"); ok {
		a.strayInDialog(in, tag)
		return
	}
	if serve, ok := a.outside[req.Method]; ok {
		serve(a, in)
		return
	}
	code, known := refusals[req.Method]
	if !known {
		code = 501
	}
	in.reply(code, "", a.allow())
}

// outside says who serves a request outside any dialog.
func outside() map[gosip.RequestMethod]func(*Agent, *inbound) {
	return map[gosip.RequestMethod]func(*Agent, *inbound){
		gosip.INVITE:    (*Agent).serveInvite,
		gosip.OPTIONS:   (*Agent).serveOptions,
		gosip.REGISTER:  (*Agent).serveRegister,
		gosip.SUBSCRIBE: (*Agent).serveSubscribe,
		gosip.REFER:     (*Agent).serveRefer,
		gosip.CANCEL:    noSuchCall,
		gosip.BYE:       noSuchCall,
		gosip.UPDATE:    noSuchCall,
		gosip.INFO:      noSuchCall,
		gosip.NOTIFY:    noSuchCall,
		gosip.PRACK:     noSuchCall,
	}
}

// refusals are the codes for methods that we know and do not serve. Others get 501.
var refusals = map[gosip.RequestMethod]int{gosip.MESSAGE: 405, gosip.PUBLISH: 405}

func noSuchCall(_ *Agent, in *inbound) { in.reply(481, "") }

// vet looks for what no code behind may meet. The guard before the sockets has refused most of it already.
func (a *Agent) vet(req *gosip.Request) int {
	if req.To() == nil || req.From() == nil || req.CallID() == nil || req.CSeq() == nil || req.Via() == nil {
		return 400
	}
	if req.CSeq().MethodName != req.Method {
		return 400
	}
	if req.Recipient.Scheme != "sip" && req.Recipient.Scheme != "sips" {
		return 416
	}
	return 0
}

// strayInDialog serves a request within a dialog that drew no ticket: of a subscription, of a call that is gone, or of one
// whose mailbox is full.
func (a *Agent) strayInDialog(in *inbound, tag string) {
	key := dialogKey{call: in.req.CallID().Value(), tag: tag}
	if c := a.find(key); c != nil {
		if !c.box.put(func() { c.serve(in) }, false) {
			in.reply(503, "", retryAfter(1))
		}
		return
	}
	switch in.req.Method {
	case gosip.SUBSCRIBE:
		a.subs.refresh(in, key)
	case gosip.OPTIONS:
		a.serveOptions(in)
	default:
		in.reply(481, "")
	}
}

// serveOptions tells what we can do, the same to everybody and for every number (RFC 3261, 11).
func (a *Agent) serveOptions(in *inbound) {
	if bad := unsupported(in.req); bad != "" {
		in.reply(420, "", gosip.NewHeader("Unsupported", bad))
		return
	}
	in.reply(200, "", a.abilities()...)
}

func (a *Agent) find(k dialogKey) *Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[k]
}

// admitCall enters c into the tables, or says why not.
func (a *Agent) admitCall(c *Call) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopping {
		return ErrEnded
	}
	if len(a.calls) >= a.cfg.MaxCalls {
		return ErrBusy
	}
	a.calls[c.key] = c
	a.ids.began(c.key.call)
	if c.merge != "" {
		a.invites[c.merge]++
	}
	return nil
}

// forget removes c from the tables.
func (a *Agent) forget(c *Call) {
	a.leave(c)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.calls[c.key] == c {
		delete(a.calls, c.key)
		a.ids.over(c.key.call, a.cfg.Now())
	}
	if c.merge != "" {
		if a.invites[c.merge]--; a.invites[c.merge] <= 0 {
			delete(a.invites, c.merge)
		}
	}
}

// merged reports whether an INVITE that differs only in its branch is being served (RFC 3261, 8.2.2.2).
func (a *Agent) merged(key string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.invites[key] > 0
}
