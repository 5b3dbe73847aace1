package card

import (
	"sync/atomic"
	"time"

	"parley/audio"
)

// Fill that the rings are held at, beside what one exchange and one frame move.
const (
	margin = audio.SampleRate * 5 / 1000  // for ticks and callbacks that come late
	excess = audio.SampleRate * 30 / 1000 // above the target: no drift, but somebody stood still
)

// counts are what went wrong, for Status.
type counts struct {
	dropped, repeated atomic.Uint64
	fill              atomic.Int64 // samples
	drift             atomic.Int64 // parts per billion
}

// micSide is the mixer's end of the microphone's ring. All but the counts is of the mixer's goroutine.
type micSide struct {
	counts
	session  *session
	running  bool // the ring has been filled once
	shift    resampler
	steer    steer
	valve    audio.Valve
	closings uint64
	hidden   uint64 // ring position before which nothing gets out
	last     int16
	raw      [2 * audio.FrameSamples]int16
}

// ReadFrame gives 10 ms of the microphone. It is Silent while there is no card or the gate is closed, and Late in the frame in
// which the card failed to deliver.
func (c *Card) ReadFrame(rate int, f *audio.Frame) audio.Status {
	if rate != audio.SampleRate {
		return audio.Silent
	}
	m := &c.mic
	status := m.read(c.current.Load(), c.cfg.Gate, f)
	if status == audio.Silent {
		clear(f[:])
	}
	if c.duck != nil && status == audio.Active {
		c.duck.Microphone(f)
	}
	m.valve.Apply(f[:])
	if isSilent(f) {
		return audio.Silent
	}
	return status
}

func (m *micSide) read(s *session, gate *audio.Gate, f *audio.Frame) audio.Status {
	if s != m.session {
		m.session, m.running, m.hidden = s, false, 0
	}
	if s == nil {
		return m.end(f)
	}
	m.obey(s, gate)
	ratio, ok := m.aim(s)
	if !ok {
		return m.end(f)
	}
	n := m.shift.need(audio.FrameSamples, ratio)
	from := s.mic.read.Load()
	if s.mic.written.Load()-from < uint64(n) {
		m.running = false
		m.repeated.Add(1)
		return m.end(f)
	}
	raw := m.raw[:s.mic.take(m.raw[:n])]
	if from < m.hidden {
		clear(raw[:min(uint64(len(raw)), m.hidden-from)])
	}
	m.shift.feed(raw)
	m.shift.run(f[:], ratio)
	m.last = f[audio.FrameSamples-1]
	return audio.Active
}

// obey hides what was heard before the gate was closed, even if it is open again: what is in the filter, in the ring, and
// what the card's thread may be putting there at this moment.
func (m *micSide) obey(s *session, gate *audio.Gate) {
	if gate == nil {
		return
	}
	n := gate.Closings()
	if n == m.closings {
		return
	}
	m.closings = n
	m.hidden = s.mic.written.Load() + 2*uint64(s.burst.Load())
	m.shift.silence()
}

// aim steers the ring's fill: it starts when there is enough, leaves out what has piled up while somebody stood still, and
// else gives the ratio that lets the fill be what it should. It is not ok while there is too little to start.
func (m *micSide) aim(s *session) (ratio float64, ok bool) {
	here, ok := s.estimate(&s.micMark)
	if !ok {
		return m.steer.hold(), m.running
	}
	level, burst := here-float64(s.mic.read.Load()), float64(s.burst.Load())
	target := audio.FrameSamples + margin + taps + burst
	m.fill.Store(int64(level))
	if !m.running {
		there := float64(s.mic.written.Load() - s.mic.read.Load()) // an estimate runs ahead of a card that has stopped
		if level < target || there < target-burst {
			return 0, false
		}
		s.mic.skip(int(level - target))
		m.shift.reset()
		m.steer.again()
		m.running, level = true, target
	}
	if over := int(level - target); over > excess {
		m.dropped.Add(uint64(s.mic.skip(over)+audio.FrameSamples-1) / audio.FrameSamples)
		m.steer.again()
		level = target
	}
	ratio = m.steer.step(level - target)
	m.drift.Store(int64(m.steer.drift * 1e9))
	return ratio, true
}

// end lets the sound end without a click, and is silence after that.
func (m *micSide) end(f *audio.Frame) audio.Status {
	if m.last == 0 {
		return audio.Silent
	}
	ramp(f[:], m.last)
	m.last = 0
	return audio.Late
}

// speakerSide is the mixer's end of the speaker's ring.
type speakerSide struct {
	counts
	session *session
	shift   resampler
	steer   steer
	loud    audio.Frame
	raw     [2 * audio.FrameSamples]int16
}

// WriteFrame plays 10 ms at 48 kHz. Where there is no card, or one that stands still, the frame is dropped.
func (c *Card) WriteFrame(f *audio.Frame) {
	c.vol.apply(&c.speaker.loud, f)
	if c.duck != nil {
		c.duck.Speaker(&c.speaker.loud)
	}
	c.speaker.write(c.current.Load())
}

func (p *speakerSide) write(s *session) {
	if s != p.session {
		p.session = s
		p.shift.reset()
	}
	if s == nil {
		return
	}
	here, ok := s.estimate(&s.speakerMark)
	if !ok {
		if s.called.Load() != 0 { // else the card has not called yet: nobody will hear it
			p.put(s, p.steer.hold(), 0)
		}
		return
	}
	const target = audio.FrameSamples + margin
	level := float64(s.speaker.written.Load()) + audio.FrameSamples - here
	p.fill.Store(int64(level))
	late := 0 // samples of this frame's beginning that are left out when playing begins
	if !s.playing.Load() {
		if level < target {
			p.put(s, p.steer.hold(), 0)
			return
		}
		late = min(int(level-target), audio.FrameSamples)
		level = target
		p.steer.again()
		defer s.playing.Store(true)
	}
	if level-target > excess {
		p.dropped.Add(1)
		return
	}
	ratio := p.steer.step(level - target)
	p.drift.Store(int64(p.steer.drift * 1e9))
	p.put(s, ratio, late)
}

func (p *speakerSide) put(s *session, ratio float64, late int) {
	p.shift.feed(p.loud[:])
	n := p.shift.run(p.raw[:], ratio)
	late = min(late, n)
	if s.speaker.put(p.raw[late:n]) < n-late {
		p.dropped.Add(1)
	}
}

func isSilent(f *audio.Frame) bool {
	for _, s := range f {
		if s != 0 {
			return false
		}
	}
	return true
}

func duration(samples int64) time.Duration {
	return time.Duration(max(0, samples)) * time.Second / audio.SampleRate
}
