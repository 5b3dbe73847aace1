package main

import (
	"bytes"
	"sync"
)

// ring keeps the last of what was logged, in memory, for a support bundle. It is an io.Writer that never fails.
type ring struct {
	mu   sync.Mutex // holds what follows
	kept []byte     // round, once it is full
	at   int        // where the next byte goes
	full bool
}

// ringSize is how much of the log is kept: some hours of an ordinary day.
const ringSize = 256 << 10

func newRing() *ring { return &ring{kept: make([]byte, 0, 4<<10)} }

// Write takes a line.
func (r *ring) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := len(p)
	if room := ringSize - len(r.kept); room > 0 && !r.full { // memory is taken as the log grows
		n := min(room, len(p))
		r.kept = append(r.kept, p[:n]...)
		p = p[n:]
		r.full = len(r.kept) == ringSize
	}
	for len(p) > 0 {
		n := copy(r.kept[r.at:], p)
		p, r.at = p[n:], (r.at+n)%ringSize
	}
	return all, nil
}

// last gives the latest whole lines, at most so many bytes.
func (r *ring) last(most int) []byte {
	r.mu.Lock()
	text := append(append(make([]byte, 0, len(r.kept)), r.kept[r.at:]...), r.kept[:r.at]...)
	cut := r.full
	r.mu.Unlock()
	if len(text) > most {
		text, cut = text[len(text)-most:], true
	}
	if cut {
		if _, rest, ok := bytes.Cut(text, []byte("\n")); ok {
			text = rest
		}
	}
	return text
}
