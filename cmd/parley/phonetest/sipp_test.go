package phonetest

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

func TestSIPPCallsSIPP(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, transport, host string }{
		{"udp", "udp", "127.0.0.1"}, {"tcp", "tcp", "127.0.0.1"}, {"udp over IPv6", "udp", "::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			uas := StartSIPP(t, SIPPConfig{Scenario: CallScenario{}.Answerer(), Transport: c.transport, Host: c.host, Calls: 3})
			uac := StartSIPP(t, SIPPConfig{
				Scenario: CallScenario{Talk: 200 * time.Millisecond}.Caller(), Remote: uas.Addr(), Service: "1000",
				Transport: c.transport, Host: c.host, Calls: 3,
			})
			uac.Succeed(20 * time.Second)
			uas.Succeed(20 * time.Second)
			if got := uac.Stat("SuccessfulCall(C)"); got != 3 {
				t.Errorf("sipp counts %d calls", got)
			}
			if got := strings.Count(uas.Messages(), "INVITE sip:1000@"); got != 3 {
				t.Errorf("%d INVITEs to 1000 have arrived", got)
			}
		})
	}
}

func TestSIPPTellsWhatWentWrong(t *testing.T) {
	t.Parallel()
	uas := StartSIPP(t, SIPPConfig{Scenario: CallScenario{Busy: true}.Answerer()})
	uac := StartSIPP(t, SIPPConfig{Scenario: CallScenario{}.Caller(), Remote: uas.Addr()})
	if code := uac.Wait(20 * time.Second); code != 1 {
		t.Errorf("a caller that expects 200 and gets 486 ends with %d", code)
	}
	if !strings.Contains(uac.Errors(), "486 Busy") {
		t.Errorf("its errors do not name the 486:\n%s", uac.Errors())
	}
}

// A challenge is answered with the right digest: RFC 2617's "auth" over realm, nonce, method and URI.
func TestSIPPAnswersDigest(t *testing.T) {
	t.Parallel()
	challenge := scenario(
		recv(`request="INVITE"`),
		send(answer("401 Unauthorized", "WWW-Authenticate: Digest realm=\"branch\", nonce=\"abc\", qop=\"auth\", algorithm=MD5\n", ""), ` retrans="500"`),
		recv(`request="ACK"`),
		`<recv request="INVITE"><action><verifyauth assign_to="good" username="alice" password="secret"/></action></recv>`,
		`<nop hide="true" test="good" next="ok"/>`,
		send(answer("403 Forbidden", "Content-Type: text/plain\n", ""), ` retrans="500"`),
		recv(`request="ACK"`),
		`<label id="ok"/>`,
		send(answer("200 OK", "Content-Type: application/sdp\n", CallScenario{}.body()), ` retrans="500"`),
		recv(`request="ACK"`), recv(`request="BYE"`), send(answer("200 OK", "", ""), ""))
	for _, c := range []struct {
		password string
		code     int
	}{{"secret", 0}, {"wrong", 1}} {
		uas := StartSIPP(t, SIPPConfig{Scenario: challenge})
		uac := StartSIPP(t, SIPPConfig{Scenario: CallScenario{Digest: true}.Caller(), Remote: uas.Addr(), User: "alice", Password: c.password})
		if code := uac.Wait(20 * time.Second); code != c.code {
			t.Errorf("password %q: sipp ends with %d:\n%s", c.password, code, uac.Errors())
		}
	}
}

func TestSIPPCallsBaresip(t *testing.T) {
	t.Parallel()
	b := StartBaresip(t, BaresipConfig{Codecs: []string{PCMU}})
	uac := StartSIPP(t, SIPPConfig{Scenario: CallScenario{Talk: 300 * time.Millisecond}.Caller(), Remote: b.Addr(), Service: "phone"})
	b.Expect("CALL_ESTABLISHED", 10*time.Second)
	uac.Succeed(20 * time.Second)
	b.Expect("CALL_CLOSED", 5*time.Second)

	uac = StartSIPP(t, SIPPConfig{Scenario: CallScenario{TheyHangUp: true}.Caller(), Remote: b.Addr(), Service: "phone"})
	b.Expect("CALL_ESTABLISHED", 10*time.Second)
	b.Hangup()
	uac.Succeed(20 * time.Second)
}

// sipp answers baresip, and the media port that its SDP names is a Tap's, which sees what baresip says.
func TestTapHearsACall(t *testing.T) {
	t.Parallel()
	tap := NewTap(t, "127.0.0.1")
	sdp := strings.ReplaceAll(pcmuSDP, "[media_port]", fmt.Sprint(tap.Addr().Port()))
	uas := StartSIPP(t, SIPPConfig{Scenario: CallScenario{SDP: sdp}.Answerer()})
	b := StartBaresip(t, BaresipConfig{Codecs: []string{PCMU}, Says: Tone(48000, 850, -20, time.Second)})
	b.Dial("sip:anybody@" + uas.Addr())
	b.Expect("CALL_ESTABLISHED", 10*time.Second)
	Eventually(t, 15*time.Second, "a second of packets", func() bool { return len(tap.Packets()) >= 60 })
	b.Hangup()
	uas.Succeed(20 * time.Second)
	if got := G711(tap.Packets()).Tone(850).Median(); math.Abs(got+20) > 1.5 {
		t.Errorf("the tone arrives at %.1f dBFS", got)
	}
	for i, p := range tap.Packets()[1:] {
		if p.At.Before(tap.Packets()[i].At) {
			t.Fatal("the kernel's stamps go backwards")
		}
	}
}
