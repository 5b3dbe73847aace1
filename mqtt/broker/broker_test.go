package broker

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a broker on loopback until the test ends. mod may change its settings.
func start(t *testing.T, mod func(*Config)) *Broker {
	t.Helper()
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Listeners: []Listener{{Listener: l}}, Log: slog.New(slog.DiscardHandler)}
	if mod != nil {
		mod(&cfg)
	}
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return b
}

// raw is a client that says exactly what a test wants.
type raw struct {
	t *testing.T
	net.Conn
}

func dial(t *testing.T, b *Broker) raw {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { c.Close() })
	return raw{t, c}
}

func (r raw) say(b ...byte) {
	r.t.Helper()
	if _, err := r.Write(b); err != nil {
		r.t.Fatalf("write: %v", err)
	}
}

// hear reads one packet.
func (r raw) hear() (first byte, body []byte) {
	r.t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		r.t.Fatalf("read: %v", err)
	}
	n := int(head[1] & 0x7f)
	if head[1]&0x80 != 0 {
		more := make([]byte, 1)
		io.ReadFull(r, more)
		n += int(more[0]) << 7
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		r.t.Fatalf("read: %v", err)
	}
	return head[0], body
}

// gone waits until the broker has closed the connection, and gives what it said before.
func (r raw) gone() []byte {
	r.t.Helper()
	rest, err := io.ReadAll(r)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		r.t.Fatal("the broker kept the connection")
	}
	return rest
}

func field(s string) []byte { return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...) }

func packet(first byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	if len(body) < 128 {
		return append([]byte{first, byte(len(body))}, body...)
	}
	return append([]byte{first, byte(len(body)&0x7f) | 0x80, byte(len(body) >> 7)}, body...)
}

func connectPacket(id string, flags byte, more ...[]byte) []byte {
	return packet(0x10, append([][]byte{field("MQTT"), {4, flags, 0, 10}, field(id)}, more...)...)
}

func publishPacket(topic, payload string, flags byte) []byte {
	parts := [][]byte{field(topic), []byte(payload)}
	if flags&6 != 0 {
		parts = [][]byte{field(topic), {0, 9}, []byte(payload)}
	}
	return packet(0x30|flags, parts...)
}

func subscribePacket(filters ...string) []byte {
	parts := [][]byte{{0, 7}}
	for _, f := range filters {
		parts = append(parts, field(f), []byte{1})
	}
	return packet(0x82, parts...)
}

// join connects and waits until it is taken.
func join(t *testing.T, b *Broker, id string, flags byte, more ...[]byte) raw {
	t.Helper()
	r := dial(t, b)
	r.say(connectPacket(id, flags, more...)...)
	if first, body := r.hear(); first != 0x20 || !bytes.Equal(body, []byte{0, 0}) {
		t.Fatalf("CONNECT answered with %#x %v", first, body)
	}
	return r
}

// alive proves that the broker still takes a message from one client to another.
func alive(t *testing.T, b *Broker) {
	t.Helper()
	in, out := join(t, b, "alive-in", 2), join(t, b, "alive-out", 2)
	in.say(subscribePacket("/alive")...)
	if first, _ := in.hear(); first != 0x90 {
		t.Fatalf("SUBSCRIBE answered with %#x", first)
	}
	out.say(publishPacket("/alive", "yes", 0)...)
	if first, body := in.hear(); first != 0x30 || !bytes.HasSuffix(body, []byte("yes")) {
		t.Fatalf("got %#x %q", first, body)
	}
	in.Close()
	out.Close()
}

// killer ends mochi's process when nothing stands before it: a SUBSCRIBE of MQTT 5 that ends before its options.
var killer = []byte{0x82, 6, 0, 1, 0, 0, 1, 'a'}

func TestTruncatedSubscribe(t *testing.T) {
	t.Run("is what mochi does not survive", func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Error("mochi takes the packet: the tests below prove nothing")
			}
		}()
		pk := packets.Packet{ProtocolVersion: 5, FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}}
		pk.SubscribeDecode(killer[2:])
	})
	v5 := packet(0x10, field("MQTT"), []byte{5, 2, 0, 10, 0}, field("five"))
	t.Run("MQTT 5", func(t *testing.T) {
		b := start(t, nil)
		r := dial(t, b)
		r.say(append(v5, killer...)...)
		if got := r.gone(); !bytes.Equal(got, []byte{0x20, 3, 0, 0x84, 0}) {
			t.Errorf("MQTT 5 is answered with % x, want unsupported protocol version", got)
		}
		alive(t, b)
	})
	t.Run("MQTT 3.1.1", func(t *testing.T) {
		b := start(t, nil)
		r := join(t, b, "four", 2)
		r.say(killer...)
		r.gone()
		alive(t, b)
	})
	t.Run("past the guard", func(t *testing.T) {
		var log bytes.Buffer
		e := newEntrance("x", Listener{}, nil, slog.New(slog.NewTextHandler(&log, nil)))
		c, other := net.Pipe()
		defer other.Close()
		e.serve(newGuarded(c, Limits{}.withDefaults()), func(string, net.Conn) error {
			pk := packets.Packet{ProtocolVersion: 5, FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}}
			return pk.SubscribeDecode(killer[2:])
		})
		if !strings.Contains(log.String(), "panic") {
			t.Errorf("log says %q", log.String())
		}
	})
}

// Other versions are told so in their own words.
// What is retained for the first time and taken away again, while others subscribe to all of it; the race detector is the judge.
func TestRetainWhileOthersSubscribe(t *testing.T) {
	b := start(t, nil)
	writer, reader := join(t, b, "writer", 2), join(t, b, "reader", 2)
	const rounds = 200
	var both sync.WaitGroup
	both.Go(func() {
		for i := range rounds {
			for _, payload := range []string{"x", ""} {
				writer.Write(publishPacket("/e/1/"+strings.Repeat("a", i%20+1), payload, 1))
			}
		}
	})
	both.Go(func() {
		for range rounds {
			reader.Write(subscribePacket("/e/#"))
		}
	})
	go io.Copy(io.Discard, reader)
	both.Wait()
	writer.Write(publishPacket("/e/1/end", "x", 1))
	late := join(t, b, "late", 2)
	late.Write(subscribePacket("/e/1/end"))
	late.hear() // SUBACK
	if first, body := late.hear(); first>>4 != packets.Publish || !bytes.HasSuffix(body, []byte("endx")) {
		t.Errorf("retained after all that: % x %q", first, body)
	}
}

func TestVersions(t *testing.T) {
	b := start(t, nil)
	for name, tt := range map[string]struct{ say, want []byte }{
		"3.1":  {packet(0x10, field("MQIsdp"), []byte{3, 2, 0, 10}, field("x")), []byte{0x20, 2, 0, 1}},
		"5":    {packet(0x10, field("MQTT"), []byte{5, 2, 0, 10, 0}, field("x")), []byte{0x20, 3, 0, 0x84, 0}},
		"9":    {packet(0x10, field("MQTT"), []byte{9, 2, 0, 10, 0}, field("x")), []byte{0x20, 3, 0, 0x84, 0}},
		"none": {packet(0x10, field("HTTP"), []byte{4, 2, 0, 10}, field("x")), nil},
	} {
		r := dial(t, b)
		r.say(tt.say...)
		if got := r.gone(); !bytes.Equal(got, tt.want) {
			t.Errorf("%s: % x, want % x", name, got, tt.want)
		}
	}
}

func TestMalformed(t *testing.T) {
	ok := connectPacket("x", 2)
	tests := map[string][]byte{
		"no CONNECT first":          {0xc0, 0},
		"CONNECT twice":             append(bytes.Clone(ok), ok...),
		"reserved type":             append(bytes.Clone(ok), 0x00, 0),
		"AUTH":                      append(bytes.Clone(ok), 0xf0, 0),
		"CONNACK from a client":     append(bytes.Clone(ok), 0x20, 2, 0, 0),
		"PUBLISH of 256 MiB":        append(bytes.Clone(ok), 0x30, 0xff, 0xff, 0xff, 0x7f),
		"length of five bytes":      append(bytes.Clone(ok), 0x30, 0xff, 0xff, 0xff, 0xff, 0x7f),
		"PINGREQ with a body":       append(bytes.Clone(ok), 0xc0, 1, 0),
		"PINGREQ with flags":        append(bytes.Clone(ok), 0xc1, 0),
		"QoS 3":                     append(bytes.Clone(ok), publishPacket("a", "", 6)...),
		"DUP with QoS 0":            append(bytes.Clone(ok), publishPacket("a", "", 8)...),
		"empty topic":               append(bytes.Clone(ok), publishPacket("", "", 0)...),
		"topic with a wildcard":     append(bytes.Clone(ok), publishPacket("a/+", "", 0)...),
		"topic of the system":       append(bytes.Clone(ok), publishPacket("$SYS/x", "", 0)...),
		"topic of a zero byte":      append(bytes.Clone(ok), publishPacket("a\x00", "", 0)...),
		"topic that is no UTF-8":    append(bytes.Clone(ok), publishPacket("a\xff", "", 0)...),
		"topic of many levels":      append(bytes.Clone(ok), publishPacket(strings.Repeat("/", 40), "", 0)...),
		"packet id 0":               append(bytes.Clone(ok), packet(0x32, field("a"), []byte{0, 0})...),
		"topic longer than packet":  append(bytes.Clone(ok), 0x30, 4, 0, 9, 'a', 'b'),
		"PUBACK of one byte":        append(bytes.Clone(ok), 0x40, 1, 0),
		"PUBREL without its flag":   append(bytes.Clone(ok), 0x60, 2, 0, 1),
		"SUBSCRIBE without filters": append(bytes.Clone(ok), 0x82, 2, 0, 1),
		"SUBSCRIBE of QoS 3":        append(bytes.Clone(ok), packet(0x82, []byte{0, 1}, field("a"), []byte{3})...),
		"filter a#":                 append(bytes.Clone(ok), subscribePacket("a#")...),
		"filter #/a":                append(bytes.Clone(ok), subscribePacket("#/a")...),
		"UNSUBSCRIBE cut":           append(bytes.Clone(ok), 0xa2, 4, 0, 1, 0, 5),
		"CONNECT cut":               {0x10, 6, 0, 4, 'M', 'Q', 'T', 'T'},
		"CONNECT with too much":     append([]byte{ok[0], ok[1] + 1}, append(bytes.Clone(ok[2:]), 0)...),
		"password without user":     connectPacket("x", 0x42, field("p")),
		"will QoS 3":                connectPacket("x", 0x1e, field("w"), field("")),
		"will flags without a will": connectPacket("x", 0x22),
		"reserved flag":             connectPacket("x", 3),
		"no id, session kept":       connectPacket("", 0),
		"another protocol":          packet(0x10, field("HTTP"), []byte{4, 2, 0, 10}, field("x")),
		"HTTP":                      []byte("GET / HTTP/1.1\r\n\r\n"),
	}
	b := start(t, nil)
	for name, bytes := range tests {
		t.Run(name, func(t *testing.T) {
			r := dial(t, b)
			r.say(bytes...)
			r.gone()
		})
	}
	alive(t, b)
}

func TestLengthIsNotAllocated(t *testing.T) {
	c, other := net.Pipe()
	defer c.Close()
	g := newGuarded(c, Limits{}.withDefaults())
	g.greeted = true
	defer other.Close()
	go other.Write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f})
	if _, err := g.Read(make([]byte, 10)); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
	if cap(g.packet) != 0 {
		t.Errorf("%d bytes were allocated", cap(g.packet))
	}
}

// How the bytes are cut into reads makes no difference.
func TestSplitAtEveryByte(t *testing.T) {
	said := slices.Concat(connectPacket("x", 6, field("/w"), field("will")), subscribePacket("/a/+", "#"),
		publishPacket("/a", strings.Repeat("x", 200), 3), []byte{0x62, 2, 0, 1, 0xc0, 0, 0xe0, 0})
	g := newGuarded(bytesConn{iotest.OneByteReader(bytes.NewReader(said))}, Limits{}.withDefaults())
	through, err := io.ReadAll(iotest.OneByteReader(g))
	if err != nil || !bytes.Equal(through, said) {
		t.Errorf("%d of %d bytes came through: %v", len(through), len(said), err)
	}
}

func TestSlowConnect(t *testing.T) {
	b := start(t, func(c *Config) { c.Limits.Connect = 200 * time.Millisecond })
	for name, bytes := range map[string][]byte{"nothing": nil, "half a CONNECT": connectPacket("x", 2)[:9]} {
		t.Run(name, func(t *testing.T) {
			r := dial(t, b)
			r.say(bytes...)
			began := time.Now()
			r.gone()
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("closed after %v", d)
			}
		})
	}
	alive(t, b)
}

func TestHalfAPacket(t *testing.T) {
	b := start(t, func(c *Config) { c.Limits.Packet = 200 * time.Millisecond })
	r := join(t, b, "half", 2)
	r.say(0x30, 100, 0, 1)
	r.gone()
}

func TestConnectionLimit(t *testing.T) {
	b := start(t, func(c *Config) { c.Limits.Connections = 2 })
	one, two := join(t, b, "one", 2), join(t, b, "two", 2)
	three := dial(t, b)
	three.gone()
	one.Close()
	deadline := time.Now().Add(10 * time.Second)
	for { // the place is given back as soon as the broker has noticed
		r := dial(t, b)
		r.Write(connectPacket("four", 2))
		if n, _ := io.ReadFull(r, make([]byte, 4)); n == 4 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place was not given back")
		}
	}
	two.Close()
}

func TestGatePerSource(t *testing.T) {
	g := newGate(Limits{Connections: 10, PerSource: 2})
	addr := func(s string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(s), Port: 9} }
	first, ok := g.enter(addr("192.0.2.1"))
	if !ok {
		t.Fatal("the first was refused")
	}
	g.enter(addr("192.0.2.1"))
	if _, ok := g.enter(addr("192.0.2.1")); ok {
		t.Error("a third from one address came in")
	}
	if _, ok := g.enter(addr("192.0.2.2")); !ok {
		t.Error("another address did not come in")
	}
	g.enter(addr("2001:db8::1"))
	g.enter(addr("2001:db8::2"))
	if _, ok := g.enter(addr("2001:db8::3")); ok {
		t.Error("a third of one /64 came in")
	}
	first()
	if _, ok := g.enter(addr("192.0.2.1")); !ok {
		t.Error("the place was not given back")
	}
	for range 5 {
		if _, ok := g.enter(addr("127.0.0.1")); !ok {
			t.Error("loopback is bounded like a stranger")
		}
	}
	if _, ok := g.enter(addr("127.0.0.1")); ok {
		t.Error("more than the most came in")
	}
}

func TestBucket(t *testing.T) {
	now := time.Unix(1000, 0)
	b := bucket{rate: 10, most: 20, have: 20}
	for range 20 {
		if w := b.take(1, now); w != 0 {
			t.Fatalf("wait of %v within the burst", w)
		}
	}
	if w := b.take(1, now); w != 100*time.Millisecond {
		t.Errorf("wait %v, want 100ms", w)
	}
	now = now.Add(time.Hour)
	if b.take(1, now); b.have != 19 {
		t.Errorf("%v left after a long rest, want 19", b.have)
	}
	if w := b.take(1, now.Add(-time.Hour)); w != 0 {
		t.Errorf("a clock set back costs %v", w)
	}
}

func TestRateIsAWaitAndNoLoss(t *testing.T) {
	b := start(t, func(c *Config) { c.Limits.PacketRate = 50 })
	in, out := join(t, b, "in", 2), join(t, b, "out", 2)
	in.say(subscribePacket("/r")...)
	in.hear()
	began := time.Now()
	for range 150 { // CONNECT and 99 of these are free
		out.say(publishPacket("/r", "x", 0)...)
	}
	for range 150 {
		in.hear()
	}
	if d := time.Since(began); d < 900*time.Millisecond {
		t.Errorf("150 packets at 50 a second took %v", d)
	}
}

func TestNewRefuses(t *testing.T) {
	lan := fakeListener{&net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 1883}}
	any := fakeListener{&net.TCPAddr{IP: net.IPv6unspecified, Port: 1883}}
	here := fakeListener{&net.TCPAddr{IP: net.IPv6loopback, Port: 1883}}
	users := map[string]string{"hub": "secret"}
	tests := map[string]struct {
		cfg  Config
		want error
	}{
		"no listener":             {Config{}, ErrConfig},
		"LAN, nothing":            {Config{Listeners: []Listener{{Listener: lan}}}, ErrOpen},
		"LAN, users, no TLS":      {Config{Listeners: []Listener{{Listener: lan}}, Users: users}, ErrOpen},
		"LAN, TLS, no users":      {Config{Listeners: []Listener{{Listener: lan, TLS: &tls.Config{}}}}, ErrOpen},
		"every address":           {Config{Listeners: []Listener{{Listener: any}}, Users: users}, ErrOpen},
		"one of two":              {Config{Listeners: []Listener{{Listener: here}, {Listener: lan}}, Users: users}, ErrOpen},
		"LAN, TLS and users":      {Config{Listeners: []Listener{{Listener: lan, TLS: &tls.Config{}}}, Users: users}, nil},
		"loopback":                {Config{Listeners: []Listener{{Listener: here}}}, nil},
		"user that is a pattern":  {Config{Listeners: []Listener{{Listener: here}}, Users: map[string]string{"a+": "x"}}, ErrConfig},
		"no password":             {Config{Listeners: []Listener{{Listener: here}}, Users: map[string]string{"a": ""}}, ErrConfig},
		"hash that is none":       {Config{Listeners: []Listener{{Listener: here}}, Users: map[string]string{"a": "$7$1$x"}}, ErrConfig},
		"hash that takes minutes": {Config{Listeners: []Listener{{Listener: here}}, Users: map[string]string{"a": "$7$999999999$YQ==$YQ=="}}, ErrConfig},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := New(tt.cfg); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

type fakeListener struct{ addr net.Addr }

func (f fakeListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (f fakeListener) Close() error              { return nil }
func (f fakeListener) Addr() net.Addr            { return f.addr }

func TestPortTaken(t *testing.T) {
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Listen(l.Addr().String())
	if !errors.Is(err, ErrTaken) || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

// lines is a log that several goroutines write.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestLogHasNoPasswordAndNoPayload(t *testing.T) {
	var log lines
	b := start(t, func(c *Config) {
		c.Users = map[string]string{"hub": "right-password"}
		c.Limits.FailedLoginPause = time.Millisecond
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	r := dial(t, b)
	r.say(connectPacket("x", 0xc2, field("hub"), field("wrong-password"))...)
	r.gone()
	r = join(t, b, "y", 0xc2, field("hub"), field("right-password"))
	r.say(packet(0x36, field("/a"), []byte{0, 1}, []byte("the-payload"))...)
	r.gone()
	for _, secret := range []string{"right-password", "wrong-password", "the-payload"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	if !strings.Contains(log.String(), "wrong user or password") {
		t.Error("the log does not tell of a wrong password")
	}
}
