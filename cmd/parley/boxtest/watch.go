package boxtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/mqtt"
)

// Watch hears every topic of an enterprise at a broker.
type Watch struct {
	t testing.TB

	mu       sync.Mutex
	changed  *sync.Cond
	messages []mqtt.Message
}

// Watch starts to hear the box's topics at its embedded broker.
func (b *Box) Watch() *Watch { return NewWatch(b.t, "mqtt://"+b.MQTT, b.EID) }

// NewWatch starts to hear the topics of an enterprise at any broker, and waits until it is subscribed.
func NewWatch(t testing.TB, url, eid string) *Watch {
	t.Helper()
	w := &Watch{t: t}
	w.changed = sync.NewCond(&w.mu)
	c, err := mqtt.New(mqtt.Config{
		URL: url, ClientID: fmt.Sprintf("watch-%d", time.Now().UnixNano()), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Subscribe("/e/"+eid+"/#", func(m mqtt.Message) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.messages = append(w.messages, m)
		w.changed.Broadcast()
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	deadline := time.Now().Add(20 * time.Second)
	for c.Stats().Subscribed == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("no subscription at %s", url)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return w
}

// Messages are those so far whose topic ends in suffix.
func (w *Watch) Messages(suffix string) []mqtt.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []mqtt.Message
	for _, m := range w.messages {
		if strings.HasSuffix(m.Topic, suffix) {
			list = append(list, m)
		}
	}
	return list
}

// Forget drops what came so far, so that Wait looks at what is new only.
func (w *Watch) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messages = nil
}

// Wait waits for a message whose topic ends in suffix and whose payload, as JSON, satisfies ok; it returns the payload.
func (w *Watch) Wait(suffix, what string, timeout time.Duration, ok func(map[string]any) bool) map[string]any {
	w.t.Helper()
	stop := time.AfterFunc(timeout, w.changed.Broadcast)
	defer stop.Stop()
	deadline := time.Now().Add(timeout)
	w.mu.Lock()
	defer w.mu.Unlock()
	for seen := 0; ; {
		for ; seen < len(w.messages); seen++ {
			m := w.messages[seen]
			var payload map[string]any
			if strings.HasSuffix(m.Topic, suffix) && json.Unmarshal(m.Payload, &payload) == nil && ok(payload) {
				return payload
			}
		}
		if !time.Now().Before(deadline) {
			var all []string
			for _, m := range w.messages {
				if strings.HasSuffix(m.Topic, suffix) {
					all = append(all, m.Topic+" "+string(m.Payload))
				}
			}
			w.t.Fatalf("after %v no message on …%s with %s; there were:\n%s", timeout, suffix, what, strings.Join(all, "\n"))
		}
		w.changed.Wait()
	}
}
