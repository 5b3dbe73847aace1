package guard

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
)

// The Via that sipgo sees: magic begins its branch, listParam holds the peer's own list.
const (
	magic     = "z9hG4bK"
	inside    = magic + "-g-"
	listParam = "via-list"
)

// via is one Via value.
type via struct {
	transport, host, port string
	params                []param
}

// parseVia reads one value: SIP/2.0/transport host[:port];params, with white space where §25.1 allows it.
func parseVia(value string) (via, error) {
	var v via
	p := scan{s: value}
	p.space()
	name := p.token()
	ok := p.take('/')
	version := p.token()
	ok = ok && p.take('/') && strings.EqualFold(name, "SIP") && version == "2.0"
	v.transport = strings.ToUpper(p.token())
	at := p.i
	p.space()
	if !ok || v.transport == "" || p.i == at {
		return v, errGrammar
	}
	var err error
	if v.host, err = p.host(); err != nil {
		return v, err
	}
	if p.take(':') {
		if v.port, err = p.port(); err != nil {
			return v, err
		}
	}
	if v.params, err = p.params(); err != nil {
		return v, err
	}
	if b, ok := find(v.params, "branch"); ok && !whole(b.value, isToken) {
		return v, errGrammar
	}
	return v, nil
}

func (v via) String() string {
	var b strings.Builder
	b.WriteString("SIP/2.0/" + v.transport + " " + v.host)
	if v.port != "" {
		b.WriteString(":" + v.port)
	}
	for _, q := range v.params {
		b.WriteString(q.String())
	}
	return b.String()
}

// parseVias reads the whole list, top first; an error if one is malformed.
func parseVias(t text) ([]via, error) {
	var out []via
	for _, v := range t.list("Via") {
		one, err := parseVia(v)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	if len(out) == 0 {
		return nil, errGrammar
	}
	return out, nil
}

// port is where an answer to a request with this top Via goes, on the address that it came from.
func (c *core) port(top via, from netip.AddrPort) uint16 {
	if _, ok := find(top.params, "rport"); !c.o.ViaPort || ok {
		return from.Port()
	}
	if top.port == "" {
		return 5060
	}
	n, _ := strconv.ParseUint(top.port, 10, 16)
	return uint16(n)
}

// answerTo is where the guard's own answer to t goes. A top Via that cannot be read has no port to offer.
func (c *core) answerTo(t text, p peer) netip.AddrPort {
	list := t.list("Via")
	if top, err := parseVia(list[0]); err == nil && p.network == "UDP" {
		return netip.AddrPortFrom(p.remote.Addr(), c.port(top, p.remote))
	}
	return p.remote
}

// insideVia is the Via for sipgo. Its branch is the same for a request, its retransmissions, its CANCEL and the ACK to
// its refusal, and for nothing else (RFC 3261 §17.2.3, and for peers without a branch the older rules there).
func (c *core) insideVia(t text, list []via, number, uri string, p peer) string {
	top := list[0]
	callID, _ := t.one("Call-ID")
	tag := t.tag("From")
	to, _ := t.one("To")
	if a, err := parseAddress(to); err == nil {
		to = a.uri // without the tag that an ACK has and its INVITE has not
	}
	branch, _ := find(top.params, "branch")
	id := []string{p.network, p.remote.Addr().String(), top.host, top.port, branch.value, callID, tag, number, uri, to}
	h := sha256.New()
	for _, s := range id {
		h.Write([]byte(strconv.Itoa(len(s)) + ":" + s))
	}
	sentBy := netip.AddrPortFrom(p.remote.Addr(), c.port(top, p.remote)).String()
	return "SIP/2.0/" + p.network + " " + sentBy +
		";branch=" + inside + hex.EncodeToString(h.Sum(nil)[:16]) +
		";" + listParam + "=" + base64.RawURLEncoding.EncodeToString([]byte(strings.Join(c.echo(list, p), "\n")))
}

// echo is the peer's Via list for its response: the top one with where the request came from (RFC 3261 §18.2.1, RFC 3581 §4).
func (c *core) echo(list []via, p peer) []string {
	out := make([]string, len(list))
	for i, v := range list {
		if i == 0 {
			v = c.received(v, p)
		}
		out[i] = clean(v.String())
	}
	return out
}

// received replaces what the peer may have claimed.
func (c *core) received(v via, p peer) via {
	asked := false
	var keep []param
	for _, q := range v.params {
		switch q.name {
		case "rport":
			asked = true
		case "received":
		default:
			keep = append(keep, q)
		}
	}
	source := p.remote.Addr().WithZone("").String()
	if asked || strings.Trim(v.host, "[]") != source {
		keep = append(keep, param{"received", source, true})
	}
	if asked {
		keep = append(keep, param{"rport", strconv.Itoa(int(p.remote.Port())), true})
	}
	v.params = keep
	return v
}

// outside puts the peer's Via list back into a response that sipgo wrote, and says where it is to go: what the guard's own
// Via says, whatever sipgo made of it. Anything else is returned as it is, with no address.
func outside(msg []byte) ([]byte, netip.AddrPort) {
	var to netip.AddrPort
	if !bytes.HasPrefix(msg, []byte("SIP/2.0 ")) {
		return msg, to
	}
	head := msg
	if end := bytes.Index(msg, crlfcrlf); end >= 0 {
		head = msg[:end]
	}
	from := bytes.Index(head, []byte("\r\nVia: SIP/2.0/"))
	if from < 0 {
		return msg, to
	}
	from += 2
	line := head[from:]
	if n := bytes.Index(line, crlf); n >= 0 {
		line = line[:n]
	}
	sentBy, params, ok := bytes.Cut(line, []byte(";branch="+inside))
	if !ok {
		return msg, to
	}
	to, _ = netip.ParseAddrPort(string(sentBy[bytes.LastIndexByte(sentBy, ' ')+1:]))
	_, packed, ok := bytes.Cut(params, []byte(";"+listParam+"="))
	if !ok {
		return msg, to
	}
	packed, _, _ = bytes.Cut(packed, []byte(";"))
	list := make([]byte, base64.RawURLEncoding.DecodedLen(len(packed)))
	if _, err := base64.RawURLEncoding.Decode(list, packed); err != nil {
		return msg, to
	}
	out := make([]byte, 0, len(msg)+len(list))
	out = append(out, msg[:from]...)
	for i, v := range bytes.Split(list, []byte("\n")) {
		if i > 0 {
			out = append(out, "\r\n"...)
		}
		out = append(append(out, "Via: "...), v...)
	}
	return append(out, msg[from+len(line):]...), to
}

// ownTag: is this the ACK to an answer of ours?
func (c *core) ownTag(t text, p peer) bool {
	return hmac.Equal([]byte(t.tag("To")), []byte(c.tag(t, p)))
}

// tag is the To tag of an answer without state: the same for a retransmission (RFC 3261 §8.2.7).
func (c *core) tag(t text, p peer) string {
	h := hmac.New(sha256.New, c.tagKey)
	callID, _ := t.one("Call-ID")
	cseq, _ := t.one("CSeq")
	number, _, _ := strings.Cut(strings.Join(strings.Fields(cseq), " "), " ")
	for _, s := range []string{"tag", p.remote.Addr().String(), callID, number} {
		h.Write([]byte(strconv.Itoa(len(s)) + ":" + s))
	}
	return "g" + hex.EncodeToString(h.Sum(nil)[:12])
}
