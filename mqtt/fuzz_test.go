package mqtt

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// bytesConn is a connection on which a broker has said everything already.
type bytesConn struct{ r io.Reader }

func (c bytesConn) Read(b []byte) (int, error)       { return c.r.Read(b) }
func (c bytesConn) Write(b []byte) (int, error)      { return len(b), nil }
func (c bytesConn) Close() error                     { return nil }
func (c bytesConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c bytesConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c bytesConn) SetDeadline(time.Time) error      { return nil }
func (c bytesConn) SetReadDeadline(time.Time) error  { return nil }
func (c bytesConn) SetWriteDeadline(time.Time) error { return nil }

// Whatever a broker says: nothing beyond the bound is allocated, and what comes through is taken by the library without
// a fault, packet by packet.
func FuzzConn(f *testing.F) {
	hello := func(b ...byte) []byte { return append(bytes.Clone(welcome), b...) }
	f.Add(hello())
	f.Add(hello(0x30, 0xff, 0xff, 0xff, 0x7f))
	f.Add(hello(0x32, 8, 0, 2, '/', 'a', 0, 1, 'x', 'y', 0x40, 2, 0, 1, 0x90, 3, 0, 2, 1, 0xd0, 0, 0xb0, 2, 0, 3))
	f.Add(hello(0x90, 4, 0, 1, 0, 0))
	f.Add([]byte{0x20, 2, 0, 6})
	f.Fuzz(func(t *testing.T, said []byte) {
		const longest = 2048
		c := guard(bytesConn{bytes.NewReader(said)}, longest)
		for {
			cp, err := packets.ReadPacket(c)
			if cap(c.packet) > 2*longest {
				t.Fatalf("a packet of %d bytes was allocated", cap(c.packet))
			}
			if err != nil {
				if len(c.unread) > 0 {
					t.Fatalf("the library refuses what came through: %v", err)
				}
				return
			}
			if sub, ok := cp.(*packets.SubackPacket); ok && len(sub.ReturnCodes) != 1 {
				t.Fatalf("%d results for one subscription", len(sub.ReturnCodes))
			}
		}
	})
}
