package main_test

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// toneCall is a call that runs while a test does something else, and hears the room's microphone, which says placeHz. What it is
// sent is judged packet by packet, so nobody's scheduling but the box's own shows in it.
type toneCall struct {
	t       *testing.T
	box     *boxtest.Box
	host    *phonetest.Namespace // of the box; nil: this machine
	tap     *phonetest.Tap
	raw     *phonetest.Raw
	answer  phonetest.RawAnswer
	skipped float64
	sent    atomic.Int64  // packets of what it says
	stop    chan struct{} // ends that
	said    chan struct{}
}

const (
	placeHz  = 400
	callerHz = 1000
)

// startToneCall calls a number from tap by SIP over UDP, with a password, and waits until it hears the tone. The caller says
// callerHz itself.
func startToneCall(t *testing.T, box *boxtest.Box, host *phonetest.Namespace, tap *phonetest.Tap, q phonetest.RawRequest, raw *phonetest.Raw) *toneCall {
	t.Helper()
	c := &toneCall{t: t, box: box, host: host, tap: tap, raw: raw, stop: make(chan struct{}), said: make(chan struct{})}
	q.Method = "INVITE"
	q.Body = fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\nm=audio %[2]d RTP/AVP 0\r\n", tap.Addr().Addr(), tap.Addr().Port())
	all := raw.Ask(q)
	if c.answer = all[len(all)-1]; c.answer.Code != 200 {
		t.Fatalf("the call is answered with\n%s", c.answer.Text)
	}
	c.skipped = c.metric("parley_mixer_skipped_ticks_total")
	phonetest.Eventually(t, 20*time.Second, "the tone is heard", func() bool { return len(tap.Packets()) > 20 })
	go c.say(tap.Packets()[0].Src)
	t.Cleanup(c.hush)
	return c
}

// say sends the caller's tone until hush. It keeps to its clock: a packet that is late makes the next ones no later.
func (c *toneCall) say(to netip.AddrPort) {
	defer close(c.said)
	began := time.Now()
	for i := 0; ; i++ {
		p := []byte{0x80, 0, byte(i >> 8), byte(i), 0, byte(i * 160 >> 16), byte(i * 160 >> 8), byte(i * 160), 9, 9, 9, 9}
		for range 20 { // a period of 1 kHz, −20 dBFS
			p = append(p, 0xFF, 0xBC, 0xB5, 0xBC, 0xFF, 0x3C, 0x35, 0x3C)
		}
		c.tap.Send(to, p)
		c.sent.Add(1)
		select {
		case <-c.stop:
			return
		case <-time.After(time.Until(began.Add(time.Duration(i+1) * 20 * time.Millisecond))):
		}
	}
}

// loudHz is what forged sounds like.
const loudHz = 2000

// forged is a packet that would be the caller's own in three packets' time, if its address were not looked at: 20 ms of a loud
// tone.
func (c *toneCall) forged() []byte {
	i := c.sent.Load() + 3
	p := []byte{0x80, 0, byte(i >> 8), byte(i), 0, byte(i * 160 >> 16), byte(i * 160 >> 8), byte(i * 160), 9, 9, 9, 9}
	for range 40 {
		p = append(p, 0xFF, 0x8A, 0xFF, 0x0A)
	}
	return p
}

func (c *toneCall) hush() {
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
	<-c.said
}

func (c *toneCall) metric(name string) float64 {
	c.t.Helper()
	return phonetest.Metric(phonetest.Fetch(c.t, c.host, "http://"+c.box.HTTP+"/metrics"), name)
}

// packets tells of every packet that is not the next one, or not as loud as it should be.
func (c *toneCall) packets() {
	c.t.Helper()
	var last uint32
	list := c.tap.Packets()
	for i, p := range list {
		r, ok := p.RTP()
		if !ok {
			c.t.Logf("packet %d of %d bytes is no RTP", i, len(p.Payload))
			continue
		}
		level := phonetest.G711([]phonetest.Packet{p}).RMS()
		if step := int32(r.Timestamp - last); i > 0 && (step != 160 || level < toneLevel-6) {
			c.t.Logf("packet %d of %d, SSRC %08x, sequence %d, after %v: %d samples on, %.1f dBFS",
				i, len(list), r.SSRC, r.SequenceNumber, p.At.Sub(list[0].At), step, level)
		}
		last = r.Timestamp
	}
}

// finish hangs up, and fails the test unless the tone was there all the time, and as loud as ever.
func (c *toneCall) finish() phonetest.Sound {
	c.t.Helper()
	skipped := c.metric("parley_mixer_skipped_ticks_total") - c.skipped
	c.hush()
	c.raw.Bye(c.answer)
	sound := phonetest.G711(c.tap.Packets())
	levels := sound.Tone(placeHz)
	if len(levels) < 20 {
		c.t.Fatalf("the call lasted for %d windows of 100 ms only", len(levels))
	}
	levels = levels[3:] // its begin
	bad := 0
	for i, level := range levels {
		if level < toneLevel-1.5 || level > toneLevel+1.5 {
			bad++
			c.t.Logf("the tone is at %.1f dBFS %.1f s after its begin", level, float64(i+3)/10)
		}
	}
	// Where the machine took the processor away for longer than the mixer makes up for, it says so.
	if allowed := skipped/10 + min(20, 5*skipped); float64(bad) > allowed {
		c.t.Errorf("the call was disturbed: %d of %d windows of 100 ms, while the mixer skipped %.0f ticks", bad, len(levels), skipped)
		c.packets()
	}
	return sound
}
