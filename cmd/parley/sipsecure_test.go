package main_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// identity is a phone's certificate, and the box's own as the one that the phone trusts.
func identity(t *testing.T, box *boxtest.Box) *phonetest.Identity {
	own := phonetest.NewAuthority(t).Issue(t, "phone")
	own.CA = filepath.Join(box.Data, "tls.pem")
	return own
}

func tlsURI(box *boxtest.Box, number string) string {
	return "sip:" + number + "@" + box.SIPTLS + ";transport=tls"
}

// over TLS, each policy for encrypted sound against phones that cannot, can and must: the call is refused or comes about,
// and what the wire carries is clear or not. In every call that comes about the tone arrives.
func TestEncryptedSound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy, phone string
		up, clear     bool
	}{
		{"disable", "", true, true},
		{"disable", "srtp-mand", false, false},
		{"allow", "", true, true},
		{"allow", "srtp", true, false},
		{"allow", "srtp-mand", true, false},
		{"require", "", false, false},
		{"require", "srtp-mand", true, false},
	} {
		t.Run(c.policy+" meets "+fmt.Sprintf("%q", c.phone), func(t *testing.T) {
			t.Parallel()
			box := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: joined(boxtest.Settings{"sip": boxtest.Settings{"srtp": c.policy}})})
			phone := phonetest.StartBaresip(t, phonetest.BaresipConfig{
				Name: "anna", Codecs: []string{phonetest.PCMU}, Says: tone(700), SRTP: c.phone, Identity: identity(t, box),
			})
			wire := phonetest.StartCapture(t, uint16(box.FirstRTP), uint16(box.LastRTP))
			phone.Dial(tlsURI(box, "1000"))
			if !c.up {
				if e := phone.Expect("CALL_CLOSED", 10*time.Second); e.Param != "488 Not Acceptable Here" {
					t.Errorf("the call ends with %q, want 488", e.Param)
				}
				return
			}
			phone.Expect("CALL_ESTABLISHED", 10*time.Second)
			heard := func() phonetest.Sound { return phone.Heard(0) }
			hears(t, "the place", 700, box.Speaker)
			hears(t, "the phone", 400, heard)
			phone.Hangup()
			phone.Expect("CALL_CLOSED", 10*time.Second)
			wire.Stop()
			for hz, packets := range map[float64][]phonetest.Packet{400: sentBy(box, wire, 0), 700: sentTo(box, wire)} {
				if len(packets) < 50 {
					t.Errorf("%.0f Hz: %d packets on the wire", hz, len(packets))
				}
				if clear := phonetest.G711(packets).Tone(hz).Median() > toneLevel-3 && phonetest.G711(packets).RMS() < toneLevel+3; clear != c.clear {
					t.Errorf("the wire carries %.0f Hz in clear: %v, want %v", hz, clear, c.clear)
				}
			}
		})
	}
}

// sentTo are the packets that come to the box's sound ports.
func sentTo(box *boxtest.Box, capture *phonetest.Capture) (list []phonetest.Packet) {
	for _, p := range capture.Packets() {
		if port := int(p.Dst.Port()); port >= box.FirstRTP && port <= box.LastRTP {
			if _, ok := p.RTP(); ok {
				list = append(list, p)
			}
		}
	}
	return list
}

// without TLS keys would travel in clear: they are neither taken nor given, and who insists is refused.
func TestNoKeysWithoutTLS(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Settings: joined(nil)})
	phone := phonetest.StartBaresip(t, phonetest.BaresipConfig{Name: "anna", Codecs: []string{phonetest.PCMU}, SRTP: "srtp-mand"})
	phone.Dial(box.URI("1000"))
	if e := phone.Expect("CALL_CLOSED", 10*time.Second); e.Param != "488 Not Acceptable Here" {
		t.Errorf("the call ends with %q, want 488", e.Param)
	}
}

// over IPv6, signalling and sound.
func TestIPv6(t *testing.T) {
	t.Parallel()
	at := net.JoinHostPort("::1", strconv.Itoa(phonetest.PortBlock(t)))
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: joined(boxtest.Settings{"listen": boxtest.Settings{
		"sip_udp": []string{at}, "sip_tcp": []string{at}, "sip_tls": []string{}, "rtp": "::1",
	}})})
	for i, transport := range []string{"udp", "tcp"} {
		phone := phonetest.StartBaresip(t, phonetest.BaresipConfig{Name: "anna", Host: "::1", Codecs: []string{phonetest.PCMU}, Says: tone(700 + 400*float64(i))})
		phone.Dial("sip:1000@" + at + ";transport=" + transport)
		phone.Expect("CALL_ESTABLISHED", 10*time.Second)
		hears(t, "the place", 700+400*float64(i), box.Speaker)
		hears(t, "the phone", 400, func() phonetest.Sound { return phone.Heard(0) })
		phone.Hangup()
		phone.Expect("CALL_CLOSED", 10*time.Second)
	}
}

// one conference for phones of both families, when the sound's sockets take both.
func TestBothFamiliesInOneConference(t *testing.T) {
	t.Parallel()
	port := strconv.Itoa(phonetest.PortBlock(t))
	at := net.JoinHostPort("::", port)
	boxtest.Start(t, boxtest.Config{Settings: boxtest.Settings{"listen": boxtest.Settings{
		"lan": true, "sip_udp": []string{at}, "sip_tcp": []string{}, "sip_tls": []string{}, "rtp": "::",
	}}})
	var phones []*phonetest.Baresip
	for i, host := range []string{"127.0.0.1", "::1"} {
		phone := phonetest.StartBaresip(t, phonetest.BaresipConfig{
			Name: "phone", Host: host, Codecs: []string{phonetest.PCMU}, Says: tone(700 + 400*float64(i)),
		})
		phone.Dial("sip:1000@" + net.JoinHostPort(host, port))
		phone.Expect("CALL_ESTABLISHED", 10*time.Second)
		phones = append(phones, phone)
	}
	hears(t, "the phone over IPv4", 1100, func() phonetest.Sound { return phones[0].Heard(0) })
	hears(t, "the phone over IPv6", 700, func() phonetest.Sound { return phones[1].Heard(0) })
}
