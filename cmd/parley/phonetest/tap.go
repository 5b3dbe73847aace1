package phonetest

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Tap is a UDP socket that keeps what it is sent, with the kernel's time stamps: a telephone's media port whose SIP somebody else
// speaks, such as a sipp scenario. It needs no privilege.
type Tap struct {
	t    testing.TB
	conn *net.UDPConn
	done chan struct{}

	mu      sync.Mutex
	packets []Packet
}

// NewTap opens a tap on host ("127.0.0.1", "::1"), on a free even port.
func NewTap(t testing.TB, host string) *Tap {
	t.Helper()
	addr := netip.AddrPortFrom(netip.MustParseAddr(host), uint16(PortBlock(t)))
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			if e := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); e != nil {
				t.Errorf("tap: time stamps: %v", e)
			}
		})
	}
	if err != nil {
		conn.Close()
		t.Fatal(err)
	}
	conn.SetReadBuffer(4 << 20)
	p := &Tap{t: t, conn: conn, done: make(chan struct{})}
	go p.run()
	t.Cleanup(p.Close)
	return p
}

func (p *Tap) run() {
	defer close(p.done)
	buf, oob := make([]byte, 65536), make([]byte, 256)
	for {
		n, oobn, _, from, err := p.conn.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			return
		}
		at, ok := stampOf(oob[:oobn])
		if !ok {
			at = time.Now()
		}
		p.mu.Lock()
		if len(p.packets) < maxPackets {
			p.packets = append(p.packets, Packet{
				At: at, Src: netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), Dst: p.Addr(), Payload: append([]byte(nil), buf[:n]...),
			})
		}
		p.mu.Unlock()
	}
}

// Addr is where it listens.
func (p *Tap) Addr() netip.AddrPort {
	a := p.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Send sends a datagram from the tap's port.
func (p *Tap) Send(to netip.AddrPort, payload []byte) {
	p.t.Helper()
	if _, err := p.conn.WriteToUDPAddrPort(payload, to); err != nil {
		p.t.Errorf("tap: %v", err)
	}
}

// Packets returns what has come so far.
func (p *Tap) Packets() []Packet {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Packet(nil), p.packets...)
}

// Close closes the port. The test's end does too.
func (p *Tap) Close() {
	p.conn.Close()
	<-p.done
}
