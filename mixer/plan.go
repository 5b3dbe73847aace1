package mixer

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"parley/audio"
)

// The rates that the mixer sums at, by index.
var rates = [...]int{8000, 16000, 48000}

const (
	rateCount = len(rates)
	fullRate  = rateCount - 1 // the index of 48 kHz
	maxPtime  = 60            // ms
)

func rateIndex(hz int) (int, bool) {
	for i, r := range rates {
		if r == hz {
			return i, true
		}
	}
	return 0, false
}

func frameLen(rate int) int { return rates[rate] / 100 }

// plan is who hears whom, worked out. It does not change once it is stored; what it points to (ports, classes, streams,
// resamplers) belongs to the tick.
type plan struct {
	byID    map[PortID]*port
	sources []feed
	seats   []seat
	classes []entry
	streams []shared
	active  []int32 // scratch of the tick: indices of the sources that add something
}

// feed is a source and the classes that hear it.
type feed struct {
	*port
	classes []int32
}

// seat is a listener.
type seat struct {
	*port
	class  int32
	self   bool    // the class's sum holds this port's own sound
	shared *stream // what it is sent while it says nothing; nil: always its own
}

// entry is a class in one plan.
type entry struct {
	*class
	sources []*port // by ID
	convert [rateCount][rateCount]*audio.Resampler
	wanted  [rateCount]bool // the rates of the listeners
	streams []*stream
}

// shared is a stream that a class's silent listeners share.
type shared struct {
	*stream
	class int32
}

// build makes plans. It is guarded by Mixer.mu.
type build struct {
	ports   map[PortID]*port
	hearing Hearing
	classes map[setKey]*record
	seated  map[PortID]*record // the class in which each listener sat in the last plan
	seeds   [2]uint64
	mark    uint32
}

// record is what build remembers of a class from one plan to the next.
type record struct {
	class   *class
	rates   [rateCount]bool // of the sources that it has, or had: their sound has to end, too
	convert [rateCount][rateCount]*audio.Resampler
	streams map[audio.Format]*stream
}

func newBuild() build {
	return build{ports: map[PortID]*port{}, seeds: [2]uint64{rand.Uint64(), rand.Uint64()}}
}

// setKey stands for a set of sources: the exclusive or of random 128-bit numbers, one for each, so that one more or one less is a
// matter of one operation.
type setKey [2]uint64

func (b *build) with(k setKey, p *port) setKey {
	return setKey{k[0] ^ mix(uint64(p.id)^b.seeds[0]), k[1] ^ mix(uint64(p.id)^b.seeds[1])}
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// heard is a set of sources, by ID.
type heard struct {
	key  setKey
	list []*port
}

func (h *heard) has(p *port) bool {
	_, ok := slices.BinarySearchFunc(h.list, p.id, byID)
	return ok
}

func byID(p *port, id PortID) int { return cmp.Compare(p.id, id) }

// listener is a port on its way to a seat.
type listener struct {
	port *port
	set  *heard
	key  setKey
	self bool
}

// group is a class on its way into the plan.
type group struct {
	key       setKey
	listeners []listener
	record    *record
}

// next makes the plan for the present ports and hearing. The error tells of shared encoders that could not be made.
func (b *build) next(newStream func(audio.Format) (*stream, error)) (*plan, error) {
	groups := b.group(b.listeners())
	b.inherit(groups)
	p := &plan{byID: make(map[PortID]*port, len(b.ports))}
	var sorted []*port
	for id, q := range b.ports {
		p.byID[id] = q
		sorted = append(sorted, q)
	}
	slices.SortFunc(sorted, func(x, y *port) int { return cmp.Compare(x.id, y.id) })
	for _, q := range sorted {
		if q.source != nil {
			q.slot = len(p.sources)
			p.sources = append(p.sources, feed{port: q})
		}
	}
	p.active = make([]int32, 0, len(p.sources))
	var failed error
	b.classes, b.seated = map[setKey]*record{}, map[PortID]*record{}
	for i := range groups {
		if err := b.seat(p, &groups[i], newStream); err != nil {
			failed = err
		}
	}
	return p, failed
}

// listeners gives each port with a sink the set that it hears.
func (b *build) listeners() []listener {
	type slice struct {
		first *PortID
		n     int
	}
	known := map[slice]*heard{}
	var out []listener
	for id, p := range b.ports {
		if p.packets == nil && p.frames == nil {
			continue
		}
		ids := b.hearing[id]
		name := slice{n: len(ids)}
		if len(ids) > 0 {
			name.first = &ids[0]
		}
		set := known[name]
		if set == nil {
			set = b.heard(ids)
			known[name] = set
		}
		out = append(out, listener{port: p, set: set})
	}
	slices.SortFunc(out, func(x, y listener) int { return cmp.Compare(x.port.id, y.port.id) })
	return out
}

func (b *build) heard(ids []PortID) *heard {
	h := &heard{}
	b.mark++
	for _, id := range ids {
		if p := b.ports[id]; p != nil && p.source != nil && p.mark != b.mark {
			p.mark = b.mark
			h.list = append(h.list, p)
			h.key = b.with(h.key, p)
		}
	}
	slices.SortFunc(h.list, func(x, y *port) int { return cmp.Compare(x.id, y.id) })
	return h
}

// group puts listeners into classes. A source can hear either the sum of just its set, or the sum of its set and itself, less
// itself: it joins the one that more listeners could share.
func (b *build) group(all []listener) []group {
	with := func(l *listener) setKey {
		if l.set.has(l.port) {
			return l.set.key
		}
		return b.with(l.set.key, l.port)
	}
	without := func(l *listener) setKey {
		if l.port.source != nil && l.set.has(l.port) {
			return b.with(l.set.key, l.port)
		}
		return l.set.key
	}
	votes := map[setKey]int{}
	for i := range all {
		l := &all[i]
		votes[without(l)]++
		if l.port.source != nil {
			votes[with(l)]++
		}
	}
	at := map[setKey]int{}
	var groups []group
	for i := range all {
		l := all[i]
		l.key = without(&l)
		if l.port.source != nil {
			if k := with(&l); votes[k] > votes[l.key] {
				l.key, l.self = k, true
			}
		}
		g, ok := at[l.key]
		if !ok {
			g = len(groups)
			at[l.key] = g
			groups = append(groups, group{key: l.key})
		}
		groups[g].listeners = append(groups[g].listeners, l)
	}
	return groups
}

// inherit finds for each group the class of the last plan that it continues: the one of the same set, else the one that most
// of its listeners come from, so that filters, limiters and encoders go on. A class that splits is continued by one
// group, and copied by the others.
func (b *build) inherit(groups []group) {
	taken := map[*record]bool{}
	var open []*group
	for i := range groups {
		g := &groups[i]
		if r := b.classes[g.key]; r != nil {
			g.record, taken[r] = r, true
		} else {
			open = append(open, g)
		}
	}
	slices.SortStableFunc(open, func(x, y *group) int { return cmp.Compare(len(y.listeners), len(x.listeners)) })
	for _, g := range open {
		count := map[*record]int{}
		var best, free *record
		for _, l := range g.listeners {
			r := b.seated[l.port.id]
			if r == nil {
				continue
			}
			count[r]++
			if best == nil || count[r] > count[best] {
				best = r
			}
			if !taken[r] && (free == nil || count[r] > count[free]) {
				free = r
			}
		}
		if free != nil {
			g.record, taken[free] = free, true
			continue
		}
		g.record = &record{class: &class{}, streams: map[audio.Format]*stream{}}
		if best != nil {
			g.record.class.parent, g.record.rates = best.class, best.rates
		}
	}
}

// seat writes g into p.
func (b *build) seat(p *plan, g *group, newStream func(audio.Format) (*stream, error)) error {
	r := g.record
	b.classes[g.key] = r
	n := int32(len(p.classes))
	e := entry{class: r.class, sources: sourcesOf(g.listeners[0])}
	for _, s := range e.sources {
		r.rates[s.rate] = true
		p.sources[s.slot].classes = append(p.sources[s.slot].classes, n)
	}
	streams := map[audio.Format]*stream{}
	var failed error
	for _, l := range g.listeners {
		b.seated[l.port.id] = r
		e.wanted[l.port.rate] = true
		s := seat{port: l.port, class: n, self: l.self}
		if f := l.port.format; l.port.packets != nil {
			st, ok := streams[f]
			if !ok {
				if st = r.streams[f]; st == nil {
					var err error
					if st, err = newStream(f); err != nil {
						failed = err
					}
				}
				streams[f] = st
				if st != nil {
					p.streams = append(p.streams, shared{stream: st, class: n})
				}
			}
			s.shared = st
		}
		p.seats = append(p.seats, s)
	}
	r.streams = streams
	r.converters(e.wanted)
	e.convert = r.convert
	for _, st := range streams {
		if st != nil {
			e.streams = append(e.streams, st)
		}
	}
	p.classes = append(p.classes, e)
	return failed
}

// sourcesOf is the whole set of l's class.
func sourcesOf(l listener) []*port {
	list := l.set.list
	at, in := slices.BinarySearchFunc(list, l.port.id, byID)
	switch {
	case l.self && !in:
		return slices.Insert(slices.Clone(list), at, l.port)
	case !l.self && in:
		return slices.Delete(slices.Clone(list), at, at+1)
	}
	return list
}

// converters sees to it that there is a resampler for each pair of rates that is needed, and keeps those there are.
func (r *record) converters(to [rateCount]bool) {
	for i := range rates {
		for j := range rates {
			if i == j || !r.rates[i] || !to[j] || r.convert[i][j] != nil {
				continue
			}
			r.convert[i][j], _ = audio.NewResampler(rates[i], rates[j]) // the rates are ours: it cannot fail
		}
	}
}
