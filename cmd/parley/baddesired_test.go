package main_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
	"parley/mqtt"
	"parley/mqtt/wire"
)

// central is the operator's side at a broker, for a test that says everything itself.
type central struct {
	*mqtt.Client
	t       *testing.T
	box     wire.Box
	reports chan wire.Reported
	states  chan wire.BoxState
	last    wire.Reported
}

func newCentral(t *testing.T, cfg mqtt.Config, box wire.Box) *central {
	t.Helper()
	cfg.ClientID, cfg.Log = "central-"+rand.Text()[:6], slog.New(slog.DiscardHandler)
	client, err := mqtt.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := &central{Client: client, t: t, box: box, reports: make(chan wire.Reported, 4096), states: make(chan wire.BoxState, 4096)}
	c.Subscribe(box.Reported(), func(m mqtt.Message) {
		var r wire.Reported
		if err := wire.Decode(m.Payload, &r); err != nil {
			t.Errorf("a report that is not as the page says: %v\n%s", err, m.Payload)
			return
		}
		c.reports <- r
	})
	c.Subscribe(box.State(), func(m mqtt.Message) {
		var s wire.BoxState
		if wire.Decode(m.Payload, &s) == nil {
			c.states <- s
		}
	})
	done := make(chan struct{})
	ctx := t.Context()
	go func() {
		defer close(done)
		client.Run(ctx)
	}()
	t.Cleanup(func() { <-done })
	return c
}

// report waits for a report that is as wanted.
func (c *central) report(what string, want func(wire.Reported) bool) wire.Reported {
	c.t.Helper()
	for timeout := time.After(30 * time.Second); ; {
		select {
		case c.last = <-c.reports:
			if want(c.last) {
				return c.last
			}
		case <-timeout:
			c.t.Fatalf("not reported: %s; the last report is %s", what, show(c.last))
		}
	}
}

func show(r wire.Reported) string {
	b, err := wire.Encode(&r)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// session waits for the box to be ready in a later session than that one, and gives it.
func (c *central) session(last uint64) uint64 {
	c.t.Helper()
	for timeout := time.After(30 * time.Second); ; {
		select {
		case s := <-c.states:
			if (s.State == wire.Ready || s.State == wire.Alerting) && s.Sess > last {
				return s.Sess
			}
		case <-timeout:
			c.t.Fatal("the box is not ready")
		}
	}
}

// tell publishes a message as desired settings.
func (c *central) tell(message []byte) string {
	c.t.Helper()
	if err := c.Publish(c.box.Desired(), message, 1, true); err != nil {
		c.t.Fatal(err)
	}
	return wire.HashOf(message)
}

// a bad document changes nothing and is refused with its reason and the field that is wrong. 300 of them, one after the other, come
// to a box that runs: the last good one stays in force, and so does the box's session. Nor does one that the broker has kept since before
// the start change anything.
func TestBadSettingsChangeNothing(t *testing.T) {
	t.Parallel()
	b := newBadDocs(t)
	broker := phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})
	box := boxtest.New(t, boxtest.Config{Settings: boxtest.Settings{
		"mqtt":      boxtest.Settings{"broker": broker.URL()},
		"provision": boxtest.Settings{"keys": []string{publicHalf(b.operator), publicHalf(b.second)}},
	}})
	c := newCentral(t, mqtt.Config{URL: broker.URL()}, b.box)
	box.Begin()
	first := c.session(0)
	b.takeSealKey(box.Data)

	good := b.good()
	hash := c.tell(good)
	c.report("good settings", func(r wire.Reported) bool { return r.Good != nil && r.Good.Hash == hash && r.Trial == nil })
	session := c.session(first)
	kept := keptSettings(t, box.Data)

	b.all()
	began := time.Now()
	reasons := map[string]int{}
	for i := range b.list {
		d := &b.list[i]
		hash := c.tell(d.message)
		r := c.report(d.name, func(r wire.Reported) bool { return r.Rejected != nil && r.Rejected.Hash == hash })
		if r.Rejected.Reason != d.reason || !d.fits(r.Rejected.Path) {
			t.Errorf("%s: %s at %q (%s), want %s at %q", d.name, r.Rejected.Reason, r.Rejected.Path, r.Rejected.Detail, d.reason, d.path)
		}
		if r.Good == nil || r.Good.Version != 1 || r.Applied == nil || *r.Applied != *r.Good || r.Trial != nil || r.Pending != nil {
			t.Errorf("%s: %s", d.name, show(r))
		}
		if strings.Contains(show(r), "hunter2") {
			t.Errorf("%s: a secret is told: %s", d.name, show(r))
		}
		reasons[d.reason]++
	}
	t.Logf("%d documents refused in %v: %v", len(b.list), time.Since(began).Round(time.Millisecond), reasons)
	if len(b.list) < 200 {
		t.Errorf("only %d documents", len(b.list))
	}
	// The good one again, and nothing at all, are no news; what comes after is.
	c.tell(good)
	c.tell(nil)
	poison := b.sign(b.payload(`{"card":{"volume":"poison"}}`))
	hash = c.tell(poison)
	c.report("the last one", func(r wire.Reported) bool { return r.Rejected != nil && r.Rejected.Hash == hash })
	if now := keptSettings(t, box.Data); now != kept {
		t.Errorf("what is kept has changed from\n%s\nto\n%s", kept, now)
	}
	if status := callStatus(t, box, "4711"); status != "" {
		t.Errorf("the conference of the good settings: %s", status)
	}

	// It is retained: the box starts with it in its way, by kill and in order.
	for _, end := range []func(){box.Kill, box.StopCleanly} {
		end()
		box.Restart()
		if next := c.session(session); next != session+1 {
			t.Errorf("session %d after %d: the box has begun anew meanwhile", next, session)
		}
		session++
		c.report("the poison that was kept", func(r wire.Reported) bool {
			return r.Rejected != nil && r.Rejected.Hash == hash && r.Good != nil && r.Good.Version == 1 && r.Applied != nil
		})
	}
	if status := callStatus(t, box, "4711"); status != "" {
		t.Errorf("the conference of the good settings, after restarts: %s", status)
	}
	// And a good one is still taken.
	last := b.sign(b.payload(`{"conferences":[{"number":"4712"}]}`, field{"confirm_s", "30"}))
	hash = c.tell(last)
	c.report("good settings after all", func(r wire.Reported) bool { return r.Good != nil && r.Good.Hash == hash && r.Rejected == nil })
	if c.session(session) != session+1 {
		t.Error("the box has begun anew more than once")
	}
}

func newBadDocs(t testing.TB) *badDocs {
	t.Helper()
	key := func() ed25519.PrivateKey {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	box, err := wire.NewBox("local", "box-1")
	if err != nil {
		t.Fatal(err)
	}
	return &badDocs{t: t, box: box, operator: key(), second: key(), stranger: key()}
}

func publicHalf(k ed25519.PrivateKey) string {
	return wire.EncodePublicKey(k.Public().(ed25519.PublicKey))
}

// takeSealKey reads to which key the box's secrets are sealed.
func (b *badDocs) takeSealKey(data string) {
	b.t.Helper()
	raw, err := os.ReadFile(filepath.Join(data, "identity", "seal.pub"))
	if err == nil {
		b.seal, err = wire.ParseSealKey(strings.TrimSpace(string(raw)))
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// good is version 1: it can be seen from outside, and has a secret.
func (b *badDocs) good() []byte {
	b.t.Helper()
	sealed, err := wire.Seal(b.seal, wire.Place{EID: b.box.EID(), Box: b.box.Name(), Key: "sip.users[0].password"}, []byte("hunter2"))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.sign(b.payload(fmt.Sprintf(`{"conferences":[{"number":"4711"}],"sip":{"users":[{"name":"201","password_sealed":%q}]}}`, sealed), field{"confirm_s", "30"}))
}

func (b *badDocs) all() {
	b.envelopes()
	b.heads()
	b.values()
	b.conflicts()
	b.secrets()
}

// keptSettings is what the box has written down of its settings.
func keptSettings(t *testing.T, data string) string {
	t.Helper()
	var all bytes.Buffer
	for _, name := range []string{"good", "trial"} {
		b, err := os.ReadFile(filepath.Join(data, "provision", name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s: %s\n", name, b)
	}
	return all.String()
}

// callStatus calls a number; empty if it was answered.
func callStatus(t *testing.T, box *boxtest.Box, number string) string {
	t.Helper()
	call := box.Call(number, "-for", "1s")
	if code := call.Wait(30 * time.Second); code != 0 {
		return call.Tail(5)
	}
	return ""
}
