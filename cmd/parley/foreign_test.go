package main_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// foreigner commands a box at mosquitto with nothing but the page on the protocol, mosquitto's own tools and the box's key.
type foreigner struct {
	t      *testing.T
	broker *phonetest.Mosquitto
	box    *boxtest.Box
	key    ed25519.PrivateKey
	sub    *phonetest.Process // hears everything
	count  int
}

func newForeigner(t *testing.T, cfg boxtest.Config) *foreigner {
	t.Helper()
	f := &foreigner{t: t, broker: phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})}
	f.sub = f.broker.Subscribe("", "/e/local/#")
	if cfg.Settings == nil {
		cfg.Settings = boxtest.Settings{}
	}
	cfg.Settings["mqtt"] = boxtest.Settings{"broker": f.broker.URL()}
	f.box = boxtest.Start(t, cfg)
	raw, err := os.ReadFile(filepath.Join(f.box.Data, "box.key"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	f.key = key.(ed25519.PrivateKey)
	waitTold(t, f.sub, "/e/local/box/box-1/state", `{"state":"ready","sess":1}`)
	return f
}

// command is a command's fields with a new id, an expiry in a minute, and what more says.
func (f *foreigner) command(verb string, more map[string]any) map[string]any {
	f.count++
	c := map[string]any{
		"id": fmt.Sprintf("f-%d", f.count), "exp": time.Now().Add(time.Minute).Unix(), "eid": "local", "box": "box-1", "verb": verb,
	}
	for k, v := range more {
		c[k] = v
	}
	return c
}

// envelope signs bytes as the page says.
func envelope(key ed25519.PrivateKey, payload []byte) string {
	id := sha256.Sum256(key.Public().(ed25519.PublicKey))
	text, _ := json.Marshal(map[string]any{
		"payload": base64.StdEncoding.EncodeToString(payload),
		"signatures": []map[string]string{{
			"keyid": hex.EncodeToString(id[:8]), "sig": base64.StdEncoding.EncodeToString(ed25519.Sign(key, payload)),
		}},
	})
	return string(text)
}

func (f *foreigner) sign(command map[string]any) string {
	text, err := json.Marshal(command)
	if err != nil {
		f.t.Fatal(err)
	}
	return envelope(f.key, text)
}

// send publishes a payload as a command and returns the next answers on the verb's topic, "status" or "status reason", of the
// given id, until the last one.
func (f *foreigner) send(verb, id, payload string, more ...string) (answers []string) {
	f.t.Helper()
	topic := "/e/local/box/box-1/res/" + verb
	seen := len(told(f.sub, topic))
	f.broker.Publish("", "/e/local/box/box-1/cmd/"+verb, payload, more...)
	phonetest.Eventually(f.t, 30*time.Second, "an answer to "+verb+" "+id, func() bool {
		answers = nil
		for _, text := range told(f.sub, topic)[seen:] {
			a := payloadOf(f.t, text)
			got, _ := a["id"].(string)
			reason, _ := a["reason"].(string)
			if got != id {
				continue
			}
			answers = append(answers, strings.TrimSpace(fmt.Sprint(a["status"], " ", reason)))
			if a["status"] != "accepted" {
				return true
			}
		}
		return false
	})
	return answers
}

func (f *foreigner) want(what string, answers []string, want ...string) {
	f.t.Helper()
	if strings.Join(answers, ", ") != strings.Join(want, ", ") {
		f.t.Errorf("%s: answered %q, want %q", what, answers, want)
	}
}

// gate waits for what the retained topic says of the microphone.
func (f *foreigner) gate(state string) {
	f.t.Helper()
	phonetest.Eventually(f.t, 30*time.Second, "the gate is "+state, func() bool {
		all := told(f.sub, "/e/local/box/box-1/mute")
		return len(all) > 0 && payloadOf(f.t, all[len(all)-1])["gate"] == state
	})
}

// Spec 6: a command is carried out once however often it comes, and answered alike each time; what is late, unsigned, forged,
// meant for others or not to be read is refused with its reason, and changes nothing.
func TestForeignClientCommands(t *testing.T) {
	t.Parallel()
	f := newForeigner(t, boxtest.Config{})
	mute := f.command("mute", nil)
	f.want("mute", f.send("mute", "f-1", f.sign(mute)), "done")
	f.gate("closed")
	f.want("unmute", f.send("unmute", "f-2", f.sign(f.command("unmute", nil))), "done")
	f.gate("open")
	f.want("the first mute again", f.send("mute", "f-1", f.sign(mute)), "done")
	mute["exp"] = mute["exp"].(int64) + 1
	f.want("its id for another command", f.send("mute", "f-1", f.sign(mute)), "rejected id_reused")

	phone := phonetest.StartBaresip(t, phonetest.BaresipConfig{Name: "anna"})
	dial := f.sign(f.command("dial", map[string]any{"args": map[string]any{"number": phone.URI()}}))
	f.want("dial", f.send("dial", "f-3", dial), "accepted", "done")
	f.want("dial again", f.send("dial", "f-3", dial), "done")
	f.want("hangup", f.send("hangup", "f-4", f.sign(f.command("hangup", nil))), "done")
	phone.Expect("CALL_CLOSED", 20*time.Second)
	calls := 0
	for _, e := range phone.Events() {
		if e.Type == "CALL_ESTABLISHED" {
			calls++
		}
	}
	if calls != 1 {
		t.Errorf("the phone was called %d times", calls)
	}
	f.refusals()
}

func (f *foreigner) refusals() {
	f.t.Helper()
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	text := func(more map[string]any) []byte {
		b, _ := json.Marshal(f.command("mute", more))
		return b
	}
	tampered := payloadOf(f.t, envelope(f.key, text(nil)))
	tampered["payload"] = base64.StdEncoding.EncodeToString(text(map[string]any{"id": "f-t"}))
	forged, _ := json.Marshal(tampered)
	for _, x := range []struct{ what, id, payload, want string }{
		{"too late", "r-1", f.sign(f.command("mute", map[string]any{"id": "r-1", "exp": time.Now().Unix() - 1})), "rejected expired"},
		{"far ahead", "r-2", f.sign(f.command("mute", map[string]any{"id": "r-2", "exp": time.Now().Unix() + 3600})), "rejected exp_too_far"},
		{"another box", "r-3", f.sign(f.command("mute", map[string]any{"id": "r-3", "box": "box-2"})), "rejected wrong_box"},
		{"another verb", "r-4", f.sign(f.command("leave", map[string]any{"id": "r-4"})), "rejected wrong_verb"},
		{"another session", "r-5", f.sign(f.command("mute", map[string]any{"id": "r-5", "sess": 7})), "rejected wrong_sess"},
		{"a stranger's key", "r-6", envelope(stranger, text(map[string]any{"id": "r-6"})), "rejected unknown_key"},
		{"tampered with", "f-t", string(forged), "rejected bad_signature"},
		{"an unknown field", "r-7", f.sign(f.command("mute", map[string]any{"id": "r-7", "loud": true})), "rejected unknown_field"},
		{"no JSON inside", "", envelope(f.key, []byte("mute!")), "rejected invalid_json"},
		{"no envelope", "", "mute", "rejected invalid_json"},
	} {
		f.want(x.what, f.send("mute", x.id, x.payload), x.want)
	}
	unsigned, _ := json.Marshal(map[string]any{"payload": base64.StdEncoding.EncodeToString(text(map[string]any{"id": "r-8"})), "signatures": []string{}})
	f.want("unsigned", f.send("mute", "r-8", string(unsigned)), "rejected unsigned")
	if all := told(f.sub, "/e/local/box/box-1/mute"); payloadOf(f.t, all[len(all)-1])["gate"] != "open" {
		f.t.Errorf("the gate after all that: %s", all[len(all)-1])
	}
}

// A command is for now: one that the broker has kept is neither carried out nor answered.
func TestRetainedCommandIsIgnored(t *testing.T) {
	t.Parallel()
	f := newForeigner(t, boxtest.Config{})
	f.box.StopCleanly()
	f.broker.Publish("", "/e/local/box/box-1/cmd/mute", f.sign(f.command("mute", map[string]any{"exp": time.Now().Unix() + 300})), "-r")
	f.box.Restart()
	f.broker.WaitLine("Sending PUBLISH to parley-box-1 (d0, q1, r1, m1, '/e/local/box/box-1/cmd/mute'", 20*time.Second)
	f.want("unmute", f.send("unmute", "f-2", f.sign(f.command("unmute", nil))), "done")
	if answers := told(f.sub, "/e/local/box/box-1/res/mute"); len(answers) != 0 {
		t.Errorf("it was answered: %q", answers)
	}
	for _, text := range told(f.sub, "/e/local/box/box-1/mute") {
		if payloadOf(t, text)["gate"] != "open" {
			t.Errorf("the gate was told as %s", text)
		}
	}
}

// What parleyctl sends is void once the box has started again: somebody who caught it cannot use it.
func TestCaughtCommandIsVoidAfterRestart(t *testing.T) {
	t.Parallel()
	f := newForeigner(t, boxtest.Config{})
	out, status := f.box.Ctl("cmd", "mute", "-broker", f.broker.URL())
	if status != 0 || strings.TrimSpace(out) != "done" {
		t.Fatalf("parleyctl said %q, status %d", out, status)
	}
	f.gate("closed")
	caught := told(f.sub, "/e/local/box/box-1/cmd/mute")
	if len(caught) != 1 {
		t.Fatalf("%d commands were seen", len(caught))
	}
	signed, err := base64.StdEncoding.DecodeString(payloadOf(t, caught[0])["payload"].(string))
	if err != nil {
		t.Fatal(err)
	}
	command := payloadOf(t, string(signed))
	if command["sess"] != 1.0 {
		t.Errorf("the command is %s", signed)
	}
	f.box.Kill()
	f.box.Restart()
	waitTold(t, f.sub, "/e/local/box/box-1/state", `{"state":"ready","sess":2}`)
	f.want("the caught command", f.send("mute", command["id"].(string), caught[0]), "rejected wrong_sess")
}

// Levels are told while somebody holds a lease and no longer; measurements come by themselves; the roster's events have no gap,
// and who comes late finds in the snapshot where they are.
func TestForeignClientWatches(t *testing.T) {
	t.Parallel()
	f := newForeigner(t, boxtest.Config{Microphone: tone(400), Settings: boxtest.Settings{"place": boxtest.Settings{"join_at_start": true}}})
	const levels, lease = "/e/local/box/box-1/levels", "/e/local/box/box-1/levels/lease"
	call := f.box.Call("1000", "-codec", "pcma", "-tone", "700", "-level", "-23")
	call.WaitLine("answered", 20*time.Second)
	if n := len(told(f.sub, levels)); n != 0 {
		t.Errorf("%d levels without a lease", n)
	}
	f.broker.Publish("", lease, `{"id":"page-1","ttl_s":60}`)
	phonetest.Eventually(t, 30*time.Second, "levels of two who speak", func() bool {
		all := told(f.sub, levels)
		if len(all) == 0 {
			return false
		}
		loud := 0
		members, _ := payloadOf(t, all[len(all)-1])["members"].([]any)
		for _, m := range members {
			// The RMS of a sine is 3 dB below its peak.
			if rms := m.(map[string]any)["rms"].(float64); rms > toneLevel-4 && rms < toneLevel-2 {
				loud++
			}
		}
		return loud == 2
	})
	f.broker.Publish("", lease, `{"id":"page-1","ttl_s":0}`)
	silent := func(what string) {
		was := -1
		phonetest.Eventually(t, 30*time.Second, "no more levels after "+what, func() bool {
			n := len(told(f.sub, levels))
			same := n == was
			was = n
			time.Sleep(time.Second) // ten would have come
			return same
		})
	}
	silent("the lease was given back")
	f.broker.Publish("", lease, `{"id":"page-2","ttl_s":1}`)
	seen := len(told(f.sub, levels))
	phonetest.Eventually(t, 30*time.Second, "levels for another second", func() bool { return len(told(f.sub, levels)) > seen })
	silent("the lease ran out")

	phonetest.Eventually(t, 40*time.Second, "measurements of the call", func() bool {
		for _, text := range told(f.sub, "/e/local/box/box-1/tele") {
			legs, _ := payloadOf(t, text)["legs"].([]any)
			if len(legs) == 1 && legs[0].(map[string]any)["delay_ms"] != nil {
				return true
			}
		}
		return false
	})
	f.roster(2) // who talks was the last to be told
	f.box.Press("m")
	f.gate("closed")
	time.Sleep(200 * time.Millisecond) // sooner it would be the keyboard's repetition of one press
	f.box.Press("m")
	f.gate("open")
	call.Stop()
	events := strings.Join(f.roster(1), " ")
	for _, event := range []string{"joined", "changed", "talking", "muted", "unmuted", "left"} {
		if !strings.Contains(events, event) {
			t.Errorf("nobody %s: %s", event, events)
		}
	}
	f.box.StopCleanly()
	waitTold(t, f.sub, "/e/local/box/box-1/state", `{"state":"disconnected","sess":1}`)
}

// roster holds the notices against their numbers and against a late subscriber's snapshot, which has so many members; it returns
// what the notices told.
func (f *foreigner) roster(members int) (events []string) {
	f.t.Helper()
	const notices, state = "/e/local/conf/1000/notice", "/e/local/conf/1000/state"
	phonetest.Eventually(f.t, 30*time.Second, "the snapshot is where the notices are", func() bool {
		late := f.broker.Subscribe("", state, "-C", "1")
		late.Wait(20 * time.Second)
		snapshot := payloadOf(f.t, told(late, state)[0])
		last := 0.0
		events = nil
		for _, text := range told(f.sub, notices) {
			n := payloadOf(f.t, text)
			if n["seq"] != last+1 {
				f.t.Fatalf("after number %v came %s", last, text)
			}
			last++
			events = append(events, n["event"].(string))
		}
		list, _ := snapshot["members"].([]any)
		return snapshot["seq"] == last && len(list) == members
	})
	return events
}
