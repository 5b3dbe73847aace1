package main_test

import (
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// routed are settings that send numbers with a prefix to addresses.
func routed(prefixes map[string][]string) boxtest.Settings {
	var routes []boxtest.Settings
	for prefix, addrs := range prefixes {
		var gateways []string
		for _, a := range addrs {
			gateways = append(gateways, "sip:"+a)
		}
		routes = append(routes, boxtest.Settings{"prefix": prefix, "gateways": gateways})
	}
	return boxtest.Settings{"routes": routes}
}

// command starts a command to the box and does not wait for its outcome.
func command(t *testing.T, box *boxtest.Box, words ...string) *phonetest.Process {
	t.Helper()
	return phonetest.Start(t, box.Data, boxtest.Program(t, "parleyctl"), box.CtlArgs(append([]string{"cmd"}, words...)...)...)
}

// early is a telephone that sends a tone before it answers, and refuses after a while. It returns where it is.
func early(t *testing.T, hz string) (*phonetest.Process, string) {
	t.Helper()
	phone := phonetest.Start(t, t.TempDir(), boxtest.Program(t, "parleyctl"), "call", "-answer", "-early", "-tone", hz, "-level", "-23", "-for", "10s")
	return phone, waitsAt(phone)
}

// waitsAt is the address of a parleyctl that waits for a call.
func waitsAt(phone *phonetest.Process) string {
	words := strings.Fields(phone.WaitLine("waiting for a call on udp", 20*time.Second))
	return words[len(words)-1]
}

// what a phone sends before it answers is heard in the room, and it is no answer.
func TestEarlyMediaInTheRoom(t *testing.T) {
	t.Parallel()
	phone, addr := early(t, "700")
	box := boxtest.Start(t, boxtest.Config{Settings: boxtest.Settings{"sip": routed(map[string][]string{"7": {addr}})}})
	watch := box.Watch()
	dial := command(t, box, "dial", "7001")
	hears(t, "the room, before the answer,", 700, box.Speaker)
	if dial.Wait(30*time.Second) == 0 || !strings.Contains(dial.Tail(3), "far_busy") {
		t.Errorf("a call that is refused after early media: %s", dial.Tail(3))
	}
	watch.Wait("/call", "no call any more", 10*time.Second, calls(0))
	phone.Wait(10 * time.Second)
}

// a caller for whom the box calls a phone hears what that sends before it answers, then that it is refused.
func TestEarlyMediaForACaller(t *testing.T) {
	t.Parallel()
	phone, addr := early(t, "700")
	box := boxtest.Start(t, boxtest.Config{Settings: boxtest.Settings{"sip": routed(map[string][]string{"7": {addr}})}})
	caller := phonetest.StartBaresip(t, phonetest.BaresipConfig{Name: "anna", Codecs: []string{phonetest.PCMA}})
	capture := phonetest.StartCapture(t, uint16(box.FirstRTP), uint16(box.LastRTP)) // it records from the answer on
	caller.Dial(box.URI("7001"))
	caller.Expect("CALL_PROGRESS", 10*time.Second)
	hears(t, "the caller, before the answer,", 700, func() phonetest.Sound { return phonetest.G711(sentBy(box, capture, 8)) })
	if e := caller.Expect("CALL_CLOSED", 30*time.Second); !strings.HasPrefix(e.Param, "486") {
		t.Errorf("the caller's call ends with %q, want 486", e.Param)
	}
	phone.Wait(10 * time.Second)
}

// bridge lets a box call, for whoever dials 7001, a parleyctl that prints the keys that it hears.
func bridge(t *testing.T) (*boxtest.Box, *phonetest.Process) {
	t.Helper()
	far := phonetest.Start(t, t.TempDir(), boxtest.Program(t, "parleyctl"), "call", "-answer", "-codec", "pcmu")
	return boxtest.Start(t, boxtest.Config{Settings: boxtest.Settings{"sip": routed(map[string][]string{"7": {waitsAt(far)}})}}), far
}

// pressed are the keys that a parleyctl has heard.
func pressed(far *phonetest.Process) (keys string) {
	for _, line := range far.Lines() {
		if key, ok := strings.CutPrefix(line, "dtmf "); ok {
			keys += key
		}
	}
	return keys
}

// keys pressed on one side of a call through the box arrive on the other, by RFC 4733 as by INFO, once each; in a conference
// the box takes notice and does not write down which.
func TestKeysPassThrough(t *testing.T) {
	t.Parallel()
	t.Run("by RFC 4733", func(t *testing.T) {
		t.Parallel()
		box, far := bridge(t)
		phone := phonetest.StartBaresip(t, phonetest.BaresipConfig{Name: "anna", Codecs: []string{phonetest.PCMA}})
		phone.Dial(box.URI("7001"))
		phone.Expect("CALL_ESTABLISHED", 10*time.Second)
		for _, key := range "19*#" {
			phone.Digits(string(key))
			far.WaitLine("dtmf "+string(key), 10*time.Second)
		}
		if got := pressed(far); got != "19*#" {
			t.Errorf("19*# were pressed, and %q arrived", got)
		}
		phone.Hangup()
		far.Wait(10 * time.Second)
	})
	t.Run("by INFO", func(t *testing.T) {
		t.Parallel()
		box, far := bridge(t)
		info := func(cseq int, kind, body string) func(*phonetest.Script) {
			return func(s *phonetest.Script) {
				s.Within("INFO", cseq, "Content-Type: "+kind, body).Expect("200").Pause(300 * time.Millisecond)
			}
		}
		script := new(phonetest.Script).Request("INVITE", 1, "", phonetest.SDP(phonetest.NewTap(t, "127.0.0.1").Addr())).
			Maybe("100").Maybe("180").Expect("200").Within("ACK", 1, "", "").Pause(300 * time.Millisecond)
		info(2, "application/dtmf-relay", "Signal=5\nDuration=160\n")(script)
		info(3, "application/dtmf", "6")(script)
		script.Within("INFO", 4, "Content-Type: application/dtmf-relay", "Signal=\n").Expect("400").
			Within("INFO", 5, "Content-Type: text/plain", "7").Expect("415").Pause(time.Second).Within("BYE", 6, "", "").Expect("200")
		phonetest.StartSIPP(t, phonetest.SIPPConfig{Scenario: script.String(), Remote: box.SIP, Service: "7001"}).Succeed(20 * time.Second)
		far.Wait(10 * time.Second)
		if got := pressed(far); got != "56" {
			t.Errorf("5 and 6 were pressed, and %q arrived", got)
		}
	})
	t.Run("to a phone", func(t *testing.T) {
		t.Parallel()
		phone := phonetest.StartBaresip(t, phonetest.BaresipConfig{Name: "7001", Codecs: []string{phonetest.PCMU}})
		box := boxtest.Start(t, boxtest.Config{Settings: boxtest.Settings{"sip": routed(map[string][]string{"7": {phone.Addr()}})}})
		tool := box.Call("7001", "-codec", "opus", "-dtmf", "08#")
		for _, key := range "08#" {
			if e := phone.Expect("CALL_DTMF_START", 15*time.Second); e.Param != string(key) {
				t.Errorf("%c was pressed and %s arrived", key, e.Param)
			}
		}
		phone.Hangup()
		tool.Wait(10 * time.Second)
	})
	t.Run("to one that knows INFO only", func(t *testing.T) {
		t.Parallel()
		plain := strings.NewReplacer(" 101\n", "\n", "a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n", "").
			Replace(phonetest.SDP(phonetest.NewTap(t, "127.0.0.1").Addr()))
		phone := phonetest.StartSIPP(t, phonetest.SIPPConfig{Scenario: new(phonetest.Script).
			Expect("INVITE").Answer("180 Ringing", "a", "", "").Answer("200 OK", "a", "", plain).Expect("ACK").
			Expect("INFO").Answer("200 OK", "", "", "").Expect("INFO").Answer("200 OK", "", "", "").
			Expect("BYE").Answer("200 OK", "", "", "").String()})
		box := boxtest.Start(t, boxtest.Config{Settings: boxtest.Settings{"sip": routed(map[string][]string{"7": {phone.Addr()}})}})
		box.Call("7001", "-codec", "pcmu", "-dtmf", "4#", "-for", "3s").Wait(20 * time.Second)
		phone.Succeed(10 * time.Second)
		if got := received(phone.Messages()); !strings.Contains(got, "Signal=4") || !strings.Contains(got, "Signal=#") {
			t.Errorf("4 and # were pressed:\n%s", got)
		}
	})
	t.Run("in a conference", func(t *testing.T) {
		t.Parallel()
		box := boxtest.Start(t, boxtest.Config{Settings: joined(nil)})
		phone := phonetest.StartBaresip(t, phonetest.BaresipConfig{Name: "anna", Codecs: []string{phonetest.Opus}})
		phone.Dial(box.URI("1000"))
		phone.Expect("CALL_ESTABLISHED", 10*time.Second)
		phone.Digits("5")
		if line := box.WaitLine("key pressed", 10*time.Second); !strings.Contains(line, "number=anna") || strings.Contains(line, "=5") {
			t.Errorf("the log says: %s", line)
		}
		phone.Hangup()
		phone.Expect("CALL_CLOSED", 10*time.Second)
	})
}
