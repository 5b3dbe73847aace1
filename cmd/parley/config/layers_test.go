package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func outside(text string) Layer {
	return Layer{Name: "from outside, version 7", Data: []byte(text), Outside: true}
}

// opens answers the seals of these tests: "sealed:KEY=TEXT" opens for that key only.
func opens(key, sealed string) (string, error) {
	if text, ok := strings.CutPrefix(sealed, "sealed:"+key+"="); ok {
		return text, nil
	}
	return "", errors.New("the seal cannot be opened")
}

func TestLayers(t *testing.T) {
	base := NewLayer("base.yaml", []byte("card: {volume: 40, device: \"hw:1\"}\nsip:\n  users: [{name: a, password: x}, {name: b, password: y}]\n  realm: base\nmqtt: {broker: \"mqtts://b\", user: u, password_env: PW}\n"))
	central := outside(`{"card":{"volume":60},"sip":{"users":[{"name":"c","password_sealed":"sealed:sip.users[0].password=z"}]},"mqtt":{"password_sealed":"sealed:mqtt.password=new"},"place":{"name":"\ud83d\ude00 \u00fc"},"http":{"listen":""}}`)
	local := NewLayer("local.yaml", []byte("card: {volume: 80}\n"))
	c, err := ParseLayers(Sources{Unseal: opens}, base, central, local) // PW is not set, and not asked for
	if err != nil {
		t.Fatal(err)
	}
	if c.Card.Volume != 80 || c.Card.Device != "hw:1" || c.SIP.Realm != "base" || c.MQTT.Broker != "mqtts://b" || c.HTTP.Listen != "" {
		t.Errorf("laid into each other:\n%s", c)
	}
	if len(c.SIP.Users) != 1 || c.SIP.Users[0].Password.Reveal() != "z" || c.MQTT.Password.Reveal() != "new" || c.Place.Name != "😀 ü" {
		t.Errorf("replaced:\n%s", c)
	}
	without, err := ParseLayers(Sources{Unseal: opens}, base, central)
	if err != nil {
		t.Fatal(err)
	}
	want := []Difference{{"card.volume", "60", "80"}}
	if got := Differences(without, c); !slices.Equal(got, want) {
		t.Errorf("drift %v", got)
	}
	c.MQTT.Password, c.SIP.Users = Secret{"other"}, nil
	got := fmt.Sprint(Differences(without, c))
	if !strings.Contains(got, "{mqtt.password (secret) (secret)}") || !strings.Contains(got, "{sip.users 1 entries 0 entries}") || strings.Contains(got, "other") {
		t.Errorf("differences %s", got)
	}
}

// What is wrong is told with the name of its layer, and of which kind it is.
func TestWrongLayers(t *testing.T) {
	base := NewLayer("base.yaml", []byte("rtp: {first: 30000, last: 30999}\n"))
	for _, x := range []struct {
		layer Layer
		kind  error
		want  string
	}{
		{outside(`{"card":{"volume":"60"}}`), nil, "from outside, version 7: card.volume: wrong value"},
		{outside(`{"card":{"volume":1e999}}`), nil, "card.volume: wrong value"},
		{outside(`{"card":{"volum":60}}`), ErrUnknownSetting, "from outside, version 7: card.volum: no such setting; did you mean volume?"},
		{outside(`{"card":null}`), nil, "card: a single value stands here"},
		{outside(`{"card":{"volume":null}}`), nil, "card.volume: no value"},
		{outside(`[1]`), nil, "a list stands here"},
		{outside(`{"card":{"volume":60`), nil, "not JSON"},
		{outside(`{}{}`), nil, "not JSON"},
		{outside(`{"rtp":{"last":20999}}`), nil, "from outside, version 7: rtp.last: lies before rtp.first"},
		{outside(`{"rtp":{"first":31000}}`), nil, "base.yaml:1:27: rtp.last: lies before rtp.first"},
		{outside(`{"eid":"x"}`), nil, "eid: cannot be set from outside"},
		{outside(`{"box":"x"}`), nil, "box: cannot be set from outside"},
		{outside(`{"data":"/tmp"}`), nil, "data: cannot be set from outside"},
		{outside(`{"provision":{"keys":[]}}`), nil, "provision"},
		{outside(`{"provision":{"enrol":true}}`), nil, "provision.enrol: cannot be set from outside"},
		{outside(`{"mqtt":{"broker":"embedded"}}`), nil, "mqtt.broker: would cut the box off"},
		{outside(`{"mqtt":{"user":"u","password":"in the open"}}`), ErrNoSecret, "mqtt.password: a secret stands in the open; seal it"},
		{outside(`{"mqtt":{"user":"u","password_file":"/etc/hostname"}}`), ErrNoSecret, "mqtt.password_file: files and environment"},
		{outside(`{"mqtt":{"user":"u","password_env":"HOME"}}`), ErrNoSecret, "mqtt.password_env: files and environment"},
		{outside(`{"mqtt":{"user":"u","password_sealed":"sealed:http.password=x"}}`), ErrNoSecret, "mqtt.password_sealed: the seal cannot be opened"},
		{outside(`{"sip":{"users":[{"name":"a"}]}}`), ErrNoSecret, "sip.users[0]: exactly one of password and ha1"},
		{outside(`{"sip":{"upstreams":[{"name":"a","registrar":"b","user":"c"}]}}`), ErrNoSecret, "sip.upstreams[0].password: registrar, user and password"},
		{outside(`{"mqtt":{"user":"u","password_sealed":"sealed:mqtt.password=x","password_env":"HOME"}}`), ErrNoSecret, "mqtt.password_env"},
		{outside(`{"card":{"volume":1,"volume":2}}`), nil, "card.volume: set twice"},
		{NewLayer("local.yaml", []byte("card: &x {volume: 3}\n")), nil, "local.yaml:1:7: card: anchors"},
		{NewLayer("local.yaml", []byte("card: {volume: 3\n")), nil, "local.yaml:"},
	} {
		_, err := ParseLayers(Sources{Env: func(string) string { return "env" }, Unseal: opens}, base, x.layer)
		if err == nil || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "in the open\"") {
			t.Errorf("%s: %v, want %s", x.layer.Data, err, x.want)
			continue
		}
		var all Errors
		if errors.As(err, &all); !errors.Is(all[0], x.kind) && x.kind != nil || x.kind == nil && all[0].Kind != nil {
			t.Errorf("%s: kind %v", x.layer.Data, all[0].Kind)
		}
	}
}

const bootFile = `
keys: [6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=]
ca: |
  -----BEGIN CERTIFICATE-----
  AAAA
  -----END CERTIFICATE-----
claim:
  certificate: |
    -----BEGIN CERTIFICATE-----
    AAAA
    -----END CERTIFICATE-----
  key: |
    -----BEGIN PRIVATE KEY-----
    AAAA
    -----END PRIVATE KEY-----
broker: mqtts://mqtt.example.com
`

func TestBootFile(t *testing.T) {
	b, err := ParseBoot(NewLayer("boot", []byte(bootFile)))
	if err != nil || len(b.Keys) != 1 || b.Broker != "mqtts://mqtt.example.com" || !strings.Contains(b.ClaimKey.Reveal(), "PRIVATE KEY") || fmt.Sprint(b.ClaimKey) != "(secret)" {
		t.Fatalf("%+v, %v", b, err)
	}
	for old, want := range map[string][2]string{
		"mqtts://mqtt.example.com": {"mqtt://mqtt.example.com", "broker: wrong value"},
		"broker:":                  {"brokr:", "brokr: no such setting; did you mean broker?"},
		"keys: [6":                 {"keys: [7\x00", "boot"},
		"[6kpsY":                   {"[kpsY", "keys[0]: wrong value"},
		"BEGIN PRIVATE":            {"BEGIN PUBLIC", "claim.key: wrong value"},
		"  key: |":                 {"  kex: |", "claim.kex: no such setting"},
		"ca: |":                    {"ca: x\ncb: |", "ca: wrong value"},
	} {
		_, err := ParseBoot(NewLayer("boot", []byte(strings.Replace(bootFile, old, want[0], 1))))
		if err == nil || !strings.Contains(err.Error(), want[1]) {
			t.Errorf("%s for %s: %v", want[0], old, err)
		}
	}
	if _, err := ParseBoot(NewLayer("boot", nil)); err == nil || !strings.Contains(err.Error(), "claim.key: is missing") {
		t.Errorf("an empty one: %v", err)
	}
}

// Whatever comes from outside is taken whole or refused, and never sets what is the box's own.
func FuzzLayers(f *testing.F) {
	f.Add("card: {volume: 40}\n", `{"card":{"volume":60}}`)
	f.Add("mqtt: {user: u, password: x}\n", `{"mqtt":{"password_sealed":"sealed:mqtt.password=y"}}`)
	f.Add("box: a\n", `{"box":"b","sip":{"users":[{"name":"x"}]}}`)
	f.Fuzz(func(t *testing.T, under, over string) {
		base := NewLayer("base", []byte(under))
		base.read = func(string, int64) ([]byte, error) { return []byte("from a file"), nil }
		from := Sources{Unseal: opens}
		alone, err := ParseLayers(from, base)
		if err != nil {
			return
		}
		both, err := ParseLayers(from, base, outside(over))
		if err != nil {
			var all Errors
			if !errors.As(err, &all) {
				t.Fatalf("%T", err)
			}
			return
		}
		if both.Box != alone.Box || both.EID != alone.EID || both.Data != alone.Data || both.Board != alone.Board || !slices.Equal(both.Provision.Keys, alone.Provision.Keys) {
			t.Fatalf("%s\n%s\nmakes another box of it: %v", under, over, Differences(alone, both))
		}
	})
}

func FuzzBoot(f *testing.F) {
	f.Add(bootFile)
	f.Fuzz(func(t *testing.T, text string) {
		b, err := ParseBoot(NewLayer("boot", []byte(text)))
		if err == nil && (len(b.Keys) == 0 || b.CA == "" || b.Broker != "" && !strings.HasPrefix(b.Broker, "mqtts://")) {
			t.Fatalf("%+v", b)
		}
	})
}
