package sip

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"parley/audio"
	"parley/audio/g711"
)

// Hold and resume from either side, told to both, and sound again after it.
func TestHold(t *testing.T) {
	a, b := newEnd(t), newEnd(t)
	out, in := a.call(b, "udp")
	for _, x := range []struct {
		ours, theirs *end
		mine, yours  *Call
	}{{a, b, out, in}, {b, a, in, out}} {
		x.mine.Hold(true)
		x.theirs.want(x.yours, Held)
		x.ours.want(x.mine, MediaChanged)
		if !x.mine.Info().HeldHere || !x.yours.Info().HeldThere {
			t.Errorf("held: %+v %+v", x.mine.Info(), x.yours.Info())
		}
		x.mine.Hold(false)
		x.theirs.want(x.yours, Resumed)
		x.ours.want(x.mine, MediaChanged)
		n, m := x.mine.Leg().Stats().Received, x.yours.Leg().Stats().Received
		until(t, "sound after hold", func() bool {
			return x.mine.Leg().Stats().Received > n+3 && x.yours.Leg().Stats().Received > m+3
		})
	}
	out.Hangup("")
	b.wantEnded(in, 200, Remote)
}

// The three ways in which phones hold.
func TestHoldForms(t *testing.T) {
	for _, tc := range []struct{ name, body, answer string }{
		{"sendonly", sdpBody("a=sendonly"), "a=recvonly"},
		{"inactive", sdpBody("a=inactive"), "a=inactive"},
		{"zero", strings.Replace(sdpBody(), "c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0", 1), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEnd(t)
			w := newWire(t, e)
			c := w.setUp(e)
			w.send(w.request("INVITE", 2, tc.body))
			if p := w.wantCode(200, "INVITE"); !strings.Contains(p.body(), tc.answer) {
				t.Errorf("answer\n%s", p.body())
			}
			w.send(w.request("ACK", 2, ""))
			e.want(c, Held)
			w.send(w.request("INVITE", 3, sdpBody()))
			w.wantCode(200, "INVITE")
			w.send(w.request("ACK", 3, ""))
			e.want(c, Resumed)
			w.send(w.request("BYE", 4, ""))
			w.wantCode(200, "BYE")
		})
	}
}

// Another codec by re-INVITE: both ends speak it, and sound goes on.
func TestCodecChange(t *testing.T) {
	a, b := newEnd(t), newEnd(t)
	out, in := a.call(b, "udp")
	out.SetCodecs([]audio.Codec{g711.PCMA()})
	a.want(out, MediaChanged)
	b.want(in, MediaChanged)
	if x, y := out.Info().Format.Codec, in.Info().Format.Codec; x != "PCMA" || y != "PCMA" {
		t.Fatalf("%s and %s", x, y)
	}
	n, m := out.Leg().Stats().Received, in.Leg().Stats().Received
	until(t, "sound in the new codec", func() bool {
		return out.Leg().Stats().Received > n+3 && in.Leg().Stats().Received > m+3
	})
	if out.Leg().Format().Codec != "PCMA" {
		t.Error(out.Leg().Format())
	}
}

// The far end moves: signalling and sound follow it, by re-INVITE only.
func TestMoved(t *testing.T) {
	e := newEnd(t)
	w, moved := newWire(t, e), newWire(t, e)
	c := w.setUp(e)
	moved.id, moved.tag = w.id, w.tag
	moved.send(moved.request("INVITE", 2, strings.Replace(sdpBody(), "audio 9000", "audio 9100", 1)))
	moved.wantCode(200, "INVITE")
	moved.send(moved.request("ACK", 2, ""))
	until(t, "RTP to the new address", func() bool { return c.Leg().Stats().Remote.Port() == 9100 })
	if c.Info().Peer.String() != moved.addr() {
		t.Errorf("peer %v", c.Info().Peer)
	}
	c.Hangup("")
	moved.answer(moved.wantRequest("BYE"), 200, "", "")
}

// An offer that cannot be taken leaves all as it was; so does a refusal of ours.
func TestReinviteRefused(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, e)
	c := w.setUp(e)
	w.send(w.request("INVITE", 2, strings.NewReplacer("AVP 0 101", "AVP 4", "rtpmap:0 PCMU", "rtpmap:4 G723").Replace(sdpBody())))
	w.wantCode(488, "INVITE")
	if c.State() != Talking || c.Info().Format.Codec != "PCMU" {
		t.Errorf("%+v", c.Info())
	}
	elsewhere := newWire(t, e)
	elsewhere.id, elsewhere.tag = w.id, w.tag
	elsewhere.send(elsewhere.request("INVITE", 3, "rubbish", "Content-Type: application/sdp"))
	elsewhere.wantCode(400, "INVITE")
	if c.Info().Peer.String() != w.addr() {
		t.Errorf("moved by a refused offer to %v", c.Info().Peer)
	}
	c.Hold(true)
	w.answer(w.wantRequest("INVITE"), 488, "", "")
	w.wantRequest("ACK")
	e.want(c, MediaChanged)
	if i := c.Info(); i.HeldHere || i.State != Talking {
		t.Errorf("%+v", i)
	}
	c.Hangup("")
	w.answer(w.wantRequest("BYE"), 200, "", "")
}

// Both want something at once: 491, and again after a random pause.
func TestGlare(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, e)
	c := w.setUp(e)
	c.Hold(true)
	ours := w.wantRequest("INVITE")
	w.send(w.request("INVITE", 2, sdpBody()))
	w.wantCode(491, "INVITE")
	w.answer(ours, 491, "", "")
	w.wantRequest("ACK")
	again := w.wantRequest("INVITE")
	if again.header("CSeq") == ours.header("CSeq") || !strings.Contains(again.body(), "a=sendonly") {
		t.Errorf("%s", again.text)
	}
	w.answer(again, 200, "", sdpBody("a=recvonly"))
	w.wantRequest("ACK")
	e.want(c, MediaChanged)
	if !c.Info().HeldHere {
		t.Error("not held")
	}
	c.Hangup("")
	w.answer(w.wantRequest("BYE"), 200, "", "")
}

// Two ends hold each other at the same moment, again and again.
func TestGlareBoth(t *testing.T) {
	a, b := newEnd(t), newEnd(t)
	out, in := a.call(b, "udp")
	for _, on := range []bool{true, false, true, false} {
		go out.Hold(on)
		in.Hold(on)
		until(t, "both have their way", func() bool {
			o, i := out.Info(), in.Info()
			return o.HeldHere == on && i.HeldHere == on && o.HeldThere == on && i.HeldThere == on
		})
	}
	if out.State() != Talking || in.State() != Talking {
		t.Error("the call is over")
	}
}

// A re-INVITE that nobody answers, or that the far end knows no call for, ends the call.
func TestReinviteGone(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, e)
	c := w.setUp(e)
	c.Hold(true)
	w.answer(w.wantRequest("INVITE"), 481, "", "")
	w.answer(w.wantRequest("BYE"), 481, "", "")
	e.wantEnded(c, 481, Remote)
}

// UPDATE changes the session without an ACK; without a body it is a refresh.
func TestUpdate(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, e)
	c := w.setUp(e)
	w.send(w.request("UPDATE", 2, sdpBody("a=sendonly")))
	if p := w.wantCode(200, "UPDATE"); !strings.Contains(p.body(), "a=recvonly") {
		t.Errorf("%s", p.text)
	}
	e.want(c, Held)
	w.send(w.request("UPDATE", 3, "", "Supported: timer", "Session-Expires: 200;refresher=uac"))
	if p := w.wantCode(200, "UPDATE"); p.body() != "" || p.header("Session-Expires") != "200;refresher=uac" || p.header("Require") != "timer" {
		t.Errorf("%s", p.text)
	}
	w.send(w.request("BYE", 4, "", `Reason: SIP;cause=486;text="busy elsewhere"`))
	w.wantCode(200, "BYE")
	if ev := e.wantEnded(c, 486, Remote); ev.Reason != "busy elsewhere" {
		t.Errorf("%+v", ev)
	}
}

// shortSession makes a second last 5 ms, so that sessions are short.
func shortSession(c *Config) {
	c.Timers.Second = 5 * time.Millisecond
	c.MinSE = 90 * c.Timers.Second
	c.SessionExpires = 100 * c.Timers.Second
}

// session timers. The refresher refreshes at half the interval, again and again; the call outlives its interval.
func TestSessionRefresh(t *testing.T) {
	a, b := newEnd(t, shortSession), newEnd(t, shortSession)
	out, in := a.call(b, "udp")
	if o, i := out.Info().Expires, in.Info().Expires; o != 500*time.Millisecond || i != o {
		t.Errorf("%v and %v", o, i)
	}
	time.Sleep(1200 * time.Millisecond) // twice the interval: that nothing ends is what is to be seen
	if out.State() != Talking || in.State() != Talking {
		t.Error("ended")
	}
	out.Hangup("")
	b.wantEnded(in, 200, Remote)
}

// A far end that takes no UPDATE is refreshed by re-INVITE, with the description that stands.
func TestSessionRefreshByInvite(t *testing.T) {
	e := newEnd(t, shortSession)
	w := newWire(t, e)
	w.setUp(e)
	p := w.wantRequest("INVITE")
	if p.header("Session-Expires") != "100;refresher=uac" || !strings.Contains(p.body(), "PCMU") {
		t.Errorf("%s", p.text)
	}
	w.answer(p, 200, "", sdpBody(), "Session-Expires: 100;refresher=uac", "Require: timer")
	w.wantRequest("ACK")
	p = w.wantRequest("INVITE")
	w.answer(p, 200, "", sdpBody())
	w.wantRequest("ACK")
	w.farewell(e)
}

// A session that its refresher forgets ends, before its time is wholly over.
func TestSessionLapses(t *testing.T) {
	e := newEnd(t, shortSession)
	w := newWire(t, e)
	began := time.Now()
	c := w.setUp(e, "Supported: timer", "Session-Expires: 100;refresher=uac")
	bye := w.wantRequest("BYE")
	if d := time.Since(began); d < 300*time.Millisecond || !strings.Contains(bye.header("Reason"), "session expired") {
		t.Errorf("after %v: %s", d, bye.header("Reason"))
	}
	w.answer(bye, 200, "", "")
	e.wantEnded(c, 408, Watchdog)
}

// DTMF by RFC 4733 between two ends, and by INFO to one that takes no telephone events.
func TestDTMF(t *testing.T) {
	a, b := newEnd(t), newEnd(t)
	out, in := a.call(b, "udp")
	out.SendDTMF("12#D", 60*time.Millisecond)
	for _, want := range []byte("12#D") {
		if ev := b.want(in, DTMF); ev.Digit != want {
			t.Fatalf("%c, want %c", ev.Digit, want)
		}
	}
	e := newEnd(t)
	w := newWire(t, nil)
	c := e.dial(Dial{To: w.uri()})
	w.answer(w.wantRequest("INVITE"), 200, "x", strings.NewReplacer(" 101\r\n", "\r\n", "a=rtpmap:101 telephone-event/8000\r\n", "").Replace(sdpBody()))
	w.wantRequest("ACK")
	e.want(c, Answered)
	c.SendDTMF("5*", 100*time.Millisecond)
	for _, want := range []string{"Signal=5", "Signal=*"} {
		p := w.wantRequest("INFO")
		if !strings.HasPrefix(p.body(), want+"\r\nDuration=100") || p.header("Content-Type") != relayType {
			t.Errorf("%s", p.text)
		}
		w.answer(p, 200, "", "")
	}
	w.farewell(e)
}

func TestDigitForms(t *testing.T) {
	for in, want := range map[string]byte{"Signal=5\r\nDuration=160": '5', "signal = *\n": '*', "Duration=1\r\nSignal=#": '#', "Signal=10": '*',
		"Signal=11": '#', "Signal=12": 'A', "Signal=16": 0, "Signal=": 0, "Signal=55": 0, "": 0, "Signal=d": 'D'} {
		if got, _ := relay(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if _, d := relay("Signal=1\nDuration=" + strconv.Itoa(1<<30)); d != 0 {
		t.Error(d)
	}
}

// SRTP by policy: over TLS keys are agreed on and sound goes through; without TLS a box that requires it refuses.
func TestSRTP(t *testing.T) {
	certs := withTLS(t)
	with := func(p SRTPPolicy) []option {
		return []option{certs, everywhere("127.0.0.1"), func(c *Config) { c.SRTP = p }}
	}
	for _, tc := range []struct {
		name, network string
		from, to      SRTPPolicy
		code          int
		srtp          bool
	}{
		{"both allow", "tls", SRTPAllow, SRTPAllow, 200, true},
		{"required and allowed", "tls", SRTPRequire, SRTPAllow, 200, true},
		{"allowed and required", "tls", SRTPAllow, SRTPRequire, 200, true},
		{"allowed and disabled", "tls", SRTPAllow, SRTPDisable, 200, false},
		{"required and disabled", "tls", SRTPRequire, SRTPDisable, 488, false},
		{"disabled and required", "tls", SRTPDisable, SRTPRequire, 488, false},
		{"no keys in clear text", "tcp", SRTPAllow, SRTPAllow, 200, false},
		{"required without TLS", "udp", SRTPAllow, SRTPRequire, 488, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := newEnd(t, with(tc.from)...), newEnd(t, with(tc.to)...)
			out := a.dial(Dial{To: b.uri("1000", tc.network)})
			if tc.code != 200 {
				a.wantEnded(out, tc.code, Remote)
				return
			}
			in := b.next()
			a.want(out, Answered)
			b.want(in, Answered)
			if out.Info().SRTP != tc.srtp || in.Info().SRTP != tc.srtp {
				t.Errorf("SRTP %v and %v", out.Info().SRTP, in.Info().SRTP)
			}
			until(t, "sound", func() bool { return in.Leg().Stats().Received > 3 && out.Leg().Stats().Received > 3 })
			out.Hold(true)
			b.want(in, Held)
			out.Hold(false)
			b.want(in, Resumed)
			n := in.Leg().Stats().Received
			until(t, "sound after a re-INVITE", func() bool { return in.Leg().Stats().Received > n+3 })
			if s := in.Leg().Stats(); s.SRTPFailures > 0 {
				t.Errorf("%d packets not authentic", s.SRTPFailures)
			}
		})
	}
	a := newEnd(t, with(SRTPRequire)...)
	out := a.dial(Dial{To: a.uri("1", "udp")})
	a.wantEnded(out, 488, Local)
}

// A far end behind NAT: its Contact and its SDP name an address that nobody reaches. Requests and sound go to where its own
// come from, and its sound is taken.
func TestNAT(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, e)
	hidden := strings.NewReplacer("Contact: <sip:300@127.0.0.1", "Contact: <sip:300@10.255.255.1", "c=IN IP4 127.0.0.1", "c=IN IP4 10.255.255.1")
	body := hidden.Replace(sdpBody())
	w.send(hidden.Replace(w.request("INVITE", 1, body)))
	c := e.next()
	w.wantCode(200, "INVITE")
	w.send(w.request("ACK", 1, ""))
	e.want(c, Answered)
	rtp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer rtp.Close()
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: c.Leg().LocalPort()}
	for seq := byte(0); c.Leg().Stats().Received < 5; seq++ {
		packet := append([]byte{0x80, 0, 0, seq, 0, 0, seq, 0, 1, 2, 3, 4}, make([]byte, 160)...)
		if _, err := rtp.WriteToUDP(packet, to); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
		if seq > 250 {
			t.Fatalf("its sound is not taken: %+v", c.Leg().Stats())
		}
	}
	buf := make([]byte, 2000)
	rtp.SetReadDeadline(time.Now().Add(patience))
	if _, _, err := rtp.ReadFromUDP(buf); err != nil {
		t.Errorf("no sound comes back: %v", err)
	}
	c.Hangup("")
	w.answer(w.wantRequest("BYE"), 200, "", "")
}

// Foreign RTP is not taken where the SDP tells the truth, also from the same host.
func TestForeignRTP(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, e)
	c := w.setUp(e)
	rtp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer rtp.Close()
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: c.Leg().LocalPort()}
	for seq := byte(0); c.Leg().Stats().Foreign < 5; seq++ {
		rtp.WriteToUDP(append([]byte{0x80, 0, 0, seq, 0, 0, seq, 0, 1, 2, 3, 4}, make([]byte, 160)...), to)
		time.Sleep(2 * time.Millisecond)
		if seq > 250 {
			t.Fatalf("%+v", c.Leg().Stats())
		}
	}
	if s := c.Leg().Stats(); s.Received != 0 || s.Remote.Port() != 9000 {
		t.Errorf("%+v", s)
	}
	c.Hangup("")
	w.answer(w.wantRequest("BYE"), 200, "", "")
}

// A request within the dialog that comes before the 200 which completes it waits for that.
func TestOvertaken(t *testing.T) {
	e := newEnd(t)
	w := newWire(t, nil)
	c := e.dial(Dial{To: w.uri()})
	p := w.wantRequest("INVITE")
	w.to, w.id, w.tag = p.from, p.header("Call-ID"), tagOf(p.header("From"))
	w.answer(p, 180, "wire", "")
	e.want(c, Ringing)
	w.send(w.request("INFO", 1, "Signal=7", "Content-Type: "+relayType))
	time.Sleep(30 * time.Millisecond) // time to be served too early
	w.answer(p, 200, "wire", sdpBody())
	w.wantCode(200, "INFO")
	if ev := e.want(c, DTMF); ev.Digit != '7' {
		t.Errorf("%+v", ev)
	}
	w.send(w.request("BYE", 2, ""))
	w.wantCode(200, "BYE")
	e.wantEnded(c, 200, Remote)
}
