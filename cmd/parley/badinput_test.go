package main_test

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
	"parley/mqtt/wire"
)

// siege is a box with a call that runs while others send it what it should not be sent.
type siege struct {
	box   *boxtest.Box
	watch *boxtest.Watch
	call  *toneCall
	sip   netip.AddrPort
}

// X-7, X-7b, X-12: whatever is wrong with what comes in is answered, ignored or counted as the case may be, and a call that is
// running does not notice.
func TestBadInputDisturbsNoCall(t *testing.T) {
	t.Parallel()
	s := &siege{box: boxtest.Start(t, boxtest.Config{Microphone: tone(placeHz), Settings: boxtest.Settings{
		"place":       boxtest.Settings{"join_at_start": true},
		"conferences": []boxtest.Settings{{"number": "1000"}, {"number": "2000", "max": 2}},
		"sip": boxtest.Settings{"trust_loopback": false, "max_calls_per_user": 10, "users": []boxtest.Settings{
			{"name": "ann", "password": "secret"}, {"name": "bob", "password": "hidden"}, {"name": "eve", "password": "private"},
		}},
	}})}
	s.watch, s.sip = s.box.Watch(), netip.MustParseAddrPort(s.box.SIP)
	s.call = startToneCall(t, s.box, nil, phonetest.NewTap(t, "127.0.0.1"), phonetest.RawRequest{Number: "1000", User: "ann", Password: "secret"}, s.raw(t, "127.0.0.1"))
	for _, line := range []struct {
		name string
		test func(*siege, *testing.T)
	}{
		{"a description without a common codec", (*siege).codec},
		{"an unknown number", (*siege).unknown},
		{"a full conference", (*siege).full},
		{"a wrong password", (*siege).password},
		{"garbage on the SIP ports", (*siege).garbageSIP},
		{"garbage and foreign packets on the RTP port", (*siege).garbageRTP},
		{"a retained command", (*siege).retained},
		{"an unsigned command", (*siege).unsigned},
		{"a malformed command", (*siege).malformed},
		{"an unknown card", (*siege).card},
	} {
		t.Run(line.name, func(t *testing.T) { line.test(s, t) })
	}
	s.call.finish()
	s.box.StopCleanly()
	if level := s.box.Speaker().Tone(loudHz).Max(); level > toneLevel-40 {
		t.Errorf("the room hears foreign sound at %.1f dBFS", level)
	}
}

// raw is a client of its own, on an address of its own: pauses are held against an address.
func (s *siege) raw(t *testing.T, host string) *phonetest.Raw {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return phonetest.NewRaw(t, conn, s.sip)
}

// ask calls a number as a user, and returns the codes and the last answer.
func (s *siege) ask(t *testing.T, r *phonetest.Raw, number, user, password, body string) (string, phonetest.RawAnswer) {
	t.Helper()
	codes := ""
	all := r.Ask(phonetest.RawRequest{Method: "INVITE", Number: number, User: user, Password: password, Body: body})
	for _, a := range all {
		codes += strconv.Itoa(a.Code) + " "
	}
	return strings.TrimSpace(codes), all[len(all)-1]
}

func (s *siege) codec(t *testing.T) {
	for _, tc := range []struct{ body, want string }{
		{offer("127.0.0.1", "4 18", "a=rtpmap:4 G723/8000", "a=rtpmap:18 G729/8000"), "401 488"},
		{offer("127.0.0.1", "101", "a=rtpmap:101 telephone-event/8000"), "401 488"},
		{strings.Replace(offer("127.0.0.1", "0"), "m=audio", "m=video", 1), "401 488"},
		{offer("127.0.0.1", "0", "a=rtpmap:0 PCMU/8000")[:20], "401 400"}, // and what is none at all
	} {
		codes, last := s.ask(t, s.raw(t, "127.0.0.1"), "1000", "ann", "secret", tc.body)
		if codes != tc.want {
			t.Errorf("%q is answered %s, want %s", tc.body, codes, tc.want)
		}
		if last.Header("Warning") == "" {
			t.Errorf("no word why:\n%s", last.Text)
		}
	}
}

func (s *siege) unknown(t *testing.T) {
	r := s.raw(t, "127.0.0.1")
	if codes, _ := s.ask(t, r, "7777", "", "", offer("127.0.0.1", "0")); codes != "401" {
		t.Errorf("a stranger is answered %s, want 401", codes)
	}
	phonetest.StartSIPP(t, phonetest.SIPPConfig{
		Scenario: strings.Replace(phonetest.CallScenario{Digest: true, Busy: true}.Caller(), `response="486"`, `response="404"`, 1),
		Remote:   s.box.SIP, Service: "7777", User: "ann", Password: "secret",
	}).Succeed(30 * time.Second)
	if codes, _ := s.ask(t, r, "7777", "ann", "secret", offer("127.0.0.1", "0")); codes != "401 404" {
		t.Errorf("ann is answered %s, want 401 404", codes)
	}
}

func (s *siege) full(t *testing.T) {
	var in []phonetest.RawAnswer
	r := s.raw(t, "127.0.0.1")
	for range 2 {
		codes, last := s.ask(t, r, "2000", "ann", "secret", offer("127.0.0.1", "0"))
		if codes != "401 200" {
			t.Fatalf("the first two are answered %s, want 401 200", codes)
		}
		in = append(in, last)
	}
	if codes, _ := s.ask(t, r, "2000", "", "", offer("127.0.0.1", "0")); codes != "401" {
		t.Errorf("a stranger is answered %s, want 401", codes)
	}
	phonetest.StartSIPP(t, phonetest.SIPPConfig{
		Scenario: phonetest.CallScenario{Digest: true, Busy: true}.Caller(), Remote: s.box.SIP, Service: "2000", User: "ann", Password: "secret",
	}).Succeed(30 * time.Second)
	for _, a := range in {
		r.Bye(a)
	}
	codes, last := s.ask(t, r, "2000", "ann", "secret", offer("127.0.0.1", "0"))
	if codes != "401 200" {
		t.Errorf("with room again: %s, want 401 200", codes)
	} else {
		r.Bye(last)
	}
}

func (s *siege) password(t *testing.T) {
	r, want := s.raw(t, "127.0.0.9"), []string{"401 401", "401 401", "401 403", "401 403"}
	for i, w := range want {
		codes, last := s.ask(t, r, "1000", "bob", "guess", offer("127.0.0.9", "0"))
		if codes != w {
			t.Errorf("wrong password %d: %s, want %s", i+1, codes, w)
		}
		if n, _ := strconv.Atoi(last.Header("Retry-After")); (last.Code == 403) != (n > 0) {
			t.Errorf("wrong password %d: %d with Retry-After %q", i+1, last.Code, last.Header("Retry-After"))
		}
	}
	if codes, last := s.ask(t, s.raw(t, "127.0.0.1"), "1000", "bob", "hidden", offer("127.0.0.1", "0")); codes != "401 200" {
		t.Errorf("bob himself, from elsewhere: %s, want 401 200", codes)
	} else {
		s.raw(t, "127.0.0.1").Bye(last)
	}
}

func (s *siege) garbageSIP(t *testing.T) {
	r := s.raw(t, "127.0.0.1")
	for _, text := range []string{"", "\x00", strings.Repeat("A", 60000), "INVITE\r\n\r\n", "\xff\xfe\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"SIP/2.0 200 OK\r\n\r\n", "INVITE sip:1000@x SIP/2.0\r\n" + strings.Repeat("Via: ;;;\r\n", 500) + "\r\n"} {
		r.Send(text)
		c, err := net.Dial("tcp", s.box.SIP)
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte(text))
		c.Close()
	}
	if codes, _ := s.ask(t, s.raw(t, "127.0.0.1"), "7777", "ann", "secret", offer("127.0.0.1", "0")); codes != "401 404" {
		t.Errorf("after that: %s, want 401 404", codes)
	}
}

func (s *siege) garbageRTP(t *testing.T) {
	rtp := s.call.tap.Packets()[0].Src // where the call's packets come from
	attack := phonetest.NewTap(t, "127.0.0.1")
	foreign, malformed := s.call.metric("parley_rtp_foreign_total"), s.call.metric("parley_rtp_malformed_total")
	const n = 60
	clock := time.NewTicker(20 * time.Millisecond)
	defer clock.Stop()
	for range n {
		attack.Send(rtp, s.call.forged())
		attack.Send(netip.AddrPortFrom(rtp.Addr(), rtp.Port()+1), []byte("no RTCP"))
		s.call.tap.Send(rtp, []byte{0x80, 0x00, 0x01}) // what comes from where it should, and is none
		<-clock.C
	}
	phonetest.Eventually(t, 20*time.Second, "foreign and malformed packets are counted", func() bool {
		return s.call.metric("parley_rtp_foreign_total") >= foreign+2*n && s.call.metric("parley_rtp_malformed_total") >= malformed+n
	})
	if got := len(attack.Packets()); got != 0 {
		t.Errorf("the attacker was sent %d packets", got)
	}
}

// publish sends a message with mosquitto's own tool.
func (s *siege) publish(t *testing.T, topic string, payload []byte, more ...string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(s.box.MQTT)
	args := append([]string{"-h", host, "-p", port, "-q", "1", "-t", topic, "-m", string(payload)}, more...)
	if code := phonetest.Start(t, t.TempDir(), "mosquitto_pub", args...).Wait(20 * time.Second); code != 0 {
		t.Fatalf("mosquitto_pub ended with %d", code)
	}
}

// signed is a command as parleyctl would send it.
func (s *siege) signed(t *testing.T, verb wire.Verb, id string) (wire.Box, []byte) {
	t.Helper()
	names, err := wire.NewBox(s.box.EID, s.box.Name)
	if err != nil {
		t.Fatal(err)
	}
	key, err := wire.LoadKey(filepath.Join(s.box.Data, "box.key"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := wire.SignCommand(wire.Command{ID: id, Exp: time.Now().Add(time.Minute).Unix(), EID: s.box.EID, Box: s.box.Name, Verb: verb}, key)
	if err != nil {
		t.Fatal(err)
	}
	return names, raw
}

// muted fails the test if the place has been muted: nothing of what was sent may do it.
func (s *siege) muted(t *testing.T) {
	t.Helper()
	if s.call.metric("parley_muted") != 0 {
		t.Error("the place is muted")
	}
}

// answer waits for the box's answer to a command.
func (s *siege) answer(verb wire.Verb, what string, ok func(status, reason, detail string) bool) {
	s.watch.Wait("/res/"+string(verb), what, 20*time.Second, func(p map[string]any) bool {
		text := func(k string) string { v, _ := p[k].(string); return v }
		return ok(text("status"), text("reason"), text("detail"))
	})
}

// retained: a command that waits at the broker for a box to come is for nobody, however well it is signed.
func (s *siege) retained(t *testing.T) {
	broker := phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})
	box := boxtest.New(t, boxtest.Config{Settings: boxtest.Settings{"mqtt": boxtest.Settings{"broker": broker.URL()}}})
	if _, err := wire.CreateKey(filepath.Join(box.Data, "box.key")); err != nil {
		t.Fatal(err)
	}
	other := &siege{box: box, watch: boxtest.NewWatch(t, broker.URL(), box.EID)}
	names, raw := other.signed(t, wire.VerbMute, "kept")
	broker.Publish("", names.Cmd(wire.VerbMute), string(raw), "-q", "1", "-r")
	box.Begin()
	box.WaitLine("parley is ready", time.Minute)
	other.watch.Wait("/box/"+box.Name+"/state", "ready", 30*time.Second, func(p map[string]any) bool { return p["state"] == "ready" })
	// What comes after it has been answered, so it has been looked at too.
	names, raw = other.signed(t, wire.VerbUnmute, "after")
	broker.Publish("", names.Cmd(wire.VerbUnmute), string(raw), "-q", "1")
	other.answer(wire.VerbUnmute, "an answer to the next command", func(status, _, _ string) bool { return status == "done" })
	if list := other.watch.Messages("/res/" + string(wire.VerbMute)); len(list) > 0 {
		t.Errorf("it was answered: %s", list[0].Payload)
	}
	for _, m := range other.watch.Messages("/mute") {
		if strings.Contains(string(m.Payload), wire.Closed) {
			t.Errorf("the place was muted: %s", m.Payload)
		}
	}
	box.StopCleanly()
}

func (s *siege) unsigned(t *testing.T) {
	names, raw := s.signed(t, wire.VerbMute, "bare")
	var envelope map[string]json.RawMessage
	if err := json.Unmarshal(raw, &envelope); err != nil {
		t.Fatal(err)
	}
	for name, text := range envelope {
		if strings.HasPrefix(strings.TrimSpace(string(text)), "[") {
			envelope[name] = json.RawMessage("[]") // its signatures
		}
	}
	bare, err := json.Marshal(envelope)
	if err != nil {
		t.Fatal(err)
	}
	s.watch.Forget()
	s.publish(t, names.Cmd(wire.VerbMute), bare)
	s.answer(wire.VerbMute, "unsigned", func(status, reason, _ string) bool { return status == "rejected" && reason == wire.ReasonUnsigned })
	s.watch.Forget()
	s.publish(t, names.Cmd(wire.VerbMute), []byte(strings.Replace(string(raw), `"sig":"`, `"sig":"AAAA`, 1)))
	s.answer(wire.VerbMute, "a broken signature", func(status, reason, _ string) bool { return status == "rejected" && reason != "" })
	s.muted(t)
}

func (s *siege) malformed(t *testing.T) {
	names, _ := s.signed(t, wire.VerbMute, "x")
	for payload, want := range map[string]string{
		"mute!":                   wire.ReasonInvalidJSON,
		`{"mute":true}`:           wire.ReasonUnknownField,
		"":                        wire.ReasonInvalidJSON,
		strings.Repeat("[", 5000): "",
	} {
		s.watch.Forget()
		s.publish(t, names.Cmd(wire.VerbMute), []byte(payload))
		s.answer(wire.VerbMute, want, func(status, reason, detail string) bool {
			return status == "rejected" && reason != "" && (want == "" || reason == want) && detail != ""
		})
	}
	s.muted(t)
}

// withCards is a command line that runs program on a machine whose kernel lists two sound cards: in a mount namespace of its own, with
// the real /proc under another name and one made of links over it.
func withCards(t *testing.T, program string) []string {
	dir := t.TempDir()
	files := map[string]string{
		"cards": " 0 [Loopback       ]: Loopback - Loopback\n                      Loopback 1\n" +
			" 1 [Device         ]: USB-Audio - USB PnP Sound Device\n                      C-Media USB PnP Sound Device at usb-1, full speed\n",
		"pcm": "00-00: Loopback PCM : Loopback PCM : playback 8 : capture 8\n01-00: USB Audio : USB Audio : playback 1 : capture 1\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	real := t.TempDir()
	script := `set -e
mount --rbind /proc "$1"
mount -t tmpfs none /proc
for f in "$1"/*; do ln -s "$f" /proc/; done
mkdir /proc/asound
cp "$0"/* /proc/asound/
shift
exec "$@"`
	return []string{"unshare", "-m", "sh", "-c", script, dir, real, program}
}

// card: another box with a card that does not exist says so, names those that there are, and runs all the same.
func (s *siege) card(t *testing.T) {
	cfg := boxtest.Config{Settings: boxtest.Settings{"card": boxtest.Settings{"device": "hw:99", "microphone": nil}}}
	want := []string{"this machine has no sound card"}
	if os.Geteuid() == 0 {
		cfg.Program = withCards(t, boxtest.Program(t, "parley"))
		want = []string{"there are:", "plughw:CARD=Loopback,DEV=0", "plughw:CARD=Device,DEV=0", "USB PnP Sound Device"}
	}
	box := boxtest.Start(t, cfg)
	line := box.WaitLine("no such sound card: hw:99", 20*time.Second)
	for _, part := range want {
		if !strings.Contains(line, part) {
			t.Errorf("it does not say %q: %s", part, line)
		}
	}
	box.StopCleanly()
}
