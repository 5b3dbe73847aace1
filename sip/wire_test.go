package sip

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// wire is a far end made of a UDP socket and text: it says what no well-behaved one would.
type wire struct {
	t    testing.TB
	conn *net.UDPConn
	to   *net.UDPAddr // the agent
	seq  int
	id   string
	tag  string // the agent's, once it answered
}

func newWire(t testing.TB, e *end) *wire {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, conn: c, id: token(8)}
	if e != nil {
		w.to, _ = net.ResolveUDPAddr("udp", e.addr("udp"))
	}
	t.Cleanup(func() { c.Close() })
	return w
}

func (w *wire) addr() string { return w.conn.LocalAddr().String() }

// sdpBody is an offer or answer with PCMU at a port where nobody listens.
func sdpBody(extra ...string) string {
	return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9000 RTP/AVP 0 101\r\n" +
		"a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n" + strings.Join(append(extra, ""), "\r\n")
}

// request writes a request of this dialog. head are more header lines.
func (w *wire) request(method string, seq int, body string, head ...string) string {
	to := "<sip:1000@box>"
	if w.tag != "" {
		to += ";tag=" + w.tag
	}
	lines := []string{
		fmt.Sprintf("%s sip:1000@%s SIP/2.0", method, w.to),
		fmt.Sprintf("Via: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s", w.addr(), token(6)),
		"Max-Forwards: 70",
		fmt.Sprintf("From: \"W\" <sip:300@%s>;tag=wire", w.addr()),
		"To: " + to,
		"Call-ID: " + w.id,
		fmt.Sprintf("CSeq: %d %s", seq, method),
		fmt.Sprintf("Contact: <sip:300@%s>", w.addr()),
	}
	lines = append(lines, head...)
	if body != "" && !strings.Contains(strings.Join(head, "\n"), "Content-Type") {
		lines = append(lines, "Content-Type: application/sdp")
	}
	lines = append(lines, "Content-Length: "+strconv.Itoa(len(body)), "", body)
	return strings.Join(lines, "\r\n")
}

func (w *wire) send(msg string) {
	w.t.Helper()
	if _, err := w.conn.WriteToUDP([]byte(msg), w.to); err != nil {
		w.t.Fatal(err)
	}
}

// packet is one message that came.
type packet struct {
	text string
	from *net.UDPAddr
}

func (p packet) start() string { s, _, _ := strings.Cut(p.text, "\r\n"); return s }

func (p packet) code() int {
	f := strings.Fields(p.start())
	if len(f) > 1 && f[0] == "SIP/2.0" {
		n, _ := strconv.Atoi(f[1])
		return n
	}
	return 0
}

func (p packet) method() string {
	if p.code() != 0 {
		return ""
	}
	m, _, _ := strings.Cut(p.start(), " ")
	return m
}

// headers are the values of a header, in order.
func (p packet) headers(name string) []string {
	var out []string
	head, _, _ := strings.Cut(p.text, "\r\n\r\n")
	for _, l := range strings.Split(head, "\r\n") {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.EqualFold(strings.TrimSpace(k), name) {
			out = append(out, strings.TrimSpace(v))
		}
	}
	return out
}

func (p packet) header(name string) string { return strings.Join(p.headers(name), ", ") }

func (p packet) body() string { _, b, _ := strings.Cut(p.text, "\r\n\r\n"); return b }

// read is the next message, or none within d.
func (w *wire) read(d time.Duration) (packet, bool) {
	w.t.Helper()
	buf := make([]byte, 65536)
	w.conn.SetReadDeadline(time.Now().Add(d))
	n, from, err := w.conn.ReadFromUDP(buf)
	if err != nil {
		return packet{}, false
	}
	return packet{string(buf[:n]), from}, true
}

// wantCode waits for a response with this code and passes over 100 and what is no response.
func (w *wire) wantCode(code int, method string) packet {
	w.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		p, ok := w.read(patience)
		if !ok || p.code() == 0 || !strings.HasSuffix(p.header("CSeq"), " "+method) || p.code() == 100 {
			continue
		}
		if p.code() != code {
			w.t.Fatalf("want %d to %s, got %s", code, method, p.text)
		}
		if tag := tagOf(p.header("To")); tag != "" && w.tag == "" && code < 300 {
			w.tag = tag
		}
		return p
	}
	w.t.Fatalf("no %d to %s", code, method)
	return packet{}
}

// wantRequest waits for a request of the method, and passes over all else.
func (w *wire) wantRequest(method string) packet {
	w.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if p, ok := w.read(patience); ok && p.method() == method {
			return p
		}
	}
	w.t.Fatalf("no %s", method)
	return packet{}
}

func tagOf(v string) string {
	_, t, _ := strings.Cut(v, ";tag=")
	t, _, _ = strings.Cut(t, ";")
	return t
}

// answer responds to a request that came. tag becomes the To tag where there is none.
func (w *wire) answer(p packet, code int, tag, body string, head ...string) {
	w.t.Helper()
	lines := []string{fmt.Sprintf("SIP/2.0 %d %s", code, phrase(code))}
	for _, v := range p.headers("Via") {
		lines = append(lines, "Via: "+v)
	}
	to := p.header("To")
	if tag != "" && tagOf(to) == "" {
		to += ";tag=" + tag
	}
	lines = append(lines, "From: "+p.header("From"), "To: "+to, "Call-ID: "+p.header("Call-ID"), "CSeq: "+p.header("CSeq"))
	if !strings.Contains(strings.Join(head, "\n"), "Contact:") {
		head = append(head, fmt.Sprintf("Contact: <sip:300@%s>", w.addr()))
	}
	lines = append(lines, head...)
	if body != "" {
		lines = append(lines, "Content-Type: application/sdp")
	}
	lines = append(lines, "Content-Length: "+strconv.Itoa(len(body)), "", body)
	if _, err := w.conn.WriteToUDP([]byte(strings.Join(lines, "\r\n")), p.from); err != nil {
		w.t.Fatal(err)
	}
}

// setUp makes a call to e and acknowledges it.
func (w *wire) setUp(e *end, head ...string) *Call {
	w.t.Helper()
	w.seq = 1
	w.send(w.request("INVITE", 1, sdpBody(), head...))
	c := e.next()
	w.wantCode(200, "INVITE")
	w.send(w.request("ACK", 1, ""))
	e.want(c, Answered)
	until(w.t, "ACK", func() bool { return c.acked() })
	return c
}

// acked asks the call's goroutine whether it waits for an ACK.
func (c *Call) acked() bool {
	ch := make(chan bool, 1)
	if c.post(func() { ch <- c.re.ok == nil }) != nil {
		return true
	}
	return <-ch
}

// farewell ends e while this far end answers whatever else comes: otherwise e would wait for it as long as it may.
func (w *wire) farewell(e *end) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			p, ok := w.read(patience)
			if !ok {
				return
			}
			if m := p.method(); m != "" && m != "ACK" {
				w.answer(p, 200, "", "")
			}
		}
	}()
	e.stop()
	w.conn.Close()
	<-done
}
