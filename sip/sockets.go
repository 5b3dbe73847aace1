// What stands between the guard and sipgo: sources of datagrams, ends of connections.

package sip

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
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

// counted counts what its reader comes to fetch.
type counted struct {
	net.PacketConn
	n *atomic.Uint64
}

// ReadFrom implements net.PacketConn.
func (c *counted) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	c.n.Add(1)
	return n, from, err
}

// Heard counts the datagrams that have come, of whatever kind. For as long as the agent goes on, it grows with each: also with a
// keep-alive of somebody who wants to know just that (RFC 5626, 3.5.1), which nothing comes of.
func (a *Agent) Heard() uint64 { return a.heard.Load() }

// unmapped writes an IPv4 address that came to an IPv6 socket as IPv4.
func unmapped(addr string) string {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return addr
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()
}
