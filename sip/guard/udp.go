package guard

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// ErrDestination: a broadcast, multicast or unspecified address, or port 0. Nothing is ever sent there.
var ErrDestination = errors.New("guard: nothing is sent to such an address")

// packetConn is a guarded datagram socket.
type packetConn struct {
	net.PacketConn
	core *core
	buf  []byte // the reader's
}

// ReadFrom returns the next message that gets through, in canonical form.
func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, addr, err := c.PacketConn.ReadFrom(c.buf)
		if transient(err) {
			time.Sleep(transientPause)
			continue
		}
		if err != nil {
			return 0, addr, err
		}
		p := peer{network: "UDP", remote: addrPort(addr), local: addrPort(c.LocalAddr())}
		v := c.core.datagram(c.buf[:n], p, len(b))
		c.core.o.Counters.add(v.reason)
		if v.answer != nil {
			// A lost answer is asked for again; the socket's own errors show in the next read.
			_, _ = c.PacketConn.WriteTo(v.answer, net.UDPAddrFromAddrPort(v.to))
		}
		if v.pass != nil {
			return copy(b, v.pass), addr, nil
		}
	}
}

// WriteTo sends what sipgo wrote, with the peer's own Via list.
func (c *packetConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	msg, to := outside(b)
	if !to.IsValid() {
		to = addrPort(addr)
	}
	if !reachable(to) {
		return 0, fmt.Errorf("%w: %v", ErrDestination, to)
	}
	if _, err := c.PacketConn.WriteTo(msg, net.UDPAddrFromAddrPort(to)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// datagram judges one datagram: exactly one message, whatever comes after its body is ignored (RFC 3261 §18.3).
func (c *core) datagram(data []byte, p peer, room int) verdict {
	data = bytes.TrimLeft(data, "\r\n")
	if len(data) == 0 {
		return verdict{} // a keep-alive
	}
	// sipgo cannot answer to an address with a zone: it would send to itself instead.
	if p.remote.Addr().Zone() != "" {
		return verdict{reason: NoReach}
	}
	head, body, ok := cutHead(data)
	if len(head) > maxHead {
		head = head[:maxHead]
		ok = false
	}
	t := lex(head)
	var framing *fault
	if !ok {
		framing = bad("No End of Headers")
	} else if n, given, f := contentLength(t); f != nil {
		framing = f
	} else if given && n > len(body) {
		framing = bad("Body Shorter Than Content-Length")
	} else if given {
		body = body[:n]
	}
	if framing != nil {
		body = nil
	}
	v := c.judge(t, body, framing, p)
	if len(v.pass) > room {
		f := &fault{code: 513, reason: "Message Too Large"}
		if to := c.answerTo(t, p); strings.HasPrefix(t.start, "SIP/") || !reachable(to) || strings.HasPrefix(t.start, "ACK ") {
			return verdict{reason: Garbage}
		} else {
			return verdict{answer: c.answer(t, f, p), to: to, reason: Answered}
		}
	}
	return v
}

// cutHead cuts a message after its empty line.
func cutHead(data []byte) (head, body []byte, ok bool) {
	i := bytes.Index(data, crlfcrlf)
	if i < 0 {
		return data, nil, false
	}
	return data[:i+2], data[i+4:], true
}

// contentLength is the length that a message claims, if it claims one: once, in digits, and not beyond any bound.
func contentLength(t text) (n int, given bool, f *fault) {
	vs := t.all("Content-Length")
	if len(vs) == 0 {
		return 0, false, nil
	}
	if len(vs) > 1 {
		return 0, true, bad("Several Content-Length")
	}
	if !whole(vs[0], isDigit) || len(vs[0]) > 9 {
		return 0, true, bad("Bad Content-Length")
	}
	n, err := strconv.Atoi(vs[0])
	if err != nil {
		return 0, true, bad("Bad Content-Length")
	}
	return n, true, nil
}
