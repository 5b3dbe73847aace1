package guard

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// sentTo records where a socket was told to send.
type sentTo struct {
	net.PacketConn
	mu  sync.Mutex
	all []string
}

func (s *sentTo) WriteTo(b []byte, a net.Addr) (int, error) {
	s.mu.Lock()
	s.all = append(s.all, a.String())
	s.mu.Unlock()
	return s.PacketConn.WriteTo(b, a)
}

// byteConn reads one octet at a time: a stream split everywhere.
type byteConn struct{ net.Conn }

func (c byteConn) Read(b []byte) (int, error) { return c.Conn.Read(b[:min(len(b), 1)]) }

func (c byteConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

type byteListener struct{ net.Listener }

func (l byteListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return byteConn{c}, nil
}

// box is a sipgo server with plain handlers behind the guard.
type box struct {
	udp      net.Addr
	tcp      net.Addr
	sent     *sentTo
	listener *listener
	counters *Counters
	seen     chan *sip.Request // what reached a handler
	server   *sipgo.Server
}

func (b *box) note(req *sip.Request) {
	select {
	case b.seen <- req:
	default: // nobody looks
	}
}

func TestMain(m *testing.M) {
	sip.UDPMTUSize = 65535 // as the package comment asks for
	sip.SetDefaultLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	os.Exit(m.Run())
}

// answers of the plain handlers.
var handled = map[sip.RequestMethod]int{sip.INVITE: 486, sip.OPTIONS: 200, sip.REGISTER: 401, sip.BYE: 481, sip.MESSAGE: 405}

func newBox(t *testing.T, o Options, change ...func(*sipgo.Server)) *box {
	t.Helper()
	return newBoxOn(t, "127.0.0.1", o, change...)
}

func newBoxOn(t *testing.T, host string, o Options, change ...func(*sipgo.Server)) *box {
	t.Helper()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	noDNS := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("a name was looked up")
		return nil, errors.New("no names here")
	}}
	ua, err := sipgo.NewUA(sipgo.WithUserAgentDNSResolver(noDNS),
		sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(quiet)),
		sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(quiet)))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := sipgo.NewServer(ua, sipgo.WithServerLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	b := &box{counters: &Counters{}, seen: make(chan *sip.Request, 64), server: srv}
	respond := func(code int) sipgo.RequestHandler {
		return func(req *sip.Request, tx sip.ServerTransaction) {
			b.note(req)
			_ = tx.Respond(sip.NewResponseFromRequest(req, code, "Plain", nil))
			if code != 486 {
				return
			}
			select {
			case <-tx.Done():
			case <-tx.Acks():
			}
		}
	}
	for m, code := range handled {
		switch m {
		case sip.INVITE:
			srv.OnInvite(respond(code))
		case sip.OPTIONS:
			srv.OnOptions(respond(code))
		case sip.REGISTER:
			srv.OnRegister(respond(code))
		case sip.BYE:
			srv.OnBye(respond(code))
		case sip.MESSAGE:
			srv.OnMessage(respond(code))
		}
	}
	srv.OnAck(func(req *sip.Request, _ sip.ServerTransaction) { b.note(req) })
	srv.OnCancel(respond(481))
	for _, f := range change {
		f(srv)
	}

	pc, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	b.sent = &sentTo{PacketConn: pc}
	b.udp, b.tcp = pc.LocalAddr(), l.Addr()
	o.Counters = b.counters
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.ServeUDP(PacketConn(b.sent, o)) })
	b.listener = Listener(byteListener{l}, o).(*listener)
	serving.Go(func() { _ = srv.ServeTCP(b.listener) })
	t.Cleanup(func() {
		_ = pc.Close()
		_ = l.Close()
		_ = ua.Close()
		serving.Wait()
	})
	return b
}

// verdicts reads the tables of what each file must be answered with.
func verdicts(t *testing.T) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for file, keep := range map[string]func(row []string){
		"wire-accept.tsv":      func(r []string) { out["rfc4475/"+r[0]] = r[1] },
		"rfc5118-verdicts.tsv": func(r []string) { out["rfc5118/"+r[0]] = map[string]string{"accept": "N", "reject": "400"}[r[2]] },
	} {
		f, err := os.Open(filepath.Join("testdata/torture", file))
		if err != nil {
			t.Fatal(err)
		}
		r := csv.NewReader(f)
		r.Comma, r.LazyQuotes = '\t', true
		rows, err := r.ReadAll()
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			keep(row)
		}
	}
	out["rfc4475/test"] = "-" // in the archive, without a verdict
	if len(out) != 62 {
		t.Fatalf("%d verdicts, want 50 + 12", len(out))
	}
	return out
}

func torture(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/torture", name+".dat"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// fits compares a final status with a verdict. N is any answer of a normal course of things.
func fits(verdict, status string) bool {
	for v := range strings.SplitSeq(verdict, ",") {
		if v == status || v == "N" && slices.Contains([]string{"200", "401", "403", "404", "405", "481", "486", "501"}, status) {
			return true
		}
	}
	return false
}

func status(msg []byte) string {
	f := bytes.Fields(msg)
	if len(f) < 2 {
		return ""
	}
	return string(f[1])
}

// isAnswer checks that res answers req: Via list, From, To with a tag, Call-ID and CSeq number, as far as req has them.
func isAnswer(t *testing.T, req, res []byte, from net.Addr) {
	t.Helper()
	h1, _, _ := cutHead(req)
	h2, _, _ := cutHead(res)
	q, r := lex(h1), lex(h2)
	if r.bad != "" || bytes.Contains(h2, []byte("via-list")) {
		t.Errorf("answer is malformed: %s %q", r.bad, res)
	}
	qv, rv := q.list("Via"), r.list("Via")
	if len(qv) != len(rv) {
		t.Errorf("%d Via values for %d", len(rv), len(qv))
		return
	}
	for i := range qv {
		want, err1 := parseVia(qv[i])
		got, err2 := parseVia(rv[i])
		if err1 != nil || err2 != nil {
			if strings.Join(strings.Fields(qv[i]), " ") != strings.Join(strings.Fields(rv[i]), " ") {
				t.Errorf("Via %q for %q", rv[i], qv[i])
			}
			continue
		}
		if i == 0 {
			host, port, _ := net.SplitHostPort(from.String())
			rec, _ := find(got.params, "received")
			if want.host != host && rec.value != host {
				t.Errorf("received is %q, want %q", rec.value, host)
			}
			rp, asked := find(want.params, "rport")
			if gp, _ := find(got.params, "rport"); asked && rp.value == "" && gp.value != port {
				t.Errorf("rport is %q, want %s", gp.value, port)
			}
			drop := func(p param) bool { return p.name == "received" || p.name == "rport" }
			want.params = slices.DeleteFunc(want.params, drop)
			got.params = slices.DeleteFunc(got.params, drop)
		}
		if want.String() != got.String() {
			t.Errorf("Via %q for %q", got, want)
		}
	}
	squeeze := func(s string) string {
		return strings.ToLower(strings.NewReplacer(" ", "", "\t", "", "<", "", ">", "", `"`, "").Replace(printable(s)))
	}
	for _, name := range []string{"From", "To", "Call-ID", "CSeq"} {
		a, b := q.all(name), r.all(name)
		if len(a) == 0 {
			continue
		}
		if len(b) != 1 {
			t.Errorf("%d %s", len(b), name)
			continue
		}
		want, got := squeeze(a[0]), squeeze(b[0])
		if name == "CSeq" {
			want, got = strings.TrimLeft(want, "0"), strings.TrimLeft(got, "0")
		}
		if name == "To" && !strings.Contains(want, ";tag=") {
			var tagged bool
			if got, _, tagged = strings.Cut(got, ";tag="); !tagged {
				t.Errorf("To without a tag: %q", b[0])
			}
		}
		if strings.Contains(want, ":::") { // RFC 5118 §4.10: it comes back as it should have been
			want = squeeze(strings.Split(mustAddress(t, a[0]), ";")[0])
		}
		if want != got {
			t.Errorf("%s is %q, want %q", name, b[0], a[0])
		}
	}
}

func mustAddress(t *testing.T, s string) string {
	a, err := parseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a.String()
}

// ack is the ACK to a refusal of req, as a client transaction makes it (RFC 3261 §17.1.1.3).
func ack(req, res []byte) []byte {
	h1, _, _ := cutHead(req)
	h2, _, _ := cutHead(res)
	q, r := lex(h1), lex(h2)
	uri := strings.Fields(q.start)[1]
	cseq := strings.Fields(q.all("CSeq")[0])
	one := func(t text, name string) string { v, _ := t.one(name); return v }
	return []byte("ACK " + uri + " SIP/2.0\r\nVia: " + q.list("Via")[0] + "\r\nFrom: " + one(q, "From") + "\r\nTo: " + one(r, "To") +
		"\r\nCall-ID: " + one(q, "Call-ID") + "\r\nCSeq: " + cseq[0] + " ACK\r\nContent-Length: 0\r\n\r\n")
}

func probe(i int) []byte {
	n := strconv.Itoa(i)
	return []byte("OPTIONS sip:probe@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bKprobe" + n +
		"\r\nMax-Forwards: 70\r\nFrom: <sip:p@x>;tag=1\r\nTo: <sip:p@y>\r\nCall-ID: probe" + n + "\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
}

func isProbe(msg []byte) bool { return bytes.Contains(msg, []byte("\r\nCall-ID: probe")) }

// TestTortureUDP: X-7, each file of RFC 4475 and RFC 5118 in a datagram of its own, all to one server.
func TestTortureUDP(t *testing.T) {
	b := newBox(t, Options{Methods: append(DefaultMethods(), "MESSAGE")})
	client, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	buf := make([]byte, 65536)
	read := func() []byte {
		_ = client.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, from, err := client.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if from.String() != b.udp.String() {
			t.Errorf("answer from %v", from)
		}
		return bytes.Clone(buf[:n])
	}
	send := func(m []byte) {
		if _, err := client.WriteTo(m, b.udp); err != nil {
			t.Fatal(err)
		}
	}
	i := 0
	for name, verdict := range verdicts(t) {
		t.Run(name, func(t *testing.T) {
			data := torture(t, name)
			var got []byte
			send(data)
			if verdict != "S" && verdict != "-" {
				for got = read(); status(got) == "100" || isProbe(got); {
					got = read()
				}
				if !fits(verdict, status(got)) {
					t.Errorf("answered %s, want %s\n%s", status(got), verdict, got)
				}
				isAnswer(t, data, got, client.LocalAddr())
				if bytes.HasPrefix(data, []byte("INVITE")) && len(lexAll(data).all("From")) == 1 {
					send(ack(data, got))
				}
			}
			// Nothing else comes before the answer to what was sent after it, but repetitions.
			i++
			send(probe(i))
			for next := read(); !isProbe(next); next = read() {
				if got == nil || lexAll(next).all("Call-ID")[0] != lexAll(got).all("Call-ID")[0] {
					t.Errorf("unasked: %s", next)
				}
			}
		})
	}
	b.sent.mu.Lock()
	defer b.sent.mu.Unlock()
	for _, a := range b.sent.all {
		if a != client.LocalAddr().String() {
			t.Errorf("something was sent to %s", a)
		}
	}
}

func lexAll(msg []byte) *text {
	head, _, _ := cutHead(msg)
	t := lex(head)
	return &t
}

// TestTortureTCP: the same over streams that are read octet by octet, a connection for each file.
func TestTortureTCP(t *testing.T) {
	b := newBox(t, Options{Methods: append(DefaultMethods(), "MESSAGE"), MessageTimeout: 2 * time.Second, QuietBody: 100 * time.Millisecond})
	i := 0
	for name, verdict := range verdicts(t) {
		i++
		t.Run(name, func(t *testing.T) {
			data := torture(t, name)
			c, err := net.Dial("tcp", b.tcp.String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			r := bufio.NewReader(c)
			if _, err := c.Write(data); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "clerr") {
				_ = c.(*net.TCPConn).CloseWrite() // what is missing never comes
			}
			base := filepath.Base(name)
			if base == "dblreq" {
				// On a stream what follows is a message of its own. sipgo answers them in any order.
				first, second, _ := bytes.Cut(data, crlfcrlf)
				for range 2 {
					got := final(t, r)
					of := append(bytes.Clone(first), crlfcrlf...)
					if bytes.Contains(got, []byte("CSeq: 8 INVITE")) {
						of = bytes.TrimLeft(second, "\r\n")
					}
					isAnswer(t, of, got, c.LocalAddr())
				}
				return
			}
			if verdict != "S" && verdict != "-" {
				got := final(t, r)
				if !fits(verdict, status(got)) {
					t.Errorf("answered %s, want %s\n%s", status(got), verdict, got)
				}
				isAnswer(t, data, got, c.LocalAddr())
			}
			if slices.Contains([]string{"clerr", "ncl", "mcl01", "baddn", "test"}, base) {
				// Where the next message would begin nobody can know: the stream ends.
				if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
					t.Errorf("then came %q, %v", rest, err)
				}
				return
			}
			if _, err := c.Write(probe(i)); err != nil {
				t.Fatal(err)
			}
			if next := readMessage(t, r); !isProbe(next) {
				t.Errorf("unasked: %s", next)
			}
		})
	}
}

// final reads up to a final response.
func final(t *testing.T, r *bufio.Reader) []byte {
	t.Helper()
	got := readMessage(t, r)
	for status(got) == "100" {
		got = readMessage(t, r)
	}
	return got
}

// readMessage reads one response off a stream.
func readMessage(t *testing.T, r *bufio.Reader) []byte {
	t.Helper()
	var msg []byte
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			t.Fatalf("read: %v after %q", err, msg)
		}
		msg = append(msg, line...)
		if string(msg) == "\r\n" {
			msg = nil // a pong
		} else if string(line) == "\r\n" {
			return msg // nobody here answers with a body
		}
	}
}

// What is valid is answered though rubbish follows it in the same segment.
func TestRubbishBehindAMessage(t *testing.T) {
	b := newBox(t, Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = b.server.ServeTCP(Listener(l, Options{})) })
	t.Cleanup(serving.Wait)
	defer l.Close()
	for i := range 20 { // sipgo's handlers run beside its reader
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Write(append(probe(1000+i), "C\r\n\r\n"...)); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		if got := readMessage(t, r); !isProbe(got) {
			t.Errorf("answered with %q", got)
		}
		_ = c.Close()
	}
}
