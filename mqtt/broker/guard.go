package broker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// ErrRefused: a client sent what this broker does not take; the error that wraps it says what.
var ErrRefused = errors.New("refused")

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// guarded is a client's connection as mochi sees it. mochi allocates what a length says, and a packet that ends too early
// can end its process: so it is given whole packets only, bounded, and well-formed to the last byte.
type guarded struct {
	net.Conn
	lim     Limits
	in      *bufio.Reader
	packet  []byte
	unread  []byte // what mochi has not taken of packet
	greeted bool   // CONNECT has come
	packets bucket
	bytes   bucket
	opened  time.Time
	closed  chan struct{}
	once    sync.Once

	mu  sync.Mutex // guards err
	err error      // why the guard ended the connection
}

func newGuarded(c net.Conn, lim Limits) *guarded {
	return &guarded{
		Conn: c, lim: lim, in: bufio.NewReaderSize(c, 2048), opened: time.Now(), closed: make(chan struct{}),
		packets: bucket{rate: lim.PacketRate, most: 2 * lim.PacketRate, have: 2 * lim.PacketRate},
		bytes:   bucket{rate: lim.ByteRate, most: 2 * lim.ByteRate, have: 2 * lim.ByteRate},
	}
}

// Read gives the bytes of packets that are in order, as fast as the rates allow.
func (g *guarded) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if len(g.unread) == 0 {
		if err := g.fill(); err != nil {
			g.mu.Lock()
			if g.err == nil {
				g.err = err
			}
			g.mu.Unlock()
			return 0, err
		}
	}
	n := copy(b, g.unread)
	g.unread = g.unread[n:]
	return n, nil
}

// why tells for what the guard ended the connection; nil if it did not.
func (g *guarded) why() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// Write has a deadline of its own, and ends the connection when the client does not take what it is sent.
func (g *guarded) Write(b []byte) (int, error) {
	// MQTT 3.1.1 has no DISCONNECT from a server; mochi sends one all the same.
	if len(b) == 2 && b[0] == disconnect<<4 && b[1] == 0 {
		return 2, nil
	}
	if err := g.Conn.SetWriteDeadline(time.Now().Add(g.lim.Write)); err != nil {
		return 0, err
	}
	n, err := g.Conn.Write(b)
	if err != nil {
		g.Close()
	}
	return n, err
}

// Close ends the connection, and any wait in Read.
func (g *guarded) Close() error {
	err := net.ErrClosed
	g.once.Do(func() {
		close(g.closed)
		err = closeNow(g.Conn)
	})
	return err
}

// closeNow does not let TLS wait for a peer that takes nothing.
func closeNow(c net.Conn) error {
	c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	return c.Close()
}

// SetDeadline is mochi's keep-alive. Until CONNECT has come the guard's own deadline holds.
func (g *guarded) SetDeadline(t time.Time) error {
	if !g.greeted {
		return nil
	}
	return g.Conn.SetReadDeadline(t)
}

// fill reads one packet whole.
func (g *guarded) fill() error {
	if !g.greeted {
		if err := g.Conn.SetDeadline(g.opened.Add(g.lim.Connect)); err != nil {
			return err
		}
	}
	first, err := g.in.ReadByte()
	if err != nil {
		return err
	}
	if g.greeted {
		if err := g.Conn.SetReadDeadline(time.Now().Add(g.lim.Packet)); err != nil {
			return err
		}
	}
	length, header, err := g.length(first)
	if err != nil {
		return err
	}
	if cap(g.packet) < len(header)+length {
		g.packet = make([]byte, len(header)+length)
	}
	g.packet = append(g.packet[:0], header...)[:len(header)+length]
	if _, err := io.ReadFull(g.in, g.packet[len(header):]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if err := g.check(first, g.packet[len(header):]); err != nil {
		return err
	}
	if err := g.pace(len(g.packet)); err != nil {
		return err
	}
	g.unread = g.packet
	return nil
}

// check looks at a packet, and answers a CONNECT of a version that is not spoken here.
func (g *guarded) check(first byte, body []byte) error {
	kind := first >> 4
	if (kind == connect) == g.greeted {
		return refused("%s out of turn", kindName(kind))
	}
	err := checkPacket(first, body)
	if v, ok := errors.AsType[*versionError](err); ok {
		g.Write(v.answer())
	}
	if err == nil && kind == connect {
		g.greeted = true
	}
	return err
}

// length reads the remaining length (section 2.2.3) and refuses it before anything is allocated.
func (g *guarded) length(first byte) (int, []byte, error) {
	header := append(make([]byte, 0, 5), first)
	n := 0
	for shift := 0; shift < 28; shift += 7 {
		b, err := g.in.ReadByte()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, nil, err
		}
		header = append(header, b)
		n |= int(b&0x7f) << shift
		if b&0x80 != 0 {
			continue
		}
		if longest := g.longest(first); n > longest {
			return 0, nil, refused("%s of %d bytes, %d at most", kindName(first>>4), n, longest)
		}
		return n, header, nil
	}
	return 0, nil, refused("a length of more than 4 bytes")
}

// longest is how many bytes a packet may have after its length.
func (g *guarded) longest(first byte) int {
	if n, ok := shortKinds[first>>4]; ok {
		return n
	}
	return g.lim.PacketSize - 5
}

// pace waits until the connection's rates allow another packet of n bytes.
func (g *guarded) pace(n int) error {
	now := time.Now()
	wait := max(g.packets.take(1, now), g.bytes.take(float64(n), now))
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-g.closed:
		return net.ErrClosed
	}
}

// bucket holds a rate: it fills with rate per second up to most, and may go below zero once, which is then waited for.
type bucket struct {
	rate, most, have float64
	at               time.Time
}

// take takes n and gives how long to wait until it is covered.
func (b *bucket) take(n float64, now time.Time) time.Duration {
	if !b.at.IsZero() {
		b.have = min(b.most, b.have+b.rate*max(0, now.Sub(b.at).Seconds()))
	}
	b.at = now
	if b.have -= n; b.have >= 0 {
		return 0
	}
	return time.Duration(-b.have / b.rate * float64(time.Second))
}
