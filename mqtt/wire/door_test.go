package wire

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	keyA = ed25519.NewKeyFromSeed([]byte(strings.Repeat("a", 32)))
	keyB = ed25519.NewKeyFromSeed([]byte(strings.Repeat("b", 32)))
)

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// bench is a door with a clock.
type bench struct {
	*Door
	box   Box
	now   time.Time
	unset bool
}

func newBench(t testing.TB) *bench {
	t.Helper()
	box, err := NewBox("local", "box-1")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{box: box, now: time.Unix(1_800_000_000, 0)}
	b.Door = NewDoor(DoorConfig{Box: box, Keys: NewKeySet(public(keyA)), Sess: 7, MaxSeen: 4,
		Now: func() time.Time { return b.now }, ClockSet: func() bool { return !b.unset }})
	return b
}

// command is one that is right in every way.
func (b *bench) command(id string) Command {
	return Command{ID: id, Exp: b.now.Add(30 * time.Second).Unix(), EID: "local", Box: "box-1", Verb: VerbMute}
}

func sign(t testing.TB, c any, keys ...ed25519.PrivateKey) []byte {
	t.Helper()
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if text, ok := c.(string); ok {
		payload = []byte(text)
	}
	if len(keys) == 0 {
		keys = []ed25519.PrivateKey{keyA}
	}
	b, err := Sign(payload, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDoor(t *testing.T) {
	with := func(f func(*Command)) func(*testing.T, *bench) []byte {
		return func(t *testing.T, b *bench) []byte {
			c := b.command("x1")
			f(&c)
			return sign(t, c)
		}
	}
	raw := func(text string) func(*testing.T, *bench) []byte {
		return func(*testing.T, *bench) []byte { return []byte(text) }
	}
	signedText := func(text string) func(*testing.T, *bench) []byte {
		return func(t *testing.T, b *bench) []byte { return sign(t, text) }
	}
	tests := []struct {
		name    string
		payload func(*testing.T, *bench) []byte
		reason  string // "" for a fresh one
		id      string
	}{
		{"right", with(func(*Command) {}), "", "x1"},
		{"of this session", with(func(c *Command) { c.Sess = 7 }), "", "x1"},
		{"of an older session", with(func(c *Command) { c.Sess = 6 }), ReasonWrongSess, "x1"},
		{"two signatures", func(t *testing.T, b *bench) []byte { return sign(t, b.command("x1"), keyB, keyA) }, "", "x1"},
		{"unknown key", func(t *testing.T, b *bench) []byte { return sign(t, b.command("x1"), keyB) }, ReasonUnknownKey, "x1"},
		{"no signature", func(t *testing.T, b *bench) []byte {
			var e Envelope
			json.Unmarshal(sign(t, b.command("x1")), &e)
			e.Signatures = []Signature{}
			out, _ := json.Marshal(e)
			return out
		}, ReasonUnsigned, "x1"},
		{"another's signature under a known name", func(t *testing.T, b *bench) []byte {
			var e Envelope
			json.Unmarshal(sign(t, b.command("x1"), keyB), &e)
			e.Signatures[0].KeyID = KeyID(public(keyA))
			out, _ := json.Marshal(e)
			return out
		}, ReasonBadSignature, "x1"},
		{"right signature, other payload", func(t *testing.T, b *bench) []byte {
			var e, other Envelope
			json.Unmarshal(sign(t, b.command("x1")), &e)
			json.Unmarshal(sign(t, b.command("x2")), &other)
			e.Payload = other.Payload
			out, _ := json.Marshal(e)
			return out
		}, ReasonBadSignature, "x2"},
		{"one right, one wrong", func(t *testing.T, b *bench) []byte {
			var e Envelope
			json.Unmarshal(sign(t, b.command("x1"), keyA, keyB), &e)
			e.Signatures[1].KeyID = e.Signatures[0].KeyID
			out, _ := json.Marshal(e)
			return out
		}, ReasonBadSignature, "x1"},
		{"sent plainly", func(t *testing.T, b *bench) []byte {
			out, _ := json.Marshal(b.command("x1"))
			return out
		}, ReasonUnsigned, "x1"},
		{"another box", with(func(c *Command) { c.Box = "box-2" }), ReasonWrongBox, "x1"},
		{"another enterprise", with(func(c *Command) { c.EID = "else" }), ReasonWrongBox, "x1"},
		{"another verb", with(func(c *Command) { c.Verb = VerbUnmute }), ReasonWrongVerb, "x1"},
		{"expired", with(func(c *Command) { c.Exp -= 30 }), ReasonExpired, "x1"},
		{"too far ahead", with(func(c *Command) { c.Exp += 1000 }), ReasonTooFar, "x1"},
		{"far beyond reason", with(func(c *Command) { c.Exp = 1 << 62 }), ReasonTooFar, "x1"},
		{"unknown field", signedText(`{"id":"x1","exp":1,"eid":"local","box":"box-1","verb":"mute","args":{},"by":"me"}`), ReasonUnknownField, "x1"},
		{"wrong argument", with(func(c *Command) { c.Args.Number = "1" }), ReasonInvalidValue, "x1"},
		{"not JSON inside", signedText("mute!"), ReasonInvalidJSON, ""},
		{"not JSON", raw("mute!"), ReasonInvalidJSON, ""},
		{"empty", raw(""), ReasonInvalidJSON, ""},
		{"payload that is no base64", raw(`{"payload":"!","signatures":[]}`), ReasonInvalidValue, ""},
		{"too long", raw(strings.Repeat("x", MaxPayload+1)), ReasonTooLarge, ""},
		{"five signatures", func(t *testing.T, b *bench) []byte {
			var e Envelope
			json.Unmarshal(sign(t, b.command("x1")), &e)
			for range 4 {
				e.Signatures = append(e.Signatures, e.Signatures[0])
			}
			out, _ := json.Marshal(e)
			return out
		}, ReasonInvalidValue, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			v := b.Receive(b.box.Cmd(VerbMute), tt.payload(t, b), false)
			if v.Fresh != (tt.reason == "") || v.Ignore || v.Answer.Reason != tt.reason || v.Answer.ID != tt.id {
				t.Errorf("%+v", v)
			}
			if want := map[bool]Status{true: Accepted, false: Rejected}[tt.reason == ""]; v.Answer.Status != want {
				t.Errorf("status %s", v.Answer.Status)
			}
			if v.Topic != b.box.Res(VerbMute) {
				t.Errorf("answered on %s", v.Topic)
			}
			if _, err := Encode(&v.Answer); err != nil {
				t.Errorf("the answer cannot be sent: %v", err)
			}
		})
	}
}

func TestDoorIgnores(t *testing.T) {
	b := newBench(t)
	payload := sign(t, b.command("x1"))
	other, _ := NewBox("local", "box-2")
	for name, v := range map[string]Verdict{
		"retained":       b.Receive(b.box.Cmd(VerbMute), payload, true),
		"another box's":  b.Receive(other.Cmd(VerbMute), payload, false),
		"not a command":  b.Receive(b.box.State(), payload, false),
		"not ours":       b.Receive("/x", payload, false),
		"its own answer": b.Receive(b.box.Res(VerbMute), payload, false),
	} {
		if !v.Ignore || v.Fresh {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if v := b.Receive(b.box.Cmd(VerbMute), payload, false); !v.Fresh {
		t.Errorf("one that was ignored before: %+v", v)
	}
}

func TestDoorWithoutClock(t *testing.T) {
	b := newBench(t)
	b.unset = true
	payload := sign(t, b.command("x1"))
	if v := b.Receive(b.box.Cmd(VerbMute), payload, false); v.Answer.Reason != ReasonClockUnset || v.Fresh {
		t.Errorf("%+v", v)
	}
	b.unset = false
	if v := b.Receive(b.box.Cmd(VerbMute), payload, false); !v.Fresh {
		t.Errorf("once it is set: %+v", v)
	}
}

func TestDoorUnknownVerb(t *testing.T) {
	b := newBench(t)
	c := b.command("x1")
	c.Verb = "dance"
	if v := b.Receive(b.box.Cmd("dance"), sign(t, c), false); v.Answer.Reason != ReasonUnknownVerb {
		t.Errorf("%+v", v)
	}
}

// The same command again has the answer of the first, and no second effect.
func TestDoorOnce(t *testing.T) {
	b := newBench(t)
	topic := b.box.Cmd(VerbMute)
	first := sign(t, b.command("x1"))
	if v := b.Receive(topic, first, false); !v.Fresh {
		t.Fatalf("%+v", v)
	}
	if v := b.Receive(topic, first, false); v.Fresh || v.Answer.Status != Accepted {
		t.Errorf("while it goes on: %+v", v)
	}
	done := Answer{ID: "x1", Status: Failed, Reason: ReasonFarBusy}
	b.Settle(done)
	// Signed by others too, it is the same command.
	for _, again := range [][]byte{first, sign(t, b.command("x1"), keyA, keyB)} {
		if v := b.Receive(topic, again, false); v.Fresh || v.Answer != done {
			t.Errorf("afterwards: %+v", v)
		}
	}
	other := b.command("x1")
	other.Exp++
	if v := b.Receive(topic, sign(t, other), false); v.Fresh || v.Answer.Reason != ReasonIDReused {
		t.Errorf("another with its id: %+v", v)
	}
	b.now = b.now.Add(time.Minute)
	if v := b.Receive(topic, first, false); v.Fresh || v.Answer.Reason != ReasonExpired {
		t.Errorf("a minute later: %+v", v)
	}
	b.Settle(Answer{ID: "never seen", Status: Done})
}

// Ids are kept until they expire, and none is dropped early to make room: that would let it in twice.
func TestDoorFull(t *testing.T) {
	b := newBench(t)
	topic := b.box.Cmd(VerbMute)
	for i := range 4 {
		if v := b.Receive(topic, sign(t, b.command(fmt.Sprint("x", i))), false); !v.Fresh {
			t.Fatalf("%+v", v)
		}
	}
	if v := b.Receive(topic, sign(t, b.command("x4")), false); v.Answer.Reason != ReasonBusy {
		t.Errorf("%+v", v)
	}
	b.now = b.now.Add(31 * time.Second)
	if v := b.Receive(topic, sign(t, b.command("x5")), false); !v.Fresh {
		t.Errorf("%+v", v)
	}
}

// A flood is answered without a look at its signatures, and is over when it ends.
func TestDoorFlood(t *testing.T) {
	b := newBench(t)
	junk := sign(t, b.command("x1"), keyB)
	count := map[string]int{}
	for range 1000 {
		count[b.Receive(b.box.Cmd(VerbMute), junk, false).Answer.Reason]++
	}
	if count[ReasonUnknownKey] != atOnce || count[ReasonBusy] != 1000-atOnce {
		t.Errorf("%v", count)
	}
	b.now = b.now.Add(time.Second / perSecond)
	if v := b.Receive(b.box.Cmd(VerbMute), sign(t, b.command("x1")), false); !v.Fresh {
		t.Errorf("afterwards: %+v", v)
	}
}

func TestDoorFromManyGoroutines(t *testing.T) {
	b := newBench(t)
	payload := sign(t, b.command("x1"))
	var wg sync.WaitGroup
	var mu sync.Mutex
	fresh := 0
	for range 20 {
		wg.Go(func() {
			if v := b.Receive(b.box.Cmd(VerbMute), payload, false); v.Fresh {
				mu.Lock()
				fresh++
				mu.Unlock()
			}
			b.Settle(Answer{ID: "x1", Status: Done})
		})
	}
	wg.Wait()
	if fresh != 1 {
		t.Errorf("%d effects", fresh)
	}
}

func TestSignCommandRefuses(t *testing.T) {
	b := newBench(t)
	c := b.command("x")
	if _, err := SignCommand(c); !errors.Is(err, ErrUnsigned) {
		t.Errorf("no key: %v", err)
	}
	if _, err := SignCommand(c, nil); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a nil key: %v", err)
	}
	c.Box = "B"
	if _, err := SignCommand(c, keyA); !errors.Is(err, ErrInvalidValue) {
		t.Errorf("wrong box: %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if _, err := LoadKey(path); !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ErrKeyFile) {
		t.Errorf("none: %v", err)
	}
	key, err := LoadOrCreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if again, err := LoadOrCreateKey(path); err != nil || !again.Equal(key) {
		t.Errorf("again: %v", err)
	}
	if _, err := CreateKey(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over one that is there: %v", err)
	}
	if again, err := LoadKey(path); err != nil || !again.Equal(key) {
		t.Errorf("the one that was there: %v", err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
	pub, err := ParsePublicKey(EncodePublicKey(public(key)))
	if err != nil || !pub.Equal(public(key)) {
		t.Errorf("public half: %v", err)
	}
	for _, s := range []string{"", "x", base64.StdEncoding.EncodeToString([]byte("short"))} {
		if _, err := ParsePublicKey(s); !errors.Is(err, ErrKeyFile) {
			t.Errorf("%q: %v", s, err)
		}
	}
	for name, spoil := range map[string]func() error{
		"open to others": func() error { return os.Chmod(path, 0o640) },
		"not PEM":        func() error { return os.WriteFile(path, []byte("x"), 0o600) },
		"not a key": func() error {
			return os.WriteFile(path, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600)
		},
	} {
		os.Chmod(path, 0o600)
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadOrCreateKey(path); !errors.Is(err, ErrKeyFile) {
			t.Errorf("%s: %v", name, err)
		}
		os.Chmod(path, 0o600)
	}
}

// Whatever comes: it is judged without a fault, only what a known key signed is fresh, and the answer can be sent.
func FuzzDoor(f *testing.F) {
	b := newBench(f)
	f.Add(b.box.Cmd(VerbMute), sign(f, b.command("x1")))
	f.Add(b.box.Cmd(VerbDial), []byte(`{"id":"x","exp":1,"args":{"number":"2001"}}`))
	f.Add(b.box.Cmd(VerbMute), []byte(`{"payload":"eyJpZCI6IngifQ==","signatures":[{"keyid":"k","sig":""}]}`))
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		b := newBench(t)
		v := b.Receive(topic, payload, false)
		if v.Ignore {
			return
		}
		if _, err := Encode(&v.Answer); err != nil {
			t.Fatalf("%+v: %v", v.Answer, err)
		}
		if v.Fresh {
			if _, id, err := Verify(payload, b.cfg.Keys); err != nil || id != KeyID(public(keyA)) {
				t.Fatalf("fresh without proof: %v", err)
			}
		}
	})
}

// Whatever is read is what would be written: a payload that decodes encodes, and decodes to the same again.
func FuzzPayload(f *testing.F) {
	kinds := []string{"BoxState", "BoxInfo", "KeyPress", "Gate", "Calls", "Alert", "Tele", "Levels", "Lease", "Notice", "Snapshot",
		"Envelope", "Command", "Answer", "ConfCommand", "UserNotice", "Bookings", "Desired", "Reported", "EnrolRequest", "EnrolAnswer"}
	all := examples(f)
	for i, kind := range kinds {
		for _, text := range all[kind] {
			f.Add(byte(i), []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, text []byte) {
		name := kinds[int(kind)%len(kinds)]
		v := payloads[name]()
		if err := Decode(text, v); err != nil {
			var field *FieldError
			if !errors.As(err, &field) {
				t.Fatalf("%s: %T", name, err)
			}
			return
		}
		if DecodeKnown(text, payloads[name]()) != nil {
			t.Fatalf("%s: only the strict one takes it: %s", name, text)
		}
		b, err := Encode(v)
		if err != nil {
			if errors.Is(err, ErrTooLarge) { // escapes can make it longer
				return
			}
			t.Fatalf("%s: read and not written: %v", name, err)
		}
		if err := Decode(b, payloads[name]()); err != nil {
			t.Fatalf("%s: written and not read: %v\n%s", name, err, b)
		}
	})
}

func FuzzParseTopic(f *testing.F) {
	f.Add("/e/local/box/b/cmd/dial")
	f.Add("/e/local/conf/1000/state")
	f.Fuzz(func(t *testing.T, topic string) {
		p, err := ParseTopic(topic)
		if err != nil {
			if !errors.Is(err, ErrBadTopic) && !errors.Is(err, ErrBadName) {
				t.Fatal(err)
			}
			return
		}
		if strings.ContainsAny(topic, "+#\x00") || CheckEID(p.EID) != nil {
			t.Fatalf("%q: %+v", topic, p)
		}
	})
}
