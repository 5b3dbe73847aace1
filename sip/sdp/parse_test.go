package sdp

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// What real phones send (their addresses changed).
func TestRealOffers(t *testing.T) {
	for file, want := range map[string]string{
		"baresip.sdp": "opus/48000 pt96 20ms event101/8000 sendrecv 192.0.2.77:27052 192.0.2.77:27053 AES_CM_128_HMAC_SHA1_80 (stereo=1;sprop-stereo=1)",
		"sipp.sdp":    "PCMU/8000 pt0 20ms sendrecv 192.0.2.77:6000 192.0.2.77:6001",
	} {
		b, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		_, a, err := Answer(parse(t, b), local(allow), nil)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if a.summary() != want {
			t.Errorf("%s: agreed %s\n  want %s", file, a.summary(), want)
		}
	}
}

func TestMalformed(t *testing.T) {
	head := "v=0\r\no=bob 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n"
	audio := head + "m=audio 4000 RTP/AVP 0\r\n"
	for name, text := range map[string]string{
		"empty":                 "",
		"no v=":                 "o=bob 1 1 IN IP4 198.51.100.1\r\n",
		"version 1":             strings.Replace(head, "v=0", "v=1", 1),
		"two v=":                head + "v=0\r\n",
		"two o=":                head + "o=bob 1 1 IN IP4 198.51.100.1\r\n",
		"no o=":                 "v=0\r\ns=-\r\n",
		"o= with five parts":    strings.Replace(head, "bob 1 1", "bob 1", 1),
		"o= with words":         strings.Replace(head, "bob 1 1", "bob one 1", 1),
		"not a line":            head + "hello\r\n",
		"an empty line inside":  head + "\r\nm=audio 4000 RTP/AVP 0\r\n",
		"a NUL":                 head + "a=x\x00y\r\n",
		"a lone CR":             head + "a=x\ry\r\n",
		"port 70000":            head + "m=audio 70000 RTP/AVP 0\r\n",
		"port -1":               head + "m=audio -1 RTP/AVP 0\r\n",
		"m= without formats":    head + "m=audio 4000 RTP/AVP\r\n",
		"payload type 128":      head + "m=audio 4000 RTP/AVP 128\r\n",
		"payload type x":        head + "m=audio 4000 RTP/AVP x\r\n",
		"rtpmap without clock":  audio + "a=rtpmap:0 PCMU\r\n",
		"rtpmap of clock 0":     audio + "a=rtpmap:0 PCMU/0\r\n",
		"rtpmap 4 parts":        audio + "a=rtpmap:0 PCMU/8000/1/1\r\n",
		"rtpmap without name":   audio + "a=rtpmap:0 /8000\r\n",
		"c= with two parts":     head + "m=audio 4000 RTP/AVP 0\r\nc=IN IP4\r\n",
		"c= of 300.1.1.1":       audio + "c=IN IP4 300.1.1.1\r\n",
		"c= of the wrong kind":  audio + "c=IN IP4 2001:db8::1\r\n",
		"c= with a zone":        audio + "c=IN IP6 fe80::1%eth0\r\n",
		"c= of another network": audio + "c=ATM NSAP 1\r\n",
		"a=rtcp:x":              audio + "a=rtcp:x\r\n",
		"too long":              audio + strings.Repeat("a=x\r\n", MaxSize/5),
		"a line too long":       audio + "a=" + strings.Repeat("x", MaxLine) + "\r\n",
		"too many lines":        audio + strings.Repeat("a=\r\n", MaxLines),
		"too many streams":      head + strings.Repeat("m=audio 4000 RTP/AVP 0\r\n", MaxMedia+1),
		"too many formats":      head + "m=audio 4000 RTP/AVP" + strings.Repeat(" 0", MaxFormats+1) + "\r\n",
	} {
		if d, err := Parse([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %+v", name, err, d)
		}
	}
	for name, text := range map[string]string{
		"LF alone":          strings.ReplaceAll(audio, "\r\n", "\n"),
		"no end of line":    strings.TrimSuffix(audio, "\r\n"),
		"empty lines after": audio + "\r\n\r\n",
		"unknown lines":     head + "z=0 0\r\nb=AS:64\r\nk=clear:x\r\nm=audio 4000 RTP/AVP 0\r\ni=title\r\nb=AS:64\r\n",
		"huge o= numbers":   strings.Replace(audio, "bob 1 1", "bob 99999999999999999999 99999999999999999999", 1),
		"two t=":            head + "t=1 1\r\n",
		"many keys":         audio + strings.Repeat("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"+inline+"\r\n", MaxCrypto+10),
	} {
		if d, err := Parse([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if len(d.Media) > 0 && len(d.Media[0].Crypto) > MaxCrypto {
			t.Errorf("%s: %d keys are kept", name, len(d.Media[0].Crypto))
		}
	}
}

// FuzzParse: what is taken stays within the limits, can be answered or refused with one of our errors, and the answer is well
// formed and has a line for each of the offer's.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"baresip.sdp", "sipp.sdp"} {
		if b, err := os.ReadFile("testdata/" + file); err == nil {
			f.Add(b)
		}
	}
	f.Add(lines("m=audio 4000 RTP/SAVP 0 8 101", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"+inline, "a=rtcp:5 IN IP6 ::1", "a=sendonly", "m=video 1 x y"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		if len(d.Media) > MaxMedia {
			t.Fatalf("%d streams", len(d.Media))
		}
		l := local(allow)
		answer, a, err := Answer(d, l, nil)
		if err == nil {
			if len(answer.Media) != len(d.Media) || a.Ptime < 10 || a.Ptime > 60 || a.Index >= len(d.Media) {
				t.Fatalf("%+v", a)
			}
			if _, err := Parse(answer.Marshal()); err != nil {
				t.Fatalf("our answer: %v in\n%s", err, answer.Marshal())
			}
			Offer(l, answer)
		}
		_, _ = Accept(Offer(l, nil), d, l)
	})
}
