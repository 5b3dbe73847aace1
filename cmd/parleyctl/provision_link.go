package main

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"strings"
	"time"

	"parley/cmd/parleyctl/fleet"
	"parley/mqtt"
)

// link is the operator's connection to the fleet's broker.
type link struct {
	fleet *fleet.Fleet
	at    brokerFlags
	subs  map[string]mqtt.Handler

	client *mqtt.Client
	echo   chan string
}

func newLink(f *fleet.Fleet) *link {
	in := func(name string) string { return filepath.Join(f.Dir(), filepath.FromSlash(name)) }
	return &link{fleet: f, subs: map[string]mqtt.Handler{}, echo: make(chan string, 8), at: brokerFlags{
		url: f.Broker, ca: in("ca/ca.pem"), cert: in("mqtt/operator.pem"), key: in("mqtt/operator.key"), eid: enterprise{f.EID}, data: f.Dir(),
	}}
}

// flags are those with which another command gets in.
func (l *link) flags() []string {
	return []string{"-broker", l.at.url, "-ca", l.at.ca, "-cert", l.at.cert, "-key", l.at.key, "-eid", l.at.eid.name}
}

// run connects, subscribes, and works while the connection is kept up.
func (l *link) run(ctx context.Context, work func(context.Context) error) error {
	return l.at.with(ctx, func(c *mqtt.Client) error {
		l.client = c
		for filter, h := range l.subs {
			if err := c.Subscribe(filter, h); err != nil {
				return err
			}
		}
		return c.Subscribe(l.echoTopic(), func(m mqtt.Message) {
			select {
			case l.echo <- string(m.Payload):
			default:
			}
		})
	}, work)
}

// echoTopic is the operator's own: what is sent there comes back after all that the broker had kept.
func (l *link) echoTopic() string { return "/e/" + l.fleet.EID + "/operator/echo" }

var errNoAnswer = errors.New("the broker did not answer")

// caughtUp waits until everything has come that the broker keeps for the subscriptions.
func (l *link) caughtUp(ctx context.Context) error {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for l.client.Stats().Subscribed <= len(l.subs) {
		select {
		case <-look.C:
		case <-ctx.Done():
			return gaveUp(ctx, "no connection to the broker at "+l.at.url)
		}
	}
	word := rand.Text()
	if err := l.client.Publish(l.echoTopic(), []byte(word), 1, false); err != nil {
		return err
	}
	for {
		select {
		case heard := <-l.echo:
			if heard == word {
				return nil
			}
		case <-ctx.Done():
			return gaveUp(ctx, errNoAnswer.Error())
		}
	}
}

// delivered waits until the broker has acknowledged all that was published.
func (l *link) delivered(ctx context.Context) error {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for l.client.Stats().Queued > 0 {
		select {
		case <-look.C:
		case <-ctx.Done():
			return gaveUp(ctx, "the broker did not take it: "+l.at.url)
		}
	}
	return nil
}

// boxOf is the box of a topic /e/{eid}/box/{box}/….
func boxOf(topic string) string {
	parts := strings.SplitN(topic, "/", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}
