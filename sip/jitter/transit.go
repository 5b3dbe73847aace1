package jitter

import (
	"math"
	"time"
)

const (
	buckets    = 8
	bucketSpan = int64(500 * time.Millisecond)
)

// transit is the shortest way of the last four seconds: arrival less timestamp, in ns, of which only changes mean anything.
// The shortest, and not the mean, since it moves with the clocks and the route but not with jitter.
type transit struct {
	min   [buckets]int64
	used  [buckets]bool
	at    int   // the bucket that fills
	edge  int64 // ns: where it ends
	first int64 // ns: the first packet
	last  int64 // the last packet's
	some  bool
}

func (t *transit) add(arrived, way int64) {
	if !t.some {
		t.some, t.first, t.edge = true, arrived, arrived+bucketSpan
	}
	for n := 0; arrived >= t.edge && n < buckets; n++ {
		t.at = (t.at + 1) % buckets
		t.used[t.at] = false
		t.edge += bucketSpan
	}
	if arrived >= t.edge {
		t.edge = arrived + bucketSpan
	}
	if !t.used[t.at] || way < t.min[t.at] {
		t.used[t.at], t.min[t.at] = true, way
	}
	t.last = way
}

// jumped tells whether a packet's way is so far from its predecessor's that the sender has a new time base.
func (t *transit) jumped(way int64) bool {
	return t.some && (way-t.last > int64(transitJump) || t.last-way > int64(transitJump))
}

// shortest is the least of the window.
func (t *transit) shortest() int64 {
	least := int64(math.MaxInt64)
	for i, v := range t.min {
		if t.used[i] && v < least {
			least = v
		}
	}
	return least
}

// settled: enough was seen to judge the sender's clock.
func (t *transit) settled(now int64) bool { return t.some && now-t.first >= int64(slewSettle) }
