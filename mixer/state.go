package mixer

import (
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"parley/audio"
)

// PortState is what there is to see of a port.
type PortState struct {
	ID          PortID
	RMS, Peak   float64 // dBFS, smoothed for a display; at least audio.SilenceDB
	Contributes bool    // it says something, to those who hear it
	Gone        bool    // its source has ended
}

// State is the present state of a port, without a lock. ok is false if there is no such port.
func (m *Mixer) State(id PortID) (s PortState, ok bool) {
	p, ok := m.plan.Load().byID[id]
	if !ok {
		return PortState{}, false
	}
	return p.report(), true
}

// States appends the state of each port that has a source to dst, by ID.
func (m *Mixer) States(dst []PortState) []PortState {
	for _, f := range m.plan.Load().sources {
		dst = append(dst, f.report())
	}
	return dst
}

// publish packs the level and the flags into one word: power as float32, the peak, contributing, gone.
func (p *port) publish() {
	l := p.meter.Level()
	w := uint64(math.Float32bits(float32(l.Power)))<<32 | uint64(l.Peak)<<2
	if p.sounds {
		w |= 2
	}
	if p.gone {
		w |= 1
	}
	if w != p.state.Load() {
		p.state.Store(w)
	}
}

func (p *port) report() PortState {
	w := p.state.Load()
	l := audio.Level{Power: float64(math.Float32frombits(uint32(w >> 32))), Peak: int32(uint32(w) >> 2)}
	return PortState{ID: p.id, RMS: l.RMS(), Peak: l.PeakDB(), Contributes: w&2 != 0, Gone: w&1 != 0}
}

// Stats are the mixer's counters since New.
type Stats struct {
	Ticks    uint64        // made
	Late     uint64        // begun more than 3 ms after their time
	Skipped  uint64        // not made, because they were over 200 ms late
	Overruns uint64        // wakings whose ticks took longer than their 10 ms each
	Worst    time.Duration // the latest beginning of a tick
	CPU      time.Duration // of Run's thread while it was ticking and waking
}

// Stats is the present state of the counters, without a lock. All but Ticks are Run's.
func (m *Mixer) Stats() Stats {
	s := &m.stats
	return Stats{
		Ticks: s.ticks.Load(), Late: s.late.Load(), Skipped: s.skipped.Load(), Overruns: s.overruns.Load(),
		Worst: time.Duration(s.worst.Load()), CPU: time.Duration(s.cpu.Load()),
	}
}

type stats struct {
	ticks, late, skipped, overruns atomic.Uint64
	worst, cpu                     atomic.Int64
	cpuSeen                        int64 // of the thread; Run's own
}

// began takes note of a tick that begins late by so many nanoseconds.
func (s *stats) began(late int64) {
	if late > int64(lateness) {
		s.late.Add(1)
	}
	if late > s.worst.Load() {
		s.worst.Store(late)
	}
}

// ended takes note of n ticks that took so many nanoseconds together.
func (s *stats) ended(took int64, n int) {
	if n > 0 && took > int64(n)*int64(audio.FrameDuration) {
		s.overruns.Add(1)
	}
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return
	}
	if now := ts.Nano(); s.cpuSeen > 0 && now > s.cpuSeen {
		s.cpu.Add(now - s.cpuSeen)
		s.cpuSeen = now
	} else {
		s.cpuSeen = now
	}
}
