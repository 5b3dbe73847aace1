// Package broker is the MQTT broker inside the box, for those who have none: mochi behind a guard of our own.
//
//	listener → TLS → guard (whole packets of MQTT 3.1.1, bounded, checked, rate-limited) → mochi → guard → client
//	                                            users, access rules, bound of what is retained ↗
//
// It speaks MQTT 3.1.1 only, keeps no session beyond its connection and stores nothing on disk. It knows nothing of
// topics' meaning and nothing of the box; who may do what comes as access rules in mosquitto's form.
package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
)

// What New and Listen can refuse.
var (
	// ErrOpen: a listener that strangers can reach needs both TLS and users.
	ErrOpen = errors.New("a broker that leaves loopback needs TLS and users")
	// ErrConfig: a setting is wrong; the error that wraps it says which.
	ErrConfig = errors.New("broker settings")
	// ErrTaken: somebody else has the port.
	ErrTaken = errors.New("port is taken")
)

// Listener is where clients come in; with TLS, every one of them has to speak it.
type Listener struct {
	net.Listener
	TLS *tls.Config
}

// Listen opens a TCP port. When another process has it the error wraps ErrTaken and names the address.
func Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("mqtt broker, %s: %w", addr, ErrTaken)
	}
	if err != nil {
		return nil, fmt.Errorf("mqtt broker: %w", err)
	}
	return l, nil
}

// Limits bound what clients can take. Zero values stand for the defaults.
type Limits struct {
	Connections      int           // 128
	PerSource        int           // connections from one address that is not loopback: 16
	Connect          time.Duration // from the accept to the CONNECT's last byte, TLS included: 5 s
	Packet           time.Duration // from a packet's first byte to its last: 10 s
	Write            time.Duration // until the client takes what it is sent: 5 s
	PacketSize       int           // bytes: 72 KiB
	PacketRate       float64       // packets per second and connection, twice that at once: 1000
	ByteRate         float64       // bytes per second and connection, twice that at once: 512 KiB
	Inflight         int           // unacknowledged messages to one client, above which they are dropped: 2048
	InflightBytes    int           // payloads of them, above which the client is let go: 4 MiB
	Pending          int           // messages that wait for a slow client, above which they are dropped: 2048
	Subscriptions    int           // of one client: 128
	Retained         int           // topics with a retained message: 1024
	RetainedBytes    int           // payloads and topics of them: 8 MiB
	FailedLoginPause time.Duration // before a wrong password is told: 1 s
}

func (l Limits) withDefaults() Limits {
	def(&l.Connections, 128)
	def(&l.PerSource, 16)
	def(&l.Connect, 5*time.Second)
	def(&l.Packet, 10*time.Second)
	def(&l.Write, 5*time.Second)
	def(&l.PacketSize, 72<<10)
	def(&l.PacketRate, 1000)
	def(&l.ByteRate, 512<<10)
	def(&l.Inflight, 2048)
	def(&l.InflightBytes, 4<<20)
	def(&l.Pending, 2048)
	def(&l.Subscriptions, 128)
	def(&l.Retained, 1024)
	def(&l.RetainedBytes, 8<<20)
	def(&l.FailedLoginPause, time.Second)
	return l
}

func def[T int | float64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Config is what a Broker needs.
type Config struct {
	Listeners []Listener        // at least one; Run closes them
	Users     map[string]string // name → password, plain or as HashPassword writes it; empty: everybody, on loopback only
	ACL       *ACL              // nil: who gets in may do everything
	Limits    Limits
	Log       *slog.Logger // nil: slog.Default
}

// Broker is an MQTT broker.
type Broker struct {
	cfg   Config
	users *users
	log   *slog.Logger
}

// New checks the settings and makes a broker at rest. Errors wrap ErrConfig or ErrOpen.
func New(cfg Config) (*Broker, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Limits.PacketSize > maxRemaining {
		return nil, fmt.Errorf("%w: packets of %d bytes at most", ErrConfig, maxRemaining)
	}
	if cfg.Limits.Inflight > 65535 {
		return nil, fmt.Errorf("%w: 65535 unacknowledged messages at most", ErrConfig)
	}
	if len(cfg.Listeners) == 0 {
		return nil, fmt.Errorf("%w: no listener", ErrConfig)
	}
	users, err := newUsers(cfg.Users)
	if err != nil {
		return nil, err
	}
	for _, l := range cfg.Listeners {
		if !loopback(l.Addr()) && (l.TLS == nil || len(cfg.Users) == 0) {
			return nil, fmt.Errorf("%w: %s", ErrOpen, l.Addr())
		}
	}
	return &Broker{cfg: cfg, users: users, log: cfg.Log}, nil
}

// loopback tells whether only this machine reaches the address.
func loopback(a net.Addr) bool {
	if a.Network() == "unix" || a.Network() == "pipe" {
		return true
	}
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// Addr is where the first listener listens.
func (b *Broker) Addr() net.Addr { return b.cfg.Listeners[0].Addr() }

// Addrs is where all listeners listen.
func (b *Broker) Addrs() []net.Addr {
	var all []net.Addr
	for _, l := range b.cfg.Listeners {
		all = append(all, l.Addr())
	}
	return all
}

// Run serves until ctx ends, then it closes every connection. It returns nil, or why it could not begin. All its
// goroutines have ended when it returns.
func (b *Broker) Run(ctx context.Context) error {
	defer func() {
		for _, l := range b.cfg.Listeners {
			l.Close()
		}
	}()
	lim := b.cfg.Limits
	server := mochi.New(&mochi.Options{
		Logger: slog.New(newLogHandler(b.log.Handler())),
		Capabilities: &mochi.Capabilities{
			MaximumClients:             int64(lim.Connections),
			MaximumClientWritesPending: int32(lim.Pending),
			MaximumPacketSize:          uint32(lim.PacketSize),
			ReceiveMaximum:             uint16(min(lim.Inflight, 65535)),
			MaximumInflight:            uint16(lim.Inflight),
			MinimumProtocolVersion:     4,
			MaximumQos:                 2,
			RetainAvailable:            1,
			WildcardSubAvailable:       1,
			// Not 0 would have mochi forget retained messages after that many seconds.
			MaximumMessageExpiryInterval: 0,
			MaximumSessionExpiryInterval: 0,
			TopicAliasMaximum:            0,
		},
		// mochi stops the world to count its memory whenever it tells $SYS: that is no good beside a sound path.
		SysTopicResendInterval: int64(10 * 365 * 24 * time.Hour / time.Second),
	})
	if err := server.AddHook(newHook(b, server), nil); err != nil {
		return fmt.Errorf("mqtt broker: %w", err)
	}
	gate := newGate(lim)
	for i, l := range b.cfg.Listeners {
		if err := server.AddListener(newEntrance(strconv.Itoa(i), l, gate, b.log)); err != nil {
			return fmt.Errorf("mqtt broker: %w", err)
		}
	}
	if err := server.Serve(); err != nil {
		return fmt.Errorf("mqtt broker: %w", err)
	}
	b.log.Info("mqtt broker listens", "on", strings.Join(b.addrTexts(), " "))
	<-ctx.Done()
	return server.Close()
}

func (b *Broker) addrTexts() (texts []string) {
	for _, a := range b.Addrs() {
		texts = append(texts, a.String())
	}
	return texts
}
