package mixer

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"parley/audio"
)

// stats are the tick's counters.
type stats struct {
	ticks atomic.Uint64
}

// Level is the smoothed level of what port id says, and whether it is being mixed. ok is false if there is no such port.
func (m *Mixer) State(id PortID) (s PortState, ok bool) {
	p, ok := m.plan.Load().byID[id]
	if !ok {
		return PortState{}, false
	}
	return p.report(), true
}

// PortState is what there is to see of a port.
type PortState struct {
	ID          PortID
	RMS, Peak   float64 // dBFS, smoothed for a display; at least audio.SilenceDB
	Contributes bool    // it is heard, or would be if anybody listened
	Gone        bool    // its source has ended
}

func (p *port) report() PortState {
	w := p.state.Load()
	l := audio.Level{Power: float64(math.Float32frombits(uint32(w >> 32))), Peak: int32(uint32(w) >> 2)}
	return PortState{ID: p.id, RMS: l.RMS(), Peak: l.PeakDB(), Contributes: w&2 != 0, Gone: w&1 != 0}
}

// Run ticks every 10 ms until ctx ends.
func (m *Mixer) Run(ctx context.Context) error {
	t := time.NewTicker(audio.FrameDuration)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			m.Tick(m.config.Now())
		}
	}
}
