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
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// message builds a request or response from lines.
func lines(ls ...string) []byte { return []byte(strings.Join(ls, "\r\n") + "\r\n\r\n") }

// request is one that passes, with more lines in its head.
func request(more ...string) []byte {
	return lines(append([]string{"OPTIONS sip:1000@box SIP/2.0", "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKx", "From: <sip:a@b>;tag=1", "To: <sip:1000@box>",
		"Call-ID: c", "CSeq: 1 OPTIONS"}, more...)...)
}

// passed is what a header of in is for sipgo; a status if it was answered, "dropped" if it was that.
func passed(c *core, in []byte, name string) string {
	v := c.datagram(in, here, 65535)
	switch {
	case v.answer != nil:
		return status(v.answer)
	case v.pass == nil:
		return "dropped: " + v.reason.String()
	}
	head, body, _ := cutHead(v.pass)
	t := lex(head)
	switch name {
	case "":
		return t.start
	case "body":
		return string(body)
	}
	return strings.Join(t.all(name), " | ")
}

// TestMeaning: what RFC 4475 and 5118 say that the valid messages mean, in the form that sipgo gets.
func TestMeaning(t *testing.T) {
	tests := []struct{ file, header, want string }{
		{"rfc4475/wsinv", "", "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0"},
		{"rfc4475/wsinv", "To", "<sip:vivekg@chair-dnrc.example.com>;tag=1918181833n"},
		{"rfc4475/wsinv", "From", `"J Rosenberg \\\"" <sip:jdrosen@example.com>;tag=98asjd8`},
		{"rfc4475/wsinv", "Max-Forwards", "68"},
		{"rfc4475/wsinv", "CSeq", "9 INVITE"},
		{"rfc4475/wsinv", "Content-Length", "150"},
		{"rfc4475/wsinv", "Newfangledheader", "newfangled value continued newfangled value"},
		{"rfc4475/wsinv", "Route", "<sip:services.example.com;lr;unknownwith=value;unknown-no-value>"},
		{"rfc4475/wsinv", "Contact", "<sip:jdrosen@example.com>;newparam=newvalue;secondparam;q=0.33"},
		{"rfc4475/esc01", "", "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0"},
		{"rfc4475/esc01", "Contact", "<sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>"},
		{"rfc4475/escnull", "To", "<sip:null-%00-null@example.com>"},
		{"rfc4475/escnull", "Contact", "<sip:%00@host5.example.com> | <sip:%00%00@host5.example.com>"},
		{"rfc4475/lwsdisp", "From", `"caller" <sip:caller@example.com>;tag=323`},
		{"rfc4475/semiuri", "", "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0"},
		{"rfc4475/semiuri", "Accept", "application/sdp, application/pkcs7-mime, multipart/mixed, multipart/signed, message/sip, message/sipfrag"},
		{"rfc4475/dblreq", "", "REGISTER sip:example.com SIP/2.0"},
		{"rfc4475/dblreq", "body", ""},
		{"rfc4475/cparam01", "Contact", "<sip:+19725552222@gw1.example.net>;unknownparam"},
		{"rfc4475/cparam02", "Contact", "<sip:+19725552222@gw1.example.net;unknownparam>"},
		{"rfc4475/regescrt", "Contact", "<sip:user@example.com?Route=%3Csip:sip.example.com%3E>"},
		{"rfc4475/mpart01", "Content-Type", "multipart/mixed;boundary=7a9cbec02ceef655"},
		{"rfc4475/longreq", "Call-ID", "longreq.one" + strings.Repeat("really", 20) + "longcallid"},
		{"rfc5118/port-ambiguous", "", "REGISTER sip:[2001:db8::10:5070] SIP/2.0"},
		{"rfc5118/port-unambiguous", "", "REGISTER sip:[2001:db8::10]:5070 SIP/2.0"},
		{"rfc5118/ipv6-bug-abnf-3-colons", "", "OPTIONS sip:user@[2001:db8::c000:201] SIP/2.0"},
		{"rfc5118/ipv4-mapped-ipv6", "Contact", "<sip:ted@[::ffff:192.0.2.2]>"},
	}
	c := newCore(Options{Methods: append(DefaultMethods(), "MESSAGE")})
	for _, tt := range tests {
		if got := passed(c, torture(t, tt.file), tt.header); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.file, tt.header, got, tt.want)
		}
	}
	data := torture(t, "rfc4475/mpart01")
	_, body, _ := cutHead(data)
	if got := passed(c, data, "body"); got != string(body) || len(got) != 553 {
		t.Errorf("the body of mpart01 has changed: %d octets", len(got))
	}
}

// TestJudge: one change to a good request each, and what comes of it.
func TestJudge(t *testing.T) {
	good := string(request())
	swap := func(old, new string) []byte {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q", old)
		}
		return []byte(strings.Replace(good, old, new, 1))
	}
	tests := map[string]struct {
		in           []byte
		header, want string
	}{
		"as it is":                  {request(), "To", "<sip:1000@box>"},
		"lower-case method":         {swap("OPTIONS sip", "options sip"), "", "400"},
		"unknown method":            {[]byte(strings.ReplaceAll(good, "OPTIONS", "FLY")), "", "501"},
		"HTTP":                      {lines("GET / HTTP/1.1", "Host: x"), "", "dropped: garbage"},
		"no Via":                    {swap("Via:", "X:"), "", "dropped: garbage"},
		"empty Via":                 {swap("Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKx", "Via:"), "", "dropped: garbage"},
		"keep-alive":                {[]byte("\r\n\r\n"), "", "dropped: none"},
		"noise":                     {[]byte("\x00\x01\xff"), "", "dropped: garbage"},
		"version 2.1":               {swap("SIP/2.0\r\nVia", "SIP/2.1\r\nVia"), "", "505"},
		"lower-case version":        {swap("SIP/2.0\r\nVia", "sip/2.0\r\nVia"), "", "OPTIONS sip:1000@box SIP/2.0"},
		"URI with headers":          {swap("sip:1000@box SIP", "sip:1000@box?a=b SIP"), "", "400"},
		"question mark in the user": {swap("sip:1000@box SIP", "sip:10?0@box SIP"), "", "OPTIONS sip:10?0@box SIP/2.0"},
		"star code":                 {swap("sip:1000@box SIP", "sip:*31#1@box SIP"), "", "OPTIONS sip:*31%231@box SIP/2.0"},
		"two at signs":              {swap("sip:1000@box SIP", "sip:1000@a@box SIP"), "", "400"},
		"bad escape":                {swap("sip:1000@box SIP", "sip:1%0@box SIP"), "", "400"},
		"port 0":                    {swap("@box SIP", "@box:0 SIP"), "", "400"},
		"port too high":             {swap("@box SIP", "@box:65536 SIP"), "", "400"},
		"brackets in a parameter":   {swap("sip:1000@box SIP", "sip:box;maddr=[::1] SIP"), "", "OPTIONS sip:box;maddr=%5B::1%5D SIP/2.0"},
		"parameter twice":           {swap("@box SIP", "@box;a=1;A=2 SIP"), "", "400"},
		"tel is not for us":         {swap("sip:1000@box SIP", "tel:1000 SIP"), "", "416"},
		"CSeq 2^31":                 {swap("CSeq: 1 ", "CSeq: 2147483648 "), "", "400"},
		"CSeq 2^31-1":               {swap("CSeq: 1 ", "CSeq: 2147483647 "), "CSeq", "2147483647 OPTIONS"},
		"negative CSeq":             {swap("CSeq: 1 ", "CSeq: -1 "), "", "400"},
		"Max-Forwards 256":          {request("Max-Forwards: 256"), "", "400"},
		"From twice":                {request("From: <sip:a@b>;tag=2"), "", "400"},
		"same Content-Length twice": {request("Content-Length: 0", "l: 0"), "", "400"},
		"Content-Length with plus":  {request("Content-Length: +0"), "", "400"},
		"endless Content-Length":    {request("Content-Length: 99999999999999999999"), "", "400"},
		"two tags":                  {swap("tag=1", "tag=1;tag=2"), "", "400"},
		"tag hidden in quotes":      {swap("tag=1", `tag=1;x="a;tag=2"`), "From", "<sip:a@b>;tag=1"},
		"no tag":                    {swap(";tag=1", ""), "From", "<sip:a@b>"},
		"bare LF":                   {swap("To: ", "Q: y\nTo: "), "", "400"},
		"control character":         {request("Q: a\x01b"), "Q", "a?b"},
		"not UTF-8":                 {request("Q: a\xffb"), "Q", "a?b"},
		"no colon":                  {request("Q"), "", "400"},
		"space in the name":         {request("Q y: z"), "", "400"},
		"first line folded":         {swap("\r\nVia", "\r\n Via"), "", "dropped: garbage"},
		"list in two lines":         {request("Supported: timer", "k: replaces, 100rel"), "Supported", "timer, replaces, 100rel"},
		"Require of what is there":  {request("Require: TIMER"), "Require", "TIMER"},
		"Require of something else": {request("Require: timer, x", "Require: y"), "", "420"},
		"Contact star":              {request("Contact: *"), "", "400"},
		"two Contacts":              {request("Contact: <sip:a@b>, \"x, \\\" y\" <sip:c@d>;q=0.1"), "Contact", "<sip:a@b> | <sip:c@d>;q=0.1"},
		"forged stamp":              {request("Parley-Arrival: TCP 127.0.0.1:1 127.0.0.1:2 x"), "Parley-Arrival", ""},
		"expires beyond 32 bit":     {request("Expires: 99999999999999"), "Expires", "4294967295"},
		"address of 2543's time":    {swap("<sip:a@b>;tag=1", "sip:a@b;tag=1"), "From", "<sip:a@b>;tag=1"},
		"response":                  {lines("SIP/2.0 200 OK", "Via: SIP/2.0/UDP h;branch=z9hG4bKq", "From: <sip:a@b>", "To: <sip:a@b>", "Call-ID: c", "CSeq: 1 INVITE"), "Via", "SIP/2.0/UDP h;branch=z9hG4bKq"},
		"response for another":      {lines("SIP/2.0 200 OK", "Via: SIP/2.0/UDP h, SIP/2.0/UDP i", "From: <sip:a@b>", "To: <sip:a@b>", "Call-ID: c", "CSeq: 1 INVITE"), "", "dropped: bad response"},
		"response 099":              {lines("SIP/2.0 099 OK", "Via: SIP/2.0/UDP h", "From: <sip:a@b>", "To: <sip:a@b>", "Call-ID: c", "CSeq: 1 INVITE"), "", "dropped: bad response"},
		"response without CSeq":     {lines("SIP/2.0 200 OK", "Via: SIP/2.0/UDP h", "From: <sip:a@b>", "To: <sip:a@b>", "Call-ID: c"), "", "dropped: bad response"},
		"malformed ACK":             {[]byte(strings.ReplaceAll(strings.Replace(good, "tag=1", "tag=", 1), "OPTIONS", "ACK")), "", "dropped: bad ACK"},
		"ACK with Require":          {[]byte(strings.ReplaceAll(string(request("Require: x")), "OPTIONS", "ACK")), "", "ACK sip:1000@box SIP/2.0"},
		"CANCEL with Require":       {[]byte(strings.ReplaceAll(string(request("Require: x")), "OPTIONS", "CANCEL")), "", "CANCEL sip:1000@box SIP/2.0"},
		"too many headers":          {request(slices.Repeat([]string{"Q: y"}, 300)...), "", "400"},
		"header too long":           {request("Q: " + strings.Repeat("y", 9000)), "", "400"},
	}
	c := newCore(Options{Extensions: []string{"timer"}})
	for name, tt := range tests {
		if got := passed(c, tt.in, tt.header); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	for _, tt := range []struct{ method, more, body, want string }{
		{"INVITE", "Content-Type: application/sdp", "v=0", "INVITE sip:1000@box SIP/2.0"},
		{"INVITE", "c: Application / SDP ;charset=x", "v=0", "INVITE sip:1000@box SIP/2.0"},
		{"INVITE", "Content-Type: text/plain", "v=0", "415"},
		{"INVITE", "Content-Type: text/plain", "", "INVITE sip:1000@box SIP/2.0"},
		{"INVITE", "Q: y", "v=0", "400"},
		{"INVITE", "Content-Type: application/sdp\r\nContent-Encoding: gzip", "v=0", "415"},
		{"INVITE", "Content-Type: text/plain\r\nContent-Disposition: session; handling=optional", "v", "INVITE sip:1000@box SIP/2.0"},
		{"INVITE", "Accept: text/plain, application/*;q=0.1", "", "INVITE sip:1000@box SIP/2.0"},
		{"INVITE", "Accept: text/plain, application/sdp;q=0.0", "", "406"},
		{"INVITE", "Accept:", "", "406"},
		{"BYE", "Accept: text/plain", "", "BYE sip:1000@box SIP/2.0"},
		{"INFO", "Content-Type: application/dtmf-relay", "Signal=1", "INFO sip:1000@box SIP/2.0"},
		{"SUBSCRIBE", "Content-Type: text/plain", "v", "SUBSCRIBE sip:1000@box SIP/2.0"}, // not listed: any
	} {
		in := strings.ReplaceAll(string(request(tt.more, "Contact: <sip:a@b>")), "OPTIONS", tt.method) + tt.body
		if got := passed(c, []byte(in), ""); got != tt.want {
			t.Errorf("%s %q: %q, want %q", tt.method, tt.more, got, tt.want)
		}
	}
}

func TestAnswerNamesWhatIsMissing(t *testing.T) {
	c := newCore(Options{})
	for in, want := range map[string]string{
		"Require: x, timer\r\nProxy-Require: z":         "Unsupported: x, timer\r\n",
		"Content-Type: text/plain\r\nContent-Length: 1": "Accept: application/sdp\r\n",
		"Content-Encoding: gzip\r\nContent-Length: 1":   "Accept-Encoding: identity\r\n",
		"Accept: text/plain":                            "Accept: application/sdp\r\n",
	} {
		msg := strings.ReplaceAll(string(request(in)), "OPTIONS", "INVITE")
		if strings.Contains(in, "Content-Length") {
			msg += "v"
		}
		v := c.datagram([]byte(msg), here, 65535)
		if !bytes.Contains(v.answer, []byte(want)) || bytes.Contains(v.answer, []byte("z\r\n")) {
			t.Errorf("%q: %q", in, v.answer)
		}
	}
	v := c.datagram([]byte(strings.ReplaceAll(string(request()), "OPTIONS", "FLY")), here, 65535)
	if !bytes.Contains(v.answer, []byte("Allow: INVITE, ACK, ")) {
		t.Errorf("%q", v.answer)
	}
}

// An answer's tag is the same for a repetition, and the ACK that bears it goes no further.
func TestAnswersHaveNoState(t *testing.T) {
	c := newCore(Options{})
	invite := []byte(strings.ReplaceAll(string(request("Require: x")), "OPTIONS", "INVITE"))
	a, b := c.datagram(invite, here, 65535), c.datagram(invite, here, 65535)
	if !bytes.Equal(a.answer, b.answer) {
		t.Error("a repetition got another answer")
	}
	if v := c.datagram(ack(invite, a.answer), here, 65535); v.reason != StrayAck {
		t.Errorf("its ACK: %v", v.reason)
	}
	forged := bytes.Replace(ack(invite, a.answer), []byte("tag=g"), []byte("tag=h"), 1)
	if v := c.datagram(forged, here, 65535); v.pass == nil {
		t.Errorf("another ACK: %v", v.reason)
	}
}

// Nothing goes to where no single host is, whoever asks for it.
func TestDestinations(t *testing.T) {
	c := newCore(Options{})
	for _, from := range []string{"255.255.255.255:5060", "224.0.1.75:5060", "0.0.0.0:5060", "192.0.2.7:0", "[ff02::1]:5060", "[::]:5060", "[fe80::1%eth0]:5060"} {
		p := here
		p.remote = netip.MustParseAddrPort(from)
		for _, in := range [][]byte{request(), request("Require: x")} {
			if v := c.datagram(in, p, 65535); v.pass != nil || v.answer != nil || v.reason != NoReach {
				t.Errorf("%s: %+v", from, v)
			}
		}
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	g := PacketConn(pc, Options{})
	for _, to := range []string{"255.255.255.255:5060", "224.0.1.75:5060", "0.0.0.0:5060"} {
		if _, err := g.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))); !errors.Is(err, ErrDestination) {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// Where an answer goes: the source's port, or with ViaPort the one that RFC 3261 §18.2.2 and RFC 3581 say.
func TestAnswerPort(t *testing.T) {
	for _, tt := range []struct {
		viaPort bool
		via     string
		want    string
		echo    string
	}{
		{false, "SIP/2.0/UDP 192.0.2.7:9;branch=z9hG4bKx", "192.0.2.7:5062", "SIP/2.0/UDP 192.0.2.7:9;branch=z9hG4bKx"},
		{false, "SIP/2.0/UDP h:9;rport;branch=z9hG4bKx", "192.0.2.7:5062", "SIP/2.0/UDP h:9;branch=z9hG4bKx;received=192.0.2.7;rport=5062"},
		{false, "SIP/2.0/UDP h:9;maddr=239.255.255.1;received=198.51.100.1;rport=7;branch=z9hG4bKx", "192.0.2.7:5062", "SIP/2.0/UDP h:9;maddr=239.255.255.1;branch=z9hG4bKx;received=192.0.2.7;rport=5062"},
		{true, "SIP/2.0/UDP 198.51.100.1:9;branch=z9hG4bKx", "192.0.2.7:9", "SIP/2.0/UDP 198.51.100.1:9;branch=z9hG4bKx;received=192.0.2.7"},
		{true, "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKx", "192.0.2.7:5060", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKx"},
		{true, "SIP/2.0/UDP 192.0.2.7:9;rport;branch=z9hG4bKx", "192.0.2.7:5062", "SIP/2.0/UDP 192.0.2.7:9;branch=z9hG4bKx;received=192.0.2.7;rport=5062"},
	} {
		c := newCore(Options{ViaPort: tt.viaPort})
		in := func(more ...string) []byte {
			return bytes.Replace(request(more...), []byte("SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKx"), []byte(tt.via), 1)
		}
		v := c.datagram(in("Require: x"), here, 65535)
		if v.to.String() != tt.want || !bytes.Contains(v.answer, []byte("\r\nVia: "+tt.echo+"\r\n")) {
			t.Errorf("%s: to %v %q", tt.via, v.to, v.answer)
		}
		// sipgo's own answer goes the same way, with the same list.
		msg, err := sip.ParseMessage(c.datagram(in(), here, 65535).pass)
		if err != nil {
			t.Fatal(err)
		}
		req := msg.(*sip.Request)
		if got := net.JoinHostPort(req.Via().Host, fmt.Sprint(req.Via().Port)); got != tt.want {
			t.Errorf("%s: sipgo's Via says %s, want %s", tt.via, got, tt.want)
		}
		req.SetSource(tt.want)
		out := outside([]byte(sip.NewResponseFromRequest(req, 200, "OK", nil).String()))
		if !bytes.Contains(out, []byte("\r\nVia: "+tt.echo+"\r\n")) {
			t.Errorf("%s: %q", tt.via, out)
		}
	}
}

// branches: the same for what is one transaction, different for what is not.
func TestTransactions(t *testing.T) {
	c := newCore(Options{})
	base := strings.ReplaceAll(string(request()), "OPTIONS", "INVITE")
	branch := func(s string, p peer) string {
		return strings.Split(passedFrom(c, []byte(s), p), ";")[1]
	}
	want := branch(base, here)
	cancel := strings.ReplaceAll(base, "INVITE", "CANCEL")
	ackMsg := strings.Replace(strings.ReplaceAll(base, "INVITE", "ACK"), "To: <sip:1000@box>", "To: <sip:1000@box>;tag=x", 1)
	otherPort := here
	otherPort.remote = netip.MustParseAddrPort("192.0.2.7:7777")
	for what, got := range map[string]string{"repetition": branch(base, here), "CANCEL": branch(cancel, here), "ACK": branch(ackMsg, here),
		"another port": branch(base, otherPort), "behind a proxy": branch(strings.Replace(cancel, "SIP/2.0/UDP 192.0.2.7", "SIP/2.0/UDP 192.0.2.7", 1), here)} {
		if got != want {
			t.Errorf("%s has a branch of its own", what)
		}
	}
	stranger := here
	stranger.remote = netip.MustParseAddrPort("192.0.2.8:5062")
	other := map[string]string{
		"another address": branch(cancel, stranger),
		"Call-ID":         branch(strings.Replace(base, "Call-ID: c", "Call-ID: d", 1), here),
		"From tag":        branch(strings.Replace(base, "tag=1", "tag=2", 1), here),
		"CSeq":            branch(strings.Replace(base, "CSeq: 1", "CSeq: 2", 1), here),
		"URI":             branch(strings.Replace(base, "sip:1000@box SIP", "sip:1001@box SIP", 1), here),
		"branch":          branch(strings.Replace(base, "z9hG4bKx", "z9hG4bKy", 1), here),
		"no branch":       branch(strings.Replace(base, ";branch=z9hG4bKx", "", 1), here),
		"empty branch":    branch(strings.Replace(base, "z9hG4bKx", "z9hG4bK", 1), here),
	}
	seen := map[string]string{want: "itself"}
	for what, got := range other {
		if was, twice := seen[got]; twice {
			t.Errorf("%s shares a transaction with %s", what, was)
		}
		seen[got] = what
	}
}

func passedFrom(c *core, in []byte, p peer) string {
	head, _, _ := cutHead(c.datagram(in, p, 65535).pass)
	t := lex(head)
	return t.all("Via")[0]
}

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
