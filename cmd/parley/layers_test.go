package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"parley/cmd/parley/config"
	"parley/mqtt/provision"
	"parley/mqtt/wire"
)

// shelf is a data folder with settings in it.
type shelf struct {
	t   *testing.T
	dir string
	key ed25519.PrivateKey
	id  *provision.Identity
}

func newShelf(t *testing.T, base string) *shelf {
	t.Helper()
	s := &shelf{t: t, dir: t.TempDir(), key: ed25519.NewKeyFromSeed([]byte(strings.Repeat("o", 32)))}
	var err error
	if s.id, err = provision.OpenIdentity(filepath.Join(s.dir, "identity"), true, nil); err != nil {
		t.Fatal(err)
	}
	s.file("parley.yaml", base)
	return s
}

func (s *shelf) file(name, text string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(s.dir, name)), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// keep puts a document where the box keeps what is good, or on trial.
func (s *shelf) keep(name, eid string, version uint64, settings string) {
	s.t.Helper()
	b, err := wire.SignDesired(wire.Desired{Schema: 1, EID: eid, Box: "box-1", Version: version, ConfirmS: 30, Settings: json.RawMessage(settings)}, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.file("provision/"+name, sumLine(b)+string(b))
}

// sumLine is what the first line of a file that is kept says.
func sumLine(b []byte) string { return fmt.Sprintf("%x\n", sha256.Sum256(b)) }

func (s *shelf) load(trial string) (config.Config, *layers) {
	s.t.Helper()
	cfg, l, err := loadLayers("", s.dir, trial)
	if err != nil {
		s.t.Fatal(err)
	}
	if cfg.Data != s.dir {
		s.t.Errorf("data is %s", cfg.Data)
	}
	return cfg, l
}

func (s *shelf) seal(eid, key, text string) string {
	s.t.Helper()
	sealed, err := wire.Seal(s.id.Seal.PublicKey(), wire.Place{EID: eid, Box: "box-1", Key: key}, []byte(text))
	if err != nil {
		s.t.Fatal(err)
	}
	return sealed
}

func TestLayersOfSettings(t *testing.T) {
	s := newShelf(t, "box: box-1\ncard: {volume: 10}\nplace: {name: base}\n")
	s.file("parley.yaml", "box: box-1\ncard: {volume: 10}\nplace: {name: base}\nsip: {users: [{name: a, ha1_sealed: "+s.seal("local", "sip.users[0].ha1", strings.Repeat("ab", 16))+"}]}\n")
	if cfg, _ := s.load(""); cfg.Card.Volume != 10 || cfg.SIP.Users[0].HA1.Reveal() != strings.Repeat("ab", 16) {
		t.Errorf("base:\n%s", cfg)
	}
	s.keep("good", "local", 3, `{"card":{"volume":20},"mqtt":{"user":"u","password_sealed":"`+s.seal("local", "mqtt.password", "pw")+`"}}`)
	s.keep("trial", "local", 4, `{"card":{"volume":30}}`)
	cfg, l := s.load("")
	if cfg.Card.Volume != 20 || cfg.Place.Name != "base" || cfg.MQTT.Password.Reveal() != "pw" || l.life.Trial || len(l.problems) > 0 {
		t.Errorf("what is good: %v\n%s", l.problems, cfg)
	}
	for _, trial := range []string{"3", "5", "x"} {
		if cfg, l := s.load(trial); cfg.Card.Volume != 20 || l.life.Trial {
			t.Errorf("%s is tried", trial)
		}
	}
	if cfg, l := s.load("4"); cfg.Card.Volume != 30 || !l.life.Trial || cfg.MQTT.Password.Given() {
		t.Errorf("on trial:\n%s", cfg)
	}
	s.file("local.yaml", "card: {volume: 40}\n")
	cfg, l = s.load("")
	if want := []wire.Drift{{Key: "card.volume", Central: "20", Local: "40"}}; cfg.Card.Volume != 40 || !slices.Equal(l.drift, want) {
		t.Errorf("drift %v", l.drift)
	}
}

// What lies above the base cannot keep the box from starting.
func TestWrongLayersAreLeftOut(t *testing.T) {
	s := newShelf(t, "box: box-1\ncard: {volume: 10}\n")
	s.keep("good", "local", 3, `{"card":{"volume":20}}`)
	s.file("local.yaml", "card: {volum: 40}\n")
	cfg, l := s.load("")
	if cfg.Card.Volume != 20 || len(l.problems) != 1 || !strings.Contains(l.problems[0], "local.yaml:1:8: card.volum") {
		t.Errorf("local: %v\n%s", l.problems, cfg)
	}
	s.file("local.yaml", "")
	s.keep("good", "local", 3, `{"card":{"volume":20},"mqtt":{"ca":"/nowhere"}}`) // was there when it came
	cfg, l = s.load("")
	if cfg.Card.Volume != 10 || l.life.Doc != nil || l.life.Problem == nil || len(l.problems) != 1 {
		t.Errorf("from outside: %v\n%s", l.problems, cfg)
	}
	s.keep("trial", "local", 4, `{"card":{"volume":"loud"}}`)
	if _, l := s.load("4"); !l.life.Trial || l.life.Problem == nil {
		t.Errorf("on trial: %+v", l.life)
	} else if next, ok := l.fell(l.life.Problem); !ok || next == nil {
		t.Error("goes on with it")
	}
	if _, l := s.load("4"); l.life.Trial {
		t.Error("is tried again")
	}
	s.keep("good", "acme", 5, `{"card":{"volume":20}}`)
	if cfg, l := s.load(""); cfg.Card.Volume != 10 || len(l.problems) != 1 || !strings.Contains(l.problems[0], "another box") {
		t.Errorf("another's: %v\n%s", l.problems, cfg)
	}
	s.file("provision/good", "x")
	s.file("provision/notes", "x")
	s.file("identity/seal.key", "x")
	if cfg, l := s.load(""); cfg.Card.Volume != 10 || len(l.problems) != 3 {
		t.Errorf("damaged: %v\n%s", l.problems, cfg)
	}
	s.file("parley.yaml", "card: {volum: 1}\n")
	var bad config.Errors
	if _, _, err := loadLayers("", s.dir, ""); !errors.As(err, &bad) {
		t.Errorf("a wrong base: %v", err)
	}
}

// A box that fell with settings that have become good meanwhile did not fall by them.
func TestFellAfterTheTrial(t *testing.T) {
	s := newShelf(t, "box: box-1\n")
	s.keep("trial", "local", 4, `{"card":{"volume":30}}`)
	_, l := s.load("4")
	if err := os.Rename(filepath.Join(s.dir, "provision", "trial"), filepath.Join(s.dir, "provision", "good")); err != nil {
		t.Fatal(err)
	}
	if _, ok := l.fell(errors.New("something else")); ok {
		t.Error("begins anew for ever")
	}
	if cfg, _ := s.load(""); cfg.Card.Volume != 30 {
		t.Errorf("%d", cfg.Card.Volume)
	}
}

// What a file that settings name is not fit for is told with the setting.
func TestUsable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.pem")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		"settings.mqtt.ca":      `{"mqtt":{"broker":"mqtts://b","ca":"` + file + `"}}`,
		"settings.sip.tls.cert": `{"sip":{"tls":{"cert":"` + file + `","key":"` + file + `"}}}`,
		"settings.mqtt.acl":     `{"mqtt":{"acl":"/nowhere"}}`,
		"settings.card.volume":  `{"card":{"volume":101}}`,
	} {
		s := newShelf(t, "box: box-1\nmqtt: {users: [{name: a, password: b}]}\n")
		_, l := s.load("")
		_, _, err := l.with(wire.Desired{Version: 1, Settings: json.RawMessage(text)})
		if f := faultOf(err); err == nil || f.Path != path || f.Reason != wire.ReasonInvalidValue {
			t.Errorf("%s: %+v", text, f)
		}
	}
}
