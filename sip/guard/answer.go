package guard

import (
	"strconv"
	"strings"
)

// answer is a response without state (RFC 3261 §8.2.6, §8.2.7): what identifies the request is copied as far as it is
// there, free of line ends and control characters, with a tag in To.
func (c *core) answer(t text, f *fault, p peer) []byte {
	var b strings.Builder
	b.WriteString("SIP/2.0 " + strconv.Itoa(f.code) + " " + f.reason + "\r\n")
	line := func(name, value string) { b.WriteString(name + ": " + clean(value) + "\r\n") }
	for _, v := range c.vias(t, p) {
		line("Via", v)
	}
	for _, name := range []string{"From", "To", "Call-ID", "CSeq"} {
		vs := t.all(name)
		if len(vs) == 0 {
			continue
		}
		v := vs[0]
		if name == "To" && !tagged(v) {
			v += ";tag=" + c.tag(t, p)
		}
		line(name, v)
	}
	for _, e := range f.extra {
		line(e.name, e.value)
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return []byte(b.String())
}

// vias is the list to be given back; one that cannot be read goes back line by line as it came.
func (c *core) vias(t text, p peer) []string {
	list, err := parseVias(t)
	if err == nil {
		return c.echo(list, p)
	}
	return t.all("Via")
}

func tagged(to string) bool {
	if a, err := parseAddress(to); err == nil {
		_, ok := find(a.params, "tag")
		return ok
	}
	return strings.Contains(strings.ToLower(to), ";tag=")
}
