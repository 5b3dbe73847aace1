package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"parley/audio/card"
	"parley/cmd/parley/config"
	"parley/mqtt"
	"parley/mqtt/provision"
	"parley/mqtt/wire"
)

// trialVariable tells the next life of the program which version of the settings it is to try.
const trialVariable = "PARLEY_TRIAL"

// takeTrial reads what the last life has left, once: whoever begins anew later does so with what is good.
func takeTrial() string {
	trial := os.Getenv(trialVariable)
	os.Unsetenv(trialVariable)
	return trial
}

// fell is called when the box has ended with an error. If it ran with settings on trial they are at fault: it begins anew without them.
func (l *layers) fell(err error) (*nextLife, bool) {
	if l.life.Doc == nil || !l.life.Trial {
		return nil, false
	}
	doc := *l.life.Doc
	if t := l.store.Load(l.names).Trial; t == nil || t.Hash != doc.Hash {
		return nil, false // they have become good, or something else is tried
	}
	if e := l.store.Fail(l.names, doc, firmware(), err.Error(), time.Now()); e != nil {
		fmt.Fprintln(os.Stderr, "parley: that settings have failed cannot be written down:", e)
	}
	fmt.Fprintf(os.Stderr, "parley: could not run with settings from outside, version %d: %v\n", doc.Version, err)
	return &nextLife{}, true
}

// makeIdentity makes the box's keys if there are none, and finds whose signatures count. Without keys the box runs all the same.
func (b *box) makeIdentity() {
	id, err := provision.OpenIdentity(filepath.Join(b.cfg.Data, "identity"), true, nil)
	if err != nil {
		b.log.Warn("the box has no identity, so that it cannot be enrolled and takes no sealed secrets", "error", err)
	} else {
		b.layers.identity = id
	}
	b.operators = wire.KeySet{}
	trust := func(keys []string) {
		for _, k := range keys {
			if pub, err := wire.ParsePublicKey(k); err == nil {
				b.operators[wire.KeyID(pub)] = pub
			}
		}
	}
	trust(b.cfg.Provision.Keys)
	if e := b.layers.identity.Enrolled; e != nil {
		trust(e.Keys)
	}
	if b.boot, err = config.LoadBoot(b.cfg.Provision.BootFile); err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			b.log.Warn("the boot file cannot be used", "error", err)
		}
		b.boot = config.Boot{}
	}
	trust(b.boot.Keys)
}

// publicHalf is nil for no key.
func publicHalf(key ed25519.PrivateKey) ed25519.PublicKey {
	if key == nil {
		return nil
	}
	return key.Public().(ed25519.PublicKey)
}

// known are the keys whose signatures count for commands, bookings and settings.
func (b *box) known(own ed25519.PublicKey) wire.KeySet {
	keys := wire.NewKeySet(own)
	for id, k := range b.operators {
		keys[id] = k
	}
	return keys
}

// makeSettings makes what takes settings from outside.
func (b *box) makeSettings(names wire.Box, keys wire.KeySet) error {
	b.settings = provision.NewSettings(provision.Config{
		Box: names, Keys: keys, Firmware: firmware(), Store: b.layers.store, Life: b.layers.life, Began: b.began, Validate: b.valid,
		Drift: b.layers.drift,
	}, provision.Rim{
		Facts: b.facts, Log: b.log,
		Report: func(r wire.Reported) {
			b.topics.tell(names.Reported(), &r, true) // which trims it
			b.reported.Store(&r)
		},
		Begin: func(trial uint64) {
			if trial == 0 {
				b.again("back to the last known good settings")
				return
			}
			b.again("settings from outside", trialVariable+"="+strconv.FormatUint(trial, 10))
		},
	})
	for _, text := range b.layers.problems {
		b.log.Warn(text)
		b.house.post(func() { b.house.fault("settings", true, text) })
	}
	return b.client.Subscribe(names.Desired(), func(m mqtt.Message) { b.settings.Receive(m.Payload) })
}

// facts are how the box stands, for whoever judges settings by it. They ask nobody who may be stuck.
func (b *box) facts() provision.Facts {
	stats := b.client.Stats()
	f := provision.Facts{
		Idle: b.agent.Calls() == 0, ClockSet: b.clock.believed(), MQTT: stats.Connected && stats.Subscribed > 0,
		Sound: b.card.Status().State == card.Open,
	}
	for _, r := range b.agent.Registrations() {
		f.SIP = append(f.SIP, provision.Registration{Name: r.Name, Up: r.Registered})
	}
	return f
}

// valid tries a document without changing anything.
func (b *box) valid(d wire.Desired) (same bool, err error) {
	l := *b.layers
	l.problems = nil
	cfg, _, err := l.with(d)
	if err != nil {
		return false, faultOf(err)
	}
	return len(config.Differences(b.cfg, cfg)) == 0, nil
}

// faultOf says for a machine what is wrong with settings.
func faultOf(err error) *provision.Fault {
	f := &provision.Fault{Reason: wire.ReasonInvalidValue, Path: "settings", Detail: err.Error()}
	var all config.Errors
	var file *settingError
	switch {
	case errors.As(err, &file):
		f.Path += "." + file.key
	case errors.As(err, &all) && len(all) > 0:
		first := all[0]
		if first.Key != "" {
			f.Path += "." + first.Key
		}
		f.Detail = first.Problem
		if first.Remedy != "" {
			f.Detail += "; " + first.Remedy
		}
		if more := len(all) - 1; more > 0 {
			f.Detail += fmt.Sprintf(" (and %d more)", more)
		}
		switch first.Kind {
		case config.ErrUnknownSetting:
			f.Reason = wire.ReasonUnknownField
		case config.ErrNoSecret:
			f.Reason = wire.ReasonMissingSecret
		}
	}
	return f
}

// settingError is a setting that reads well and cannot be used.
type settingError struct {
	key string
	err error
}

func (e *settingError) Error() string { return e.key + ": " + e.err.Error() }
func (e *settingError) Unwrap() error { return e.err }

// usable tells what the files that settings name are not fit for.
func usable(c config.Config) error {
	for _, x := range []struct{ key, cert, private string }{
		{"sip.tls.cert", c.SIP.TLS.Cert, c.SIP.TLS.Key}, {"mqtt.tls.cert", c.MQTT.TLS.Cert, c.MQTT.TLS.Key},
		{"http.tls.cert", c.HTTP.TLS.Cert, c.HTTP.TLS.Key}, {"mqtt.cert", c.MQTT.Cert, c.MQTT.Key},
	} {
		if x.cert == "" {
			continue
		}
		if _, err := tls.LoadX509KeyPair(x.cert, x.private); err != nil {
			return &settingError{x.key, err}
		}
	}
	for key, path := range map[string]string{"sip.tls.ca": c.SIP.TLS.CA, "mqtt.tls.ca": c.MQTT.TLS.CA, "http.tls.ca": c.HTTP.TLS.CA, "mqtt.ca": c.MQTT.CA} {
		if path == "" {
			continue
		}
		if _, err := certPool(path); err != nil {
			return &settingError{key, err}
		}
	}
	if c.MQTT.ACL != "" {
		if _, err := accessRules(c.MQTT.ACL); err != nil {
			return &settingError{"mqtt.acl", err}
		}
	}
	return nil
}

// asOneOfTheFleet has an enrolled box show its certificate, and trust its operator's CA, where the settings name no others.
func (l *layers) asOneOfTheFleet(c config.MQTT, conf *mqtt.Config) error {
	if l.identity.Enrolled == nil || !strings.HasPrefix(conf.URL, "mqtts://") || c.Cert != "" && c.CA != "" {
		return nil
	}
	own, ca, err := l.identity.Certificate()
	if err != nil {
		return err
	}
	if c.Cert == "" {
		conf.Certificate = &own
	}
	if c.CA == "" {
		conf.CA = ca
	}
	return nil
}

// lonely is how long an enrolled box is without its broker before it asks to be enrolled once more: the broker may have moved, or the
// operator may have let the box go.
const lonely = 15 * time.Minute

// unconnected tells whether the box is to ask for an enrolment now.
func (b *box) unconnected() func() bool {
	last := b.began
	return func() bool {
		if b.client.Stats().Connected {
			last = time.Now()
		}
		return b.layers.identity.Enrolled == nil || time.Since(last) > lonely
	}
}

// makeEnrolment makes what asks for an enrolment.
func (b *box) makeEnrolment() error {
	id := b.layers.identity
	if !b.cfg.Provision.Enrol || id.TLS == nil {
		return nil
	}
	if len(b.boot.Keys) == 0 {
		b.log.Warn("the box cannot be enrolled without a boot file", "setting", "provision.boot_file", "file", b.cfg.Provision.BootFile)
		return nil
	}
	keys := append(append([]string(nil), b.cfg.Provision.Keys...), b.boot.Keys...)
	sources := provision.Sources{
		Stored: b.cfg.MQTT.Broker, Boot: b.boot.Broker, DHCPFile: b.cfg.Provision.DHCPFile, Resolv: "/etc/resolv.conf",
		SRV: net.DefaultResolver.LookupSRV, Announced: provision.Announced,
	}
	var err error
	b.enrolment, err = provision.NewEnrolment(provision.EnrolConfig{
		Box: b.cfg.Box, Serial: serial(b.cfg), Model: b.board.Name, Firmware: firmware(), Identity: id, Keys: keys,
		Places: sources.Find, Dial: b.claim, Wanted: b.unconnected(), Log: b.log,
		Done: func() { b.again("enrolled") },
		Tell: func(refused string) {
			b.house.post(func() { b.house.fault("enrolment", refused != "", "the enrolment is refused: "+refused) })
		},
	})
	return err
}

// serial is what an operator knows the box by, beside its name.
func serial(c config.Config) string {
	if s := config.Serial(); s != "" {
		return s
	}
	return c.Box
}

// claim connects to a broker as somebody who may only ask to be enrolled.
func (b *box) claim(url string) (provision.Link, error) {
	pair, err := tls.X509KeyPair([]byte(b.boot.ClaimCertificate), []byte(b.boot.ClaimKey.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("claim of the boot file: %w", err)
	}
	ca, err := poolOf([]byte(b.boot.CA), "ca of the boot file")
	if err != nil {
		return nil, err
	}
	client, err := mqtt.New(mqtt.Config{URL: url, CA: ca, Certificate: &pair, ClientID: b.cfg.Box, Log: b.log})
	if err != nil {
		return nil, err
	}
	return claimLink{client}, nil
}

type claimLink struct{ *mqtt.Client }

func (l claimLink) Subscribe(filter string, take func(string, []byte)) error {
	return l.Client.Subscribe(filter, func(m mqtt.Message) { take(m.Topic, m.Payload) })
}

func (l claimLink) Publish(topic string, payload []byte) error {
	return l.Client.Publish(topic, payload, 1, false)
}

func (l claimLink) Up() bool {
	s := l.Client.Stats()
	return s.Connected && s.Subscribed > 0
}

func (l claimLink) Run(ctx context.Context) error { return l.Client.Run(ctx) }
