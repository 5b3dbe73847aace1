package registrar

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	t0   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	src  = netip.MustParseAddrPort("192.0.2.7:40000")
	src2 = netip.MustParseAddrPort("192.0.2.8:40000")
)

func c(uri string) Contact { return Contact{URI: uri, Q: Unset, Expires: Unset} }

func reg(callID string, cseq uint32, expires int, contacts ...Contact) Update {
	return Update{CallID: callID, CSeq: cseq, Expires: expires, Contacts: contacts, Source: src, Transport: "udp"}
}

func uris(bs []Binding) string {
	var s []string
	for _, b := range bs {
		s = append(s, b.URI)
	}
	return strings.Join(s, " ")
}

// Each case is a phone's story; the last step's result is what counts.
func TestRegister(t *testing.T) {
	type step struct {
		at   time.Duration
		u    Update
		err  error
		uris string // held after the step
	}
	q := func(uri string, q int) Contact { return Contact{URI: uri, Q: q, Expires: Unset} }
	ex := func(uri string, e int) Contact { return Contact{URI: uri, Q: Unset, Expires: e} }
	inst := func(uri, id string) Contact { return Contact{URI: uri, Q: Unset, Expires: Unset, Instance: id} }
	star := func(callID string, cseq uint32, expires int, cs ...Contact) Update {
		u := reg(callID, cseq, expires, cs...)
		u.Wildcard = true
		return u
	}
	tests := map[string][]step{
		"ask without contacts":        {{0, reg("a", 1, Unset), nil, ""}},
		"default expiry is an hour":   {{0, reg("a", 1, Unset, c("x")), nil, "x"}, {3599 * time.Second, reg("a", 2, Unset), nil, "x"}, {time.Hour, reg("a", 3, Unset), nil, ""}},
		"header's expiry":             {{0, reg("a", 1, 60, c("x")), nil, "x"}, {60 * time.Second, reg("a", 2, Unset), nil, ""}},
		"contact's before header's":   {{0, reg("a", 1, 60, ex("x", 120)), nil, "x"}, {119 * time.Second, reg("a", 2, Unset), nil, "x"}},
		"too long is cut":             {{0, reg("a", 1, 1<<30, c("x")), nil, "x"}, {time.Hour, reg("a", 2, Unset), nil, ""}},
		"too brief":                   {{0, reg("a", 1, 59, c("x")), ErrTooBrief, ""}},
		"one too brief, none applied": {{0, reg("a", 1, Unset, c("x"), ex("y", 1)), ErrTooBrief, ""}},
		"zero removes":                {{0, reg("a", 1, Unset, c("x"), c("y")), nil, "x y"}, {1, reg("a", 2, 0, c("x")), nil, "y"}},
		"zero for one unknown":        {{0, reg("a", 1, 0, c("x")), nil, ""}},
		"refresh":                     {{0, reg("a", 1, 60, c("x")), nil, "x"}, {50 * time.Second, reg("a", 2, 60, c("x")), nil, "x"}, {100 * time.Second, reg("a", 3, Unset), nil, "x"}},
		"older CSeq of the same call": {{0, reg("a", 5, 60, c("x")), nil, "x"}, {1, reg("a", 4, 0, c("x")), ErrOutOfOrder, "x"}},
		"same CSeq again":             {{0, reg("a", 5, 60, c("x")), nil, "x"}, {1, reg("a", 5, 60, c("x")), ErrOutOfOrder, "x"}},
		"other call, lower CSeq":      {{0, reg("a", 5, 60, c("x")), nil, "x"}, {1, reg("b", 1, 0, c("x")), nil, ""}},
		"out of order, none applied":  {{0, reg("a", 5, 60, c("x")), nil, "x"}, {1, reg("a", 5, 60, c("y"), c("x")), ErrOutOfOrder, "x"}},
		"wildcard removes all":        {{0, reg("a", 1, 60, c("x"), c("y")), nil, "x y"}, {1, star("a", 2, 0), nil, ""}},
		"wildcard by another call":    {{0, reg("a", 9, 60, c("x")), nil, "x"}, {1, star("b", 1, 0), nil, ""}},
		"wildcard out of order":       {{0, reg("a", 5, 60, c("x")), nil, "x"}, {1, star("a", 5, 0), ErrOutOfOrder, "x"}},
		"wildcard with expiry":        {{0, star("a", 1, 60), ErrMalformed, ""}},
		"wildcard without expiry":     {{0, star("a", 1, Unset), ErrMalformed, ""}},
		"wildcard beside a contact":   {{0, star("a", 1, 0, c("x")), ErrMalformed, ""}},
		"contact twice":               {{0, reg("a", 1, 60, c("x"), c("x")), ErrMalformed, ""}},
		"no Call-ID":                  {{0, reg("", 1, 60, c("x")), ErrMalformed, ""}},
		"overlong contact":            {{0, reg("a", 1, 60, c(strings.Repeat("x", 513))), ErrMalformed, ""}},
		"q orders":                    {{0, reg("a", 1, 60, q("x", 100), q("y", 900), q("z", 500)), nil, "y z x"}},
		"no q is the best q":          {{0, reg("a", 1, 60, q("x", 999), c("y")), nil, "y x"}},
		"recency orders equals":       {{0, reg("a", 1, 60, c("x")), nil, "x"}, {1, reg("b", 1, 60, c("y")), nil, "y x"}},
		"a moved phone leaves no ghost": {
			{0, reg("a", 1, 60, inst("x", "urn:1")), nil, "x"}, {1, reg("b", 1, 60, inst("y", "urn:1")), nil, "y"}},
		"contacts bounded":              {{0, reg("a", 1, 60, c("x"), c("y"), c("z")), nil, "x y z"}, {1, reg("b", 1, 60, c("w")), ErrTooManyContacts, "x y z"}},
		"refresh at the bound":          {{0, reg("a", 1, 60, c("x"), c("y"), c("z")), nil, "x y z"}, {1, reg("a", 2, 60, c("x")), nil, "x y z"}},
		"an expired one makes room":     {{0, reg("a", 1, 60, c("x"), c("y"), c("z")), nil, "x y z"}, {time.Minute, reg("b", 1, 60, c("w")), nil, "w"}},
		"expired ones know no CSeq":     {{0, reg("a", 5, 60, c("x")), nil, "x"}, {time.Minute, reg("a", 1, 60, c("x")), nil, "x"}},
		"replace within the same bound": {{0, reg("a", 1, 60, c("x"), c("y"), c("z")), nil, "x y z"}, {1, reg("a", 2, Unset, ex("x", 0), ex("w", 60)), nil, "w y z"}},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			r := New(Config{MaxContacts: 3})
			for i, s := range steps {
				now := t0.Add(s.at)
				got, err := r.Register(now, "alice", s.u)
				if !errors.Is(err, s.err) {
					t.Fatalf("step %d: error %v, want %v", i, err, s.err)
				}
				held := r.Lookup(now, "alice")
				if err == nil && uris(got) != uris(held) {
					t.Errorf("step %d: answered %q, holds %q", i, uris(got), uris(held))
				}
				a, b := strings.Fields(uris(held)), strings.Fields(s.uris)
				if !strings.Contains(name, "q") && !strings.Contains(name, "recency") {
					slices.Sort(a)
					slices.Sort(b)
				}
				if !slices.Equal(a, b) {
					t.Fatalf("step %d: holds %q, want %q", i, uris(held), s.uris)
				}
			}
		})
	}
}

func TestFlowIsKept(t *testing.T) {
	r := New(Config{})
	u := reg("a", 1, 60, c("sip:alice@10.0.0.1"))
	u.Transport, u.UserAgent = "tls", strings.Repeat("u", 1000)
	if _, err := r.Register(t0, "alice", u); err != nil {
		t.Fatal(err)
	}
	b := r.Lookup(t0, "alice")[0]
	if b.Source != src || b.Transport != "tls" || len(b.UserAgent) != 256 {
		t.Fatalf("binding %+v", b)
	}
	if got := r.Drop("tcp", src); got != nil {
		t.Errorf("another transport's flow dropped %v", got)
	}
	if got := r.Drop("tls", src2); got != nil {
		t.Errorf("another source's flow dropped %v", got)
	}
	if got := r.Drop("tls", src); len(got) != 1 || r.Lookup(t0, "alice") != nil {
		t.Errorf("Drop returned %v, left %v", got, r.Lookup(t0, "alice"))
	}
}

func TestTotalIsBounded(t *testing.T) {
	r := New(Config{MaxBindings: 10})
	for i := range 10 {
		if _, err := r.Register(t0, fmt.Sprint("u", i), reg("a", 1, 60, c("x"))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Register(t0, "late", reg("a", 1, 60, c("x"))); !errors.Is(err, ErrFull) {
		t.Fatalf("error %v", err)
	}
	if _, err := r.Register(t0, "u3", reg("a", 2, 60, c("x"))); err != nil {
		t.Errorf("a refresh was refused: %v", err)
	}
	if n := len(r.All(t0)); n != 10 {
		t.Errorf("%d bindings", n)
	}
	// The others expired: there is room again without anybody having swept.
	if _, err := r.Register(t0.Add(time.Minute), "late", reg("a", 1, 60, c("x"))); err != nil {
		t.Errorf("expired bindings hold the room: %v", err)
	}
	if n := len(r.Sweep(t0.Add(time.Hour))); n != 1 {
		t.Errorf("swept %d", n)
	}
	if r.total != 0 || len(r.users) != 0 {
		t.Errorf("%d bindings of %d users remain", r.total, len(r.users))
	}
}

func TestUsersAreApart(t *testing.T) {
	r := New(Config{})
	_, _ = r.Register(t0, "alice", reg("a", 1, 60, c("x")))
	_, _ = r.Register(t0, "bob", reg("a", 2, 60, c("x")))
	star := reg("a", 3, 0)
	star.Wildcard = true
	if _, err := r.Register(t0, "bob", star); err != nil {
		t.Fatal(err)
	}
	if uris(r.Lookup(t0, "alice")) != "x" || r.Lookup(t0, "bob") != nil {
		t.Error("bob's wildcard reached alice's binding, or not his own")
	}
}

// What a registrar tells of its bindings is what another one can begin with: those over UDP that still hold, within its bounds.
func TestRestore(t *testing.T) {
	kept := map[string][]Binding{}
	changed := 0
	r := New(Config{Changed: func(user string, bs []Binding) { changed++; kept[user] = bs }})
	tcp := reg("t", 1, 600, c("tcp"))
	tcp.Transport = "tcp"
	for _, u := range []Update{reg("a", 1, 60, c("short")), reg("b", 1, 600, c("long")), tcp} {
		if _, err := r.Register(t0, "200", u); err != nil {
			t.Fatal(err)
		}
	}
	r.Register(t0, "201", reg("c", 1, 600, c("x")))
	r.Register(t0, "201", reg("c", 2, Unset)) // only asks
	if changed != 4 || uris(kept["200"]) != "short long tcp" {
		t.Errorf("told %d times, %v", changed, kept)
	}
	r.Register(t0, "201", reg("c", 3, 0, c("x")))
	if len(kept["201"]) != 0 {
		t.Errorf("%v after it was removed", kept["201"])
	}
	r.Register(t0, "201", reg("c", 4, 60, c("x")))
	r.Drop("udp", src)
	if len(kept["201"]) != 0 || changed != 8 {
		t.Errorf("told %d times, %v", changed, kept)
	}

	r = New(Config{Changed: func(user string, bs []Binding) { kept[user] = bs }})
	r.Register(t0, "200", reg("a", 1, 60, c("short")))
	r.Register(t0, "200", reg("b", 1, 600, c("long")))
	r.Register(t0, "200", tcp)
	list := kept["200"]
	again := New(Config{MaxContacts: 2})
	if n := again.Restore(t0.Add(time.Second), "200", list); n != 2 || len(again.All(t0)) != 2 {
		t.Errorf("%d back: %v", n, again.All(t0))
	}
	if n := again.Restore(t0.Add(time.Minute), "200", list); n != 1 || uris(again.Lookup(t0, "200")) != "long" {
		t.Errorf("%d back, %v", n, again.All(t0))
	}
	if _, err := again.Register(t0, "200", reg("b", 1, 600, c("long"))); !errors.Is(err, ErrOutOfOrder) {
		t.Errorf("an old request counts: %v", err)
	}
	for name, b := range map[string]Binding{
		"another's":       {User: "201", URI: "x", CallID: "a", Expires: t0.Add(time.Minute), Source: src, Transport: "udp"},
		"for ever":        {User: "200", URI: "x", CallID: "a", Expires: t0.Add(48 * time.Hour), Source: src, Transport: "udp"},
		"from nowhere":    {User: "200", URI: "x", CallID: "a", Expires: t0.Add(time.Minute), Transport: "udp"},
		"without contact": {User: "200", CallID: "a", Expires: t0.Add(time.Minute), Source: src, Transport: "udp"},
	} {
		if n := New(Config{}).Restore(t0, "200", []Binding{b}); n != 0 {
			t.Errorf("%s is back", name)
		}
	}
	full := New(Config{MaxBindings: 1})
	if n := full.Restore(t0, "200", list); n != 1 {
		t.Errorf("%d back where there is room for one", n)
	}
}
