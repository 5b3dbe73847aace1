package menu

import "time"

// Penalties make guessing slow. Everybody who tries passwords is held up by two pauses, the caller's own and the
// conference's, each 1, 2, 4 … s long, counted from the last try. A try counts before its answer is known, so that many
// callers at once gain nothing, and a right one is taken back. It belongs to one goroutine.
type Penalties struct {
	callers     pauses
	conferences pauses
}

// The pauses. A conference's begin later and are shorter than a caller's, so that a guesser cannot keep a conference's own
// people out for long. So many callers, and so many conferences, are remembered.
const (
	FreeOfCaller     = 3
	FreeOfConference = 10
	MaxOfCaller      = 300 * time.Second
	MaxOfConference  = 60 * time.Second
	Forgotten        = time.Hour // after the last try
	maxKeys          = 1024
)

// NewPenalties makes them, with nobody to blame.
func NewPenalties() *Penalties {
	return &Penalties{
		callers:     pauses{free: FreeOfCaller, most: MaxOfCaller, keys: map[string]*pause{}},
		conferences: pauses{free: FreeOfConference, most: MaxOfConference, keys: map[string]*pause{}},
	}
}

// Try counts a try, and returns 0, if it may be made now; else it returns how long nothing may be tried. Without a
// conference it is the caller's alone.
func (p *Penalties) Try(now time.Time, caller, conference string) time.Duration {
	if wait := max(p.callers.wait(now, caller), p.conferences.wait(now, conference)); wait > 0 {
		return wait
	}
	p.callers.count(now, caller)
	p.conferences.count(now, conference)
	return 0
}

// Right takes back a try that was no wrong one. Earlier wrong ones still count.
func (p *Penalties) Right(caller, conference string) {
	p.callers.uncount(caller)
	p.conferences.uncount(conference)
}

type pause struct {
	tries       int
	last, until time.Time
}

type pauses struct {
	free int
	most time.Duration
	keys map[string]*pause
}

func (p *pauses) wait(now time.Time, key string) time.Duration {
	k := p.keys[key]
	if k == nil {
		return 0
	}
	if now.Sub(k.last) >= Forgotten {
		delete(p.keys, key)
		return 0
	}
	return max(0, k.until.Sub(now))
}

func (p *pauses) count(now time.Time, key string) {
	if key == "" {
		return
	}
	k := p.keys[key]
	if k == nil {
		if len(p.keys) >= maxKeys {
			p.forget()
		}
		k = &pause{}
		p.keys[key] = k
	}
	k.tries++
	k.last, k.until = now, now
	if over := k.tries - p.free; over >= 0 {
		k.until = now.Add(min(p.most, time.Second<<min(over, 20)))
	}
}

func (p *pauses) uncount(key string) {
	if k := p.keys[key]; k != nil {
		k.until = k.last
		if k.tries--; k.tries <= 0 {
			delete(p.keys, key)
		}
	}
}

// forget drops who has tried least, and of those who was the first.
func (p *pauses) forget() {
	var who string
	var least *pause
	for key, k := range p.keys {
		if least == nil || k.tries < least.tries || k.tries == least.tries && k.last.Before(least.last) {
			who, least = key, k
		}
	}
	delete(p.keys, who)
}
