package main_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
	"parley/mqtt/wire"
)

// vault is a box full of secrets, each of which is used, and everything that anybody could read of it.
type vault struct {
	t      *testing.T
	box    *boxtest.Box
	watch  *boxtest.Watch
	broker *phonetest.Mosquitto
	token  string
	secret map[string]string // what it is -> the text
	texts  map[string]string // where -> what stands there
}

// The secrets that are planted.
var planted = map[string]string{
	"a phone's password": "pw-ann-7f3a9c21", "a phone's HA1": "0123456789abcdef0123456789abcdef", "the PBX's password": "pw-trunk-51c08e77",
	"the box's password at the broker": "pw-broker-2d9b14f0", "an account of the embedded broker": "pw-account-c63e58aa", "an account of HTTP": "pw-http-90ff3b6d",
	"a host's password": "48091357", "a guest's password": "11557733", "a wrong password, keyed in": "27182846", "a wrong password at SIP": "gu3ss-b1a94d",
	"a wrong password at HTTP": "gu3ss-e07c52", "a sealed password from outside": "pw-sealed-08d7e6b4",
}

func openVault(t *testing.T) *vault {
	v := &vault{t: t, secret: map[string]string{}, texts: map[string]string{}, broker: phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})}
	for what, text := range planted {
		v.secret[what] = text
	}
	v.box = boxtest.New(t, boxtest.Config{Env: []string{"TRUNK=" + planted["the PBX's password"]}, Settings: boxtest.Settings{
		"log":   boxtest.Settings{"level": "debug"},
		"place": boxtest.Settings{"auto_answer": "open"},
		"sip": boxtest.Settings{
			"trust_loopback": false,
			"users":          []boxtest.Settings{{"name": "ann", "password": planted["a phone's password"]}, {"name": "bob", "ha1": planted["a phone's HA1"]}},
			"upstreams":      []boxtest.Settings{{"name": "pbx", "registrar": v.challenger(), "user": "branch", "password_env": "TRUNK"}},
		},
		"mqtt": boxtest.Settings{"broker": v.broker.URL(), "user": "box-1", "password": planted["the box's password at the broker"],
			"users": []boxtest.Settings{{"name": "other", "password": planted["an account of the embedded broker"]}}},
		"http": boxtest.Settings{"users": []boxtest.Settings{{"name": "nagios", "password": planted["an account of HTTP"]}}},
	}})
	v.watch = boxtest.NewWatch(t, v.broker.URL(), v.box.EID)
	v.box.Begin()
	v.box.WaitLine("parley is ready", time.Minute)
	v.fromOutside()
	v.token = v.box.Token("-role", "admin", "-number", "100", "-ttl", "1h")
	v.secret["a token"] = v.token
	for _, name := range []string{"box.key", "token.key", "tls.pem", "identity/tls.key", "identity/seal.key"} {
		v.key(name)
	}
	return v
}

// key notes the lines of a key, of a file that may hold a certificate, too.
func (v *vault) key(name string) {
	v.t.Helper()
	raw, err := os.ReadFile(filepath.Join(v.box.Data, name))
	if err != nil {
		v.t.Fatal(err)
	}
	if at := bytes.Index(raw, []byte("-----BEGIN PRIVATE")); at >= 0 {
		raw = raw[at:]
	}
	n := len(v.secret)
	for i, line := range strings.Split(string(raw), "\n") {
		if len(line) >= 20 && !strings.HasPrefix(line, "-") {
			v.secret[fmt.Sprintf("line %d of %s", i+1, name)] = line
		}
	}
	if len(v.secret) == n {
		v.t.Fatalf("%s has no key", name)
	}
}

// fromOutside sends settings with a sealed secret, which the box begins anew with.
func (v *vault) fromOutside() {
	v.t.Helper()
	c := &settler{t: v.t, box: v.box, broker: v.broker, watch: v.watch}
	var err error
	if c.names, err = wire.NewBox(v.box.EID, v.box.Name); err != nil {
		v.t.Fatal(err)
	}
	if c.key, err = wire.LoadKey(filepath.Join(v.box.Data, "box.key")); err != nil {
		v.t.Fatal(err)
	}
	seal := func(key, what string) string {
		sealed, err := wire.Seal(c.sealKey(), wire.Place{EID: v.box.EID, Box: v.box.Name, Key: key}, []byte(planted[what]))
		if err != nil {
			v.t.Fatal(err)
		}
		return sealed
	}
	version := c.send(30, boxtest.Settings{"http": boxtest.Settings{"users": []boxtest.Settings{
		{"name": "nagios", "password_sealed": seal("http.users[0].password", "an account of HTTP")},
		{"name": "centre", "password_sealed": seal("http.users[1].password", "a sealed password from outside")},
	}}})
	c.told("they hold", func(r *wire.Reported) bool { return r.Good != nil && r.Good.Version == version && r.Trial == nil })
	basic := base64.StdEncoding.EncodeToString([]byte("centre:" + planted["a sealed password from outside"]))
	v.secret["basic authorization of who came from outside"] = basic
	if a := v.box.APIWith("GET", "/metrics", "", nil, map[string]string{"Authorization": "Basic " + basic}); a.Status != 200 {
		v.t.Errorf("with the sealed password: %d", a.Status)
	}
}

// challenger is a PBX that wants a password again and again.
func (v *vault) challenger() string {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 65536)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var echo []string
			for _, line := range strings.Split(string(buf[:n]), "\r\n") {
				switch name, _, _ := strings.Cut(line, ":"); strings.ToLower(name) {
				case "via", "from", "call-id", "cseq", "to":
					echo = append(echo, line)
				}
			}
			conn.WriteTo([]byte("SIP/2.0 401 Unauthorized\r\n"+strings.Join(echo, "\r\n")+
				"\r\nWWW-Authenticate: Digest realm=\"pbx\", nonce=\"0badc0de\", algorithm=MD5\r\nContent-Length: 0\r\n\r\n"), from)
		}
	}()
	return conn.LocalAddr().String()
}

// use has every secret used, the right ones and the wrong ones.
func (v *vault) use() {
	made := v.box.Must(200, "POST", "/api/v1/conferAndMembersAddJson", v.token, boxtest.Settings{"conferList": boxtest.Settings{
		"confName": 0, "type": "immediate", "theme": "Budget", "creator": "100", "moderatorPassword": planted["a host's password"],
		"userPassword": planted["a guest's password"], "maxNum": 12, "eid": v.box.EID}})
	conf, _ := made.JSON["confName"].(string)
	sip := netip.MustParseAddrPort(v.box.SIP)
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { socket.Close() })
	raw := phonetest.NewRaw(v.t, socket, sip)
	for _, password := range []string{planted["a wrong password at SIP"], planted["a phone's password"]} {
		raw.Ask(phonetest.RawRequest{Method: "REGISTER", Number: "ann", User: "ann", Password: password, Headers: []string{"Expires: 60"}})
	}
	phone := phonetest.StartBaresip(v.t, phonetest.BaresipConfig{Name: "ann", Password: planted["a phone's password"],
		Registrar: v.box.SIP + ";transport=udp", Codecs: []string{phonetest.G722}})
	phone.Dial(v.box.URI(conf))
	phone.Expect("CALL_ESTABLISHED", 20*time.Second)
	in := func(what string, ok func(m map[string]any) bool) {
		v.t.Helper()
		v.watch.Wait("/conf/"+conf+"/state", what, 30*time.Second, func(s map[string]any) bool { return ok(memberIn(s, "ann")) })
	}
	in("ann in the lobby", func(m map[string]any) bool { return m != nil && m["room"] == "lobby" })
	phone.Digits(planted["a wrong password, keyed in"] + "#")
	wrong := spokenPrompt(v.t, "en", "wrong-password")
	phonetest.Eventually(v.t, 20*time.Second, "it was wrong", func() bool {
		share, _ := phonetest.Find(wrong, phone.Heard(0))
		return share >= 0.6
	})
	phone.Digits(planted["a guest's password"] + "#")
	in("ann in the hall", func(m map[string]any) bool { return m != nil && m["room"] == nil && m["role"] == "guest" })

	for _, password := range []string{planted["a wrong password at HTTP"], planted["an account of HTTP"]} {
		basic := base64.StdEncoding.EncodeToString([]byte("nagios:" + password))
		v.secret["basic authorization of "+password] = basic
		a := v.box.APIWith("GET", "/metrics", "", nil, map[string]string{"Authorization": "Basic " + basic})
		v.texts["metrics as "+password] = string(a.Body)
		for _, page := range []string{"/", "/healthz", "/readyz"} {
			v.texts[page+" as "+password] = string(v.box.APIWith("GET", page, "", nil, map[string]string{"Authorization": "Basic " + basic}).Body)
		}
	}
	forged := v.token[:len(v.token)-8] + "AAAAAAAA"
	v.secret["a forged token"] = forged
	v.texts["an answer to a forged token"] = string(v.box.API("GET", "/api/v1/conferences", forged, nil).Body)
	v.texts["conferences"] = string(v.box.Must(200, "GET", "/api/v1/conferences", v.token, nil).Body)
	v.texts["the conference"] = string(v.box.Must(200, "GET", "/api/v1/conferences/"+conf, v.token, nil).Body)
	// A command to the conference that is refused, with a token in it.
	v.broker.Publish("", "/e/"+v.box.EID+"/conf/"+conf+"/cmd", `{"id":"x","token":"`+v.token+`"}`)
	phone.Hangup()
}

// bundle opens one.
func (v *vault) bundle(where string, raw []byte) string {
	v.t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		v.t.Fatalf("%s: %v", where, err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		v.t.Fatalf("%s: %v", where, err)
	}
	v.texts[where] = string(text)
	return string(text)
}

// collect asks for bundles in all ways, and reads everything else.
func (v *vault) collect() {
	file := filepath.Join(v.t.TempDir(), "b.gz")
	// Should one get into what the runtime says of a crash, it is taken out.
	if err := os.WriteFile(filepath.Join(v.box.Data, "last-crash.told"), []byte("panic: "+planted["the PBX's password"]+"\n"), 0o600); err != nil {
		v.t.Fatal(err)
	}
	fetch := func(where string, args ...string) {
		v.t.Helper()
		if out, code := v.box.Ctl(append([]string{"support", "-o", file}, args...)...); code != 0 {
			v.t.Fatalf("%s: %s", where, out)
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			v.t.Fatal(err)
		}
		text := v.bundle(where, raw)
		for _, want := range []string{"=== settings ===\n", "password: (secret)", "=== metrics ===\nparley_", "=== log ===\ntime=", "session 2,", "disk: ", "panic: (secret)\n", "Linux version", "\"good\":{\"version\":1", "conference 1000,"} {
			if !strings.Contains(text, want) {
				v.t.Errorf("%s has no %q", where, want)
			}
		}
	}
	fetch("the bundle over HTTP", "-http", "http://"+v.box.HTTP)
	fetch("the bundle over MQTT", "-broker", v.broker.URL())
	if a := v.box.API("GET", "/api/v1/support", v.box.Token("-role", "host", "-number", "100"), nil); a.Status != 403 {
		v.t.Errorf("a host asks for a bundle: %d", a.Status)
	}
	beside := func(where string) {
		v.t.Helper()
		cmd := exec.Command(boxtest.Program(v.t, "parley"), "support", "-config", v.box.ConfigFile(), "-data", v.box.Data)
		cmd.Env = append(os.Environ(), "TRUNK="+planted["the PBX's password"])
		var said bytes.Buffer
		cmd.Stderr = &said
		raw, err := cmd.Output()
		if err != nil {
			v.t.Fatalf("%s: %v: %s", where, err, &said)
		}
		v.bundle(where, raw)
		v.texts[where+", what it says"] = said.String()
	}
	beside("the bundle beside the box")
	if !strings.Contains(v.texts["the bundle beside the box"], "\nparley_") {
		v.t.Error("the running box was not asked")
	}
	for i, m := range v.watch.Messages("") {
		switch {
		case strings.HasSuffix(m.Topic, "/"+v.box.Name+"/support"):
			v.bundle(fmt.Sprintf("message %d on %s", i, m.Topic), m.Payload)
		case strings.Contains(m.Topic, "/cmd"), strings.HasSuffix(m.Topic, "/desired"): // what we sent ourselves
		default:
			v.texts[fmt.Sprintf("message %d on %s", i, m.Topic)] = string(m.Payload)
		}
	}
	v.box.StopCleanly()
	beside("the bundle of a box that does not run")
	if !strings.Contains(v.texts["the bundle of a box that does not run"], "did not answer") {
		v.t.Error("the folder's own bundle does not say what it is")
	}
	v.texts["the log"] = strings.Join(v.box.Lines(), "\n")
}

// every secret that a box can have is used, and none stands in its log, in what it answers, tells or keeps at the broker, in its
// figures or in a support bundle.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	v := openVault(t)
	v.use()
	v.collect()
	if len(v.secret) < 25 || len(v.texts) < 30 {
		t.Errorf("%d secrets, %d texts", len(v.secret), len(v.texts))
	}
	for where, text := range v.texts {
		for what, secret := range v.secret {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s is in %s: …%s…", what, where, text[max(0, at-80):min(len(text), at+len(secret)+20)])
			}
		}
		if strings.Contains(text, "inline:") {
			t.Errorf("a key of SRTP is in %s", where)
		}
	}
	if wire.MaxPayload < 1<<16 {
		t.Error("a bundle is one message")
	}
}
