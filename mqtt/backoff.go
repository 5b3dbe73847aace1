package mqtt

import "time"

// Bounds of the pauses between attempts, before jitter.
const (
	firstPause  = 500 * time.Millisecond
	earlyPause  = 5 * time.Second  // the longest in the first minute
	latePause   = 60 * time.Second // the longest after it
	firstMinute = time.Minute
)

// backoff doubles the pause from attempt to attempt. The zero value is ready.
type backoff struct{ last time.Duration }

// next gives the pause before the next attempt, when there has been no connection for down. random is from 0 to 1 and
// moves it by ±50 %, so that the boxes of a house do not all come back at the same moment.
func (b *backoff) next(down time.Duration, random float64) time.Duration {
	longest := earlyPause
	if down >= firstMinute {
		longest = latePause
	}
	b.last = min(max(2*b.last, firstPause), longest)
	return time.Duration(float64(b.last) * (0.5 + random))
}
