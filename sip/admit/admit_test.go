package admit

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"
)

const realm = "parley"

var (
	home      = netip.MustParseAddrPort("192.0.2.10:5060")
	elsewhere = netip.MustParseAddrPort("198.51.100.66:5060")
	ours      = netip.MustParseAddrPort("192.0.2.1:5060")
)

// world is a gate with a clock, and two users: alice with both hashes, old with MD5 only.
type world struct {
	*Gate
	now time.Time
}

func newWorld(change func(*Config)) *world {
	w := &world{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	alice, old := Hash("alice", realm, "wonderland"), Hash("old", realm, "phone")
	old.SHA256 = ""
	cfg := Config{Realm: realm, Secret: []byte("0123456789abcdef"), Now: func() time.Time { return w.now },
		Users: func(u string) (HA1, bool) {
			h, ok := map[string]HA1{"alice": alice, "old": old}[u]
			return h, ok
		}}
	if change != nil {
		change(&cfg)
	}
	w.Gate = New(cfg)
	return w
}

func request(method string, source netip.AddrPort, authorization ...string) Request {
	return Request{Method: method, URI: "sip:1000@box", URIUser: "1000", Source: source, Local: ours, Authorization: authorization}
}

// nonceFor asks as a stranger would and returns the nonce.
func (w *world) nonceFor(t *testing.T, source netip.AddrPort) string {
	t.Helper()
	v := w.Check(request("INVITE", source))
	if v.Outcome != Challenged || len(v.Challenges) != 2 {
		t.Fatalf("a stranger gets %+v", v)
	}
	ch, err := digest.ParseChallenge(v.Challenges[0])
	if err != nil {
		t.Fatal(err)
	}
	return ch.Nonce
}

// sign makes credentials as a phone does, by another implementation than ours.
func sign(t *testing.T, nonce, method, user, password, algorithm string, nc int) string {
	t.Helper()
	c, err := digest.Digest(&digest.Challenge{Realm: realm, Nonce: nonce, Algorithm: algorithm, QOP: []string{"auth"}},
		digest.Options{Method: method, URI: "sip:1000@box", Username: user, Password: password, Count: nc, Cnonce: "c0ffee"})
	if err != nil {
		t.Fatal(err)
	}
	return c.String()
}

func say(v Verdict) string {
	switch v.Outcome {
	case Admitted:
		return "in by " + v.How.String() + " " + v.User
	case Refused:
		return fmt.Sprint(v.Code, " ", v.RetryAfter)
	}
	if strings.Contains(v.Challenges[0], "stale=true") {
		return "401 stale"
	}
	return "401"
}

// X-7b: each case is one request to a fresh gate.
func TestCheck(t *testing.T) {
	lo, lo6 := netip.MustParseAddrPort("127.0.0.1:40000"), netip.MustParseAddrPort("[::1]:40000")
	mapped := netip.MustParseAddrPort("[::ffff:127.0.0.1]:5060")
	all := func(c *Config) {
		c.TrustLoopback = true
		c.Peers = map[string]string{"pbx.example.com": "pbx"}
		c.Token = func(u string) (string, bool) { return "trunk", u == "r4nd0m" }
	}
	tests := map[string]struct {
		cfg  func(*Config)
		req  func(t *testing.T, w *world) Request
		want string
	}{
		"stranger's INVITE":   {nil, func(t *testing.T, w *world) Request { return request("INVITE", home) }, "401"},
		"stranger's REGISTER": {nil, func(t *testing.T, w *world) Request { return request("REGISTER", home) }, "401"},
		"right SHA-256": {nil, func(t *testing.T, w *world) Request {
			return request("INVITE", home, sign(t, w.nonceFor(t, home), "INVITE", "alice", "wonderland", "SHA-256", 1))
		}, "in by digest alice"},
		"right MD5": {nil, func(t *testing.T, w *world) Request {
			return request("INVITE", home, sign(t, w.nonceFor(t, home), "INVITE", "alice", "wonderland", "MD5", 1))
		}, "in by digest alice"},
		"no algorithm is MD5": {nil, func(t *testing.T, w *world) Request {
			return request("INVITE", home, sign(t, w.nonceFor(t, home), "INVITE", "old", "phone", "", 1))
		}, "in by digest old"},
		"SHA-256 of who has MD5 only": {nil, func(t *testing.T, w *world) Request {
			return request("INVITE", home, sign(t, w.nonceFor(t, home), "INVITE", "old", "phone", "SHA-256", 1))
		}, "401"},
		"wrong password": {nil, func(t *testing.T, w *world) Request {
			return request("INVITE", home, sign(t, w.nonceFor(t, home), "INVITE", "alice", "x", "SHA-256", 1))
		}, "401"},
		"unknown user": {nil, func(t *testing.T, w *world) Request {
			return request("INVITE", home, sign(t, w.nonceFor(t, home), "INVITE", "mallory", "x", "SHA-256", 1))
		}, "401"},
		"digest of another method": {nil, func(t *testing.T, w *world) Request {
			return request("INVITE", home, sign(t, w.nonceFor(t, home), "REGISTER", "alice", "wonderland", "MD5", 1))
		}, "401"},
		"digest of another number": {nil, func(t *testing.T, w *world) Request {
			r := request("INVITE", home, sign(t, w.nonceFor(t, home), "INVITE", "alice", "wonderland", "MD5", 1))
			r.URI = "sip:1001@box"
			return r
		}, "400 0s"},
		"another host in the URI": {nil, func(t *testing.T, w *world) Request {
			r := request("INVITE", home, sign(t, w.nonceFor(t, home), "INVITE", "alice", "wonderland", "MD5", 1))
			r.URI = "sip:1000@192.0.2.1:5060;transport=tcp"
			return r
		}, "in by digest alice"},
		"nonce of another address": {nil, func(t *testing.T, w *world) Request {
			return request("INVITE", elsewhere, sign(t, w.nonceFor(t, home), "INVITE", "alice", "wonderland", "MD5", 1))
		}, "401 stale"},
		"made-up nonce": {nil, func(t *testing.T, w *world) Request {
			return request("INVITE", home, sign(t, strings.Repeat("A", 43), "INVITE", "alice", "wonderland", "MD5", 1))
		}, "401 stale"},
		"old nonce": {nil, func(t *testing.T, w *world) Request {
			n := w.nonceFor(t, home)
			w.now = w.now.Add(5 * time.Minute)
			return request("INVITE", home, sign(t, n, "INVITE", "alice", "wonderland", "MD5", 1))
		}, "401 stale"},
		"old nonce, wrong password": {nil, func(t *testing.T, w *world) Request {
			n := w.nonceFor(t, home)
			w.now = w.now.Add(5 * time.Minute)
			return request("INVITE", home, sign(t, n, "INVITE", "alice", "x", "MD5", 1))
		}, "401"},
		"nonce of the future": {nil, func(t *testing.T, w *world) Request {
			n := w.nonceFor(t, home)
			w.now = w.now.Add(-time.Minute)
			return request("INVITE", home, sign(t, n, "INVITE", "alice", "wonderland", "MD5", 1))
		}, "401 stale"},
		"another realm's": {nil, func(t *testing.T, w *world) Request {
			return request("INVITE", home, strings.Replace(sign(t, w.nonceFor(t, home), "INVITE", "alice", "wonderland", "MD5", 1), realm, "pbx", 1))
		}, "401"},
		"another realm's beside ours": {nil, func(t *testing.T, w *world) Request {
			ok := sign(t, w.nonceFor(t, home), "INVITE", "alice", "wonderland", "MD5", 1)
			return request("INVITE", home, strings.Replace(ok, realm, "pbx", 1), ok)
		}, "in by digest alice"},
		"unknown scheme": {nil, func(t *testing.T, w *world) Request {
			return request("REGISTER", home, "NoOneKnowsThisScheme opaque-data=here")
		}, "401"},
		"malformed":                 {nil, func(t *testing.T, w *world) Request { return request("REGISTER", home, `Digest username="alice`) }, "400 0s"},
		"ACK":                       {all, func(t *testing.T, w *world) Request { return request("ACK", lo) }, "481 0s"},
		"CANCEL":                    {all, func(t *testing.T, w *world) Request { return request("CANCEL", lo) }, "481 0s"},
		"loopback, not trusted":     {nil, func(t *testing.T, w *world) Request { r := request("INVITE", lo); r.Local = lo; return r }, "401"},
		"loopback to loopback":      {all, func(t *testing.T, w *world) Request { r := request("INVITE", lo); r.Local = mapped; return r }, "in by loopback "},
		"loopback by IPv6":          {all, func(t *testing.T, w *world) Request { r := request("INVITE", lo6); r.Local = lo6; return r }, "in by loopback "},
		"loopback's address on LAN": {all, func(t *testing.T, w *world) Request { return request("INVITE", lo) }, "401"},
		"LAN's on loopback":         {all, func(t *testing.T, w *world) Request { r := request("INVITE", home); r.Local = lo; return r }, "401"},
		"local address not known":   {all, func(t *testing.T, w *world) Request { r := request("INVITE", lo); r.Local = netip.AddrPort{}; return r }, "401"},
		"loopback, wrong password": {all, func(t *testing.T, w *world) Request {
			r := request("INVITE", lo, sign(t, w.nonceFor(t, lo), "INVITE", "alice", "x", "MD5", 1))
			r.Local = lo
			return r
		}, "401"},
		"certificate": {all, func(t *testing.T, w *world) Request {
			r := request("INVITE", home)
			r.PeerNames = []string{"x", "PBX.example.com"}
			return r
		}, "in by certificate pbx"},
		"certificate of another": {all, func(t *testing.T, w *world) Request {
			r := request("INVITE", home)
			r.PeerNames = []string{"evil.example.com"}
			return r
		}, "401"},
		"certificate, nobody listed": {nil, func(t *testing.T, w *world) Request {
			r := request("INVITE", home)
			r.PeerNames = []string{""}
			return r
		}, "401"},
		"registered contact": {all, func(t *testing.T, w *world) Request { r := request("INVITE", home); r.URIUser = "r4nd0m"; return r }, "in by token trunk"},
		"guessed contact":    {all, func(t *testing.T, w *world) Request { r := request("INVITE", home); r.URIUser = "random"; return r }, "401"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(tt.cfg)
			req := tt.req(t, w)
			// What Screen decides, Check decides alike, however often it is asked.
			for range 3 {
				if v, decided := w.Screen(req); decided && (say(v) != tt.want || v.Outcome == Admitted) {
					t.Errorf("screened: %s, want %s", say(v), tt.want)
				}
			}
			if len(w.sources.records) != 0 || len(w.nonces.used) != 0 {
				t.Error("Screen left something behind")
			}
			if got := say(w.Check(req)); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// Strangers and nonces from nowhere are dealt with by Screen; credentials that must be judged are not.
func TestScreen(t *testing.T) {
	w := newWorld(nil)
	n := w.nonceFor(t, home)
	for i, tt := range []struct {
		req     Request
		decided bool
	}{
		{request("INVITE", home), true},
		{request("INVITE", home, "Digest x"), true},
		{request("INVITE", home, sign(t, strings.Repeat("A", 43), "INVITE", "alice", "wonderland", "MD5", 1)), true},
		{request("INVITE", home, sign(t, n, "INVITE", "alice", "wonderland", "MD5", 1)), false},
		{request("INVITE", home, sign(t, n, "INVITE", "alice", "wrong", "MD5", 1)), false},
		{request("ACK", home), false},
	} {
		if _, decided := w.Screen(tt.req); decided != tt.decided {
			t.Errorf("%d: %v", i, decided)
		}
	}
}

// A phone without qop (RFC 2069): its nonce serves once.
func TestWithoutQop(t *testing.T) {
	w := newWorld(nil)
	n := w.nonceFor(t, home)
	h := hashHex("MD5")
	auth := fmt.Sprintf(`Digest username="old", realm="parley", nonce="%s", uri="sip:1000@box", response="%s"`,
		n, h(h("old", realm, "phone"), n, h("INVITE", "sip:1000@box")))
	if got := say(w.Check(request("INVITE", home, auth))); got != "in by digest old" {
		t.Fatal(got)
	}
	if got := say(w.Check(request("INVITE", home, auth))); got != "401 stale" {
		t.Errorf("again: %s", got)
	}
}

// A count is good once, in whatever order the datagrams come.
func TestReplay(t *testing.T) {
	w := newWorld(nil)
	n := w.nonceFor(t, home)
	for i, step := range []struct {
		nc   int
		want string
	}{{1, "in by digest alice"}, {1, "401 stale"}, {3, "in by digest alice"}, {2, "in by digest alice"}, {2, "401 stale"},
		{3, "401 stale"}, {100, "in by digest alice"}, {36, "401 stale"}, {37, "in by digest alice"}, {37, "401 stale"}} {
		if got := say(w.Check(request("INVITE", home, sign(t, n, "INVITE", "alice", "wonderland", "MD5", step.nc)))); got != step.want {
			t.Errorf("step %d, nc %d: %s, want %s", i, step.nc, got, step.want)
		}
	}
}

// What is held of nonces is bounded, and forgetting one never makes it good a second time.
func TestReplayIsBounded(t *testing.T) {
	w := newWorld(func(c *Config) { c.MaxNonces = 8 })
	var used []string
	for range 50 {
		w.now = w.now.Add(time.Second)
		auth := sign(t, w.nonceFor(t, home), "INVITE", "alice", "wonderland", "MD5", 1)
		if got := say(w.Check(request("INVITE", home, auth))); got != "in by digest alice" {
			t.Fatal(got)
		}
		used = append(used, auth)
		if len(w.nonces.used) > 8 {
			t.Fatalf("%d nonces held", len(w.nonces.used))
		}
	}
	for i, auth := range used {
		if got := say(w.Check(request("INVITE", home, auth))); got != "401 stale" {
			t.Errorf("%d: %s", i, got)
		}
	}
	w.now = w.now.Add(-time.Hour) // the clock is set back
	_ = w.Check(request("INVITE", home, sign(t, w.nonceFor(t, home), "INVITE", "alice", "wonderland", "MD5", 1)))
	w.now = w.now.Add(time.Second)
	if got := say(w.Check(request("INVITE", home, sign(t, w.nonceFor(t, home), "INVITE", "alice", "wonderland", "MD5", 1)))); got != "in by digest alice" {
		t.Errorf("after the clock went back: %s", got)
	}
}

// X-7b: a wrong digest gets 401, from the third on 403 with a growing pause, and nobody else suffers.
func TestPenalty(t *testing.T) {
	w := newWorld(nil)
	try := func(from netip.AddrPort, user, password string) string {
		n := newNonceFor(w, from)
		return say(w.Check(request("INVITE", from, sign(t, n, "INVITE", user, password, "MD5", 1))))
	}
	expect := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	expect("first", try(elsewhere, "alice", "a"), "401")
	expect("second", try(elsewhere, "alice", "b"), "401")
	expect("third", try(elsewhere, "alice", "c"), "403 5s")
	expect("right within the pause", try(elsewhere, "alice", "wonderland"), "403 5s")
	expect("another user within the pause", try(elsewhere, "old", "phone"), "403 5s")
	expect("a stranger without credentials", say(w.Check(request("INVITE", elsewhere))), "401")
	expect("alice from her own phone", try(home, "alice", "wonderland"), "in by digest alice")
	w.now = w.now.Add(4999 * time.Millisecond)
	expect("a moment before", try(elsewhere, "alice", "d"), "403 1s")
	w.now = w.now.Add(time.Millisecond)
	expect("fourth", try(elsewhere, "alice", "d"), "403 10s")
	w.now = w.now.Add(10 * time.Second)
	expect("fifth", try(elsewhere, "alice", "e"), "403 20s")
	for range 30 {
		w.now = w.now.Add(15 * time.Minute)
		_ = try(elsewhere, "alice", "f")
	}
	expect("never longer than", try(elsewhere, "alice", "g"), "403 15m0s")
	w.now = w.now.Add(15 * time.Minute)
	expect("right after the pause", try(elsewhere, "alice", "wonderland"), "in by digest alice")
	expect("forgiven by it", try(elsewhere, "old", "x"), "401")
	w.now = w.now.Add(time.Hour)
	expect("forgotten after an hour", try(elsewhere, "alice", "h"), "401")
}

func newNonceFor(w *world, from netip.AddrPort) string { return w.newNonce(w.now, from.Addr()) }

// One password, or one's own good login, gives no new guesses at another's.
func TestInsiderGainsNothing(t *testing.T) {
	w := newWorld(nil)
	var got []string
	for i := range 4 {
		auth := sign(t, newNonceFor(w, elsewhere), "INVITE", "alice", fmt.Sprint(i), "MD5", 1)
		got = append(got, say(w.Check(request("INVITE", elsewhere, auth))))
		_ = w.Check(request("INVITE", elsewhere, sign(t, newNonceFor(w, elsewhere), "INVITE", "old", "phone", "MD5", 1)))
	}
	if want := []string{"401", "401", "403 5s", "403 5s"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Many addresses together get one guess each once their target is being guessed at; the target itself gets in.
func TestManyAddresses(t *testing.T) {
	w := newWorld(func(c *Config) { c.MaxGuilty = 64 })
	for i := range 1000 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 5060)
		for k := range 2 {
			v := w.Check(request("INVITE", from, sign(t, newNonceFor(w, from), "INVITE", "alice", "x", "MD5", 1)))
			if i > 2 && v.Outcome != Refused {
				t.Fatalf("address %d, try %d: %s", i, k, say(v))
			}
		}
		if len(w.sources.records) > 64 || len(w.users.records) > 64 {
			t.Fatalf("%d addresses and %d users held", len(w.sources.records), len(w.users.records))
		}
	}
	auth := sign(t, newNonceFor(w, home), "INVITE", "alice", "wonderland", "MD5", 1)
	if got := say(w.Check(request("INVITE", home, auth))); got != "in by digest alice" {
		t.Errorf("alice from a clean address: %s", got)
	}
}

// Who forges a victim's address never sees a nonce made for it, and so brings nothing upon the victim.
func TestForgedSourceLocksNobodyOut(t *testing.T) {
	w := newWorld(nil)
	stolen := newNonceFor(w, elsewhere)
	for i := range 20 {
		nonce := []string{stolen, strings.Repeat("A", 43), "x"}[i%3]
		if got := say(w.Check(request("INVITE", home, sign(t, nonce, "INVITE", "alice", "x", "MD5", 1)))); got != "401 stale" {
			t.Fatal(got)
		}
	}
	if len(w.sources.records) != 0 {
		t.Error("something is held against the victim")
	}
	auth := sign(t, newNonceFor(w, home), "INVITE", "alice", "wonderland", "MD5", 1)
	if got := say(w.Check(request("INVITE", home, auth))); got != "in by digest alice" {
		t.Error(got)
	}
}

// A whole /64 of IPv6 is one guesser.
func TestIPv6IsHeldByPrefix(t *testing.T) {
	w := newWorld(nil)
	got := ""
	for i := range 3 {
		from := netip.MustParseAddrPort(fmt.Sprintf("[2001:db8::%d]:5060", i+1))
		got = say(w.Check(request("INVITE", from, sign(t, newNonceFor(w, from), "INVITE", "u"+fmt.Sprint(i), "x", "MD5", 1))))
	}
	if got != "403 5s" {
		t.Error(got)
	}
}

// An account of which only the MD5 hash is kept is of no use to a phone that is offered SHA-256 first.
func TestAlgorithmsOffered(t *testing.T) {
	w := newWorld(func(c *Config) { c.Algorithms = []string{"MD5"} })
	v := w.Check(request("INVITE", home))
	if len(v.Challenges) != 1 || !strings.Contains(v.Challenges[0], "algorithm=MD5") {
		t.Fatalf("%q", v.Challenges)
	}
	auth := sign(t, newNonceFor(w, home), "INVITE", "alice", "wonderland", "SHA-256", 1)
	if got := say(w.Check(request("INVITE", home, auth))); got != "400 0s" {
		t.Errorf("an algorithm that was not offered: %s", got)
	}
}

// The answers to a wrong password and to an unknown user differ in the nonce alone.
func TestUnknownUserLooksLikeAWrongPassword(t *testing.T) {
	answers := func(user string) (out []string) {
		w := newWorld(nil)
		for i := range 5 {
			v := w.Check(request("INVITE", home, sign(t, newNonceFor(w, home), "INVITE", user, fmt.Sprint(i), "SHA-256", 1)))
			for j, c := range v.Challenges {
				ch, err := digest.ParseChallenge(c)
				if err != nil {
					t.Fatal(err)
				}
				v.Challenges[j] = strings.Replace(c, ch.Nonce, "N", 1)
			}
			out = append(out, fmt.Sprintf("%+v", v))
		}
		return out
	}
	if a, b := answers("alice"), answers("nobody"); !slices.Equal(a, b) {
		t.Errorf("%v\n%v", a, b)
	}
}

func TestCallsAreLimited(t *testing.T) {
	w := newWorld(func(c *Config) { c.MaxCalls = 2 })
	if !w.Enter("alice") || !w.Enter("alice") || w.Enter("alice") {
		t.Error("not two")
	}
	if !w.Enter("bob") {
		t.Error("bob pays for alice")
	}
	w.Leave("alice")
	if !w.Enter("alice") {
		t.Error("a place that was left stays taken")
	}
	w.Leave("alice")
	w.Leave("alice")
	w.Leave("bob")
	if len(w.calls) != 0 {
		t.Errorf("held: %v", w.calls)
	}
}

func FuzzAuthorization(f *testing.F) {
	f.Add(`Digest username="alice", realm="parley", nonce="n", uri="sip:1000@box", response="00", algorithm=MD5, qop=auth, nc=00000001, cnonce="c"`)
	f.Add(`Digest username="a\"b",realm="parley",nonce="n",uri="u",response="r"`)
	f.Add("NoOneKnowsThisScheme opaque-data=here")
	f.Add("Digest ")
	w := newWorld(nil)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseCredentials(s)
		if err == nil && (c.username == "" || c.nonce == "" || c.qop != "" && (c.nc == 0 || c.cnonce == "") ||
			strings.ContainsAny(c.username+c.realm+c.nonce+c.uri+c.response+c.cnonce+c.ncText, "\r\n\x00")) {
			t.Fatalf("%q -> %+v", s, c)
		}
		if v := w.Check(request("INVITE", home, s)); v.Outcome == Admitted {
			t.Fatalf("%q was admitted", s)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	for _, user := range []string{"alice", "nobody"} {
		b.Run(user, func(b *testing.B) {
			w := newWorld(nil)
			n := w.newNonce(w.now, home.Addr())
			h := hashHex("SHA-256")
			auth := fmt.Sprintf(`Digest username="%s", realm="parley", nonce="%s", uri="sip:1000@box", response="%s", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="c"`,
				user, n, h("x"))
			r := request("INVITE", home, auth)
			for b.Loop() {
				w.sources.records, w.users.records = map[netip.Prefix]*record{}, map[string]*record{}
				w.Check(r)
			}
		})
	}
}
