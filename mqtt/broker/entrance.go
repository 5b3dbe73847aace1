package broker

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// gate counts connections over all listeners.
type gate struct {
	lim Limits

	mu       sync.Mutex // guards what follows
	open     int
	bySource map[netip.Addr]int
}

func newGate(lim Limits) *gate { return &gate{lim: lim, bySource: map[netip.Addr]int{}} }

// enter takes a place for a connection from addr; leave gives it back. ok is false when there is none.
func (g *gate) enter(addr net.Addr) (leave func(), ok bool) {
	source := sourceOf(addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open >= g.lim.Connections || source.IsValid() && g.bySource[source] >= g.lim.PerSource {
		return nil, false
	}
	g.open++
	if source.IsValid() {
		g.bySource[source]++
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.open--
		if g.bySource[source]--; g.bySource[source] <= 0 {
			delete(g.bySource, source)
		}
	}, true
}

// sourceOf gives what counts as one source: an IPv4 address or an IPv6 /64. Loopback gives none.
func sourceOf(addr net.Addr) netip.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if ip.IsLoopback() {
		return netip.Addr{}
	}
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}

// entrance is a listener for mochi: it guards each connection, and catches what goes wrong in mochi while it serves one.
type entrance struct {
	id   string
	l    Listener
	gate *gate
	log  *slog.Logger

	mu     sync.Mutex // guards what follows
	conns  map[*guarded]struct{}
	closed bool
	wg     sync.WaitGroup
}

func newEntrance(id string, l Listener, g *gate, log *slog.Logger) *entrance {
	return &entrance{id: id, l: l, gate: g, log: log, conns: map[*guarded]struct{}{}}
}

// Init does nothing: the port is open.
func (e *entrance) Init(*slog.Logger) error { return nil }

// ID tells the entrances apart.
func (e *entrance) ID() string { return e.id }

// Address is where it listens.
func (e *entrance) Address() string { return e.l.Addr().String() }

// Protocol is the network.
func (e *entrance) Protocol() string { return e.l.Addr().Network() }

// Serve lets connections in until Close.
func (e *entrance) Serve(establish listeners.EstablishFn) {
	for {
		c, err := e.l.Accept()
		if errors.Is(err, net.ErrClosed) || e.isClosed() {
			if err == nil {
				c.Close()
			}
			return
		}
		if err != nil { // such as too many open files
			e.log.Warn("mqtt broker: accept", "error", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		leave, ok := e.gate.enter(c.RemoteAddr())
		if !ok {
			e.log.Debug("mqtt broker: too many connections", "from", c.RemoteAddr())
			c.Close()
			continue
		}
		g := newGuarded(e.secure(c), e.gate.lim)
		if !e.add(g) {
			g.Close()
			leave()
			return
		}
		go func() {
			defer e.wg.Done()
			defer leave()
			defer e.remove(g)
			e.serve(g, establish)
		}()
	}
}

func (e *entrance) secure(c net.Conn) net.Conn {
	if e.l.TLS == nil {
		return c
	}
	return tls.Server(c, e.l.TLS)
}

// serve hands a connection to mochi. Should mochi fail on something that the guard has let through, this connection
// ends, and nothing else.
func (e *entrance) serve(g *guarded, establish listeners.EstablishFn) {
	defer g.Close()
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("mqtt broker: a client's packet was more than mochi takes", "from", g.RemoteAddr(), "panic", p,
				"stack", string(debug.Stack()))
		}
	}()
	if err := establish(e.id, g); err != nil {
		e.log.Debug("mqtt broker: connection ended", "from", g.RemoteAddr(), "error", errors.Join(g.why(), err))
	}
}

func (e *entrance) add(g *guarded) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.conns[g] = struct{}{}
	e.wg.Add(1)
	return true
}

func (e *entrance) remove(g *guarded) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, g)
}

func (e *entrance) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// Close ends the listener and every connection, those included that have not said CONNECT yet, and waits for them.
func (e *entrance) Close(closeClients listeners.CloseFn) {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.l.Close()
	closeClients(e.id)
	e.mu.Lock()
	for g := range e.conns {
		g.Close()
	}
	e.mu.Unlock()
	e.wg.Wait()
}
