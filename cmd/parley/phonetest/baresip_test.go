package phonetest

import (
	"math"
	"testing"
	"time"
)

// talk lets two telephones speak to each other for a while and hang up.
func talk(t *testing.T, from, to *Baresip, uri string, d time.Duration) {
	t.Helper()
	from.Dial(uri)
	from.Expect("CALL_ESTABLISHED", 10*time.Second)
	to.Expect("CALL_ESTABLISHED", 10*time.Second)
	Eventually(t, d+10*time.Second, "both have recorded enough", func() bool {
		return from.Heard(0).Duration() >= d && to.Heard(0).Duration() >= d
	})
	from.Hangup()
	from.Expect("CALL_CLOSED", 5*time.Second)
	to.Expect("CALL_CLOSED", 5*time.Second)
}

func TestBaresipTonesPass(t *testing.T) {
	t.Parallel()
	authority := NewAuthority(t)
	for _, c := range []struct {
		name, codec, srtp string
		tls               bool
	}{
		{name: "opus over TLS with SRTP", codec: Opus, srtp: "srtp-mand", tls: true},
		{name: "G722", codec: G722},
		{name: "PCMU", codec: PCMU},
		{name: "PCMA with SRTP", codec: PCMA, srtp: "srtp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			low, high := 440.0, 1000.0
			cfg := BaresipConfig{Codecs: []string{c.codec}, SRTP: c.srtp, Identity: authority.Issue(t, "phone")}
			cfg.Name, cfg.Says = "low", Tone(48000, low, -12, time.Second)
			a := StartBaresip(t, cfg)
			cfg.Name, cfg.Says = "high", Tone(48000, high, -12, time.Second)
			b := StartBaresip(t, cfg)
			uri := b.URI()
			if c.tls {
				uri = "sip:high@" + b.AddrTLS() + ";transport=tls"
			}
			talk(t, a, b, uri, 2*time.Second)
			if c.srtp != "" {
				a.WaitLine("SRTP is Enabled", time.Second)
			}
			for _, ear := range []struct {
				phone       *Baresip
				other, self float64
			}{{a, high, low}, {b, low, high}} {
				heard := ear.phone.Heard(0)
				if got := heard.Tone(ear.other).Median(); math.Abs(got-(-12)) > 1.5 {
					t.Errorf("%s hears the other's %.0f Hz at %.1f dBFS, and it was sent at -12", ear.phone.cfg.Name, ear.other, got)
				}
				if got := heard.Tone(ear.self).Median(); got > -55 {
					t.Errorf("%s hears its own %.0f Hz at %.1f dBFS", ear.phone.cfg.Name, ear.self, got)
				}
			}
		})
	}
}

func TestBaresipSpeechPasses(t *testing.T) {
	t.Parallel()
	said := Speech(t, "The meeting starts at nine. Please mute your microphones, and raise your hand if you want to speak.", 48000)
	a := StartBaresip(t, BaresipConfig{Name: "a", Codecs: []string{G722}, Says: said})
	b := StartBaresip(t, BaresipConfig{Name: "b", Codecs: []string{G722}})
	talk(t, a, b, b.URI(), said.Duration()+time.Second)
	r, delay := Envelope(said, b.Heard(0), 2*time.Second)
	if r < 0.95 {
		t.Errorf("the envelopes of what was said and heard correlate by %.3f at %v", r, delay)
	}
	if got := a.Heard(0).Loudest(); got > -70 {
		t.Errorf("the silent side is heard at %.1f dBFS", got)
	}
}

func TestBaresipKeysHoldAndRefusal(t *testing.T) {
	t.Parallel()
	a := StartBaresip(t, BaresipConfig{Name: "a", Codecs: []string{PCMU}})
	b := StartBaresip(t, BaresipConfig{Name: "b", Codecs: []string{PCMU}, Answer: "manual"})

	a.Dial(b.URI())
	b.Expect("CALL_INCOMING", 5*time.Second)
	b.Hangup()
	if e := a.Expect("CALL_CLOSED", 5*time.Second); e.Param == "" {
		t.Errorf("a refused call has no reason: %+v", e)
	}

	// Now and then a baresip starts a call without starting its microphone, and then sends no digits either: it dials again.
	sounds := func() bool {
		a.Dial(b.URI())
		b.Expect("CALL_INCOMING", 5*time.Second)
		a.Expect("CALL_RINGING", 5*time.Second)
		b.Answer()
		return a.Soon("CALL_RTPESTAB", 5*time.Second) && b.Soon("CALL_RTPESTAB", 5*time.Second)
	}
	for tries := 1; !sounds(); tries++ {
		if tries == 3 {
			t.Fatal("three calls, and none with sound both ways")
		}
		a.Hangup()
		b.Expect("CALL_CLOSED", 5*time.Second)
	}
	for _, digit := range "59#" {
		a.Digits(string(digit))
		if e := b.Expect("CALL_DTMF_START", 5*time.Second); e.Param != string(digit) {
			t.Errorf("%q was sent and %q came", digit, e.Param)
		}
		b.Expect("CALL_DTMF_END", 5*time.Second)
	}
	a.Hold()
	b.Expect("CALL_REMOTE_SDP", 5*time.Second)
	a.Resume()
	b.Expect("CALL_REMOTE_SDP", 5*time.Second)
	b.Hangup()
	a.Expect("CALL_CLOSED", 5*time.Second)
}
