package prompt

import (
	"slices"
	"sync"
	"sync/atomic"

	"parley/audio"
)

// Phrase is what is said in one breath.
type Phrase struct {
	// Kind: a new phrase takes the place of those of the same kind, whether they wait or are being spoken, since what they say
	// is old. Empty: of no kind.
	Kind string
	// Rank: more important ones are spoken first. None but one of its own kind interrupts a phrase.
	Rank  int
	Names []string // prompts and numbers, in order
}

// maxWaiting is how many phrases wait for one listener; the least important one too many is never heard.
const maxWaiting = 4

// Silence between the parts of a phrase and after it, in samples at clipRate.
const (
	gapParts   = clipRate * 40 / 1000
	gapPhrases = clipRate * 250 / 1000
)

// sound is a phrase on its way to the listener.
type sound struct {
	Phrase
	ready bool
	clips [][]int16
}

// Player speaks to one listener. Say, Tell, Stop and Idle are for any goroutine, ReadFrame for the mixer's. Library.NewPlayer
// makes it.
type Player struct {
	library  *Library
	language string

	busy     atomic.Bool           // there is something to be spoken, or the filters are not yet quiet
	cut      atomic.Pointer[sound] // is not to be spoken on
	mu       sync.Mutex            // guards queue and speaking; held for moments only, and never waited for by ReadFrame
	queue    []*sound
	speaking *sound

	// Of ReadFrame.
	now      *sound
	clip     int // of now
	at       int // in the clip, and on into the silence after it
	up, down *audio.Resampler
	last     *audio.Resampler // of the two, or nil
	frame    audio.Frame
}

// Say speaks the prompts of these names, in order, after what waits already.
func (p *Player) Say(names ...string) { p.Tell(Phrase{Names: names}) }

// Tell speaks a phrase when it is its turn.
func (p *Player) Tell(ph Phrase) {
	if len(ph.Names) == 0 {
		return
	}
	ph.Names = slices.Clone(ph.Names)
	p.mu.Lock()
	if ph.Kind != "" {
		p.queue = slices.DeleteFunc(p.queue, func(s *sound) bool { return s.Kind == ph.Kind })
		if p.speaking != nil && p.speaking.Kind == ph.Kind {
			p.cut.Store(p.speaking)
		}
	}
	at := len(p.queue)
	for at > 0 && p.queue[at-1].Rank < ph.Rank {
		at--
	}
	p.queue = slices.Insert(p.queue, at, &sound{Phrase: ph})
	if len(p.queue) > maxWaiting {
		p.queue = p.queue[:maxWaiting]
	}
	p.busy.Store(true)
	p.mu.Unlock()
	p.library.want(p)
}

// Stop ends what is being spoken, with a short fade, and forgets what waits.
func (p *Player) Stop() {
	p.mu.Lock()
	p.queue = nil
	if p.speaking != nil {
		p.cut.Store(p.speaking)
	}
	p.mu.Unlock()
}

// Idle tells that nothing is being spoken or waits to be.
func (p *Player) Idle() bool { return !p.busy.Load() }

// unloaded is the next sound that has to be loaded, or nil.
func (p *Player) unloaded() *sound {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.queue {
		if !s.ready {
			return s
		}
	}
	return nil
}

func (p *Player) loaded(s *sound, clips [][]int16) {
	p.mu.Lock()
	s.clips, s.ready = clips, true
	p.mu.Unlock()
}

// ReadFrame gives 10 ms at 48000, 16000 or 8000 Hz: Silent while nothing is spoken.
func (p *Player) ReadFrame(rate int, f *audio.Frame) audio.Status {
	if !p.busy.Load() {
		return audio.Silent
	}
	var filter *audio.Resampler
	switch rate {
	case audio.SampleRate:
		filter = p.up
	case 8000:
		filter = p.down
	case clipRate:
	default:
		return audio.Silent
	}
	if filter != nil && filter != p.last {
		filter.Reset() // it remembers a phrase of long ago
	}
	p.last = filter
	pcm := p.frame[:clipRate/100]
	heard := p.speak(pcm)
	switch {
	case filter == nil:
		copy(f[:], pcm)
	case heard || !filter.Quiet():
		filter.Convert16(pcm, f[:rate/100])
		heard = true
	}
	if heard {
		return audio.Active
	}
	p.rest()
	return audio.Silent
}

// speak writes the next 10 ms to pcm, silence if there is nothing, and tells which.
func (p *Player) speak(pcm []int16) (heard bool) {
	clear(pcm)
	if p.now == nil && !p.next() {
		return false
	}
	ends := p.cut.Load() == p.now
	for done := 0; done < len(pcm) && p.now != nil; {
		done += p.move(pcm[done:])
	}
	if ends {
		for i := range pcm {
			pcm[i] = int16(int(pcm[i]) * (len(pcm) - 1 - i) / len(pcm))
		}
		p.now = nil
	}
	return true
}

// move writes what is left of the clip and of the silence after it, as far as pcm is long.
func (p *Player) move(pcm []int16) int {
	s := p.now
	if p.clip == len(s.clips) {
		p.now = nil
		return len(pcm)
	}
	clip, gap := s.clips[p.clip], gapParts
	if p.clip == len(s.clips)-1 {
		gap = gapPhrases
	}
	n := 0
	if p.at < len(clip) {
		n = copy(pcm, clip[p.at:])
	} else {
		n = min(len(pcm), len(clip)+gap-p.at)
	}
	if p.at += n; p.at >= len(clip)+gap {
		p.clip, p.at = p.clip+1, 0
	}
	return n
}

// next begins with the phrase whose turn it is, if it has been loaded.
func (p *Player) next() bool {
	if !p.mu.TryLock() {
		return false
	}
	defer p.mu.Unlock()
	p.speaking = nil
	if len(p.queue) == 0 || !p.queue[0].ready {
		return false
	}
	p.now, p.clip, p.at = p.queue[0], 0, 0
	p.speaking = p.now
	n := copy(p.queue, p.queue[1:])
	p.queue[n], p.queue = nil, p.queue[:n]
	return true
}

// rest makes the player idle when there is nothing more.
func (p *Player) rest() {
	if p.now != nil || !p.mu.TryLock() {
		return
	}
	if len(p.queue) == 0 {
		p.speaking = nil
		p.cut.Store(nil)
		p.busy.Store(false)
	}
	p.mu.Unlock()
}
