package mqtt

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// What a broker can be left for.
var (
	// ErrPacketTooLong: it announced a packet longer than MaxPacket.
	ErrPacketTooLong = errors.New("packet from the broker is too long")
	// ErrBadPacket: it sent what MQTT 3.1.1 does not allow a broker to send.
	ErrBadPacket = errors.New("malformed packet from the broker")

	errGivenUp = errors.New("connection given up")
)

// conn stands between the library and the broker. The library allocates what a length says, and trips over some packets
// that are malformed (an acknowledgement with two results for one subscription ends the process): so it is given whole
// packets only, bounded and checked. conn also puts a deadline on every write, which the library does for some.
type conn struct {
	net.Conn
	in      *bufio.Reader
	longest int // of a packet, in bytes
	packet  []byte
	unread  []byte // what the library has not taken of packet
	greeted bool   // CONNACK has come
	left    atomic.Bool
	fault   atomic.Pointer[error] // what the broker said wrong
}

func guard(c net.Conn, longest int) *conn {
	return &conn{Conn: c, in: bufio.NewReaderSize(c, 4096), longest: longest}
}

// Read gives the bytes of packets that are in order.
func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if len(c.unread) == 0 {
		if err := c.fill(); err != nil {
			if c.left.Load() {
				// The library says nothing of a connection that is closed, and so would wait on.
				return 0, errGivenUp
			}
			return 0, err
		}
	}
	n := copy(b, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

// Write has a deadline of its own.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// SetWriteDeadline does nothing: each write has its own.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is for reading only: each write has its own.
func (c *conn) SetDeadline(t time.Time) error { return c.Conn.SetReadDeadline(t) }

// leave ends the connection so that the library notices.
func (c *conn) leave() {
	c.left.Store(true)
	c.Conn.Close()
}

// fill reads one packet whole.
func (c *conn) fill() error {
	first, err := c.in.ReadByte()
	if err != nil {
		return err
	}
	length, header, err := c.length(first)
	if errors.Is(err, ErrPacketTooLong) || errors.Is(err, ErrBadPacket) {
		c.fault.Store(&err)
	}
	if err != nil {
		return err
	}
	if cap(c.packet) < len(header)+length {
		c.packet = make([]byte, len(header)+length)
	}
	c.packet = append(c.packet[:0], header...)[:len(header)+length]
	if _, err := io.ReadFull(c.in, c.packet[len(header):]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if err := c.checkPacket(first, c.packet[len(header):]); err != nil {
		c.fault.Store(&err)
		return err
	}
	c.unread = c.packet
	return nil
}

// length reads the remaining length (section 2.2.3), and refuses it before anything is allocated.
func (c *conn) length(first byte) (int, []byte, error) {
	header := append(make([]byte, 0, 5), first)
	n := 0
	for shift := 0; shift < 28; shift += 7 {
		b, err := c.in.ReadByte()
		if err != nil {
			return 0, nil, err
		}
		header = append(header, b)
		n |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			if len(header)+n > c.longest {
				return 0, nil, fmt.Errorf("%w: %d bytes, %d at most", ErrPacketTooLong, n, c.longest)
			}
			return n, header, nil
		}
	}
	return 0, nil, fmt.Errorf("%w: length of more than 4 bytes", ErrBadPacket)
}

// The packets that a broker sends (section 2.2.1).
const (
	connack  = 2
	publish  = 3
	puback   = 4
	suback   = 9
	unsuback = 11
	pingresp = 13
)

// checkPacket holds a packet against MQTT 3.1.1. Since QoS 2 is not used here, its packets are refused too.
func (c *conn) checkPacket(first byte, body []byte) error {
	kind, flags := first>>4, first&0x0f
	bad := func(what string) error { return fmt.Errorf("%w: type %d, %s", ErrBadPacket, kind, what) }
	if kind != publish && flags != 0 {
		return bad("flags")
	}
	if (kind == connack) == c.greeted {
		return bad("out of turn")
	}
	switch kind {
	case connack:
		if len(body) != 2 || body[0] > 1 || body[1] > 5 {
			return bad("content")
		}
		c.greeted = true
	case publish:
		return checkPublish(flags, body, bad)
	case puback, unsuback:
		if len(body) != 2 {
			return bad("length")
		}
	case suback: // filters are subscribed one by one
		if len(body) != 3 || body[2] > 2 && body[2] != 0x80 {
			return bad("content")
		}
	case pingresp:
		if len(body) != 0 {
			return bad("length")
		}
	default:
		return bad("not a broker's to send")
	}
	return nil
}

func checkPublish(flags byte, body []byte, bad func(string) error) error {
	qos := flags >> 1 & 3
	if qos > 1 || qos == 0 && flags&8 != 0 {
		return bad("QoS")
	}
	if len(body) < 2 {
		return bad("length")
	}
	n := int(binary.BigEndian.Uint16(body))
	rest := len(body) - 2 - n
	if n == 0 || rest < 2*int(qos) {
		return bad("topic's length")
	}
	topic := string(body[2 : 2+n])
	if !utf8.ValidString(topic) || strings.ContainsAny(topic, "+#\x00") {
		return bad("topic")
	}
	if qos == 1 && binary.BigEndian.Uint16(body[2+n:]) == 0 {
		return bad("packet id")
	}
	return nil
}
