package menu

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/conference"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func guest() View {
	return View{Queued: true, Member: conference.Member{ID: "m1", Number: "201", Role: conference.Guest, State: conference.Connected}}
}

func host() View {
	v := guest()
	v.Member.Role = conference.Chair
	return v
}

func press(digits string, v View) (last Step) {
	var m Menu
	for _, d := range []byte(digits) {
		last = m.Digit(start, d, v)
	}
	return last
}

func with(v View, change func(*View)) View {
	change(&v)
	return v
}

// Each entry of the menu asks for what the manual says, for those who may, as things are.
func TestMenu(t *testing.T) {
	asked := func(v *View) { v.Member.Asked = "m2" }
	away := func(v *View) { v.Member.Room = "r1" }
	for _, c := range []struct {
		digits string
		view   View
		do     conference.Do
		id     string
		says   string
	}{
		{"*1", guest(), conference.AskFloor, "", ""},
		{"*2", guest(), conference.YieldFloor, "", ""},
		{"*6", guest(), conference.Mute, "m1", ""},
		{"*6", with(guest(), func(v *View) { v.Member.Mute = conference.Reasons{{Reason: conference.Self}} }), conference.Unmute, "m1", ""},
		{"*6", with(guest(), func(v *View) { v.Member.Mute = conference.Reasons{{Reason: conference.Host}} }), conference.Mute, "m1", ""},
		{"*3", guest(), "", "", "not-possible"},
		{"*3", with(guest(), asked), conference.Accept, "m2", ""},
		{"*3", with(guest(), away), conference.Return, "m1", ""},
		{"*8", guest(), "", "", "not-possible"},
		{"*8", with(guest(), asked), conference.Decline, "m2", ""},
		{"*8", with(guest(), away), conference.CallHost, "", ""},
		{"*4", guest(), "", "", "not-allowed"},
		{"*5", guest(), "", "", "not-allowed"},
		{"*7", guest(), "", "", "not-allowed"},
		{"*9", guest(), "", "", "not-allowed"},
		{"*4", host(), conference.CloseHouse, "", ""},
		{"*4", with(host(), func(v *View) { v.House = true }), conference.OpenHouse, "", ""},
		{"*5", host(), conference.Lock, "", ""},
		{"*5", with(host(), func(v *View) { v.Locked = true }), conference.Unlock, "", ""},
		{"*7", host(), conference.Record, "", ""},
		{"*7", with(host(), func(v *View) { v.Recording.On = true }), conference.StopRecord, "", ""},
		{"*9", host(), conference.NextSpeaker, "", ""},
		{"*#", guest(), "", "", "wrong-key"},
		{"1", guest(), "", "", ""},
		{"4", host(), "", "", ""},
		{"*", guest(), "", "", ""},
		{"1*1", guest(), conference.AskFloor, "", ""},
		{"*11", guest(), "", "", ""},
		{"*A", guest(), "", "", ""},
		{"*1", with(guest(), func(v *View) { v.Member.Proving = true }), "", "", ""},
		{"*1", View{}, "", "", ""},
	} {
		s := press(c.digits, c.view)
		says := strings.Join(s.Say.Names, " ")
		switch {
		case says != c.says:
			t.Errorf("%s as %s: says %q, want %q", c.digits, c.view.Member.Role, says, c.says)
		case (s.Do == nil) != (c.do == ""):
			t.Errorf("%s as %s: command %v, want %q", c.digits, c.view.Member.Role, s.Do, c.do)
		case s.Do == nil:
		case s.Do.Do != c.do || s.Do.ID != c.id:
			t.Errorf("%s as %s: %s of %q, want %s of %q", c.digits, c.view.Member.Role, s.Do.Do, s.Do.ID, c.do, c.id)
		case s.Do.By != conference.Actor{Role: conference.ByMember, Name: "201", Member: "m1"} || s.Do.May != nil:
			t.Errorf("%s: by %+v", c.digits, s.Do.By)
		}
	}
}

// A star that nothing follows is forgotten.
func TestStarIsForgotten(t *testing.T) {
	var m Menu
	m.Digit(start, '*', guest())
	if due := m.Due(); due != start.Add(Timeout) {
		t.Errorf("due %v", due)
	}
	if s := m.Digit(start.Add(Timeout), '1', guest()); s.Do != nil {
		t.Error("a digit after the time-out is a command")
	}
	m.Digit(start, '*', guest())
	m.Pass(start.Add(Timeout - 1))
	if s := m.Digit(start.Add(Timeout-1), '1', guest()); s.Do == nil {
		t.Error("a digit within the time-out is none")
	}
	if !m.Due().IsZero() {
		t.Error("still due")
	}
}

// Help names what the member can press, and nothing else.
func TestHelp(t *testing.T) {
	keys := func(s Step) (k string) {
		for i, n := range s.Say.Names {
			if i%3 == 2 {
				k += n
			}
		}
		return k
	}
	open := func(v *View) { v.Queued = false }
	for _, c := range []struct {
		view View
		want string
	}{
		{guest(), "126"}, {with(guest(), open), "6"}, {host(), "1264579"}, {with(host(), open), "6457"},
		{with(guest(), func(v *View) { v.Member.Room = "r1" }), "12638"},
	} {
		if got := keys(press("*0", c.view)); got != c.want {
			t.Errorf("*0 as %s: %s, want %s", c.view.Member.Role, got, c.want)
		}
		if got := keys(press("**", c.view)); got != c.want {
			t.Errorf("** as %s: %s, want %s", c.view.Member.Role, got, c.want)
		}
	}
}

// Whatever is pressed, a guest's telephone asks for nothing that the conference would refuse him as a guest, and nothing is
// asked for that is not known.
func FuzzMenu(f *testing.F) {
	f.Add("*1*4**0#*9", uint16(0))
	f.Add("*5*7*6", uint16(0xffff))
	f.Fuzz(func(t *testing.T, digits string, bits uint16) {
		v := guest()
		v.Queued, v.House, v.Locked, v.Recording.On = bits&1 > 0, bits&2 > 0, bits&4 > 0, bits&8 > 0
		if bits&16 > 0 {
			v.Member.Room = "r1"
		}
		if bits&32 > 0 {
			v.Member.Asked = "m2"
		}
		allowed := []conference.Do{conference.AskFloor, conference.YieldFloor, conference.Mute, conference.Unmute, conference.Accept,
			conference.Decline, conference.Return, conference.CallHost}
		var m Menu
		now := start
		for i, d := range []byte(digits) {
			now = now.Add(time.Duration(i%7) * time.Second)
			s := m.Digit(now, d, v)
			if s.Do != nil && (!slices.Contains(allowed, s.Do.Do) || len(s.Say.Names) > 0) {
				t.Fatalf("%q: %+v", digits[:i+1], s)
			}
		}
	})
}

// The commands are what the conference takes: a guest's and a host's presses are tried on a real one.
func TestMenuOnConference(t *testing.T) {
	c := conference.New(conference.Rules{Number: "1234", UID: "u", Kind: conference.Standing, Speakers: 1})
	apply := func(cmd conference.Command) error {
		_, err := c.Apply(start, cmd)
		return err
	}
	for _, m := range []conference.Member{
		{ID: "h", Number: "200", Role: conference.Chair, State: conference.Connected},
		{ID: "g", Number: "201", Role: conference.Guest, State: conference.Connected},
	} {
		if err := apply(conference.Command{Do: conference.Add, Member: m, By: conference.Actor{Role: conference.BySystem}}); err != nil {
			t.Fatal(err)
		}
	}
	dial := func(id, digits string) error {
		s := c.Snapshot()
		step := press(digits, ViewOf(&s, id))
		if step.Do == nil {
			t.Fatalf("%s presses %s: says %v", id, digits, step.Say.Names)
		}
		return apply(*step.Do)
	}
	for _, c := range []struct{ who, digits string }{
		{"h", "*1"}, {"g", "*1"}, {"h", "*9"}, {"g", "*2"}, {"g", "*6"}, {"g", "*6"}, {"h", "*4"}, {"h", "*4"}, {"h", "*5"}, {"h", "*5"},
		{"h", "*7"}, {"h", "*7"},
	} {
		if err := dial(c.who, c.digits); err != nil {
			t.Errorf("%s presses %s: %v", c.who, c.digits, err)
		}
	}
	if s := c.Snapshot(); s.House || s.Locked || s.Recording.On {
		t.Error("what was pressed twice is not as before")
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""}, {fmt.Errorf("x: %w", conference.ErrDenied), "not-allowed"}, {conference.ErrNoQueue, "not-possible"},
		{conference.ErrLocked, "locked"},
	} {
		if got := strings.Join(Refused(c.err).Names, " "); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

// Guesses never come faster than the pauses let them, whoever makes them in whatever order.
func TestPenaltiesHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, now := NewPenalties(), start
		tries := 0
		for range rapid.IntRange(1, 300).Draw(t, "n") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond)
			if p.Try(now, rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "caller"), "1234") == 0 {
				tries++
			}
		}
		// After the free ones: pauses of 1, 2, 4 … 32, then 60 s.
		most, left := FreeOfConference, now.Sub(start)
		for pause := time.Second; left >= 0; pause = min(2*pause, MaxOfConference) {
			left -= pause
			most++
		}
		if tries > most {
			t.Fatalf("%d wrong tries in %v, at most %d may be", tries, now.Sub(start), most)
		}
	})
}

func TestPenalties(t *testing.T) {
	p := NewPenalties()
	want := []time.Duration{0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}
	now := start
	for i, w := range want {
		if got := p.Try(now, "201", ""); got != 0 {
			t.Fatalf("try %d has to wait %v", i, got)
		}
		if got := p.callers.wait(now, "201"); got != w*time.Second {
			t.Errorf("after try %d the pause is %v, want %v s", i, got, int(w))
		}
		now = now.Add(w * time.Second)
	}
	p.Right("201", "")
	now = now.Add(30 * time.Minute)
	p.Try(now, "201", "")
	if p.Try(now, "201", "") == 0 {
		t.Error("a right one wipes out the wrong ones")
	}
	if p.Try(now, "202", "") != 0 {
		t.Error("another caller has to wait")
	}
	if p.Try(now.Add(Forgotten), "201", "") != 0 {
		t.Error("nothing is ever forgotten")
	}
	for i := range 5000 {
		p.Try(now, fmt.Sprint(i), "77")
	}
	if len(p.callers.keys) > maxKeys {
		t.Errorf("%d callers are remembered", len(p.callers.keys))
	}
}

// Every prompt that is asked for is in the table of texts, and every text is asked for.
func TestPromptsAreThere(t *testing.T) {
	table, err := os.ReadFile("../../audio/prompt/texts.txt")
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for line := range strings.Lines(string(table)) {
		if name, _, ok := strings.Cut(line, "|"); ok && line[0] != '#' {
			there = append(there, strings.TrimSpace(name))
		}
	}
	asked := Prompts()
	for _, name := range asked {
		if !slices.Contains(there, name) {
			t.Errorf("nobody can say %q", name)
		}
	}
	for _, name := range there {
		number := strings.Trim(name, "0123456789") == ""
		if !number && !slices.Contains(asked, name) {
			t.Errorf("%q is never said", name)
		}
	}
}

// The manual's tables are the code's.
func TestManual(t *testing.T) {
	manual, err := os.ReadFile("../../docs/telephone-menu.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, l := range Book() {
		who := "everybody"
		if l.Host {
			who = "hosts"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", l.Keys, who, l.Does)
	}
	if !strings.Contains(string(manual), "| --- | --- | --- |\n"+want.String()+"\n") {
		t.Errorf("docs/telephone-menu.md wants this table:\n%s", want.String())
	}
	for _, say := range []string{
		fmt.Sprintf("%d seconds", int(Timeout.Seconds())), fmt.Sprintf("%d tries", Tries), fmt.Sprintf("%d s", int(MaxOfCaller.Seconds())),
		fmt.Sprintf("%d s", int(MaxOfConference.Seconds())),
	} {
		if !strings.Contains(string(manual), say) {
			t.Errorf("docs/telephone-menu.md does not say %q", say)
		}
	}
}
