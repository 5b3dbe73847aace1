package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"parley/mqtt"
)

// brokerFlags say where the broker is and who we are there.
type brokerFlags struct {
	url, user, passwordFile, ca, cert, key string
	box, data                              string
	eid                                    enterprise
}

func (b *brokerFlags) add(flags *flag.FlagSet) {
	flags.StringVar(&b.url, "broker", "mqtt://127.0.0.1:1883", "`URL` of the broker, mqtt:// or mqtts://")
	flags.StringVar(&b.user, "user", "", "`name` at the broker")
	flags.StringVar(&b.passwordFile, "password-file", "", "`file` with the password there")
	flags.StringVar(&b.ca, "ca", "", "`file` with the CA of the broker's certificate, PEM")
	flags.StringVar(&b.cert, "cert", "", "`file` with our certificate, PEM")
	flags.StringVar(&b.key, "key", "", "`file` with its key, PEM")
	b.eid.add(flags)
	flags.StringVar(&b.box, "box", "", "the box's `name` in topics (default: the first that is heard of)")
	flags.StringVar(&b.data, "data", "data", "the box's data `folder`, which holds its key")
}

// client makes a client at rest.
func (b *brokerFlags) client() (*mqtt.Client, error) {
	conf := mqtt.Config{
		URL: b.url, User: b.user, ClientID: fmt.Sprintf("parleyctl-%d-%d", os.Getpid(), time.Now().UnixNano()%1e6),
		MaxRetained: 100_000, MaxInbox: 100_000, // of a fleet
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if b.passwordFile != "" {
		secret, err := readSecret(b.passwordFile)
		if err != nil {
			return nil, err
		}
		conf.Password = secret
	}
	if b.ca != "" {
		raw, err := os.ReadFile(b.ca)
		if err != nil {
			return nil, err
		}
		conf.CA = x509.NewCertPool()
		if !conf.CA.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("%s has no certificate in PEM", b.ca)
		}
	}
	if b.cert != "" {
		pair, err := tls.LoadX509KeyPair(b.cert, b.key)
		if err != nil {
			return nil, err
		}
		conf.Certificate = &pair
	}
	return mqtt.New(conf)
}

// with runs the client while f works, and says so if there is no broker.
func (b *brokerFlags) with(ctx context.Context, prepare func(*mqtt.Client) error, f func(context.Context) error) error {
	c, err := b.client()
	if err != nil {
		return err
	}
	if err := prepare(c); err != nil {
		return err
	}
	told := false
	c.OnState(func(s mqtt.State) {
		if told = told && !s.Connected; !told && s.Err != nil && ctx.Err() == nil {
			told = true
			fmt.Fprintf(os.Stderr, "no broker at %s: %v; trying again\n", b.url, s.Err)
		}
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	err = f(ctx)
	cancel()
	<-done
	return err
}
