package guard

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

var here = peer{network: "UDP", remote: netip.MustParseAddrPort("192.0.2.7:5062"), local: netip.MustParseAddrPort("192.0.2.1:5060")}

func seeds(f *testing.F) {
	files, _ := filepath.Glob("testdata/torture/*/*.dat")
	if len(files) < 60 {
		f.Fatalf("%d files", len(files))
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

// holds checks what is true of every verdict, whatever came in.
func holds(t *testing.T, c *core, v verdict) {
	t.Helper()
	if v.answer != nil {
		head, body, ok := cutHead(v.answer)
		if !ok || len(body) > 0 {
			t.Fatalf("answer is not one message: %q", v.answer)
		}
		r := lex(head)
		start, ok := parseStart(r.start)
		if r.bad != "" || !ok || !start.response || start.code < 400 || bytes.ContainsFunc(bytes.ReplaceAll(head, crlf, nil), func(c rune) bool { return c < ' ' || c == 0x7f }) {
			t.Fatalf("answer is malformed (%s): %q", r.bad, v.answer)
		}
		if len(r.all("Via")) == 0 || !reachable(v.to) || v.to.Addr() != here.remote.Addr() {
			t.Fatalf("answer to %v: %q", v.to, v.answer)
		}
	}
	if v.pass == nil {
		return
	}
	head, body, ok := cutHead(v.pass)
	if !ok {
		t.Fatalf("no end of headers: %q", v.pass)
	}
	msg, err := sip.ParseMessage(v.pass)
	if err != nil {
		t.Fatalf("sipgo: %v: %q", err, v.pass)
	}
	if msg.Via() == nil || msg.From() == nil || msg.To() == nil || msg.CallID() == nil || msg.CSeq() == nil {
		t.Fatalf("a header is missing for sipgo: %q", v.pass)
	}
	// What sipgo writes again is itself fit to pass: nothing in it is read in two ways.
	again := lex(head)
	start, ok := parseStart(again.start)
	if !ok || again.bad != "" {
		t.Fatalf("start %q %s", again.start, again.bad)
	}
	m := &message{body: body}
	if f := c.fields(m, again, start.method); f != nil {
		t.Fatalf("canonical form is refused: %s in %q", f.reason, v.pass)
	}
	want := lex(head)
	if uri, err := canonicalURI(start.uri); !start.response && (err != nil || uri != start.uri) {
		t.Fatalf("Request-URI %q is not canonical: %q", start.uri, uri)
	}
	for _, name := range []string{"From", "To", "Contact", "CSeq", "Call-ID", "Route", "Record-Route", "Content-Type", "Require", "Refer-To"} {
		a, b := want.all(name), parseAgain(m, name)
		if strings.Join(a, "\x00") != strings.Join(b, "\x00") {
			t.Fatalf("%s: %q is not canonical: %q", name, a, b)
		}
	}
	if from, err := parseAddress(want.all("From")[0]); err != nil || msg.From().Address.String() == "" {
		t.Fatalf("From %v", err)
	} else if tag, _ := find(from.params, "tag"); msg.From().Params.GetOr("tag", "") != tag.value {
		t.Fatalf("sipgo's From tag is %q, ours %q", msg.From().Params.GetOr("tag", ""), tag.value)
	}
	if req, ok := msg.(*sip.Request); ok {
		if string(req.Method) != strings.ToUpper(start.method) || req.Recipient.Host == "" && req.Recipient.Raw() == "" {
			t.Fatalf("sipgo's request is %s %+v: %q", req.Method, req.Recipient, v.pass)
		}
		if host, _, _ := strings.Cut(strings.TrimLeft(req.Via().Host, "["), "]"); host != here.remote.Addr().String() {
			t.Fatalf("sipgo's Via is %q", req.Via())
		}
		res := sip.NewResponseFromRequest(req, 486, "Busy Here", nil)
		out, _ := outside([]byte(res.String()))
		head, _, _ := cutHead(out)
		r := lex(head)
		if r.bad != "" || bytes.Contains(out, []byte(inside)) {
			t.Fatalf("response %q (%s)", out, r.bad)
		}
		if _, err := parseVias(r); err != nil {
			t.Fatalf("response's Via: %q", out)
		}
		for _, name := range []string{"From", "To"} {
			one, _ := r.one(name)
			if _, err := parseAddress(one); err != nil {
				t.Fatalf("response's %s: %q", name, out)
			}
		}
	}
}

func parseAgain(m *message, name string) []string {
	var out []string
	for _, f := range m.fields {
		if f.name == name {
			out = append(out, f.value)
		}
	}
	return out
}

func FuzzMessage(f *testing.F) {
	seeds(f)
	c := newCore(Options{Secret: []byte("secret"), Methods: append(DefaultMethods(), "MESSAGE"), Schemes: []string{"sip", "sips", "tel"}})
	f.Fuzz(func(t *testing.T, data []byte) {
		holds(t, c, c.datagram(bytes.Clone(data), here, 65535))
	})
}

// FuzzStream: however a stream is cut, the same pieces come out, and what is held is bounded.
func FuzzStream(f *testing.F) {
	seeds(f)
	c := newCore(Options{MaxMessage: 8192})
	f.Fuzz(func(t *testing.T, data []byte) {
		run := func(step int) string {
			fr := framer{core: c}
			var log strings.Builder
			for i := 0; ; i += step {
				quiet := i >= len(data)
				if !quiet {
					fr.in = append(fr.in, data[i:min(i+step, len(data))]...)
				}
				for {
					k, tx, body, why := fr.next(quiet)
					if k == more {
						break
					}
					log.WriteString(tx.start + "|" + string(body) + "|")
					if k == broken {
						if why != nil && !quiet {
							log.WriteString(why.reason)
						}
						return "broken " + log.String()
					}
					holds(t, c, c.judge(tx, body, nil, here))
				}
				if len(fr.in) > maxHead+8192+step {
					t.Fatalf("holds %d octets", len(fr.in))
				}
				if quiet {
					return log.String()
				}
			}
		}
		one := run(1)
		if all := run(len(data) + 1); one != all {
			t.Fatalf("octet by octet %q, at once %q", one, all)
		}
	})
}

func FuzzArrival(f *testing.F) {
	c := newCore(Options{Secret: []byte("secret")})
	f.Add(c.stamp(here))
	f.Fuzz(func(t *testing.T, s string) {
		if _, ok := ParseArrival([]byte("secret"), s); ok && s != c.stamp(here) {
			t.Fatalf("%q is taken for genuine", s)
		}
	})
}

// BenchmarkDatagram: what the guard costs for one message that passes.
func BenchmarkDatagram(b *testing.B) {
	for _, name := range []string{"rfc4475/lwsdisp", "rfc4475/wsinv", "rfc4475/longreq"} {
		b.Run(filepath.Base(name), func(b *testing.B) {
			data, err := os.ReadFile("testdata/torture/" + name + ".dat")
			if err != nil {
				b.Fatal(err)
			}
			c := newCore(Options{Secret: []byte("secret")})
			b.ReportAllocs()
			for b.Loop() {
				if v := c.datagram(data, here, 65535); v.pass == nil {
					b.Fatal(v.reason)
				}
			}
		})
	}
}
