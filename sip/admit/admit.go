// Package admit decides who may ask for something: a digest (RFC 7616 and 8760, with RFC 2617's MD5 for old phones), a
// verified certificate, the loopback, or the random contact that we registered at a PBX. It slows down who guesses, and
// limits the calls of one caller.
//
// It must not know SIP messages, calls or numbers: it sees the few fields of a Request, and its verdict says what to
// answer. Users are known by hash (HA1) only. Time is an injected clock, and it starts no goroutine.
package admit

import (
	"cmp"
	"crypto/rand"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// HA1 is what is kept of a password: hash(user ":" realm ":" password), in hexadecimal; an empty one is not offered to
// match.
type HA1 struct {
	MD5    string
	SHA256 string
}

// Config of a Gate. A zero field takes the default given with it; Realm, Users and Now have none.
type Config struct {
	Realm  string
	Users  func(user string) (HA1, bool) // what is known of user; called from any goroutine
	Secret []byte                        // of the nonces, ≥ 16 octets; random if empty: then nonces do not outlive a restart
	Now    func() time.Time

	// Algorithms offered, best first: SHA-256, MD5. Most phones take the first one that they know, so leave SHA-256 out
	// while there is a user of whom only the MD5 hash is kept.
	Algorithms []string

	NonceLife  time.Duration // until stale=true: 5 min
	MaxNonces  int           // of which the counts are kept: 4096
	MaxGuilty  int           // addresses, and users, whose failures are remembered: 4096 each
	Failures   int           // wrong digests from which on 403 is the answer: 3
	FirstPause time.Duration // after that many; doubled by each further one: 5 s
	MaxPause   time.Duration // 15 min
	Forget     time.Duration // after so long without a failure it never was: 1 h
	MaxCalls   int           // at once by one caller: 4

	TrustLoopback bool                             // admit what came from loopback to loopback
	Peers         map[string]string                // name in a verified certificate -> who that is
	Token         func(user string) (string, bool) // is it the user part of a contact that we registered, and where
}

// Request is what Check looks at.
type Request struct {
	Method        string
	URI           string         // the request's URI as it stands in the request line
	URIUser       string         // its user part, unescaped
	Authorization []string       // every Authorization value
	Source, Local netip.AddrPort // of the packet or connection: the peer's end and ours
	PeerNames     []string       // names of a certificate that TLS has verified; nothing else may stand here
}

// Outcome is the kind of a Verdict.
type Outcome int

// What can come out.
const (
	Challenged Outcome = iota // 401 with every value of Challenges as a WWW-Authenticate header
	Admitted
	Refused // Code, and Retry-After if RetryAfter is not 0
)

// How one was admitted.
type How int

// The ways in, in the order in which they are tried; a digest that is present is always judged first.
const (
	ByNothing How = iota
	ByDigest
	ByToken
	ByCertificate
	ByLoopback
)

func (h How) String() string {
	return [...]string{"nothing", "digest", "token", "certificate", "loopback"}[h]
}

// Verdict is what Check found.
type Verdict struct {
	Outcome    Outcome
	User       string // who was admitted: the digest's user, Token's or Peers' answer; empty by loopback
	How        How
	Challenges []string
	Code       int           // 400 or 403
	RetryAfter time.Duration // whole seconds, rounded up
	Reason     string        // for the log: a fixed word, never anything that the peer sent
}

// Gate admits. It may be used from several goroutines.
type Gate struct {
	cfg    Config
	secret []byte

	mu      sync.Mutex // guards what follows
	nonces  counts
	sources ledger[netip.Prefix]
	users   ledger[string]
	calls   map[string]int
}

// New returns a gate.
func New(cfg Config) *Gate {
	cfg.NonceLife = cmp.Or(cfg.NonceLife, 5*time.Minute)
	cfg.MaxNonces = cmp.Or(cfg.MaxNonces, 4096)
	cfg.MaxGuilty = cmp.Or(cfg.MaxGuilty, 4096)
	cfg.Failures = cmp.Or(cfg.Failures, 3)
	cfg.FirstPause = cmp.Or(cfg.FirstPause, 5*time.Second)
	cfg.MaxPause = cmp.Or(cfg.MaxPause, 15*time.Minute)
	cfg.Forget = cmp.Or(cfg.Forget, time.Hour)
	cfg.MaxCalls = cmp.Or(cfg.MaxCalls, 4)
	if len(cfg.Algorithms) == 0 {
		cfg.Algorithms = []string{"SHA-256", "MD5"}
	}
	if cfg.Users == nil {
		cfg.Users = func(string) (HA1, bool) { return HA1{}, false }
	}
	g := &Gate{cfg: cfg, secret: slices.Clone(cfg.Secret), calls: make(map[string]int)}
	if len(g.secret) == 0 {
		g.secret = make([]byte, 32)
		rand.Read(g.secret)
	}
	g.nonces = newCounts(cfg.MaxNonces)
	g.sources = newLedger[netip.Prefix](cfg.MaxGuilty)
	g.users = newLedger[string](cfg.MaxGuilty)
	return g
}

// Check judges a request that begins something: INVITE, REGISTER, SUBSCRIBE, OPTIONS … outside a dialog. It is not for
// ACK and CANCEL, which nobody can challenge (RFC 3261 §22.1): they belong to a transaction or to nothing, and get 481.
func (g *Gate) Check(r Request) Verdict {
	if r.Method == "ACK" || r.Method == "CANCEL" {
		return Verdict{Outcome: Refused, Code: 481, Reason: "not to be challenged"}
	}
	now := g.cfg.Now()
	if c, found, err := g.ours(r.Authorization); err != nil {
		return Verdict{Outcome: Refused, Code: 400, Reason: "malformed credentials"}
	} else if found {
		return g.digest(now, r, c)
	}
	return g.without(now, r)
}

// Screen is the part of Check that needs and leaves no state, so that it may be asked about every repetition of a
// request, before anything is kept of it: false if the request has to go to Check, else the final verdict on who shows no
// credentials, malformed ones, or ones made with a nonce that is not of this gate. A request that is admitted without
// credentials is left to Check.
func (g *Gate) Screen(r Request) (Verdict, bool) {
	if r.Method == "ACK" || r.Method == "CANCEL" {
		return Verdict{}, false
	}
	now := g.cfg.Now()
	c, found, err := g.ours(r.Authorization)
	switch {
	case err != nil:
		return Verdict{Outcome: Refused, Code: 400, Reason: "malformed credentials"}, true
	case found:
		if _, _, ok := g.genuine(c.nonce, r.Source.Addr()); ok {
			return Verdict{}, false
		}
		return g.challenge(now, r, true, "unknown nonce"), true
	}
	v := g.without(now, r)
	return v, v.Outcome != Admitted
}

// without judges who shows no credentials for this realm.
func (g *Gate) without(now time.Time, r Request) Verdict {
	if g.cfg.Token != nil {
		if who, ok := g.cfg.Token(r.URIUser); ok && r.URIUser != "" {
			return Verdict{Outcome: Admitted, How: ByToken, User: who}
		}
	}
	for _, name := range r.PeerNames {
		if who, ok := g.cfg.Peers[strings.ToLower(name)]; ok {
			return Verdict{Outcome: Admitted, How: ByCertificate, User: who}
		}
	}
	if g.cfg.TrustLoopback && r.Source.Addr().Unmap().IsLoopback() && r.Local.Addr().Unmap().IsLoopback() {
		return Verdict{Outcome: Admitted, How: ByLoopback}
	}
	return g.challenge(now, r, false, "no credentials")
}

// ours picks the credentials for our realm; those for another, and other schemes, count as none (RFC 3261 §22.1).
func (g *Gate) ours(values []string) (credentials, bool, error) {
	for _, v := range values {
		c, err := parseCredentials(v)
		if err == errOtherScheme {
			continue
		}
		if err != nil {
			return credentials{}, false, err
		}
		if c.realm == g.cfg.Realm {
			return c, true, nil
		}
	}
	return credentials{}, false, nil
}

// Enter counts a call of caller in; false if that one has MaxCalls already. Every true is paid back by one Leave.
// Who the caller is the agent says: the admitted user, or the source for whom there is none.
func (g *Gate) Enter(caller string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.calls[caller] >= g.cfg.MaxCalls {
		return false
	}
	g.calls[caller]++
	return true
}

// Leave counts a call of caller out.
func (g *Gate) Leave(caller string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.calls[caller]--; g.calls[caller] <= 0 {
		delete(g.calls, caller)
	}
}
