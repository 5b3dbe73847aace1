package mixer

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"parley/audio"
)

const (
	patience = 200 * time.Millisecond // what is later than that is skipped
	lateness = 3 * time.Millisecond   // from here on a tick counts as late
	maxSkip  = 6000                   // ticks of a pause that the sinks are told of: a minute
)

// Run ticks every 10 ms, on a thread of its own and on an absolute schedule of the monotonic clock, until ctx ends. Ticks that were
// missed by up to 200 ms are made up for at once, later ones are skipped. At most one Run at a time.
func (m *Mixer) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	defer wait.Wait()
	if m.config.OnGone != nil {
		wait.Go(func() { m.report(ctx) })
	}
	runtime.LockOSThread()
	if m.config.Priority == 0 { // else the thread ends with this goroutine, because no other is to inherit its priority
		defer runtime.UnlockOSThread()
		// Wakes when it asked for, however lax the other threads' timers are; real-time ones do anyway.
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		defer unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)
	} else {
		_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&threadName[0])), 0, 0, 0) // for top and debuggers
		if err := prefer(m.config.Priority); err != nil {
			m.config.Log.Warn("mixer: no real-time priority", "err", err)
		}
	}
	clock, err := newClock()
	if err != nil {
		return err
	}
	s := schedule{next: clock.now()}
	for ctx.Err() == nil {
		if err := clock.sleep(s.next); err != nil {
			return err
		}
		now := clock.now()
		n, skipped := s.due(now)
		if skipped > 0 {
			m.tick.skip(min(skipped, maxSkip))
			m.stats.skipped.Add(uint64(skipped))
		}
		for i := range n {
			m.stats.began(clock.now() - (s.next - int64(n-i)*int64(audio.FrameDuration)))
			m.Tick(m.config.Now())
		}
		m.stats.ended(clock.now()-now, n)
	}
	return nil
}

// threadName is what the mixer's thread, where it has one for good, is called in /proc, with the 0 at its end that the kernel wants.
var threadName = []byte("parley-mixer\x00")

// prefer makes the calling thread a real-time one.
func prefer(priority int) error {
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: uint32(priority)}, 0)
}

// report tells OnGone.
func (m *Mixer) report(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-m.gone:
			m.config.OnGone(id)
		}
	}
}

// schedule is when ticks are due, in nanoseconds of a monotonic clock.
type schedule struct{ next int64 }

// due is how many ticks are to be run at now, after how many that are not worth running any more.
func (s *schedule) due(now int64) (run, skip int) {
	late := now - s.next
	if late < 0 {
		return 0, 0
	}
	n := int(late/int64(audio.FrameDuration)) + 1
	s.next += int64(n) * int64(audio.FrameDuration)
	if late > int64(patience) {
		return 1, n - 1
	}
	return n, 0
}

// clock is CLOCK_MONOTONIC. It sleeps by clock_nanosleep, because Go's timers wait in whole milliseconds when nothing
// else is to be done: about 0.6 ms late in the median, against 0.1 to 0.2.
type clock struct {
	start time.Time
	base  int64
}

func newClock() (clock, error) {
	var ts unix.Timespec
	start := time.Now()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return clock{}, fmt.Errorf("mixer: clock: %w", err)
	}
	return clock{start: start, base: ts.Nano()}, nil
}

func (c clock) now() int64 { return c.base + int64(time.Since(c.start)) }

func (c clock) sleep(until int64) error {
	ts := unix.NsecToTimespec(until)
	for {
		err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

// skip lets n ticks pass in which nothing is mixed. The sinks are told of each packet that they are not sent.
func (t *ticker) skip(n int) {
	p := t.plan
	if p == nil {
		t.n += uint64(n)
		return
	}
	for range n {
		t.n++
		for i := range p.seats {
			s := &p.seats[i]
			if s.packets != nil && !s.gone && t.part(s.format) == s.format.Ptime/10-1 {
				s.packets.WritePacket(s.format, nil)
			}
		}
	}
	for i := range p.streams {
		clear(p.streams[i].pcm[p.streams[i].at])
	}
	for i := range p.seats {
		if s := &p.seats[i]; s.own != nil {
			clear(s.own.pcm[s.own.at])
		}
	}
}
