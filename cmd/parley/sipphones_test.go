package main_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// branch are settings with phones that must show who they are, also from this machine.
func branch(more boxtest.Settings) boxtest.Settings {
	var users []boxtest.Settings
	for _, name := range []string{"201", "202", "203"} {
		users = append(users, boxtest.Settings{"name": name, "password": "secret-" + name})
	}
	s := boxtest.Settings{"trust_loopback": false, "users": users}
	for k, v := range more {
		s[k] = v
	}
	return boxtest.Settings{"sip": s}
}

// register starts a phone of the branch and waits until it is registered.
func register(t *testing.T, box *boxtest.Box, name string, hz float64) *phonetest.Baresip {
	t.Helper()
	phone := phonetest.StartBaresip(t, phonetest.BaresipConfig{
		Name: name, Password: "secret-" + name, Registrar: box.SIP + ";transport=udp", Codecs: []string{phonetest.G722}, Says: tone(hz),
	})
	phone.WaitLine("200 OK (Parley) [1 binding]", 15*time.Second) // its event may come before somebody listens
	return phone
}

// phones of the branch register with digest; with no PBX anywhere the room calls them, they call each other and the
// room's conference; who has the wrong password gets nowhere.
func TestPhonesOfTheBranch(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: branch(nil)})
	watch := box.Watch()
	anna, ben := register(t, box, "201", 700), register(t, box, "202", 1100)

	if out, code := box.Ctl("cmd", "dial", "201"); code != 0 {
		t.Fatalf("the room's call to 201: %s", out)
	}
	anna.Expect("CALL_ESTABLISHED", 10*time.Second)
	hears(t, "the room", 700, box.Speaker)
	hears(t, "201", 400, func() phonetest.Sound { return anna.Heard(0) })
	anna.Hangup()
	anna.Expect("CALL_CLOSED", 10*time.Second)
	watch.Wait("/call", "no call any more", 10*time.Second, calls(0))

	ben.Dial("201")
	ben.Expect("CALL_ESTABLISHED", 10*time.Second)
	if e := anna.Expect("CALL_ESTABLISHED", 10*time.Second); !strings.HasPrefix(e.Peer, "sip:202@") {
		t.Errorf("201 sees %s call, want 202", e.Peer)
	}
	hears(t, "202", 700, func() phonetest.Sound { return ben.Heard(0) })
	hears(t, "201", 1100, func() phonetest.Sound { return anna.Heard(1) })
	anna.Hangup() // and the other side's call ends with it
	ben.Expect("CALL_CLOSED", 10*time.Second)

	for _, phone := range []*phonetest.Baresip{anna, ben} {
		phone.Dial("1000")
		phone.Expect("CALL_ESTABLISHED", 10*time.Second)
	}
	hears(t, "201 in the conference", 1100, func() phonetest.Sound { return anna.Heard(2) })
	hears(t, "202 in the conference", 700, func() phonetest.Sound { return ben.Heard(1) })

	for _, number := range []string{"1000", "201", "nobody"} { // a stranger learns no numbers
		phonetest.StartSIPP(t, phonetest.SIPPConfig{Remote: box.SIP, Service: number, Scenario: new(phonetest.Script).
			Request("INVITE", 1, "", phonetest.SDP(phonetest.NewTap(t, "127.0.0.1").Addr())).Maybe("100").Expect("401").Closing().String()}).
			Succeed(20 * time.Second)
	}
	liar := phonetest.StartBaresip(t, phonetest.BaresipConfig{Name: "203", Password: "guessed", Registrar: box.SIP + ";transport=udp"})
	liar.WaitLine("403 Forbidden (Parley)", 15*time.Second)
}

// a phone that is gone is no longer called once its registration is taken back.
func TestPhoneThatLeaves(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Settings: branch(nil)})
	phone := register(t, box, "201", 700)
	phone.Stop() // takes its registration back
	if out, code := box.Ctl("cmd", "dial", "201"); code == 0 || !strings.Contains(out, "not_found") {
		t.Errorf("the room's call to a phone that is gone: %s", out)
	}
}

// pbx is a registrar that knows user "box" with password "trunk"; it takes the registration back when the box ends.
func pbx(t *testing.T) *phonetest.SIPP {
	return phonetest.StartSIPP(t, phonetest.SIPPConfig{Timeout: 2 * time.Minute, Scenario: new(phonetest.Script).
		Expect("REGISTER").Answer("401 Unauthorized", "a", `WWW-Authenticate: Digest realm="pbx", nonce="4f2a", algorithm=MD5`, "").
		Authenticated("REGISTER", "box", "trunk").Answer("200 OK", "a", "[last_Contact:]\nExpires: 300", "").
		Expect("REGISTER").Answer("200 OK", "a", "", "").String()})
}

var ownContact = regexp.MustCompile(`Contact: <sip:([^@>]+)@`)

// X-7, X-7b: the box registers at a PBX with digest; a call to the contact that only the PBX knows rings the place, and one that
// guesses is asked for credentials, from the same address.
func TestRegisteredAtAPBX(t *testing.T) {
	t.Parallel()
	registrar := pbx(t)
	box := boxtest.Start(t, boxtest.Config{Settings: branch(boxtest.Settings{
		"upstreams": []boxtest.Settings{{"name": "pbx", "registrar": registrar.Addr(), "user": "box", "password": "trunk"}},
	})})
	watch := box.Watch()
	var contact string
	phonetest.Eventually(t, 20*time.Second, "the box is registered", func() bool {
		said := registrar.Messages()
		if m := ownContact.FindStringSubmatch(received(said)); m != nil && strings.Contains(said, "SIP/2.0 200 OK") {
			contact = m[1]
		}
		return contact != ""
	})
	sdp := phonetest.SDP(phonetest.NewTap(t, "127.0.0.1").Addr())
	guess := phonetest.StartSIPP(t, phonetest.SIPPConfig{Remote: box.SIP, Service: "box", Scenario: new(phonetest.Script).
		Request("INVITE", 1, "", sdp).Maybe("100").Expect("401").Closing().String()})
	guess.Succeed(20 * time.Second)
	call := phonetest.StartSIPP(t, phonetest.SIPPConfig{Remote: box.SIP, Service: contact, Scenario: new(phonetest.Script).
		Request("INVITE", 1, "", sdp).Maybe("100").Expect("180").Expect("200").Within("ACK", 1, "", "").
		Pause(time.Second).Within("BYE", 2, "", "").Expect("200").String()})
	watch.Wait("/call", "a call that rings for the place", 10*time.Second, calls(1))
	box.Press("j")
	call.Succeed(20 * time.Second)
	box.StopCleanly()
	registrar.Succeed(20 * time.Second)
	if n := strings.Count(received(registrar.Messages()), "REGISTER sip:"); n != 3 {
		t.Errorf("%d REGISTERs, want the first, the one with digest, and the last that takes it back", n)
	}
}

// gateway is one of another program: it takes the call and waits for the BYE.
func gateway(t *testing.T) *phonetest.SIPP {
	sdp := phonetest.SDP(phonetest.NewTap(t, "127.0.0.1").Addr())
	return phonetest.StartSIPP(t, phonetest.SIPPConfig{Scenario: new(phonetest.Script).
		Expect("INVITE").Answer("200 OK", "a", "", sdp).Expect("ACK").Expect("BYE").Answer("200 OK", "", "", "").String()})
}

// X-7a: a gateway that says 503 is followed by the next one, whoever calls; and XXX:YYY dials XXX with YYY as its identity.
func TestSecondGatewayAndIdentity(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"the place", "a caller"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			full := phonetest.StartSIPP(t, phonetest.SIPPConfig{Scenario: new(phonetest.Script).
				Expect("INVITE").Answer("503 Service Unavailable", "a", "", "").Expect("ACK").String()})
			second := gateway(t)
			box := boxtest.Start(t, boxtest.Config{Settings: boxtest.Settings{"sip": routed(map[string][]string{"7": {full.Addr(), second.Addr()}})}})
			if who == "the place" {
				if out, code := box.Ctl("cmd", "dial", "70155:4711"); code != 0 {
					t.Fatalf("%s", out)
				}
				box.Press("j")
			} else {
				box.Call("70155:4711", "-from", "99", "-for", "1s").Wait(30 * time.Second)
			}
			full.Succeed(20 * time.Second)
			second.Succeed(20 * time.Second)
			for _, gateway := range []*phonetest.SIPP{full, second} {
				got := received(gateway.Messages())
				if !strings.Contains(got, "INVITE sip:70155@") || !regexp.MustCompile(`From: .*<sip:4711@`).MatchString(got) {
					t.Errorf("want number 70155 and identity 4711:\n%s", got)
				}
			}
		})
	}
}

// X-7a: a number without a route is nowhere, also for the place; a redirection is not followed, since the answer would then
// decide whom the box calls.
func TestNowhere(t *testing.T) {
	t.Parallel()
	trap := phonetest.NewTap(t, "127.0.0.1")
	away := phonetest.StartSIPP(t, phonetest.SIPPConfig{Scenario: new(phonetest.Script).Expect("INVITE").
		Answer("302 Moved Temporarily", "a", fmt.Sprintf("Contact: <sip:premium@%s>", trap.Addr()), "").Expect("ACK").String()})
	box := boxtest.Start(t, boxtest.Config{Settings: boxtest.Settings{"sip": routed(map[string][]string{"7": {away.Addr()}})}})
	if out, code := box.Ctl("cmd", "dial", "70155"); code == 0 || !strings.Contains(out, "302") {
		t.Errorf("a call that is redirected: %s", out)
	}
	away.Succeed(20 * time.Second)
	if out, code := box.Ctl("cmd", "dial", "80155"); code == 0 || !strings.Contains(out, "not_found") {
		t.Errorf("a number without a route: %s", out)
	}
	if got := box.Call("80155"); got.Wait(20*time.Second) == 0 || !strings.Contains(got.Tail(2), "404") {
		t.Errorf("a caller who dials a number without a route: %s", got.Tail(2))
	}
	if n := len(trap.Packets()); n != 0 {
		t.Errorf("%d packets went to where the redirection pointed", n)
	}
}

// when a proxy has forked and two phones answer, the first has the call and the second gets ACK and BYE.
func TestSecondAnswerOfAFork(t *testing.T) {
	t.Parallel()
	sdp := phonetest.SDP(phonetest.NewTap(t, "127.0.0.1").Addr())
	proxy := phonetest.StartSIPP(t, phonetest.SIPPConfig{Scenario: new(phonetest.Script).
		Forked().Fork("first", sdp).Expect("ACK").Fork("second", sdp).Expect("ACK").Expect("BYE").Answer("200 OK", "", "", "").
		Expect("BYE").Answer("200 OK", "", "", "").String()})
	box := boxtest.Start(t, boxtest.Config{Settings: boxtest.Settings{"sip": routed(map[string][]string{"7": {proxy.Addr()}})}})
	if out, code := box.Ctl("cmd", "dial", "70155"); code != 0 {
		t.Fatalf("%s", out)
	}
	byes := func() []string {
		return regexp.MustCompile(`(?s)BYE sip:.*?\nTo: [^\n]*tag=(\w+)`).FindStringSubmatch(received(proxy.Messages()))
	}
	phonetest.Eventually(t, 10*time.Second, "a BYE", func() bool { return byes() != nil })
	if got := byes()[1]; got != "second" {
		t.Errorf("the %s answer got the BYE", got)
	}
	box.Press("j")
	proxy.Succeed(20 * time.Second)
}
