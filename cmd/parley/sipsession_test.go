package main_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// calls are the calls that the box tells of.
func calls(n int) func(map[string]any) bool {
	return func(p map[string]any) bool {
		list, _ := p["calls"].([]any)
		return len(list) == n
	}
}

// a caller who gives up while it rings gets 487, and the place rings no more.
func TestCancel(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{})
	watch := box.Watch()
	script := new(phonetest.Script).Branch("z9hG4bK-cancel-[pid]").
		Request("INVITE", 1, "", phonetest.SDP(phonetest.NewTap(t, "127.0.0.1").Addr())).Maybe("100").Expect("180").Pause(500*time.Millisecond).
		Request("CANCEL", 1, "", "").Expect("200").Expect("487")
	phone := phonetest.StartSIPP(t, phonetest.SIPPConfig{Scenario: script.Closing().String(), Remote: box.SIP, Service: box.Place})
	watch.Wait("/call", "a call that rings", 10*time.Second, calls(1))
	watch.Forget()
	watch.Wait("/call", "no call any more", 10*time.Second, calls(0))
	phone.Succeed(20 * time.Second)
}

// session timers (RFC 4028). Too short a wish is told the least; the phone's refreshes are taken, by UPDATE and by
// re-INVITE.
func TestSessionRefreshedByThePhone(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Settings: joined(boxtest.Settings{"sip": boxtest.Settings{"session_expires": "5m"}})})
	sdp := phonetest.SDP(phonetest.NewTap(t, "127.0.0.1").Addr())
	wish := func(s int) string { return fmt.Sprintf("Supported: timer\nSession-Expires: %d;refresher=uac", s) }
	script := new(phonetest.Script).
		Request("INVITE", 1, wish(60), sdp).Maybe("100").Expect("422").Closing().
		Request("INVITE", 2, wish(90), sdp).Maybe("100").Maybe("180").Expect("200").Within("ACK", 2, "", "").
		Within("UPDATE", 3, wish(100), "").Expect("200").
		Within("INVITE", 4, wish(110), sdp).Maybe("100").Expect("200").Within("ACK", 4, "", "").Pause(time.Second).
		Within("BYE", 5, "", "").Expect("200")
	phone := phonetest.StartSIPP(t, phonetest.SIPPConfig{Scenario: script.String(), Remote: box.SIP, Service: "1000"})
	phone.Succeed(20 * time.Second)
	said := phone.Messages()
	for _, want := range []string{"Min-SE: 90", "Session-Expires: 90;refresher=uac", "Session-Expires: 100;refresher=uac", "Session-Expires: 110;refresher=uac", "Require: timer"} {
		if !strings.Contains(received(said), want) {
			t.Errorf("the box has not said %q", want)
		}
	}
}

// received is the part of sipp's messages that came to it.
func received(messages string) string {
	var b strings.Builder
	for _, m := range strings.Split(messages, "-----------------------------------------------") {
		if strings.Contains(m, "message received") {
			b.WriteString(m)
		}
	}
	return b.String()
}

// where the box refreshes it does so by itself, and where the phone should have and has not, the call ends with BYE before
// the session's end. It lasts as long as the shortest session that RFC 4028 knows.
func TestSessionRefreshedByTheBoxAndLapsing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a minute of waiting")
	}
	box := boxtest.Start(t, boxtest.Config{Settings: joined(boxtest.Settings{
		"sip": boxtest.Settings{"session_expires": "90s"}, "rtp": boxtest.Settings{"alert_after": "10m", "hangup_after": "20m"},
	})})
	sdp := phonetest.SDP(phonetest.NewTap(t, "127.0.0.1").Addr())
	call := func(refresher string) *phonetest.Script {
		return new(phonetest.Script).
			Request("INVITE", 1, "Allow: INVITE, ACK, BYE, CANCEL, UPDATE\nSupported: timer\nSession-Expires: 90;refresher="+refresher, sdp).
			Maybe("100").Maybe("180").Expect("200").Within("ACK", 1, "", "")
	}
	refreshed := phonetest.StartSIPP(t, phonetest.SIPPConfig{Remote: box.SIP, Service: "1000", Timeout: 2 * time.Minute, Scenario: call("uas").
		Expect("UPDATE").Answer("200 OK", "", "Supported: timer\nRequire: timer\nSession-Expires: 90;refresher=uac", "").Pause(time.Second).
		Within("BYE", 2, "", "").Expect("200").String()})
	lapsing := phonetest.StartSIPP(t, phonetest.SIPPConfig{Remote: box.SIP, Service: "1000", Timeout: 2 * time.Minute, Scenario: call("uac").
		Expect("BYE").Answer("200 OK", "", "", "").String()})
	lapsing.Succeed(100 * time.Second)
	if !strings.Contains(received(lapsing.Messages()), `text="session expired"`) {
		t.Error("the BYE does not say that the session has expired")
	}
	refreshed.Succeed(100 * time.Second)
}

// a caller of whom nothing arrives raises an alert and is hung up on later; one who is on hold has a right to be silent.
func TestSilentCaller(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Settings: joined(boxtest.Settings{"rtp": boxtest.Settings{"alert_after": "5s", "hangup_after": "10s"}})})
	watch := box.Watch()
	sdp := phonetest.SDP(phonetest.NewTap(t, "127.0.0.1").Addr())
	holding := phonetest.StartSIPP(t, phonetest.SIPPConfig{Remote: box.SIP, Service: "1000", Scenario: new(phonetest.Script).
		Request("INVITE", 1, "", sdp).Maybe("100").Expect("200").Within("ACK", 1, "", "").
		Within("INVITE", 2, "", sdp+"a=sendonly\n").Maybe("100").Expect("200").Within("ACK", 2, "", "").Pause(20*time.Second).
		Within("BYE", 3, "", "").Expect("200").String()})
	watch.Wait("/conf/1000/state", "one member on hold", 10*time.Second, inState("on-hold", 1))
	silent := phonetest.StartSIPP(t, phonetest.SIPPConfig{Remote: box.SIP, Service: "1000", Scenario: new(phonetest.Script).
		Request("INVITE", 1, "", sdp).Maybe("100").Expect("200").Within("ACK", 1, "", "").Expect("BYE").Answer("200 OK", "", "", "").String()})
	phonetest.Eventually(t, 20*time.Second, "an alert", func() bool { return len(alerts(watch)) == 1 })
	silent.Succeed(30 * time.Second)
	if !strings.Contains(received(silent.Messages()), `text="no media"`) {
		t.Error("the BYE does not say that no sound came")
	}
	holding.Succeed(40 * time.Second)
	phonetest.Eventually(t, 10*time.Second, "the alert is over", func() bool {
		list := alerts(watch)
		return len(list) == 2 && list[1] == ""
	})
	if text := alerts(watch)[0]; !strings.Contains(text, "no sound arrives from sipp") {
		t.Errorf("the alert says %s", text)
	}
}

// alerts are the messages on alert topics about missing sound.
func alerts(watch *boxtest.Watch) (list []string) {
	for _, m := range watch.Messages("") {
		if strings.Contains(m.Topic, "/alert/sound-") {
			list = append(list, string(m.Payload))
		}
	}
	return list
}
