package view

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Lines without a picture: so many at once, and so many a second after that.
const (
	lineBurst = 200
	lineRate  = 50
)

// bucket lets a rate through.
type bucket struct {
	left float64
	at   time.Time
}

// take tells whether one more may pass now.
func (b *bucket) take(now time.Time) bool {
	if b.at.IsZero() {
		b.left = lineBurst
	} else {
		b.left = min(lineBurst, b.left+now.Sub(b.at).Seconds()*lineRate)
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// tell writes the queued lines until ctx ends, then the rest of them.
func (v *View) tell(ctx context.Context) {
	ticker := time.NewTicker(time.Second) // so that what was left out is told in time
	defer ticker.Stop()
	var b bucket
	for {
		v.flush(&b)
		select {
		case <-ctx.Done():
			v.flush(&b)
			return
		case <-v.wake:
		case <-ticker.C:
		}
	}
}

// flush writes what is queued, as far as the bucket lets it.
func (v *View) flush(b *bucket) {
	v.mu.Lock()
	lines := v.queue
	v.queue = nil
	v.mu.Unlock()
	left := 0
	for _, l := range lines {
		if !b.take(time.Now()) {
			left++
			continue
		}
		fmt.Fprintln(v.config.Out, harmless(l))
	}
	v.mu.Lock()
	v.dropped += left
	dropped := v.dropped
	if dropped > 0 && b.take(time.Now()) {
		v.dropped = 0
	} else {
		dropped = 0
	}
	v.mu.Unlock()
	if dropped > 0 {
		fmt.Fprintf(v.config.Out, "… %d lines left out\n", dropped)
	}
}

// harmless is a line without what a terminal could take for a command.
func harmless(line string) string {
	s, _ := clean(strings.ReplaceAll(line, "\t", " "), maxLine)
	return s
}
