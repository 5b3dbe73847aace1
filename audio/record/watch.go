package record

import "time"

// watch tells of files that do not grow and of sound that is lost, also while the disk holds the writer up.
func (t *Tape) watch(stop <-chan struct{}) {
	tick := time.NewTicker(max(t.c.Stall/6, time.Millisecond))
	defer tick.Stop()
	began := t.c.Now().UnixNano()
	var lost uint64
	losing := false
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		since := time.Duration(t.c.Now().UnixNano() - max(began, t.grown.Load()))
		if stalled := since > t.c.Stall; stalled != t.stall.Load() {
			t.stall.Store(stalled)
			if stalled {
				t.c.OnFault(ErrStalled)
			} else {
				t.c.OnFault(nil)
			}
		}
		now := t.ring.lost.Load()
		if now > lost && !losing {
			t.c.OnFault(ErrLost)
		}
		lost, losing = now, now > lost
	}
}
