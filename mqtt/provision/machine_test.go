package provision

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"parley/mqtt/wire"
)

var (
	operator = ed25519.NewKeyFromSeed([]byte(strings.Repeat("o", ed25519.SeedSize)))
	stranger = ed25519.NewKeyFromSeed([]byte(strings.Repeat("s", ed25519.SeedSize)))
	ours, _  = wire.NewBox("local", "box-1")
)

// what is the settings of these tests: what a box with them is like.
type what struct {
	Bad    string `json:"bad,omitempty"`    // not valid: this is the path
	Lacks  string `json:"lacks,omitempty"`  // with them the box has no mqtt, sound or sip
	Crash  bool   `json:"crash,omitempty"`  // with them it crashes
	Number int    `json:"number,omitempty"` // nothing
}

func envelope(t testing.TB, version uint64, w what, change ...func(*wire.Desired)) []byte {
	t.Helper()
	raw, _ := json.Marshal(w)
	d := wire.Desired{Schema: 1, EID: "local", Box: "box-1", Version: version, ConfirmS: 30, Settings: raw}
	for _, c := range change {
		c(&d)
	}
	b, err := wire.SignDesired(d, operator)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// world is a box that runs, restarts and crashes, with its disk and its broker.
type world struct {
	t        testing.TB
	disk     *disk
	m        *machine
	now      time.Time
	retained []byte
	told     bool // of what the broker has retained, in this life
	facts    Facts
	firmware string
	same     bool // every document changes nothing
	lives    int
	trials   []uint64 // begun, in order
	pick     func(int) int
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, disk: newDisk(), now: time.Unix(1795255200, 0), firmware: "1", pick: func(n int) int { return 0 },
		facts: Facts{Idle: true, ClockSet: true, MQTT: true, Sound: true, SIP: []Registration{{"pbx", true}}}}
	w.boot("")
	return w
}

// boot begins a life.
func (w *world) boot(trial string) {
	w.t.Helper()
	if w.lives++; w.lives > 200 {
		w.t.Fatal("begins anew for ever")
	}
	store := NewStore("d", w.disk)
	w.told = false
	w.m = newMachine(Config{
		Box: ours, Keys: wire.NewKeySet(operator.Public().(ed25519.PublicKey)), Firmware: w.firmware, Store: store,
		Life: store.Load(ours).Choose(trial), Began: w.now, Validate: w.valid,
	})
	if w.m.Life.Trial {
		w.trials = append(w.trials, w.m.Life.Doc.Version)
	}
}

func (w *world) valid(d wire.Desired) (bool, error) {
	var x what
	json.Unmarshal(d.Settings, &x)
	if x.Bad != "" {
		return false, &Fault{Reason: wire.ReasonInvalidValue, Path: x.Bad, Detail: "is bad"}
	}
	return w.same, nil
}

// is what the box runs with.
func (w *world) is() (x what) {
	if d := w.m.Life.Doc; d != nil {
		json.Unmarshal(d.Settings, &x)
	}
	return x
}

// stands is the facts with what the settings take away.
func (w *world) stands() Facts {
	f, x := w.facts, w.is()
	f.SIP = slices.Clone(f.SIP)
	switch x.Lacks {
	case "mqtt":
		f.MQTT = false
	case "sound":
		f.Sound = false
	case "sip":
		f.SIP[0].Up = false
	}
	return f
}

// step lets a second pass. The broker tells what it has retained when the box is there.
func (w *world) step() {
	w.t.Helper()
	w.now = w.now.Add(time.Second)
	if w.is().Crash && w.m.onTrial() {
		w.boot("")
		return
	}
	if w.retained != nil && w.stands().MQTT && !w.told {
		w.told = true
		w.m.receive(w.now, w.retained)
	}
	o := w.m.look(w.now, w.stands())
	if r := w.m.report(); r.Check() != nil {
		w.t.Fatalf("a report that is not valid: %v", r.Check())
	}
	switch {
	case o.Begin && o.Trial > 0:
		w.boot(strconv.FormatUint(o.Trial, 10))
	case o.Begin:
		w.boot("")
	}
}

// cut runs f and tells whether the power was cut in it; then the box begins again.
func (w *world) cut(f func()) (was bool) {
	defer func() {
		if p := recover(); p != nil {
			if e, ok := p.(error); !ok || !errors.Is(e, errCut) {
				panic(p)
			}
			w.disk = w.disk.crash(w.pick)
			w.boot("")
			was = true
		}
	}()
	f()
	return false
}

func (w *world) send(b []byte) { w.retained, w.told = b, false }

func (w *world) until(what string, ok func(wire.Reported) bool) wire.Reported {
	w.t.Helper()
	for range 5000 {
		if r := w.m.report(); ok(r) {
			return r
		}
		w.step()
	}
	b, _ := json.Marshal(w.m.report())
	w.t.Fatalf("never: %s; the report is %s", what, b)
	return wire.Reported{}
}

func good(v uint64) func(wire.Reported) bool {
	return func(r wire.Reported) bool {
		return r.Good != nil && r.Good.Version == v && r.Trial == nil && r.Applied != nil && r.Applied.Version == v
	}
}

func rejected(v uint64, reason string) func(wire.Reported) bool {
	return func(r wire.Reported) bool {
		return r.Rejected != nil && r.Rejected.Version == v && r.Rejected.Reason == reason && r.Trial == nil
	}
}

func TestGoodAndBadSettings(t *testing.T) {
	w := newWorld(t)
	w.send(envelope(t, 1, what{}))
	w.until("1 is good", good(1))
	for i, lack := range []string{"mqtt", "sound", "sip"} {
		v := uint64(i + 2)
		w.send(envelope(t, v, what{Lacks: lack}))
		began := w.now
		r := w.until("undone without "+lack, rejected(v, wire.ReasonConfirmTimeout))
		if !strings.Contains(r.Rejected.Detail, lack) || !good(1)(r) && w.m.Life.Doc.Version != 1 && !w.m.undone {
			t.Errorf("%s: %+v", lack, r)
		}
		w.until("1 is back", good(1))
		if took := w.now.Sub(began); took < 30*time.Second || took > 40*time.Second {
			t.Errorf("%s: undone after %v", lack, took)
		}
	}
	w.send(envelope(t, 5, what{Crash: true}))
	w.until("rolled back", rejected(5, wire.ReasonRolledBack))
	w.until("1 is back", good(1))
	if want := []uint64{1, 2, 3, 4, 5, 5, 5}; !slices.Equal(w.trials, want) {
		t.Errorf("tried %v", w.trials)
	}
	for _, b := range [][]byte{envelope(t, 4, what{Number: 4}), envelope(t, 5, what{Number: 5})} {
		w.send(b)
		w.until("not newer than what was undone", func(r wire.Reported) bool { return r.Rejected.Reason == wire.ReasonStaleVersion && good(1)(r) })
	}
	w.send([]byte("something else"))
	w.until("refused", rejected(0, wire.ReasonInvalidJSON))
	w.send(envelope(t, 5, what{Crash: true}))
	for range 100 {
		w.step()
	}
	if want := []uint64{1, 2, 3, 4, 5, 5, 5}; !slices.Equal(w.trials, want) {
		t.Errorf("what has failed is tried again: %v", w.trials)
	}
	w.send(envelope(t, 6, what{Number: 6}))
	if r := w.until("6 is good", good(6)); r.Rejected != nil {
		t.Errorf("a rejection stays: %+v", r.Rejected)
	}
}

func TestRefusals(t *testing.T) {
	sign := func(payload string, key ed25519.PrivateKey) []byte {
		b, err := wire.Sign([]byte(payload), key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const right = `{"schema":1,"eid":"local","box":"box-1","version":9,"confirm_s":30,"settings":{}}`
	tampered := strings.Replace(string(sign(right, operator)), `"payload":"ey`, `"payload":"eX`, 1)
	for name, x := range map[string]struct {
		message []byte
		version uint64
		reason  string
		path    string
	}{
		"tampered":        {[]byte(tampered), 0, wire.ReasonBadSignature, ""},
		"unsigned":        {[]byte(`{"payload":"e30=","signatures":[]}`), 0, wire.ReasonBadSignature, ""},
		"stranger":        {sign(right, stranger), 0, wire.ReasonUnknownKey, ""},
		"other box":       {sign(strings.Replace(right, "box-1", "box-2", 1), operator), 0, wire.ReasonWrongBox, ""},
		"other eid":       {sign(strings.Replace(right, "local", "acme", 1), operator), 0, wire.ReasonWrongBox, ""},
		"schema":          {sign(strings.Replace(right, `"schema":1`, `"schema":2,"new":{}`, 1), operator), 9, wire.ReasonSchema, ""},
		"not json":        {[]byte("x"), 0, wire.ReasonInvalidJSON, ""},
		"signed not json": {sign("x", operator), 0, wire.ReasonInvalidJSON, ""},
		"unknown field":   {sign(strings.Replace(right, `"settings"`, `"x":1,"settings"`, 1), operator), 9, wire.ReasonUnknownField, "x"},
		"confirm_s":       {sign(strings.Replace(right, "30", "0", 1), operator), 9, wire.ReasonInvalidValue, "confirm_s"},
		"settings":        {sign(strings.Replace(right, "{}}", "[]}", 1), operator), 9, wire.ReasonInvalidValue, "settings"},
		"twice":           {sign(strings.Replace(right, "{}}", `{"a":1,"a":2}}`, 1), operator), 0, wire.ReasonInvalidJSON, "settings.a"},
		"deep":            {sign(strings.Replace(right, "{}}", `{"a":`+strings.Repeat("[", 20)+strings.Repeat("]", 20)+"}}", 1), operator), 0, wire.ReasonInvalidJSON, "settings.a[0][0][0][0][0][0][0]"},
		"huge":            {[]byte(strings.Repeat(" ", 70000)), 0, wire.ReasonInvalidJSON, ""},
		"bad":             {envelope(t, 9, what{Bad: "settings.card.volume"}), 9, wire.ReasonInvalidValue, "settings.card.volume"},
		"expired":         {envelope(t, 9, what{}, func(d *wire.Desired) { d.Exp = 1795255000 }), 9, wire.ReasonExpired, ""},
		"version 0":       {sign(strings.Replace(right, `"version":9`, `"version":0`, 1), operator), 0, wire.ReasonInvalidValue, "version"},
		"old":             {envelope(t, 1, what{Number: 1}), 1, wire.ReasonStaleVersion, ""},
		"the same number": {envelope(t, 2, what{Number: 1}), 2, wire.ReasonStaleVersion, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.send(envelope(t, 2, what{}))
			w.until("2 is good", good(2))
			lives, ops := w.lives, 0
			w.send(x.message)
			r := w.until("refused", func(r wire.Reported) bool { return r.Rejected != nil })
			if j := r.Rejected; j.Version != x.version || j.Reason != x.reason || j.Path != x.path || j.Hash != wire.HashOf(x.message) {
				t.Errorf("told %+v, want %+v", *j, x)
			}
			first := *r.Rejected
			for range 10 { // a poison that the broker keeps is told once, and written once at most
				ops = w.disk.ops
				w.told = false
				w.step()
			}
			if r := w.m.report(); *r.Rejected != first || w.disk.ops != ops || w.lives != lives || !good(2)(r) {
				t.Errorf("looped: %+v", r)
			}
			w.boot("")
			for range 10 {
				w.step()
			}
			if r := w.m.report(); r.Rejected == nil || r.Rejected.Reason != x.reason || !good(2)(r) {
				t.Errorf("after another start: %+v", r)
			}
			w.send(envelope(t, 10, what{Number: 1}))
			w.until("10 is good", good(10))
		})
	}
}

// What says nothing changes nothing; neither does what is in force already.
func TestNothingNew(t *testing.T) {
	w := newWorld(t)
	b := envelope(t, 1, what{})
	w.send(b)
	w.until("1 is good", good(1))
	lives, ops := w.lives, w.disk.ops
	for _, message := range [][]byte{nil, {}, b} {
		w.m.receive(w.now, message)
		w.step()
	}
	if r := w.m.report(); w.lives != lives || w.disk.ops != ops || r.Rejected != nil || !good(1)(r) {
		t.Errorf("%+v", r)
	}
	w.same = true
	w.send(envelope(t, 2, what{Number: 1}))
	w.until("2 is good", good(2))
	if w.lives != lives {
		t.Error("what changes nothing has had the box begin anew")
	}
	w.same = false
	w.boot("")
	if w.m.Life.Doc.Version != 2 {
		t.Errorf("begins with %d", w.m.Life.Doc.Version)
	}
}

func TestWaits(t *testing.T) {
	w := newWorld(t)
	w.facts.Idle = false
	w.send(envelope(t, 1, what{}))
	w.until("waits for the end of calls", func(r wire.Reported) bool { return r.Pending != nil && r.Pending.Reason == wire.ReasonBusy })
	for range 100 {
		w.step()
	}
	w.boot("") // a restart meanwhile
	w.send(envelope(t, 2, what{Number: 2}))
	w.until("the newer one waits", func(r wire.Reported) bool { return r.Pending != nil && r.Pending.Version == 2 })
	if w.lives != 2 {
		t.Fatalf("%d lives", w.lives)
	}
	w.facts.Idle = true
	w.until("2 is good", good(2))

	w.facts.ClockSet = false
	exp := w.now.Add(time.Minute).Unix()
	w.send(envelope(t, 3, what{Number: 3}, func(d *wire.Desired) { d.Exp = exp }))
	w.until("waits for the clock", func(r wire.Reported) bool { return r.Pending != nil && r.Pending.Reason == wire.ReasonClockUnset })
	w.facts.ClockSet = true
	w.until("3 is good", good(3))

	w.facts.Idle = false
	exp = w.now.Add(time.Minute).Unix()
	w.send(envelope(t, 4, what{Number: 4}, func(d *wire.Desired) { d.Exp = exp }))
	w.until("calls go on too long", rejected(4, wire.ReasonBusy))
	w.facts.Idle = true
	for range 10 {
		w.step()
	}
	if r := w.m.report(); !good(3)(r) {
		t.Errorf("%+v", r)
	}
}

// Settings that failed are endured while a call is on, but not for ever.
func TestUndoneAfterTheCall(t *testing.T) {
	w := newWorld(t)
	w.send(envelope(t, 1, what{}))
	w.until("1 is good", good(1))
	w.send(envelope(t, 2, what{Lacks: "sip"}))
	w.until("on trial", func(r wire.Reported) bool { return r.Trial != nil && len(r.Trial.Missing) > 0 })
	w.facts.Idle = false
	w.until("refused", rejected(2, wire.ReasonConfirmTimeout))
	lives := w.lives
	for range 60 {
		w.step()
	}
	if w.lives != lives {
		t.Fatal("a call was cut")
	}
	w.facts.Idle = true
	w.step()
	if w.until("1 is back", good(1)); w.lives != lives+1 {
		t.Errorf("%d lives, before %d", w.lives, lives)
	}
	w.send(envelope(t, 3, what{Lacks: "sip"}))
	w.until("on trial", func(r wire.Reported) bool { return r.Trial != nil && len(r.Trial.Missing) > 0 })
	w.facts.Idle = false
	began := w.now
	w.until("1 is back all the same", good(1))
	if took := w.now.Sub(began); took < patience-time.Minute || took > patience+time.Minute {
		t.Errorf("after %v", took)
	}
}

// A newer document takes the place of one on trial, which may be just what is wrong.
func TestNewerWhileOnTrial(t *testing.T) {
	w := newWorld(t)
	w.send(envelope(t, 1, what{}))
	w.until("1 is good", good(1))
	w.send(envelope(t, 2, what{Lacks: "sip"}))
	w.until("on trial", func(r wire.Reported) bool { return r.Trial != nil })
	w.send(envelope(t, 3, what{Number: 3}))
	w.until("3 is good", good(3))
	w.send(envelope(t, 4, what{Lacks: "sip"}))
	w.until("on trial", func(r wire.Reported) bool { return r.Trial != nil && r.Trial.Version == 4 })
	w.send(envelope(t, 5, what{Lacks: "sip", Number: 1})) // it was registered with 3, and must be with 5
	w.until("5 undone", rejected(5, wire.ReasonConfirmTimeout))
	w.until("3 is back", good(3))
}

// A document that waits at a start, when nothing is there yet, is tried when the box is itself: else it would prove nothing. One that has
// ended in a crash is held to what was there before it was tried first.
func TestTriedByWhatWasThere(t *testing.T) {
	w := newWorld(t)
	w.send(envelope(t, 1, what{}))
	w.until("1 is good", good(1))
	w.facts.Idle = false
	w.send(envelope(t, 2, what{Lacks: "sip"}))
	w.until("waits", func(r wire.Reported) bool { return r.Pending != nil })
	all := w.facts
	w.facts = Facts{Idle: true, ClockSet: true, SIP: []Registration{{"pbx", false}}}
	w.boot("")
	for range 5 {
		w.step()
	}
	if len(w.trials) != 1 {
		t.Fatal("is tried before the box is itself")
	}
	all.Idle = true
	w.facts = all
	w.until("on trial", func(r wire.Reported) bool { return r.Trial != nil })
	w.boot("") // a crash
	w.facts = Facts{Idle: true, ClockSet: true, MQTT: true, Sound: true, SIP: []Registration{{"pbx", false}}}
	w.until("on trial again", func(r wire.Reported) bool { return r.Trial != nil && r.Trial.Try == 2 })
	w.until("undone", rejected(2, wire.ReasonConfirmTimeout))
	w.until("1 is back", good(1))

	w.facts = Facts{Idle: true, ClockSet: true, MQTT: true} // a box without card and registrar takes settings, too
	w.send(envelope(t, 3, what{Number: 3}))
	w.until("3 is good", good(3))
}

// What other firmware has refused is looked at again; what has failed is not.
func TestOtherFirmware(t *testing.T) {
	w := newWorld(t)
	w.send(envelope(t, 1, what{Bad: "settings.x"}))
	w.until("refused", rejected(1, wire.ReasonInvalidValue))
	w.firmware = "2"
	w.boot("")
	w.m.Validate = func(wire.Desired) (bool, error) { return false, nil }
	w.step()
	w.until("1 is good", good(1))
	w.send(envelope(t, 2, what{Lacks: "mqtt"}))
	w.until("undone", rejected(2, wire.ReasonConfirmTimeout))
	w.until("1 is back", good(1))
	w.firmware = "3"
	tried := len(w.trials)
	w.boot("")
	for range 100 {
		w.step()
	}
	if len(w.trials) != tried || w.m.report().Rejected == nil {
		t.Errorf("tried again: %v", w.trials)
	}
}

func TestRegistrars(t *testing.T) {
	for _, x := range []struct {
		before []string
		now    string
		want   []string
	}{
		{nil, "a-", nil}, {nil, "", nil},
		{[]string{"a"}, "a+", nil}, {[]string{"a"}, "a-", []string{"sip a"}}, {[]string{"a"}, "", nil},
		{[]string{"a", "b"}, "a+b-c-", []string{"sip b"}}, {[]string{"a"}, "b-", []string{"sip b"}}, {[]string{"a"}, "b-c+", nil},
		{[]string{"a"}, "a+b-", nil},
	} {
		var now []Registration
		for i := 0; i < len(x.now); i += 2 {
			now = append(now, Registration{x.now[i : i+1], x.now[i+1] == '+'})
		}
		if got := (&tried{SIP: x.before}).unregistered(now); !slices.Equal(got, x.want) {
			t.Errorf("%v, now %s: %v", x.before, x.now, got)
		}
	}
}

func TestStorageFull(t *testing.T) {
	w := newWorld(t)
	w.send(envelope(t, 1, what{}))
	w.until("1 is good", good(1))
	w.disk.full = true
	w.send(envelope(t, 2, what{Number: 2}))
	r := w.until("refused", rejected(2, wire.ReasonStorageFull))
	for range 100 {
		w.step()
	}
	if r = w.m.report(); !good(1)(r) || r.Rejected == nil || r.Rejected.Reason != wire.ReasonStorageFull {
		t.Fatalf("%+v", r)
	}
	for name := range w.disk.names {
		if strings.HasSuffix(name, ".new") {
			t.Errorf("%s takes the room that others need", name)
		}
	}
	w.send(envelope(t, 3, what{Bad: "settings.x"})) // what cannot be noted is told all the same
	w.until("refused", rejected(3, wire.ReasonInvalidValue))
	w.disk.full = false
	w.send(envelope(t, 4, what{Number: 4}))
	w.until("4 is good by itself when there is room", good(4))

	w.disk.full = true
	w.send(envelope(t, 5, what{Number: 5}))
	w.until("refused", rejected(5, wire.ReasonStorageFull))
	w.disk.full, w.retained = false, nil
	w.until("5 is good, though nobody says it again", good(5))
}

// What has proved itself is not undone because that cannot be written down.
func TestProvedAndNotWritten(t *testing.T) {
	w := newWorld(t)
	w.send(envelope(t, 1, what{}))
	w.until("on trial", func(r wire.Reported) bool { return r.Trial != nil })
	w.disk.fails, w.disk.failAt = errors.New("I/O error"), w.disk.ops+1
	lives := w.lives
	w.until("1 is good", good(1))
	if w.lives != lives {
		t.Error("begun anew")
	}
}

// A damaged file is as if it were not there, and its document is taken again.
func TestDamage(t *testing.T) {
	for _, name := range []string{"d/good", "d/notes", "d/trial"} {
		for i, damage := range []func(string) string{
			func(s string) string { return s[:len(s)/2] }, func(string) string { return "" },
			func(s string) string { return strings.Replace(s, "e", "f", 1) }, func(s string) string { return strings.ToUpper(s) },
			func(string) string { return strings.Repeat("x", maxKept+1) },
		} {
			w := newWorld(t)
			w.send(envelope(t, 1, what{}))
			w.until("1 is good", good(1))
			w.facts.Idle = false
			w.send(envelope(t, 2, what{Number: 2}))
			w.until("2 waits", func(r wire.Reported) bool { return r.Pending != nil })
			old, ok := w.disk.names[name]
			if !ok {
				t.Fatalf("no %s: %v", name, w.disk.list())
			}
			w.disk.names[name] = damage(old)
			w.boot("")
			w.facts.Idle = true
			w.until(fmt.Sprintf("2 is good, %s damaged by %d", name, i), good(2))
		}
	}
	w := newWorld(t)
	b := envelope(t, 1, what{})
	w.send(b)
	w.until("1 is good", good(1))
	delete(w.disk.names, "d/good")
	w.boot("")
	w.until("1 is good again", good(1))
}

// What another box of the same name has left, before an enrolment elsewhere, is not ours.
func TestKeptForAnother(t *testing.T) {
	w := newWorld(t)
	w.send(envelope(t, 1, what{}))
	w.until("1 is good", good(1))
	other, _ := wire.NewBox("acme", "box-1")
	k := NewStore("d", w.disk).Load(other)
	if k.Good != nil || len(k.Faults) != 1 || k.notes.Seen != 0 {
		t.Errorf("%+v", k)
	}
}

// The box could not run with what is on trial, and says so itself.
func TestFail(t *testing.T) {
	w := newWorld(t)
	w.send(envelope(t, 1, what{}))
	w.until("1 is good", good(1))
	w.send(envelope(t, 2, what{Number: 2}))
	w.until("on trial", func(r wire.Reported) bool { return r.Trial != nil })
	store := NewStore("d", w.disk)
	if err := store.Fail(ours, *w.m.Life.Doc, "1", "setting `card`: no such device\n"+strings.Repeat("ü", 5000), w.now); err != nil {
		t.Fatal(err)
	}
	w.boot("2") // even if the next life is told otherwise
	r := w.until("refused", rejected(2, wire.ReasonApplyFailed))
	if !good(1)(r) || !strings.Contains(r.Rejected.Detail, "no such device") {
		t.Errorf("%+v", r)
	}
}

// X-9, at every operation on the disk: whatever fails there, and wherever the power is cut, the box begins with what was good or with
// what is, each whole; what is bad is never good; and it all ends as it does without.
func TestEveryWrite(t *testing.T) {
	steps := []struct {
		message []byte
		ok      func(wire.Reported) bool
	}{
		{envelope(t, 1, what{Number: 1}), good(1)},
		{envelope(t, 2, what{Lacks: "sip"}), rejected(2, wire.ReasonConfirmTimeout)},
		{envelope(t, 3, what{Number: 3}), good(3)},
		{envelope(t, 4, what{Bad: "settings.x"}), rejected(4, wire.ReasonInvalidValue)},
		{envelope(t, 5, what{Crash: true}), rejected(5, wire.ReasonRolledBack)},
		{envelope(t, 6, what{Number: 6}), good(6)},
	}
	last := func(w *world) { // what was told to be good is, even if nothing was written after it
		w.t.Helper()
		w.disk = w.disk.crash(func(int) int { return 0 })
		w.boot("")
		if d := w.m.Life.Doc; d == nil || d.Version != 6 {
			w.t.Errorf("operation %d: after a power cut at the end it begins with %+v", w.disk.failAt, d)
		}
	}
	script := func(w *world, between func(func()) bool) {
		for _, x := range steps {
			w.send(x.message)
			for n := 0; !x.ok(w.m.report()); n++ {
				if n > 2000 {
					b, _ := json.Marshal(w.m.report())
					w.t.Fatalf("operation %d: never ends: %s, %v", w.disk.failAt, b, w.disk.list())
				}
				if between(w.step) {
					sane(w)
				}
			}
		}
	}
	whole := newWorld(t)
	script(whole, func(f func()) bool { f(); return false })
	operations := whole.disk.ops
	last(whole)
	if operations < 40 {
		t.Fatalf("only %d operations", operations)
	}
	for k := 1; k <= operations; k++ {
		for seed := range uint64(4) {
			w := newWorld(t)
			random := rand.New(rand.NewPCG(uint64(k), seed))
			w.pick = random.IntN
			w.disk.failAt = k
			cuts := 0
			script(w, func(f func()) bool {
				was := w.cut(f)
				if was {
					cuts++
				}
				return was
			})
			last(w)
			if cuts != 1 {
				t.Errorf("operation %d: %d cuts", k, cuts)
			}
		}
		w := newWorld(t)
		w.disk.failAt, w.disk.fails = k, errFull
		script(w, func(f func()) bool { f(); return false })
		last(w)
	}
	t.Logf("%d operations, each failed once and cut four times", operations)
}

// sane holds that what the disk says is whole and was good, or waits.
func sane(w *world) {
	w.t.Helper()
	k := NewStore("d", w.disk).Load(ours)
	if len(k.Faults) > 0 {
		w.t.Fatalf("operation %d: %v", w.disk.failAt, k.Faults)
	}
	if k.Good != nil && !slices.Contains([]uint64{1, 3, 6}, k.Good.Version) {
		w.t.Fatalf("operation %d: %d is good", w.disk.failAt, k.Good.Version)
	}
	if d := w.m.Life.Doc; d != nil && !w.m.Life.Trial && !slices.Contains([]uint64{1, 3, 6}, d.Version) {
		w.t.Fatalf("operation %d: %d is in force", w.disk.failAt, d.Version)
	}
}

// FuzzKept: files that say anything end nothing, and only a whole document is taken.
func FuzzKept(f *testing.F) {
	f.Add(envelope(f, 1, what{}), []byte(`{"for":"local/box-1","seen":3,"refused":{"version":2,"reason":"busy"},"tried":{"hash":"x","count":-1}}`))
	f.Add([]byte("x\n{}"), []byte(`{"for":"local/box-1","refused":{}}`))
	f.Fuzz(func(t *testing.T, kept, noted []byte) {
		w := newWorld(t)
		for name, content := range map[string][]byte{"trial": kept, "good": kept, "notes": noted} {
			w.disk.names["d/"+name] = sumOf(content) + "\n" + string(content)
		}
		w.boot("1")
		if g := w.m.good; g != nil && wire.HashOf(g.Envelope) != g.Hash {
			t.Fatal("a document that is not whole")
		}
		w.m.receive(w.now, envelope(t, 1<<60, what{}))
		w.m.look(w.now, w.stands())
		r := w.m.report()
		if _, err := wire.Encode(&r); err != nil {
			t.Fatalf("a report that cannot be told: %v", err)
		}
	})
}
