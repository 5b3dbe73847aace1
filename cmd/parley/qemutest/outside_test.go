package qemutest

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"parley/cmd/parley/phonetest"
)

// What follows runs in this machine's time: the guest talks to programs here. How sound comes through is judged by content, and generously:
// an emulated processor beside others is late now and then.

// reserve takes ports of this machine for a guest, and says how they are forwarded: SIP, then RTP from the fifth on.
func reserve(t *testing.T) (first int, forward []string) {
	first = phonetest.PortBlock(t)
	forward = []string{fmt.Sprintf("udp:%d", first)}
	for port := first + 4; port < first+12; port++ {
		forward = append(forward, fmt.Sprintf("udp:%d", port))
	}
	return first, forward
}

// the join key calls a telephone outside.
func TestJoinKey(t *testing.T) {
	for _, a := range Archs() {
		t.Run(a.Name, func(t *testing.T) {
			folder(t, "PARLEY_QEMU_KERNELS")
			phone := phonetest.StartBaresip(t, phonetest.BaresipConfig{
				Codecs: []string{phonetest.PCMU}, Says: phonetest.Tone(48000, 1000, -15, time.Second),
			})
			_, port := splitPort(t, phone.Addr())
			first, forward := reserve(t)
			g := Boot(t, Config{
				Arch: a, Scenario: "join", RealTime: true, Forward: forward,
				Words: []string{strconv.Itoa(first), strconv.Itoa(port)},
			})
			phone.Expect("CALL_ESTABLISHED", 2*time.Minute)
			g.Wait(3 * time.Minute)
			phone.Expect("CALL_CLOSED", 10*time.Second)
			if n := phone.Heard(0).Tone(440).Above(-30); n < 20 {
				t.Errorf("the telephone has heard the room for %d tenths of a second", n)
			}
		})
	}
}

func splitPort(t *testing.T, addr string) (host string, port int) {
	t.Helper()
	h, p, err := net.SplitHostPort(addr)
	if err == nil {
		port, err = strconv.Atoi(p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h, port
}
