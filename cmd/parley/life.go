package main

import (
	"context"
	"errors"
	"fmt"
)

// life runs the box's parts and stops them in the opposite order of their start: who is asked for something goes later
// than who asks. The first part that ends with an error ends all.
type life struct {
	parts  []*part
	failed chan error
}

type part struct {
	name string
	stop context.CancelFunc
	done chan struct{}
}

func newLife() *life { return &life{failed: make(chan error, 1)} }

// start runs a part in a goroutine of its own until stop comes to it.
func (l *life) start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &part{name: name, stop: cancel, done: make(chan struct{})}
	l.parts = append(l.parts, p)
	go func() {
		defer close(p.done)
		err := run(ctx)
		if ctx.Err() == nil && err == nil {
			err = errors.New("ended by itself")
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			select {
			case l.failed <- fmt.Errorf("%s: %w", name, err):
			default:
			}
		}
	}()
}

// wait returns when ctx ends, with nil, or when a part has failed.
func (l *life) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-l.failed:
		return err
	}
}

// stop ends the parts one after the other, the last one first.
func (l *life) stop() {
	for i := len(l.parts) - 1; i >= 0; i-- {
		l.parts[i].stop()
		<-l.parts[i].done
	}
}
