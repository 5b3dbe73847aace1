package record

import (
	"sync/atomic"

	"parley/audio"
)

// ringFrames is what the ring holds: 10.24 s.
const ringFrames = 1024

// slot is 10 ms in the ring.
type slot struct {
	gap    uint32 // frames that were lost before this one
	rate   uint16 // Hz/100: 480, 160 or 80
	silent bool   // frame was not written
	frame  audio.Frame
}

// ring takes frames from one goroutine to another. Neither ever waits.
type ring struct {
	slots [ringFrames]slot
	in    atomic.Uint64 // slots filled, ever
	out   atomic.Uint64 // slots emptied, ever
	gap   atomic.Uint32 // frames lost since the last slot was filled
	lost  atomic.Uint64 // frames lost, ever
}

// put copies f; nil is silence. It is the mixer's side.
func (r *ring) put(rate int, f *audio.Frame) {
	n := r.in.Load()
	if n-r.out.Load() >= ringFrames {
		r.gap.Add(1)
		r.lost.Add(1)
		return
	}
	s := &r.slots[n%ringFrames]
	s.gap = r.gap.Swap(0)
	s.silent = f == nil
	s.rate = uint16(rate / 100)
	if f != nil {
		copy(s.frame[:s.rate], f[:s.rate])
	}
	r.in.Add(1)
}

// next is the oldest filled slot, or nil; done gives it back.
func (r *ring) next() *slot {
	n := r.out.Load()
	if n == r.in.Load() {
		return nil
	}
	return &r.slots[n%ringFrames]
}

func (r *ring) done() { r.out.Add(1) }
