// Package mqtt is the box's one connection to a broker: it keeps it up, tells what is to be told, and hands on what comes.
//
// It knows nothing of what the topics and payloads mean (that is mqtt/wire), and nothing of the broker at the other end,
// which it does not trust: what comes from there is bounded and checked before the MQTT library sees it.
//
//	Publish → queue (retained: the latest of each topic; measurements: bounded) → Run → paho → conn → broker
//	        ↘ outbox (events, on the disk as far as they wait)                  ↗
//	broker → conn (whole packets, bounded, checked) → paho → inbox (bounded) → handlers
//
// The library's own reconnecting is not used, because its tokens complete before delivery then. Each connection is a new
// one without a session; after it all retained topics are told again, so that a broker which has lost its memory has it
// back, and what was not acknowledged before is told again, so that a receiver may see an event twice.
package mqtt

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"parley/mqtt/outbox"
)

// What a call can be refused for.
var (
	// ErrConfig: a setting is wrong; the error that wraps it says which.
	ErrConfig = errors.New("mqtt settings")
	// ErrBadTopic: a topic or filter that MQTT does not take.
	ErrBadTopic = errors.New("bad topic")
	// ErrTooLarge: the message does not fit into MaxPacket.
	ErrTooLarge = errors.New("message too large")
	// ErrFull: as many retained topics, or messages that may not be dropped, are kept as fit.
	ErrFull = errors.New("too many messages")
)

// Message is one message, going or coming. Of a coming one, Retained means that it was kept by the broker from before.
type Message struct {
	Topic    string
	Payload  []byte
	QoS      byte // 0 or 1
	Retained bool
}

// Handler takes a message. It must not block: the next message waits for it. It may call Publish.
type Handler func(Message)

// State is how the connection stands.
type State struct {
	Connected bool
	Err       error // why not
}

// Stats are counts since the start.
type Stats struct {
	Connected  bool
	Queued     int    // messages that wait for the broker or for its acknowledgement
	Connects   uint64 // connections that came about
	Dropped    uint64 // messages for which there was no room
	Overrun    uint64 // messages that came faster than the handlers took them
	Refused    uint64 // messages over which the broker closed the connection, again and again
	Subscribed int    // subscriptions that the broker has granted on this connection
}

// Config is what a Client needs. URL and ClientID are required.
type Config struct {
	URL         string           // mqtt:// or tcp:// (1883), mqtts:// or ssl:// (8883)
	CA          *x509.CertPool   // who may sign the broker's certificate; nil: the system's
	Certificate *tls.Certificate // the client's own; may be nil
	User        string
	Password    string
	ClientID    string
	// Dial, if set, makes the connection in place of a TCP dialler, for a broker in this process.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	Will *Message // told by the broker when the connection ends without a goodbye; may be nil
	// BeforeConnect, if set, is called before each attempt; what it gives replaces Will. It may call Publish.
	BeforeConnect func() *Message
	// Goodbye, if set, is asked at the end of Run; what it gives is told last, before the connection is closed in order.
	Goodbye func() *Message

	// Outbox, if set, keeps what is neither retained nor of QoS 0 until the broker has acknowledged it, across restarts. Run runs
	// it. nil: such messages are kept in memory, MaxQueue of them.
	Outbox *outbox.Outbox
	// OnRefused, if set, is told of a message that is given up because the broker closes the connection over it. It must not block.
	OnRefused func(Message)

	KeepAlive   time.Duration // 0: 10 s. A dead connection is noticed after at most one and a half
	MaxPacket   int           // longest packet in either direction, in bytes; 0: 256 KiB
	MaxRetained int           // retained topics kept; 0: 1024
	MaxQueue    int           // other messages kept; 0: 1024
	MaxInbox    int           // messages that wait for handlers; 0: 512
	Now         func() time.Time
	Rand        func() float64 // 0 ≤ x < 1, for the back-off's jitter; nil: math/rand
	Log         *slog.Logger   // nil: slog.Default
}

const (
	dialTimeout  = 5 * time.Second  // TCP and TLS
	writeTimeout = 5 * time.Second  // of each packet
	handTimeout  = 3 * time.Second  // until the library takes a packet: so long it may not notice that the connection is lost
	ackTimeout   = 10 * time.Second // of each message and subscription
	flushTimeout = 2 * time.Second  // for what is still to be told at the end
	window       = 32               // messages on their way at once
	stableAfter  = 5 * time.Second  // a connection that held so long ends the back-off
)

// Client is one connection to a broker. Its methods may be called from any goroutine, also before Run.
type Client struct {
	cfg  Config
	addr string
	tls  *tls.Config // nil: plain
	log  *slog.Logger

	wake  chan struct{} // there is something to send or to subscribe
	told  chan struct{} // state has changed
	inbox chan Message  // from the library to the handlers
	stats struct {
		connects, overrun, refused atomic.Uint64
		granted                    atomic.Int64
		turns, handled             atomic.Uint64
	}
	doubt suspicion

	mu       sync.Mutex // guards what follows
	out      *queue
	subs     []*subscription
	watchers []func(State)
	state    State
	retell   bool // somebody else wrote to the will's topic
}

type subscription struct {
	filter  string
	qos     byte
	handler Handler
	session uint64 // in which it was made last
}

// New checks the settings and makes a client at rest. The error wraps ErrConfig.
func New(cfg Config) (*Client, error) {
	if cfg.KeepAlive <= 0 {
		cfg.KeepAlive = 10 * time.Second
	}
	cfg.MaxPacket = orDefault(cfg.MaxPacket, 256<<10)
	cfg.MaxRetained = orDefault(cfg.MaxRetained, 1024)
	cfg.MaxQueue = orDefault(cfg.MaxQueue, 1024)
	cfg.MaxInbox = orDefault(cfg.MaxInbox, 512)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	c := &Client{
		cfg: cfg, log: cfg.Log,
		wake: make(chan struct{}, 1), told: make(chan struct{}, 1), inbox: make(chan Message, cfg.MaxInbox),
		out: newQueue(cfg.MaxRetained, cfg.MaxQueue),
	}
	if cfg.ClientID == "" || len(cfg.ClientID) > 128 || !validText(cfg.ClientID) {
		return nil, fmt.Errorf("%w: the client id must have 1 to 128 bytes", ErrConfig)
	}
	if cfg.Password != "" && cfg.User == "" {
		return nil, fmt.Errorf("%w: a password needs a user", ErrConfig)
	}
	if cfg.Will != nil {
		if err := c.check(*cfg.Will); err != nil {
			return nil, fmt.Errorf("%w: will: %w", ErrConfig, err)
		}
	}
	return c, c.parseURL()
}

func orDefault(v, def int) int {
	if v <= 0 {
		return def
	}
	return v
}

var schemes = map[string]struct {
	port   string
	secure bool
}{"mqtt": {"1883", false}, "tcp": {"1883", false}, "mqtts": {"8883", true}, "ssl": {"8883", true}}

func (c *Client) parseURL() error {
	u, err := url.Parse(c.cfg.URL)
	if err != nil {
		return fmt.Errorf("%w: the broker's URL cannot be read", ErrConfig) // err holds the text, and so maybe a password
	}
	scheme, ok := schemes[u.Scheme]
	if !ok || u.Hostname() == "" {
		return fmt.Errorf("%w: the broker's URL must be like mqtt://host:1883 or mqtts://host:8883", ErrConfig)
	}
	if u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" {
		return fmt.Errorf("%w: the broker's URL takes host and port only; user and password have settings of their own", ErrConfig)
	}
	port := u.Port()
	if port == "" {
		port = scheme.port
	}
	c.addr = net.JoinHostPort(u.Hostname(), port)
	if !scheme.secure {
		if c.cfg.CA != nil || c.cfg.Certificate != nil {
			return fmt.Errorf("%w: certificates need an mqtts:// URL", ErrConfig)
		}
		return nil
	}
	c.tls = &tls.Config{ServerName: u.Hostname(), RootCAs: c.cfg.CA, MinVersion: tls.VersionTLS12}
	if c.cfg.Certificate != nil {
		c.tls.Certificates = []tls.Certificate{*c.cfg.Certificate}
	}
	return nil
}

// Publish takes a message to be told and returns at once. The payload is copied. A retained message replaces the one of the
// same topic, and is told again after each reconnect; an empty payload takes the topic away. Others are kept in order, those of
// QoS 1 in the Outbox if there is one; when there are too many, the oldest of QoS 0 is dropped, then the oldest of all that are
// not PublishKeep's. Errors wrap ErrBadTopic, ErrTooLarge or ErrFull.
func (c *Client) Publish(topic string, payload []byte, qos byte, retained bool) error {
	return c.publish(Message{Topic: topic, Payload: payload, QoS: qos, Retained: retained}, outbox.Event, nil)
}

// PublishKeep takes a message whose sender is told that it will arrive. done is called once, unless there is an error: with nil
// when the message is in the Outbox on the disk, or acknowledged by the broker; else with outbox.ErrNotDurable, when the disk
// fails or is slow, or there is no Outbox. It must not block. The message is told in any case, after everything before it.
func (c *Client) PublishKeep(topic string, payload []byte, done func(error)) error {
	err := c.publish(Message{Topic: topic, Payload: payload, QoS: 1}, outbox.Keep, done)
	if err == nil && c.cfg.Outbox == nil && done != nil {
		done(outbox.ErrNotDurable)
	}
	return err
}

func (c *Client) publish(m Message, class outbox.Class, done func(error)) error {
	if err := c.check(m); err != nil {
		return err
	}
	if o := c.cfg.Outbox; o != nil && m.QoS == 1 && !m.Retained {
		if _, err := o.Put(outbox.Message{Topic: m.Topic, Payload: m.Payload, Class: class}, done); err != nil {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
		return nil
	}
	m.Payload = bytes.Clone(m.Payload)
	c.mu.Lock()
	var after uint64
	if c.cfg.Outbox != nil {
		after = c.cfg.Outbox.Last()
	}
	err := c.out.put(m, after)
	c.mu.Unlock()
	poke(c.wake)
	return err
}

// next takes what is to be told next, in the order in which it was published; nil: nothing, or nothing yet.
func (c *Client) next() *item {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.cfg.Outbox
	if o == nil {
		return c.out.next()
	}
	if first := o.First(); first == 0 || c.out.precedes(first) {
		return c.out.next()
	}
	m, ok := o.Next()
	if !ok {
		return nil // it is being read
	}
	return &item{Message: Message{Topic: m.Topic, Payload: m.Payload, QoS: 1}, seq: m.Seq}
}

// arrived takes note that the broker has the message.
func (c *Client) arrived(it *item) {
	if it.seq > 0 {
		c.cfg.Outbox.Ack(it.seq)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.done(it)
}

func (c *Client) check(m Message) error {
	switch {
	case m.QoS > 1:
		return fmt.Errorf("%w: QoS %d is not used here", ErrBadTopic, m.QoS)
	case m.Topic == "" || len(m.Topic) > maxTopic || !validText(m.Topic) || strings.ContainsAny(m.Topic, "+#"):
		return fmt.Errorf("%w: %.80q", ErrBadTopic, m.Topic)
	case len(m.Topic)+len(m.Payload)+16 > c.cfg.MaxPacket:
		return fmt.Errorf("%w: %s, %d bytes", ErrTooLarge, m.Topic, len(m.Payload))
	}
	return nil
}

// Subscribe has handler called with every message that matches filter, from now on and on every connection. One that
// matches several subscriptions goes to each of their handlers, and may come more than once. The error wraps ErrBadTopic.
func (c *Client) Subscribe(filter string, handler Handler) error {
	if !validFilter(filter) || handler == nil {
		return fmt.Errorf("%w: filter %.80q", ErrBadTopic, filter)
	}
	c.mu.Lock()
	c.subs = append(c.subs, &subscription{filter: filter, qos: 1, handler: handler})
	c.mu.Unlock()
	poke(c.wake)
	return nil
}

// OnState has f called when the connection comes and goes; of changes in quick succession, with the last one only. It
// must not block.
func (c *Client) OnState(f func(State)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers = append(c.watchers, f)
}

// Stats tells how the connection is doing.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stats{Connected: c.state.Connected, Queued: c.out.waiting(), Connects: c.stats.connects.Load(),
		Dropped: c.out.dropped, Overrun: c.stats.overrun.Load(), Refused: c.stats.refused.Load(), Subscribed: int(c.stats.granted.Load())}
	if c.cfg.Outbox != nil {
		kept := c.cfg.Outbox.Stats()
		s.Queued += kept.Waiting
		s.Dropped += kept.Dropped
	}
	return s
}

// Turns are counts that go on for as long as the client does, which tells a watchdog that it does: of the connection, once a second while it
// is up, else with each attempt, at most two minutes apart; and of the goroutine that calls the handlers, once a second.
func (c *Client) Turns() (connection, handlers uint64) {
	return c.stats.turns.Load(), c.stats.handled.Load()
}

// Run keeps the connection up until ctx ends; then it tells what is still to be told, and the goodbye, and closes it in
// order. It returns nil. All its goroutines have ended when it returns.
func (c *Client) Run(ctx context.Context) error {
	var handlers sync.WaitGroup
	done := make(chan struct{})
	handlers.Go(func() { c.dispatch(done) })
	keep, end := context.WithCancel(context.Background()) // the outbox ends after the last word
	if c.cfg.Outbox != nil {
		handlers.Go(func() {
			if err := c.cfg.Outbox.Run(keep); err != nil {
				c.log.Warn("mqtt: what waits for the broker is not all on the disk", "error", err)
			}
		})
	}
	defer func() {
		close(done)
		end()
		handlers.Wait()
	}()
	var wait backoff
	lost := c.cfg.Now()
	for n := uint64(1); ctx.Err() == nil; n++ {
		c.stats.turns.Add(1)
		began := c.cfg.Now()
		err := c.session(ctx, n)
		if ctx.Err() != nil {
			break
		}
		if c.setState(State{Err: err}) && c.cfg.Now().Sub(began) >= stableAfter {
			wait, lost = backoff{}, c.cfg.Now()
			c.doubt.lost = 0
		}
		pause := wait.next(c.cfg.Now().Sub(lost), c.cfg.Rand())
		c.log.Warn("mqtt: not connected", "broker", c.addr, "error", err, "again_in", pause.Round(time.Millisecond))
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
	c.setState(State{Err: context.Cause(ctx)})
	return nil
}

// setState notes a change and tells the watchers; it gives whether the connection was up before.
func (c *Client) setState(s State) (was bool) {
	c.mu.Lock()
	was, c.state = c.state.Connected, s
	c.mu.Unlock()
	poke(c.told)
	return was
}

// dispatch calls the handlers, one at a time, until done.
func (c *Client) dispatch(done <-chan struct{}) {
	var last *State
	tell := func() {
		c.mu.Lock()
		s, watchers := c.state, c.watchers
		c.mu.Unlock()
		if last != nil && last.Connected == s.Connected && errors.Is(last.Err, s.Err) {
			return
		}
		last = &s
		for _, f := range watchers {
			f(s)
		}
	}
	turn := time.NewTicker(time.Second)
	defer turn.Stop()
	for {
		select {
		case <-turn.C:
			c.stats.handled.Add(1)
		case <-c.told:
			tell()
		case m := <-c.inbox:
			c.hand(m)
		case <-done:
			tell()
			return
		}
	}
}

func (c *Client) hand(m Message) {
	c.mu.Lock()
	var to []Handler
	for _, s := range c.subs {
		if matches(s.filter, m.Topic) {
			to = append(to, s.handler)
		}
	}
	c.mu.Unlock()
	for _, h := range to {
		h(m)
	}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
