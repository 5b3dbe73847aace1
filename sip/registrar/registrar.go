// Package registrar keeps where the branch's phones can be reached: the bindings of RFC 3261 §10.3, bounded and expiring.
//
// It must not know how a REGISTER looks on the wire, who may register (sip/admit decides that before), or how a phone is
// called. Time is an argument of every call; nothing here reads a clock or starts a goroutine.
package registrar

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"sync"
	"time"
)

// What Register refuses. The SIP answer that fits is named with each.
var (
	// ErrTooBrief: a contact asks for less than MinExpires, and for more than nothing. 423 with Min-Expires.
	ErrTooBrief = errors.New("registrar: expiry too brief")
	// ErrOutOfOrder: an older request of the same Call-ID than the one that made the binding. 500 by RFC 3261 §10.3;
	// the binding stays as it is.
	ErrOutOfOrder = errors.New("registrar: request out of order")
	// ErrTooManyContacts: the user would have more bindings than MaxContacts. 403.
	ErrTooManyContacts = errors.New("registrar: too many contacts for this user")
	// ErrFull: the registrar holds MaxBindings. 503.
	ErrFull = errors.New("registrar: full")
	// ErrMalformed: a wildcard with an expiry or beside other contacts, a contact twice, an empty or overlong field. 400.
	ErrMalformed = errors.New("registrar: malformed registration")
)

// What a field may hold at most, in octets: a phone that sends more is not a phone.
const (
	maxURI    = 512
	maxCallID = 256
	maxUser   = 128
	maxLabel  = 256
)

// Unset says that a contact or a request has no expires value of its own.
const Unset = -1

// Config bounds a registrar. A zero field takes the default given with it.
type Config struct {
	MaxContacts    int           // bindings of one user: 5
	MaxBindings    int           // bindings of all users: 1000
	MinExpires     time.Duration // shorter ones are refused with ErrTooBrief: 60 s
	MaxExpires     time.Duration // longer ones are cut to it: 3600 s
	DefaultExpires time.Duration // for who names none: 3600 s
	// Changed, which may be nil, is told what bindings a user has now: from any goroutine, in order, and it must not call the
	// registrar. That a binding has expired is told when it is swept away.
	Changed func(user string, bindings []Binding)
}

// Contact is one Contact value of a REGISTER.
type Contact struct {
	URI      string // as it came, without the angle brackets
	Q        int    // preference in thousandths, 0 to 1000; Unset counts as 1000
	Expires  int    // the contact's own expires parameter in seconds, or Unset
	Instance string // +sip.instance without quotes, or empty (RFC 5626 §4.1)
}

// Update is what one REGISTER asks for.
type Update struct {
	CallID    string
	CSeq      uint32
	Contacts  []Contact
	Wildcard  bool           // Contact: *
	Expires   int            // the Expires header in seconds, or Unset
	Source    netip.AddrPort // where the request came from: calls go there, so that NAT and outbound flows work
	Transport string         // "udp", "tcp" or "tls", of the flow that Source names
	UserAgent string         // for the people who look at the list; cut to 256 octets
}

// Binding is where a user can be reached until Expires.
type Binding struct {
	User      string
	URI       string
	Q         int // thousandths
	Instance  string
	CallID    string
	CSeq      uint32
	Expires   time.Time
	Updated   time.Time
	Source    netip.AddrPort
	Transport string
	UserAgent string
}

// Registrar holds the bindings. It may be used from several goroutines.
type Registrar struct {
	cfg Config

	mu    sync.Mutex // guards what follows
	users map[string][]Binding
	total int
}

// New returns an empty registrar.
func New(cfg Config) *Registrar {
	cfg.MaxContacts = cmp.Or(cfg.MaxContacts, 5)
	cfg.MaxBindings = cmp.Or(cfg.MaxBindings, 1000)
	cfg.MinExpires = cmp.Or(cfg.MinExpires, 60*time.Second)
	cfg.MaxExpires = cmp.Or(cfg.MaxExpires, 3600*time.Second)
	cfg.DefaultExpires = cmp.Or(cfg.DefaultExpires, cfg.MaxExpires)
	return &Registrar{cfg: cfg, users: make(map[string][]Binding)}
}

// MinExpires is what the Min-Expires header of a 423 says.
func (r *Registrar) MinExpires() time.Duration { return r.cfg.MinExpires }

// Register applies u to user's bindings, whole or not at all, and returns what the user has afterwards, best first:
// what the Contact headers of the 200 list. Without contacts it only asks. The caller has authenticated user.
func (r *Registrar) Register(now time.Time, user string, u Update) ([]Binding, error) {
	if err := check(user, u); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.users[user]
	held := live(now, before)
	next := slices.Clone(held)
	var err error
	if u.Wildcard {
		next, err = wipe(next, u)
	} else {
		for _, c := range u.Contacts {
			if next, err = r.apply(now, next, user, u, c); err != nil {
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	// Who only refreshes or removes is never refused for lack of room.
	if grown := len(next) - len(held); grown > 0 {
		if len(next) > r.cfg.MaxContacts {
			return nil, fmt.Errorf("%w: %d", ErrTooManyContacts, len(next))
		}
		if r.total-len(before)+len(next) > r.cfg.MaxBindings {
			r.sweep(now)
			if r.total-len(r.users[user])+len(next) > r.cfg.MaxBindings {
				return nil, ErrFull
			}
		}
	}
	if len(u.Contacts) > 0 || u.Wildcard {
		r.set(user, next)
	}
	return ranked(next), nil
}

// check refuses what no order of bindings could make right.
func check(user string, u Update) error {
	switch {
	case user == "" || len(user) > maxUser:
		return fmt.Errorf("%w: user", ErrMalformed)
	case u.CallID == "" || len(u.CallID) > maxCallID:
		return fmt.Errorf("%w: Call-ID", ErrMalformed)
	case u.Wildcard && (len(u.Contacts) > 0 || u.Expires != 0):
		return fmt.Errorf("%w: wildcard", ErrMalformed)
	}
	for i, c := range u.Contacts {
		if c.URI == "" || len(c.URI) > maxURI || len(c.Instance) > maxLabel || c.Q > 1000 {
			return fmt.Errorf("%w: contact", ErrMalformed)
		}
		if slices.ContainsFunc(u.Contacts[:i], func(o Contact) bool { return o.URI == c.URI }) {
			return fmt.Errorf("%w: contact twice", ErrMalformed)
		}
	}
	return nil
}

// wipe answers Contact: *; bindings that a newer request of the same Call-ID made stay, and the whole is refused
// (RFC 3261 §10.3 step 6).
func wipe(held []Binding, u Update) ([]Binding, error) {
	for _, b := range held {
		if b.CallID == u.CallID && u.CSeq <= b.CSeq {
			return nil, ErrOutOfOrder
		}
	}
	return nil, nil
}

func (r *Registrar) apply(now time.Time, next []Binding, user string, u Update, c Contact) ([]Binding, error) {
	life, err := r.life(u, c)
	if err != nil {
		return nil, err
	}
	// A phone that moved (other address, same instance) takes its binding along instead of leaving a dead one behind.
	i := slices.IndexFunc(next, func(b Binding) bool {
		return b.URI == c.URI || c.Instance != "" && b.Instance == c.Instance
	})
	if i >= 0 && next[i].CallID == u.CallID && u.CSeq <= next[i].CSeq {
		return nil, ErrOutOfOrder
	}
	if i >= 0 {
		next = slices.Delete(next, i, i+1)
	}
	if life == 0 {
		return next, nil
	}
	q := c.Q
	if q < 0 {
		q = 1000
	}
	return append(next, Binding{
		User: user, URI: c.URI, Q: q, Instance: c.Instance, CallID: u.CallID, CSeq: u.CSeq,
		Expires: now.Add(life), Updated: now,
		Source: u.Source, Transport: u.Transport, UserAgent: u.UserAgent[:min(len(u.UserAgent), maxLabel)],
	}), nil
}

// life is how long c is to live: its own value, else the header's, else the default; 0 removes it.
func (r *Registrar) life(u Update, c Contact) (time.Duration, error) {
	s := c.Expires
	if s < 0 {
		s = u.Expires
	}
	switch {
	case s < 0:
		return r.cfg.DefaultExpires, nil
	case s == 0:
		return 0, nil
	case s >= int(r.cfg.MaxExpires/time.Second):
		return r.cfg.MaxExpires, nil
	}
	if d := time.Duration(s) * time.Second; d >= r.cfg.MinExpires {
		return d, nil
	}
	return 0, ErrTooBrief
}

// Restore brings back what Changed was told in a former life, as far as it still holds. Connections have ended with that life, so
// that bindings over UDP alone can be reached. It returns how many are back.
func (r *Registrar) Restore(now time.Time, user string, bindings []Binding) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var back []Binding
	for _, b := range live(now, bindings) {
		wrong := b.User != user || check(user, Update{CallID: b.CallID, Contacts: []Contact{{URI: b.URI, Instance: b.Instance, Q: b.Q}}}) != nil
		if b.Transport != "udp" || !b.Source.IsValid() || wrong || b.Expires.Sub(now) > r.cfg.MaxExpires {
			continue
		}
		if len(back) < r.cfg.MaxContacts && r.total-len(r.users[user])+len(back) < r.cfg.MaxBindings {
			back = append(back, b)
		}
	}
	r.set(user, back)
	return len(back)
}

// Lookup returns where user can be reached now: higher q first, then the one that registered last.
func (r *Registrar) Lookup(now time.Time, user string) []Binding {
	r.mu.Lock()
	defer r.mu.Unlock()
	return ranked(live(now, r.users[user]))
}

// Drop forgets the bindings of a flow that is gone (a closed connection) and returns them.
func (r *Registrar) Drop(transport string, source netip.AddrPort) []Binding {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.remove(func(b Binding) bool { return b.Transport == transport && b.Source == source })
}

// Sweep forgets what expired by now and returns it.
func (r *Registrar) Sweep(now time.Time) []Binding {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sweep(now)
}

// All returns every live binding, by user.
func (r *Registrar) All(now time.Time) []Binding {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Binding
	for _, bs := range r.users {
		all = append(all, ranked(live(now, bs))...)
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].User < all[j].User })
	return all
}

func (r *Registrar) sweep(now time.Time) []Binding {
	return r.remove(func(b Binding) bool { return !b.Expires.After(now) })
}

func (r *Registrar) remove(gone func(Binding) bool) []Binding {
	var out []Binding
	for user, bs := range r.users {
		var keep []Binding
		for _, b := range bs {
			if gone(b) {
				out = append(out, b)
			} else {
				keep = append(keep, b)
			}
		}
		if len(keep) < len(bs) {
			r.set(user, keep)
		}
	}
	return out
}

func (r *Registrar) set(user string, bs []Binding) {
	r.total += len(bs) - len(r.users[user])
	if len(bs) == 0 {
		delete(r.users, user)
	} else {
		r.users[user] = bs
	}
	if r.cfg.Changed != nil {
		r.cfg.Changed(user, slices.Clone(bs))
	}
}

// live is a new slice of those of bs that have not expired by now.
func live(now time.Time, bs []Binding) []Binding {
	var out []Binding
	for _, b := range bs {
		if b.Expires.After(now) {
			out = append(out, b)
		}
	}
	return out
}

func ranked(bs []Binding) []Binding {
	sort.SliceStable(bs, func(i, j int) bool {
		a, b := &bs[i], &bs[j]
		return a.Q > b.Q || a.Q == b.Q && a.Updated.After(b.Updated)
	})
	return bs
}
