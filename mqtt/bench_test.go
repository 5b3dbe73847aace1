package mqtt

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"parley/mqtt/broker"
)

// BenchmarkRoundTrip is the way of a command: one client tells, another hears, both on the box's own broker.
func BenchmarkRoundTrip(b *testing.B) {
	l, err := broker.Listen("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	br, err := broker.New(broker.Config{Listeners: []broker.Listener{{Listener: l}}, Log: quiet,
		Limits: broker.Limits{PacketRate: 1e9, ByteRate: 1e12}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { br.Run(ctx) })
	heard := make(chan struct{}, 1)
	up := make(chan struct{}, 2)
	client := func(id string) *Client {
		c, err := New(Config{URL: "mqtt://" + l.Addr().String(), ClientID: id, Log: quiet})
		if err != nil {
			b.Fatal(err)
		}
		c.OnState(func(s State) {
			if s.Connected {
				up <- struct{}{}
			}
		})
		return c
	}
	to, from := client("to"), client("from")
	to.Subscribe("/cmd", func(Message) { heard <- struct{}{} })
	wg.Go(func() { to.Run(ctx) })
	wg.Go(func() { from.Run(ctx) })
	<-up
	<-up
	payload := make([]byte, 400)
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		if err := from.Publish("/cmd", payload, 1, false); err != nil {
			b.Fatal(err)
		}
		<-heard
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
}
