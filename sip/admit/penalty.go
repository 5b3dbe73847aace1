package admit

import (
	"net/netip"
	"strings"
	"time"
)

// record is what is held against an address or a user.
type record struct {
	failures int
	last     time.Time
	until    time.Time // paused until then
	subject  string    // the user whose password was wrong
	mixed    bool      // more than one user's was
}

// ledger is a bounded list of records. When it is full the one that failed longest ago is forgiven: somebody with very
// many addresses gets more guesses by that, and nobody else ever a pause.
type ledger[K comparable] struct {
	max     int
	records map[K]*record
}

func newLedger[K comparable](max int) ledger[K] {
	return ledger[K]{max: max, records: make(map[K]*record)}
}

// get is the record of k, or nil if there is none that still counts.
func (l *ledger[K]) get(k K, now time.Time, forget time.Duration) *record {
	r := l.records[k]
	if r != nil && now.Sub(r.last) >= forget && !now.Before(r.until) {
		delete(l.records, k)
		return nil
	}
	return r
}

// forgive forgets k's failures if they were all about subject, who has now proved to be it. Who knows one password gets
// no new guesses at another's by it.
func (l *ledger[K]) forgive(k K, subject string) {
	if r := l.records[k]; r != nil && !r.mixed && r.subject == subject {
		delete(l.records, k)
	}
}

// fail notes a failure to be subject and returns the record.
func (l *ledger[K]) fail(k K, subject string, now time.Time, forget time.Duration) *record {
	r := l.get(k, now, forget)
	if r == nil {
		if len(l.records) >= l.max {
			var oldest K
			var at time.Time
			for o, rec := range l.records {
				if at.IsZero() || rec.last.Before(at) {
					oldest, at = o, rec.last
				}
			}
			delete(l.records, oldest)
		}
		r = &record{subject: subject}
		l.records[k] = r
	}
	r.mixed = r.mixed || r.subject != subject
	r.failures++
	r.last = now
	return r
}

// keyOf is by what an address is held to account: a whole /64 of IPv6, since one host has all of it.
func keyOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// paused says whether credentials are not even looked at: the address is in its pause, or it failed before and the user
// is in one. An address without a failure is always looked at, so nobody can lock a user out from elsewhere; what a
// guesser with many addresses gets is one guess from each.
func (g *Gate) paused(now time.Time, who netip.Prefix, user string) (Verdict, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	source := g.sources.get(who, now, g.cfg.Forget)
	if source == nil {
		return Verdict{}, false
	}
	until := source.until
	if u := g.users.get(userKey(user), now, g.cfg.Forget); u != nil && u.until.After(until) {
		until = u.until
	}
	if now.Before(until) {
		return refusal(until.Sub(now)), true
	}
	return Verdict{}, false
}

// wrong notes a wrong digest: 401 for the first ones, then 403 with a pause that doubles.
func (g *Gate) wrong(now time.Time, r Request, who netip.Prefix, user string) Verdict {
	user = userKey(user)
	g.mu.Lock()
	pause := max(
		g.pause(g.sources.fail(who, user, now, g.cfg.Forget), now),
		g.pause(g.users.fail(user, user, now, g.cfg.Forget), now))
	g.mu.Unlock()
	if pause > 0 {
		return refusal(pause)
	}
	return g.challenge(now, r, false, "wrong digest")
}

// pause sets until when r pauses, and returns for how long.
func (g *Gate) pause(r *record, now time.Time) time.Duration {
	over := r.failures - g.cfg.Failures
	if over < 0 {
		return 0
	}
	d := g.cfg.MaxPause
	if over < 20 {
		d = min(d, g.cfg.FirstPause<<over)
	}
	r.until = now.Add(d)
	return d
}

func refusal(pause time.Duration) Verdict {
	return Verdict{Outcome: Refused, Code: 403, Reason: "paused", RetryAfter: (pause + time.Second - 1).Truncate(time.Second)}
}

// userKey bounds what a name that the peer chose can occupy.
func userKey(user string) string { return strings.Clone(user[:min(len(user), 64)]) }
