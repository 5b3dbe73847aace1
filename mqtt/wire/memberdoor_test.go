package wire

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/conference"
)

var (
	keyAda = ed25519.NewKeyFromSeed([]byte(strings.Repeat("A", 32)))
	keyBo  = ed25519.NewKeyFromSeed([]byte(strings.Repeat("B", 32)))
)

const onConf, onUser = "/e/local/conf/1000/cmd", "/e/local/u/2001/cmd"

// hall is a member door with a clock and four people's tokens.
type hall struct {
	*MemberDoor
	now   time.Time
	unset bool
}

func newHall(t testing.TB) *hall {
	t.Helper()
	h := &hall{now: time.Unix(1_800_000_000, 0)}
	tokens := map[string]Claims{
		"ada":     {Subject: "2001", Role: "host", Key: public(keyAda)},
		"bo":      {Subject: "2002", Role: "guest", Key: public(keyBo)},
		"unbound": {Subject: "2001", Role: "host"},
		"only":    {Subject: "2001", Role: "host", Key: public(keyAda), Conference: "c-1"},
		"number":  {Subject: "2001", Role: "host", Key: public(keyAda), Conference: "1000"},
		"other":   {Subject: "2001", Role: "host", Key: public(keyAda), Conference: "c-2"},
		"strange": {Subject: "a/b", Key: public(keyAda)},
	}
	h.MemberDoor = NewMemberDoor(MemberConfig{EID: "local", MaxSeen: 16, Now: func() time.Time { return h.now },
		ClockSet: func() bool { return !h.unset },
		Verify: func(token string) (Claims, error) {
			switch token {
			case "old":
				return Claims{}, fmt.Errorf("%w: an hour ago", ErrTokenExpired)
			case "withdrawn":
				return Claims{}, ErrTokenRevoked
			}
			if c, ok := tokens[token]; ok {
				return c, nil
			}
			return Claims{}, errors.New("only tokens signed with EdDSA count")
		}})
	return h
}

func (h *hall) command(id string) ConfCommand {
	return ConfCommand{ID: id, Exp: h.now.Add(30 * time.Second).Unix(), Topic: onConf, UID: "c-1", By: "2001", Token: "ada",
		Do: conference.Mute, Member: "m2"}
}

func TestMemberDoor(t *testing.T) {
	with := func(f func(*ConfCommand)) func(*testing.T, *hall) []byte {
		return func(t *testing.T, h *hall) []byte {
			c := h.command("x1")
			f(&c)
			return sign(t, c, keyAda)
		}
	}
	text := func(text string) func(*testing.T, *hall) []byte {
		return func(t *testing.T, h *hall) []byte { return sign(t, text, keyAda) }
	}
	raw := func(text string) func(*testing.T, *hall) []byte {
		return func(*testing.T, *hall) []byte { return []byte(text) }
	}
	token := func(token string) func(*testing.T, *hall) []byte {
		return with(func(c *ConfCommand) { c.Token = token })
	}
	by := func(key ed25519.PrivateKey, f func(*ConfCommand)) func(*testing.T, *hall) []byte {
		return func(t *testing.T, h *hall) []byte {
			c := h.command("x1")
			f(&c)
			return sign(t, c, key)
		}
	}
	user := func(f func(*ConfCommand)) func(*testing.T, *hall) []byte {
		return with(func(c *ConfCommand) {
			c.Topic, c.UID, c.Member, c.Do = onUser, "", "", DoList
			f(c)
		})
	}
	for _, tt := range []struct {
		name    string
		topic   string
		payload func(*testing.T, *hall) []byte
		reason  string // "" for a fresh one
		id, to  string // of the answer; to is empty where there is none
	}{
		{"right", onConf, with(func(*ConfCommand) {}), "", "x1", "2001"},
		{"right, for one's own topic", onUser, user(func(*ConfCommand) {}), "", "x1", "2001"},
		{"create", onUser, user(func(c *ConfCommand) { c.Do, c.Request = DoCreate, json.RawMessage(`{"conferList":{"theme":null}}`) }), "", "x1", "2001"},
		{"token for this conference's uid", onConf, token("only"), "", "x1", "2001"},
		{"token for this conference's number", onConf, token("number"), "", "x1", "2001"},
		{"an old uid is for who knows the conferences", onConf, with(func(c *ConfCommand) { c.UID = "c-0" }), "", "x1", "2001"},

		{"forged sender", onConf, with(func(c *ConfCommand) { c.By = "2002" }), ReasonWrongSender, "x1", "2001"},
		{"with a stolen token", onConf, by(keyBo, func(*ConfCommand) {}), ReasonUnknownKey, "x1", "2001"},
		{"with a stolen token, under its key's name", onConf, func(t *testing.T, h *hall) []byte {
			var e Envelope
			json.Unmarshal(sign(t, h.command("x1"), keyBo), &e)
			e.Signatures[0].KeyID = KeyID(public(keyAda))
			out, _ := json.Marshal(e)
			return out
		}, ReasonBadSignature, "x1", "2001"},
		{"without a signature", onConf, func(t *testing.T, h *hall) []byte {
			var e Envelope
			json.Unmarshal(sign(t, h.command("x1"), keyAda), &e)
			e.Signatures = []Signature{}
			out, _ := json.Marshal(e)
			return out
		}, ReasonUnsigned, "x1", "2001"},
		{"sent plainly", onConf, func(t *testing.T, h *hall) []byte {
			out, _ := json.Marshal(h.command("x1"))
			return out
		}, ReasonUnsigned, "x1", "2001"},
		{"wrong algorithm", onConf, token("none"), ReasonBadToken, "x1", "2001"},
		{"expired token", onConf, token("old"), ReasonTokenExpired, "x1", "2001"},
		{"revoked token", onConf, token("withdrawn"), ReasonTokenRevoked, "x1", "2001"},
		{"token without a key", onConf, token("unbound"), ReasonUnbound, "x1", "2001"},
		{"token for another conference", onConf, token("other"), ReasonWrongConf, "x1", "2001"},
		{"token for one conference makes none", onUser, user(func(c *ConfCommand) {
			c.Token, c.Do, c.Request = "only", DoCreate, json.RawMessage(`{}`)
		}), ReasonWrongConf, "x1", "2001"},
		{"subject that no topic takes", onConf, with(func(c *ConfCommand) { c.Token = "strange" }), ReasonWrongSender, "x1", ""},
		{"signed for another topic", onConf, with(func(c *ConfCommand) { c.Topic = "/e/local/conf/1001/cmd" }), ReasonWrongTopic, "x1", "2001"},
		{"another enterprise's topic", onConf, with(func(c *ConfCommand) { c.Topic = "/e/else/conf/1000/cmd" }), ReasonWrongTopic, "x1", "2001"},
		{"on another's own topic", "/e/local/u/2002/cmd", user(func(c *ConfCommand) { c.Topic = "/e/local/u/2002/cmd" }), ReasonWrongSender, "x1", "2001"},
		{"create in a conference", onConf, user(func(c *ConfCommand) { c.Topic = onConf }), ReasonWrongTopic, "x1", "2001"},
		{"mute without a conference", onUser, with(func(c *ConfCommand) { c.Topic = onUser }), ReasonWrongTopic, "x1", "2001"},
		{"expired", onConf, with(func(c *ConfCommand) { c.Exp -= 30 }), ReasonExpired, "x1", "2001"},
		{"too far ahead", onConf, with(func(c *ConfCommand) { c.Exp += 1000 }), ReasonTooFar, "x1", "2001"},
		{"unknown", onConf, with(func(c *ConfCommand) { c.Do = "dance" }), ReasonUnknownVerb, "x1", "2001"},
		{"what only the box reports", onConf, with(func(c *ConfCommand) { c.Do = conference.Add }), ReasonUnknownVerb, "x1", "2001"},
		{"without uid", onConf, with(func(c *ConfCommand) { c.UID = "" }), ReasonInvalidValue, "x1", "2001"},
		{"missing argument", onConf, with(func(c *ConfCommand) { c.Do, c.Member = conference.Kick, "" }), ReasonInvalidValue, "x1", "2001"},
		{"argument too many", onConf, with(func(c *ConfCommand) { c.Room = "r" }), ReasonInvalidValue, "x1", "2001"},
		{"unknown key", onConf, text(`{"id":"x1","exp":1,"by":"2001","role":"host"}`), ReasonUnknownField, "x1", "2001"},
		{"not JSON inside", onConf, text("mute!"), ReasonInvalidJSON, "", ""},
		{"not JSON", onConf, raw("mute!"), ReasonInvalidJSON, "", ""},
		{"empty", onConf, raw(""), ReasonInvalidJSON, "", ""},
		{"too long", onConf, raw(strings.Repeat("x", MaxPayload+1)), ReasonTooLarge, "", ""},
		{"sender that no topic takes", onConf, with(func(c *ConfCommand) { c.By = "+/#" }), ReasonInvalidValue, "x1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHall(t)
			v := h.Receive(tt.topic, tt.payload(t, h), false)
			if v.Fresh != (tt.reason == "") || v.Answer.Reason != tt.reason || v.Answer.ID != tt.id || v.Ignore != (tt.to == "") {
				t.Errorf("%+v", v)
			}
			topic := ""
			if u, err := NewUser("local", tt.to); err == nil {
				topic = u.Notice()
			}
			if v.Topic != topic {
				t.Errorf("answered on %q", v.Topic)
			}
			if _, err := Encode(&v.Answer); err != nil {
				t.Errorf("the answer cannot be sent: %v", err)
			}
			if v.Fresh && v.Claims.Subject != "2001" {
				t.Errorf("%+v", v.Claims)
			}
		})
	}
}

func TestMemberDoorIgnores(t *testing.T) {
	h := newHall(t)
	payload := sign(t, h.command("x1"), keyAda)
	for name, v := range map[string]MemberVerdict{
		"retained":            h.Receive(onConf, payload, true),
		"another enterprise":  h.Receive("/e/else/conf/1000/cmd", payload, false),
		"not a command":       h.Receive("/e/local/conf/1000/notice", payload, false),
		"a box's command":     h.Receive("/e/local/box/b/cmd/mute", payload, false),
		"not a topic of ours": h.Receive("/x", payload, false),
	} {
		if !v.Ignore || v.Fresh {
			t.Errorf("%s: %+v", name, v)
		}
	}
	h.unset = true
	if v := h.Receive(onConf, payload, false); v.Fresh || v.Answer.Reason != ReasonClockUnset || v.Answer.ID != "x1" {
		t.Errorf("without a clock: %+v", v)
	}
	h.unset = false
	if v := h.Receive(onConf, payload, false); !v.Fresh {
		t.Errorf("with one: %+v", v)
	}
}

// The same command again has the answer of the first, and no second effect; two senders may use the same id.
func TestMemberDoorOnce(t *testing.T) {
	h := newHall(t)
	first := sign(t, h.command("x1"), keyAda)
	if v := h.Receive(onConf, first, false); !v.Fresh {
		t.Fatalf("%+v", v)
	}
	if v := h.Receive(onConf, first, false); v.Fresh || v.Answer.Status != Accepted {
		t.Errorf("while it goes on: %+v", v)
	}
	bo := h.command("x1")
	bo.By, bo.Token, bo.Do, bo.Member = "2002", "bo", conference.AskFloor, ""
	if v := h.Receive(onConf, sign(t, bo, keyBo), false); !v.Fresh {
		t.Errorf("another's: %+v", v)
	}
	h.Settle("2001", Settled(NoticeAnswer, h.now, "x1", nil, false, &Result{Seq: 9}))
	v := h.Receive(onConf, first, false)
	if v.Fresh || v.Answer.Status != Done || v.Answer.Result.Seq != 9 || *v.Answer.Durable || v.Topic != "/e/local/u/2001/notice" {
		t.Errorf("afterwards: %+v", v)
	}
	other := h.command("x1")
	other.Member = "m3"
	if v := h.Receive(onConf, sign(t, other, keyAda), false); v.Fresh || v.Answer.Reason != ReasonIDReused {
		t.Errorf("another with its id: %+v", v)
	}
	h.now = h.now.Add(time.Minute)
	if v := h.Receive(onConf, first, false); v.Fresh || v.Answer.Reason != ReasonExpired {
		t.Errorf("a minute later: %+v", v)
	}
	h.Settle("2001", UserNotice{ID: "never seen"})
}

// A question is answered as things are now.
func TestMemberDoorAnswersQuestionsAnew(t *testing.T) {
	h := newHall(t)
	c := h.command("x1")
	c.Do, c.Member = DoCan, ""
	payload := sign(t, c, keyAda)
	for range 20 { // more than one sender's ids
		if v := h.Receive(onConf, payload, false); !v.Fresh {
			t.Fatalf("%+v", v)
		}
	}
}

// One sender cannot keep the others from being heard, neither with ids nor, for long, with floods.
func TestMemberDoorIsShared(t *testing.T) {
	h := newHall(t)
	for i := range 3 {
		v := h.Receive(onConf, sign(t, h.command(fmt.Sprint("x", i)), keyAda), false)
		if want := i < 2; v.Fresh != want || !want && v.Answer.Reason != ReasonBusy {
			t.Errorf("%d: %+v", i, v)
		}
	}
	bo := h.command("x1")
	bo.By, bo.Token = "2002", "bo"
	if v := h.Receive(onConf, sign(t, bo, keyBo), false); !v.Fresh {
		t.Errorf("another's: %+v", v)
	}
	junk, count := sign(t, h.command("x9"), keyBo), map[string]int{}
	for range 1000 {
		v := h.Receive(onConf, junk, false)
		count[v.Answer.Reason]++
		if v.Answer.ID != "x9" || v.Topic != "/e/local/u/2001/notice" {
			t.Fatalf("%+v", v)
		}
	}
	if count[ReasonUnknownKey] != memberAtOnce-4 || count[ReasonBusy] != 1004-memberAtOnce {
		t.Errorf("%v", count)
	}
	h.now = h.now.Add(31 * time.Second)
	if v := h.Receive(onConf, sign(t, h.command("x5"), keyAda), false); !v.Fresh {
		t.Errorf("afterwards: %+v", v)
	}
}

func TestMemberDoorFromManyGoroutines(t *testing.T) {
	h := newHall(t)
	payload := sign(t, h.command("x1"), keyAda)
	var wg sync.WaitGroup
	fresh := make(chan bool, 20)
	for range 20 {
		wg.Go(func() {
			fresh <- h.Receive(onConf, payload, false).Fresh
			h.Settle("2001", UserNotice{Kind: NoticeAnswer, ID: "x1", Status: Done})
		})
	}
	wg.Wait()
	close(fresh)
	effects := 0
	for f := range fresh {
		if f {
			effects++
		}
	}
	if effects != 1 {
		t.Errorf("%d effects", effects)
	}
}

// What a command asks reaches the conference whole.
func TestToCommand(t *testing.T) {
	place, until := 3, time.Date(2026, 11, 21, 11, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		in   ConfCommand
		want conference.Command
	}{
		{ConfCommand{Do: conference.Mute}, conference.Command{Reason: conference.Self}},
		{ConfCommand{Do: conference.Mute, Member: "m2"}, conference.Command{ID: "m2", Reason: conference.Host}},
		{ConfCommand{Do: conference.Mute, Member: "m2", Reason: "listener"}, conference.Command{ID: "m2", Reason: conference.Listener}},
		{ConfCommand{Do: conference.Unmute}, conference.Command{Reason: conference.Self}},
		{ConfCommand{Do: conference.Unmute, Member: "m2", Reason: "hardware"}, conference.Command{ID: "m2", Reason: conference.Hardware}},
		{ConfCommand{Do: conference.Deafen, Member: "m2"}, conference.Command{ID: "m2", Reason: conference.Host}},
		{ConfCommand{Do: conference.Kick, Member: "m2", Why: "loud"}, conference.Command{ID: "m2", Why: "loud"}},
		{ConfCommand{Do: conference.Reorder, Member: "m2", Position: &place}, conference.Command{ID: "m2", Position: 3}},
		{ConfCommand{Do: conference.Prolong, Until: until}, conference.Command{Until: until}},
		{ConfCommand{Do: conference.Grant, Member: "m2", To: "m3"}, conference.Command{ID: "m2", To: "m3"}},
		{ConfCommand{Do: conference.OpenRoom, Members: []string{"m2", "m3"}, Room: "r", Unrecorded: true},
			conference.Command{IDs: []string{"m2", "m3"}, Room: "r", Unrecorded: true}},
		{ConfCommand{Do: conference.Note, Text: "budget"}, conference.Command{Text: "budget"}},
		{ConfCommand{Do: conference.Invite, Number: "2005", Name: " Eve ", Muted: true, Deaf: true},
			conference.Command{Member: conference.Member{Number: "2005", Name: "Eve", Mute: conference.Reasons{{Reason: conference.Host}},
				Deaf: conference.Reasons{{Reason: conference.Host}}}}},
	} {
		tt.in.ID, tt.in.Exp, tt.in.Topic, tt.in.UID, tt.in.By, tt.in.Token = "x", 1, onConf, "c-1", "2001", "t"
		if err := tt.in.Check(); err != nil {
			t.Errorf("%s: %v", tt.in.Do, err)
		}
		tt.want.Do = tt.in.Do
		if got, err := ToCommand(tt.in); err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", tt.want) {
			t.Errorf("\n%+v, %v\nnot\n%+v", got, err, tt.want)
		}
	}
	for _, do := range []conference.Do{DoCreate, DoList, DoCan, conference.Add, "dance"} {
		if cmd, err := ToCommand(ConfCommand{Do: do}); !errors.Is(err, ErrInvalidValue) {
			t.Errorf("%s: %+v", do, cmd)
		}
	}
}

// Whatever comes: it is judged without a fault, only what the token's key signed is fresh, and the answer can be sent.
func FuzzMemberDoor(f *testing.F) {
	h := newHall(f)
	f.Add(onConf, sign(f, h.command("x1"), keyAda))
	f.Add(onUser, []byte(`{"id":"x","by":"2001","token":"ada"}`))
	f.Add(onConf, []byte(`{"payload":"eyJpZCI6IngiLCJieSI6IjIwMDEifQ==","signatures":[]}`))
	for _, text := range examples(f)["ConfCommand"] {
		f.Add(onConf, sign(f, text, keyAda))
	}
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		h := newHall(t)
		v := h.Receive(topic, payload, false)
		if v.Fresh {
			if _, id, err := Verify(payload, NewKeySet(v.Claims.Key)); err != nil || id != KeyID(v.Claims.Key) || v.Command.By != v.Claims.Subject {
				t.Fatalf("fresh without proof: %v", err)
			}
			if _, err := ToCommand(v.Command); err != nil && v.Command.Do != DoCan && v.Conf != "" {
				t.Fatal(err)
			}
		}
		if v.Ignore {
			return
		}
		if _, err := Encode(&v.Answer); err != nil {
			t.Fatalf("%+v: %v", v.Answer, err)
		}
		if p, err := ParseTopic(v.Topic); err != nil || p.Kind != KindUserNotice {
			t.Fatalf("answered on %q", v.Topic)
		}
	})
}

// What is signed inside is fuzzed on its own, since a signature is not found by chance.
func FuzzConfCommand(f *testing.F) {
	for _, text := range examples(f)["ConfCommand"] {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"id":"x","exp":1,"topic":"t","uid":"c","by":"1","token":"t","do":"open_room","members":["a","b"],"room":"r"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var c ConfCommand
		if Decode(text, &c) != nil || !c.Known() || ownArgs[c.Do].user || c.Do == DoCan {
			return
		}
		cmd, err := ToCommand(c)
		if err != nil || cmd.Do != c.Do || cmd.By != (conference.Actor{}) || cmd.May != nil {
			t.Fatalf("%+v, %v", cmd, err)
		}
	})
}

// BenchmarkMemberDoor is what a member's command costs before it is carried out, less the token.
func BenchmarkMemberDoor(b *testing.B) {
	h := newHall(b)
	c := h.command("x1")
	c.Do, c.Member = DoCan, ""
	payload := sign(b, c, keyAda)
	for b.Loop() {
		h.now = h.now.Add(time.Second) // so that none is one too many
		if h.now.Unix() >= c.Exp {
			h.now = h.now.Add(-29 * time.Second)
		}
		if v := h.Receive(onConf, payload, false); !v.Fresh && v.Answer.Reason != ReasonTooFar {
			b.Fatalf("%+v", v)
		}
	}
}

// BenchmarkSnapshot is what a roster of 30 with long names costs to tell.
func BenchmarkSnapshot(b *testing.B) {
	in := crowd(30, strings.Repeat("n", 128))
	for b.Loop() {
		s := SnapshotOf(in)
		if _, err := Encode(&s); err != nil {
			b.Fatal(err)
		}
	}
}
