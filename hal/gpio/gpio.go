// Package gpio is keys and lamps on the lines of a GPIO chip, through the kernel's character device.
//
//	line --edge--> WaitForEdge --> read the level --> hal.Edge
//	hal.Lamps ------------------> Out
//
// It is kept thin: what an edge means is decided in hal. It must not know which board it runs on; the lines are told to it.
package gpio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"parley/hal"
)

// Errors of opening lines. Their text says which chip and line, and what can be done.
var (
	ErrNoChip     = errors.New("no such GPIO chip")
	ErrNoLine     = errors.New("no such GPIO line")
	ErrPermission = errors.New("GPIO chip may not be opened")
	ErrLine       = errors.New("GPIO line cannot be used")
	// ErrNoEdges is a key's line that can no longer be waited on. It is told to Config.Fault.
	ErrNoEdges = errors.New("GPIO line gives no edges")
)

// Pull is a line's bias.
type Pull uint8

// The biases that a chip may offer.
const (
	PullNone Pull = iota
	PullUp
	PullDown
)

// KeyLine is the line of a key.
type KeyLine struct {
	Key       hal.Key
	Line      int  // offset on the chip; on a Raspberry Pi the BCM number
	ActiveLow bool // pressed is low
	Pull      Pull
}

// LampLine is the line of a lamp.
type LampLine struct {
	Lamp      hal.Lamp
	Line      int
	ActiveLow bool // lit is low
}

// Config says which lines of which chip.
type Config struct {
	Chip  string // label, such as "pinctrl-bcm2711", or name, such as "gpiochip0"
	Keys  []KeyLine
	Lamps []LampLine
	// Fault is told once when a key's line is lost, and with nil when it is back; from Run's goroutines. It may be nil.
	Fault func(hal.Key, error)
}

// waitSlice is how long a key's goroutine waits at a time. A wait without end could not be ended for sure: an interruption
// that comes just before the wait is lost. Each time it also looks at the level, so that a lost edge heals.
const waitSlice = 100 * time.Millisecond

// reopenEvery is the pause between attempts to get a lost line back.
const reopenEvery = time.Second

// maxBadWaits is how many waits in a row may come back at once and without an edge before the line counts as lost.
const maxBadWaits = 20

// line is a GPIO line, as far as it is needed here.
type line interface {
	// Input makes it an input that tells both edges.
	Input(Pull) error
	// Output makes it an output, if it is none yet, and sets it.
	Output(high bool) error
	// High reads an input. (Reading an output would turn it into an input.)
	High() bool
	// Wait waits for an edge, and tells whether one came. It returns early when the line is closed or lost.
	Wait(time.Duration) bool
	Close()
}

// Pins is the keys and lamps of a chip. It is a hal.Keys and a hal.Lamps.
type Pins struct {
	config Config
	keys   []line // as config.Keys
	lamps  [hal.NumLamps]*lamp
	pause  func(context.Context, time.Duration) // between attempts
}

type lamp struct {
	line      line
	activeLow bool
}

// Open asks the kernel for all lines of c, keys as inputs and lamps dark. The chips are those that were there when the
// process first called Open: a driver that is loaded later needs a new process.
func Open(c Config) (*Pins, error) { return open(c, findLine) }

// open is Open with the chips behind a function.
func open(c Config, find func(chip string, offset int) (line, error)) (*Pins, error) {
	p := &Pins{config: c, pause: pause}
	if p.config.Fault == nil {
		p.config.Fault = func(hal.Key, error) {}
	}
	for _, k := range c.Keys {
		l, err := find(c.Chip, k.Line)
		if err == nil {
			if err = l.Input(k.Pull); err == nil {
				p.keys = append(p.keys, l)
				continue
			}
			l.Close()
		}
		p.Close()
		return nil, fmt.Errorf("gpio: key %s on %s line %d: %w", k.Key, c.Chip, k.Line, explain(err))
	}
	for _, x := range c.Lamps {
		l, err := find(c.Chip, x.Line)
		if err == nil {
			if err = l.Output(x.ActiveLow); err == nil {
				p.lamps[x.Lamp] = &lamp{l, x.ActiveLow}
				continue
			}
			l.Close()
		}
		p.Close()
		return nil, fmt.Errorf("gpio: lamp %s on %s line %d: %w", x.Lamp, c.Chip, x.Line, explain(err))
	}
	return p, nil
}

// Close gives the lines back to the kernel. It is called after Run has returned.
func (p *Pins) Close() {
	for _, l := range p.keys {
		l.Close()
	}
	p.keys = nil
	for i, l := range p.lamps {
		if l != nil {
			l.line.Close()
		}
		p.lamps[i] = nil
	}
}

// Light is hal.Lamps. An active-low lamp that is turned off for the first time blinks for some microseconds: the chip's
// output begins low.
func (p *Pins) Light(which hal.Lamp, on bool) error {
	if which >= hal.NumLamps || p.lamps[which] == nil {
		return nil
	}
	l := p.lamps[which]
	if err := l.line.Output(on != l.activeLow); err != nil {
		return fmt.Errorf("gpio: lamp %s: %w", which, explain(err))
	}
	return nil
}

// Run is hal.Keys: one goroutine for each key's line. The first edge of each key is Initial. A line that is lost is told to
// Config.Fault and asked for again until it is back; its key then begins anew, with an Initial edge. Run ends within 100 ms
// of ctx.
func (p *Pins) Run(ctx context.Context, edges chan<- hal.Edge) error {
	var all sync.WaitGroup
	for i, l := range p.keys {
		all.Add(1)
		go func() {
			defer all.Done()
			for k := p.config.Keys[i]; ctx.Err() == nil; {
				p.watch(ctx, k, l, edges)
				p.reopen(ctx, k, l)
			}
		}()
	}
	all.Wait()
	return ctx.Err()
}

// reopen gets a lost line back, or tries until ctx ends.
func (p *Pins) reopen(ctx context.Context, k KeyLine, l line) {
	for lost := false; ctx.Err() == nil; p.pause(ctx, reopenEvery) {
		l.Close()
		err := l.Input(k.Pull)
		if err == nil && lost {
			p.config.Fault(k.Key, nil)
			return
		}
		if !lost { // the first success may be worth nothing: it is believed after a pause
			lost = true
			if err == nil {
				err = ErrNoEdges
			}
			p.config.Fault(k.Key, fmt.Errorf("gpio: key %s on %s line %d: %w", k.Key, p.config.Chip, k.Line, explain(err)))
		}
	}
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// watch sends the edges of one key until ctx ends or the line is lost.
func (p *Pins) watch(ctx context.Context, k KeyLine, l line, edges chan<- hal.Edge) {
	down := func() bool { return l.High() != k.ActiveLow }
	send := func(e hal.Edge) bool {
		select {
		case edges <- e:
			return true
		case <-ctx.Done():
			return false
		}
	}
	last := down()
	if !send(hal.Edge{Key: k.Key, Down: last, At: time.Now(), Initial: true}) {
		return
	}
	for bad := 0; bad < maxBadWaits && ctx.Err() == nil; {
		began := time.Now()
		edge := l.Wait(waitSlice)
		now := time.Now()
		if edge || now.Sub(began) >= waitSlice/2 {
			bad = 0
		} else { // neither an edge nor a wait; and the level of a line that is lost is worth nothing
			bad++
			p.pause(ctx, waitSlice/10)
			continue
		}
		level := down()
		if edge && !level && !last {
			// Two edges came before the level was read: the mute key's leading edge must not be lost.
			if !send(hal.Edge{Key: k.Key, Down: true, At: now}) {
				return
			}
		}
		if edge || level != last {
			last = level
			if !send(hal.Edge{Key: k.Key, Down: level, At: now}) {
				return
			}
		}
	}
}
