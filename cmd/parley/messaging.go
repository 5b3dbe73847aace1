package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"

	"parley/cmd/parley/config"
	"parley/mqtt"
	"parley/mqtt/broker"
	"parley/mqtt/outbox"
	"parley/mqtt/wire"
)

// inside is how the box's own client reaches the embedded broker: without a socket, as a user whom nobody else can be.
type inside struct {
	pipes    chan net.Conn
	done     chan struct{}
	password string
}

// insideUser may not be given to others: config takes no such name for an account.
const insideUser = "$box"

func newInside() *inside {
	return &inside{pipes: make(chan net.Conn), done: make(chan struct{}), password: rand.Text()}
}

// Accept, Close and Addr make it a net.Listener for the broker.
func (i *inside) Accept() (net.Conn, error) {
	select {
	case c := <-i.pipes:
		return c, nil
	case <-i.done:
		return nil, net.ErrClosed
	}
}

func (i *inside) Close() error {
	select {
	case <-i.done:
	default:
		close(i.done)
	}
	return nil
}

func (i *inside) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "inside" }

// dial is the client's end.
func (i *inside) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case i.pipes <- theirs:
		return ours, nil
	case <-i.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func newBroker(cfg config.Config, d *data, own *inside, log *slog.Logger) (*broker.Broker, error) {
	socket, err := broker.Listen(cfg.MQTT.Listen)
	if err != nil {
		return nil, taken(err, "tcp", cfg.MQTT.Listen, "mqtt.listen")
	}
	listener := broker.Listener{Listener: socket}
	if cfg.MQTT.TLS.Given() {
		if listener.TLS, err = serverTLS(cfg.MQTT.TLS, d, "mqtt.tls", tls.RequireAndVerifyClientCert); err != nil {
			return nil, err
		}
	}
	conf := broker.Config{Listeners: []broker.Listener{listener, {Listener: own}}, Log: log}
	if len(cfg.MQTT.Users) > 0 {
		conf.Users = map[string]string{insideUser: own.password}
		for _, u := range cfg.MQTT.Users {
			conf.Users[u.Name] = u.Password.Reveal()
		}
	}
	if cfg.MQTT.ACL != "" {
		if conf.ACL, err = accessRules(cfg.MQTT.ACL); err != nil {
			return nil, fmt.Errorf("setting `mqtt.acl`: %w", err)
		}
	}
	return broker.New(conf)
}

// maxRules bounds the file of access rules, in bytes.
const maxRules = 256 << 10

// accessRules reads who may write and read what at the embedded broker. The box's own client gets a rule of its own: it
// tells the truth about the box, and no file of rules is to cut it off.
func accessRules(path string) (*broker.ACL, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxRules {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, maxRules)
	}
	rules, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	acl, err := broker.ParseACL(io.MultiReader(bytes.NewReader(rules), strings.NewReader("\nuser "+insideUser+"\ntopic readwrite #\n")))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return acl, nil
}

// newOutbox opens what waits for the broker from before. Without a folder for it, messages wait in memory.
func newOutbox(d *data, h *house) *outbox.Outbox {
	fault := func(on bool, text string) {
		h.post(func() { h.fault("outbox", on, text) })
	}
	o, err := outbox.Open(d.path("outbox"), outbox.Options{
		OnFault: func(err error) {
			fault(true, fmt.Sprintf("what waits for the broker is not safe from a power cut: %v", err))
		},
		OnHeal: func() { fault(false, "") },
	})
	if err != nil {
		h.log.Warn("what waits for the broker is kept in memory only", "error", err)
		return nil
	}
	if n := o.Stats().Lost; n > 0 {
		h.log.Warn("some of what waited for the broker cannot be read", "places", n)
	}
	return o
}

// newClient makes the connection to the broker, with the last will of this session.
func newClient(cfg config.Config, box wire.Box, session int, own *inside, waiting *outbox.Outbox, refused func(mqtt.Message), l *layers, log *slog.Logger) (*mqtt.Client, error) {
	state := func(word wire.StateWord) *mqtt.Message {
		payload, err := wire.Encode(&wire.BoxState{State: word, Sess: uint64(session)})
		if err != nil {
			panic(err) // a state of our own with a session from 1 on is valid
		}
		return &mqtt.Message{Topic: box.State(), Payload: payload, QoS: 1, Retained: true}
	}
	conf := mqtt.Config{
		ClientID: "parley-" + cfg.Box, Log: log, Outbox: waiting, OnRefused: refused,
		Will:    state(wire.Lost),
		Goodbye: func() *mqtt.Message { return state(wire.Disconnected) },
	}
	if own != nil {
		conf.URL, conf.Dial = "mqtt://inside", own.dial
		if len(cfg.MQTT.Users) > 0 {
			conf.User, conf.Password = insideUser, own.password
		}
		return mqtt.New(conf)
	}
	conf.URL, conf.User, conf.Password = cfg.MQTT.Broker, cfg.MQTT.User, cfg.MQTT.Password.Reveal()
	var err error
	if cfg.MQTT.CA != "" {
		if conf.CA, err = certPool(cfg.MQTT.CA); err != nil {
			return nil, fmt.Errorf("setting `mqtt.ca`: %w", err)
		}
	}
	if cfg.MQTT.Cert != "" {
		pair, err := tls.LoadX509KeyPair(cfg.MQTT.Cert, cfg.MQTT.Key)
		if err != nil {
			return nil, fmt.Errorf("setting `mqtt.cert`: %w", err)
		}
		conf.Certificate = &pair
	}
	if err := l.asOneOfTheFleet(cfg.MQTT, &conf); err != nil {
		return nil, err
	}
	return mqtt.New(conf)
}

func newDoor(box wire.Box, keys wire.KeySet, session int, clockSet func() bool) *wire.Door {
	return wire.NewDoor(wire.DoorConfig{
		Box: box, Keys: keys, Sess: uint64(session),
		ClockSet: clockSet,
	})
}

// tellInfo tells what the box is, and that it is ready.
func (b *box) tellInfo() {
	b.topics.ready()
	features := append([]string{"sip"}, b.cfg.SIP.Codecs...)
	if b.cfg.SIP.SRTP != config.SRTPDisable {
		features = append(features, "srtp")
	}
	info := wire.BoxInfo{
		Model: b.board.Name, Serial: serial(b.cfg), Firmware: imageVersion(), Slot: b.updates.slot, Addresses: addresses(),
		Features: features, Schemas: []string{"box.1", "conf.1", "settings.1", "enrol.1"},
	}
	b.topics.tell(b.topics.box.Info(), &info, true)
}

// addresses lists where the machine can be reached, loopback left out.
func addresses() []string {
	list := []string{}
	found, _ := net.InterfaceAddrs()
	for _, a := range found {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			list = append(list, p.Addr().String())
		}
	}
	return list[:min(len(list), 16)]
}
