package card

import "sync/atomic"

// ringSize is how much a ring holds, samples: 341 ms at 48 kHz. A power of two, so that positions wrap by masking.
const ringSize = 1 << 14

// ring carries samples from one goroutine (or thread) to one other without a lock. Positions only grow: they count every
// sample since the start, which is what the drift is measured by.
type ring struct {
	written atomic.Uint64
	read    atomic.Uint64
	pcm     [ringSize]int16
}

// put appends what there is room for and returns how much that was. Writer only.
func (r *ring) put(pcm []int16) int {
	w := r.written.Load()
	n := min(len(pcm), ringSize-int(w-r.read.Load()))
	at := int(w % ringSize)
	first := copy(r.pcm[at:], pcm[:n])
	copy(r.pcm[:], pcm[first:n])
	r.written.Store(w + uint64(n))
	return n
}

// take fills pcm as far as there is something and returns how much that was. Reader only.
func (r *ring) take(pcm []int16) int {
	pos := r.read.Load()
	n := min(len(pcm), int(r.written.Load()-pos))
	at := int(pos % ringSize)
	first := copy(pcm[:n], r.pcm[at:])
	copy(pcm[first:n], r.pcm[:])
	r.read.Store(pos + uint64(n))
	return n
}

// skip passes over n samples, or over what there is. Reader only.
func (r *ring) skip(n int) int {
	pos := r.read.Load()
	n = min(n, int(r.written.Load()-pos))
	r.read.Store(pos + uint64(n))
	return n
}
