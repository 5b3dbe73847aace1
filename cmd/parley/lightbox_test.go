package main_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"parley/cmd/parley/config"
	"parley/mqtt"
	"parley/mqtt/provision"
	"parley/mqtt/wire"
)

// lightBox is a box without sound, keys and telephony, of which many fit into a test: it enrols and takes settings by the same code as a
// real one (mqtt/provision), and takes whatever is valid at once.
type lightBox struct {
	name, serial, dir string
	boot              config.Boot
	bad               error // why it ended
}

var quiet = slog.New(slog.DiscardHandler)

// switchOn lets boxes live until the returned function is called, which gives what went wrong.
func switchOn(boxes []*lightBox) (off func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, b := range boxes {
		all.Go(func() { b.bad = b.live(ctx) })
	}
	return func() error {
		cancel()
		all.Wait()
		var bad error
		for _, b := range boxes {
			bad = errors.Join(bad, b.bad)
		}
		return bad
	}
}

func newLightBox(t testing.TB, name, serial string, boot config.Boot) *lightBox {
	t.Helper()
	b := &lightBox{name: name, serial: serial, dir: t.TempDir(), boot: boot}
	if err := os.Mkdir(filepath.Join(b.dir, "identity"), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	return b
}

func (b *lightBox) live(ctx context.Context) error {
	id, err := provision.OpenIdentity(filepath.Join(b.dir, "identity"), true, nil)
	if err != nil {
		return err
	}
	if id.Enrolled == nil {
		if err := b.enrol(ctx, id); err != nil || id.Enrolled == nil {
			return err
		}
	}
	return b.serve(ctx, id)
}

// asking is a connection with the claim.
type asking struct{ *mqtt.Client }

func (l asking) Subscribe(filter string, take func(string, []byte)) error {
	return l.Client.Subscribe(filter, func(m mqtt.Message) { take(m.Topic, m.Payload) })
}
func (l asking) Publish(topic string, payload []byte) error {
	return l.Client.Publish(topic, payload, 1, false)
}
func (l asking) Up() bool { return l.Client.Stats().Subscribed > 0 }

func (b *lightBox) enrol(ctx context.Context, id *provision.Identity) error {
	ctx, done := context.WithCancel(ctx)
	defer done()
	e, err := provision.NewEnrolment(provision.EnrolConfig{
		Box: b.name, Serial: b.serial, Model: "rpi4", Firmware: "1.0.0", Identity: id, Keys: b.boot.Keys, Log: quiet, Done: done,
		Tell: func(string) {},
		Places: func(context.Context) []provision.Place {
			return []provision.Place{{URL: b.boot.Broker, From: "boot file"}}
		},
		Dial: func(url string) (provision.Link, error) {
			pair, err := tls.X509KeyPair([]byte(b.boot.ClaimCertificate), []byte(b.boot.ClaimKey.Reveal()))
			if err != nil {
				return nil, err
			}
			ca := x509.NewCertPool()
			ca.AppendCertsFromPEM([]byte(b.boot.CA))
			c, err := mqtt.New(mqtt.Config{URL: url, CA: ca, Certificate: &pair, ClientID: b.name, Log: quiet})
			return asking{c}, err
		},
	})
	if err != nil {
		return err
	}
	return e.Run(ctx)
}

func (b *lightBox) serve(ctx context.Context, id *provision.Identity) error {
	own, ca, err := id.Certificate()
	if err != nil {
		return err
	}
	names, err := wire.NewBox(id.Enrolled.Answer.EID, b.name)
	if err != nil {
		return err
	}
	will, _ := wire.Encode(&wire.BoxState{State: wire.Lost, Sess: 1})
	c, err := mqtt.New(mqtt.Config{URL: id.Enrolled.Answer.Broker, CA: ca, Certificate: &own, ClientID: "parley-" + b.name, Log: quiet,
		Will: &mqtt.Message{Topic: names.State(), Payload: will, QoS: 1, Retained: true}})
	if err != nil {
		return err
	}
	tell := func(topic string, v interface{ Check() error }) {
		if payload, err := wire.Encode(v); err == nil {
			c.Publish(topic, payload, 1, true)
		}
	}
	tell(names.State(), &wire.BoxState{State: wire.Ready, Sess: 1})
	tell(names.Info(), &wire.BoxInfo{Model: "rpi4", Serial: b.serial, Firmware: "1.0.0", Slot: "a", Addresses: []string{"192.0.2.7"}})
	keys := wire.KeySet{}
	for _, k := range id.Enrolled.Keys {
		if pub, err := wire.ParsePublicKey(k); err == nil {
			keys[wire.KeyID(pub)] = pub
		}
	}
	settings := provision.NewSettings(provision.Config{
		Box: names, Keys: keys, Firmware: "1.0.0", Store: provision.NewStore(filepath.Join(b.dir, "provision"), nil), Began: time.Now(),
		Validate: func(d wire.Desired) (bool, error) {
			unseal := func(key, sealed string) (string, error) {
				secret, err := wire.OpenSealed(id.Seal, wire.Place{EID: d.EID, Box: d.Box, Key: key}, sealed)
				return string(secret), err
			}
			_, err := config.ParseLayers(config.Sources{Unseal: unseal}, config.Layer{Name: "settings", Data: d.Settings, Outside: true})
			return true, err
		},
	}, provision.Rim{
		Facts:  func() provision.Facts { return provision.Facts{Idle: true, ClockSet: true, MQTT: true, Sound: true} },
		Report: func(r wire.Reported) { tell(names.Reported(), &r) },
		Begin:  func(uint64) {}, Log: quiet,
	})
	if err := c.Subscribe(names.Desired(), func(m mqtt.Message) { settings.Receive(m.Payload) }); err != nil {
		return err
	}
	var both sync.WaitGroup
	both.Go(func() { c.Run(ctx) })
	both.Go(func() { settings.Run(ctx) })
	both.Wait()
	return nil
}
