package mqtt

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"parley/mqtt/outbox"
)

// A message that the broker closes the connection over, always, is given up, and what waits behind it is told. The far end is a real
// broker with a bound on packets.
func TestARefusedMessageHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"event", "kept event", "retained"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m := startMosquitto(t, "allow_anonymous true", "max_packet_size 2000")
			box, err := outbox.Open(t.TempDir(), outbox.Options{})
			if err != nil {
				t.Fatal(err)
			}
			w := watch(t, m.url(), "/x/#")
			refused := make(chan Message, 10)
			long := []byte(strings.Repeat("x", 3000))
			c, _ := run(t, Config{URL: m.url(), Outbox: box, Rand: func() float64 { return 0 }, OnRefused: func(m Message) { refused <- m }}, func(c *Client) {
				c.Publish("/x/state", []byte("ready"), 1, true)
				c.Publish("/x/first", []byte("1"), 1, false)
				switch kind {
				case "event":
					c.Publish("/x/long", long, 1, false)
				case "kept event":
					c.PublishKeep("/x/long", long, nil)
				case "retained":
					c.Publish("/x/long", long, 1, true)
				}
				c.Publish("/x/last", []byte("2"), 1, false)
			})
			seen := map[string]bool{}
			deadline := time.After(time.Minute)
			for !seen["/x/state"] || !seen["/x/first"] || !seen["/x/last"] {
				select {
				case m := <-w.ch:
					seen[m.Topic] = true
				case <-deadline:
					t.Fatalf("told only %v", seen)
				}
			}
			if got := (<-refused).Topic; got != "/x/long" {
				t.Fatalf("%s is given up", got)
			}
			eventually(t, "all told", func() error {
				if s := c.Stats(); s.Queued > 0 || !s.Connected {
					return fmt.Errorf("%+v", s)
				}
				return nil
			})
			if s := c.Stats(); s.Refused != 1 || len(refused) > 0 || seen["/x/long"] {
				t.Errorf("%+v, %d more refused, seen %v", s, len(refused), seen)
			}
		})
	}
}

// What a broker has said nothing against is never given up: it went away before it acknowledged, or always while other messages
// were on their way.
func TestALostConnectionIsNoRefusal(t *testing.T) {
	lost := errors.New("EOF")
	c := &Client{out: newQueue(10, 10), log: quiet}
	a, b := &item{Message: msg("/a", "1", 1, true)}, &item{Message: msg("/b", "1", 1, true)}
	for n := range 100 {
		c.suspect(nil, lost)
		c.suspect([]sent{{item: a}}, errSilent)
		c.suspect([]sent{{item: []*item{a, b}[n%2]}}, lost)
	}
	if got := c.stats.refused.Load(); got != 0 {
		t.Errorf("%d given up", got)
	}
	if got := c.doubt.window(); got != 1 {
		t.Errorf("window %d while connections end", got)
	}
}
