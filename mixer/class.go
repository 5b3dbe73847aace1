package mixer

import (
	"cmp"
	"slices"

	"parley/audio"
)

// class is a set of sources, or rather what goes on while the set changes: its sums, and the state of its limiters. It belongs to
// the tick, but for parent.
type class struct {
	parent *class // what a new class splits from; read once by the tick

	ran     *entry  // as it was in the last tick
	from    *class  // in its first tick: what it was copied from
	before  []*port // in a tick in which the set changed: the old set
	changed bool

	sum   [rateCount][audio.FrameSamples]int32
	live  [rateCount]bool // the sum holds sound
	total [rateCount][audio.FrameSamples]int32
	mix   [rateCount][]int32 // the sum of all rates at this one: in sum or total; nil: silence
	limit [rateCount]audio.Limiter
	start [rateCount]audio.Limiter // limit before this tick
	frame [rateCount]audio.Frame   // what all hear who contribute nothing
	blank [rateCount]bool          // frame is zeros
}

// adopt prepares the class for a tick under a new plan.
func (e *entry) adopt() {
	c := e.class
	if c.ran == nil {
		for p := c.parent; p != nil; p = p.parent {
			if p.ran != nil {
				c.copyFrom(p, e)
				break
			}
		}
	}
	c.parent = nil
	if c.ran != nil {
		c.before = c.ran.sources
		c.changed = !slices.Equal(c.before, e.sources)
	} else {
		c.before, c.changed = nil, len(e.sources) > 0
	}
}

// copyFrom makes a new class go on like p.
func (c *class) copyFrom(p *class, e *entry) {
	c.from, c.ran = p, p.ran
	c.limit, c.frame, c.blank = p.limit, p.frame, p.blank
	for i := range rates {
		for j := range rates {
			if to, from := e.convert[i][j], p.ran.convert[i][j]; to != nil && from != nil {
				to.Follow(from)
			}
		}
	}
	for _, to := range e.streams {
		for _, from := range p.ran.streams {
			if to.format == from.format {
				to.follow(from, from.format.Ptime/10)
				to.using, to.used, to.from = from.using, from.used, from
			}
		}
	}
}

// persists tells that now is the same sound as old.
func persists(old, now *port) bool { return old == now || now.heir == old }

// change sums the class in a tick in which its set changed: what came begins, what went ends.
func (e *entry) change(n uint64) {
	c, a, b := e.class, e.class.before, e.sources
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = cmp.Compare(a[0].id, b[0].id)
		}
		switch {
		case order < 0:
			c.add(a[0], formOf(a[0].before(n), false))
			a = a[1:]
		case order > 0:
			c.add(b[0], formOf(false, b[0].now(n)))
			b = b[1:]
		case persists(a[0], b[0]):
			c.add(b[0], formOf(b[0].before(n), b[0].now(n)))
			a, b = a[1:], b[1:]
		default:
			c.add(a[0], formOf(a[0].before(n), false))
			c.add(b[0], formOf(false, b[0].now(n)))
			a, b = a[1:], b[1:]
		}
	}
}

func (c *class) add(p *port, f form) {
	if f == none {
		return
	}
	sum := c.sum[p.rate][:frameLen(p.rate)]
	if !c.live[p.rate] {
		clear(sum)
		c.live[p.rate] = true
	}
	p.addTo(sum, f, 1)
}

// formIn is the form in which p's own sound is in the class's sum. self: it belongs to the set now.
func (c *class) formIn(p *port, self bool, n uint64) form {
	if p.source == nil {
		return none
	}
	was := self
	if c.changed {
		at, ok := slices.BinarySearchFunc(c.before, p.id, byID)
		was = ok && persists(c.before[at], p)
	}
	return formOf(was && p.before(n), self && p.now(n))
}

// join brings the sums of all rates together at each rate that is wanted, and limits them.
func (e *entry) join() {
	c := e.class
	for r := range rates {
		if !e.wanted[r] {
			c.mix[r] = nil
			for q := range rates { // it may be wanted again: old sound must not come out then
				if conv := e.convert[q][r]; conv != nil && !conv.Quiet() {
					conv.Reset()
				}
			}
			continue
		}
		c.mix[r] = e.total(r)
		c.start[r] = c.limit[r]
		n := frameLen(r)
		if c.mix[r] == nil {
			c.limit[r].Quiet()
			if !c.blank[r] {
				clear(c.frame[r][:n])
				c.blank[r] = true
			}
			continue
		}
		c.blank[r] = false
		c.limit[r].Apply(c.mix[r], c.frame[r][:n])
	}
}

// total is everything at rate r, or nil if that is silence.
func (e *entry) total(r int) []int32 {
	c, n := e.class, frameLen(r)
	var mix []int32
	if c.live[r] {
		mix = c.sum[r][:n]
	}
	var other [audio.FrameSamples]int32
	for q := range rates {
		conv := e.convert[q][r]
		if conv == nil || !c.live[q] && conv.Quiet() {
			continue
		}
		var in []int32
		if c.live[q] {
			in = c.sum[q][:frameLen(q)]
		}
		conv.Convert(in, other[:n])
		if mix == nil {
			mix = c.total[r][:n]
			copy(mix, other[:n])
			continue
		}
		sum := c.total[r][:n]
		for i, v := range other[:n] {
			sum[i] = mix[i] + v
		}
		mix = sum
	}
	return mix
}
