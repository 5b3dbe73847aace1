package guard

import (
	"net/netip"
	"slices"
	"strings"
)

// host reads a host and returns it as it is to be written; an IPv6 reference with one colon too many is put right
// (RFC 5118 §4.10).
func (p *scan) host() (string, error) {
	if p.peek() != '[' {
		h := p.while(func(c byte) bool { return isAlnum(c) || c == '.' || c == '-' || c == '_' })
		if h == "" || len(h) > 253 {
			return "", errGrammar
		}
		return h, nil
	}
	end := strings.IndexByte(p.s[p.i:], ']')
	if end < 0 {
		return "", errGrammar
	}
	text := p.s[p.i+1 : p.i+end]
	a, err := netip.ParseAddr(strings.Replace(text, ":::", "::", 1))
	if err != nil || !a.Is6() || a.Zone() != "" {
		return "", errGrammar
	}
	p.i += end + 1
	if len(text) > 39 || strings.Contains(text, ":::") {
		text = a.String() // sipgo looks at 42 octets at most
	}
	return "[" + text + "]", nil
}

// port reads digits, 1 to 65535.
func (p *scan) port() (string, error) {
	d := p.while(isDigit)
	if d == "" || len(d) > 5 {
		return "", errGrammar
	}
	n := 0
	for _, c := range []byte(d) {
		n = n*10 + int(c-'0')
	}
	if n == 0 || n > 65535 {
		return "", errGrammar
	}
	return d, nil
}

// scheme is what stands before the first colon, in lower case; empty if that is no scheme.
func scheme(uri string) string {
	s, _, ok := strings.Cut(uri, ":")
	if !ok || s == "" || !isAlnum(s[0]) || isDigit(s[0]) {
		return ""
	}
	if !whole(s, func(c byte) bool { return isAlnum(c) || c == '+' || c == '-' || c == '.' }) {
		return ""
	}
	return strings.ToLower(s)
}

// canonicalURI checks a URI. A SIP URI is held to RFC 3261 §19.1 and written so that sipgo reads the same out of it; of
// another one only the scheme and the characters are judged.
func canonicalURI(s string) (string, error) {
	sch := scheme(s)
	if sch == "" || len(s) > maxURI {
		return "", errGrammar
	}
	rest := s[len(sch)+1:]
	if sch != "sip" && sch != "sips" {
		if rest == "" || !whole(rest, func(c byte) bool { return c > ' ' && c < 0x7f && strings.IndexByte(`<>"{}|\^`, c) < 0 }) {
			return "", errGrammar
		}
		return sch + ":" + rest, nil
	}
	var b strings.Builder
	b.WriteString(sch + ":")
	if user, after, ok := strings.Cut(rest, "@"); ok {
		name, pass, hasPass := strings.Cut(user, ":")
		name = strings.ReplaceAll(name, "#", "%23") // phones send star codes bare
		if name == "" || !escaped(name, "&=+$,;?/") || hasPass && !escaped(pass, "&=+$,") {
			return "", errGrammar
		}
		b.WriteString(name)
		if hasPass {
			b.WriteString(":" + pass)
		}
		b.WriteString("@")
		rest = after
	}
	p := scan{s: rest}
	host, err := p.host()
	if err != nil {
		return "", err
	}
	b.WriteString(host)
	if p.peek() == ':' {
		p.i++
		port, err := p.port()
		if err != nil {
			return "", err
		}
		b.WriteString(":" + port)
	}
	tail, headers, hasHeaders := strings.Cut(p.s[p.i:], "?")
	if err := uriParams(&b, tail); err != nil {
		return "", err
	}
	if hasHeaders {
		if !uriHeaders(headers) {
			return "", errGrammar
		}
		b.WriteString("?" + unbracket.Replace(headers))
	}
	return b.String(), nil
}

// unbracket: sipgo takes the first bracket anywhere in a URI without a user for the host's; an escape means the same.
var unbracket = strings.NewReplacer("[", "%5B", "]", "%5D")

func uriParams(b *strings.Builder, s string) error {
	if s == "" {
		return nil
	}
	if s[0] != ';' {
		return errGrammar
	}
	var names []string
	for q := range strings.SplitSeq(s[1:], ";") {
		name, value, valued := strings.Cut(q, "=")
		const also = "[]/:&+$"
		if name == "" || !escaped(name, also) || valued && (value == "" || !escaped(value, also)) || len(names) >= maxParams {
			return errGrammar
		}
		name = lowerKnown(name)
		if slices.Contains(names, strings.ToLower(name)) {
			return errGrammar
		}
		names = append(names, strings.ToLower(name))
		b.WriteString(";" + unbracket.Replace(name))
		if valued {
			b.WriteString("=" + unbracket.Replace(value))
		}
	}
	return nil
}

func uriHeaders(s string) bool {
	n := 0
	for q := range strings.SplitSeq(s, "&") {
		name, value, valued := strings.Cut(q, "=")
		const also = "[]/?:+$"
		if n++; name == "" || !valued || !escaped(name, also) || !escaped(value, also) || n > maxParams {
			return false
		}
	}
	return true
}
