package phonetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"
)

// Raw is a SIP client made of a UDP socket and text: it says what no telephone would, and shows the answers as they came.
type Raw struct {
	t    testing.TB
	conn *net.UDPConn
	to   netip.AddrPort
}

// NewRaw makes one on a socket. It talks to the address to.
func NewRaw(t testing.TB, conn *net.UDPConn, to netip.AddrPort) *Raw {
	return &Raw{t: t, conn: conn, to: to}
}

// RawRequest is what a Raw asks.
type RawRequest struct {
	Method  string
	URI     string   // of the request line and of To; sip:{Number}@{the box} if empty
	Number  string   // user part of the above
	Body    string   // SDP
	Headers []string // more header lines

	// User and Password answer the challenge to the first request with a second one.
	User, Password string
}

// RawAnswer is a final response.
type RawAnswer struct {
	Code int
	Text string
	// Dialog is what a further request of the same call begins with: From, To and Call-ID lines.
	Dialog string
}

// Header is the first value of a header, empty if there is none.
func (a RawAnswer) Header(name string) string {
	for _, line := range strings.Split(a.Text, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// Ask asks, and returns every final answer in order: one, or two where a challenge was answered. An INVITE that is refused is
// acknowledged; one that is answered with 200 is too, and Bye ends it.
func (r *Raw) Ask(q RawRequest) []RawAnswer {
	r.t.Helper()
	if q.URI == "" {
		q.URI = fmt.Sprintf("sip:%s@%s", q.Number, r.to)
	}
	dialog := fmt.Sprintf("From: <sip:%s@%s>;tag=%s\r\nTo: <%s>\r\nCall-ID: %s\r\n",
		def(q.User, "stranger"), r.conn.LocalAddr(), rand.Text(), q.URI, rand.Text())
	first := r.exchange(q, dialog, 1, "")
	if first.Code != 401 || q.User == "" {
		return []RawAnswer{first}
	}
	return []RawAnswer{first, r.exchange(q, dialog, 2, "Authorization: "+r.credentials(q, first)+"\r\n")}
}

func def(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// credentials answers the last challenge of a 401: the one that every phone knows.
func (r *Raw) credentials(q RawRequest, a RawAnswer) string {
	r.t.Helper()
	chal, err := digest.ParseChallenge(a.Header("WWW-Authenticate"))
	if err != nil {
		r.t.Fatalf("challenge: %v\n%s", err, a.Text)
	}
	cred, err := digest.Digest(chal, digest.Options{Method: q.Method, URI: q.URI, Username: q.User, Password: q.Password, Count: 1})
	if err != nil {
		r.t.Fatal(err)
	}
	return cred.String()
}

func (r *Raw) exchange(q RawRequest, dialog string, seq int, more string) RawAnswer {
	r.t.Helper()
	for _, h := range q.Headers {
		more += h + "\r\n"
	}
	if q.Body != "" {
		more += "Content-Type: application/sdp\r\n"
	}
	branch := "z9hG4bK" + rand.Text()
	head := func(method, dialog string) string {
		return fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s\r\nMax-Forwards: 70\r\n%sCSeq: %d %s\r\nContact: <sip:raw@%s>\r\n",
			method, q.URI, r.conn.LocalAddr(), branch, dialog, seq, method, r.conn.LocalAddr())
	}
	r.Send(head(q.Method, dialog) + more + "Content-Length: " + strconv.Itoa(len(q.Body)) + "\r\n\r\n" + q.Body)
	a := r.Final(fmt.Sprintf("%d %s", seq, q.Method))
	if a.Dialog = dialog; a.Header("To") != "" {
		from, _, _ := strings.Cut(dialog, "\r\n")
		a.Dialog = from + "\r\nTo: " + a.Header("To") + "\r\nCall-ID: " + a.Header("Call-ID") + "\r\n"
	}
	if q.Method == "INVITE" {
		r.Send(head("ACK", a.Dialog) + "Content-Length: 0\r\n\r\n")
	}
	return a
}

// Bye ends a call that was answered.
func (r *Raw) Bye(a RawAnswer) {
	r.t.Helper()
	uri := strings.Trim(a.Header("Contact"), "<>")
	r.Send(fmt.Sprintf("BYE %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\n%sCSeq: 99 BYE\r\nContent-Length: 0\r\n\r\n",
		strings.Split(uri, ">")[0], r.conn.LocalAddr(), rand.Text(), a.Dialog))
	r.Final("99 BYE")
}

// Send sends text as it stands.
func (r *Raw) Send(text string) {
	r.t.Helper()
	if _, err := r.conn.WriteToUDPAddrPort([]byte(text), r.to); err != nil {
		r.t.Fatal(err)
	}
}

// Final waits for the final response with this CSeq, and passes over all else.
func (r *Raw) Final(cseq string) RawAnswer {
	r.t.Helper()
	buf := make([]byte, 65536)
	r.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		n, _, err := r.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			r.t.Fatalf("no answer to %s: %v", cseq, err)
		}
		a := RawAnswer{Text: string(buf[:n])}
		if f := strings.Fields(a.Text); len(f) > 1 && f[0] == "SIP/2.0" {
			a.Code, _ = strconv.Atoi(f[1])
		}
		if a.Code >= 200 && a.Header("CSeq") == cseq {
			return a
		}
	}
}

// Fetch gets a page from a host's own loopback; nil is this machine.
func Fetch(t testing.TB, n *Namespace, url string) string {
	t.Helper()
	c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	if n != nil {
		c.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, _, addr string) (conn net.Conn, err error) {
			err = n.Do(func() (err error) { conn, err = net.Dial("tcp", addr); return err })
			return conn, err
		}}
	}
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// Metric reads a figure from a page of metrics; −1 if it is not there.
func Metric(page, name string) float64 {
	for _, line := range strings.Split(page, "\n") {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			if f, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil {
				return f
			}
		}
	}
	return -1
}
