package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"parley/cmd/parley/config"
	"parley/mqtt/broker"
	"parley/sip"
	"parley/sip/admit"
	"parley/sip/registrar"
	"parley/sip/route"
	"parley/sip/rtp"
)

func newPorts(cfg config.Config) (*rtp.Ports, error) {
	bind, err := netip.ParseAddr(cfg.Listen.RTP)
	if err != nil {
		return nil, fmt.Errorf("setting `listen.rtp`: %w", err)
	}
	return rtp.NewPorts(rtp.PortsConfig{
		Bind: bind, First: cfg.RTP.First, Last: cfg.RTP.Last, Rest: cfg.RTP.Rest, Setting: "rtp.first and rtp.last",
	}), nil
}

// makeSIP makes the agent, with who may call and where calls go.
func (b *box) makeSIP() error {
	phones := registrar.New(registrar.Config{
		MaxBindings: b.cfg.SIP.MaxRegistrations, MaxExpires: b.cfg.SIP.RegisterExpires, Changed: b.keep.registered,
	})
	b.house.before.register(phones, b.house.now())
	routes, err := newRoutes(b.cfg, phones)
	if err != nil {
		return err
	}
	conf := sip.Config{
		Listen: sipListeners(b.cfg.Listen), Advertise: b.cfg.SIP.Advertise,
		Codecs: codecs(b.cfg), Ports: b.ports, Poller: b.poller, JitterTarget: b.cfg.RTP.JitterTarget,
		Registrar: phones, Routes: routes, Upstreams: upstreams(b.cfg),
		SRTP: map[config.SRTP]sip.SRTPPolicy{
			config.SRTPDisable: sip.SRTPDisable, config.SRTPAllow: sip.SRTPAllow, config.SRTPRequire: sip.SRTPRequire,
		}[b.cfg.SIP.SRTP],
		MaxCalls: (b.cfg.RTP.Last - b.cfg.RTP.First + 1) / 2, SessionExpires: b.cfg.SIP.SessionExpires,
		Guard: &b.guard, Handler: b.house, UserAgent: "Parley", Log: b.log,
		Timers: sip.Timers{MediaAlert: b.cfg.RTP.AlertAfter, MediaEnd: b.cfg.RTP.HangupAfter},
	}
	if b.cfg.SIP.AllowRefer {
		conf.AllowRefer = func(*sip.Call, string) bool { return true }
	}
	if len(b.cfg.Listen.SIPTLS) > 0 {
		// A phone may show none, and is asked for its password then.
		if conf.TLS, err = serverTLS(b.cfg.SIP.TLS, b.data, "sip.tls", tls.VerifyClientCertIfGiven); err != nil {
			return err
		}
	}
	if conf.TLSClient, err = clientTLS(b.cfg.SIP.TLS); err != nil {
		return err
	}
	users := knownUsers(b.cfg.SIP)
	conf.Gate = admit.New(admit.Config{
		// Many phones give up on a challenge that they do not know, instead of taking the one beside it. And of a user in the
		// settings only an MD5 may be kept (ha1).
		Algorithms: []string{"MD5"},
		Now:        time.Now, Realm: b.cfg.SIP.Realm, MaxCalls: b.cfg.SIP.MaxCallsPerUser, TrustLoopback: b.cfg.SIP.TrustLoopback,
		Users: func(user string) (admit.HA1, bool) { h, ok := users[user]; return h, ok },
		Peers: peers(b.cfg.SIP),
		Token: func(user string) (string, bool) { return b.agent.OwnContact(user) },
	})
	b.focus = &focus{host: cmp.Or(b.cfg.SIP.Advertise, hostname()), states: map[string]*sip.ConferenceState{}}
	conf.ConferenceInfo = b.focus.info
	b.agent = sip.New(conf)
	b.focus.agent = b.agent
	b.house.doors = append(b.house.doors, b.focus)
	return nil
}

// knownUsers holds what a digest is judged by, and no password.
func knownUsers(s config.SIP) map[string]admit.HA1 {
	users := make(map[string]admit.HA1, len(s.Users))
	for _, u := range s.Users {
		if u.HA1.Given() {
			users[u.Name] = admit.HA1{MD5: u.HA1.Reveal()}
		} else {
			users[u.Name] = admit.Hash(u.Name, s.Realm, u.Password.Reveal())
		}
	}
	return users
}

// peers are the servers of others that may call in by showing a certificate for their own name: host -> who that is. Only a
// listener with a CA of its own verifies what is shown.
func peers(s config.SIP) map[string]string {
	known := map[string]string{}
	add := func(server, who string) {
		if u, err := route.ParseURI(uriOf(server, "")); err == nil {
			known[strings.ToLower(u.Host)] = who
		}
	}
	for _, r := range s.Routes {
		for _, g := range r.Gateways {
			if strings.HasPrefix(g, "sip:") || strings.HasPrefix(g, "sips:") {
				add(g, g)
			}
		}
	}
	for _, u := range s.Upstreams {
		add(u.Registrar, u.Name)
		if u.Proxy != "" {
			add(u.Proxy, u.Name)
		}
	}
	return known
}

func sipListeners(l config.Listen) []sip.Listener {
	var list []sip.Listener
	for _, x := range []struct {
		network string
		addrs   []string
	}{{"udp", l.SIPUDP}, {"tcp", l.SIPTCP}, {"tls", l.SIPTLS}} {
		for _, a := range x.addrs {
			list = append(list, sip.Listener{Network: x.network, Addr: a})
		}
	}
	return list
}

func upstreams(cfg config.Config) []sip.Upstream {
	var list []sip.Upstream
	for _, u := range cfg.SIP.Upstreams {
		up := sip.Upstream{
			Name: u.Name, Registrar: uriOf(u.Registrar, u.Transport), User: u.User,
			Auth:    sip.Auth{User: u.User, Password: u.Password.Reveal()},
			Expires: u.Expires, Number: cfg.Place.Number,
		}
		if u.Proxy != "" {
			up.Proxy = uriOf(u.Proxy, u.Transport)
		}
		list = append(list, up)
	}
	return list
}

// uriOf makes a SIP URI of what the settings take for a server: a URI, or host[:port] with the transport beside it.
func uriOf(server, transport string) string {
	if strings.HasPrefix(server, "sip:") || strings.HasPrefix(server, "sips:") {
		return server
	}
	return "sip:" + server + ";transport=" + cmp.Or(transport, "udp")
}

// newRoutes makes the table of numbers: every upstream is a gateway by its name, and a URI is one by itself.
func newRoutes(cfg config.Config, phones *registrar.Registrar) (*route.Table, error) {
	here := map[string]bool{}
	for _, c := range cfg.Conferences {
		here[c.Number] = true
	}
	conf := route.Config{
		Conference: func(number string) bool { return here[number] },
		Contact:    func(user string) bool { return len(phones.Lookup(time.Now(), user)) > 0 },
	}
	known := map[string]bool{}
	for _, u := range cfg.SIP.Upstreams {
		g := route.Gateway{Name: u.Name, URI: uriOf(u.Registrar, u.Transport)}
		if u.Proxy != "" {
			g.Proxy = uriOf(u.Proxy, u.Transport)
		}
		conf.Gateways, known[u.Name] = append(conf.Gateways, g), true
	}
	for _, r := range cfg.SIP.Routes {
		for _, g := range r.Gateways {
			if !known[g] {
				conf.Gateways, known[g] = append(conf.Gateways, route.Gateway{Name: g, URI: g}), true
			}
		}
		conf.Rules = append(conf.Rules, route.Rule{
			Prefix: r.Prefix, Strip: r.Strip, Prepend: r.Prepend, Gateways: r.Gateways, Identity: r.Identity,
		})
	}
	return route.New(conf)
}

// explain adds who has a port that could not be opened, and which setting changes it.
func explain(err error) error {
	var listen *sip.ListenError
	if !errors.As(err, &listen) {
		return err
	}
	network := map[string]string{"udp": "udp", "tcp": "tcp", "tls": "tcp"}[listen.Listener.Network]
	return taken(err, network, listen.Listener.Addr, "listen.sip_"+listen.Listener.Network)
}

// taken says who has the port.
func taken(err error, network, addr, setting string) error {
	at, parse := netip.ParseAddrPort(addr)
	if parse != nil || !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, broker.ErrTaken) {
		return fmt.Errorf("%w (setting `%s`)", err, setting)
	}
	return fmt.Errorf("%w: %s has it; stop that, or choose another port with the setting `%s`", err, holderOf(network, at), setting)
}
