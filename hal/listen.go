package hal

import (
	"context"
	"time"
)

// edgeBacklog is how many edges may wait while an event is handled.
const edgeBacklog = 64

// Listen runs keys and gives handle every event, in order, on this goroutine: the leading edge of the mute key waits for
// nothing but the handling of the event before it. It returns what keys' Run returned, after that has ended.
func Listen(ctx context.Context, keys Keys, timing Timing, handle func(Event)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	edges, ended := make(chan Edge, edgeBacklog), make(chan error, 1)
	go func() { ended <- keys.Run(ctx, edges) }()

	state := NewDebounce(timing)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if next := state.Next(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		var events []Event
		select {
		case e := <-edges:
			events = state.Edge(e)
		case <-timer.C:
			events = state.Advance(time.Now())
		case err := <-ended:
			return err
		}
		for _, e := range events {
			handle(e)
		}
	}
}
