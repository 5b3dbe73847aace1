package guard

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Bounds on one message, besides its length.
const (
	maxFields = 200
	maxValue  = 8192
	maxParams = 32
	maxURI    = 2048
	maxHead   = 32 << 10
)

// field is one header line, unfolded; name is the canonical one.
type field struct{ name, value string }

// text is a message taken apart into lines and not judged yet.
type text struct {
	start  string
	fields []field
	bad    string // what is wrong already, for the answer's reason; empty if nothing is
}

var (
	crlf     = []byte("\r\n")
	crlfcrlf = []byte("\r\n\r\n")
)

// lex unfolds the lines of a message's head, which may end in the empty line. It never fails: what is wrong it notes, so
// that an answer can still be made from the rest.
func lex(head []byte) text {
	var t text
	for i := 0; len(head) > 0; i++ {
		line, rest, whole := bytes.Cut(head, crlf)
		head = rest
		if len(line) == 0 {
			break
		}
		if !whole {
			t.fault("Line Without End")
		}
		if bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, '\n') >= 0 {
			t.fault("Stray CR or LF")
		}
		switch {
		case i == 0:
			t.start = string(line)
		case line[0] == ' ' || line[0] == '\t':
			t.fold(string(line))
		case len(t.fields) == maxFields:
			t.fault("Too Many Headers")
			return t
		default:
			t.field(string(line))
		}
	}
	for i := range t.fields {
		f := &t.fields[i]
		f.value = strings.Trim(f.value, " \t")
		if len(f.value) > maxValue {
			f.value = f.value[:maxValue]
			t.fault("Header Too Long")
		}
	}
	return t
}

func (t *text) fault(s string) {
	if t.bad == "" {
		t.bad = s
	}
}

func (t *text) field(line string) {
	name, value, ok := strings.Cut(line, ":")
	name = strings.TrimRight(name, " \t")
	if !ok || !whole(name, isToken) {
		t.fault("Bad Header")
		return
	}
	t.fields = append(t.fields, field{canonicalName(name), value})
}

func (t *text) fold(line string) {
	if len(t.fields) == 0 {
		t.fault("Bad Header")
		return
	}
	f := &t.fields[len(t.fields)-1]
	if len(f.value)+len(line) > maxValue {
		t.fault("Header Too Long")
		return
	}
	f.value = strings.TrimRight(f.value, " \t") + " " + strings.TrimLeft(line, " \t")
}

// all is every value of name, which is canonical.
func (t *text) all(name string) []string {
	var out []string
	for _, f := range t.fields {
		if f.name == name {
			out = append(out, f.value)
		}
	}
	return out
}

// one is the value of name if there is exactly one.
func (t *text) one(name string) (string, bool) {
	vs := t.all(name)
	if len(vs) != 1 {
		return "", false
	}
	return vs[0], true
}

// tag is that of From or To, or empty.
func (t *text) tag(name string) string {
	v, _ := t.one(name)
	a, err := parseAddress(v)
	if err != nil {
		return ""
	}
	q, _ := find(a.params, "tag")
	return q.value
}

// list is every element of the comma-separated values of name.
func (t *text) list(name string) []string {
	var out []string
	for _, v := range t.all(name) {
		if v != "" {
			out = append(out, split(v)...)
		}
	}
	return out
}

// clean makes a value fit for a header of ours: no control characters, and UTF-8.
func clean(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "?")
	}
	for i := range len(s) {
		if isControl(s[i]) {
			return printable(s)
		}
	}
	return s
}

// compact forms: RFC 3261 §7.3.3 and the extensions' own.
var compact = map[string]string{
	"a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition", "e": "Content-Encoding",
	"f": "From", "i": "Call-ID", "j": "Reject-Contact", "k": "Supported", "l": "Content-Length", "m": "Contact",
	"n": "Identity-Info", "o": "Event", "r": "Refer-To", "s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via",
	"x": "Session-Expires", "y": "Identity",
}

// names that are not written by the rule of a capital after each hyphen.
var irregular = map[string]string{
	"call-id": "Call-ID", "cseq": "CSeq", "www-authenticate": "WWW-Authenticate", "mime-version": "MIME-Version",
	"rseq": "RSeq", "rack": "RAck", "min-se": "Min-SE", "sip-etag": "SIP-ETag", "sip-if-match": "SIP-If-Match",
}

func canonicalName(name string) string {
	name = strings.ToLower(name)
	if full, ok := compact[name]; ok {
		return full
	}
	if odd, ok := irregular[name]; ok {
		return odd
	}
	b := []byte(name)
	for i := range b {
		if (i == 0 || b[i-1] == '-') && b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}
