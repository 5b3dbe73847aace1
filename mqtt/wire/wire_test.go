package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"parley/conference"
)

func TestTopics(t *testing.T) {
	b, err := NewBox("local", "box-1")
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewConf("local", "1000")
	if err != nil {
		t.Fatal(err)
	}
	u, err := NewUser("local", "021:2001")
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewUser("local", GroupOf("box-1-41-3"))
	if err != nil {
		t.Fatal(err)
	}
	alert, err := b.Alert("no-card")
	if err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]Topic{
		b.State():         {Kind: KindState, EID: "local", Box: "box-1"},
		b.Info():          {Kind: KindInfo, EID: "local", Box: "box-1"},
		b.Cmd(VerbDial):   {Kind: KindCmd, EID: "local", Box: "box-1", Verb: VerbDial},
		b.Res(VerbHangup): {Kind: KindRes, EID: "local", Box: "box-1", Verb: VerbHangup},
		b.Keys():          {Kind: KindKeys, EID: "local", Box: "box-1"},
		b.Mute():          {Kind: KindMute, EID: "local", Box: "box-1"},
		b.Call():          {Kind: KindCall, EID: "local", Box: "box-1"},
		alert:             {Kind: KindAlert, EID: "local", Box: "box-1", Alert: "no-card"},
		b.Tele():          {Kind: KindTele, EID: "local", Box: "box-1"},
		b.Levels():        {Kind: KindLevels, EID: "local", Box: "box-1"},
		b.LevelsLease():   {Kind: KindLease, EID: "local", Box: "box-1"},
		c.Notice():        {Kind: KindConfNotice, EID: "local", ConfName: "1000"},
		c.State():         {Kind: KindConfState, EID: "local", ConfName: "1000"},
		c.Cmd():           {Kind: KindConfCmd, EID: "local", ConfName: "1000"},
		b.Bookings():      {Kind: KindBookings, EID: "local", Box: "box-1"},
		u.Cmd():           {Kind: KindUserCmd, EID: "local", User: "021:2001"},
		u.Notice():        {Kind: KindUserNotice, EID: "local", User: "021:2001"},
		u.IM():            {Kind: KindIM, EID: "local", User: "021:2001"},
		g.IM():            {Kind: KindIM, EID: "local", User: "cbox-1-41-3"},
	} {
		got, err := ParseTopic(topic)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", topic, got, err)
		}
		if !strings.HasPrefix(topic, "/e/local/") {
			t.Errorf("%s", topic)
		}
	}
	for _, topic := range []string{"", "/", "e/local/box/b/state", "/e/local/box/b", "/e/local/box/b/", "/e/local/box/B/state",
		"/e//box/b/state", "/e/local/box/b/state/", "/e/local/box/b/cmd", "/e/local/box/b/cmd/", "/e/local/box/b/cmd/a/b",
		"/e/local/box/b/cmd/+", "/e/local/box/+/state", "/e/local/conf/x/state", "/e/local/conf/1000/x", "/e/local/u/2001/x", "/e/local/u//cmd", "/e/local/u/+/cmd",
		"/e/local/im/u/", "/e/local/im/u/a/b", "/e/local/im/u/#", "/e/local/im/g/c1", "/e/local/im/u/" + strings.Repeat("1", 66), "/e/local/x/1/state",
		"/e/_/box/b/state", "/e/local/box/" + strings.Repeat("b", 33) + "/state", "/e/local/box/b/x/y", "/x/local/box/b/state"} {
		if got, err := ParseTopic(topic); err == nil {
			t.Errorf("%q is taken for %+v", topic, got)
		} else if !errors.Is(err, ErrBadTopic) && !errors.Is(err, ErrBadName) {
			t.Errorf("%q: %v", topic, err)
		}
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{"box-1": true, "a": true, "": false, "A": false, "a b": false, "a/b": false, "ä": false,
		"a+": false, "#": false, strings.Repeat("a", 32): true, strings.Repeat("a", 33): false, "a\x00": false} {
		if _, err := NewBox("local", name); (err == nil) != ok || err != nil && !errors.Is(err, ErrBadName) {
			t.Errorf("box %q: %v", name, err)
		}
	}
	for name, ok := range map[string]bool{"1000": true, "1": true, "": false, "x": false, "123456789": false, "-1": false} {
		if _, err := NewConf("local", name); (err == nil) != ok {
			t.Errorf("conference %q: %v", name, err)
		}
	}
	if _, err := NewBox("_", "b"); !errors.Is(err, ErrBadName) {
		t.Errorf("eid _: %v", err)
	}
}

// Whatever is wrong, the error says where.
func TestDecodeNamesTheField(t *testing.T) {
	deep := strings.Repeat(`{"calls":`, 20) + "1" + strings.Repeat("}", 20)
	for _, tt := range []struct {
		into checker
		text string
		path string
		kind error
	}{
		{new(BoxState), ``, "", ErrMalformed},
		{new(BoxState), `{`, "", ErrMalformed},
		{new(BoxState), `{"state":"ready"`, "", ErrMalformed},
		{new(BoxState), `{"state":"ready","sess":1} x`, "", ErrMalformed},
		{new(BoxState), `{"state":"ready","sess":1}{}`, "", ErrMalformed},
		{new(BoxState), `[]`, "", ErrInvalidValue},
		{new(BoxState), `null`, "", ErrInvalidValue},
		{new(BoxState), `"ready"`, "", ErrInvalidValue},
		{new(BoxState), `{"state":"ready"}`, "sess", ErrInvalidValue},
		{new(BoxState), `{"sess":1}`, "state", ErrInvalidValue},
		{new(BoxState), `{"state":"asleep","sess":1}`, "state", ErrInvalidValue},
		{new(BoxState), `{"state":"ready","sess":-1}`, "sess", ErrInvalidValue},
		{new(BoxState), `{"state":"ready","sess":1.5}`, "sess", ErrInvalidValue},
		{new(BoxState), `{"state":"ready","sess":"1"}`, "sess", ErrInvalidValue},
		{new(BoxState), `{"state":"ready","sess":null}`, "sess", ErrInvalidValue},
		{new(BoxState), `{"state":"ready","sess":99999999999999999999}`, "sess", ErrInvalidValue},
		{new(BoxState), `{"state":["ready"],"sess":1}`, "state", ErrInvalidValue},
		{new(BoxState), `{"state":"ready","sess":1,"more":2}`, "more", ErrUnknownField},
		{new(BoxState), `{"State":"ready","sess":1}`, "State", ErrUnknownField},
		{new(BoxState), `{"state":"ready","sess":1,"sess":2}`, "sess", ErrMalformed},
		{new(BoxState), "{\"state\":\"ready\xff\",\"sess\":1}", "", ErrMalformed},
		{new(BoxState), `{"state":"\ud800","sess":1}`, "state", ErrMalformed},
		{new(BoxState), `{"state":"ready","sess":NaN}`, "sess", ErrMalformed},
		{new(BoxState), strings.Repeat(" ", MaxPayload) + `{}`, "", ErrTooLarge},
		{new(Gate), `{"gate":"closed","reasons":[]}`, "gate", ErrInvalidValue},
		{new(Gate), `{"gate":"open","reasons":[{"reason":"self","by":"member","since":"2026-11-21T10:00:00Z"}]}`, "gate", ErrInvalidValue},
		{new(Gate), `{"gate":"closed","reasons":[{"reason":"self","by":"member","since":"yesterday"}]}`, "reasons[0].since", ErrInvalidValue},
		{new(Gate), `{"gate":"closed","reasons":[{"reason":"mood","by":"member","since":"2026-11-21T10:00:00Z"}]}`, "reasons[0].reason", ErrInvalidValue},
		{new(Gate), `{"gate":"closed","reasons":[{"reason":"self","who":1}]}`, "reasons[0].who", ErrUnknownField},
		{new(Levels), `{"at":"2026-11-21T10:00:00Z","members":[{"id":"a","rms":1e999,"peak":0}]}`, "members.rms", ErrInvalidValue},
		{new(Levels), `{"at":"2026-11-21T10:00:00Z","members":[{"id":"a","rms":3,"peak":0}]}`, "members[0].rms", ErrInvalidValue},
		{new(Lease), `{"id":"a","ttl_s":61}`, "ttl_s", ErrInvalidValue},
		{new(Alert), `{"sev":"warning","text":"red \u001b[31m","since":"2026-11-21T10:00:00Z"}`, "text", ErrInvalidValue},
		{new(Calls), deep, "calls", ErrInvalidValue},
		{new(Command), `{"id":"a","exp":1,"eid":"local","box":"b","verb":"mute","args":{"number":"1"}}`, "args.number", ErrInvalidValue},
		{new(Command), `{"id":"a","exp":1,"eid":"local","box":"b","verb":"dial","args":{}}`, "args.number", ErrInvalidValue},
		{new(Command), `{"id":"a","exp":1,"eid":"local","box":"b","verb":"dial","args":{"number":"1\r\nX: y"}}`, "args.number", ErrInvalidValue},
		{new(Command), `{"id":"a","exp":1,"eid":"local","box":"b","verb":"dial","args":{"number":"1 2"}}`, "args.number", ErrInvalidValue},
		{new(Command), `{"id":"a","exp":1,"eid":"local","box":"b","verb":"dial","args":{"nummer":"1"}}`, "args.nummer", ErrUnknownField},
		{new(Command), `{"id":"","exp":1,"eid":"local","box":"b","verb":"mute","args":{}}`, "id", ErrInvalidValue},
		{new(Command), `{"id":"a","exp":0,"eid":"local","box":"b","verb":"mute","args":{}}`, "exp", ErrInvalidValue},
		{new(Command), `{"id":"a","exp":1e3,"eid":"local","box":"b","verb":"mute","args":{}}`, "exp", ErrInvalidValue},
		{new(Command), `{"id":"a","exp":1,"eid":"local","box":"B","verb":"mute","args":{}}`, "box", ErrInvalidValue},
		{new(Answer), `{"id":"a","status":"failed"}`, "reason", ErrInvalidValue},
		{new(Answer), `{"id":"a","status":"done","reason":"busy"}`, "reason", ErrInvalidValue},
		{new(Envelope), `{"payload":"AA=","signatures":[]}`, "payload", ErrInvalidValue},
		{new(Envelope), `{"payload":"AA==\n","signatures":[]}`, "payload", ErrInvalidValue},
		{new(Envelope), `{"payload":"AB==","signatures":[]}`, "payload", ErrInvalidValue}, // bits that do not belong
		{new(Envelope), `{"payload":"AA==","signatures":[{"keyid":"k","sig":"AA=="}]}`, "signatures[0].sig", ErrInvalidValue},
	} {
		err := Decode([]byte(tt.text), tt.into)
		var field *FieldError
		if !errors.As(err, &field) || !errors.Is(err, tt.kind) || field.Path != tt.path {
			t.Errorf("%T %.90s\n got %v\nwant %q: %v", tt.into, tt.text, err, tt.path, tt.kind)
		}
	}
}

func TestDecodeIsBounded(t *testing.T) {
	deep := strings.Repeat(`{"x":`, 5000) + "1" + strings.Repeat("}", 5000)
	if err := DecodeKnown([]byte(deep), new(BoxState)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("depth: %v", err)
	}
	many := `{"x":[` + strings.Repeat("1,", 20000) + `1]}`
	if err := DecodeKnown([]byte(many), new(BoxState)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("values: %v", err)
	}
}

// Who watches a newer box is not disturbed by what it says more.
func TestDecodeKnown(t *testing.T) {
	var s BoxState
	if err := DecodeKnown([]byte(`{"state":"ready","sess":3,"new":{"a":[1,null,"x"]}}`), &s); err != nil || s.Sess != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	if err := DecodeKnown([]byte(`{"state":"ready","sess":3,"SESS":4}`), &s); !errors.Is(err, ErrUnknownField) {
		t.Errorf("a key that differs by case: %v", err)
	}
}

func TestEncodeRefusesWhatItWouldNotRead(t *testing.T) {
	for _, v := range []checker{&BoxState{}, &Gate{}, &Levels{At: time.Now(), Members: []Level{{ID: "a", RMS: math.NaN()}}},
		&Levels{At: time.Now(), Members: []Level{{ID: "a", RMS: math.Inf(-1)}}}, &Tele{}, &Lease{ID: "x", TTL: 100}} {
		if b, err := Encode(v); err == nil {
			t.Errorf("%T: %s", v, b)
		}
	}
	for _, v := range []checker{&Gate{Gate: Open}, &Calls{}, &Levels{At: time.Now()}, &Snapshot{Conf: "1000", UID: "u"},
		&Envelope{Payload: "AA=="}, &Bookings{EID: "local", Box: "b", Version: 1}} {
		if b, err := Encode(v); err != nil || strings.Contains(string(b), "null") {
			t.Errorf("%T: %s, %v", v, b, err)
		}
	}
	for in, want := range map[float64]float64{math.Inf(-1): Quietest, -200: Quietest, 3: 0, -31.456: -31.5} {
		if got := DBFS(in); got != want {
			t.Errorf("DBFS(%v) = %v", in, got)
		}
	}
	if DBFS(math.NaN()) != Quietest {
		t.Error("NaN is no level")
	}
}

func TestSupersedes(t *testing.T) {
	for _, tt := range []struct {
		old, new BoxState
		want     bool
	}{
		{BoxState{Ready, 41}, BoxState{Lost, 41}, true},
		{BoxState{Ready, 42}, BoxState{Lost, 41}, false},
		{BoxState{Lost, 41}, BoxState{Ready, 42}, true},
		{BoxState{Ready, 42}, BoxState{Disconnected, 42}, true},
	} {
		if got := tt.new.Supersedes(tt.old); got != tt.want {
			t.Errorf("%v after %v: %v", tt.new, tt.old, got)
		}
	}
}

// What conference tells comes through whole, and texts that a caller chose cannot do harm.
func TestConferenceOnTheWire(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	c := conference.New(conference.Rules{Number: "1000", UID: "c-1", Theme: "standing", Max: 30})
	var notices []Notice
	for _, cmd := range []conference.Command{
		{Do: conference.Add, Member: conference.Member{ID: "place", Place: true, State: conference.Connected}},
		{Do: conference.Add, Member: conference.Member{ID: "m2", Number: "2002", Name: "Ada\x1b[31m\n" + strings.Repeat("ä", 200),
			State: conference.Connected}, By: conference.Actor{Role: conference.BySystem}},
		{Do: conference.Mute, ID: "place", Reason: conference.Hardware, By: conference.Actor{Role: conference.ByKey}},
		{Do: conference.Unmute, ID: "place", Reason: conference.Hardware, By: conference.Actor{Role: conference.ByRemote, Name: "k"}},
		{Do: conference.Talk, ID: "m2"},
		{Do: conference.Remove, ID: "m2", Why: "hung up"},
	} {
		events, _ := c.Apply(now, cmd)
		for _, e := range events {
			n := NoticeOf(e)
			b, err := Encode(&n)
			if err != nil {
				t.Fatalf("%+v: %v", e, err)
			}
			var back Notice
			if err := Decode(b, &back); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			if back.Seq != e.Seq || back.Event != string(e.What) || back.Member.ID != e.Member.ID || back.UID != "c-1" {
				t.Errorf("%s", b)
			}
			notices = append(notices, back)
		}
	}
	if len(notices) != 6 || notices[3].Event != "unmute-requested" || notices[5].Why != "hung up" {
		t.Errorf("%+v", notices)
	}
	s := SnapshotOf(c.Snapshot())
	b, err := Encode(&s)
	if err != nil {
		t.Fatal(err)
	}
	var back Snapshot
	if err := Decode(b, &back); err != nil || len(back.Members) != 1 || back.Members[0].Mute[0].Reason != "hardware" || back.Seq != 6 {
		t.Errorf("%s, %v", b, err)
	}
	m, _ := c.Member("place")
	g := GateOf(m.Mute)
	if b, err := Encode(&g); err != nil || !json.Valid(b) || g.Gate != Closed {
		t.Errorf("%s, %v", b, err)
	}
	if g := GateOf(nil); g.Gate != Open || g.Check() != nil {
		t.Errorf("%+v", g)
	}
}

// However many calls there are and whatever callers call themselves: what is told is valid.
func TestWhatHasNoEndIsCut(t *testing.T) {
	now := time.Now()
	calls, levels, tele := &Calls{}, &Levels{At: now}, &Tele{At: now}
	for i := range 2 * MaxListed {
		id := fmt.Sprint("m", i)
		calls.Calls = append(calls.Calls, Call{ID: id, Direction: "in", Number: strings.Repeat("\x1b9", 100), State: "dialing-out", Conf: "12345678", Codec: "opus", Secure: true, Since: now})
		levels.Members = append(levels.Members, Level{ID: id})
		tele.Legs = append(tele.Legs, LegTele{Call: id})
	}
	for _, v := range []checker{calls, levels, tele, &Alert{Sev: "error", Text: strings.Repeat("no\n", 1000), Since: now}} {
		if b, err := Encode(v); err != nil {
			t.Errorf("%T of %d bytes: %v", v, len(b), err)
		}
	}
	if len(calls.Calls) != MaxListed || len(calls.Calls[0].Number) != maxCallNumber {
		t.Errorf("%d calls, a number of %d bytes", len(calls.Calls), len(calls.Calls[0].Number))
	}
}
