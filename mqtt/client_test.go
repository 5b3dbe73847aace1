package mqtt

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley/mqtt/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// serve runs our own broker on addr until stop or the test's end.
func serve(t *testing.T, addr string) (url string, stop func()) {
	t.Helper()
	var l net.Listener
	eventually(t, "the port", func() (err error) {
		l, err = broker.Listen(addr)
		return err
	})
	stop = serveConfig(t, broker.Config{Listeners: []broker.Listener{{Listener: l}}})
	return "mqtt://" + l.Addr().String(), stop
}

func serveConfig(t *testing.T, cfg broker.Config) (stop func()) {
	t.Helper()
	cfg.Log = quiet
	b, err := broker.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { b.Run(ctx) })
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// run has a client running until stop or the test's end.
func run(t *testing.T, cfg Config, before ...func(*Client)) (c *Client, stop func()) {
	t.Helper()
	if cfg.ClientID == "" {
		cfg.ClientID = strings.ReplaceAll(t.Name(), "/", "-")
	}
	if cfg.Log == nil {
		cfg.Log = quiet
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range before {
		f(c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return c, stop
}

func connected(t *testing.T, c *Client) {
	t.Helper()
	eventually(t, "connect", func() error {
		if !c.Stats().Connected {
			return errors.New("not connected")
		}
		return nil
	})
}

// heard collects what a watcher gets.
type heard struct {
	ch chan Message
}

// watch is a second client that hears everything under filter.
func watch(t *testing.T, url, filter string) *heard {
	t.Helper()
	h := &heard{ch: make(chan Message, 10000)}
	w, _ := run(t, Config{URL: url, ClientID: "watch-" + strings.ReplaceAll(t.Name(), "/", "-")}, func(c *Client) {
		c.Subscribe(filter, func(m Message) { h.ch <- m })
	})
	connected(t, w)
	return h
}

// until waits for a message with that payload under that topic and gives those before it.
func (h *heard) until(t *testing.T, topic, payload string) (before []Message) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case m := <-h.ch:
			if m.Topic == topic && string(m.Payload) == payload {
				return before
			}
			before = append(before, m)
		case <-timeout:
			t.Fatalf("no %q under %s; before: %v", payload, topic, before)
		}
	}
}

func TestPublishAndSubscribe(t *testing.T) {
	url, _ := serve(t, "127.0.0.1:0")
	h := watch(t, url, "/x/#")
	c, stop := run(t, Config{URL: url, Goodbye: func() *Message {
		return &Message{Topic: "/x/state", Payload: []byte("disconnected"), QoS: 1, Retained: true}
	}}, func(c *Client) {
		c.Publish("/x/before", []byte("told before Run"), 1, false)
		c.Publish("/x/state", []byte("ready"), 1, true)
	})
	h.until(t, "/x/state", "ready") // what is retained comes first
	h.until(t, "/x/before", "told before Run")
	for i := range 500 {
		if err := c.Publish("/x/n", fmt.Append(nil, i), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	before := h.until(t, "/x/n", "499")
	for i, m := range before {
		if string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, m.Payload)
		}
	}
	for i := range 100 {
		c.Publish("/x/last", fmt.Append(nil, i), 1, false)
	}
	stop() // tells what is left, then the goodbye
	if before := h.until(t, "/x/state", "disconnected"); len(before) != 100 {
		t.Errorf("%d messages before the goodbye, want 100", len(before))
	}
	if late := watch(t, url, "/x/state"); late != nil {
		late.until(t, "/x/state", "disconnected")
	}
}

func TestPublishRefuses(t *testing.T) {
	c, err := New(Config{URL: "mqtt://localhost", ClientID: "x", MaxPacket: 1000, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]error{"": ErrBadTopic, "a/+": ErrBadTopic, "#": ErrBadTopic, "a\x00": ErrBadTopic,
		"\xff": ErrBadTopic, strings.Repeat("x", 600): ErrBadTopic, "/fine": nil} {
		if err := c.Publish(topic, nil, 1, false); !errors.Is(err, want) {
			t.Errorf("%.20q: %v", topic, err)
		}
	}
	if err := c.Publish("/a", make([]byte, 1000), 1, false); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if err := c.Publish("/a", nil, 2, false); !errors.Is(err, ErrBadTopic) {
		t.Errorf("QoS 2: %v", err)
	}
	if err := c.Subscribe("a#", func(Message) {}); !errors.Is(err, ErrBadTopic) {
		t.Errorf("got %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no URL":             {ClientID: "x"},
		"no id":              {URL: "mqtt://h"},
		"another scheme":     {URL: "http://h", ClientID: "x"},
		"no host":            {URL: "mqtt://:1883", ClientID: "x"},
		"password in URL":    {URL: "mqtt://u:secret@h", ClientID: "x"},
		"path":               {URL: "mqtt://h/x", ClientID: "x"},
		"not a URL":          {URL: "mqtt://secret@%zz", ClientID: "x"},
		"password, no user":  {URL: "mqtt://h", ClientID: "x", Password: "secret"},
		"will of no topic":   {URL: "mqtt://h", ClientID: "x", Will: &Message{}},
		"certs without TLS ": {URL: "mqtt://h", ClientID: "x", Certificate: new(tls.Certificate)},
	} {
		if _, err := New(cfg); !errors.Is(err, ErrConfig) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for url, addr := range map[string]string{"mqtt://h": "h:1883", "tcp://h:1": "h:1", "mqtts://h": "h:8883", "ssl://[::1]": "[::1]:8883"} {
		c, err := New(Config{URL: url, ClientID: "x"})
		if err != nil || c.addr != addr || (c.tls != nil) != (strings.HasPrefix(url, "mqtts") || strings.HasPrefix(url, "ssl")) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// A broker that comes back without its memory is told everything that is retained, events of the meantime come after.
func TestBrokerRestarts(t *testing.T) {
	url, kill := serve(t, "127.0.0.1:0")
	c, _ := run(t, Config{URL: url})
	for i := range 200 {
		c.Publish(fmt.Sprint("/r/", i), []byte("old"), 1, true)
	}
	c.Publish("/r/gone", []byte("old"), 1, true)
	c.Publish("/r/gone", nil, 1, true)
	eventually(t, "told", func() error {
		if s := c.Stats(); s.Queued > 0 || !s.Connected {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	kill()
	eventually(t, "noticed", func() error {
		if c.Stats().Connected {
			return errors.New("still connected")
		}
		return nil
	})
	c.Publish("/r/7", []byte("new"), 1, true)
	c.Publish("/e", []byte("event"), 1, false)
	serve(t, strings.TrimPrefix(url, "mqtt://"))
	h := watch(t, url, "#")
	h.until(t, "/e", "event")
	late := watch2(t, url, "/r/#")
	told := map[string]string{}
	for timeout := time.After(15 * time.Second); len(told) < 200; {
		select {
		case m := <-late.ch:
			told[m.Topic] = string(m.Payload)
		case <-timeout:
			t.Fatalf("%d topics were told again", len(told))
		}
	}
	if told["/r/7"] != "new" || told["/r/199"] != "old" || told["/r/gone"] != "" {
		t.Errorf("/r/7=%q, /r/199=%q, /r/gone=%q", told["/r/7"], told["/r/199"], told["/r/gone"])
	}
}

func watch2(t *testing.T, url, filter string) *heard {
	t.Helper()
	h := &heard{ch: make(chan Message, 10000)}
	w, _ := run(t, Config{URL: url, ClientID: "late"}, func(c *Client) {
		c.Subscribe(filter, func(m Message) { h.ch <- m })
	})
	connected(t, w)
	return h
}

// cutter is a TCP relay whose connections can be cut without a word of MQTT.
type cutter struct {
	l     net.Listener
	to    string
	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

func relay(t *testing.T, url string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &cutter{l: l, to: strings.TrimPrefix(url, "mqtt://")}
	r.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", r.to)
			if err != nil {
				in.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, in, out)
			r.mu.Unlock()
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				r.wg.Go(func() {
					io.Copy(pair[0], pair[1])
					pair[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.cut()
		r.wg.Wait()
	})
	return r
}

func (r *cutter) url() string { return "mqtt://" + r.l.Addr().String() }

func (r *cutter) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

func TestWill(t *testing.T) {
	url, _ := serve(t, "127.0.0.1:0")
	testWill(t, url)
}

// testWill cuts a box's connection: whoever watches sees it lost with the session that it said, then back with the next.
func testWill(t *testing.T, url string) {
	h := watch(t, url, "/box/state")
	r := relay(t, url)
	sess := 40
	var c *Client
	say := func(state string) *Message {
		return &Message{Topic: "/box/state", Payload: fmt.Appendf(nil, `{"state":%q,"sess":%d}`, state, sess), QoS: 1, Retained: true}
	}
	_, stop := run(t, Config{URL: r.url(), ClientID: "the-box", BeforeConnect: func() *Message {
		sess++
		m := say("ready")
		c.Publish(m.Topic, m.Payload, m.QoS, m.Retained)
		return say("lost")
	}, Goodbye: func() *Message { return say("disconnected") }}, func(made *Client) { c = made })
	h.until(t, "/box/state", `{"state":"ready","sess":41}`)
	r.cut()
	h.until(t, "/box/state", `{"state":"lost","sess":41}`)
	h.until(t, "/box/state", fmt.Sprintf(`{"state":"ready","sess":42}`))
	stop()
	h.until(t, "/box/state", `{"state":"disconnected","sess":42}`)
}

// An old will that comes after the new session's state does not stay.
func TestLateWill(t *testing.T) {
	t.Parallel()
	url, _ := serve(t, "127.0.0.1:0")
	state := func(s string) *Message {
		return &Message{Topic: "/box/state", Payload: []byte(s), QoS: 1, Retained: true}
	}
	c, _ := run(t, Config{URL: url, Will: state("lost 2")})
	h := watch(t, url, "/box/state")
	c.Publish("/box/state", []byte("ready 2"), 1, true)
	h.until(t, "/box/state", "ready 2")
	other, _ := run(t, Config{URL: url, ClientID: "other"})
	for _, late := range []string{"lost 1", "lost 2"} {
		other.Publish("/box/state", []byte(late), 1, true)
		h.until(t, "/box/state", late)
		h.until(t, "/box/state", "ready 2")
	}
	// What the client told itself is no reason to speak.
	c.Publish("/box/state", []byte("alert 2"), 1, true)
	c.Publish("/box/state", []byte("ready 3"), 1, true)
	h.until(t, "/box/state", "ready 3")
	time.Sleep(1500 * time.Millisecond) // longer than the client would take to tell again
	other.Publish("/box/end", []byte("x"), 1, false)
	select {
	case m := <-h.ch:
		t.Errorf("told again without need: %s", m.Payload)
	default:
	}
}

// fake is a broker that says exactly what a test wants.
func fake(t *testing.T, after func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				c.Read(make([]byte, 1000)) // CONNECT
				after(c)
				io.Copy(io.Discard, c)
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "mqtt://" + l.Addr().String()
}

var welcome = []byte{0x20, 2, 0, 0}

// What a broker says wrong costs the connection and nothing else: no memory, no panic, and the reason is told.
func TestBadBroker(t *testing.T) {
	t.Parallel()
	publish := func(b ...byte) []byte { return append(bytes.Clone(welcome), b...) }
	tests := map[string]struct {
		says []byte
		want error
	}{
		"256 MiB announced":        {publish(0x30, 0xff, 0xff, 0xff, 0x7f), ErrPacketTooLong},
		"256 MiB instead of hello": {[]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, ErrPacketTooLong},
		"length without end":       {publish(0x30, 0xff, 0xff, 0xff, 0xff, 1), ErrBadPacket},
		"code 6":                   {[]byte{0x20, 2, 0, 6}, ErrBadPacket},
		"hello twice":              {publish(welcome...), ErrBadPacket},
		"two results for one":      {publish(0x90, 4, 0, 1, 0, 0), ErrBadPacket},
		"PUBLISH before hello":     {[]byte{0x30, 3, 0, 1, 'a'}, ErrBadPacket},
		"PUBLISH cut":              {publish(0x30, 1, 0), ErrBadPacket},
		"topic longer than packet": {publish(0x30, 3, 0, 9, 'a'), ErrBadPacket},
		"topic that is a filter":   {publish(0x30, 3, 0, 1, '#'), ErrBadPacket},
		"QoS 2":                    {publish(0x34, 5, 0, 1, 'a', 0, 1), ErrBadPacket},
		"packet id 0":              {publish(0x32, 5, 0, 1, 'a', 0, 0), ErrBadPacket},
		"CONNECT":                  {publish(0x10, 0), ErrBadPacket},
		"PINGRESP with a body":     {publish(0xd0, 1, 0), ErrBadPacket},
		"DISCONNECT":               {publish(0xe0, 0), ErrBadPacket},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := fake(t, func(c net.Conn) { c.Write(tt.says) })
			why := make(chan error, 100)
			_, stop := run(t, Config{URL: url, MaxPacket: 4096}, func(c *Client) {
				c.Subscribe("/a", func(Message) {})
				c.OnState(func(s State) {
					if s.Err != nil {
						select {
						case why <- s.Err:
						default:
						}
					}
				})
			})
			defer stop()
			select {
			case err := <-why:
				if !errors.Is(err, tt.want) {
					t.Errorf("got %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("it stays")
			}
		})
	}
}

func TestFiveBytesAllocateNothing(t *testing.T) {
	sent := make(chan struct{}, 100)
	url := fake(t, func(c net.Conn) {
		c.Write(append(bytes.Clone(welcome), 0x30, 0xff, 0xff, 0xff, 0x7f))
		sent <- struct{}{}
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	lost := make(chan struct{}, 1)
	run(t, Config{URL: url}, func(c *Client) {
		c.OnState(func(s State) {
			if errors.Is(s.Err, ErrPacketTooLong) {
				select {
				case lost <- struct{}{}:
				default:
				}
			}
		})
	})
	<-sent
	select {
	case <-lost:
	case <-time.After(10 * time.Second):
		t.Fatal("the connection stays")
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 4<<20 {
		t.Errorf("%d bytes were allocated", got)
	}
}

// A broker that takes the connection and says nothing does not hold up the end.
func TestSilentBroker(t *testing.T) {
	for name, says := range map[string][]byte{"no hello": nil, "no acknowledgement": welcome} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{}, 100)
			url := fake(t, func(c net.Conn) { c.Write(says); asked <- struct{}{} })
			_, stop := run(t, Config{URL: url}, func(c *Client) {
				c.Publish("/a", []byte("x"), 1, true)
			})
			<-asked
			began := time.Now()
			stop()
			if d := time.Since(began); d > 3*time.Second {
				t.Errorf("the end took %v", d)
			}
		})
	}
}

// A connection that is dead without a word is noticed by the keep-alive.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	url := fake(t, func(c net.Conn) { c.Write(welcome) })
	c, _ := run(t, Config{URL: url, KeepAlive: time.Second})
	connected(t, c)
	eventually(t, "noticed", func() error {
		if c.Stats().Connected {
			return errors.New("still connected")
		}
		return nil
	})
}

// A handler that is slow costs messages, not the connection.
func TestSlowHandler(t *testing.T) {
	url, _ := serve(t, "127.0.0.1:0")
	release := make(chan struct{})
	var once sync.Once
	entered := make(chan struct{})
	slow, _ := run(t, Config{URL: url, ClientID: "slow"}, func(c *Client) {
		c.Subscribe("/s", func(Message) {
			once.Do(func() { close(entered) })
			<-release
		})
	})
	connected(t, slow)
	defer close(release)
	c, _ := run(t, Config{URL: url, ClientID: "fast"})
	c.Publish("/s", []byte("x"), 1, false)
	<-entered
	for range 1000 {
		c.Publish("/s", []byte("x"), 1, false)
	}
	eventually(t, "overrun", func() error {
		if s := slow.Stats(); s.Overrun == 0 || !s.Connected {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

func TestSubscribeWhileConnected(t *testing.T) {
	url, _ := serve(t, "127.0.0.1:0")
	c, _ := run(t, Config{URL: url})
	connected(t, c)
	got := make(chan Message, 10)
	c.Subscribe("/late/+", func(m Message) { got <- m })
	eventually(t, "granted", func() error {
		if n := c.Stats().Subscribed; n != 1 {
			return fmt.Errorf("%d subscriptions", n)
		}
		return nil
	})
	c.Publish("/late/x", []byte("hello"), 1, false)
	select {
	case m := <-got:
		if m.Topic != "/late/x" || string(m.Payload) != "hello" || m.Retained {
			t.Errorf("%+v", m)
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing came")
	}
}
