package main_test

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// joined are settings with which the place is in conference 1000 from the start.
func joined(more boxtest.Settings) boxtest.Settings {
	s := boxtest.Settings{"place": boxtest.Settings{"join_at_start": true}}
	for k, v := range more {
		s[k] = v
	}
	return s
}

// lately is the end of a recording that goes on.
func lately(s phonetest.Sound, d time.Duration) phonetest.Sound {
	return s.Between(max(0, s.Duration()-d), s.Duration())
}

// hears waits until a tone has been there for a second.
func hears(t *testing.T, who string, hz float64, sound func() phonetest.Sound) {
	t.Helper()
	phonetest.Eventually(t, 20*time.Second, who+" hears the tone", func() bool {
		last := lately(sound(), time.Second)
		level := last.Swaying(hz).Median()
		return last.Duration() >= time.Second && level > toneLevel-3 && level < toneLevel+3
	})
}

// hearsNot waits until a tone has been gone for a second.
func hearsNot(t *testing.T, who string, hz float64, sound func() phonetest.Sound) {
	t.Helper()
	phonetest.Eventually(t, 20*time.Second, who+" hears the tone no more", func() bool {
		last := lately(sound(), time.Second)
		return last.Duration() >= time.Second && last.Tone(hz).Max() < toneLevel-40
	})
}

func inState(state string, n int) func(map[string]any) bool {
	return func(snapshot map[string]any) bool {
		members, _ := snapshot["members"].([]any)
		found := 0
		for _, m := range members {
			if m.(map[string]any)["state"] == state {
				found++
			}
		}
		return found == n
	}
}

// a phone that holds is on hold in the roster and is not heard; the others hear each other as before; when it comes
// back it is heard again.
func TestHoldAndResume(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: joined(nil)})
	watch := box.Watch()
	record := filepath.Join(t.TempDir(), "other.wav")
	other := box.Call("1000", "-codec", "pcmu", "-tone", "1700", "-level", "-23", "-record", record)
	other.WaitLine("answered", 10*time.Second)
	phone := phonetest.StartBaresip(t, phonetest.BaresipConfig{Name: "anna", Codecs: []string{phonetest.PCMA}, Says: tone(700)})
	capture := phonetest.StartCapture(t, uint16(box.FirstRTP), uint16(box.LastRTP)) // it records no more after a hold
	sent := func() phonetest.Sound { return phonetest.G711(sentBy(box, capture, 8)) }
	phone.Dial(box.URI("1000"))
	phone.Expect("CALL_ESTABLISHED", 10*time.Second)
	third := func() phonetest.Sound { return phonetest.ReadWAV(t, record) }
	hears(t, "the place", 700, box.Speaker)
	hears(t, "the other caller", 700, third)
	hears(t, "the phone", 400, sent)

	watch.Forget()
	phone.Hold()
	watch.Wait("/conf/1000/state", "one member on hold", 10*time.Second, inState("on-hold", 1))
	hearsNot(t, "the place", 700, box.Speaker)
	hearsNot(t, "the other caller", 700, third)

	watch.Forget()
	phone.Resume()
	watch.Wait("/conf/1000/state", "nobody on hold", 10*time.Second, inState("on-hold", 0))
	hears(t, "the place", 700, box.Speaker)
	hears(t, "the other caller", 700, third)
	hears(t, "the phone", 400, sent)

	phone.Hangup()
	phone.Expect("CALL_CLOSED", 10*time.Second)
	box.StopCleanly()
	other.Wait(20 * time.Second)
	heard := third()
	// A late packet on a busy machine makes a dent; a hold that silenced others would make a hole.
	if levels := heard.Active(-50).Tone(400); levels.Median() < toneLevel-3 || levels.Quantile(0.1) < toneLevel-20 {
		t.Errorf("the other caller heard the place at %.1f dBFS, and at %.1f in a tenth of the time", levels.Median(), levels.Quantile(0.1))
	}
}

// sentBy are the packets of a payload type that the box has sent.
func sentBy(box *boxtest.Box, capture *phonetest.Capture, payload uint8) (list []phonetest.Packet) {
	for _, p := range capture.Packets() {
		if int(p.Src.Port()) < box.FirstRTP || int(p.Src.Port()) > box.LastRTP {
			continue
		}
		if r, ok := p.RTP(); ok && r.PayloadType == payload {
			list = append(list, p)
		}
	}
	return list
}

// what a phone that holds is sent, judged by its packets: nothing with sound while it holds, and the conference again
// afterwards.
func TestHoldOnTheWire(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: joined(nil)})
	watch := box.Watch()
	tap := phonetest.NewTap(t, "127.0.0.1")
	const pause = 3 * time.Second
	script := new(phonetest.Script).
		Request("INVITE", 1, "", phonetest.SDP(tap.Addr())).Maybe("100").Maybe("180").Expect("200").Within("ACK", 1, "", "").Pause(pause).
		Within("INVITE", 2, "", phonetest.SDP(tap.Addr(), "a=sendonly")).Maybe("100").Expect("200").Within("ACK", 2, "", "").Pause(pause).
		Within("INVITE", 3, "", phonetest.SDP(tap.Addr(), "a=sendrecv")).Maybe("100").Expect("200").Within("ACK", 3, "", "").Pause(pause).
		Within("BYE", 4, "", "").Expect("200")
	phone := phonetest.StartSIPP(t, phonetest.SIPPConfig{Scenario: script.String(), Remote: box.SIP, Service: "1000"})
	heard := func() phonetest.Sound { return phonetest.G711(tap.Packets()) }
	phonetest.Eventually(t, 20*time.Second, "the phone gets the conference", func() bool { return heard().Tone(400).Above(toneLevel-3) > 5 })
	watch.Wait("/conf/1000/state", "one member on hold", 20*time.Second, inState("on-hold", 1))
	phone.Succeed(30 * time.Second)
	levels := heard().Tone(400)
	// Whether the box sends silence or nothing, the gap is as long as the hold in the stream's own time.
	longest, now := 0, 0
	for _, l := range levels {
		if now++; l > toneLevel-40 {
			longest, now = max(longest, now), 0
		}
	}
	if longest < 20 {
		t.Errorf("the tone is gone for %d windows of 100 ms, want 20 or more while the phone holds", longest)
	}
	if after := levels[len(levels)*4/5:]; after.Median() < toneLevel-3 {
		t.Errorf("at the end, after the hold, the phone is sent the tone at %.1f dBFS", after.Median())
	}
	if !strings.Contains(phone.Messages(), "a=recvonly") {
		t.Error("the box does not answer a=sendonly with a=recvonly")
	}
}

// X-7b: sound goes to the address in the description and follows it by re-INVITE, and by nothing else.
func TestMovedAddress(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: joined(nil)})
	old, moved := phonetest.NewTap(t, "127.0.0.1"), phonetest.NewTap(t, "127.0.0.1")
	script := new(phonetest.Script).
		Request("INVITE", 1, "", phonetest.SDP(old.Addr())).Maybe("100").Maybe("180").Expect("200").Within("ACK", 1, "", "").Pause(5*time.Second).
		Within("INVITE", 2, "", phonetest.SDP(moved.Addr())).Maybe("100").Expect("200").Within("ACK", 2, "", "").Pause(4*time.Second).
		Within("BYE", 3, "", "").Expect("200")
	phone := phonetest.StartSIPP(t, phonetest.SIPPConfig{Scenario: script.String(), Remote: box.SIP, Service: "1000"})
	var media netip.AddrPort
	phonetest.Eventually(t, 20*time.Second, "sound arrives", func() bool {
		packets := old.Packets()
		if len(packets) > 20 {
			media = packets[0].Src
		}
		return len(packets) > 20
	})
	// From elsewhere, and with sound: it must be neither heard nor followed.
	for i := range 20 {
		moved.Send(media, foreignRTP(i))
	}
	phonetest.Eventually(t, 10*time.Second, "the box counts foreign packets", func() bool { return box.Metric("parley_rtp_foreign_total") >= 20 })
	if n := len(moved.Packets()); n != 0 && !strings.Contains(phone.Messages(), "CSeq: 2 INVITE") {
		t.Errorf("%d packets went to where foreign ones came from", n)
	}
	phonetest.Eventually(t, 20*time.Second, "sound follows the re-INVITE", func() bool {
		return phonetest.G711(moved.Packets()).Tone(400).Above(toneLevel-3) > 10
	})
	phone.Succeed(30 * time.Second)
	first, last := moved.Packets()[0].At, old.Packets()[len(old.Packets())-1].At
	if last.After(first.Add(100 * time.Millisecond)) {
		t.Errorf("the old address is sent to for %v after the new one", last.Sub(first))
	}
}

// foreignRTP is a packet of PCMU with a loud square wave, of nobody's stream.
func foreignRTP(seq int) []byte {
	p := append([]byte{0x80, 0, 0, byte(seq), 0, 0, byte(seq), 0, 9, 9, 9, 9}, make([]byte, 160)...)
	for i := range p[12:] {
		p[12+i] = byte(i / 8 % 2 * 0x80)
	}
	return p
}
