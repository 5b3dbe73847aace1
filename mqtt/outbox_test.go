package mqtt

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"parley/mqtt/outbox"
)

func openOutbox(t *testing.T, dir string) *outbox.Outbox {
	t.Helper()
	o, err := outbox.Open(dir, outbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// The broker is away for long: 5000 events, in several lives of the client, come in order, none is missing, and only those on
// their way when the connection was cut come twice.
func TestOutboxAcrossLives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	url, stopBroker := serve(t, "127.0.0.1:0")
	relayed := relay(t, url)
	h := watch(t, url, "/n")
	const n = 5000
	next := 0
	publish := func(c *Client, count int) {
		for range count {
			if err := c.Publish("/n", strconv.AppendInt(nil, int64(next), 10), 1, false); err != nil {
				t.Fatal(err)
			}
			next++
		}
	}
	away := Config{URL: "mqtt://127.0.0.1:1", ClientID: "box", Outbox: openOutbox(t, dir)}
	c, stop := run(t, away)
	publish(c, 2000)
	stop()
	away.Outbox = openOutbox(t, dir)
	c, stop = run(t, away)
	publish(c, 2000)
	if q := c.Stats().Queued; q != 4000 {
		t.Errorf("%d wait", q)
	}
	stop()
	c, stop = run(t, Config{URL: relayed.url(), ClientID: "box", Outbox: openOutbox(t, dir)})
	publish(c, n-4000)
	var got []int
	lives := 1
	timeout := time.After(60 * time.Second)
	for len(got) == 0 || got[len(got)-1] != n-1 {
		select {
		case m := <-h.ch:
			i, _ := strconv.Atoi(string(m.Payload))
			got = append(got, i)
		case <-timeout:
			t.Fatalf("%d have come, %+v", len(got), c.Stats())
		}
		if len(got) == 1000 || len(got) == 2000 { // a cut connection, and a client that is no more
			relayed.cut()
			if len(got) == 2000 {
				stop()
				c, _ = run(t, Config{URL: url, ClientID: "box", Outbox: openOutbox(t, dir)})
				lives++
			}
		}
	}
	twice := len(got)
	for i := 1; i < len(got); i++ {
		if got[i] > got[i-1]+1 {
			t.Fatalf("%d after %d", got[i], got[i-1])
		}
	}
	slices.Sort(got)
	got = slices.Compact(got)
	twice -= len(got)
	if len(got) != n || twice > 2*window {
		t.Errorf("%d have come, %d of them twice", len(got), twice)
	}
	t.Logf("%d twice after %d cuts", twice, 2)
	eventually(t, "acknowledged", func() error {
		if q := c.Stats().Queued; q > 0 {
			return fmt.Errorf("%d wait", q)
		}
		return nil
	})
	stopBroker()
}

// Events and state come in the order in which they were told, also with an outbox; after a reconnect the state comes first.
func TestOutboxKeepsOrderWithState(t *testing.T) {
	url, _ := serve(t, "127.0.0.1:0")
	h := watch(t, url, "#")
	c, _ := run(t, Config{URL: url, ClientID: "box", Outbox: openOutbox(t, t.TempDir())})
	connected(t, c)
	for i := range 200 {
		c.Publish("/event", fmt.Append(nil, i), 1, false)
		c.Publish(fmt.Sprint("/state/", i), fmt.Append(nil, i), 1, true)
	}
	for i, m := range h.until(t, "/state/199", "199") {
		want := "/event"
		if i%2 == 1 {
			want = fmt.Sprint("/state/", i/2)
		}
		if m.Topic != want || string(m.Payload) != fmt.Sprint(i/2) {
			t.Fatalf("%d: %s %s", i, m.Topic, m.Payload)
		}
	}
}

// Who is told that his message will arrive is told so when it is on the disk, whether there is a broker or not.
func TestPublishKeep(t *testing.T) {
	dir := t.TempDir()
	told := make(chan error, 1)
	done := func(err error) { told <- err }
	answer := func() error {
		select {
		case err := <-told:
			return err
		case <-time.After(10 * time.Second):
			return errors.New("done is not called")
		}
	}
	c, stop := run(t, Config{URL: "mqtt://127.0.0.1:1", ClientID: "box", Outbox: openOutbox(t, dir)})
	if err := c.PublishKeep("/k", []byte("kept"), done); err != nil || answer() != nil {
		t.Fatal(err)
	}
	if err := c.PublishKeep("/k/#", nil, done); !errors.Is(err, ErrBadTopic) {
		t.Errorf("got %v", err)
	}
	stop()
	memory, _ := run(t, Config{URL: "mqtt://127.0.0.1:1", ClientID: "memory"})
	memory.PublishKeep("/k", nil, done)
	if err := answer(); !errors.Is(err, outbox.ErrNotDurable) {
		t.Errorf("without an outbox: %v", err)
	}
	url, _ := serve(t, "127.0.0.1:0")
	h := watch(t, url, "/k")
	run(t, Config{URL: url, ClientID: "box", Outbox: openOutbox(t, dir)})
	h.until(t, "/k", "kept")
}

// A broker that acknowledges nothing does not hold up the end; what it did not take stays in the outbox.
func TestEndWithEventsLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	slow := make(chan struct{})
	url := fake(t, func(c net.Conn) { c.Write(welcome); <-slow })
	c, stop := run(t, Config{URL: url, ClientID: "box", Outbox: openOutbox(t, dir),
		Goodbye: func() *Message { return &Message{Topic: "/state", QoS: 1, Retained: true, Payload: []byte("x")} }})
	for range 100 {
		c.Publish("/n", []byte("x"), 1, false)
	}
	connected(t, c)
	began := time.Now()
	stop()
	close(slow)
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("the end took %v", d)
	}
	if n := openOutbox(t, dir).Len(); n != 100 {
		t.Errorf("%d are kept", n)
	}
}
