package sip

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"parley/sip/rtp"
)

// certificate is a fresh one for 127.0.0.1, and a client's settings that trust it.
func certificate(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "box"}, DNSNames: []string{"box.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven},
		&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}
}

func withTLS(t testing.TB) option {
	server, client := certificate(t)
	return func(c *Config) { c.TLS, c.TLSClient = server, client }
}

func everywhere(host string) option {
	return listen("udp "+host+":0", "tcp "+host+":0", "tls "+host+":0")
}

func bind(addr string) option {
	return func(c *Config) { c.Ports = rtp.NewPorts(rtp.PortsConfig{Bind: netip.MustParseAddr(addr)}) }
}

// a call over every transport and address family, hung up from either side, with sound both ways.
func TestCall(t *testing.T) {
	certs := withTLS(t)
	for _, tc := range []struct{ name, host, rtp, network string }{
		{"udp", "127.0.0.1", "127.0.0.1", "udp"},
		{"tcp", "127.0.0.1", "127.0.0.1", "tcp"},
		{"tls", "127.0.0.1", "127.0.0.1", "tls"},
		{"udp6", "[::1]", "::1", "udp"},
		{"tcp6", "[::1]", "::1", "tcp"},
		{"tls6", "[::1]", "::1", "tls"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newEnd(t, certs, everywhere(tc.host), bind(tc.rtp))
			b := newEnd(t, certs, everywhere(tc.host), bind(tc.rtp))
			b.decide(func(c *Call) { c.Ring() })
			for _, byCaller := range []bool{true, false} {
				out := a.dial(Dial{To: b.uri("1000", tc.network), From: "200", Name: `Ann "the" Box`})
				in := b.next()
				a.want(out, Ringing)
				in.Answer()
				a.want(out, Answered)
				b.want(in, Answered)
				if in.Number() != "1000" || in.From() != "200" || in.Name() != `Ann "the" Box` {
					t.Errorf("number %q from %q name %q", in.Number(), in.From(), in.Name())
				}
				i, o := in.Info(), out.Info()
				if i.Transport != tc.network || o.Transport != tc.network || i.Format != o.Format || i.Format.Codec != "G722" {
					t.Errorf("in %+v, out %+v", i, o)
				}
				until(t, "sound both ways", func() bool {
					return in.Leg().Stats().Received > 3 && out.Leg().Stats().Received > 3
				})
				if byCaller {
					out.Hangup("")
					a.wantEnded(out, 200, Local)
					b.wantEnded(in, 200, Remote)
				} else {
					in.Hangup("")
					b.wantEnded(in, 200, Local)
					a.wantEnded(out, 200, Remote)
				}
				<-in.Done()
				<-out.Done()
				if a.agent.Calls() != 0 || b.agent.Calls() != 0 {
					t.Error("a call is left")
				}
			}
		})
	}
}

// A taken port is an error that names the address.
func TestListenTaken(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		a := newEnd(t, everywhere("127.0.0.1"), withTLS(t))
		taken := a.addr(network)
		b := New(Config{Listen: []Listener{{"udp", "127.0.0.1:0"}, {network, taken}}})
		err := b.Run(t.Context())
		if !errors.Is(err, ErrListen) || !strings.Contains(err.Error(), network+" "+taken) {
			t.Errorf("%s: %v", network, err)
		}
	}
}

func TestReject(t *testing.T) {
	a, b := newEnd(t), newEnd(t)
	for _, code := range []int{404, 486, 603} {
		b.decide(func(c *Call) { c.Ring(); c.Reject(code, "") })
		out := a.dial(Dial{To: b.uri("1000", "udp")})
		b.wantEnded(b.next(), code, Local)
		if ev := a.wantEnded(out, code, Remote); ev.Reason != phrase(code) {
			t.Errorf("reason %q", ev.Reason)
		}
	}
}

// CANCEL while it rings: 487, and both ends know.
func TestCancel(t *testing.T) {
	a, b := newEnd(t), newEnd(t)
	b.decide(func(c *Call) { c.Ring() })
	out := a.dial(Dial{To: b.uri("1000", "udp")})
	in := b.next()
	a.want(out, Ringing)
	out.Hangup("changed my mind")
	a.wantEnded(out, 487, Local)
	b.wantEnded(in, 487, Remote)
	if err := in.Answer(); err == nil {
		<-in.Done()
		if err := in.Answer(); !errors.Is(err, ErrEnded) {
			t.Errorf("Answer after CANCEL: %v", err)
		}
	}
}

// Answer and CANCEL cross: whoever was first, both ends are rid of the call, and no leg is left.
func TestCancelRace(t *testing.T) {
	a, b := newEnd(t), newEnd(t)
	b.decide(func(c *Call) { c.Ring() })
	for i := range 20 {
		out := a.dial(Dial{To: b.uri("1000", "udp")})
		in := b.next()
		a.want(out, Ringing)
		go in.Answer()
		if i%2 == 0 {
			time.Sleep(time.Duration(i) * 20 * time.Microsecond)
		}
		out.Hangup("")
		<-out.Done()
		<-in.Done()
	}
}

func TestNoAnswer(t *testing.T) {
	a, b := newEnd(t), newEnd(t)
	b.decide(func(c *Call) { c.Ring() })
	out := a.dial(Dial{To: b.uri("1000", "udp"), NoAnswer: 100 * time.Millisecond})
	in := b.next()
	a.wantEnded(out, 408, Watchdog)
	b.wantEnded(in, 487, Remote)
}

// Early media: the leg is there and hears before the call is answered.
func TestEarlyMedia(t *testing.T) {
	a, b := newEnd(t), newEnd(t)
	b.decide(func(c *Call) { c.Progress() })
	out := a.dial(Dial{To: b.uri("1000", "udp"), Early: true})
	in := b.next()
	b.want(in, EarlyMedia)
	a.want(out, EarlyMedia)
	until(t, "early sound", func() bool { return out.Leg().Stats().Received > 3 })
	in.Answer()
	a.want(out, Answered)
	b.want(in, Answered)
	out.Hangup("")
	b.wantEnded(in, 200, Remote)
}

// At the end of Run every call gets BYE or CANCEL.
func TestStop(t *testing.T) {
	a, b := newEnd(t), newEnd(t)
	out, in := a.call(b, "udp")
	b.decide(func(c *Call) { c.Ring() })
	ringing := a.dial(Dial{To: b.uri("1001", "udp")})
	rung := b.next()
	a.want(ringing, Ringing)
	began := time.Now()
	a.stop()
	if d := time.Since(began); d > 2500*time.Millisecond {
		t.Errorf("took %v", d)
	}
	a.wantEnded(out, 200, Local)
	b.wantEnded(in, 200, Remote)
	b.wantEnded(rung, 487, Remote)
	if _, err := a.agent.Dial(Dial{To: b.uri("1", "udp")}); !errors.Is(err, ErrEnded) {
		t.Errorf("Dial after the end: %v", err)
	}
}

// A request that is still being handled when the agent has ended opens no socket of its own.
func TestNoSocketAfterTheEnd(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, e)
	w.send(w.request("OPTIONS", 1, ""))
	w.wantCode(200, "OPTIONS")
	e.stop()
	late, err := e.agent.tp.GetConnection("udp", w.addr())
	if err != nil || late == nil {
		t.Fatalf("no socket filed for %s: %v", w.addr(), err)
	}
	if got := late.LocalAddr().String(); got != e.addr("udp") {
		t.Errorf("socket %s in place of the listener's", got)
	}
}

// What the far end is told of where we are: the advertised host, else the address by which it reaches us.
func TestAddresses(t *testing.T) {
	for _, tc := range []struct{ name, listen, dial, rtp, advertise, want string }{
		{"wildcard", "0.0.0.0:0", "127.0.0.1", "0.0.0.0", "", "IP4 127.0.0.1"},
		{"both families, IPv4", "[::]:0", "127.0.0.1", "::", "", "IP4 127.0.0.1"},
		{"both families, IPv6", "[::]:0", "[::1]", "::", "", "IP6 ::1"},
		{"advertised", "127.0.0.1:0", "127.0.0.1", "127.0.0.1", "127.0.0.7", "IP4 127.0.0.7"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEnd(t, listen("udp "+tc.listen), bind(tc.rtp), func(c *Config) { c.Advertise = tc.advertise })
			_, port, _ := net.SplitHostPort(e.addr("udp"))
			w := newWire(t, nil)
			if tc.dial == "[::1]" {
				w.conn.Close()
				w.conn, _ = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
			}
			w.to, _ = net.ResolveUDPAddr("udp", tc.dial+":"+port)
			w.send(w.request("INVITE", 1, sdpBody()))
			c := e.next()
			p := w.wantCode(200, "INVITE")
			host := strings.Trim(tc.want[4:], " ")
			if host == "::1" {
				host = "[::1]"
			}
			if !strings.Contains(p.body(), "c=IN "+tc.want+"\r\n") || p.header("Contact") != "<sip:1000@"+host+":"+port+">" {
				t.Errorf("%s", p.text)
			}
			w.send(w.request("ACK", 1, ""))
			e.want(c, Answered)
			c.Hangup("")
			bye := w.wantRequest("BYE")
			if !strings.Contains(bye.header("Via"), " "+host+":"+port) {
				t.Errorf("%s", bye.text)
			}
			w.answer(bye, 200, "", "")

			out := e.dial(Dial{To: "sip:300@" + w.addr()})
			p = w.wantRequest("INVITE")
			if !strings.Contains(p.body(), "c=IN "+tc.want+"\r\n") || p.header("Contact") != "<sip:parley@"+host+":"+port+">" {
				t.Errorf("%s", p.text)
			}
			w.answer(p, 486, "x", "")
			e.wantEnded(out, 486, Remote)
		})
	}
}

// Before Run nothing can be dialled, and after it nothing any more.
func TestDialTooEarly(t *testing.T) {
	if _, err := New(Config{}).Dial(Dial{To: "sip:1@127.0.0.1"}); !errors.Is(err, ErrState) {
		t.Error(err)
	}
}
