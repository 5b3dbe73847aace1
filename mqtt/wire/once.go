package wire

import (
	"crypto/sha256"
	"sync"
	"time"
)

// memory is what a door keeps: how many messages it has looked at lately, and each command's answer until the command
// expires, so that the same one twice has one effect.
type memory[A any] struct {
	now        func() time.Time
	per, burst float64 // messages a second, and at once
	most, each int     // commands kept in all, and of one sender

	mu    sync.Mutex // guards what follows
	ready float64    // messages that may be looked at now
	at    time.Time
	seen  map[commandID]*kept[A]
	held  map[string]int // commands kept, by sender
}

type commandID struct{ who, id string }

// kept is what is remembered of a command until its exp.
type kept[A any] struct {
	sum    [sha256.Size]byte
	exp    time.Time
	answer A
}

func newMemory[A any](now func() time.Time, per, burst float64, most, each int) *memory[A] {
	return &memory[A]{now: now, per: per, burst: burst, most: most, each: each, ready: burst, at: now(),
		seen: map[commandID]*kept[A]{}, held: map[string]int{}}
}

// mayLook tells whether another message may be judged now.
func (m *memory[A]) mayLook() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.ready = min(m.burst, m.ready+m.per*max(0, now.Sub(m.at).Seconds()))
	m.at = now
	if m.ready < 1 {
		return false
	}
	m.ready--
	return true
}

// once keeps a command that is new, with first as its answer. Of one that is not, it gives the answer that it has had; of
// another with its id, or where no more can be kept, the reason for which it is refused.
func (m *memory[A]) once(c commandID, sum [sha256.Size]byte, exp time.Time, first A) (a A, fresh bool, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k, ok := m.seen[c]; ok {
		if k.sum != sum {
			return a, false, ReasonIDReused
		}
		return k.answer, false, ""
	}
	if m.full(c.who) {
		m.forget()
	}
	if m.full(c.who) {
		return a, false, ReasonBusy
	}
	m.seen[c] = &kept[A]{sum: sum, exp: exp, answer: first}
	m.held[c.who]++
	return first, true, ""
}

func (m *memory[A]) full(who string) bool { return len(m.seen) >= m.most || m.held[who] >= m.each }

// forget drops what has expired: it would be refused for that now. The caller holds the lock.
func (m *memory[A]) forget() {
	now := m.now()
	for c, k := range m.seen {
		if now.Before(k.exp) {
			continue
		}
		delete(m.seen, c)
		if m.held[c.who]--; m.held[c.who] == 0 {
			delete(m.held, c.who)
		}
	}
}

// settle replaces the answer of a command that is kept.
func (m *memory[A]) settle(c commandID, a A) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k, ok := m.seen[c]; ok {
		k.answer = a
	}
}
