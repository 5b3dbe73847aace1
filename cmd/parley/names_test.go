package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
	"parley/conference"
	"parley/mqtt/wire"
)

// scripted is a name that becomes a program where it is not escaped, and turns the text after it around.
const scripted = "\u202eeve\u2066 <script>alert(1)</script>"

// harmful tells what is in a text that can do harm to who reads it: control characters, line ends and marks of direction, or tags.
func harmful(text string) string {
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return fmt.Sprintf("%U", r)
		}
	}
	switch {
	case !utf8.ValidString(text):
		return "what is no UTF-8"
	case strings.Contains(text, "<script"):
		return "a tag"
	}
	return ""
}

// A name that a caller, a create call or a command gives goes nowhere as it is: not into topics, answers, the event package's XML or
// the log; what cannot be a name is refused with the field's name.
func TestNamesGoNowhereUnescaped(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{})
	watch := box.Watch()
	uid := fmt.Sprint(watch.Wait("/conf/1000/state", "the standing conference", 10*time.Second, func(map[string]any) bool { return true })["uid"])
	subscriber := phonetest.StartSIPP(t, phonetest.SIPPConfig{Remote: box.SIP, Service: "1000", Timeout: time.Minute, Scenario: new(phonetest.Script).
		Request("SUBSCRIBE", 1, "Event: conference\nAccept: application/conference-info+xml\nExpires: 600", "").Expect("200").
		Expect("NOTIFY").Answer("200 OK", "", "", "").Expect("NOTIFY").Answer("200 OK", "", "", "").String()})
	phonetest.Eventually(t, 20*time.Second, "the first NOTIFY", func() bool { return strings.Contains(received(subscriber.Messages()), "<user-count>0") })

	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	caller := phonetest.NewRaw(t, conn, netip.MustParseAddrPort(box.SIP))
	calls := 0
	call := func(name string) int {
		calls++
		body := phonetest.SDP(phonetest.NewTap(t, "127.0.0.1").Addr())
		body = strings.ReplaceAll(strings.ReplaceAll(body, "\r\n", "\n"), "\n", "\r\n")
		head := func(method string) string {
			return fmt.Sprintf("%s sip:1000@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK-%s-%d\r\nMax-Forwards: 70\r\nFrom: \"%s\" <sip:2100@%[3]s>;tag=a%[5]d\r\n"+
				"To: <sip:1000@%[2]s>\r\nCall-ID: name-%[5]d\r\nCSeq: %[5]d %[1]s\r\nContact: <sip:2100@%[3]s>\r\n", method, box.SIP, conn.LocalAddr(), method, calls, name)
		}
		caller.Send(head("INVITE") + fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		a := caller.Final(fmt.Sprintf("%d INVITE", calls))
		return a.Code
	}
	if code := call(scripted); code != 200 {
		t.Fatalf("a caller with a strange name is answered %d", code)
	}
	member := func(p map[string]any) map[string]any { return memberIn(p, "2100") }
	named := func(p map[string]any) bool { m := member(p); return m != nil && m["name"] != nil }
	name := fmt.Sprint(member(watch.Wait("/conf/1000/state", "the caller", 10*time.Second, named))["name"])
	if !strings.Contains(name, "<script>") || strings.ContainsAny(name, "\u202e\u2066") {
		t.Errorf("the caller is called %q", name)
	}
	phonetest.Eventually(t, 20*time.Second, "the caller in the XML", func() bool { return strings.Contains(received(subscriber.Messages()), "&#60;script") })
	if code := call(strings.Repeat("long ", 2000)); code/100 == 2 {
		call("x\x00y")
	}
	call("x\x00y")

	// By commands and the create call.
	token := box.Token("-role", "admin", "-number", "2001")
	ada := newPerson(t, box, watch, "2002", "admin")
	for _, bad := range []string{"a\rb", "a\nb", "a\x00b", "a\u202eb", "a\u2028b", strings.Repeat("x", 10_000)} {
		quoted, _ := json.Marshal(bad)
		invite := map[string]any{"do": "invite", "number": "2999", "name": bad}
		if a := box.API("POST", "/api/v1/conferences/1000/commands", token, invite); a.Status != 422 || a.JSON["field"] != "name" || harmful(fmt.Sprint(a.JSON["message"])) != "" {
			t.Errorf("invite %.20q: %d %s", bad, a.Status, a.Body)
		}
		conf := map[string]any{"conferList": map[string]any{"confName": 0, "type": "immediate", "theme": bad, "creator": "2001",
			"moderatorPassword": "480913", "userPassword": "115577", "eid": box.EID}, "membersList": []any{}}
		if a := box.API("POST", "/api/v1/conferAndMembersAddJson", token, conf); a.Status != 422 || a.JSON["field"] != "conferList.theme" {
			t.Errorf("create %.20q: %d %s", bad, a.Status, a.Body)
		}
		c := ada.command("1000", uid, conference.Invite)
		c.Number, c.Name = "2999", "NAME"
		plain, _ := json.Marshal(c)
		envelope, err := wire.Sign(bytes.Replace(plain, []byte(`"NAME"`), quoted, 1), ada.sign)
		if err != nil {
			t.Fatal(err)
		}
		ada.client.Publish(c.Topic, envelope)
		if a := ada.answer(c.By, c.ID); a["reason"] != "invalid_value" || !strings.Contains(fmt.Sprint(a["detail"]), "name") {
			t.Errorf("invite over MQTT %.20q: %v", bad, a)
		}
	}
	box.Must(200, "POST", "/api/v1/conferences/1000/commands", token, map[string]any{"do": "invite", "number": "2998", "name": "<script>alert(2)</script>"})
	ada.do("1000", uid, conference.Invite, map[string]any{"number": "2997", "name": "<script>alert(3)</script>"})
	watch.Wait("/conf/1000/state", "those who were invited", 10*time.Second, func(p map[string]any) bool {
		return memberIn(p, "2998") != nil && memberIn(p, "2997") != nil
	})

	for _, suffix := range []string{"/conf/1000/state", "/conf/1000/notice", "/call", "/u/2998/notice", "/u/2002/notice"} {
		for _, m := range watch.Messages(suffix) {
			if h := harmful(string(m.Payload)); h != "" {
				t.Errorf("%s has %s: %s", m.Topic, h, m.Payload)
			}
		}
	}
	for _, path := range []string{"/api/v1/conferences", "/api/v1/conferences/1000"} {
		if a := box.Must(200, "GET", path, token, nil); harmful(strings.TrimSpace(string(a.Body))) != "" {
			t.Errorf("%s has %s: %s", path, harmful(string(a.Body)), a.Body)
		}
	}
	if xml := received(subscriber.Messages()); strings.Contains(xml, "<script") || strings.ContainsAny(xml, "\u202e\u2066") {
		t.Errorf("the event package has it as it is:\n%s", xml)
	}
	for _, line := range box.Lines() {
		if h := harmful(strings.ReplaceAll(line, "<script", "")); h != "" {
			t.Errorf("the log has %s: %q", h, line)
		}
	}
	if text, _ := box.Ctl("conf", "show", "1000"); strings.ContainsAny(text, "\u202e\u2066\r\x00") {
		t.Errorf("parleyctl shows %q", text)
	}
}

// C-4: another box's place is called by a conference. It knows the call by the notice that it had, takes it as its settings say, and tells
// which conference that is; who has the token and calls from elsewhere, or has none, is any caller.
func TestABoxAsTheTerminalOfAMember(t *testing.T) {
	t.Parallel()
	broker := phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})
	shared := func(box string, more boxtest.Settings) boxtest.Settings {
		s := boxtest.Settings{"box": box, "mqtt": boxtest.Settings{"broker": broker.URL()}}
		for k, v := range more {
			s[k] = v
		}
		return s
	}
	far := boxtest.Start(t, boxtest.Config{Microphone: tone(900), Settings: shared("far", boxtest.Settings{
		"place": boxtest.Settings{"number": "300", "auto_answer": "open"}, "conferences": []boxtest.Settings{{"number": "1099"}}})})
	near := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: shared("near", boxtest.Settings{
		"place": boxtest.Settings{"join_at_start": true}, "sip": routed(map[string][]string{"3": {far.SIP}})})})
	watch := boxtest.NewWatch(t, broker.URL(), near.EID)
	near.Must(200, "POST", "/api/v1/conferences/1000/commands", near.Token("-role", "host", "-number", "2001"), map[string]any{"do": "invite", "number": "300"})
	join := watch.Wait("/u/300/notice", "the join notice", 10*time.Second, func(p map[string]any) bool { return p["kind"] == "join" })
	if join["conf"] != "1000" || join["number"] != "1000" || join["topic"] != "/e/"+near.EID+"/conf/1000/notice" || fmt.Sprint(join["token"]) == "" {
		t.Errorf("%v", join)
	}
	watch.Wait("/box/far/call", "the call, and which conference it comes from", 10*time.Second, func(p map[string]any) bool {
		list, _ := p["calls"].([]any)
		c := map[string]any{}
		if len(list) == 1 {
			c, _ = list[0].(map[string]any)
		}
		return c["conf"] == "1000" && c["place"] == true && c["state"] == "connected"
	})
	far.WaitLine("a conference calls the place", 10*time.Second)
	hears(t, "the far room", 400, far.Speaker)
	hears(t, "the near room", 900, near.Speaker)
}
