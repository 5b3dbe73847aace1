package sip

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"parley/sip/admit"
	"parley/sip/registrar"
	"parley/sip/route"
)

// gated puts a gate before the agent: user ann with password secret, nothing trusted.
func gated(mods ...func(*admit.Config)) option {
	return func(c *Config) {
		conf := admit.Config{Realm: "box", Now: time.Now, Users: func(u string) (admit.HA1, bool) {
			return admit.Hash(u, "box", "secret"), u == "ann" || u == "bob"
		}}
		for _, m := range mods {
			m(&conf)
		}
		c.Gate = admit.New(conf)
	}
}

// X-7b: a stranger's request gets 401 whatever the number and whatever else is wrong with it, and the handler is not asked.
func TestStranger(t *testing.T) {
	e := newEnd(t, gated(), func(c *Config) {
		c.Registrar = registrar.New(registrar.Config{})
		c.ConferenceInfo = func(string) (*ConferenceState, bool) { return nil, false }
	})
	for _, tc := range []struct {
		method, body string
		head         []string
	}{
		{"INVITE", sdpBody(), nil},
		{"INVITE", strings.Replace(sdpBody(), "AVP 0 101", "AVP 4", 1), nil},
		{"INVITE", sdpBody(), []string{"Supported: timer", "Session-Expires: 1"}},
		{"REGISTER", "", nil},
		{"SUBSCRIBE", "", []string{"Event: conference"}},
		{"SUBSCRIBE", "", []string{"Event: presence"}},
		{"REFER", "", []string{"Refer-To: <sip:1@x>"}},
	} {
		w := newWire(t, e)
		w.send(w.request(tc.method, 1, tc.body, tc.head...))
		if p := w.wantCode(401, tc.method); !strings.Contains(p.header("WWW-Authenticate"), `realm="box"`) {
			t.Errorf("%s", p.text)
		}
	}
	select {
	case <-e.calls:
		t.Error("the handler was asked")
	default:
	}
}

// A right password lets in, a wrong one never, and after some of them there is a pause.
func TestPassword(t *testing.T) {
	a, b := newEnd(t), newEnd(t, gated())
	out := a.dial(Dial{To: b.uri("1000", "udp"), Auth: Auth{"ann", "secret"}})
	in := b.next()
	a.want(out, Answered)
	if u := in.Info().User; u != "ann" || in.Info().Many {
		t.Errorf("user %q", u)
	}
	out.Hold(true) // within the dialog nobody is asked again
	b.want(in, Held)
	out.Hangup("")
	b.wantEnded(in, 200, Remote)
	codes := ""
	for range 4 {
		out = a.dial(Dial{To: b.uri("1000", "udp"), Auth: Auth{"ann", "wrong"}})
		for ev := range a.channel(out) {
			if ev.Kind == Ended {
				codes += fmt.Sprint(ev.Code, " ")
				break
			}
		}
	}
	if !strings.HasPrefix(codes, "401 ") || !strings.HasSuffix(codes, "403 ") {
		t.Errorf("codes %s", codes)
	}
}

// A caller has so many calls at once; the next gets 486, and can call again after one of them.
func TestCallsPerCaller(t *testing.T) {
	a, b := newEnd(t), newEnd(t, gated(func(c *admit.Config) { c.MaxCalls = 1 }))
	d := Dial{To: b.uri("1000", "udp"), Auth: Auth{"ann", "secret"}}
	for range 2 {
		out := a.dial(d)
		in := b.next()
		a.want(out, Answered)
		a.wantEnded(a.dial(d), 486, Remote)
		d.Auth.User = "bob" // is another
		other := a.dial(d)
		a.want(other, Answered)
		other.Hangup("")
		b.wantEnded(b.next(), 200, Remote)
		d.Auth.User = "ann"
		out.Hangup("")
		b.wantEnded(in, 200, Remote)
		<-in.Done()
	}
}

// A certificate that TLS has verified lets in who bears it: a PBX, behind which are many callers.
func TestMutualTLS(t *testing.T) {
	peers := gated(func(c *admit.Config) { c.Peers, c.MaxCalls = map[string]string{"box.example": "pbx"}, 1 })
	certs := withTLS(t)
	a, b := newEnd(t, certs, everywhere("127.0.0.1")), newEnd(t, certs, everywhere("127.0.0.1"), peers)
	out, in := a.call(b, "tls")
	if i := in.Info(); i.User != "pbx" || !i.Many {
		t.Errorf("user %q, many %v", i.User, i.Many)
	}
	second, in2 := a.call(b, "tls")
	second.Hangup("")
	b.wantEnded(in2, 200, Remote)
	out.Hangup("")
	b.wantEnded(in, 200, Remote)
	bare := newEnd(t, certs, everywhere("127.0.0.1"), func(c *Config) {
		c.TLSClient = &tls.Config{RootCAs: c.TLSClient.RootCAs}
	})
	out = bare.dial(Dial{To: b.uri("1000", "tls")})
	bare.wantEnded(out, 401, Remote)
}

// contactOnly lets in who calls the contact that the agent has registered.
func contactOnly(self *atomic.Pointer[Agent]) func(*admit.Config) {
	return func(c *admit.Config) {
		c.Token = func(u string) (string, bool) {
			a := self.Load()
			if a == nil {
				return "", false
			}
			return a.OwnContact(u)
		}
	}
}

// pbx is an end that phones register with, and routes to them.
func pbx(t *testing.T, opts ...option) *end {
	reg := registrar.New(registrar.Config{MinExpires: time.Second})
	return newEnd(t, append([]option{gated(), func(c *Config) { c.Registrar = reg }}, opts...)...)
}

// we register with a PBX, and it calls us by the contact that only it knows; who else calls is a stranger.
func TestRegister(t *testing.T) {
	p := pbx(t)
	var self atomic.Pointer[Agent]
	box := newEnd(t, gated(contactOnly(&self)), func(c *Config) {
		c.Upstreams = []Upstream{{Name: "pbx", Registrar: "sip:" + p.addr("udp"), User: "ann", Auth: Auth{Password: "secret"}, Number: "1000"}}
	})
	self.Store(box.agent)
	until(t, "registered", func() bool { return box.agent.Registrations()[0].Registered })
	out := p.dial(Dial{To: "ann", From: "77"})
	in := box.next()
	p.want(out, Answered)
	if in.Number() != "1000" || in.From() != "77" || in.Info().Upstream != "pbx" {
		t.Errorf("number %q from %q by %q", in.Number(), in.From(), in.Info().Upstream)
	}
	out.Hangup("")
	box.wantEnded(in, 200, Remote)
	out = p.dial(Dial{To: box.uri("1000", "udp")})
	p.wantEnded(out, 401, Remote)

	// With the PBX's name as the gateway's, its credentials go along.
	hop := route.Hop{Gateway: route.Gateway{Name: "pbx", URI: "sip:" + p.addr("udp")}, Number: "1234"}
	out = box.dial(Dial{To: "1234", Hops: []route.Hop{hop}})
	in = p.next()
	box.want(out, Answered)
	if in.Info().User != "ann" || in.From() != "ann" || out.Info().Upstream != "pbx" {
		t.Errorf("%+v from %q", in.Info(), in.From())
	}
	out.Hangup("")
	p.wantEnded(in, 200, Remote)

	box.stop()
	if _, err := p.agent.Dial(Dial{To: "ann"}); err == nil {
		t.Error("still registered after the end")
	}
}

// A wrong password is not hammered: the pauses grow, and the reason is to be read.
func TestRegisterRefused(t *testing.T) {
	p := pbx(t)
	box := newEnd(t, func(c *Config) {
		c.Upstreams = []Upstream{{Name: "pbx", Registrar: "sip:" + p.addr("udp"), User: "ann", Auth: Auth{Password: "wrong"}}}
	})
	until(t, "refused", func() bool { return box.agent.Registrations()[0].Code != 0 })
	if r := box.agent.Registrations()[0]; r.Registered || r.Err == "" {
		t.Errorf("%+v", r)
	}
	u := box.agent.uplinks[0]
	for i, least := range []time.Duration{15, 30, 60} {
		if d := u.backoff(i); d < least*time.Millisecond || d > 2*least*time.Millisecond {
			t.Errorf("pause %d is %v", i, d)
		}
	}
	bad := newEnd(t, func(c *Config) { c.Upstreams = []Upstream{{Name: "x", Registrar: "nonsense"}} })
	until(t, "refused", func() bool { return bad.agent.Registrations()[0].Err != "" })
}

// 423, the granted time, and the refresh before it is over; 503 and silence are tried again.
func TestRegisterTimes(t *testing.T) {
	w := newWire(t, nil)
	e := newEnd(t, func(c *Config) {
		c.Timers.Second = 5 * time.Millisecond
		c.Timers.Try = 100 * time.Millisecond
		c.Upstreams = []Upstream{{Name: "pbx", Registrar: "sip:" + w.addr(), User: "ann", Expires: 60 * 5 * time.Millisecond}}
	})
	first := w.wantRequest("REGISTER")
	w.answer(first, 503, "x", "")
	second := w.wantRequest("REGISTER")
	w.answer(second, 423, "x", "", "Min-Expires: 120")
	third := w.wantRequest("REGISTER")
	if first.header("Expires") != "60" || third.header("Expires") != "120" || third.header("Call-ID") != first.header("Call-ID") {
		t.Errorf("%s", third.text)
	}
	w.answer(third, 200, "x", "", "Contact: "+third.header("Contact")+";expires=40")
	began := time.Now()
	fourth := w.wantRequest("REGISTER")
	if d := time.Since(began); d < 50*time.Millisecond || d > 40*5*time.Millisecond {
		t.Errorf("refreshed after %v", d)
	}
	if fourth.header("Contact") != third.header("Contact") {
		t.Errorf("%s", fourth.text)
	}
	w.answer(fourth, 200, "x", "", "Expires: 120")
	w.farewell(e)
}

// The registrar's refusals, and who may register whom.
func TestRegistrar(t *testing.T) {
	e := newEnd(t, gated(func(c *admit.Config) { c.TrustLoopback = true }), func(c *Config) {
		c.Registrar = registrar.New(registrar.Config{MaxContacts: 2})
	})
	w := newWire(t, e)
	seq := 0
	register := func(code int, head ...string) packet {
		t.Helper()
		seq++
		w.tag = ""
		msg := w.request("REGISTER", seq, "", head...)
		if strings.Contains(strings.Join(head, "\n"), "Contact:") {
			msg = strings.Replace(msg, "Contact: <sip:300@"+w.addr()+">\r\n", "", 1)
		}
		w.send(msg)
		return w.wantCode(code, "REGISTER")
	}
	p := register(200, "Expires: 120")
	if p.header("Contact") != "<sip:300@"+w.addr()+">;expires=120" || p.header("Date") == "" {
		t.Errorf("%s", p.text)
	}
	if p := register(423, "Expires: 10"); p.header("Min-Expires") != "60" {
		t.Errorf("%s", p.text)
	}
	register(400, "Contact: *", "Expires: 60")
	register(400, "Expires: soon")
	register(200, "Contact: <sip:a@127.0.0.1>;q=0.5, <sip:b@127.0.0.1>;expires=0")
	register(403, "Contact: <sip:c@127.0.0.1>, <sip:d@127.0.0.1>")
	if p := register(200, "Contact: *", "Expires: 0"); p.header("Contact") != "" {
		t.Errorf("%s", p.text)
	}
	register(420, "Require: path")
}

// two phones of the branch call each other through the box's registrar: here the box calls one, over its flow.
func TestCallPhone(t *testing.T) {
	p := pbx(t, listen("udp 127.0.0.1:0", "tcp 127.0.0.1:0"))
	for _, network := range []string{"udp", "tcp"} {
		var self atomic.Pointer[Agent]
		phone := newEnd(t, gated(contactOnly(&self)), func(c *Config) {
			u := "sip:" + p.addr(network)
			if network == "tcp" {
				u += ";transport=tcp"
			}
			c.Upstreams = []Upstream{{Name: "p", Registrar: u, User: "bob", Auth: Auth{Password: "secret"}}}
		})
		self.Store(phone.agent)
		until(t, "registered", func() bool { return phone.agent.Registrations()[0].Registered })
		out := p.dial(Dial{To: "bob:7", Name: "Conference"})
		in := phone.next()
		p.want(out, Answered)
		if in.From() != "7" || in.Number() != "bob" && in.Number() == "" || in.Info().Transport != network {
			t.Errorf("from %q number %q by %s", in.From(), in.Number(), in.Info().Transport)
		}
		in.Hangup("")
		p.wantEnded(out, 200, Remote)
		phone.stop()
		until(t, "forgotten", func() bool { _, err := p.agent.Dial(Dial{To: "bob"}); return errors.Is(err, ErrNoRoute) })
	}
}

// A phone whose connection breaks is forgotten at once: a call to it would reach nobody.
func TestPhoneLost(t *testing.T) {
	reg := registrar.New(registrar.Config{})
	e := newEnd(t, listen("tcp 127.0.0.1:0"), func(c *Config) { c.Registrar = reg })
	conn, err := net.Dial("tcp", e.addr("tcp"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "REGISTER sip:box SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKr\r\nMax-Forwards: 70\r\nFrom: <sip:bob@box>;tag=1\r\n"+
		"To: <sip:bob@box>\r\nCall-ID: r\r\nCSeq: 1 REGISTER\r\nContact: <sip:bob@127.0.0.1:1;transport=tcp>\r\nContent-Length: 0\r\n\r\n")
	until(t, "registered", func() bool { return len(reg.Lookup(time.Now(), "bob")) == 1 })
	conn.Close()
	until(t, "forgotten", func() bool { return len(reg.Lookup(time.Now(), "bob")) == 0 })
}

// A caller whose connection breaks while it rings has hung up.
func TestCallerLost(t *testing.T) {
	e := newEnd(t, listen("tcp 127.0.0.1:0"))
	e.decide(func(c *Call) { c.Ring() })
	conn, err := net.Dial("tcp", e.addr("tcp"))
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{id: "lost", to: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5060}}
	w.conn, _ = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	defer w.conn.Close()
	fmt.Fprint(conn, strings.Replace(w.request("INVITE", 1, sdpBody()), "SIP/2.0/UDP", "SIP/2.0/TCP", 1))
	c := e.next()
	conn.Close()
	e.wantEnded(c, 408, Remote)
}
