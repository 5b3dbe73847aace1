// What stands between the guard and sipgo: sources of datagrams, ends of connections.

package sip

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// flows is a guarded listener that tells the registrar when a connection is gone: phones behind it can be reached no more.
type flows struct {
	net.Listener
	name  string
	agent *Agent
}

// Accept implements net.Listener.
func (f *flows) Accept() (net.Conn, error) {
	c, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &flow{Conn: c, of: f}, nil
}

type flow struct {
	net.Conn
	of   *flows
	once sync.Once
}

// Close implements net.Conn.
func (f *flow) Close() error {
	err := f.Conn.Close()
	f.once.Do(func() {
		if r := f.of.agent.cfg.Registrar; r != nil {
			ap, _ := netip.ParseAddrPort(f.RemoteAddr().String())
			r.Drop(f.of.name, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
		}
	})
	return err
}

// mark stands in for the source address of a datagram, so that sipgo's pool, which forgets no address, sees only one.
type mark string

func (m mark) Network() string { return "udp" }
func (m mark) String() string  { return string(m) }

// datagrams is a guarded UDP socket.
type datagrams struct {
	net.PacketConn
	network *network
	socket  *socket
	mark    mark
}

// ReadFrom does not give up on a passing error, because sipgo would never read again.
func (d *datagrams) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := d.PacketConn.ReadFrom(b)
		if err == nil && d.network.muted.Load() {
			continue
		}
		if err == nil {
			d.socket.last = unmapped(from.String())
			return n, d.mark, nil
		}
		if errors.Is(err, net.ErrClosed) {
			return n, from, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// unmapped writes an IPv4 address that came to an IPv6 socket as IPv4.
func unmapped(addr string) string {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return addr
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()
}
