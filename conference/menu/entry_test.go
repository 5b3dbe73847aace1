package menu

import (
	"strings"
	"testing"
	"time"

	"parley/conference"

	"pgregory.net/rapid"
)

// caller is a test's caller, before a box with one conference that has begun or not.
type caller struct {
	*Entry
	now   time.Time
	begun bool
	said  []string
	enter *Enter
	why   string
	asks  []Ask
}

func call(from, to string, p *Penalties) *caller {
	c := &caller{Entry: NewEntry(from, to, p), now: start, begun: true}
	c.take(c.Start(c.now))
	return c
}

// take notes what comes of something, and answers questions as a box would that has conference 1234.
func (c *caller) take(o Outcome) {
	c.said = append(c.said, o.Say.Names...)
	if o.Enter != nil {
		c.enter = o.Enter
	}
	if o.HangUp != "" {
		c.why = o.HangUp
	}
	if o.Ask == nil {
		return
	}
	c.asks = append(c.asks, *o.Ask)
	v, role := Wrong, conference.MemberRole("")
	switch {
	case o.Ask.Conference == "1000":
		v = Welcome
	case o.Ask.Conference != "1234":
		v = Unknown
	case o.Ask.Password == "":
		v = Password
	case o.Ask.Password == "111111":
		v, role = Welcome, conference.Chair
	case o.Ask.Password == "222222":
		v, role = Welcome, conference.Guest
	}
	c.take(c.Answer(c.now, v, role, c.begun))
}

func (c *caller) press(digits string) {
	for _, d := range []byte(digits) {
		c.take(c.Digit(c.now, d))
	}
}

func (c *caller) pass(d time.Duration) {
	c.now = c.now.Add(d)
	c.take(c.Pass(c.now))
}

func (c *caller) heard() string {
	s := strings.Join(c.said, " ")
	c.said = nil
	return s
}

func (c *caller) expect(t *testing.T, what, want string) {
	t.Helper()
	if got := c.heard(); got != want {
		t.Errorf("%s: hears %q, want %q", what, got, want)
	}
}

func TestEntryByPassword(t *testing.T) {
	for _, c := range []struct {
		digits string
		role   conference.MemberRole
	}{{"111111#", conference.Chair}, {"222222#", conference.Guest}, {"99*222222#", conference.Guest}} {
		e := call("201", "1234", NewPenalties())
		e.expect(t, "at first", "ask-password")
		e.press(c.digits)
		if e.enter == nil || *e.enter != (Enter{"1234", c.role}) || !e.Over() || !e.Due().IsZero() {
			t.Errorf("%s: %+v", c.digits, e.enter)
		}
	}
}

func TestEntryByReception(t *testing.T) {
	e := call("201", "", NewPenalties())
	e.expect(t, "at first", "ask-number")
	e.press("4321#")
	e.expect(t, "an unknown number", "no-conference ask-number")
	e.press("1234#")
	e.expect(t, "the number", "ask-password")
	e.press("222222")
	if e.enter != nil {
		t.Fatal("in before the entry is complete")
	}
	e.pass(Between)
	if e.enter == nil || e.enter.Role != conference.Guest {
		t.Errorf("after a while: %+v", e.enter)
	}
	open := call("201", "", NewPenalties())
	open.press("1000#")
	if open.enter == nil || open.enter.Conference != "1000" || open.enter.Role != conference.Guest {
		t.Errorf("a conference without a password: %+v", open.enter)
	}
}

func TestEntryBeforeTheStart(t *testing.T) {
	e := call("201", "1234", NewPenalties())
	e.begun = false
	e.heard()
	e.press("222222#")
	e.expect(t, "admitted", "wait-for-start")
	if e.enter == nil {
		t.Error("not in")
	}
}

// Three tries, then goodbye, and hanging up when that has been said.
func TestEntryThreeTries(t *testing.T) {
	e := call("201", "1234", NewPenalties())
	e.heard()
	e.press("000000#")
	e.expect(t, "first", "wrong-password ask-password")
	e.press("11111111111111111#") // longer than any password: not even asked
	e.expect(t, "second", "wrong-password ask-password")
	e.press("111112#")
	e.expect(t, "third", "wrong-password goodbye")
	e.press("111111#")
	if e.enter != nil || e.why != "" {
		t.Errorf("in %v, hung up %q", e.enter, e.why)
	}
	e.pass(Parting)
	if e.why != "too many tries" || !e.Over() {
		t.Errorf("hung up %q", e.why)
	}
	if len(e.asks) != 3 {
		t.Errorf("%d questions, want 3", len(e.asks))
	}
}

// The same caller again has to wait, for a few seconds on the line, and longer ones not at all.
func TestEntryPauses(t *testing.T) {
	p := NewPenalties()
	e := call("201", "1234", p)
	e.press("000000#000000#000000#")
	e = call("201", "1234", p)
	e.heard()
	asked := len(e.asks)
	e.press("111111#")
	e.expect(t, "in the pause", "one-moment")
	if e.enter != nil || len(e.asks) != asked {
		t.Fatal("tried in the pause")
	}
	e.pass(time.Second)
	if e.enter == nil {
		t.Fatal("not tried after the pause")
	}
	for range 5 {
		p.callers.count(start, "201")
	}
	e = call("201", "1234", p)
	e.heard()
	e.press("111111#")
	e.expect(t, "in a long pause", "later")
	e.pass(Parting)
	if e.why == "" || e.enter != nil {
		t.Error("not hung up")
	}
}

// A pause holds for callers who wait for its end together: one of them tries, the others wait on.
func TestEntryPauseIsForAll(t *testing.T) {
	p := NewPenalties()
	for range FreeOfConference + 3 {
		p.conferences.count(start, "1234")
	}
	var all []*caller
	for _, from := range []string{"a", "b", "c"} {
		e := call(from, "1234", p)
		e.press("000000#")
		all = append(all, e)
	}
	for _, e := range all {
		e.pass(8 * time.Second)
	}
	tried := 0
	for _, e := range all {
		tried += len(e.asks) - 1
	}
	if tried != 1 {
		t.Errorf("%d tried at once", tried)
	}
}

func TestEntryOutcomes(t *testing.T) {
	for v, want := range map[Verdict]string{Full: "full", Locked: "locked", Failed: "later", Unknown: "no-conference goodbye", "?": "later"} {
		e := NewEntry("201", "1234", NewPenalties())
		e.Start(start)
		if o := e.Answer(start, v, "", true); strings.Join(o.Say.Names, " ") != want {
			t.Errorf("%s: %v", v, o.Say.Names)
		}
		if o := e.Answer(start, Welcome, conference.Chair, true); o.Enter != nil {
			t.Errorf("%s: a second answer lets in", v)
		}
		if o := e.Pass(start.Add(Parting)); o.HangUp == "" {
			t.Errorf("%s: not hung up", v)
		}
	}
	e := NewEntry("201", "1234", NewPenalties())
	e.Start(start)
	if o := e.Pass(start.Add(ForAnswer)); len(o.Say.Names) == 0 {
		t.Error("waits forever for an answer")
	}
}

// Who enters nothing is asked again, and then let go.
func TestEntrySilence(t *testing.T) {
	e := call("201", "1234", NewPenalties())
	for range 20 {
		if e.Due().IsZero() {
			break
		}
		e.pass(e.Due().Sub(e.now))
	}
	e.expect(t, "saying nothing", "ask-password ask-password ask-password goodbye")
	if e.why == "" {
		t.Error("never hung up")
	}
}

// Whatever is pressed and whenever: nobody comes in without a right password, nor is anything but digits asked, and every
// conversation ends.
func TestEntryProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := call("201", rapid.SampledFrom([]string{"", "1234", "9999"}).Draw(t, "to"), NewPenalties())
		for range rapid.IntRange(0, 80).Draw(t, "n") {
			if rapid.Bool().Draw(t, "digit") {
				e.press(rapid.SampledFrom([]string{"1", "2", "3", "0", "#", "*", "x", "1234#", "222222", "1112"}).Draw(t, "digits"))
			} else {
				e.pass(time.Duration(rapid.IntRange(0, 20000).Draw(t, "ms")) * time.Millisecond)
			}
		}
		for _, a := range e.asks {
			if len(a.Password) > Digits || strings.Trim(a.Password, "0123456789") != "" {
				t.Fatalf("asks for %q", a.Password)
			}
		}
		if last := len(e.asks) - 1; e.enter != nil {
			want := map[string]conference.MemberRole{"111111": conference.Chair, "222222": conference.Guest}[e.asks[last].Password]
			if want == "" || e.enter.Role != want {
				t.Fatalf("in as %s by %+v", e.enter.Role, e.asks[last])
			}
		}
		for range 50 {
			if e.Over() {
				break
			}
			if e.Due().IsZero() {
				t.Fatal("neither over nor due")
			}
			e.pass(max(0, e.Due().Sub(e.now)))
		}
		if !e.Over() || e.enter == nil && e.why == "" {
			t.Fatalf("not over: in %v, why %q", e.enter, e.why)
		}
	})
}

func FuzzEntry(f *testing.F) {
	f.Add("1234#222222#", true)
	f.Add("*#*#0000000000000000000000#", false)
	f.Fuzz(func(t *testing.T, digits string, reception bool) {
		to := "1234"
		if reception {
			to = ""
		}
		e := call("201", to, NewPenalties())
		for i, d := range []byte(digits) {
			e.take(e.Digit(e.now, d))
			e.pass(time.Duration(i%5) * time.Second)
		}
		if n := len(e.asks); e.enter != nil && e.asks[n-1].Password != "111111" && e.asks[n-1].Password != "222222" && e.asks[n-1].Conference != "1000" {
			t.Fatalf("in by %+v", e.asks[n-1])
		}
	})
}
