package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/settings.md")

func noEnv(string) string { return "" }

func mustParse(t *testing.T, text string) Config {
	t.Helper()
	c, err := Parse("box.yaml", []byte(text), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What a box without a settings file does is promised to its owner: all of it on loopback.
func TestDefaults(t *testing.T) {
	c := Default()
	if c.EID != "local" || c.Board != "desk" || c.Card.Device != "auto" || c.Place.Join != "1000" || !c.Place.JoinAtStart ||
		c.Place.AutoAnswer != AnswerOff || c.MQTT.Broker != BrokerEmbedded || c.MQTT.Listen != "127.0.0.1:1883" ||
		c.HTTP.Listen != "127.0.0.1:8080" || c.RTP.First != 20000 || c.RTP.Last != 20999 || c.RTP.Rest != 30*time.Second ||
		c.SIP.SRTP != SRTPAllow || c.SIP.AllowRefer || c.Listen.LAN || c.Box == "" || c.Data == "" {
		t.Errorf("defaults are not as promised:\n%s", c)
	}
	want := Listen{false, []string{"127.0.0.1:5060"}, []string{"127.0.0.1:5060"}, []string{"127.0.0.1:5061"}, "127.0.0.1"}
	if !reflect.DeepEqual(c.Listen, want) {
		t.Errorf("listens at %+v", c.Listen)
	}
	if len(c.Conferences) != 1 || c.Conferences[0] != (Conference{"1000", "1000", 200}) {
		t.Errorf("conferences %+v", c.Conferences)
	}
	if len(c.Warnings()) != 0 {
		t.Errorf("the defaults warn: %q", c.Warnings())
	}
	if slug(c.Box) != "" {
		t.Errorf("box name %q", c.Box)
	}
}

// The printed defaults are a settings file that changes nothing.
func TestDefaultsRoundTrip(t *testing.T) {
	text := Defaults()
	if got := mustParse(t, text); !reflect.DeepEqual(got, mustParse(t, "")) {
		t.Errorf("printed defaults read back as\n%s\nprinted:\n%s", got, text)
	}
	if got := mustParse(t, mustParse(t, "").String()); !reflect.DeepEqual(got, mustParse(t, "")) {
		t.Errorf("a dump of the defaults reads back as\n%s", got)
	}
	for line := range strings.Lines(text) {
		if len(line) > 140 {
			t.Errorf("long line: %s", line)
		}
	}
}

// Every sample entry in the comments is made of keys that exist.
func TestEverySettingIsDocumented(t *testing.T) {
	text, page := Defaults(), Markdown()
	var c Config
	var walk func(path string, fields section)
	walk = func(path string, fields section) {
		for _, s := range fields {
			full := join(path, s.key)
			if s.meaning == "" || !strings.HasSuffix(s.meaning, ".") {
				t.Errorf("%s: meaning %q is no sentence", full, s.meaning)
			}
			if !strings.Contains(text, s.key+":") {
				t.Errorf("%s is not in the printed defaults", full)
			}
			switch v := s.value.(type) {
			case section:
				walk(full, v)
				continue
			case lister:
				walk(full+"[]", v.sample())
			}
			if !strings.Contains(page, "| `"+full+"` |") {
				t.Errorf("%s is not in docs/settings.md", full)
			}
		}
	}
	walk("", settings(&c))
}

func TestSettingsPage(t *testing.T) {
	page := filepath.Join("..", "..", "..", "docs", "settings.md")
	if *update {
		if err := os.WriteFile(page, []byte(Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != Markdown() {
		t.Error("docs/settings.md is not what the table says: go test ./cmd/parley/config -run TestSettingsPage -update")
	}
}

const full = `
eid: acme
box: hq-12
data: /tmp/x
board: rpi4
card: {device: "hw:1", volume: 40, ducking: false}
place: {number: 200, name: "Großer Saal", join: "sip:9@pbx.example.com", auto_answer: muted, no_answer: 1m}
listen:
  lan: true
  sip_udp: ["10.0.0.1:5060", "[fd00::1]:5060"]
sip:
  users:
    - {name: alice, password: wonderland}
    - {name: "300", ha1: 0123456789abcdef0123456789abcdef}
  codecs: [pcma, opus]
  srtp: require
  upstreams:
    - {name: pbx, registrar: "sip:pbx.example.com", user: box, password: hush, transport: tls, expires: 2m}
  routes:
    - {prefix: "0", strip: 1, prepend: "+49", gateways: [pbx, "sip:other.example.com:5070;transport=tcp"]}
mqtt: {broker: "mqtts://broker.example.com", user: u, password: p}
http: {listen: ""}
conferences: [{number: 1000}, {number: 2000, name: Second, max: 5}]
log: {level: debug, format: json}
`

func TestEverythingSet(t *testing.T) {
	c := mustParse(t, full)
	if c.Place.Number != "200" || c.Place.Name != "Großer Saal" || c.Place.AutoAnswer != AnswerMuted || c.Place.NoAnswer != time.Minute || c.Place.JoinAtStart {
		t.Errorf("place %+v", c.Place)
	}
	want := Listen{true, []string{"10.0.0.1:5060", "[fd00::1]:5060"}, []string{net.JoinHostPort(everywhere(), "5060")}, []string{net.JoinHostPort(everywhere(), "5061")}, everywhere()}
	if !reflect.DeepEqual(c.Listen, want) {
		t.Errorf("listen %+v", c.Listen)
	}
	if c.SIP.Users[0].Password.Reveal() != "wonderland" || c.SIP.Users[1].Name != "300" || c.SIP.Users[1].HA1.Reveal() != "0123456789abcdef0123456789abcdef" {
		t.Error("users are not as written")
	}
	if u := c.SIP.Upstreams[0]; u.Expires != 2*time.Minute || u.Transport != "tls" || u.Password.Reveal() != "hush" {
		t.Errorf("upstream %+v", u)
	}
	if r := c.SIP.Routes[0]; r.Prefix != "0" || r.Strip != 1 || r.Prepend != "+49" || len(r.Gateways) != 2 {
		t.Errorf("route %+v", r)
	}
	if !reflect.DeepEqual(c.SIP.Codecs, []string{"pcma", "opus"}) || c.Conferences[1].Max != 5 || c.Conferences[0].Max != 200 || c.HTTP.Listen != "" {
		t.Errorf("not as written:\n%s", c)
	}
}

// no way of printing shows a secret.
func TestSecretsAreNeverPrinted(t *testing.T) {
	c := mustParse(t, full)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%v %+v %#v %s %q %x\n", c, c.SIP, c.SIP, c, c.SIP.Users, c.SIP.Users[0].Password)
	fmt.Fprintln(&b, &c, c.SIP.Upstreams[0], c.MQTT)
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(j)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "c", c, "s", c.SIP.Users[0].Password, "u", c.SIP.Users[0])
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "c", c, "s", c.SIP.Users[0].Password, "u", c.SIP.Users[0])
	for _, s := range []string{"wonderland", "hush", "0123456789abcdef", "776f6e6465726c616e64"} {
		if strings.Contains(b.String(), s) {
			t.Errorf("%q is printed", s)
		}
	}
	if !strings.Contains(b.String(), redacted) {
		t.Error("nothing shows that there is a secret")
	}
}

func TestSecretsFromFileAndEnvironment(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	write("alice.txt", "from file\n")
	file := write("box.yaml", "sip: {users: [{name: alice, password_file: alice.txt}, {name: bob, ha1_env: BOB}]}\n")
	env := func(k string) string { return map[string]string{"BOB": strings.Repeat("ab", 16)}[k] }
	c, err := Load(file, env)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.SIP.Users[0].Password.Reveal(); got != "from file" {
		t.Errorf("from the file: %q", got)
	}
	if got := c.SIP.Users[1].HA1.Reveal(); got != strings.Repeat("ab", 16) {
		t.Errorf("from the environment: %q", got)
	}
	if _, err = Load(file, noEnv); err == nil || !strings.Contains(err.Error(), `sip.users[1].ha1_env: the environment has no "BOB"`) {
		t.Errorf("without the variable: %v", err)
	}
	write("alice.txt", strings.Repeat("x", MaxSecretFile+1))
	if _, err = Load(file, env); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a huge secret: %v", err)
	}
	if _, err = Load(dir, env); !errors.Is(err, ErrNotAFile) {
		t.Errorf("a folder: %v", err)
	}
	if _, err = Load(filepath.Join(dir, "none"), env); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err = Load(write("big.yaml", strings.Repeat("#", MaxFile+1)), env); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a huge file: %v", err)
	}
}

// Each wrong file is refused with its place, its key and what would be right.
func TestWrongFiles(t *testing.T) {
	for _, x := range []struct{ name, text, want string }{
		{"unknown key", "card:\n  volumme: 3", "box.yaml:2:3: card.volumme: no such setting; did you mean volume?"},
		{"unknown section", "crad: {}", "box.yaml:1:1: crad: no such setting; did you mean card?"},
		{"key of another section", "volume: 3", "volume: no such setting; did you mean card.volume?"},
		{"unlike any key", "log:\n  xyzzyx: 1", "box.yaml:2:3: log.xyzzyx: no such setting; allowed here: level, format"},
		{"key in a list", "conferences:\n- {nummer: 1}", "box.yaml:2:4: conferences[0].nummer: no such setting; did you mean number?"},
		{"out of range", "card: {volume: 101}", `box.yaml:1:16: card.volume: wrong value "101"; allowed: a whole number, 0…100 %`},
		{"not a number", "card: {volume: loud}", `card.volume: wrong value "loud"; allowed: 0…100 %`},
		{"a number as text", "card: {volume: '5'}", `card.volume: wrong value "5"; allowed: 0…100 %`},
		{"a huge number", "card: {volume: 99999999999999999999999}", "allowed:"},
		{"choice", "sip: {srtp: requir}", `sip.srtp: wrong value "requir"; did you mean require? allowed: disable, allow, require`},
		{"bool", "listen: {lan: yes}", `listen.lan: wrong value "yes"; allowed: true, false`},
		{"duration without unit", "rtp: {rest: 30}", `rtp.rest: wrong value "30"; a number with its unit (ms, s, m, h), such as 30s; allowed: 0s…10m`},
		{"duration out of range", "keys: {debounce: 3s}", `keys.debounce: wrong value "3s"; allowed: 5ms…200ms`},
		{"codec", "sip: {codecs: [opus, g711]}", `sip.codecs[1]: wrong value "g711"; did you mean g722?`},
		{"codec twice", "sip: {codecs: [opus, opus]}", `sip.codecs[1]: "opus" is there twice`},
		{"no codec", "sip: {codecs: []}", "sip.codecs: is empty"},
		{"twice", "eid: a\nlog: {}\neid: b", "box.yaml:3:1: eid: set twice, first in line 1"},
		{"section is a value", "card: 5", "card: a single value stands here; a section is wanted, with the keys device,"},
		{"value is a section", "eid: {a: b}", "eid: a section stands here; one value is wanted"},
		{"list is a section", "conferences: {number: 1}", "conferences: a section stands here; a list is wanted"},
		{"no value", "eid:", "box.yaml:1:5: eid: no value; one value is wanted: letters, digits, -; for the default take the line out"},
		{"top is a list", "- a", "box.yaml:1:1: a list stands here"},
		{"alias", "eid: &a x\nbox: *a", "box.yaml:1:6: eid: anchors and aliases are not accepted"},
		{"merge", "card: &a {volume: 3}\nplace: {<<: *a}", "anchors and aliases are not accepted"},
		{"tag", "eid: !!binary aGk=", `eid: tags such as "!!binary" are not accepted`},
		{"two documents", "eid: a\n---\neid: b", "a second YAML document"},
		{"syntax", "eid: a\n  b: c", "box.yaml:2:1: mapping values are not allowed in this context; not valid YAML"},
		{"tab", "card:\n\tvolume: 3", "box.yaml:2:1: found character that cannot start any token"},
		{"not UTF-8", "eid: \xff", "not UTF-8"},
		{"control characters", `eid: "a\nb"`, "eid: control characters in the value"},
		{"topic wildcard", "eid: a/#", `eid: wrong value "a/#"`},
		{"box", "box: Room_1", `box: wrong value "Room_1"; small letters`},
		{"longer than a topic takes", "box: " + strings.Repeat("b", 33), "at most 32"},
		{"enterprise no topic takes", "eid: a.b", `eid: wrong value "a.b"; letters, digits and -`},
		{"conference no topic takes", "conferences: [{number: sales}]", `conferences[0].number: wrong value "sales"; 1 to 8 digits`},
		{"address", "http: {listen: 8080}", `http.listen: wrong value "8080"; host:port`},
		{"address port", "http: {listen: '127.0.0.1:99999'}", "a port is 0…65535"},
		{"address host", "http: {listen: '127.0.0.256:1'}", "a host name or an IP address"},
		{"address without host", "http: {listen: ':80'}", "0.0.0.0 is every interface"},
		{"broker URL", "mqtt: {broker: 'http://x'}", "mqtt.broker: wrong value \"http://x\"; embedded, mqtt://host:1883 or mqtts://host:8883"},
		{"password in the URL", "mqtt: {broker: 'mqtt://u:p@x'}", "user and password have keys of their own"},
		{"SIP URI", "place: {join: 'sip:a b@c'}", "place.join: wrong value"},
		{"SIP URI with a line end", `place: {join: "sip:a@c\r\nX: y"}`, "place.join: control characters"},
		{"beyond loopback without lan", "listen: {sip_udp: '10.0.0.1:5060'}", `listen.sip_udp: "10.0.0.1:5060" is beyond loopback; set listen.lan: true as well`},
		{"rtp beyond loopback without lan", "listen: {rtp: '::'}", `listen.rtp: "::" is beyond loopback`},
		{"broker beyond loopback", "mqtt: {listen: '0.0.0.0:1883'}", `box.yaml:1:16: mqtt.listen: "0.0.0.0:1883" is beyond loopback; set mqtt.tls.cert and mqtt.users too, or use 127.0.0.1`},
		{"broker beyond loopback, lan does not open it", "listen: {lan: true}\nmqtt: {listen: '0.0.0.0:1883'}", "mqtt.listen: "},
		{"broker with TLS only", "mqtt: {listen: '0.0.0.0:1883', tls: {cert: c, key: k}}", "set mqtt.users too"},
		{"http beyond loopback", "http: {listen: '[::]:80', users: [{name: a, password: b}]}", "set http.tls.cert too"},
		{"a name that is not an address", "http: {listen: 'localhost.evil:80'}", "is beyond loopback"},
		{"cert without key", "http: {tls: {cert: c}}", "http.tls: cert and key go together"},
		{"access rules without users", "mqtt: {acl: rules.acl}", "box.yaml:1:13: mqtt.acl: does nothing without users"},
		{"client ca without cert", "http: {tls: {ca: c}}", "http.tls.ca: does nothing without a certificate"},
		{"odd first", "rtp: {first: 20001}", "rtp.first: 20001 is odd"},
		{"even last", "rtp: {last: 20998}", "rtp.last: 20998 is even"},
		{"backwards", "rtp: {first: 30000}", "rtp.last: lies before rtp.first"},
		{"patience", "rtp: {alert_after: 1h}", "rtp.hangup_after: is not longer than rtp.alert_after; more than 1h"},
		{"stuck before reset", "keys: {reset_hold: 40s}", "keys.stuck: is not longer than keys.reset_hold"},
		{"user without a secret", "sip: {users: [{name: a}]}", "sip.users[0]: exactly one of password and ha1 is wanted"},
		{"user with both", "sip: {users: [{name: a, password: b, ha1: 0123456789abcdef0123456789abcdef}]}", "exactly one of password and ha1"},
		{"user twice", "sip: {users: [{name: a, password: b}, {name: a, password: b}]}", `sip.users[1].name: "a" is there twice`},
		{"user without a name", "sip: {users: [{password: b}]}", "sip.users[0].name: is missing"},
		{"secret twice", "mqtt: {password: a, password_env: B}", "mqtt.password: password and password_env are both set"},
		{"secret file missing", "mqtt: {user: u, password_file: /nonexistent/x}", "mqtt.password_file: cannot read the file"},
		{"HA1", "sip: {users: [{name: a, ha1: SECRET}]}", "sip.users[0].ha1: wrong value; 32 small hexadecimal digits"},
		{"upstream incomplete", "sip: {upstreams: [{name: a}]}", "registrar, user and password are wanted"},
		{"unknown gateway", "sip: {routes: [{prefix: 0, gateways: [pbx]}]}", `sip.routes[0].gateways[0]: no upstream is called "pbx"`},
		{"route nowhere", "sip: {routes: [{prefix: 0}]}", "sip.routes[0].gateways: is missing"},
		{"gateway with a user", "sip: {routes: [{prefix: 0, gateways: ['sip:a@b']}]}", `sip.routes[0].gateways[0]: wrong value "sip:a@b"`},
		{"transport", "sip: {routes: [{prefix: 0, gateways: ['sip:b;transport=ws']}]}", "a SIP URI such as"},
		{"port 0", "sip: {upstreams: [{name: a, registrar: 'b:0', user: c, password: d}]}", "sip.upstreams[0].registrar: wrong value"},
		{"prefix", "sip: {routes: [{prefix: '#31#', gateways: ['sip:b']}]}", "sip.routes[0].prefix: wrong value"},
		{"strip", "sip: {routes: [{prefix: 0, strip: 2, gateways: ['sip:a']}]}", "sip.routes[0].strip: 2 is longer than the prefix"},
		{"conference twice", "conferences: [{number: 1}, {number: 1}]", `conferences[1].number: "1" is there twice`},
		{"conference without a number", "conferences: [{name: x}]", "conferences[0].number: is missing"},
		{"conference is the room", "conferences: [{number: 100}]", "is the room's own number"},
		{"too many", "conferences: [" + strings.Repeat("{number: 1}, ", maxConferences+1) + "]", "conferences: 201 entries; allowed: at most 200"},
	} {
		t.Run(x.name, func(t *testing.T) {
			_, err := Parse("box.yaml", []byte(x.text), noEnv)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), x.want) {
				t.Errorf("got  %s\nwant %s", err, x.want)
			}
			if strings.Contains(err.Error(), "SECRET") {
				t.Error("the error shows the secret")
			}
			var all Errors
			if !errors.As(err, &all) || len(all) > maxProblems {
				t.Errorf("no Errors, or too many: %v", err)
			}
		})
	}
}

// All problems are told at once, in the file's order.
func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Parse("f", []byte("eid: /\ncard: {volume: -1}\nlog: {level: loud}\n"), noEnv)
	var all Errors
	if !errors.As(err, &all) || len(all) != 3 || all[0].Line != 1 || all[1].Line != 2 || all[2].Line != 3 {
		t.Errorf("got %v", err)
	}
}

func TestWarnings(t *testing.T) {
	for _, x := range []struct{ text, want string }{
		{"listen: {lan: true}", "nobody on the network can call in"},
		{"sip: {srtp: require}\nlisten: {sip_tls: []}", "every call to the box is refused"},
		{"mqtt: {broker: 'mqtt://b.example.com', user: u, password: p}", "in the open"},
		{"sip: {users: [{name: '1000', password: x}]}", "1000 is also the number"},
	} {
		w := mustParse(t, x.text).Warnings()
		if len(w) != 1 || !strings.Contains(w[0], x.want) {
			t.Errorf("%s: warnings %q", x.text, w)
		}
	}
	if w := mustParse(t, "mqtt: {broker: 'mqtt://127.0.0.1', user: u, password: p}").Warnings(); len(w) != 0 {
		t.Errorf("a broker on this machine: %q", w)
	}
}

// A file with secrets in it that everybody may read is warned of.
func TestOpenSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "box.yaml")
	for _, x := range []struct {
		text string
		mode os.FileMode
		warn bool
	}{
		{"mqtt: {user: u, password: p}", 0o644, true},
		{"mqtt: {user: u, password: p}", 0o640, false},
		{"mqtt: {user: u, password_env: P}", 0o644, false},
	} {
		if err := os.WriteFile(file, []byte(x.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, x.mode); err != nil {
			t.Fatal(err)
		}
		c, err := Load(file, func(string) string { return "secret" })
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(c.Warnings(), "\n"), "chmod 600"); got != x.warn {
			t.Errorf("%s with mode %o: warned %v", x.text, x.mode, got)
		}
	}
}

// Outside loopback the broker and HTTP are allowed with TLS and users (X-7b).
func TestBeyondLoopbackWithTLSAndUsers(t *testing.T) {
	for _, s := range []string{"mqtt", "http"} {
		mustParse(t, s+": {listen: '0.0.0.0:9000', tls: {cert: c, key: k}, users: [{name: a, password: b}]}")
	}
}

func TestDataFolder(t *testing.T) {
	env := map[string]string{"XDG_STATE_HOME": "/s", "HOME": "/h"}
	if got := dataFolder(func(k string) string { return env[k] }); os.Geteuid() != 0 && got != "/s/parley" || os.Geteuid() == 0 && got != "/var/lib/parley" {
		t.Errorf("data folder %s", got)
	}
}

// Aliases cannot make a small file large, and depth cannot exhaust the stack.
func TestBombs(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i < 'z'; i++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	for name, text := range map[string]string{
		"aliases": bomb,
		"flow":    "eid: " + strings.Repeat("[", 100000),
		"maps":    strings.Repeat("{a: ", 50000),
		"anchors": strings.Repeat("? &a ", 20000),
	} {
		start := time.Now()
		if _, err := Parse("bomb", []byte(text), noEnv); err == nil {
			t.Errorf("%s: accepted", name)
		}
		t.Logf("%s: %v", name, time.Since(start))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(Defaults()))
	f.Add([]byte("eid: &a x\nbox: *a\n---\n- ? : !!x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		parse := func(name string, data []byte, env func(string) string) (Config, error) {
			l := NewLayer(name, data)
			l.read = func(string, int64) ([]byte, error) { return []byte("from a file"), nil }
			return ParseLayers(Sources{Env: env}, l)
		}
		c, err := parse("fuzz", data, func(string) string { return "from env" })
		if err != nil {
			var all Errors
			if !errors.As(err, &all) || len(all) == 0 || len(all) > maxProblems {
				t.Errorf("error %#v", err)
			}
			return
		}
		// What is accepted can be printed, and read back the same but for the secrets.
		if c.Card.Volume < 0 || c.Card.Volume > 100 || c.RTP.First >= c.RTP.Last || len(c.SIP.Codecs) == 0 || slug(c.Box) != "" {
			t.Errorf("accepted:\n%s", c)
		}
		if len(c.SIP.Users)+len(c.SIP.Upstreams)+len(c.MQTT.Users)+len(c.HTTP.Users) == 0 && !c.MQTT.Password.Given() {
			again, err := parse("again", []byte(c.String()), noEnv)
			if err != nil {
				t.Fatalf("does not read back: %v\n%s", err, c)
			}
			if again.String() != c.String() {
				t.Errorf("reads back as\n%s\nnot\n%s", again, c)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := Parse("x", []byte(full), noEnv); err != nil {
			b.Fatal(err)
		}
	}
}
