package card

import (
	"sync/atomic"
	"time"

	"parley/audio"
)

// session is the time between an opening of the card and its closing. Its rings are what the card's thread and the mixer
// share; a late callback of a closed card finds only its own session.
type session struct {
	now    func() time.Time
	origin time.Time

	mic, speaker ring
	micMark      mark
	speakerMark  mark

	playing atomic.Bool  // the speaker's ring has been filled; cleared by the card's side when it ran dry
	called  atomic.Int64 // when exchange was called last, ns since origin
	burst   atomic.Int64 // samples in the largest exchange
	xruns   atomic.Uint64
	lost    atomic.Uint64 // samples of the microphone for which there was no room
	starved atomic.Uint64 // times that the speaker's ring was empty

	// Of the card's thread alone.
	valve   audio.Valve
	scratch [audio.FrameSamples]int16
	last    int16 // what the speaker played last
}

func newSession(now func() time.Time, gate *audio.Gate) *session {
	return &session{now: now, origin: now(), valve: audio.NewValve(gate)}
}

func (s *session) since() int64 { return int64(s.now().Sub(s.origin)) }

// exchange is the card's callback: microphone → gate → ring, ring → speaker. It waits for nobody.
func (s *session) exchange(speaker, microphone []int16) {
	now, n := s.since(), int64(max(len(speaker), len(microphone)))
	if burst := s.burst.Load(); n > burst {
		s.burst.Store(n)
	} else if before := s.called.Load(); before != 0 && now-before > 5*burst*int64(time.Second)/audio.SampleRate/2 {
		s.xruns.Add(1) // miniaudio heals them without a word; a hole in its calls is what is seen of it
	}
	s.called.Store(max(now, 1))
	for part := microphone; len(part) > 0; {
		m := s.scratch[:copy(s.scratch[:], part)]
		part = part[len(m):]
		s.valve.Apply(m)
		if put := s.mic.put(m); put < len(m) {
			s.lost.Add(uint64(len(m) - put))
		}
	}
	s.micMark.set(s.mic.written.Load(), now)
	s.play(speaker)
	s.speakerMark.set(s.speaker.read.Load(), now)
}

// play fills the speaker's period. A ring that runs dry is left to fill again; the sound ends in a short ramp.
func (s *session) play(speaker []int16) {
	n := 0
	if s.playing.Load() {
		n = s.speaker.take(speaker)
		if n < len(speaker) {
			s.starved.Add(1)
			s.playing.Store(false)
		}
	}
	if n > 0 {
		s.last = speaker[n-1]
	}
	if n < len(speaker) {
		ramp(speaker[n:], s.last)
		s.last = 0
	}
}

// rampSamples is how long a sound that must end takes to do so: 2.5 ms.
const rampSamples = audio.SampleRate / 400

// ramp fills pcm with a way from last to zero, and zeros.
func ramp(pcm []int16, last int16) {
	clear(pcm)
	n := min(rampSamples, len(pcm))
	for i := range n {
		pcm[i] = int16(int(last) * (n - 1 - i) / n)
	}
}

// mark is a position of a ring and the moment when it was true, written by the card's thread and read by the mixer as one.
type mark struct {
	turns    atomic.Uint64 // odd while it is being written
	position atomic.Uint64
	at       atomic.Int64
}

func (m *mark) set(position uint64, at int64) {
	m.turns.Add(1)
	m.position.Store(position)
	m.at.Store(at)
	m.turns.Add(1)
}

// get tells the last mark. It is not ok if there is none yet, or if it was written at this very moment again and again.
func (m *mark) get() (position uint64, at int64, ok bool) {
	for range 4 {
		t := m.turns.Load()
		position, at = m.position.Load(), m.at.Load()
		if t != 0 && t%2 == 0 && m.turns.Load() == t {
			return position, at, true
		}
	}
	return 0, 0, false
}

// estimate is where the card's clock is now: the mark, and what has gone by since, as if the card moved sample by sample
// and not by periods. Else the fill would seem to jump by a period whenever tick and callback pass each other.
func (s *session) estimate(m *mark) (float64, bool) {
	position, at, ok := m.get()
	if !ok {
		return 0, false
	}
	ahead := float64(s.since()-at) * audio.SampleRate / float64(time.Second)
	return float64(position) + max(0, min(ahead, float64(2*s.burst.Load()))), true
}
