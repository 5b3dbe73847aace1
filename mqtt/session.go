package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// session is one connection, from the dial to its end.
type session struct {
	c    *Client
	n    uint64 // counts sessions
	paho paho.Client
	conn atomic.Pointer[conn] // set on the library's goroutine
	lost chan error
	will *Message
	sent []sent // in the order of sending
}

type sent struct {
	item  *item
	token paho.Token
	at    time.Time
}

// session connects once and serves the connection until it is lost (then it says why) or ctx ends.
func (c *Client) session(ctx context.Context, n uint64) error {
	s := &session{c: c, n: n, lost: make(chan error, 1), will: c.cfg.Will}
	if c.cfg.BeforeConnect != nil {
		s.will = c.cfg.BeforeConnect()
	}
	if s.will != nil {
		if err := c.check(*s.will); err != nil {
			return fmt.Errorf("will: %w", err)
		}
	}
	err := s.connected(ctx)
	if c := s.conn.Load(); c != nil && c.fault.Load() != nil {
		// The library's own words for it are many.
		err = *c.fault.Load()
	}
	return err
}

func (s *session) connected(ctx context.Context) error {
	c := s.c
	if err := s.connect(ctx); err != nil {
		return err
	}
	defer s.close()
	c.mu.Lock()
	c.out.reset()
	if s.will != nil {
		c.out.watch(s.will.Topic)
	}
	c.mu.Unlock()
	if c.cfg.Outbox != nil {
		c.cfg.Outbox.Rewind()
	}
	c.stats.granted.Store(0)
	if err := s.subscribe(ctx); err != nil {
		return err
	}
	c.stats.connects.Add(1)
	c.setState(State{Connected: true})
	c.log.Info("mqtt: connected", "broker", c.addr)
	err := s.serve(ctx)
	if err != nil && ctx.Err() == nil {
		c.suspect(s.sent, err)
	}
	return err
}

func (s *session) connect(ctx context.Context) error {
	opts := s.options(ctx)
	s.paho = paho.NewClient(opts)
	token := s.paho.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		// The dial ends with ctx, the wait for the broker's answer does not.
		s.leave()
		<-token.Done()
	}
	if err := token.Error(); err != nil {
		s.leave()
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

func (s *session) options(ctx context.Context) *paho.ClientOptions {
	c := s.c
	opts := paho.NewClientOptions().
		SetClientID(c.cfg.ClientID).SetUsername(c.cfg.User).SetPassword(c.cfg.Password).
		SetProtocolVersion(4).SetCleanSession(true).
		SetAutoReconnect(false).SetConnectRetry(false).SetResumeSubs(false).
		SetKeepAlive(c.cfg.KeepAlive).SetPingTimeout(c.cfg.KeepAlive / 2).
		SetConnectTimeout(dialTimeout).SetWriteTimeout(handTimeout).
		SetOrderMatters(true).
		SetConnectionLostHandler(func(_ paho.Client, err error) {
			select {
			case s.lost <- err:
			default:
			}
		}).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { s.arrived(m) }).
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return s.open(ctx) })
	opts.Servers = []*url.URL{{Scheme: "tcp", Host: c.addr}}
	if w := s.will; w != nil {
		opts.SetBinaryWill(w.Topic, w.Payload, w.QoS, w.Retained)
	}
	return opts
}

// open dials the broker, with TLS where the URL says so.
func (s *session) open(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dial := s.c.cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: s.c.cfg.KeepAlive}).DialContext
	}
	raw, err := dial(ctx, "tcp", s.c.addr)
	if err != nil {
		return nil, err
	}
	if s.c.tls != nil {
		t := tls.Client(raw, s.c.tls)
		if err := t.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		raw = t
	}
	guarded := guard(raw, s.c.cfg.MaxPacket)
	s.conn.Store(guarded)
	if ctx.Err() != nil { // after connect has looked for something to leave
		guarded.leave()
	}
	return guarded, nil
}

// arrived puts a message into the inbox; it runs on the library's goroutine, which must not wait.
func (s *session) arrived(m paho.Message) {
	c := s.c
	msg := Message{Topic: m.Topic(), Payload: m.Payload(), QoS: m.Qos(), Retained: m.Retained()}
	if s.will != nil && msg.Topic == s.will.Topic {
		c.mu.Lock()
		if c.out.contradicts(msg, s.will.Payload) {
			c.retell = true
		}
		c.mu.Unlock()
	}
	select {
	case c.inbox <- msg:
	default:
		if n := c.stats.overrun.Add(1); n&(n-1) == 0 { // at 1, 2, 4, 8, ...
			c.log.Warn("mqtt: messages come faster than they are taken; dropped", "so_far", n)
		}
	}
}

// subscribe makes every subscription that this connection does not have yet, one by one. A broker that refuses one is
// not left for it: what can be done is done.
func (s *session) subscribe(ctx context.Context) error {
	if s.will != nil && s.will.Retained {
		s.c.guardWill(s.will.Topic)
	}
	for {
		s.c.mu.Lock()
		at := slices.IndexFunc(s.c.subs, func(sub *subscription) bool { return sub.session != s.n })
		var sub *subscription
		if at >= 0 {
			sub = s.c.subs[at]
			sub.session = s.n
		}
		s.c.mu.Unlock()
		if sub == nil {
			return nil
		}
		token := s.paho.Subscribe(sub.filter, sub.qos, nil).(*paho.SubscribeToken)
		if err := s.await(ctx, token); err != nil {
			return fmt.Errorf("subscribe %s: %w", sub.filter, err)
		}
		if token.Result()[sub.filter] > 1 {
			s.c.log.Warn("mqtt: the broker refuses a subscription", "filter", sub.filter)
			continue
		}
		s.c.stats.granted.Add(1)
	}
}

// guardWill has the client hear what stands under its own will's topic. A broker that notices late that the last
// connection is dead tells its will after this one's state; then the state is told again.
func (c *Client) guardWill(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.ContainsFunc(c.subs, func(s *subscription) bool { return matches(s.filter, topic) }) {
		c.subs = append(c.subs, &subscription{filter: topic, qos: 1, handler: func(Message) {}})
	}
}

func (s *session) await(ctx context.Context, token paho.Token) error {
	t := time.NewTimer(ackTimeout)
	defer t.Stop()
	select {
	case <-token.Done():
		return token.Error()
	case err := <-s.lost:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return errors.New("the broker does not answer")
	}
}

// serve sends what waits, until the connection is lost or ctx ends.
func (s *session) serve(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		s.send()
		select {
		case <-ctx.Done():
			s.goodbye()
			return nil
		case err := <-s.lost:
			return err
		case <-s.head():
			if err := s.acknowledged(); err != nil {
				return err
			}
		case <-s.stored():
		case <-s.c.wake:
			if err := s.subscribe(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		case <-tick.C:
			s.c.stats.turns.Add(1)
			if len(s.sent) > 0 && time.Since(s.sent[0].at) > ackTimeout {
				return errSilent
			}
			s.c.tellAgain(s.will)
		}
	}
}

// tellAgain queues the state again when somebody else wrote over it. Once a second at most, so that two clients of one
// name do not fight at full speed.
func (c *Client) tellAgain(will *Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retell && will != nil {
		c.out.again(will.Topic)
	}
	c.retell = false
}

// stored is told when there is something new in the outbox.
func (s *session) stored() <-chan struct{} {
	if s.c.cfg.Outbox == nil {
		return nil
	}
	return s.c.cfg.Outbox.Ready()
}

// overtake has the state told before the events that the outbox keeps anyway.
func (c *Client) overtake() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.overtake()
}

// head is done when the oldest message that is on its way has arrived.
func (s *session) head() <-chan struct{} {
	if len(s.sent) == 0 {
		return nil
	}
	return s.sent[0].token.Done()
}

func (s *session) acknowledged() error {
	first := s.sent[0]
	if err := first.token.Error(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	s.sent = slices.Delete(s.sent, 0, 1)
	s.c.arrived(first.item)
	return nil
}

// send fills the window.
func (s *session) send() {
	for len(s.sent) < s.c.doubt.window() && s.paho.IsConnectionOpen() {
		it := s.c.next()
		if it == nil {
			return
		}
		token := s.paho.Publish(it.Topic, it.QoS, it.Retained, it.Payload)
		s.sent = append(s.sent, sent{item: it, token: token, at: time.Now()})
	}
}

// goodbye tells what is left, and the last word, as far as there is time.
func (s *session) goodbye() {
	if s.c.cfg.Goodbye != nil {
		if m := s.c.cfg.Goodbye(); m != nil {
			if err := s.c.Publish(m.Topic, m.Payload, m.QoS, m.Retained); err != nil {
				s.c.log.Warn("mqtt: goodbye", "error", err)
			}
		}
	}
	end := time.NewTimer(flushTimeout)
	defer end.Stop()
	half := time.NewTimer(flushTimeout / 2)
	defer half.Stop()
	for {
		s.send()
		if len(s.sent) == 0 {
			if !s.c.overtake() {
				return
			}
			continue
		}
		select {
		case <-half.C:
			s.c.overtake()
		case <-s.head():
			if s.acknowledged() != nil {
				return
			}
		case <-s.lost:
			return
		case <-end.C:
			s.c.log.Warn("mqtt: gone before everything was told", "left", s.c.Stats().Queued)
			return
		}
	}
}

// close ends the connection, in order if it is still up, and waits for the library.
func (s *session) close() {
	s.paho.Disconnect(250)
	s.leave()
}

func (s *session) leave() {
	if c := s.conn.Load(); c != nil {
		c.leave()
	}
}
