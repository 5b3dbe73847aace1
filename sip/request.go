// Requests that we send: over which socket, with which Via, and what comes back.

package sip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	gosip "github.com/emiago/sipgo/sip"

	"parley/sip/route"
)

// maxDatagram is the largest request that goes by UDP if the far end has TCP (RFC 3261, 18.1.1), in bytes.
const maxDatagram = 1300

// outgoing is a request on its way.
type outgoing struct {
	req   *gosip.Request
	where func(context.Context) ([]hop, error)
	user  string // of our Contact; empty: the request has none
	focus bool
}

// at is the where of a hop that is known.
func at(h hop) func(context.Context) ([]hop, error) {
	return func(context.Context) ([]hop, error) { return []hop{h}, nil }
}

// towards is the where of a URI.
func (a *Agent) towards(u gosip.Uri) func(context.Context) ([]hop, error) {
	return func(ctx context.Context) ([]hop, error) { return a.resolve(ctx, u) }
}

// resolve finds the addresses of a URI (RFC 3263).
func (a *Agent) resolve(ctx context.Context, u gosip.Uri) ([]hop, error) {
	transport, _ := u.UriParams.Get("transport")
	ru := route.URI{
		Secure:    u.Scheme == "sips" || strings.EqualFold(transport, "tls"),
		Host:      strings.Trim(u.Host, "[]"),
		Port:      uint16(u.Port),
		Transport: strings.ToLower(transport),
	}
	if maddr, ok := u.UriParams.Get("maddr"); ok {
		ru.Host = strings.Trim(maddr, "[]")
	}
	if ru.Secure {
		ru.Transport = "tls"
	}
	if t := ru.Transport; t != "" && t != "udp" && t != "tcp" && t != "tls" {
		return nil, fmt.Errorf("%w: transport %q", ErrNoRoute, t)
	}
	ends, err := route.Resolve(ctx, net.DefaultResolver, ru, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoRoute, err)
	}
	hops := make([]hop, len(ends))
	for i, e := range ends {
		hops[i] = endpoint(e)
	}
	return hops, nil
}

func endpoint(e route.Endpoint) hop { return hop{network: e.Transport, addr: e.Addr, name: e.Host} }

// where is where the dialog's next request goes: over the connection that there is, back through the NAT, or to the next URI.
func (d *dialog) where(a *Agent) func(context.Context) ([]hop, error) {
	if h, ok := d.direct(a); ok {
		return at(h)
	}
	return a.towards(d.next())
}

// direct is the hop for the next request if nothing has to be looked up or dialled.
func (d *dialog) direct(a *Agent) (hop, bool) {
	switch {
	case d.hop.reliable() && a.net.connected(d.hop):
		return d.hop, true
	case !d.hop.reliable() && d.nat && len(d.routes) == 0:
		return d.hop, true
	case d.hop.reliable():
		return hop{}, false
	}
	hops, err := a.resolve(canceled, d.next()) // numeric hosts only
	if err != nil || len(hops) == 0 || hops[0].reliable() {
		return hop{}, false
	}
	return hops[0], true
}

// canceled is a context with which only what needs no network is found out.
var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// launch sends o to the first of its places that can be reached and returns the transaction.
func (a *Agent) launch(ctx context.Context, o *outgoing) (*gosip.ClientTx, hop, error) {
	hops, err := o.where(ctx)
	if err != nil {
		return nil, hop{}, err
	}
	var errs []error
	for _, h := range hops {
		h, err := a.prepare(ctx, o, h)
		if err == nil {
			var tx *gosip.ClientTx
			if tx, err = a.tx.Request(ctx, o.req); err == nil {
				return tx, h, nil
			}
		}
		errs = append(errs, err)
	}
	return nil, hop{}, errors.Join(errs...)
}

// prepare connects to h and fills in what depends on it. A request too large for a datagram goes by TCP if that connects.
func (a *Agent) prepare(ctx context.Context, o *outgoing, h hop) (hop, error) {
	if err := a.net.connect(ctx, h); err != nil {
		return h, err
	}
	a.stamp(o, h)
	if h.reliable() || len(o.req.String()) <= maxDatagram {
		return h, nil
	}
	stream := hop{network: "tcp", addr: h.addr, name: h.name}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if a.net.connect(short, stream) != nil {
		return h, nil // in fragments, then
	}
	a.stamp(o, stream)
	return stream, nil
}

// stamp writes Via, Contact and the destination for h into the request.
func (a *Agent) stamp(o *outgoing, h hop) {
	req, host := o.req, a.localHost(h)
	for req.RemoveHeader("Via") {
	}
	via := &gosip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: strings.ToUpper(h.network), Host: host,
		Port: a.net.port(h.network, h.addr.Addr())}
	via.Params.Add("branch", gosip.GenerateBranch())
	via.Params.Add("rport", "")
	req.PrependHeader(via)
	if o.user != "" {
		for req.RemoveHeader("Contact") {
		}
		req.AppendHeader(a.contact(o.user, h, o.focus))
	}
	if s := a.net.udpSocket(h.addr); h.network == "udp" && s != nil {
		req.Laddr = gosip.Addr{IP: s.addr.Addr().AsSlice(), Port: int(s.addr.Port())}
	} else {
		req.Laddr = gosip.Addr{}
	}
	req.SetTransport(strings.ToUpper(h.network))
	req.SetDestination(h.addr.String())
}

// contact is where we can be reached over h.
func (a *Agent) contact(user string, h hop, focus bool) *gosip.ContactHeader {
	u := gosip.Uri{Scheme: "sip", User: escapeUser(user), Host: a.localHost(h), Port: a.net.port(h.network, h.addr.Addr())}
	if h.reliable() {
		u.UriParams.Add("transport", h.network)
	}
	c := &gosip.ContactHeader{Address: u}
	if focus {
		c.Params.Add("isfocus", "")
	}
	return c
}

// exchange sends a request other than INVITE and gives done its final response, or why there is none, in a goroutine of its
// own. While it runs, Run does not end before its grace is over.
func (a *Agent) exchange(o *outgoing, done func(*gosip.Response, error)) {
	a.hold(1)
	if !a.goDo(func() {
		defer a.hold(-1)
		done(a.final(a.life, o))
	}) {
		a.hold(-1)
	}
}

// final sends o and waits for its final response.
func (a *Agent) final(ctx context.Context, o *outgoing) (*gosip.Response, error) {
	tx, _, err := a.launch(ctx, o)
	if err != nil {
		return nil, err
	}
	defer tx.Terminate()
	for {
		select {
		case res := <-tx.Responses():
			if !res.IsProvisional() {
				return res, nil
			}
		case <-tx.Done():
			return nil, tx.Err()
		case <-ctx.Done():
			return nil, ErrEnded
		}
	}
}

// hold counts what Run waits for at its end, up to Timers.Stop.
func (a *Agent) hold(n int) {
	a.mu.Lock()
	a.pending += n
	a.mu.Unlock()
}

// write sends a request without a transaction: ACK for 200.
func (a *Agent) write(o *outgoing) {
	hops, err := o.where(a.life)
	if err == nil && len(hops) > 0 {
		if _, err = a.prepare(a.life, o, hops[0]); err == nil {
			err = a.tp.WriteMsg(o.req)
		}
	}
	if err != nil {
		a.log.Info("sip: not sent", "method", o.req.Method, "err", err)
	}
}

// strayResponse is a response to no transaction of ours. There is nothing to do: a 200 is repeated only while its
// transaction lives.
func (a *Agent) strayResponse(*gosip.Response) {}
