package guard

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// The whole way through sipgo: a repetition is one call, a stranger's CANCEL finds nothing, the caller's own ends it, and
// its ACK ends the repetitions.
func TestCancelThroughSipgo(t *testing.T) {
	invited := make(chan sip.ServerTransaction, 4)
	b := newBox(t, Options{}, func(s *sipgo.Server) {
		s.OnInvite(func(req *sip.Request, tx sip.ServerTransaction) {
			invited <- tx
			_ = tx.Respond(sip.NewResponseFromRequest(req, 180, "Ringing", nil))
			<-tx.Done()
		})
	})
	caller, stranger := newPhone(t, "127.0.0.1", b.udp), newPhone(t, "127.0.0.2", b.udp)
	invite := []byte(strings.ReplaceAll(string(request("Contact: <sip:a@b>")), "OPTIONS", "INVITE"))
	caller.send(invite)
	if got := caller.status("INVITE"); got != "180" {
		t.Fatal(got)
	}
	caller.send(invite)
	if got := caller.status("INVITE"); got != "180" {
		t.Errorf("the repetition got %s", got)
	}
	cancel := bytes.ReplaceAll(bytes.Replace(invite, []byte("Contact: <sip:a@b>\r\n"), nil, 1), []byte("INVITE"), []byte("CANCEL"))
	stranger.send(cancel)
	if got := stranger.status("CANCEL"); got != "481" {
		t.Errorf("a stranger's CANCEL got %s", got)
	}
	caller.send(cancel)
	if got := caller.status("CANCEL"); got != "200" {
		t.Errorf("the caller's CANCEL got %s", got)
	}
	for got := caller.status("INVITE"); got != "487"; got = caller.status("INVITE") {
		if got != "180" {
			t.Errorf("then the INVITE got %s", got)
		}
	}
	if len(invited) != 1 {
		t.Errorf("%d calls", len(invited))
	}
	caller.send(ack(invite, caller.last))
	tx := <-invited
	select {
	case <-tx.Acks():
	case <-time.After(10 * time.Second):
		t.Error("the ACK did not reach its transaction")
	}
}

// phone is a UDP socket.
type phone struct {
	t    *testing.T
	pc   net.PacketConn
	to   net.Addr
	last []byte
}

func newPhone(t *testing.T, ip string, to net.Addr) *phone {
	t.Helper()
	pc, err := net.ListenPacket("udp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	return &phone{t: t, pc: pc, to: to}
}

func (p *phone) send(m []byte) {
	p.t.Helper()
	if _, err := p.pc.WriteTo(m, p.to); err != nil {
		p.t.Fatal(err)
	}
}

// status waits for the next answer to method.
func (p *phone) status(method string) string {
	p.t.Helper()
	buf := make([]byte, 65536)
	_ = p.pc.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		n, _, err := p.pc.ReadFrom(buf)
		if err != nil {
			p.t.Fatal(err)
		}
		if cseq := lexAll(buf[:n]).all("CSeq"); len(cseq) == 1 && strings.HasSuffix(cseq[0], " "+method) {
			p.last = bytes.Clone(buf[:n])
			return status(p.last)
		}
	}
}

// IPv6, and IPv4 on a socket that takes both: the answer comes back, with received and rport as the peer must read them.
func TestAddressFamilies(t *testing.T) {
	if pc, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
		t.Skipf("no IPv6 here: %v", err)
	} else {
		_ = pc.Close()
	}
	for _, tt := range []struct{ listen, from, to, received string }{
		{"::1", "[::1]", "[::1]", "::1"},
		{"::", "[::1]", "[::1]", "::1"},
		{"::", "127.0.0.1", "127.0.0.1", "127.0.0.1"},
	} {
		b := newBoxOn(t, tt.listen, Options{Secret: []byte("0123456789abcdef")})
		_, port, _ := net.SplitHostPort(b.udp.String())
		to, err := net.ResolveUDPAddr("udp", tt.to+":"+port)
		if err != nil {
			t.Fatal(err)
		}
		p := newPhone(t, tt.from, to)
		_, own, _ := net.SplitHostPort(p.pc.LocalAddr().String())
		want := "SIP/2.0/UDP [2001:db8::9:1]:9;branch=z9hG4bKx;received=" + tt.received + ";rport=" + own
		for _, more := range []string{"Subject: passes", "Require: x"} {
			p.send(bytes.Replace(request(more), []byte("SIP/2.0/UDP 192.0.2.7;"), []byte("SIP/2.0/UDP [2001:db8::9:1]:9;rport;"), 1))
			p.status("OPTIONS")
			if got := lexAll(p.last).all("Via"); !slices.Equal(got, []string{want}) {
				t.Errorf("%s to %s: %q, want %q", tt.from, tt.listen, got, want)
			}
		}
		a, ok := ParseArrival([]byte("0123456789abcdef"), (<-b.seen).GetHeader(ArrivalHeader).Value())
		if !ok || a.Remote.Addr().String() != tt.received {
			t.Errorf("arrival %+v", a)
		}
	}
}

// A response over sipgo's limit for datagrams leaves whole.
func TestLongResponseByUDP(t *testing.T) {
	body := bytes.Repeat([]byte("x"), 8000)
	b := newBox(t, Options{}, func(s *sipgo.Server) {
		s.OnOptions(func(req *sip.Request, tx sip.ServerTransaction) {
			_ = tx.Respond(sip.NewResponseFromRequest(req, 200, "OK", body))
		})
	})
	p := newPhone(t, "127.0.0.1", b.udp)
	p.send(request())
	if got := p.status("OPTIONS"); got != "200" || !bytes.HasSuffix(p.last, body) {
		t.Errorf("%s, %d octets", got, len(p.last))
	}
}

func dialTCP(t *testing.T, b *box) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", b.tcp.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c, bufio.NewReader(c)
}

func TestStream(t *testing.T) {
	b := newBox(t, Options{MessageTimeout: 300 * time.Millisecond, MaxConnsPerIP: 3, MaxMessage: 2000})
	with := func(id string, more ...string) string {
		return strings.Replace(string(request(more...)), "Call-ID: c", "Call-ID: "+id, 1)
	}
	ends := func(t *testing.T, r *bufio.Reader) {
		t.Helper()
		if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
			t.Errorf("then came %q, %v", rest, err)
		}
	}
	t.Run("ping", func(t *testing.T) {
		c, r := dialTCP(t, b)
		fmt.Fprint(c, "\r\n\r\n"+with("ping", "Content-Length: 0")+"\r\n\r\n")
		answers, pongs := 0, 0
		for answers < 1 || pongs < 2 {
			line, err := r.ReadString('\n')
			switch {
			case err != nil:
				t.Fatalf("%d answers, %d pongs, %v", answers, pongs, err)
			case line == "\r\n":
				pongs++
			case strings.HasPrefix(line, "SIP/2.0 200 "):
				answers++
				for line != "\r\n" && err == nil {
					line, err = r.ReadString('\n')
				}
			}
		}
		_ = c.Close()
	})
	t.Run("several in one segment", func(t *testing.T) {
		c, r := dialTCP(t, b)
		fmt.Fprint(c, with("one", "Content-Length: 0")+"\r\n"+with("two", "l: 3", "c: a/b")+"xyz"+with("three", "Require: x", "Content-Length: 0"))
		got := map[string]string{}
		for range 3 {
			m := readMessage(t, r)
			got[lexAll(m).all("Call-ID")[0]] = status(m)
		}
		if got["one"] != "200" || got["two"] != "200" || got["three"] != "420" {
			t.Errorf("%v", got)
		}
		_ = c.Close()
	})
	t.Run("slow", func(t *testing.T) {
		before := b.counters.Get(TooSlow)
		c, r := dialTCP(t, b)
		fmt.Fprint(c, "OPTIONS sip:")
		ends(t, r)
		if n := b.counters.Get(TooSlow) - before; n != 1 {
			t.Errorf("counted %d", n)
		}
	})
	t.Run("silent from the start", func(t *testing.T) {
		_, r := dialTCP(t, b)
		ends(t, r)
	})
	t.Run("garbage", func(t *testing.T) {
		c, r := dialTCP(t, b)
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		ends(t, r)
	})
	t.Run("endless", func(t *testing.T) {
		c, r := dialTCP(t, b)
		fmt.Fprint(c, with("big", "Content-Length: 100000000"))
		if got := readMessage(t, r); status(got) != "513" {
			t.Errorf("%s", got)
		}
		_ = c.Close()
	})
	t.Run("too many", func(t *testing.T) {
		var open []*bufio.Reader
		for i := range 3 {
			c, r := dialTCP(t, b)
			fmt.Fprint(c, with("many", "Content-Length: 0", "Q: "+fmt.Sprint(i)))
			// Earlier connections may still be on their way out.
			if _, err := r.Peek(1); err != nil {
				_ = c.Close()
				continue
			}
			open = append(open, r)
		}
		before := b.counters.Get(TooMany)
		for range 3 {
			_, r := dialTCP(t, b)
			_, _ = r.Peek(1)
		}
		if b.counters.Get(TooMany) == before && len(open) == 3 {
			t.Error("there is always room for one more")
		}
	})
	// Every connection that ended gave its place back.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		b.listener.mu.Lock()
		open, held := b.listener.open, len(b.listener.perIP)
		b.listener.mu.Unlock()
		if open == 0 && held == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections of %d addresses are still counted", open, held)
		}
	}
}

// flaky fails at first, in a way that passes.
type flaky struct {
	net.PacketConn
	left int
	with error
}

func (f *flaky) Addr() net.Addr { return f.LocalAddr() }

func (f *flaky) ReadFrom(b []byte) (int, net.Addr, error) {
	if f.left--; f.left >= 0 {
		return 0, nil, f.with
	}
	return copy(b, request()), net.UDPAddrFromAddrPort(here.remote), nil
}

func (f *flaky) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(here.local) }

func (f *flaky) Accept() (net.Conn, error) {
	if f.left--; f.left >= 0 {
		return nil, f.with
	}
	a, _ := net.Pipe()
	return a, nil
}

// sipgo stops serving at the first error; what passes by itself must not reach it, and a closed socket must.
func TestTransientErrors(t *testing.T) {
	for _, tt := range []struct {
		err  error
		ends bool
	}{{syscall.EMFILE, false}, {&net.OpError{Op: "read", Err: syscall.ENOBUFS}, false}, {net.ErrClosed, true}, {os.ErrDeadlineExceeded, true}} {
		buf := make([]byte, 65536)
		_, _, err := PacketConn(&flaky{left: 2, with: tt.err}, Options{}).ReadFrom(buf)
		if (err != nil) != tt.ends {
			t.Errorf("ReadFrom, %v: %v", tt.err, err)
		}
		c, err := Listener(&flaky{left: 2, with: tt.err}, Options{}).Accept()
		if (err != nil) != tt.ends {
			t.Errorf("Accept, %v: %v", tt.err, err)
		}
		if c != nil {
			_ = c.Close()
		}
	}
}

// Screen answers before sipgo has a transaction, and before it has heard of the source at all.
func TestScreen(t *testing.T) {
	asked := make(chan Envelope, 16)
	b := newBox(t, Options{Screen: func(e Envelope) *Answer {
		asked <- e
		if e.Method == "REGISTER" || e.Status != 0 || e.ToTag != "" {
			return &Answer{Code: 401, Reason: "Unauthorized", Headers: [][2]string{{"WWW-Authenticate", "Digest realm=\"x\""}, {"Evil", "a\r\nb: c"}}}
		}
		return nil
	}})
	p := newPhone(t, "127.0.0.1", b.udp)
	p.send(bytes.ReplaceAll(request("Authorization: Digest a=b", "Authorization: c"), []byte("OPTIONS"), []byte("REGISTER")))
	if got := p.status("REGISTER"); got != "401" || !bytes.Contains(p.last, []byte("\r\nWWW-Authenticate: Digest realm=\"x\"\r\n")) || bytes.Contains(p.last, []byte("\nb: c")) {
		t.Errorf("%s", p.last)
	}
	e := <-asked
	if e.Method != "REGISTER" || e.User != "1000" || e.URI != "sip:1000@box" || e.CallID != "c" || e.FromTag != "1" || e.ToTag != "" ||
		!slices.Equal(e.Authorization, []string{"Digest a=b", "c"}) || e.Remote.String() != p.pc.LocalAddr().String() || e.Local.String() != b.udp.String() {
		t.Errorf("%+v", e)
	}
	if n := b.server.TransportLayer().Pool("udp").Size(); n != 1 {
		t.Errorf("sipgo has heard of %d addresses", n)
	}
	p.send(bytes.ReplaceAll(bytes.Replace(request(), []byte("To: <sip:1000@box>"), []byte("To: <sip:1000@box>;tag=t"), 1), []byte("OPTIONS"), []byte("ACK")))
	p.send(lines("SIP/2.0 200 OK", "Via: SIP/2.0/UDP h;branch=z9hG4bKq", "From: <sip:a@b>", "To: <sip:a@b>", "Call-ID: stray", "CSeq: 1 INVITE"))
	p.send(request())
	if got := p.status("OPTIONS"); got != "200" {
		t.Errorf("what passes got %s", got)
	}
	if e := <-asked; e.Method != "ACK" || e.ToTag != "t" {
		t.Errorf("%+v", e)
	}
	if e := <-asked; e.Status != 200 || e.CallID != "stray" || e.Method != "INVITE" {
		t.Errorf("%+v", e)
	}
	if n := b.counters.Get(Screened); n != 3 {
		t.Errorf("%d screened", n)
	}
}

// What is stamped says how a message came; only the guard's own word counts.
func TestArrival(t *testing.T) {
	secret := []byte("0123456789abcdef")
	b := newBox(t, Options{Secret: secret})
	p := newPhone(t, "127.0.0.1", b.udp)
	p.send(request("Parley-Arrival: UDP 127.0.0.1:1 127.0.0.1:2 00"))
	if got := p.status("OPTIONS"); got != "200" {
		t.Fatal(got)
	}
	req := <-b.seen
	if n := len(req.GetHeaders(ArrivalHeader)); n != 1 {
		t.Fatalf("%d stamps", n)
	}
	stamp := req.GetHeader(ArrivalHeader).Value()
	a, ok := ParseArrival(secret, stamp)
	if !ok || a.Network != "UDP" || a.Remote.String() != p.pc.LocalAddr().String() || a.Local.String() != b.udp.String() || len(a.Names) != 0 {
		t.Errorf("%+v %v from %q", a, ok, stamp)
	}
	if _, ok := ParseArrival([]byte("another"), stamp); ok {
		t.Error("another secret does as well")
	}
	if _, ok := ParseArrival(nil, stamp); ok {
		t.Error("no secret does as well")
	}
}

// certificate makes one for names, signed by itself.
func certificate(t *testing.T, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), DNSNames: names, IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		URIs:        []*url.URL{{Scheme: "sip", Opaque: "sip." + names[0]}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// Over TLS the names of a verified certificate are known; a connection that the box opens itself passes the guard too,
// and sipgo sends through it.
func TestTLSAndOutbound(t *testing.T) {
	secret := []byte("0123456789abcdef")
	serverCert, serverPool := certificate(t, "box.example.com")
	clientCert, clientPool := certificate(t, "pbx.example.com")
	a, z := newBox(t, Options{Secret: secret}), newBox(t, Options{Secret: secret})
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{serverCert}, ClientCAs: clientPool, ClientAuth: tls.VerifyClientCertIfGiven})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 2)
	go func() { served <- a.server.ServeTLS(Listener(l, Options{Secret: secret})) }()
	out := NewOutbound(l.Addr(), Options{Secret: secret})
	go func() { served <- z.server.ServeTLS(out) }()
	t.Cleanup(func() {
		_ = l.Close()
		_ = out.Close()
		<-served
		<-served
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := out.Dial(ctx, l.Addr().String(), &tls.Config{RootCAs: clientPool, ServerName: "box.example.com"}); err == nil {
		t.Error("a certificate that nobody knows was taken")
	}
	if err := out.Dial(ctx, l.Addr().String(), &tls.Config{RootCAs: serverPool, ServerName: "box.example.com", Certificates: []tls.Certificate{clientCert}}); err != nil {
		t.Fatal(err)
	}
	msg, err := sip.ParseMessage(bytes.Replace(request("Max-Forwards: 70"), []byte("SIP/2.0/UDP"), []byte("SIP/2.0/TLS"), 1))
	if err != nil {
		t.Fatal(err)
	}
	req := msg.(*sip.Request)
	req.SetTransport("TLS")
	req.SetDestination(l.Addr().String())
	tx, err := z.server.TransactionLayer().Request(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Terminate()
	select {
	case res := <-tx.Responses():
		if res.StatusCode != 200 {
			t.Errorf("%v", res)
		}
		if h := res.GetHeader(ArrivalHeader); h == nil {
			t.Error("the response came past the guard")
		}
	case <-ctx.Done():
		t.Fatal("no answer")
	}
	got, ok := ParseArrival(secret, (<-a.seen).GetHeader(ArrivalHeader).Value())
	if !ok || got.Network != "TLS" || !slices.Equal(got.Names, []string{"pbx.example.com", "sip.pbx.example.com"}) {
		t.Errorf("%+v", got)
	}
}
