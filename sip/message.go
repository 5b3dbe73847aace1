// Messages: what ours look like, and what may be read out of others'.

package sip

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	gosip "github.com/emiago/sipgo/sip"
)

// Bounds on text that goes into or comes out of headers, in bytes.
const (
	maxName   = 128
	maxReason = 128
	maxNumber = 128
	maxURI    = 512
	maxHeader = 1024
)

// methods is our Allow header; the box sends nothing but SDP in an INVITE.
const (
	methods  = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, REFER, SUBSCRIBE, NOTIFY, REGISTER"
	sdpType  = "application/sdp"
	fragType = "message/sipfrag"
	infoType = "application/conference-info+xml"
)

// reasons are the phrases of RFC 3261, 21, and of the RFCs that added codes.
var reasons = map[int]string{
	100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 202: "Accepted",
	400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
	406: "Not Acceptable", 408: "Request Timeout", 410: "Gone", 415: "Unsupported Media Type",
	416: "Unsupported URI Scheme", 420: "Bad Extension", 422: "Session Interval Too Small", 423: "Interval Too Brief",
	480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected",
	484: "Address Incomplete", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here",
	489: "Bad Event", 491: "Request Pending", 500: "Server Internal Error", 501: "Not Implemented",
	503: "Service Unavailable", 504: "Server Time-out", 600: "Busy Everywhere", 603: "Decline",
}

// phrase is the usual reason for code.
func phrase(code int) string {
	if r := reasons[code]; r != "" {
		return r
	}
	return [...]string{"Trying", "OK", "Moved", "Request Failure", "Server Failure", "Global Failure"}[min(max(code/100, 1), 6)-1]
}

// response is an answer to req as RFC 3261, 8.2.6 wants it, with our Server header.
func (a *Agent) response(req *gosip.Request, code int, reason string, body []byte, headers ...gosip.Header) *gosip.Response {
	if reason == "" {
		reason = phrase(code)
	}
	res := gosip.NewResponseFromRequest(req, code, reason, body)
	if via := res.Via(); via != nil {
		if host, _, err := net.SplitHostPort(req.Source()); err == nil && host != strings.Trim(via.Host, "[]") {
			via.Params.Add("received", host) // 18.2.1
		}
	}
	for _, h := range headers {
		res.AppendHeader(h)
	}
	if code > 100 {
		res.AppendHeader(gosip.NewHeader("Server", a.cfg.UserAgent))
	}
	return res
}

func (a *Agent) allow() gosip.Header { return gosip.NewHeader("Allow", methods) }

// abilities are the headers that tell what we can do.
func (a *Agent) abilities() []gosip.Header {
	hs := []gosip.Header{
		a.allow(),
		supported(),
		gosip.NewHeader("Accept", sdpType),
	}
	if a.cfg.ConferenceInfo != nil {
		hs = append(hs, gosip.NewHeader("Allow-Events", "conference"))
	}
	return hs
}

// extensions are the option tags that we know (RFC 4028, RFC 3891, RFC 4488).
func extensions() []string { return []string{"timer", "replaces", "norefersub"} }

// supported is our Supported header.
func supported() gosip.Header { return gosip.NewHeader("Supported", strings.Join(extensions(), ", ")) }

func retryAfter(seconds int) gosip.Header {
	return gosip.NewHeader("Retry-After", strconv.Itoa(seconds))
}

// header is the value of a header, empty if there is none.
func header(m gosip.Message, name string) string {
	for _, h := range m.GetHeaders(name) {
		return h.Value()
	}
	return ""
}

// tokens are the values of a header that is a comma-separated list, in lower case, from all its lines. At most 32.
func tokens(m gosip.Message, names ...string) []string {
	var out []string
	for _, name := range names {
		for _, h := range m.GetHeaders(name) {
			for _, t := range strings.SplitN(h.Value(), ",", 33) {
				if t = strings.ToLower(strings.TrimSpace(t)); t != "" && len(out) < 32 {
					out = append(out, t)
				}
			}
		}
	}
	return out
}

func contains(list []string, want string) bool {
	for _, s := range list {
		if s == want {
			return true
		}
	}
	return false
}

// unsupported lists what a request requires and we cannot do (RFC 3261, 8.2.2.3).
func unsupported(req *gosip.Request) string {
	var bad []string
	for _, t := range tokens(req, "Require") {
		if !contains(extensions(), t) {
			bad = append(bad, t)
		}
	}
	return strings.Join(bad, ", ")
}

// mediaType is the content type of m without parameters, in lower case.
func mediaType(m gosip.Message) string {
	v := header(m, "Content-Type")
	if v == "" {
		v = header(m, "c")
	}
	v, _, _ = strings.Cut(v, ";")
	return strings.ToLower(strings.TrimSpace(v))
}

// accepts reports whether the sender of m takes bodies of type want: without an Accept header, the default does.
func accepts(m gosip.Message, want string) bool {
	list := tokens(m, "Accept")
	if len(list) == 0 {
		return len(m.GetHeaders("Accept")) == 0
	}
	major, _, _ := strings.Cut(want, "/")
	for _, t := range list {
		t, _, _ = strings.Cut(t, ";")
		t = strings.TrimSpace(t)
		if t == want || t == "*/*" || t == major+"/*" {
			return true
		}
	}
	return false
}

// printable reports whether s can stand in a header: valid UTF-8, no control characters, at most limit bytes.
func printable(s string, limit int) bool {
	if len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	return strings.IndexFunc(s, unicode.IsControl) < 0
}

// clean makes foreign text safe to show: control characters and broken UTF-8 are dropped, the rest is cut to limit bytes.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
	for len(s) > limit {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return strings.TrimSpace(s)
}

// quoted makes s the inside of a quoted-string (RFC 3261, 25.1); sipgo puts the quotes around it and escapes nothing.
func quoted(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
}

// unquoted is the text of a display name as sipgo leaves it.
func unquoted(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return clean(b.String(), maxName)
}

// userChars are those that may stand in the user part of a URI without escaping (RFC 3261, 25.1), and the colon.
const userChars = "-_.!~*'()&=+$,;?/:#"

// validUser reports whether s can be the user part of a URI that we write.
func validUser(s string) bool {
	if s == "" || len(s) > maxNumber {
		return false
	}
	for i := 0; i < len(s); i++ {
		b := s[i]
		if !isAlnum(b) && strings.IndexByte(userChars, b) < 0 {
			return false
		}
	}
	return true
}

func isAlnum(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

// userOf is the user part of a URI with its escapes resolved, and the password after a colon: "XXX:YYY" is a number with an
// identity. An escape that would hide a control character stays as it is, so that it matches nothing.
func userOf(u gosip.Uri) string {
	s := u.User
	if u.Password != "" {
		s += ":" + u.Password
	}
	return clean(unescape(s), maxNumber)
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil && n >= 0x20 && n != 0x7f {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// escapeUser writes s as a user part: what may not stand there is escaped.
func escapeUser(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; isAlnum(c) || strings.IndexByte("-_.!~*'()&=+$,:", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// parseURI reads a SIP URI that the program gives us.
func parseURI(s string) (gosip.Uri, error) {
	var u gosip.Uri
	if len(s) > maxURI || !printable(s, maxURI) || strings.ContainsAny(s, " <>\"") {
		return u, fmt.Errorf("%w: URI %q", ErrInvalid, s)
	}
	if err := gosip.ParseUri(s, &u); err != nil || u.Host == "" || (u.Scheme != "sip" && u.Scheme != "sips") {
		return u, fmt.Errorf("%w: URI %q", ErrInvalid, s)
	}
	return u, nil
}

// sourceOf is where a message came from.
func sourceOf(m gosip.Message) netip.AddrPort {
	ap, _ := netip.ParseAddrPort(m.Source())
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// canonical is the form in which Call.Header knows a name.
func canonical(name string) string { return strings.ToLower(name) }

// contactType is an address header value: "Display" <uri>;params as sipgo writes it.
func contactHeader(u gosip.Uri, params ...gosip.HeaderKV) *gosip.ContactHeader {
	return &gosip.ContactHeader{Address: u, Params: params}
}
