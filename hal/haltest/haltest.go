// Package haltest is keys without fingers and lamps without light, for tests.
package haltest

import (
	"context"
	"sync"
	"time"

	"parley/hal"
)

// Keys is a hal.Keys whose edges the test sends. Its zero value is not ready: use NewKeys.
type Keys struct {
	edges chan hal.Edge
	fail  chan error
}

// NewKeys is a keypad with all keys up.
func NewKeys() *Keys { return &Keys{edges: make(chan hal.Edge), fail: make(chan error)} }

// Send hands an edge to Run, and waits until Run has taken it or ctx ends.
func (k *Keys) Send(ctx context.Context, e hal.Edge) {
	select {
	case k.edges <- e:
	case <-ctx.Done():
	}
}

// Down presses key now.
func (k *Keys) Down(ctx context.Context, key hal.Key) {
	k.Send(ctx, hal.Edge{Key: key, Down: true, At: time.Now()})
}

// Up lets key go now.
func (k *Keys) Up(ctx context.Context, key hal.Key) { k.Send(ctx, hal.Edge{Key: key, At: time.Now()}) }

// Press presses key for d of real time: longer than the debounce to count.
func (k *Keys) Press(ctx context.Context, key hal.Key, d time.Duration) {
	k.Down(ctx, key)
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	k.Up(ctx, key)
}

// Fail makes Run return err, as when the hardware is lost.
func (k *Keys) Fail(err error) { k.fail <- err }

// Run is hal.Keys.
func (k *Keys) Run(ctx context.Context, edges chan<- hal.Edge) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-k.fail:
			return err
		case e := <-k.edges:
			select {
			case edges <- e:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// Change is one lamp that was turned on or off.
type Change struct {
	Lamp hal.Lamp
	On   bool
	At   time.Time
}

// Lamps is a hal.Lamps that remembers. Its zero value is dark and ready.
type Lamps struct {
	mu      sync.Mutex // holds what follows
	on      [hal.NumLamps]bool
	err     error
	changes []Change
}

// Light is hal.Lamps.
func (l *Lamps) Light(lamp hal.Lamp, on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.on[lamp] = on
	l.changes = append(l.changes, Change{lamp, on, time.Now()})
	return nil
}

// Lit tells whether lamp is on.
func (l *Lamps) Lit(lamp hal.Lamp) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.on[lamp]
}

// Break makes Light fail with err; nil repairs it.
func (l *Lamps) Break(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// Changes is every call of Light that succeeded, in order.
func (l *Lamps) Changes() []Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Change(nil), l.changes...)
}
