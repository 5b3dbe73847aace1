package guard

import (
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// fault is what is wrong with a request, and what it is answered with.
type fault struct {
	code   int
	reason string // a constant of ours: it goes into the status line
	extra  []field
}

func bad(reason string) *fault { return &fault{code: 400, reason: reason} }

// startLine is a first line taken apart.
type startLine struct {
	response            bool
	method, uri, reason string
	version             string
	code                int
	spaced              bool // more spaces than the two that belong there
}

// parseStart reads the first line; false if it is not SIP's at all.
func parseStart(s string) (startLine, bool) {
	var l startLine
	if len(s) >= 4 && strings.EqualFold(s[:4], "SIP/") {
		l.response = true
		version, rest, ok := strings.Cut(s, " ")
		code, reason, _ := strings.Cut(rest, " ")
		l.version, l.reason = strings.ToUpper(version), clean(reason)
		n, err := strconv.Atoi(code)
		if err == nil && len(code) == 3 {
			l.code = n // otherwise none that there is
		}
		return l, ok && whole(code, isDigit)
	}
	trimmed := strings.TrimRight(s, " \t")
	i := strings.LastIndexByte(trimmed, ' ')
	j := strings.IndexByte(trimmed, ' ')
	if i <= j || j <= 0 {
		return l, false
	}
	l.method, l.version = trimmed[:j], strings.ToUpper(trimmed[i+1:])
	l.uri = strings.Trim(trimmed[j+1:i], " \t")
	l.spaced = len(trimmed) != len(s) || len(l.uri) != i-j-1
	number, ok := strings.CutPrefix(l.version, "SIP/")
	major, minor, dot := strings.Cut(number, ".")
	return l, ok && dot && whole(major, isDigit) && whole(minor, isDigit)
}

// judge decides on a message: its lines, its body and what its framing was found to lack.
func (c *core) judge(t text, body []byte, framing *fault, p peer) verdict {
	start, ok := parseStart(t.start)
	if !ok || len(t.list("Via")) == 0 {
		return verdict{reason: Garbage}
	}
	if start.response {
		if framing == nil {
			if out := c.response(t, start, body, p); out != nil {
				if c.screen(t, start, p) != nil {
					return verdict{reason: Screened}
				}
				return verdict{pass: out}
			}
		}
		return verdict{reason: BadResponse}
	}
	m, f := c.request(t, start, body, p)
	if framing != nil && (f == nil || f.code != 505) {
		f = framing
	}
	reason := Answered
	if f == nil {
		out := m.bytes()
		switch {
		case start.method == "ACK" && c.ownTag(t, p):
			return verdict{reason: StrayAck}
		case !reachable(p.remote):
			return verdict{reason: NoReach}
		case len(out) > 65535:
			f = &fault{code: 513, reason: "Message Too Large"}
		case !digestible(out):
			f = bad("Bad Request")
		default:
			if f = c.screen(t, start, p); f == nil {
				return verdict{pass: out}
			}
			reason = Screened
		}
	}
	if start.method == "ACK" {
		if reason == Answered {
			reason = BadAck
		}
		return verdict{reason: reason}
	}
	to := c.answerTo(t, p)
	if !reachable(to) {
		return verdict{reason: NoReach}
	}
	return verdict{answer: c.answer(t, f, p), to: to, reason: reason}
}

// screen asks Options.Screen, if there is one.
func (c *core) screen(t text, l startLine, p peer) *fault {
	if c.o.Screen == nil {
		return nil
	}
	e := Envelope{Arrival: Arrival{Network: p.network, Remote: p.remote, Local: p.local, Names: p.names},
		Status: l.code, Method: l.method, URI: l.uri, Authorization: t.all("Authorization")}
	if user, _, ok := strings.Cut(l.uri, "@"); ok {
		_, user, _ = strings.Cut(user, ":")
		e.User, _, _ = strings.Cut(user, ":")
	}
	e.CallID, _ = t.one("Call-ID")
	e.FromTag, e.ToTag = t.tag("From"), t.tag("To")
	if l.response {
		cseq, _ := t.one("CSeq")
		if f := strings.Fields(cseq); len(f) == 2 {
			e.Method = f[1]
		}
	}
	a := c.o.Screen(e)
	if a == nil {
		return nil
	}
	f := &fault{code: a.Code, reason: clean(a.Reason)}
	for _, h := range a.Headers {
		f.extra = append(f.extra, field{h[0], h[1]})
	}
	return f
}

// digestible asks sipgo's own parser, so that nothing is handed on that it would drop without a word, or fall over.
func digestible(msg []byte) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	_, err := sip.ParseMessage(msg)
	return err == nil
}

// message is one in canonical form.
type message struct {
	start  string
	fields []field
	body   []byte
}

func (m *message) add(name, value string) { m.fields = append(m.fields, field{name, value}) }

func (m *message) bytes() []byte {
	n := len(m.start) + len(m.body) + 64
	for _, f := range m.fields {
		n += len(f.name) + len(f.value) + 4
	}
	b := make([]byte, 0, n)
	b = append(append(b, m.start...), "\r\n"...)
	for _, f := range m.fields {
		b = append(append(append(append(b, f.name...), ": "...), f.value...), "\r\n"...)
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(m.body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, m.body...)
}

// request checks what RFC 3261 §8.2 has a user agent server check before it looks at what is asked, in its order.
func (c *core) request(t text, l startLine, body []byte, p peer) (*message, *fault) {
	if l.version != "SIP/2.0" {
		return nil, &fault{code: 505, reason: "Version Not Supported"}
	}
	if t.bad != "" {
		return nil, bad(t.bad)
	}
	if l.spaced || strings.ContainsAny(l.uri, " \t") || !whole(l.method, isToken) {
		return nil, bad("Bad Request-Line")
	}
	m := &message{body: body}
	via, err := parseVias(t)
	if err != nil {
		return nil, bad("Bad Via")
	}
	for _, must := range []string{"From", "To", "Call-ID", "CSeq"} {
		if len(t.all(must)) == 0 {
			return nil, bad("Missing " + must)
		}
	}
	if f := c.fields(m, t, l.method); f != nil {
		return nil, f
	}
	cseq, _ := t.one("CSeq")
	number, method, _ := strings.Cut(strings.Join(strings.Fields(cseq), " "), " ")
	if method != l.method {
		return nil, bad("CSeq Method Mismatch")
	}
	if f := c.supported(t, l, body); f != nil {
		return nil, f
	}
	uri, err := canonicalURI(l.uri)
	if err != nil || hasHeaders(uri) {
		return nil, bad("Bad Request-URI") // RFC 3261 §19.1.1: no headers here
	}
	m.start = l.method + " " + uri + " SIP/2.0"
	m.fields = append([]field{{"Via", c.insideVia(t, via, number, l.uri, p)}}, m.fields...)
	if stamp := c.stamp(p); stamp != "" {
		m.add(ArrivalHeader, stamp)
	}
	return m, nil
}

// supported asks for method, scheme, extensions and body (RFC 3261 §8.2.1 to §8.2.3). ACK is not refused for what it
// brings, nor CANCEL for what it requires.
func (c *core) supported(t text, l startLine, body []byte) *fault {
	if !slices.Contains(c.o.Methods, l.method) {
		return &fault{501, "Not Implemented", []field{{"Allow", strings.Join(c.o.Methods, ", ")}}}
	}
	sch := scheme(l.uri)
	if sch == "" {
		return bad("Bad Request-URI")
	}
	if !slices.Contains(c.o.Schemes, sch) {
		return &fault{416, "Unsupported URI Scheme", nil}
	}
	if l.method == "ACK" || l.method == "CANCEL" {
		return nil
	}
	var unknown []string
	for _, tag := range t.list("Require") {
		if !whole(tag, isToken) {
			return bad("Bad Require")
		}
		if !foldIn(c.o.Extensions, tag) {
			unknown = append(unknown, tag)
		}
	}
	if unknown != nil {
		return &fault{420, "Bad Extension", []field{{"Unsupported", strings.Join(unknown, ", ")}}}
	}
	if f := c.takesBody(t, l.method, body); f != nil {
		return f
	}
	if produced, ok := c.o.Accepts[l.method]; ok && len(t.all("Accept")) > 0 && !acceptable(t.list("Accept"), produced) {
		return &fault{406, "Not Acceptable", []field{{"Accept", strings.Join(produced, ", ")}}}
	}
	return nil
}

// hasHeaders: a SIP URI with ?name=value behind its host.
func hasHeaders(uri string) bool {
	if s := scheme(uri); s != "sip" && s != "sips" {
		return false
	}
	if _, after, ok := strings.Cut(uri, "@"); ok {
		uri = after
	}
	return strings.Contains(uri, "?")
}

func (c *core) takesBody(t text, method string, body []byte) *fault {
	if len(body) == 0 {
		return nil
	}
	for _, e := range t.list("Content-Encoding") {
		if !strings.EqualFold(e, "identity") {
			return &fault{415, "Unsupported Media Type", []field{{"Accept-Encoding", "identity"}}}
		}
	}
	types, limited := c.o.Bodies[method]
	if !limited {
		return nil
	}
	ct, ok := t.one("Content-Type")
	if !ok {
		return bad("Missing Content-Type")
	}
	if d, _ := t.one("Content-Disposition"); strings.Contains(strings.ToLower(d), "handling=optional") {
		return nil
	}
	media, _, _ := strings.Cut(ct, ";")
	if !foldIn(types, strings.Join(strings.Fields(media), "")) {
		return &fault{415, "Unsupported Media Type", []field{{"Accept", strings.Join(types, ", ")}}}
	}
	return nil
}

// acceptable: one of ours is within one of the ranges (RFC 3261 §20.1); an empty Accept accepts nothing.
func acceptable(ranges, ours []string) bool {
	for _, r := range ranges {
		r, params, _ := strings.Cut(strings.ToLower(r), ";")
		r = strings.Join(strings.Fields(r), "")
		if q := strings.Join(strings.Fields(params), ""); q == "q=0" || strings.HasPrefix(q, "q=0.0") && strings.Trim(q[4:], "0.") == "" {
			continue
		}
		for _, o := range ours {
			kind, _, _ := strings.Cut(o, "/")
			if r == "*/*" || r == kind+"/*" || r == o {
				return true
			}
		}
	}
	return false
}

// response makes a response canonical; nil if it is malformed, or was meant to go on from here (RFC 3261 §8.1.3.3).
func (c *core) response(t text, l startLine, body []byte, p peer) []byte {
	if l.version != "SIP/2.0" || l.code < 100 || l.code > 699 || t.bad != "" {
		return nil
	}
	via, err := parseVias(t)
	if err != nil || len(via) != 1 {
		return nil
	}
	for _, q := range via[0].params {
		if strings.HasPrefix(q.value, `"`) {
			return nil // sipgo would misread it, and none of our own making looks so
		}
	}
	for _, must := range []string{"From", "To", "Call-ID", "CSeq"} {
		if len(t.all(must)) == 0 {
			return nil
		}
	}
	m := &message{start: "SIP/2.0 " + strconv.Itoa(l.code) + " " + l.reason, body: body}
	m.add("Via", via[0].String())
	if c.fields(m, t, "") != nil {
		return nil
	}
	if stamp := c.stamp(p); stamp != "" {
		m.add(ArrivalHeader, stamp)
	}
	out := m.bytes()
	if len(out) > 65535 || !digestible(out) {
		return nil
	}
	return out
}
