package guard

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

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

// What sipgo would cut off is refused instead.
func TestNoRoomInTheReader(t *testing.T) {
	c := newCore(Options{})
	long := append(request("Content-Length: 5000"), make([]byte, 5000)...)
	if v := c.datagram(long, here, 4096); status(v.answer) != "513" || v.to != here.remote {
		t.Errorf("%+v", v)
	}
	if v := c.datagram(bytes.ReplaceAll(long, []byte("OPTIONS"), []byte("ACK")), here, 4096); v.answer != nil || v.pass != nil {
		t.Errorf("%+v", v)
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
		out, to := outside([]byte(sip.NewResponseFromRequest(req, 200, "OK", nil).String()))
		if to.String() != tt.want || !bytes.Contains(out, []byte("\r\nVia: "+tt.echo+"\r\n")) {
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
