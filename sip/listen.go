// Sockets: those that we listen on, and the connections that we make. Everything that is read passes the guard before sipgo
// sees it, whoever opened the connection.

package sip

import (
	"container/list"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	gosip "github.com/emiago/sipgo/sip"

	"parley/sip/guard"
)

const (
	// maxPeers bounds how many UDP addresses sipgo's connection pool remembers: it forgets none by itself.
	maxPeers = 4096
	// dialTimeout is how long a TCP connection or TLS handshake may take.
	dialTimeout = 4 * time.Second
)

// tame sets what sipgo keeps in variables of its package, once, before anything runs.
//
// It lets datagrams be as long as they can be: sipgo's limit of 1300 bytes holds for responses too, which have no other way
// (RFC 3261, 18.2.2); for requests prepare keeps it. And it silences sipgo, which logs whole messages with credentials in
// them; what matters is logged here.
var tame = sync.OnceFunc(func() {
	gosip.UDPMTUSize = 65507 + 200
	gosip.SetDefaultLogger(slog.New(slog.DiscardHandler))
})

// neverDial keeps sipgo from opening connections by itself: they would not pass the guard, and nobody would close them.
func neverDial(net.Addr) net.Dialer {
	return net.Dialer{Control: func(string, string, syscall.RawConn) error { return net.ErrClosed }}
}

// hop is one place that a message goes to or came from.
type hop struct {
	network string // "udp", "tcp" or "tls"
	addr    netip.AddrPort
	name    string // TLS: whose certificate it must be
	local   string // TCP and TLS, of a message received: our end of the connection
}

func (h hop) reliable() bool { return h.network != "udp" }

// socket is one listener.
type socket struct {
	network string
	addr    netip.AddrPort
	packet  net.PacketConn
	stream  net.Listener
	last    string // udp: source of the message being handled; belongs to the reading goroutine
}

// network is all sockets of an agent.
type network struct {
	agent   *Agent
	sockets []*socket
	readers sync.WaitGroup
	muted   atomic.Bool
	dialled map[string]*guard.Outbound // "tcp" and "tls": connections that we made
	secret  []byte                     // of the guard's stamps

	mu     sync.Mutex
	marks  map[string]*socket // udp sockets by what their packets' source address reads
	recent *list.List         // of *peer, the latest first
	peers  map[string]*list.Element
}

// peer is a UDP address that something came from, and the socket that it came to.
type peer struct {
	addr   string
	socket *socket
}

func newNetwork(a *Agent) *network {
	n := &network{
		agent:  a,
		secret: make([]byte, 32),
		marks:  make(map[string]*socket),
		recent: list.New(),
		peers:  make(map[string]*list.Element),
	}
	rand.Read(n.secret)
	nowhere := &net.TCPAddr{IP: net.IPv4zero, Port: 1}
	n.dialled = map[string]*guard.Outbound{"tcp": guard.NewOutbound(nowhere, n.guard()), "tls": guard.NewOutbound(nowhere, n.guard())}
	return n
}

// open opens every listener, or none.
func (n *network) open() error {
	tame()
	a := n.agent
	a.tp = gosip.NewTransportLayer(net.DefaultResolver, gosip.NewParser(), nil, gosip.WithTransportLayerTransports(gosip.TransportsConfig{
		TCP: &gosip.TransportTCP{DialerCreate: neverDial},
		TLS: &gosip.TransportTLS{TransportTCP: &gosip.TransportTCP{DialerCreate: neverDial}},
	}))
	a.tp.OnMessage(a.arrived)
	a.tx = gosip.NewTransactionLayer(a.tp,
		gosip.WithTransactionLayerUnhandledResponseHandler(a.strayResponse), gosip.WithTransactionLayerTerminateOnConnClose())
	a.tx.OnRequest(a.onRequest)
	for _, l := range a.cfg.Listen {
		s, err := n.listen(l)
		if err != nil {
			n.close()
			return &ListenError{Listener: l, Err: err}
		}
		n.sockets = append(n.sockets, s)
	}
	return nil
}

func (n *network) listen(l Listener) (*socket, error) {
	s := &socket{network: l.Network}
	if _, err := netip.ParseAddrPort(l.Addr); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	switch l.Network {
	case "udp":
		c, err := net.ListenPacket("udp", l.Addr)
		if err != nil {
			return nil, err
		}
		s.addr = c.LocalAddr().(*net.UDPAddr).AddrPort()
		s.packet = &datagrams{PacketConn: guard.PacketConn(&counted{c, &n.agent.heard}, n.guard()), network: n, socket: s, mark: mark(c.LocalAddr().String())}
		n.marks[c.LocalAddr().String()] = s
	case "tcp", "tls":
		if l.Network == "tls" && n.agent.cfg.TLS == nil {
			return nil, fmt.Errorf("%w: no certificate", ErrInvalid)
		}
		c, err := net.Listen("tcp", l.Addr)
		if err != nil {
			return nil, err
		}
		s.addr = c.Addr().(*net.TCPAddr).AddrPort()
		if l.Network == "tls" {
			c = tls.NewListener(c, n.agent.cfg.TLS)
		}
		s.stream = &flows{Listener: guard.Listener(c, n.guard()), name: l.Network, agent: n.agent}
	default:
		return nil, fmt.Errorf("%w: network %q", ErrInvalid, l.Network)
	}
	s.addr = netip.AddrPortFrom(s.addr.Addr().Unmap(), s.addr.Port())
	return s, nil
}

func (n *network) guard() guard.Options {
	return guard.Options{Extensions: extensions(), Secret: n.secret, Counters: n.agent.cfg.Guard, Screen: n.agent.screen}
}

// serve starts reading everywhere.
func (n *network) serve() {
	tp := n.agent.tp
	for _, s := range n.sockets {
		switch s.network {
		case "udp":
			n.readers.Go(func() { tp.ServeUDP(s.packet) })
		case "tcp":
			n.readers.Go(func() { tp.ServeTCP(s.stream) })
		case "tls":
			n.readers.Go(func() { tp.ServeTLS(s.stream) })
		}
	}
	// sipgo sends from a UDP socket only once its reader has filed it; before, it would open another.
	for _, s := range n.sockets {
		for s.network == "udp" && !n.filed("udp", s.packet.LocalAddr().String()) {
			time.Sleep(100 * time.Microsecond)
		}
	}
	n.readers.Go(func() { tp.ServeTCP(n.dialled["tcp"]) })
	n.readers.Go(func() { tp.ServeTLS(n.dialled["tls"]) })
}

// close closes every socket and waits for those who read them.
func (n *network) close() {
	for _, s := range n.sockets {
		if s.packet != nil {
			s.packet.Close()
		} else {
			s.stream.Close()
		}
	}
	for _, d := range n.dialled {
		d.Close()
	}
	// UDP addresses stay filed with their closed sockets: a request that is being handled still finds one, and sipgo, which
	// works on requests in goroutines that nobody can wait for, does not open another to answer it.
	streams := []*gosip.ConnectionPool{n.agent.tp.Pool("tcp"), n.agent.tp.Pool("tls")}
	for _, pool := range streams {
		pool.Clear()
	}
	n.readers.Wait()
	for _, pool := range streams {
		for pool.Size() > 0 { // one was being accepted
			pool.Clear()
			time.Sleep(time.Millisecond)
		}
	}
}

func (n *network) addrs() []Listener {
	out := make([]Listener, len(n.sockets))
	for i, s := range n.sockets {
		out[i] = Listener{Network: s.network, Addr: s.addr.String()}
	}
	return out
}

// arrived puts the real source into a message that came by UDP, and remembers which socket answers there.
func (n *network) arrived(m gosip.Message) {
	if m.Transport() != "UDP" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.marks[m.Source()]
	if s == nil {
		return
	}
	m.SetSource(s.last)
	pool := n.agent.tp.Pool("udp")
	if e := n.peers[s.last]; e != nil {
		n.recent.MoveToFront(e)
		if p := e.Value.(*peer); p.socket == s {
			return
		} else {
			p.socket = s
		}
	} else {
		n.peers[s.last] = n.recent.PushFront(&peer{addr: s.last, socket: s})
	}
	if c := pool.Get(s.packet.LocalAddr().String()); c != nil {
		pool.Add(s.last, c)
	}
	if n.recent.Len() > maxPeers {
		p := n.recent.Remove(n.recent.Back()).(*peer)
		delete(n.peers, p.addr)
		pool.Delete(p.addr)
	}
}

// stamp is what the guard noted about how a request came.
func (n *network) stamp(req *gosip.Request) guard.Arrival {
	a, _ := guard.ParseArrival(n.secret, header(req, guard.ArrivalHeader))
	return a
}

// cameFrom is the hop that a request came over.
func (n *network) cameFrom(req *gosip.Request) hop {
	h := hop{network: strings.ToLower(req.Transport()), addr: sourceOf(req)}
	if local := n.stamp(req).Local.Addr(); local.IsValid() && !local.IsUnspecified() {
		h.local = local.String()
	}
	return h
}

// udpSocket is the listener to send from to addr, nil if there is none of that family.
func (n *network) udpSocket(to netip.AddrPort) *socket {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e := n.peers[to.String()]; e != nil {
		return e.Value.(*peer).socket
	}
	return n.listener("udp", to.Addr())
}

// port is our port of a network towards addr, 0 if nothing listens.
func (n *network) port(network string, addr netip.Addr) int {
	if s := n.listener(network, addr); s != nil {
		return int(s.addr.Port())
	}
	return 0
}

// resolveAdvertised looks up the advertised host, if that is a name.
func (n *network) resolveAdvertised() (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(n.agent.life, dialTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", n.agent.cfg.Advertise)
	if err != nil || len(addrs) == 0 {
		return netip.Addr{}, err
	}
	return addrs[0], nil
}

// listener is the first listener of the network from which addr can be reached: loopback only from loopback.
func (n *network) listener(network string, addr netip.Addr) *socket {
	var second *socket
	for _, s := range n.sockets {
		own := s.addr.Addr()
		if s.network != network || (!own.IsUnspecified() && own.Is4() != addr.Is4()) || (own == netip.IPv4Unspecified() && !addr.Is4()) {
			continue
		}
		if own.IsUnspecified() || own.IsLoopback() == addr.IsLoopback() {
			return s
		}
		if second == nil {
			second = s
		}
	}
	return second
}

// towards is the local address by which packets to addr leave.
func (n *network) towards(addr netip.Addr) string {
	if s := n.listener("udp", addr); s != nil && !s.addr.Addr().IsUnspecified() {
		return s.addr.Addr().String()
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 9))) // sends nothing
	if err != nil {
		return addr.String()
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().String()
}

// connect makes sure that there is a connection to h. UDP needs none.
func (n *network) connect(ctx context.Context, h hop) error {
	if !h.reliable() {
		if n.listener("udp", h.addr.Addr()) == nil {
			return fmt.Errorf("%w: no udp listener towards %s", ErrNoRoute, h.addr)
		}
		return nil
	}
	if n.connected(h) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var conf *tls.Config
	if h.network == "tls" {
		conf = n.clientTLS(h)
	}
	if err := n.dialled[h.network].Dial(ctx, h.addr.String(), conf); err != nil {
		return fmt.Errorf("sip: %s %s: %w", h.network, h.addr, err)
	}
	return nil
}

func (n *network) connected(h hop) bool { return n.filed(h.network, h.addr.String()) }

// filed reports whether sipgo has a connection of that name.
func (n *network) filed(network, addr string) bool {
	c := n.agent.tp.Pool(network).Get(addr)
	if c == nil {
		return false
	}
	c.TryClose()
	return true
}

func (n *network) clientTLS(h hop) *tls.Config {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if n.agent.cfg.TLSClient != nil {
		conf = n.agent.cfg.TLSClient.Clone()
	}
	if conf.ServerName == "" {
		if conf.ServerName = h.name; conf.ServerName == "" {
			conf.ServerName = h.addr.Addr().String()
		}
	}
	return conf
}
