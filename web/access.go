package web

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"parley/web/token"
)

// caller finds out who asks, by the token in the Authorization header (RFC 6750, section 2.1) and nowhere else: what stands in
// an address ends in logs.
func (a *api) caller(w http.ResponseWriter, r *http.Request) (*token.Claims, error) {
	address := r.RemoteAddr
	if ap, err := netip.ParseAddrPort(address); err == nil {
		address = ap.Addr().Unmap().String()
	}
	if !a.strangers.left(address) {
		return nil, tooMany(w, time.Second)
	}
	var shown string
	if h := r.Header.Values("Authorization"); len(h) == 1 {
		scheme, rest, _ := strings.Cut(h[0], " ")
		if strings.EqualFold(scheme, "Bearer") {
			shown = strings.Trim(rest, " ")
		}
	}
	who, err := a.Tokens.Verify(shown)
	if err != nil {
		if _, first := a.strangers.take(address); first {
			a.server.config.Log.Warn("a request without a token that counts", "from", address, "error", err)
		}
		challenge := `Bearer realm="parley"`
		if shown != "" {
			challenge += `, error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		return nil, err
	}
	if ok, _ := a.rates.take(who.Subject + " " + who.ID); !ok {
		return nil, tooMany(w, time.Second)
	}
	return &who, nil
}

func tooMany(w http.ResponseWriter, again time.Duration) error {
	w.Header().Set("Retry-After", strconv.Itoa(int(again.Seconds())))
	return &fault{Status: http.StatusTooManyRequests, Code: "busy", Message: "too many requests; try again later"}
}

// maxBuckets bounds buckets and slots; beyond it all share one that is the last.
const maxBuckets = 1024

// buckets allows each key so many takes per second, and a burst.
type buckets struct {
	rate, burst float64
	now         func() time.Time

	mu  sync.Mutex // holds all
	all map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newBuckets(rate, burst float64, now func() time.Time) *buckets {
	return &buckets{rate: rate, burst: burst, now: now, all: map[string]*bucket{}}
}

// take tells whether the key may once more, and whether it is the first time in a while.
func (b *buckets) take(key string) (ok, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k, first := b.fill(key)
	if k.tokens < 1 {
		return false, first
	}
	k.tokens--
	return true, first
}

// left tells whether take would be allowed.
func (b *buckets) left(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	k, known := b.all[key]
	return !known || k.tokens+b.now().Sub(k.at).Seconds()*b.rate >= 1
}

func (b *buckets) fill(key string) (k *bucket, first bool) {
	now := b.now()
	if b.all[key] == nil && len(b.all) >= maxBuckets {
		for old, k := range b.all { // what is full again is as good as new
			if k.tokens+now.Sub(k.at).Seconds()*b.rate >= b.burst {
				delete(b.all, old)
			}
		}
		if len(b.all) >= maxBuckets {
			key = "" // one that they share, until some are full again
		}
	}
	k = b.all[key]
	if k == nil {
		k = &bucket{tokens: b.burst, at: now}
		b.all[key] = k
	}
	k.tokens = min(b.burst, k.tokens+max(0, now.Sub(k.at).Seconds())*b.rate)
	k.at = now
	return k, k.tokens >= b.burst
}

// slots bounds what goes on at the same time, in all and for each key.
type slots struct {
	all, each int

	mu   sync.Mutex // holds what follows
	used map[string]int
	sum  int
}

func newSlots(all, each int) *slots { return &slots{all: all, each: each, used: map[string]int{}} }

// take gives a slot, to be freed, or an error.
func (s *slots) take(key string) (free func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sum >= s.all || s.used[key] >= s.each {
		return nil, &fault{Status: http.StatusServiceUnavailable, Code: "busy", Message: "too many transfers at the same time"}
	}
	s.sum++
	s.used[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sum--
		if s.used[key]--; s.used[key] == 0 {
			delete(s.used, key)
		}
	}, nil
}

// once gives the answer of a command to whoever sends it again.
type once struct {
	mu    sync.Mutex // holds what follows
	known map[string]*answered
	order []string
}

// answered is a command that was sent. Its fields but done are there when done is closed.
type answered struct {
	digest [32]byte
	done   chan struct{}
	out    Outcome
	err    error
}

// maxOnce is how many commands are remembered.
const maxOnce = 1024

var errReused = errors.New("the id was used for another command")

func newOnce() *once { return &once{known: map[string]*answered{}} }

// begin finds the command with that key, or notes it: then first is true, and the caller carries it out and closes done.
func (o *once) begin(key string, digest [32]byte) (a *answered, first bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if a = o.known[key]; a != nil {
		if a.digest != digest {
			return nil, false, errReused
		}
		return a, false, nil
	}
	a = &answered{digest: digest, done: make(chan struct{})}
	o.known[key] = a
	if !slices.Contains(o.order, key) {
		o.order = append(o.order, key)
	}
	if len(o.order) > maxOnce {
		delete(o.known, o.order[0])
		o.order = o.order[1:]
	}
	return a, true, nil
}

// forget takes back a command of which nobody knows whether it was carried out, so that it can be tried again.
func (o *once) forget(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.known, key)
}
