package broker

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// bytesConn is a connection on which a client has said everything already.
type bytesConn struct{ r io.Reader }

func (c bytesConn) Read(b []byte) (int, error)       { return c.r.Read(b) }
func (c bytesConn) Write(b []byte) (int, error)      { return len(b), nil }
func (c bytesConn) Close() error                     { return nil }
func (c bytesConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c bytesConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c bytesConn) SetDeadline(time.Time) error      { return nil }
func (c bytesConn) SetReadDeadline(time.Time) error  { return nil }
func (c bytesConn) SetWriteDeadline(time.Time) error { return nil }

// Whatever a client says: the guard neither panics nor allocates beyond its bound, and what it lets through is decoded by
// mochi without a fault.
func FuzzGuard(f *testing.F) {
	ok := connectPacket("x", 2)
	f.Add(ok)
	f.Add(append(bytes.Clone(ok), killer...))
	f.Add(append(bytes.Clone(ok), subscribePacket("/a/+", "#")...))
	f.Add(append(bytes.Clone(ok), publishPacket("/a", "payload", 3)...))
	f.Add(append(bytes.Clone(ok), 0x30, 0xff, 0xff, 0xff, 0x7f))
	f.Add(append(bytes.Clone(ok), 0xa2, 5, 0, 1, 0, 1, 'a', 0x62, 2, 0, 1, 0xc0, 0, 0xe0, 0))
	f.Add(connectPacket("x", 0xf6, field("/w"), field("will"), field("user"), field("pass")))
	f.Add(packet(0x10, field("MQTT"), []byte{5, 2, 0, 10, 0}, field("five")))
	f.Fuzz(func(t *testing.T, said []byte) {
		lim := Limits{PacketSize: 4096, PacketRate: 1e9, ByteRate: 1e12}.withDefaults()
		g := newGuarded(bytesConn{bytes.NewReader(said)}, lim)
		through, err := io.ReadAll(g)
		if err == nil && len(through) != len(said) {
			t.Fatalf("%d of %d bytes came through without an error", len(through), len(said))
		}
		if !bytes.HasPrefix(said, through) {
			t.Fatal("what came through is not what was said")
		}
		if cap(g.packet) > 2*4096 {
			t.Fatalf("a packet of %d bytes was allocated", cap(g.packet))
		}
		decodeAll(t, through)
	})
}

func decodeAll(t *testing.T, b []byte) {
	r := bytes.NewReader(b)
	for r.Len() > 0 {
		first, _ := r.ReadByte()
		pk := packets.Packet{ProtocolVersion: 4}
		if err := pk.FixedHeader.Decode(first); err != nil {
			t.Fatalf("%#x: %v", first, err)
		}
		n, _, err := packets.DecodeLength(r)
		if err != nil || n > r.Len() {
			t.Fatalf("length %d: %v", n, err)
		}
		pk.FixedHeader.Remaining = n
		body := make([]byte, n)
		io.ReadFull(r, body)
		decode := map[byte]func([]byte) error{
			packets.Connect: pk.ConnectDecode, packets.Publish: pk.PublishDecode, packets.Subscribe: pk.SubscribeDecode,
			packets.Unsubscribe: pk.UnsubscribeDecode, packets.Puback: pk.PubackDecode, packets.Pubrec: pk.PubrecDecode,
			packets.Pubrel: pk.PubrelDecode, packets.Pubcomp: pk.PubcompDecode, packets.Pingreq: pk.PingreqDecode,
			packets.Disconnect: pk.DisconnectDecode,
		}[pk.FixedHeader.Type]
		if decode == nil {
			t.Fatalf("a packet of type %d came through", pk.FixedHeader.Type)
		}
		if err := decode(body); err != nil {
			t.Fatalf("type %d: mochi says %v", pk.FixedHeader.Type, err)
		}
	}
}

// Whatever stands in a rules file: it is read or refused, and what is read can be asked.
func FuzzACL(f *testing.F) {
	f.Add(rules, "hub", "/all/x")
	f.Add("topic deny #\npattern read +/%u/#", "", "a/b/c")
	f.Fuzz(func(t *testing.T, text, user, topic string) {
		a, err := ParseACL(strings.NewReader(text))
		if err != nil || !validFilter(topic) || strings.ContainsAny(topic, "+#") {
			return
		}
		a.mayWrite(user, "c", topic)
		if a.mayRead(user, "c", topic) && !a.maySubscribe(user, "c", topic) {
			t.Errorf("%q may read %q and not subscribe to it", user, topic)
		}
	})
}
