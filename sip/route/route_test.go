package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func table(t *testing.T) *Table {
	t.Helper()
	tab, err := New(Config{
		Gateways: []Gateway{{Name: "pbx", URI: "sip:pbx.example.com"}, {Name: "pbx2", URI: "sip:192.0.2.2:5070;transport=tcp"},
			{Name: "trunk", URI: "sip:trunk.example.net", Proxy: "sip:edge.example.com;lr"}},
		Rules: []Rule{
			{Prefix: "0", Strip: 1, Gateways: []string{"trunk"}},
			{Prefix: "00", Deny: true},
			{Prefix: "0049", Strip: 2, Prepend: "+", Gateways: []string{"pbx", "pbx2"}},
			{Prefix: "7", Gateways: []string{"pbx", "pbx2"}},
			{Prefix: "99", Strip: 2, Gateways: []string{"pbx"}},
		},
		Conference: func(n string) bool { return n == "1000" || n == "7000" },
		Contact:    func(u string) bool { return u == "201" || u == "alice" || u == "1000" || u == "0301" },
	})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// X-7a: conference, contact, routes by longest prefix, nowhere.
func TestFind(t *testing.T) {
	tests := []struct{ dialled, want string }{
		{"1000", "conference 1000"},
		{"7000", "conference 7000"}, // before the rule of 7
		{"1000:4711", "conference 1000 as 4711"},
		{"201", "contact 201"},
		{"alice", "contact alice"},
		{"0301", "contact 0301"}, // before the rule of 0
		{"201:1000", "contact 201 as 1000"},
		{"7123", "gateway 7123 [pbx 7123] [pbx2 7123]"},
		{"0301234", "gateway 0301234 [trunk 301234]"},
		{"00491234", "gateway 00491234 [pbx +491234] [pbx2 +491234]"},
		{"00491234:alice", "gateway 00491234 as alice [pbx +491234] [pbx2 +491234]"},
		{"0041555", "denied"},
		{"00", "denied"},
		{"99", "not found"}, // nothing would be left to dial
		{"0", "not found"},
		{"8123", "not found"},
		{"", "malformed"},
		{":7", "malformed"},
		{"7:", "malformed"},
		{"7:8:9", "malformed"},
		{"7@evil.example", "malformed"},
		{"7;transport=tcp", "malformed"},
		{"7%00", "malformed"},
		{"7\r\nX: y", "malformed"},
		{strings.Repeat("7", 129), "malformed"},
	}
	tab := table(t)
	for _, tt := range tests {
		got, err := tab.Find(tt.dialled)
		s := fmt.Sprint(got.Kind, " ", got.Number)
		if got.Identity != "" {
			s += " as " + got.Identity
		}
		for _, h := range got.Hops {
			s += fmt.Sprintf(" [%s %s]", h.Gateway.Name, h.Number)
		}
		for text, e := range map[string]error{"denied": ErrDenied, "not found": ErrNotFound, "malformed": ErrMalformed} {
			if errors.Is(err, e) {
				s = text
			}
		}
		if s != tt.want {
			t.Errorf("%.40q: %s, want %s", tt.dialled, s, tt.want)
		}
	}
}

func TestOutsideIsDeniedUnlessListed(t *testing.T) {
	tab, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"1", "0049301234", "+49301234", "911", "alice"} {
		if _, err := tab.Find(n); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", n, err)
		}
	}
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	gw := []Gateway{{Name: "g", URI: "sip:h"}}
	tests := []struct {
		cfg  Config
		want string
	}{
		{Config{Gateways: []Gateway{{Name: "g", URI: "sip:h"}, {Name: "g", URI: "sip:h"}}}, `gateway "g": name`},
		{Config{Gateways: []Gateway{{Name: "g", URI: "http://h"}}}, "must begin with sip:"},
		{Config{Gateways: []Gateway{{Name: "g"}}}, `gateway "g"`},
		{Config{Gateways: []Gateway{{Name: "g", URI: "sip:h", Proxy: "h"}}}, `gateway "g"`},
		{Config{Gateways: gw, Rules: []Rule{{Prefix: "1"}}}, "rule 1 (prefix \"1\"): has no gateway"},
		{Config{Gateways: gw, Rules: []Rule{{Prefix: "1", Gateways: []string{"h"}}}}, `no gateway is called "h"`},
		{Config{Gateways: gw, Rules: []Rule{{Prefix: "1", Deny: true, Gateways: []string{"g"}}}}, "denies"},
		{Config{Gateways: gw, Rules: []Rule{{Prefix: "1 2", Gateways: []string{"g"}}}}, "malformed"},
		{Config{Gateways: gw, Rules: []Rule{{Prefix: "1", Strip: -1, Gateways: []string{"g"}}}}, "strip"},
		{Config{Gateways: gw, Rules: []Rule{{Prefix: "1", Gateways: []string{"g"}}, {Prefix: "1", Deny: true}}}, "twice"},
	}
	for _, tt := range tests {
		if _, err := New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

func TestParseURI(t *testing.T) {
	tests := []struct {
		in   string
		want URI
		ok   bool
	}{
		{"sip:Pbx.example.com", URI{Host: "pbx.example.com"}, true},
		{"sip:7@pbx:5070;transport=TCP;lr", URI{Host: "pbx", Port: 5070, Transport: "tcp"}, true},
		{"sips:pbx", URI{Secure: true, Host: "pbx", Transport: "tls"}, true},
		{"sip:pbx;transport=tls", URI{Secure: true, Host: "pbx", Transport: "tls"}, true},
		{"sip:[2001:db8::1]:5062", URI{Host: "2001:db8::1", Port: 5062}, true},
		{"SIP:[::1]", URI{Host: "::1"}, true},
		{"sip:", URI{}, false}, {"", URI{}, false}, {"pbx", URI{}, false}, {"sip:a b", URI{}, false},
		{"sip:h:0", URI{}, false}, {"sip:h:65536", URI{}, false}, {"sip:h:", URI{}, false}, {"sip:[::1", URI{}, false},
		{"sip:[::1]x", URI{}, false}, {"sip:[::1]:", URI{}, false}, {"sip:[1.2.3.4]", URI{}, false}, {"sip:::1", URI{}, false},
		{"sip:h;transport=sctp", URI{}, false}, {"sips:h;transport=udp", URI{}, false}, {"sip:h?x=y", URI{}, false},
	}
	for _, tt := range tests {
		got, err := ParseURI(tt.in)
		if (err == nil) != tt.ok || got != tt.want {
			t.Errorf("%q: %+v, %v", tt.in, got, err)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	for _, s := range []string{"sip:a@[::1]:5;transport=tcp", "sips:h", "sip:h:1", "sip:[", "sip:@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURI(s)
		if err == nil && (u.Host == "" || strings.ContainsAny(u.Host, "\r\n /@;[]")) {
			t.Errorf("%q: host %q", s, u.Host)
		}
	})
}

func FuzzFind(f *testing.F) {
	f.Add("1000:7")
	tab, err := New(Config{Gateways: []Gateway{{Name: "g", URI: "sip:h"}}, Rules: []Rule{{Strip: 3, Gateways: []string{"g"}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := tab.Find(s)
		if err == nil && (len(got.Hops) == 0 || strings.ContainsAny(got.Hops[0].Number+got.Identity, "@:;?<>\"\r\n \x00")) {
			t.Errorf("%q -> %+v", s, got)
		}
	})
}

// zone is a name server: SRV records under "service.proto.name", addresses under the host.
type zone struct {
	srv   map[string][]*net.SRV
	hosts map[string][]string
	asked []string
}

var errNoName = errors.New("no such name")

func (z *zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	key := service + "." + proto + "." + name
	z.asked = append(z.asked, key)
	if r, ok := z.srv[key]; ok {
		return "", r, nil
	}
	return "", nil, errNoName
}

func (z *zone) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	z.asked = append(z.asked, host)
	var out []netip.Addr
	for _, a := range z.hosts[host] {
		out = append(out, netip.MustParseAddr(a))
	}
	if out == nil {
		return nil, errNoName
	}
	return out, nil
}

func newZone() *zone {
	return &zone{
		srv: map[string][]*net.SRV{
			"sip.udp.two.example":  {{Target: "b.example.", Port: 5080, Priority: 20}, {Target: "a.example.", Port: 5070, Priority: 10}},
			"sip.tcp.two.example":  {{Target: "a.example.", Port: 5071, Priority: 10}},
			"sips.tcp.two.example": {{Target: "a.example.", Port: 5081, Priority: 10}},
			"sip.udp.gone.example": {{Target: ".", Port: 0}},
			"sip.udp.dead.example": {{Target: "nowhere.example.", Port: 1}, {Target: "a.example.", Port: 2}},
			"sip.udp.many.example": slices.Repeat([]*net.SRV{{Target: "c.example.", Port: 9}}, 1000),
		},
		hosts: map[string][]string{"a.example": {"192.0.2.1", "2001:db8::1"}, "b.example": {"192.0.2.2"}, "c.example": {"::ffff:192.0.2.3"},
			"gone.example": {"192.0.2.9"}},
	}
}

func TestResolve(t *testing.T) {
	tests := []struct{ uri, want string }{
		{"sip:192.0.2.5", "udp 192.0.2.5:5060"},
		{"sip:[2001:db8::5];transport=tcp", "tcp [2001:db8::5]:5060"},
		{"sips:192.0.2.5", "tls 192.0.2.5:5061"},
		{"sips:192.0.2.5:7", "tls 192.0.2.5:7"},
		{"sip:two.example", "udp 192.0.2.1:5070, udp [2001:db8::1]:5070, udp 192.0.2.2:5080, tcp 192.0.2.1:5071, tcp [2001:db8::1]:5071"},
		{"sip:two.example;transport=tcp", "tcp 192.0.2.1:5071, tcp [2001:db8::1]:5071"},
		{"sips:two.example", "tls 192.0.2.1:5081, tls [2001:db8::1]:5081"},
		{"sip:two.example:5099", ""}, // a port means A and AAAA only
		{"sip:b.example:5099", "udp 192.0.2.2:5099"},
		{"sip:b.example", "udp 192.0.2.2:5060"},
		{"sips:b.example", "tls 192.0.2.2:5061"},
		{"sip:gone.example", "udp 192.0.2.9:5060"},
		{"sip:dead.example", "udp 192.0.2.1:2, udp [2001:db8::1]:2"},
		{"sip:many.example", "udp 192.0.2.3:9"},
		{"sip:none.example", ""},
	}
	for _, tt := range tests {
		u, err := ParseURI(tt.uri)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Resolve(t.Context(), newZone(), u, nil)
		if (err != nil) != (tt.want == "") || err != nil && !errors.Is(err, ErrUnresolved) {
			t.Errorf("%s: error %v", tt.uri, err)
		}
		var s []string
		for _, e := range got {
			s = append(s, e.Transport+" "+e.Addr.String())
			if e.Host != u.Host {
				t.Errorf("%s: certificate's name %q", tt.uri, e.Host)
			}
		}
		if strings.Join(s, ", ") != tt.want {
			t.Errorf("%s: %s, want %s", tt.uri, strings.Join(s, ", "), tt.want)
		}
	}
}

// RFC 2782: with weights 0, 1 and 3 the draws of 0 to 4 begin with the first, second, third, third and third.
func TestWeights(t *testing.T) {
	recs := []*net.SRV{{Target: "w3", Weight: 3, Priority: 1}, {Target: "w0", Priority: 1}, {Target: "w1", Weight: 1, Priority: 1}, {Target: "p0", Weight: 1}}
	for draw, want := range []string{"p0 w0", "p0 w1", "p0 w3", "p0 w3", "p0 w3"} {
		n := 0
		got := order(recs, func(limit int) int {
			n++
			if n == 2 {
				if limit != 5 {
					t.Errorf("drawn of %d, want 5", limit)
				}
				return draw
			}
			return 0
		})
		if len(got) != 4 || got[0].Target+" "+got[1].Target != want {
			t.Errorf("draw %d: %v %v, want %s", draw, got[0].Target, got[1].Target, want)
		}
	}
}

func TestFailover(t *testing.T) {
	z := newZone()
	hops := []Hop{
		{Gateway{Name: "none", URI: "sip:none.example"}, "1"},
		{Gateway{Name: "two", URI: "sip:two.example;transport=tcp"}, "2"},
		{Gateway{Name: "via", URI: "sip:none.example", Proxy: "sip:b.example"}, "3"},
		{Gateway{Name: "last", URI: "sip:192.0.2.8"}, "4"},
	}
	f := NewFailover(z, hops)
	next := func() string {
		tr, err := f.Next(t.Context())
		if err != nil {
			if !errors.Is(err, ErrExhausted) || !errors.Is(err, errNoName) {
				t.Errorf("error %v", err)
			}
			return "end"
		}
		return tr.Gateway.Name + " " + tr.Number + " " + tr.Addr.String()
	}
	want := []string{"two 2 192.0.2.1:5071", "two 2 [2001:db8::1]:5071", "via 3 192.0.2.2:5060", "last 4 192.0.2.8:5060", "end", "end"}
	for i, w := range want {
		if got := next(); got != w {
			t.Errorf("trial %d: %s, want %s", i, got, w)
		}
		if i == 0 && slices.Contains(z.asked, "b.example") {
			t.Error("the third hop was resolved before its turn")
		}
	}
	f = NewFailover(z, hops[1:])
	next()
	f.SkipHop()
	if got := next(); got != want[2] {
		t.Errorf("after a 503: %s, want %s", got, want[2])
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewFailover(z, hops).Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestARulesIdentityStandsUnlessTheCallerAsksForAnother(t *testing.T) {
	table, err := New(Config{
		Gateways: []Gateway{{Name: "pbx", URI: "sip:pbx.example.com"}},
		Rules:    []Rule{{Prefix: "0", Gateways: []string{"pbx"}, Identity: "8000"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for dialled, want := range map[string]string{"0123": "8000", "0123:77": "77"} {
		if got, err := table.Find(dialled); err != nil || got.Identity != want {
			t.Errorf("%s bears %q (%v), want %q", dialled, got.Identity, err, want)
		}
	}
}
