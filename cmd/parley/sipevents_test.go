package main_test

import (
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// nobody makes the box call somebody else unless the settings allow it.
func TestReferIsRefused(t *testing.T) {
	t.Parallel()
	trap := phonetest.NewTap(t, "127.0.0.1")
	box := boxtest.Start(t, boxtest.Config{Settings: joined(nil)})
	phonetest.StartSIPP(t, phonetest.SIPPConfig{Remote: box.SIP, Service: "1000", Scenario: new(phonetest.Script).
		Request("INVITE", 1, "", phonetest.SDP(phonetest.NewTap(t, "127.0.0.1").Addr())).Maybe("100").Expect("200").Within("ACK", 1, "", "").
		Within("REFER", 2, "Refer-To: <sip:premium@"+trap.Addr().String()+">", "").Expect("403").Pause(time.Second).
		Within("BYE", 3, "", "").Expect("200").String()}).Succeed(20 * time.Second)
	if n := len(trap.Packets()); n != 0 {
		t.Errorf("%d packets went to whom the REFER named", n)
	}
}

// where it is allowed, a member adds another, and learns how that came out.
func TestReferAddsAMember(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: branch(boxtest.Settings{"allow_refer": true})})
	watch := box.Watch()
	anna, ben := register(t, box, "201", 700), register(t, box, "202", 1100)
	box.Press("j")
	anna.Dial("1000")
	anna.Expect("CALL_ESTABLISHED", 10*time.Second)
	watch.Wait("/conf/1000/state", "two members", 10*time.Second, inState("connected", 2))
	anna.Transfer(box.URI("202")) // baresip hangs up when it is told that this has worked
	ben.Expect("CALL_ESTABLISHED", 10*time.Second)
	watch.Wait("/conf/1000/state", "202 as a member", 10*time.Second, func(p map[string]any) bool {
		members, _ := p["members"].([]any)
		for _, m := range members {
			if m := m.(map[string]any); m["number"] == "202" && m["state"] == "connected" {
				return true
			}
		}
		return false
	})
	hears(t, "202", 400, func() phonetest.Sound { return ben.Heard(0) })
	hears(t, "the room", 1100, box.Speaker)
	anna.Expect("CALL_CLOSED", 10*time.Second)
}

// X-7, X-7a: an added member's refusal is told, and so is a number that leads nowhere; an address past the routes is not called.
func TestReferThatFails(t *testing.T) {
	t.Parallel()
	trap := phonetest.NewTap(t, "127.0.0.1")
	busy := phonetest.StartSIPP(t, phonetest.SIPPConfig{Scenario: phonetest.CallScenario{Busy: true}.Answerer()})
	box := boxtest.Start(t, boxtest.Config{Settings: joined(boxtest.Settings{"sip": func() boxtest.Settings {
		s := routed(map[string][]string{"7": {busy.Addr()}})
		s["allow_refer"] = true
		return s
	}()})})
	member := phonetest.StartSIPP(t, phonetest.SIPPConfig{Remote: box.SIP, Service: "1000", Scenario: new(phonetest.Script).
		Request("INVITE", 1, "", phonetest.SDP(phonetest.NewTap(t, "127.0.0.1").Addr())).Maybe("100").Expect("200").Within("ACK", 1, "", "").
		Within("REFER", 2, "Refer-To: <sip:7001@[remote_ip]:[remote_port]>", "").Expect("202").
		Expect("NOTIFY").Answer("200 OK", "", "", "").Expect("NOTIFY").Answer("200 OK", "", "", "").
		Within("REFER", 3, "Refer-To: <sip:8001@[remote_ip]:[remote_port]>", "").Expect("202").
		Expect("NOTIFY").Answer("200 OK", "", "", "").Expect("NOTIFY").Answer("200 OK", "", "", "").
		Within("REFER", 4, "Refer-To: <sip:7001@"+trap.Addr().String()+">", "").Expect("202").
		Expect("NOTIFY").Answer("200 OK", "", "", "").Expect("NOTIFY").Answer("200 OK", "", "", "").
		Within("BYE", 5, "", "").Expect("200").String()})
	member.Succeed(20 * time.Second)
	busy.Succeed(10 * time.Second)
	got := received(member.Messages())
	for _, want := range []string{"SIP/2.0 486 Busy Here", "SIP/2.0 404 Not Found", "SIP/2.0 403 Forbidden", "Subscription-State: terminated;reason=noresource"} {
		if !strings.Contains(got, want) {
			t.Errorf("no NOTIFY says %q:\n%s", want, got)
		}
	}
	if n := len(trap.Packets()); n != 0 {
		t.Errorf("%d packets went to an address that is in no route", n)
	}
}

// OPTIONS tells what the box can do.
func TestOptions(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{})
	phone := phonetest.StartSIPP(t, phonetest.SIPPConfig{Remote: box.SIP, Service: "1000", Transport: "tcp", Scenario: new(phonetest.Script).
		Request("OPTIONS", 1, "Accept: application/sdp", "").Expect("200").String()})
	phone.Succeed(20 * time.Second)
	got := received(phone.Messages())
	for _, want := range []string{"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS", "Accept: application/sdp", "Supported: timer"} {
		if !strings.Contains(got, want) {
			t.Errorf("the box does not say %q:\n%s", want, got)
		}
	}
}

// the conference event package (RFC 4575). Who subscribes is told how the conference stands, then every change, then that
// it is over; the conference's Contact bears isfocus.
func TestConferenceEvents(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{})
	notified := func(s *phonetest.Script) *phonetest.Script { return s.Expect("NOTIFY").Answer("200 OK", "", "", "") }
	script := new(phonetest.Script).
		Request("SUBSCRIBE", 1, "Event: conference\nAccept: application/conference-info+xml\nExpires: 600", "").Expect("200")
	script = notified(notified(script))
	script = notified(script.Pause(100*time.Millisecond).Within("SUBSCRIBE", 2, "Event: conference\nExpires: 0", "").Expect("200"))
	watcher := phonetest.StartSIPP(t, phonetest.SIPPConfig{Remote: box.SIP, Service: "1000", Scenario: script.String()})
	phonetest.Eventually(t, 20*time.Second, "the first NOTIFY", func() bool {
		return strings.Contains(received(watcher.Messages()), "<user-count>0</user-count>")
	})
	box.Press("j")
	watcher.Succeed(20 * time.Second)
	got := received(watcher.Messages())
	for _, want := range []string{
		`entity="sip:1000@`, "<user-count>1</user-count>", "<active>true</active>", ";isfocus", "Subscription-State: active;expires=",
		`state="full" version="1"`, `state="partial" version="2"`, `<users state="partial"><user entity="sip:100@`, "<status>connected</status>",
		"Subscription-State: terminated;reason=timeout", "Content-Type: application/conference-info+xml",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the subscriber is not told %q:\n%s", want, got)
		}
	}
	refused := phonetest.StartSIPP(t, phonetest.SIPPConfig{Remote: box.SIP, Service: "1001", Scenario: new(phonetest.Script).
		Request("SUBSCRIBE", 1, "Event: conference", "").Expect("404").Request("SUBSCRIBE", 2, "Event: presence", "").Expect("489").String()})
	refused.Succeed(20 * time.Second)
}
