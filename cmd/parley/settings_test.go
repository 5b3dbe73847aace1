package main_test

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
	"parley/mqtt/wire"
)

// settler is who sends a box its settings: an operator's key, and a broker.
type settler struct {
	t      *testing.T
	box    *boxtest.Box
	broker *phonetest.Mosquitto
	watch  *boxtest.Watch
	names  wire.Box
	key    ed25519.PrivateKey
	next   uint64
}

// newSettler starts a broker, and a box there that knows the operator and is registered nowhere.
func newSettler(t *testing.T, settings boxtest.Settings) *settler {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &settler{t: t, key: key, broker: phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})}
	all := boxtest.Settings{
		"mqtt":      boxtest.Settings{"broker": c.broker.URL()},
		"provision": boxtest.Settings{"keys": []string{wire.EncodePublicKey(key.Public().(ed25519.PublicKey))}},
	}
	for k, v := range settings {
		all[k] = v
	}
	c.box = boxtest.Start(t, boxtest.Config{Settings: all})
	if c.names, err = wire.NewBox(c.box.EID, c.box.Name); err != nil {
		t.Fatal(err)
	}
	c.watch = boxtest.NewWatch(t, c.broker.URL(), c.box.EID)
	return c
}

// sealKey is the public key of the box to which secrets are sealed.
func (c *settler) sealKey() *ecdh.PublicKey {
	c.t.Helper()
	raw, err := os.ReadFile(filepath.Join(c.box.Data, "identity", "seal.pub"))
	if err != nil {
		c.t.Fatal(err)
	}
	key, err := wire.ParseSealKey(strings.TrimSpace(string(raw)))
	if err != nil {
		c.t.Fatal(err)
	}
	return key
}

// upstream is the setting of a registrar, its password sealed.
func (c *settler) upstream(at *boxtest.Box, password string) boxtest.Settings {
	c.t.Helper()
	sealed, err := wire.Seal(c.sealKey(), wire.Place{EID: c.box.EID, Box: c.box.Name, Key: "sip.upstreams[0].password"}, []byte(password))
	if err != nil {
		c.t.Fatal(err)
	}
	return boxtest.Settings{"upstreams": []any{boxtest.Settings{
		"name": "pbx", "registrar": at.SIP, "user": "300", "password_sealed": sealed,
	}}}
}

// send publishes settings with the next version, which it returns.
func (c *settler) send(confirm int, settings boxtest.Settings) uint64 {
	c.t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		c.t.Fatal(err)
	}
	c.next++
	envelope, err := wire.SignDesired(wire.Desired{
		Schema: 1, EID: c.box.EID, Box: c.box.Name, Version: c.next, ConfirmS: confirm, Settings: raw,
	}, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	c.watch.Forget()
	c.broker.Publish("", c.names.Desired(), string(envelope), "-r")
	return c.next
}

// told waits for a report.
func (c *settler) told(what string, ok func(r *wire.Reported) bool) *wire.Reported {
	c.t.Helper()
	var found wire.Reported
	c.watch.Wait("/config/reported", what, 60*time.Second, func(m map[string]any) bool {
		raw, _ := json.Marshal(m)
		var r wire.Reported
		if err := wire.DecodeKnown(raw, &r); err != nil {
			c.t.Errorf("a report is not valid: %v: %s", err, raw)
			return false
		}
		found = r
		return ok(&r)
	})
	return &found
}

func isGood(v uint64) func(*wire.Reported) bool {
	return func(r *wire.Reported) bool {
		return r.Good != nil && r.Good.Version == v && r.Applied != nil && *r.Applied == *r.Good && r.Trial == nil
	}
}

// undone waits until a version has been undone, and the one that was good is in force.
func (c *settler) undone(v, good uint64, reasons ...string) *wire.Reported {
	c.t.Helper()
	return c.told(fmt.Sprintf("version %d undone, %d in force", v, good), func(r *wire.Reported) bool {
		return r.Rejected != nil && r.Rejected.Version == v && slices.Contains(reasons, r.Rejected.Reason) && isGood(good)(r)
	})
}

// ready waits until the box says that it has all that it should.
func (c *settler) ready() {
	c.t.Helper()
	phonetest.Eventually(c.t, 30*time.Second, "the box is ready, and registered", func() bool {
		answer, err := http.Get("http://" + c.box.HTTP + "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// settings come signed over MQTT, are applied, and told. Those that cut the box off undo themselves, by the clock and
// after a kill −9, and it goes on with what was good.
func TestSettingsFromOutside(t *testing.T) {
	t.Parallel()
	pbx := boxtest.Start(t, boxtest.Config{Settings: boxtest.Settings{
		"box": "pbx", "sip": boxtest.Settings{"trust_loopback": false, "users": []any{boxtest.Settings{"name": "300", "password": "right"}}},
	}})
	c := newSettler(t, nil)
	pid := c.box.PID()

	good := c.send(30, boxtest.Settings{"sip": c.upstream(pbx, "right"), "card": boxtest.Settings{"volume": 60}})
	c.told("version 1 good", isGood(good))
	c.ready()

	t.Run("wrong password", func(t *testing.T) {
		v := c.send(8, boxtest.Settings{"sip": c.upstream(pbx, "wrong")}) // long enough to be seen on trial on a busy machine
		c.told("on trial, without sip", func(r *wire.Reported) bool {
			return r.Trial != nil && r.Trial.Version == v && slices.Contains(r.Trial.Missing, "sip pbx")
		})
		if r := c.undone(v, good, wire.ReasonConfirmTimeout); !strings.Contains(r.Rejected.Detail, "sip pbx") {
			t.Errorf("told %+v", r.Rejected)
		}
		c.ready()
	})
	t.Run("wrong broker", func(t *testing.T) {
		v := c.send(4, boxtest.Settings{"sip": c.upstream(pbx, "right"), "mqtt": boxtest.Settings{"broker": "mqtt://127.0.0.1:9"}})
		if r := c.undone(v, good, wire.ReasonConfirmTimeout); !strings.Contains(r.Rejected.Detail, "mqtt") {
			t.Errorf("told %+v", r.Rejected)
		}
		c.ready()
	})
	t.Run("wrong card", func(t *testing.T) {
		v := c.send(4, boxtest.Settings{"sip": c.upstream(pbx, "right"), "card": boxtest.Settings{"device": "hw:77"}})
		r := c.undone(v, good, wire.ReasonConfirmTimeout, wire.ReasonApplyFailed)
		if !strings.Contains(r.Rejected.Detail, "sound") && !strings.Contains(r.Rejected.Detail, "card") {
			t.Errorf("told %+v", r.Rejected)
		}
		c.ready()
	})
	t.Run("cannot run", func(t *testing.T) {
		v := c.send(30, boxtest.Settings{"sip": c.upstream(pbx, "right"), "http": boxtest.Settings{"listen": pbx.HTTP}})
		if r := c.undone(v, good, wire.ReasonApplyFailed); !strings.Contains(r.Rejected.Detail, "http.listen") {
			t.Errorf("told %+v", r.Rejected)
		}
		c.ready()
	})
	if c.box.PID() != pid {
		t.Errorf("another process: %d, before %d", c.box.PID(), pid)
	}
	t.Run("killed", func(t *testing.T) {
		nobody := *pbx // another wrong password, and the registrar would have the box wait for longer and longer
		nobody.SIP = "127.0.0.1:9"
		v := c.send(600, boxtest.Settings{"sip": c.upstream(&nobody, "right")})
		for try := 1; try <= 3; try++ {
			c.told(fmt.Sprintf("on trial, try %d", try), func(r *wire.Reported) bool {
				return r.Trial != nil && r.Trial.Version == v && r.Trial.Try == try
			})
			c.box.Kill()
			c.watch.Forget()
			c.box.Restart()
			c.told("what was good is in force", isGood(good))
		}
		c.undone(v, good, wire.ReasonRolledBack)
		c.ready()
	})
	t.Run("good again", func(t *testing.T) {
		v := c.send(30, boxtest.Settings{"sip": c.upstream(pbx, "right"), "card": boxtest.Settings{"volume": 50}})
		if r := c.told("good", isGood(v)); r.Rejected != nil {
			t.Errorf("still told: %+v", r.Rejected)
		}
		c.ready()
	})
	c.box.StopCleanly()
}

// Settings wait for the end of calls; those that change nothing need no new beginning. What is set on the box stays, and is told.
func TestSettingsWaitForCalls(t *testing.T) {
	t.Parallel()
	c := newSettler(t, nil)
	call := c.box.Call(c.box.Conference, "-for", "60s")
	call.WaitLine("answered", 20*time.Second)
	settings := boxtest.Settings{"place": boxtest.Settings{"name": "Board room"}, "card": boxtest.Settings{"volume": 60}}
	v := c.send(30, settings)
	c.told("waits for the call", func(r *wire.Reported) bool {
		return r.Pending != nil && *r.Pending == wire.Pending{Version: v, Reason: wire.ReasonBusy} && r.Applied == nil
	})
	call.Stop()
	c.told("good after the call", isGood(v))

	begun := len(c.box.Lines())
	v = c.send(30, settings)
	c.told("the same again", isGood(v))
	for _, line := range c.box.Lines()[begun:] {
		if strings.Contains(line, "begins anew") {
			t.Errorf("settings that change nothing have had it begin anew: %s", line)
		}
	}

	if err := os.WriteFile(filepath.Join(c.box.Data, "local.yaml"), []byte("card: {volume: 85}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.box.StopCleanly()
	c.watch.Forget()
	c.box.Restart()
	r := c.told("drift", func(r *wire.Reported) bool { return len(r.Drift) > 0 && isGood(v)(r) })
	if want := []wire.Drift{{Key: "card.volume", Central: "60", Local: "85"}}; !slices.Equal(r.Drift, want) {
		t.Errorf("drift %v", r.Drift)
	}
	c.box.StopCleanly()
}
