package phonetest

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// maxPackets bounds what a Capture or a Tap keeps.
const maxPackets = 1 << 18

// Capture sees every UDP datagram on the loopback interface from or to one range of ports.
type Capture struct {
	fd   int
	done chan struct{}

	mu      sync.Mutex
	stopped time.Time // zero: not yet
	packets []Packet
	dropped int
}

// StartCapture captures from now until Stop or the end of the test. It needs CAP_NET_RAW; without it the test is skipped, with
// that reason.
func StartCapture(t testing.TB, firstPort, lastPort uint16) *Capture {
	t.Helper()
	// Protocol 0 receives nothing until bound, so that nothing unfiltered gets in first.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EPERM) {
		t.Skip("capturing packets needs root (CAP_NET_RAW)")
	}
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("capture: %s: %v", what, err)
		}
	}
	check("socket", err)
	lo, err := loopback()
	check("loopback interface", err)
	filter := portFilter(firstPort, lastPort)
	check("filter", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}))
	check("time stamps", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
	check("buffer", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20))
	check("timeout", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20_000}))
	check("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swap16(unix.ETH_P_ALL), Ifindex: lo}))
	c := &Capture{fd: fd, done: make(chan struct{})}
	go c.run()
	t.Cleanup(c.Stop)
	return c
}

func swap16(v uint16) uint16 { return v<<8 | v>>8 }

func loopback() (int, error) {
	all, err := net.Interfaces()
	if err != nil {
		return 0, err
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 {
			return i.Index, nil
		}
	}
	return 0, errors.New("there is none")
}

// portFilter is classic BPF on packets that start with the IP header: UDP over IPv4 or IPv6, whose source or destination port is in
// the range. Fragments and IPv6 extension headers do not occur on loopback.
func portFilter(first, last uint16) []unix.SockFilter {
	const (
		ldb, ldh     = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		ldhx, msh    = unix.BPF_LD | unix.BPF_H | unix.BPF_IND, unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH
		and, jeq     = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		jge, jgt     = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
		ret          = unix.BPF_RET | unix.BPF_K
		accept, drop = 20, 21
	)
	return []unix.SockFilter{
		/* 0 */ {Code: ldb, K: 0},
		/* 1 */ {Code: and, K: 0xf0},
		/* 2 */ {Code: jeq, K: 0x60, Jt: 9, Jf: 0}, // IPv6: to 12
		/* 3 */ {Code: jeq, K: 0x40, Jt: 0, Jf: drop - 4},
		/* 4 */ {Code: ldb, K: 9},
		/* 5 */ {Code: jeq, K: unix.IPPROTO_UDP, Jt: 0, Jf: drop - 6},
		/* 6 */ {Code: msh, K: 0}, // X: the length of the IPv4 header
		/* 7 */ {Code: ldhx, K: 0},
		/* 8 */ {Code: jge, K: uint32(first), Jt: 0, Jf: 1},
		/* 9 */ {Code: jgt, K: uint32(last), Jt: 0, Jf: accept - 10},
		/* 10 */ {Code: ldhx, K: 2},
		/* 11 */ {Code: unix.BPF_JMP | unix.BPF_JA, K: 18 - 12},
		/* 12 */ {Code: ldb, K: 6},
		/* 13 */ {Code: jeq, K: unix.IPPROTO_UDP, Jt: 0, Jf: drop - 14},
		/* 14 */ {Code: ldh, K: 40},
		/* 15 */ {Code: jge, K: uint32(first), Jt: 0, Jf: 1},
		/* 16 */ {Code: jgt, K: uint32(last), Jt: 0, Jf: accept - 17},
		/* 17 */ {Code: ldh, K: 42},
		/* 18 */ {Code: jge, K: uint32(first), Jt: 0, Jf: drop - 19},
		/* 19 */ {Code: jgt, K: uint32(last), Jt: drop - 20, Jf: 0},
		/* 20 */ {Code: ret, K: 65535},
		/* 21 */ {Code: ret, K: 0},
	}
}

func (c *Capture) run() {
	defer close(c.done)
	buf, oob := make([]byte, 65536), make([]byte, 256)
	for {
		c.mu.Lock()
		stopped := c.stopped
		c.mu.Unlock()
		n, oobn, _, from, err := unix.Recvmsg(c.fd, buf, oob, 0)
		switch {
		case errors.Is(err, unix.EAGAIN) && !stopped.IsZero(): // all that was there when Stop was called has been read
			return
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return
		}
		// On loopback every packet is seen twice: going out and coming in.
		if l, ok := from.(*unix.SockaddrLinklayer); !ok || l.Pkttype != unix.PACKET_HOST {
			continue
		}
		p, ok := parseUDP(buf[:n])
		if !ok {
			continue
		}
		if p.At, ok = stampOf(oob[:oobn]); !ok {
			p.At = time.Now()
		}
		if !stopped.IsZero() && p.At.After(stopped) {
			return
		}
		c.mu.Lock()
		if len(c.packets) < maxPackets {
			c.packets = append(c.packets, p)
		} else {
			c.dropped++
		}
		c.mu.Unlock()
	}
}

// parseUDP reads an IPv4 or IPv6 packet and copies what it keeps.
func parseUDP(b []byte) (Packet, bool) {
	var src, dst netip.Addr
	switch {
	case len(b) >= 20 && b[0]>>4 == 4 && b[9] == unix.IPPROTO_UDP:
		src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		b = b[min(len(b), int(b[0]&15)*4):]
	case len(b) >= 40 && b[0]>>4 == 6 && b[6] == unix.IPPROTO_UDP:
		src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		b = b[40:]
	default:
		return Packet{}, false
	}
	if len(b) < 8 {
		return Packet{}, false
	}
	return Packet{
		Src:     netip.AddrPortFrom(src, binary.BigEndian.Uint16(b)),
		Dst:     netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:])),
		Payload: append([]byte(nil), b[8:]...),
	}, true
}

// Stop ends the capture; what was on the wire before is in it.
func (c *Capture) Stop() {
	c.mu.Lock()
	first := c.stopped.IsZero()
	if first {
		c.stopped = time.Now()
	}
	c.mu.Unlock()
	<-c.done
	if first {
		unix.Close(c.fd)
	}
}

// Packets returns what was captured so far, in the kernel's order.
func (c *Capture) Packets() []Packet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Packet(nil), c.packets...)
}

// From returns the packets so far that come from this port.
func (c *Capture) From(port uint16) []Packet {
	return c.where(func(p Packet) bool { return p.Src.Port() == port })
}

// To returns the packets so far that go to this port.
func (c *Capture) To(port uint16) []Packet {
	return c.where(func(p Packet) bool { return p.Dst.Port() == port })
}

func (c *Capture) where(ok func(Packet) bool) []Packet {
	var out []Packet
	for _, p := range c.Packets() {
		if ok(p) {
			out = append(out, p)
		}
	}
	return out
}
