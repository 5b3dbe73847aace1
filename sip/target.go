// Where an outgoing call goes: the trials that a dialled number or URI leads to, in order.

package sip

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strings"

	gosip "github.com/emiago/sipgo/sip"

	"parley/sip/registrar"
	"parley/sip/route"
)

// trial is one place to try.
type trial struct {
	uri     gosip.Uri // Request-URI
	hop     hop
	nat     bool // the callee is behind NAT: only hop reaches it
	gateway string
}

// trials yields one after the other. It belongs to one goroutine at a time and may look up names.
type trials interface {
	// next is the following trial. skip gives up what is left of the last one's gateway: it said itself that it cannot.
	next(ctx context.Context, skip bool) (trial, error)
}

// contacts are a registered user's phones.
type contacts []registrar.Binding

func (c *contacts) next(context.Context, bool) (trial, error) {
	for len(*c) > 0 {
		b := (*c)[0]
		*c = (*c)[1:]
		uri, err := parseURI(b.URI)
		if err != nil {
			continue
		}
		uri.Headers = nil // of a Contact none may become a header of our request
		h := hop{network: b.Transport, addr: b.Source, name: uri.Host}
		return trial{uri: uri, hop: h, nat: uri.Host != b.Source.Addr().String() || b.Transport != "udp"}, nil
	}
	return trial{}, route.ErrExhausted
}

// gateways are the hops of a route.
type gateways struct {
	over *route.Failover
}

func (g *gateways) next(ctx context.Context, skip bool) (trial, error) {
	if skip {
		g.over.SkipHop()
	}
	t, err := g.over.Next(ctx)
	if err != nil {
		return trial{}, err
	}
	uri, err := parseURI(t.Gateway.URI)
	if err != nil {
		return trial{}, err
	}
	if t.Number != "" {
		uri.User, uri.Password = escapeUser(t.Number), ""
		if n, id, both := strings.Cut(t.Number, ":"); both {
			uri.User, uri.Password = escapeUser(n), escapeUser(id)
		}
	}
	if p, ok := uri.UriParams.Get("transport"); t.Gateway.Proxy == "" && !ok && t.Transport != "udp" && uri.Scheme == "sip" {
		uri.UriParams = uri.UriParams.Clone()
		uri.UriParams.Add("transport", t.Transport)
		_ = p
	}
	return trial{uri: uri, hop: endpoint(t.Endpoint), gateway: t.Gateway.Name}, nil
}

// search says what a Dial leads to, and which identity the number bore.
func (a *Agent) search(d Dial) (trials, string, error) {
	resolver := net.DefaultResolver
	if len(d.Hops) > 0 {
		return &gateways{over: route.NewFailover(resolver, d.Hops)}, "", nil
	}
	if strings.HasPrefix(d.To, "sip:") || strings.HasPrefix(d.To, "sips:") {
		uri, err := parseURI(d.To)
		if err != nil {
			return nil, "", err
		}
		hop := route.Hop{Gateway: route.Gateway{Name: "", URI: uri.String(), Proxy: d.Outbound}}
		return &gateways{over: route.NewFailover(resolver, []route.Hop{hop})}, "", nil
	}
	if !validUser(d.To) {
		return nil, "", fmt.Errorf("%w: number %q", ErrInvalid, d.To)
	}
	if a.cfg.Routes != nil {
		t, err := a.cfg.Routes.Find(d.To)
		if err != nil {
			return nil, "", fmt.Errorf("%w: %w", ErrNoRoute, err)
		}
		switch t.Kind {
		case route.ToGateway:
			return &gateways{over: route.NewFailover(resolver, t.Hops)}, t.Identity, nil
		case route.ToContact:
			return a.phones(t.Number, t.Identity)
		}
		return nil, "", fmt.Errorf("%w: %s is a conference here", ErrNoRoute, t.Number)
	}
	number, identity, err := route.Split(d.To)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrNoRoute, err)
	}
	return a.phones(number, identity)
}

func (a *Agent) phones(user, identity string) (trials, string, error) {
	if a.cfg.Registrar == nil {
		return nil, "", ErrNoRoute
	}
	c := contacts(a.cfg.Registrar.Lookup(a.cfg.Now(), user))
	if len(c) == 0 {
		return nil, "", fmt.Errorf("%w: %s is not registered", ErrNoRoute, user)
	}
	return &c, identity, nil
}

// caller is our address towards a gateway: the identity given, in the domain where the gateway knows us.
func (a *Agent) caller(t trial, d Dial) (gosip.Uri, *credentials) {
	auth := newCredentials(d.Auth)
	from := gosip.Uri{Scheme: "sip", User: escapeUser(d.From), Host: a.localHost(t.hop)}
	for _, u := range a.uplinks {
		if t.gateway == "" || u.conf.Name != t.gateway {
			continue
		}
		from.Host = u.domain.Host
		from.User = escapeUser(cmp.Or(d.From, u.conf.User))
		if auth == nil {
			auth = newCredentials(u.conf.credentials())
		}
	}
	if from.User == "" {
		from.User = "parley"
	}
	return from, auth
}
