package phonetest

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestCaptureSeesItsPortsOnly(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			a, b, foreign := NewTap(t, host), NewTap(t, host), NewTap(t, host)
			c := StartCapture(t, b.Addr().Port(), b.Addr().Port()+3)
			before := time.Now()
			for i := range 20 {
				a.Send(b.Addr(), fmt.Appendf(nil, "to %d", i))
				a.Send(foreign.Addr(), []byte("not ours"))
				b.Send(a.Addr(), fmt.Appendf(nil, "from %d", i))
			}
			Eventually(t, 5*time.Second, "all have arrived", func() bool { return len(a.Packets()) == 20 && len(b.Packets()) == 20 })
			c.Stop()
			if got := len(c.Packets()); got != 40 {
				t.Fatalf("%d packets captured, want 40", got)
			}
			to, from := c.To(b.Addr().Port()), c.From(b.Addr().Port())
			if len(to) != 20 || len(from) != 20 {
				t.Fatalf("%d to and %d from the port", len(to), len(from))
			}
			for i, p := range to {
				if !bytes.Equal(p.Payload, fmt.Appendf(nil, "to %d", i)) || p.Src != a.Addr() || p.Dst != b.Addr() {
					t.Errorf("packet %d: %s from %v to %v", i, p.Payload, p.Src, p.Dst)
				}
				if p.At.Before(before.Add(-time.Millisecond)) || p.At.After(time.Now()) {
					t.Errorf("packet %d came at %v, sent after %v", i, p.At, before)
				}
			}
			// Both stamps of one packet are the kernel's, taken microseconds apart.
			if d := b.Packets()[7].At.Sub(to[7].At).Abs(); d > 20*time.Millisecond {
				t.Errorf("the tap's and the capture's stamps differ by %v", d)
			}
		})
	}
}

// What one telephone says in G.711 is on the wire as it is in the other's recording; and after hold and resume too.
func TestCaptureOfACall(t *testing.T) {
	t.Parallel()
	for codec, pt := range map[string]uint8{PCMU: 0, PCMA: 8} {
		a := StartBaresip(t, BaresipConfig{Name: "a", Codecs: []string{codec}, Says: Tone(48000, 700, -10, time.Second)})
		b := StartBaresip(t, BaresipConfig{Name: "b", Codecs: []string{codec}})
		c := StartCapture(t, uint16(b.port), uint16(b.port+blockSize-1))
		a.Dial(b.URI())
		a.Expect("CALL_ESTABLISHED", 10*time.Second)
		b.Expect("CALL_ESTABLISHED", 10*time.Second)
		media := func() []Packet {
			return c.where(func(p Packet) bool {
				r, ok := p.RTP()
				return ok && r.PayloadType == pt && int(p.Src.Port()) >= a.port && int(p.Src.Port()) < a.port+blockSize
			})
		}
		a.Hold()
		b.Expect("CALL_REMOTE_SDP", 5*time.Second)
		a.Resume()
		b.Expect("CALL_REMOTE_SDP", 5*time.Second)
		resumed := time.Now()
		var after []Packet
		Eventually(t, 10*time.Second, "a second of sound after the resume", func() bool {
			after = nil
			for _, p := range media() {
				if p.At.After(resumed) {
					after = append(after, p)
				}
			}
			return len(after) >= 50
		})
		a.Hangup()
		if got := G711(after).Tone(700).Median(); math.Abs(got+10) > 1.5 {
			t.Errorf("%s: the tone on the wire has %.1f dBFS", codec, got)
		}
	}
}

func TestG711Expansion(t *testing.T) {
	for _, c := range []struct {
		got, want int16
	}{{ulaw(0xff), 0}, {ulaw(0x7f), 0}, {ulaw(0x00), -32124}, {ulaw(0x80), 32124}, {alaw(0xd5), 8}, {alaw(0x55), -8}, {alaw(0x2a), -32256}, {alaw(0xaa), 32256}} {
		if c.got != c.want {
			t.Errorf("%d, want %d", c.got, c.want)
		}
	}
}

func FuzzParseUDP(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, 0, 1, 0, 2, 0, 8, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if p, ok := parseUDP(raw); ok {
			p.RTP()
			G711([]Packet{p})
		}
	})
}

func TestPortBlocksDoNotMeet(t *testing.T) {
	seen := map[int]bool{}
	for range 20 {
		first := PortBlock(t)
		if first%2 != 0 || seen[first] {
			t.Fatalf("block %d is odd or given twice", first)
		}
		seen[first] = true
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(first))))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}
