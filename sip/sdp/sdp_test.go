package sdp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	pion "github.com/pion/sdp/v3"
)

var (
	ourKey   = bytes.Repeat([]byte{1}, KeySize)
	theirKey = bytes.Repeat([]byte{2}, KeySize)
	inline   = base64.StdEncoding.EncodeToString(theirKey)
)

// local is a box with all four codecs at 192.0.2.9.
func local(change func(l *Local)) Local {
	l := Local{
		Origin: Origin{Username: "-", ID: 77, Version: 1, Addr: netip.MustParseAddr("192.0.2.9")},
		Addr:   netip.MustParseAddrPort("192.0.2.9:20000"),
		Codecs: []Codec{{Name: "opus", ClockRate: 48000, Channels: 2, Fmtp: "useinbandfec=1"}, {Name: "G722", ClockRate: 8000},
			{Name: "PCMU", ClockRate: 8000}, {Name: "PCMA", ClockRate: 8000}},
		Events: true, Ptime: 20, Mux: true, Key: ourKey,
	}
	if change != nil {
		change(&l)
	}
	return l
}

// lines makes a description of a session part and more lines.
func lines(more ...string) []byte {
	return []byte("v=0\r\no=bob 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n" + strings.Join(more, "\r\n") + "\r\n")
}

func parse(t *testing.T, b []byte) *Description {
	t.Helper()
	d, err := Parse(b)
	if err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	return d
}

// section is the text from the first place where from stands.
func section(d *Description, from string) string {
	s := string(d.Marshal())
	if i := strings.Index(s, from); i >= 0 {
		return s[i:]
	}
	return s
}

// summary is an Agreed in one line.
func (a *Agreed) summary() string {
	s := fmt.Sprintf("%s/%d pt%d %dms", a.Codec.Name, a.Codec.ClockRate, a.Codec.PayloadType, a.Ptime)
	if a.EventPT >= 0 {
		s += fmt.Sprintf(" event%d/%d", a.EventPT, a.EventClock)
	}
	s += fmt.Sprintf(" %s %s %s", Make(a.Send, a.Receive), a.Remote, a.RemoteRTCP)
	if a.Mux {
		s += " mux"
	}
	if a.Held {
		s += " held"
	}
	if a.SRTP != nil {
		s += " " + a.SRTP.Suite
	}
	if a.RemoteFmtp != "" {
		s += " (" + a.RemoteFmtp + ")"
	}
	return s
}

func TestAnswer(t *testing.T) {
	crypto := "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + inline
	crypto32 := "a=crypto:7 AES_CM_128_HMAC_SHA1_32 inline:" + inline + "|2^31"
	tests := []struct {
		name   string
		local  func(l *Local)
		offer  []string
		want   string // the agreement
		answer string // a part of the answer
		err    error
	}{
		{name: "static payload types without rtpmap; our order decides", offer: []string{"m=audio 4000 RTP/AVP 0 8 9"},
			want: "G722/8000 pt9 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001", answer: "m=audio 20000 RTP/AVP 9\r\na=rtpmap:9 G722/8000\r\na=ptime:20\r\na=sendrecv\r\n"},
		{name: "opus with its own event clock", offer: []string{"m=audio 4000 RTP/AVP 111 0 101 110", "a=rtpmap:111 opus/48000/2",
			"a=fmtp:111 maxaveragebitrate=20000", "a=rtpmap:101 telephone-event/8000", "a=rtpmap:110 telephone-event/48000", "a=ptime:30"},
			want:   "opus/48000 pt111 20ms event110/48000 sendrecv 198.51.100.1:4000 198.51.100.1:4001 (maxaveragebitrate=20000)",
			answer: "m=audio 20000 RTP/AVP 111 110\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\na=rtpmap:110 telephone-event/48000\r\na=fmtp:110 0-15\r\n"},
		{name: "opus beside events at 8000 Hz only", offer: []string{"m=audio 4000 RTP/AVP 96 101", "a=rtpmap:96 OPUS/48000/2", "a=rtpmap:101 Telephone-Event/8000"},
			want: "opus/48000 pt96 20ms event101/8000 sendrecv 198.51.100.1:4000 198.51.100.1:4001"},
		{name: "opus with one channel is none (RFC 7587)", offer: []string{"m=audio 4000 RTP/AVP 96 8", "a=rtpmap:96 opus/48000"},
			want: "PCMA/8000 pt8 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001"},
		{name: "nothing in common", offer: []string{"m=audio 4000 RTP/AVP 18 3", "a=rtpmap:18 G729/8000"}, err: ErrNoCommonCodec},
		{name: "no audio at all", offer: []string{"m=video 4000 RTP/AVP 31"}, err: ErrNoAudio},
		{name: "no stream at all", err: ErrNoAudio},
		{name: "refused audio", offer: []string{"m=audio 0 RTP/AVP 0"}, err: ErrNoAudio},
		{name: "ptime and maxptime", offer: []string{"m=audio 4000 RTP/AVP 0", "a=ptime:60", "a=maxptime:40"},
			want: "PCMU/8000 pt0 40ms sendrecv 198.51.100.1:4000 198.51.100.1:4001"},
		{name: "ptime of the session, a strange one", offer: []string{"a=ptime:25", "m=audio 4000 RTP/AVP 0"},
			want: "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001"},
		{name: "ptime out of reach", offer: []string{"m=audio 4000 RTP/AVP 0", "a=ptime:200"},
			want: "PCMU/8000 pt0 60ms sendrecv 198.51.100.1:4000 198.51.100.1:4001"},
		{name: "hold by sendonly", offer: []string{"m=audio 4000 RTP/AVP 0", "a=sendonly"},
			want: "PCMU/8000 pt0 20ms recvonly 198.51.100.1:4000 198.51.100.1:4001 held", answer: "a=recvonly\r\n"},
		{name: "hold by inactive, in the session part", offer: []string{"a=inactive", "m=audio 4000 RTP/AVP 0"},
			want: "PCMU/8000 pt0 20ms inactive 198.51.100.1:4000 198.51.100.1:4001 held", answer: "a=inactive\r\n"},
		{name: "the stream's direction counts more than the session's", offer: []string{"a=inactive", "m=audio 4000 RTP/AVP 0", "a=sendrecv"},
			want: "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001"},
		{name: "hold by 0.0.0.0", offer: []string{"m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0"},
			want: "PCMU/8000 pt0 20ms recvonly invalid AddrPort invalid AddrPort held", answer: "a=recvonly\r\n"},
		{name: "recvonly: they listen", offer: []string{"m=audio 4000 RTP/AVP 0", "a=recvonly"},
			want: "PCMU/8000 pt0 20ms sendonly 198.51.100.1:4000 198.51.100.1:4001", answer: "a=sendonly\r\n"},
		{name: "we hold and are held", local: func(l *Local) { l.Direction = SendOnly }, offer: []string{"m=audio 4000 RTP/AVP 0", "a=sendonly"},
			want: "PCMU/8000 pt0 20ms inactive 198.51.100.1:4000 198.51.100.1:4001 held"},
		{name: "mux", offer: []string{"m=audio 4000 RTP/AVP 0", "a=rtcp-mux", "a=rtcp:4444"},
			want: "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4000 mux", answer: "a=rtcp-mux\r\n"},
		{name: "mux not wanted here", local: func(l *Local) { l.Mux = false }, offer: []string{"m=audio 4000 RTP/AVP 0", "a=rtcp-mux"},
			want: "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001"},
		{name: "a=rtcp with a port", offer: []string{"m=audio 4000 RTP/AVP 0", "a=rtcp:4444"},
			want: "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4444"},
		{name: "a=rtcp with an address", offer: []string{"m=audio 4000 RTP/AVP 0", "a=rtcp:4444 IN IP4 198.51.100.7"},
			want: "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.7:4444"},
		{name: "our RTCP port elsewhere", local: func(l *Local) { l.RTCP = 30001 }, offer: []string{"m=audio 4000 RTP/AVP 0"},
			want: "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001", answer: "a=rtcp:30001\r\n"},
		{name: "c= of the stream", offer: []string{"m=audio 4000 RTP/AVP 0", "c=IN IP4 203.0.113.5"},
			want: "PCMU/8000 pt0 20ms sendrecv 203.0.113.5:4000 203.0.113.5:4001"},
		{name: "IPv6", local: func(l *Local) { l.Addr = netip.MustParseAddrPort("[2001:db8::9]:20000") },
			offer: []string{"m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::1"},
			want:  "PCMU/8000 pt0 20ms sendrecv [2001:db8::1]:4000 [2001:db8::1]:4001", answer: "c=IN IP6 2001:db8::9\r\n"},
		{name: "the address that fits the offer", local: func(l *Local) { l.Alt = netip.MustParseAddrPort("[2001:db8::9]:20000") },
			offer: []string{"m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::1"},
			want:  "PCMU/8000 pt0 20ms sendrecv [2001:db8::1]:4000 [2001:db8::1]:4001", answer: "c=IN IP6 2001:db8::9\r\n"},
		{name: "the other one that does not", local: func(l *Local) { l.Alt = netip.MustParseAddrPort("[2001:db8::9]:20000") },
			offer: []string{"m=audio 4000 RTP/AVP 0"},
			want:  "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001", answer: "c=IN IP4 192.0.2.9\r\n"},
		{name: "a name as address", offer: []string{"m=audio 4000 RTP/AVP 0", "c=IN IP4 media.example.com"},
			want: "PCMU/8000 pt0 20ms sendrecv invalid AddrPort invalid AddrPort"},
		{name: "several streams: the first usable one", offer: []string{"m=video 5000 RTP/AVP 31", "m=audio 0 RTP/AVP 0",
			"m=audio 4002 RTP/AVP 18", "m=audio 4004 RTP/AVP 8", "a=mid:x", "m=audio 4006 RTP/AVP 0", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"},
			want: "PCMA/8000 pt8 20ms sendrecv 198.51.100.1:4004 198.51.100.1:4005",
			answer: "m=video 0 RTP/AVP 31\r\nm=audio 0 RTP/AVP 0\r\nm=audio 0 RTP/AVP 18\r\nm=audio 20000 RTP/AVP 8\r\na=mid:x\r\na=rtpmap:8 PCMA/8000\r\n" +
				"a=ptime:20\r\na=sendrecv\r\nm=audio 0 RTP/AVP 0\r\nm=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"},
		{name: "DTLS only", offer: []string{"m=audio 4000 UDP/TLS/RTP/SAVPF 0"}, err: ErrNoAudio},
		{name: "AVPF", offer: []string{"m=audio 4000 RTP/AVPF 0"}, want: "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001", answer: "m=audio 20000 RTP/AVPF 0"},

		{name: "SRTP disabled, keys in RTP/AVP", offer: []string{"m=audio 4000 RTP/AVP 0", crypto},
			want: "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001", answer: "m=audio 20000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv"},
		{name: "SRTP disabled, RTP/SAVP", offer: []string{"m=audio 4000 RTP/SAVP 0", crypto}, err: ErrCryptoRefused},
		{name: "SRTP allowed, none offered", local: allow, offer: []string{"m=audio 4000 RTP/AVP 0"},
			want: "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001"},
		{name: "SRTP allowed, opportunistic", local: allow, offer: []string{"m=audio 4000 RTP/AVP 0", crypto},
			want:   "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001 AES_CM_128_HMAC_SHA1_80",
			answer: "m=audio 20000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AQEB"},
		{name: "SRTP allowed, RTP/SAVP, the offerer's first usable choice", local: allow,
			offer:  []string{"m=audio 4000 RTP/SAVP 0", "a=crypto:1 AEAD_AES_256_GCM inline:" + inline, "a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:short", crypto32, crypto},
			want:   "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001 AES_CM_128_HMAC_SHA1_32",
			answer: "a=crypto:7 AES_CM_128_HMAC_SHA1_32 inline:"},
		{name: "SRTP allowed, RTP/SAVP without usable keys", local: allow, offer: []string{"m=audio 4000 RTP/SAVP 0"}, err: ErrCryptoRefused},
		{name: "SRTP required, none", local: require, offer: []string{"m=audio 4000 RTP/AVP 0"}, err: ErrCryptoRequired},
		{name: "SRTP required, RTP/SAVP", local: require, offer: []string{"m=audio 4000 RTP/SAVP 0", crypto},
			want: "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001 AES_CM_128_HMAC_SHA1_80", answer: "m=audio 20000 RTP/SAVP 0"},
		{name: "keys with an MKI or parameters cannot be used", local: require, offer: []string{"m=audio 4000 RTP/SAVP 0", crypto + "|2^20|1:4",
			crypto + " UNENCRYPTED_SRTP"}, err: ErrCryptoRequired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, a, err := Answer(parse(t, lines(tt.offer...)), local(tt.local), nil)
			if tt.err != nil {
				if !errors.Is(err, tt.err) {
					t.Fatalf("%v, want %v", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := a.summary(); got != tt.want {
				t.Errorf("agreed %s\n  want %s", got, tt.want)
			}
			if a.SRTP != nil && (!bytes.Equal(a.SRTP.Local, ourKey) || !bytes.Equal(a.SRTP.Remote, theirKey)) {
				t.Error("wrong keys")
			}
			if text := string(d.Marshal()); !strings.Contains(text, tt.answer) {
				t.Errorf("answer\n%s\nwithout %q", text, tt.answer)
			}
			wellFormed(t, d)
		})
	}
}

func allow(l *Local)   { l.SRTP = Allow }
func require(l *Local) { l.SRTP = Require }

// wellFormed: another implementation reads what we write, and so do we.
func wellFormed(t *testing.T, d *Description) {
	t.Helper()
	text := d.Marshal()
	if err := new(pion.SessionDescription).Unmarshal(text); err != nil {
		t.Errorf("%v in\n%s", err, text)
	}
	back, err := Parse(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if again := back.Marshal(); !bytes.Equal(text, again) {
		t.Errorf("written\n%s\nread and written again\n%s", text, again)
	}
}

func TestOffer(t *testing.T) {
	d := Offer(local(func(l *Local) { l.SRTP = Allow }), nil)
	want := "v=0\r\no=- 77 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 20000 RTP/AVP 96 9 0 8 102 101\r\n" +
		"a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n" +
		"a=rtpmap:102 telephone-event/48000\r\na=fmtp:102 0-15\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n" +
		"a=ptime:20\r\na=maxptime:60\r\na=rtcp-mux\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\r\n" +
		"a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\r\na=sendrecv\r\n"
	if got := string(d.Marshal()); got != want {
		t.Errorf("offered\n%s\nwant\n%s", got, want)
	}
	wellFormed(t, d)
	if s := section(Offer(local(require), nil), "m="); !strings.HasPrefix(s, "m=audio 20000 RTP/SAVP ") || !strings.Contains(s, "a=crypto:") {
		t.Errorf("required SRTP is offered as\n%s", s)
	}
	if s := section(Offer(local(nil), nil), "m="); strings.Contains(s, "crypto") {
		t.Errorf("disabled SRTP is offered as\n%s", s)
	}
}

func TestAccept(t *testing.T) {
	crypto := func(tag int, suite string) string { return fmt.Sprintf("a=crypto:%d %s inline:%s", tag, suite, inline) }
	tests := []struct {
		name   string
		local  func(l *Local)
		answer []string
		want   string
		err    error
	}{
		{name: "plain", answer: []string{"m=audio 4000 RTP/AVP 8 101", "a=rtpmap:101 telephone-event/8000"},
			want: "PCMA/8000 pt8 20ms event101/8000 sendrecv 198.51.100.1:4000 198.51.100.1:4001"},
		{name: "several: the answerer's first", answer: []string{"m=audio 4000 RTP/AVP 0 96", "a=rtpmap:96 opus/48000/2"},
			want: "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001"},
		{name: "mux", answer: []string{"m=audio 4000 RTP/AVP 0", "a=rtcp-mux"},
			want: "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4000 mux"},
		{name: "they hold at once", answer: []string{"m=audio 4000 RTP/AVP 0", "a=sendonly"},
			want: "PCMU/8000 pt0 20ms recvonly 198.51.100.1:4000 198.51.100.1:4001 held"},
		{name: "our hold", local: func(l *Local) { l.Direction = SendOnly }, answer: []string{"m=audio 4000 RTP/AVP 0", "a=recvonly"},
			want: "PCMU/8000 pt0 20ms sendonly 198.51.100.1:4000 198.51.100.1:4001"},
		{name: "refused", answer: []string{"m=audio 0 RTP/AVP 0"}, err: ErrNoAudio},
		{name: "a codec that we did not offer", answer: []string{"m=audio 4000 RTP/AVP 18", "a=rtpmap:18 G729/8000"}, err: ErrNoCommonCodec},
		{name: "events only", answer: []string{"m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"}, err: ErrNoCommonCodec},
		{name: "more streams than offered", answer: []string{"m=audio 4000 RTP/AVP 0", "m=video 0 RTP/AVP 31"}, err: ErrMismatch},
		{name: "video for audio", answer: []string{"m=video 4000 RTP/AVP 0"}, err: ErrMismatch},
		{name: "SRTP taken up", local: allow, answer: []string{"m=audio 4000 RTP/AVP 0", crypto(2, SuiteSHA1_32)},
			want: "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001 AES_CM_128_HMAC_SHA1_32"},
		{name: "SRTP not taken up", local: allow, answer: []string{"m=audio 4000 RTP/AVP 0"},
			want: "PCMU/8000 pt0 20ms sendrecv 198.51.100.1:4000 198.51.100.1:4001"},
		{name: "SRTP with a tag of nothing", local: allow, answer: []string{"m=audio 4000 RTP/AVP 0", crypto(9, SuiteSHA1_80)}, err: ErrMismatch},
		{name: "SRTP with another suite under the tag", local: allow, answer: []string{"m=audio 4000 RTP/AVP 0", crypto(1, SuiteSHA1_32)}, err: ErrMismatch},
		{name: "SRTP required and not given", local: require, answer: []string{"m=audio 4000 RTP/SAVP 0"}, err: ErrCryptoRequired},
		{name: "keys that nobody asked for", answer: []string{"m=audio 4000 RTP/AVP 0", crypto(1, SuiteSHA1_80)}, err: ErrMismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := local(tt.local)
			a, err := Accept(Offer(l, nil), parse(t, lines(tt.answer...)), l)
			if !errors.Is(err, tt.err) {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			if err == nil && a.summary() != tt.want {
				t.Errorf("agreed %s\n  want %s", a.summary(), tt.want)
			}
		})
	}
}

// We and ourselves: whatever is offered and answered, both sides agree on the same.
func TestBothSidesAgree(t *testing.T) {
	for _, policy := range [][2]Policy{{Disable, Disable}, {Disable, Allow}, {Allow, Disable}, {Allow, Allow}, {Allow, Require}, {Require, Allow}, {Require, Require}} {
		for _, dir := range []Direction{SendRecv, SendOnly, RecvOnly, Inactive} {
			for n := range 4 {
				ours := local(func(l *Local) { l.SRTP, l.Direction = policy[0], dir })
				theirs := local(func(l *Local) {
					l.SRTP, l.Key, l.Addr = policy[1], theirKey, netip.MustParseAddrPort("[2001:db8::2]:30000")
					l.Codecs = l.Codecs[n:]
				})
				offer := Offer(ours, nil)
				answer, b, err := Answer(parse(t, offer.Marshal()), theirs, nil)
				if err != nil {
					t.Fatalf("policies %v: %v", policy, err)
				}
				a, err := Accept(offer, parse(t, answer.Marshal()), ours)
				if err != nil {
					t.Fatalf("policies %v: %v", policy, err)
				}
				if a.Codec.Name != b.Codec.Name || a.Codec.PayloadType != b.Codec.PayloadType || a.EventPT != b.EventPT || a.EventClock != b.EventClock ||
					a.Send != b.Receive || a.Receive != b.Send || a.Mux != b.Mux || a.Remote != theirs.Addr || b.Remote != ours.Addr {
					t.Errorf("%s\n%s", a.summary(), b.summary())
				}
				secure := policy[0] != Disable && policy[1] != Disable
				if (a.SRTP != nil) != secure || (b.SRTP != nil) != secure {
					t.Errorf("policies %v: SRTP %v %v", policy, a.SRTP, b.SRTP)
				}
				if secure && (a.SRTP.Suite != b.SRTP.Suite || !bytes.Equal(a.SRTP.Local, b.SRTP.Remote) || !bytes.Equal(b.SRTP.Local, a.SRTP.Remote)) {
					t.Error("the keys differ")
				}
			}
		}
	}
}

// Re-offers: places, payload types and the version of o= (RFC 3264, 8).
func TestReoffer(t *testing.T) {
	l := local(nil)
	offer := parse(t, lines("m=video 5000 RTP/AVP 31", "m=audio 4000 RTP/AVP 111 96", "a=mid:a", "a=rtpmap:111 opus/48000/2", "a=rtpmap:96 telephone-event/48000"))
	first, _, err := Answer(offer, l, nil)
	if err != nil {
		t.Fatal(err)
	}
	same, _, err := Answer(offer, l, first)
	if err != nil || same.Origin.Version != 1 {
		t.Errorf("the same answer again has version %d, %v", same.Origin.Version, err)
	}
	re := Offer(l, same)
	wellFormed(t, re)
	if re.Origin.Version != 2 || re.Origin.ID != 77 || len(re.Media) != 2 || re.Media[0].Port != 0 || re.Media[0].Type != "video" || re.Media[1].MID != "a" {
		t.Errorf("re-offered\n%s", re.Marshal())
	}
	if f := re.Media[1].Formats; !slices.Equal(f, []string{"111", "9", "0", "8", "96", "101"}) {
		t.Errorf("payload types %v: opus and its events keep theirs", f)
	}
	if again := Offer(l, re); again.Origin.Version != 2 || !reflect.DeepEqual(again.Marshal(), re.Marshal()) {
		t.Errorf("the same offer again (a session refresh) is\n%s", again.Marshal())
	}
	l.Direction = SendOnly
	held := Offer(l, re)
	if held.Origin.Version != 3 || !strings.Contains(string(held.Marshal()), "a=sendonly") {
		t.Errorf("hold\n%s", held.Marshal())
	}
	l.SRTP, l.Direction = Require, SendRecv
	avp := parse(t, lines("m=audio 4000 RTP/AVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"+inline))
	d, _, err := Answer(avp, l, nil)
	if err != nil || Offer(l, d).Media[0].Proto != "RTP/AVP" {
		t.Errorf("the profile that was agreed on is put in question: %v", err)
	}
}

func TestPayloadTypesDoNotCollide(t *testing.T) {
	l := local(func(l *Local) {
		l.Codecs = []Codec{{Name: "opus", ClockRate: 48000, Channels: 2, PayloadType: 101}, {Name: "x", ClockRate: 16000, PayloadType: 101}, {Name: "PCMU", ClockRate: 8000, PayloadType: 99}}
	})
	d := Offer(l, nil)
	seen := map[uint8]string{}
	for _, c := range d.Media[0].Codecs {
		if was, twice := seen[c.PayloadType]; twice {
			t.Errorf("%s and %s have both %d", was, c.Name, c.PayloadType)
		}
		seen[c.PayloadType] = c.Name
	}
	if seen[0] != "PCMU" || seen[101] != "opus" {
		t.Errorf("%v", seen)
	}
}
