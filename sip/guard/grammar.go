package guard

import (
	"errors"
	"slices"
	"strings"
)

// errGrammar says that a value is not what RFC 3261 §25 allows there.
var errGrammar = errors.New("guard: not by the grammar")

// scan walks over one header value, which holds no line ends.
type scan struct {
	s string
	i int
}

func (p *scan) end() bool { return p.i >= len(p.s) }

func (p *scan) peek() byte {
	if p.end() {
		return 0
	}
	return p.s[p.i]
}

func (p *scan) space() {
	for !p.end() && (p.s[p.i] == ' ' || p.s[p.i] == '\t') {
		p.i++
	}
}

// take goes past c and the space around it.
func (p *scan) take(c byte) bool {
	p.space()
	if p.peek() != c || p.end() {
		return false
	}
	p.i++
	p.space()
	return true
}

func (p *scan) while(ok func(byte) bool) string {
	from := p.i
	for !p.end() && ok(p.s[p.i]) {
		p.i++
	}
	return p.s[from:p.i]
}

func (p *scan) token() string { return p.while(isToken) }

// quoted goes past a quoted string and returns it with its quotes.
func (p *scan) quoted() (string, bool) {
	if p.peek() != '"' {
		return "", false
	}
	for i := p.i + 1; i < len(p.s); i++ {
		switch p.s[i] {
		case '\\':
			i++
		case '"':
			q := p.s[p.i : i+1]
			p.i = i + 1
			return q, true
		}
	}
	return "", false
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func isToken(c byte) bool { return isAlnum(c) || strings.IndexByte("-.!%*_+`'~", c) >= 0 }

// isValue: an unquoted parameter value is a token or a host; addresses bring brackets and colons.
func isValue(c byte) bool { return isToken(c) || c == '[' || c == ']' || c == ':' }

func isUnreserved(c byte) bool { return isAlnum(c) || strings.IndexByte("-_.!~*'()", c) >= 0 }

func whole(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return s != ""
}

// escaped: every octet is unreserved, one of also, or a whole %HH.
func escaped(s, also string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return false
			}
			i += 2
		case !isUnreserved(c) && strings.IndexByte(also, c) < 0:
			return false
		}
	}
	return true
}

// split cuts at commas outside quotes and angle brackets.
func split(s string) []string {
	var out []string
	from, quoted, angle := 0, false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"' && !angle:
			quoted = !quoted
		case quoted:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case c == ',' && !angle:
			out = append(out, strings.Trim(s[from:i], " \t"))
			from = i + 1
		}
	}
	return append(out, strings.Trim(s[from:], " \t"))
}

// param is ;name or ;name=value; a quoted value keeps its quotes.
type param struct {
	name, value string
	valued      bool
}

func (q param) String() string {
	if !q.valued {
		return ";" + q.name
	}
	return ";" + q.name + "=" + q.value
}

// known parameters are compared by sipgo in lower case only; names are case-insensitive (RFC 3261 §7.3.1).
var knownParams = []string{"tag", "branch", "received", "rport", "ttl", "maddr", "q", "expires", "transport", "user", "method", "lr", "comp"}

func lowerKnown(name string) string {
	if l := strings.ToLower(name); slices.Contains(knownParams, l) {
		return l
	}
	return name
}

// params reads header parameters up to the end of the value.
func (p *scan) params() ([]param, error) {
	var out []param
	for p.take(';') {
		q := param{name: lowerKnown(p.token())}
		if q.name == "" || len(out) >= maxParams {
			return nil, errGrammar
		}
		if slices.ContainsFunc(out, func(o param) bool { return strings.EqualFold(o.name, q.name) }) {
			return nil, errGrammar
		}
		mark := p.i
		if p.take('=') {
			q.valued = true
			if p.peek() == '"' {
				var ok bool
				if q.value, ok = p.quoted(); !ok {
					return nil, errGrammar
				}
			} else if q.value = p.while(isValue); q.value == "" {
				return nil, errGrammar
			}
		} else {
			p.i = mark
		}
		out = append(out, q)
	}
	p.space()
	if !p.end() {
		return nil, errGrammar
	}
	return out, nil
}

func find(ps []param, name string) (param, bool) {
	i := slices.IndexFunc(ps, func(q param) bool { return q.name == name })
	if i < 0 {
		return param{}, false
	}
	return ps[i], true
}

// address is a name-addr or addr-spec with its parameters (RFC 3261 §25.1).
type address struct {
	display string // without its quotes, escapes kept; no control characters
	uri     string // canonical
	params  []param
}

// parseAddress reads a whole value. Without angle brackets everything from the first semicolon on are header
// parameters, and the URI may hold no question mark and no comma (§20.10).
func parseAddress(value string) (address, error) {
	var a address
	p := scan{s: value}
	p.space()
	if p.peek() == '"' {
		q, ok := p.quoted()
		if !ok {
			return a, errGrammar
		}
		a.display = printable(q[1 : len(q)-1])
		p.space()
	} else {
		mark := p.i
		name := p.while(func(c byte) bool { return isToken(c) || c == ' ' || c == '\t' || c >= 0x80 })
		if p.peek() == '<' {
			a.display = strings.Join(strings.Fields(name), " ")
		} else {
			p.i = mark
		}
	}
	var uri string
	if p.peek() == '<' {
		end := strings.IndexByte(p.s[p.i:], '>')
		if end < 0 {
			return a, errGrammar
		}
		uri = p.s[p.i+1 : p.i+end]
		p.i += end + 1
	} else {
		if a.display != "" {
			return a, errGrammar
		}
		uri = p.while(func(c byte) bool { return strings.IndexByte(" \t;,<>\"?", c) < 0 })
	}
	var err error
	if a.uri, err = canonicalURI(uri); err != nil {
		return a, err
	}
	a.params, err = p.params()
	return a, err
}

// printable replaces control characters, and the escape before one.
func printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && isControl(s[i+1]) {
			i++
		}
		if isControl(s[i]) {
			b.WriteByte('?')
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func isControl(c byte) bool { return c < ' ' || c == 0x7f }

// String writes a for sipgo, which knows neither quotes nor escapes within header parameters and would take parts of a
// quoted value for parameters: such a value is left out. Nothing that a box needs is written so.
func (a address) String() string {
	var b strings.Builder
	if a.display != "" {
		b.WriteString(`"` + a.display + `" `)
	}
	b.WriteString("<" + a.uri + ">")
	for _, q := range a.params {
		if !strings.ContainsAny(q.value, " \t;\\=") || q.value == "" {
			b.WriteString(q.String())
		}
	}
	return b.String()
}
