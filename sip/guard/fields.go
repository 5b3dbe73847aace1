package guard

import (
	"slices"
	"strconv"
	"strings"
)

// rule makes the canonical values of one header, each a line of its own; false if a value is not what it must be.
type rule func(values []string, method string) ([]string, bool)

// rules of the headers that sipgo or the agent read. Those that are not here pass as text.
var rules = map[string]rule{
	"From":                single(addressValue),
	"To":                  single(addressValue),
	"Refer-To":            single(addressValue),
	"Referred-By":         single(addressValue),
	"Contact":             contacts,
	"Route":               routes,
	"Record-Route":        routes,
	"Call-ID":             single(callID),
	"CSeq":                single(cseqValue),
	"Max-Forwards":        single(number(255)),
	"Expires":             single(seconds),
	"Min-Expires":         single(seconds),
	"Content-Type":        single(mediaType),
	"Event":               single(anyText),
	"Date":                single(anyText),
	"Replaces":            single(anyText),
	"Join":                single(anyText),
	"Subject":             single(anyText),
	"User-Agent":          single(anyText),
	"Server":              single(anyText),
	"Session-Expires":     single(anyText),
	"Min-SE":              single(anyText),
	"Retry-After":         single(anyText),
	"RAck":                single(anyText),
	"RSeq":                single(number(1<<31 - 1)),
	"Content-Disposition": single(anyText),
	"Supported":           tokens,
	"Require":             tokens,
	"Proxy-Require":       tokens,
	"Unsupported":         tokens,
	"Allow":               tokens,
	"Allow-Events":        tokens,
	"Accept":              joined,
	"Accept-Encoding":     joined,
	"Accept-Language":     joined,
}

// fields writes every header but Via and Content-Length into m.
func (c *core) fields(m *message, t text, method string) *fault {
	done := map[string]bool{"Via": true, "Content-Length": true, ArrivalHeader: true}
	for _, f := range t.fields {
		r := rules[f.name]
		if r == nil {
			if !done[f.name] {
				m.add(f.name, clean(f.value))
			}
			continue
		}
		if done[f.name] {
			continue
		}
		done[f.name] = true
		values, ok := r(t.all(f.name), method)
		if !ok {
			return bad("Bad " + f.name)
		}
		for _, v := range values {
			m.add(f.name, clean(v))
		}
	}
	if contact, _ := t.one("Contact"); contact == "*" {
		// RFC 3261 §10.2.2: only to remove all of one's bindings.
		if e, _ := t.one("Expires"); method != "REGISTER" || strings.Trim(e, "0") != "" || e == "" {
			return bad("Bad Contact")
		}
	}
	return nil
}

// single takes a header that may be there once.
func single(one func(string) (string, bool)) rule {
	return func(values []string, _ string) ([]string, bool) {
		if len(values) != 1 {
			return nil, false
		}
		v, ok := one(values[0])
		return []string{v}, ok
	}
}

func anyText(s string) (string, bool) { return s, true }

func addressValue(s string) (string, bool) {
	a, err := parseAddress(s)
	if err != nil {
		return "", false
	}
	if tag, ok := find(a.params, "tag"); ok && !whole(tag.value, isToken) {
		return "", false
	}
	return a.String(), true
}

// callID is lenient: an opaque word without white space (the grammar's own set excludes what real phones send).
func callID(s string) (string, bool) {
	return s, len(s) <= 512 && whole(s, func(c byte) bool { return c > ' ' && c < 0x7f })
}

// cseqValue: RFC 3261 §8.1.1.5, less than 2^31.
func cseqValue(s string) (string, bool) {
	parts := strings.Fields(s)
	if len(parts) != 2 || !whole(parts[0], isDigit) || !whole(parts[1], isToken) {
		return "", false
	}
	n, err := strconv.ParseUint(parts[0], 10, 31)
	return strconv.FormatUint(n, 10) + " " + parts[1], err == nil
}

func number(limit uint64) func(string) (string, bool) {
	return func(s string) (string, bool) {
		n, err := strconv.ParseUint(s, 10, 32)
		return strconv.FormatUint(n, 10), err == nil && whole(s, isDigit) && n <= limit
	}
}

// seconds is cut to what fits (RFC 3261 §20.19).
func seconds(s string) (string, bool) {
	if !whole(s, isDigit) {
		return "", false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		n = 1<<32 - 1
	}
	return strconv.FormatUint(n, 10), true
}

func mediaType(s string) (string, bool) {
	p := scan{s: s}
	p.space()
	kind := p.token()
	ok := p.take('/')
	sub := p.token()
	params, err := p.params()
	if !ok || kind == "" || sub == "" || err != nil {
		return "", false
	}
	v := strings.ToLower(kind + "/" + sub)
	for _, q := range params {
		v += q.String()
	}
	return v, true
}

// contacts: a star alone, or addresses. The display name is left out, since sipgo counts the quotes in it without regard
// to escapes.
func contacts(values []string, method string) ([]string, bool) {
	var out []string
	for _, v := range values {
		for _, one := range split(v) {
			if one == "*" {
				out = append(out, one)
				continue
			}
			a, err := parseAddress(one)
			if err != nil {
				return nil, false
			}
			a.display = ""
			for i := range a.params {
				if q := &a.params[i]; q.name == "expires" {
					var ok bool
					if q.value, ok = seconds(q.value); !ok {
						return nil, false
					}
				}
			}
			out = append(out, a.String())
		}
	}
	// One Contact says where a dialog's requests go; star stands alone.
	alone := method == "INVITE" || method == "SUBSCRIBE" || method == "REFER" || slices.Contains(out, "*")
	return out, len(out) == 1 || !alone && len(out) <= maxParams
}

// routes: addresses in angle brackets, in order. Their display names are of no use.
func routes(values []string, _ string) ([]string, bool) {
	var out []string
	for _, v := range values {
		for _, one := range split(v) {
			a, err := parseAddress(one)
			if err != nil || !strings.Contains(one, "<") {
				return nil, false
			}
			a.display = ""
			out = append(out, a.String())
		}
	}
	return out, true
}

// tokens are joined into one line, since sipgo's GetHeader sees the first only.
func tokens(values []string, _ string) ([]string, bool) {
	var out []string
	for _, v := range values {
		if v == "" {
			continue
		}
		for _, one := range split(v) {
			if !whole(one, isToken) {
				return nil, false
			}
			out = append(out, one)
		}
	}
	return []string{strings.Join(out, ", ")}, true
}

func joined(values []string, _ string) ([]string, bool) {
	return []string{strings.Join(values, ", ")}, true
}
