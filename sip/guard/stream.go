package guard

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	readSize   = 4096
	lingerTime = 500 * time.Millisecond

	transientPause = 20 * time.Millisecond
)

// listener hands out guarded connections, so many at once.
type listener struct {
	net.Listener
	core *core

	mu    sync.Mutex // guards what follows
	open  int
	perIP map[netip.Addr]int
}

// Accept returns the next connection for which there is room.
func (l *listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if transient(err) {
			time.Sleep(transientPause)
			continue
		}
		if err != nil {
			return nil, err
		}
		ip := addrPort(inner.RemoteAddr()).Addr()
		if !l.enter(ip) {
			l.core.o.Counters.add(TooMany)
			_ = inner.Close()
			continue
		}
		c := newConn(inner, l.core)
		c.release = func() { l.leave(ip) }
		c.until = time.Now().Add(l.core.o.MessageTimeout)
		return c, nil
	}
}

// transient: it will pass; sipgo would give up serving for it.
func transient(err error) bool {
	return slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EINTR, syscall.ECONNABORTED,
		syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.EPROTO}, func(e error) bool { return errors.Is(err, e) })
}

func (l *listener) enter(ip netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.perIP == nil {
		l.perIP = make(map[netip.Addr]int)
	}
	if l.open >= l.core.o.MaxConns || l.perIP[ip] >= l.core.o.MaxConnsPerIP {
		return false
	}
	l.open++
	l.perIP[ip]++
	return true
}

func (l *listener) leave(ip netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.perIP[ip]--; l.perIP[ip] == 0 {
		delete(l.perIP, ip)
	}
}

// conn is a guarded stream. One goroutine reads; any may write and close. Its reading deadlines are the guard's own; one
// that is set from outside counts if it is earlier.
type conn struct {
	net.Conn
	core    *core
	release func()
	closed  sync.Once
	outer   atomic.Int64 // deadline set from outside, Unix ns; 0 for none

	// What follows belongs to the reader.
	framer framer
	buf    []byte
	peer   peer
	until  time.Time // when the message under way, or the silence, has lasted too long
	late   bool      // until is that of a message
	out    []byte    // canonical, for sipgo
	ends   bool      // nothing behind out can be read: part once sipgo has that
	err    error
}

func newConn(inner net.Conn, c *core) *conn {
	network := "TCP"
	if _, ok := inner.(*tls.Conn); ok {
		network = "TLS"
	}
	return &conn{Conn: inner, core: c, framer: framer{core: c}, buf: make([]byte, readSize),
		peer: peer{network: network, remote: addrPort(inner.RemoteAddr()), local: addrPort(inner.LocalAddr())}}
}

// Read returns canonical messages, in pieces as b has room.
func (c *conn) Read(b []byte) (int, error) {
	for len(c.out) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		if c.ends {
			c.part()
			continue
		}
		c.step()
	}
	n := copy(b, c.out)
	if c.out = c.out[n:]; len(c.out) == 0 {
		c.out = nil
	}
	return n, nil
}

// step reads once and judges what is whole by then.
func (c *conn) step() {
	deadline, unending := c.until, c.framer.unending()
	if unending {
		if quiet := time.Now().Add(c.core.o.QuietBody); quiet.Before(deadline) {
			deadline = quiet
		}
	}
	if o := c.outer.Load(); o != 0 && (deadline.IsZero() || time.Unix(0, o).Before(deadline)) {
		deadline = time.Unix(0, o)
	}
	if err := c.Conn.SetReadDeadline(deadline); err != nil {
		c.err = err
		return
	}
	n, err := c.Conn.Read(c.buf)
	if n > 0 && c.peer.names == nil {
		c.peer.names = names(c.Conn)
	}
	c.framer.in = append(c.framer.in, c.buf[:n]...)
	expired := errors.Is(err, os.ErrDeadlineExceeded)
	slow := expired && !unending && c.framer.underway()
	c.judge(err != nil)
	switch {
	case c.err != nil || c.ends && (err == nil || expired):
	case err == nil || expired && unending:
		c.pace(n > 0)
	case expired:
		c.err = io.EOF
	default:
		c.err = err
	}
	if slow {
		c.core.o.Counters.add(TooSlow)
	}
}

// pace sets until when the rest, or the next message, has to be there.
func (c *conn) pace(heard bool) {
	late := c.framer.underway()
	if late != c.late || !late && heard || c.until.IsZero() {
		span := c.core.o.IdleTimeout
		if late {
			span = c.core.o.MessageTimeout
		}
		c.until = time.Now().Add(span)
	}
	c.late = late
}

// judge takes every whole message off the framer. end says that nothing follows, or not in time.
func (c *conn) judge(end bool) {
	for {
		k, t, body, why := c.framer.next(end)
		switch k {
		case more:
			return
		case ping:
			if _, err := c.Write(crlf); err != nil {
				c.err = err
				return
			}
			c.late = false
			continue
		case broken:
			c.core.o.Counters.add(BrokenFraming)
			if why != nil {
				c.say(c.core.judge(t, nil, why, c.peer))
			}
			c.ends = true
			return
		}
		c.late = false // the next one has its own time
		v := c.core.judge(t, body, nil, c.peer)
		c.core.o.Counters.add(v.reason)
		c.say(v)
		c.out = append(c.out, v.pass...)
		if c.ends = v.reason == Garbage; c.ends || c.err != nil {
			return
		}
	}
}

// say writes the guard's own answer.
func (c *conn) say(v verdict) {
	if v.answer == nil {
		return
	}
	if _, err := c.Write(v.answer); err != nil {
		c.err = err
	}
}

// part ends the stream. It waits a little, so that answers which are still being made get out and the peer reads them:
// closing with unread input would reset the connection.
func (c *conn) part() {
	c.framer.drop(len(c.framer.in))
	if c.err != nil {
		return
	}
	c.err = io.EOF
	if c.Conn.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(c.Conn, 1<<18))
	}
}

// Write sends what sipgo wrote, with the peer's own Via list. sipgo writes a message in one piece.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.core.o.WriteTimeout)); err != nil {
		return 0, err
	}
	msg, _ := outside(b)
	if _, err := c.Conn.Write(msg); err != nil {
		return 0, err
	}
	return len(b), nil
}

// SetReadDeadline bounds reading from outside.
func (c *conn) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		c.outer.Store(0)
		return nil
	}
	c.outer.Store(t.UnixNano())
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline bounds reading; writing has the guard's own bound.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: each write has its own bound.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// Close closes the stream and gives its place to another.
func (c *conn) Close() error {
	c.closed.Do(func() {
		if c.release != nil {
			c.release()
		}
	})
	return c.Conn.Close()
}

// names are those of a certificate that was verified; never nil.
func names(inner net.Conn) []string {
	out := []string{}
	t, ok := inner.(*tls.Conn)
	if !ok {
		return out
	}
	chains := t.ConnectionState().VerifiedChains
	if len(chains) == 0 || len(chains[0]) == 0 {
		return out
	}
	leaf := chains[0][0]
	all := append([]string{}, leaf.DNSNames...)
	for _, u := range leaf.URIs {
		if u.Scheme == "sip" || u.Scheme == "sips" {
			all = append(all, u.Opaque+u.Host)
		}
	}
	for _, n := range all {
		if whole(n, func(b byte) bool { return isAlnum(b) || b == '.' || b == '-' || b == '_' || b == '*' }) && len(out) < 16 {
			out = append(out, strings.ToLower(n))
		}
	}
	return out
}

// Outbound brings connections that the box opens under the guard: it is a listener for sipgo to serve, which accepts
// what Dial opened. sipgo then finds such a connection by its remote address, and dials no unguarded one of its own.
type Outbound struct {
	core *core
	addr net.Addr
	ch   chan handed
	done chan struct{}
	once sync.Once
	last chan struct{} // of the acceptor: closed when sipgo holds the connection
}

type handed struct {
	conn net.Conn
	held chan struct{}
}

// NewOutbound makes one; addr is only what Addr says: give it the real listener's.
func NewOutbound(addr net.Addr, o Options) *Outbound {
	return &Outbound{core: newCore(o), addr: addr, ch: make(chan handed), done: make(chan struct{})}
}

// Accept waits for a connection that Dial opened. One goroutine calls it.
func (o *Outbound) Accept() (net.Conn, error) {
	if o.last != nil {
		close(o.last) // sipgo files a connection before it asks for the next
		o.last = nil
	}
	select {
	case h := <-o.ch:
		o.last = h.held
		return h.conn, nil
	case <-o.done:
		return nil, net.ErrClosed
	}
}

// Addr is the address that NewOutbound was given.
func (o *Outbound) Addr() net.Addr { return o.addr }

// Close ends Accept and Dial; connections stay.
func (o *Outbound) Close() error {
	o.once.Do(func() { close(o.done) })
	return nil
}

// Dial connects to address (numeric, with a port) by TCP, or by TLS if conf is not nil, and returns when sipgo holds the
// connection: a request to that address takes it from then on.
func (o *Outbound) Dial(ctx context.Context, address string, conf *tls.Config) error {
	inner, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	if conf != nil {
		t := tls.Client(inner, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = inner.Close()
			return err
		}
		inner = t
	}
	c := newConn(inner, o.core)
	c.until = time.Now().Add(o.core.o.IdleTimeout)
	h := handed{conn: c, held: make(chan struct{})}
	select {
	case o.ch <- h:
	case <-ctx.Done():
		_ = inner.Close()
		return ctx.Err()
	case <-o.done:
		_ = inner.Close()
		return net.ErrClosed
	}
	select {
	case <-h.held:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-o.done:
		return net.ErrClosed
	}
}
