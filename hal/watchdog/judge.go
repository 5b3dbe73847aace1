// Package watchdog tells whether the parts of a program go on, and keeps the machine's watchdog, or a supervisor, from ending it for
// as long as they do.
//
// It must not know what the parts are: they are names and counters. What to do about one that stands is its caller's affair.
package watchdog

import "time"

// Part is something that goes on: its counter changes for as long as it does.
type Part struct {
	Name  string
	Count func() uint64 // from any goroutine, without waiting for anybody who may stand himself
	Seen  time.Duration // so long without a change, and it stands
	Lost  time.Duration // so long, and it is given up
}

// Judge tells from looks at counters which parts stand. It belongs to one goroutine.
type Judge struct {
	every time.Duration
	parts []watched
	last  time.Time // of the last look; zero: there was none
}

type watched struct {
	Part
	count  uint64
	idle   time.Duration // without a change, as far as the judge itself went on
	stands bool
}

// Verdict is what a look has found. The slices are new with each look.
type Verdict struct {
	Stands []string      // parts that stand since this look
	Goes   []string      // parts that stood and go on again
	Lost   string        // a part that is given up; empty: none
	Idle   time.Duration // how long Lost has stood
	Well   bool          // none stands
}

// NewJudge makes a judge that looks at its parts so often.
func NewJudge(every time.Duration, parts ...Part) *Judge {
	j := &Judge{every: every}
	for _, p := range parts {
		j.parts = append(j.parts, watched{Part: p})
	}
	return j
}

// Look compares the counters with those of the last look. Time in which the judge itself did not run counts for nothing: then the whole
// machine stood, or this program, and no part of it can be blamed.
func (j *Judge) Look(now time.Time) Verdict {
	v := Verdict{Well: true}
	passed := min(now.Sub(j.last), 2*j.every)
	first := j.last.IsZero()
	j.last = now
	for i := range j.parts {
		p := &j.parts[i]
		count := p.Count()
		if first || count != p.count {
			p.count, p.idle = count, 0
			if p.stands {
				p.stands = false
				v.Goes = append(v.Goes, p.Name)
			}
			continue
		}
		p.idle += passed
		if p.idle >= p.Seen && !p.stands {
			p.stands = true
			v.Stands = append(v.Stands, p.Name)
		}
		if p.idle >= p.Lost && v.Lost == "" {
			v.Lost, v.Idle = p.Name, p.idle
		}
		v.Well = v.Well && !p.stands
	}
	return v
}
