// Package route knows where a dialled number goes: to a conference here, to a phone of the branch, out through a gateway,
// or nowhere. The table is pure; names become addresses behind a Resolver (RFC 3263).
//
// It must not know SIP messages, who may call (sip/admit), or how a conference works. What it needs of others it asks
// through two functions.
package route

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
)

var (
	// ErrNotFound: no conference, no contact, no rule. 404.
	ErrNotFound = errors.New("route: no such number")
	// ErrDenied: a rule forbids it. 403; towards a caller without rights the agent may prefer 404.
	ErrDenied = errors.New("route: number denied")
	// ErrMalformed: not something that can be dialled. 404 or 484.
	ErrMalformed = errors.New("route: malformed number")
)

// maxNumber bounds what may be dialled, identity included, in octets.
const maxNumber = 128

// Gateway is a way out: a PBX, a trunk, another box.
type Gateway struct {
	Name  string
	URI   string // sip:host[:port][;transport=…] or sips:…: the domain of the request's URI
	Proxy string // outbound proxy as such a URI, or empty: the request goes there whatever its URI says
}

// Rule sends numbers with a prefix to gateways.
type Rule struct {
	Prefix   string   // what the number begins with; empty matches every number
	Deny     bool     // such numbers go nowhere: an exception from a shorter prefix
	Strip    int      // digits taken from the front
	Prepend  string   // digits put in front after that
	Gateways []string // names, in the order of trial: the next one on 503 or time-out
	Identity string   // whose name such calls bear when the caller asks for none (XXX:YYY); may be empty
}

// Config is a table before it is checked.
type Config struct {
	Gateways []Gateway
	Rules    []Rule
	// Conference says whether number is a conference's here. Called without a lock, from the caller's goroutine.
	Conference func(number string) bool
	// Contact says whether user has a registered contact now.
	Contact func(user string) bool
}

// Kind is what a number leads to.
type Kind int

// The kinds in the order in which they are tried.
const (
	ToConference Kind = iota + 1
	ToContact
	ToGateway
)

func (k Kind) String() string {
	return [...]string{"nowhere", "conference", "contact", "gateway"}[k]
}

// Hop is one trial of a call that goes out.
type Hop struct {
	Gateway Gateway
	Number  string // as the gateway is to see it
}

// Target is where a number leads.
type Target struct {
	Kind     Kind
	Number   string // the conference's number or the registered user; for a gateway what was dialled
	Identity string // whose name the call bears (XXX:YYY), or empty
	Hops     []Hop  // for ToGateway only, in the order of trial, never empty
}

// Table answers Find. It does not change and may be used from several goroutines.
type Table struct {
	rules      []Rule // longest prefix first
	gateways   map[string]Gateway
	conference func(string) bool
	contact    func(string) bool
}

// New checks cfg and makes the table; the error names the gateway or rule that is wrong.
func New(cfg Config) (*Table, error) {
	t := &Table{gateways: make(map[string]Gateway), conference: cfg.Conference, contact: cfg.Contact}
	for _, g := range cfg.Gateways {
		if _, twice := t.gateways[g.Name]; twice || g.Name == "" {
			return nil, fmt.Errorf("route: gateway %q: name empty or used twice", g.Name)
		}
		for _, uri := range []string{g.URI, cmp.Or(g.Proxy, g.URI)} {
			if _, err := ParseURI(uri); err != nil {
				return nil, fmt.Errorf("route: gateway %q: %w", g.Name, err)
			}
		}
		t.gateways[g.Name] = g
	}
	for i, r := range cfg.Rules {
		if err := t.checkRule(r); err != nil {
			return nil, fmt.Errorf("route: rule %d (prefix %q): %w", i+1, r.Prefix, err)
		}
		if slices.ContainsFunc(t.rules, func(o Rule) bool { return o.Prefix == r.Prefix }) {
			return nil, fmt.Errorf("route: rule %d: prefix %q is listed twice", i+1, r.Prefix)
		}
		r.Gateways = slices.Clone(r.Gateways)
		t.rules = append(t.rules, r)
	}
	sort.SliceStable(t.rules, func(i, j int) bool { return len(t.rules[i].Prefix) > len(t.rules[j].Prefix) })
	return t, nil
}

func (t *Table) checkRule(r Rule) error {
	switch {
	case r.Prefix != "" && !dialable(r.Prefix), r.Prepend != "" && !dialable(r.Prepend):
		return ErrMalformed
	case r.Strip < 0 || r.Strip > maxNumber:
		return fmt.Errorf("strip %d is out of range", r.Strip)
	case r.Deny && len(r.Gateways) > 0:
		return errors.New("denies and has gateways")
	case !r.Deny && len(r.Gateways) == 0:
		return errors.New("has no gateway")
	}
	for _, name := range r.Gateways {
		if _, ok := t.gateways[name]; !ok {
			return fmt.Errorf("no gateway is called %q", name)
		}
	}
	return nil
}

// Split takes what was dialled apart: XXX:YYY dials XXX with YYY as its identity. Both are bounded and free of anything
// that would need escaping in a URI; otherwise ErrMalformed.
func Split(dialled string) (number, identity string, err error) {
	if len(dialled) > maxNumber {
		return "", "", ErrMalformed
	}
	number, identity, both := strings.Cut(dialled, ":")
	if !dialable(number) || both && !dialable(identity) {
		return "", "", ErrMalformed
	}
	return number, identity, nil
}

// dialable: what may stand in the user part of a SIP URI without escape, and in no way be taken for more than it
// (RFC 3261 §25.1: unreserved, and the + of E.164).
func dialable(s string) bool {
	for _, c := range []byte(s) {
		ok := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("-_.!~*'()+", c) >= 0
		if !ok {
			return false
		}
	}
	return s != "" && len(s) <= maxNumber
}

// Find says where dialled leads: a conference's number here, else a registered contact, else the rule with the longest
// prefix. What no rule lists goes nowhere (ErrNotFound).
func (t *Table) Find(dialled string) (Target, error) {
	number, identity, err := Split(dialled)
	if err != nil {
		return Target{}, err
	}
	switch {
	case t.conference != nil && t.conference(number):
		return Target{Kind: ToConference, Number: number, Identity: identity}, nil
	case t.contact != nil && t.contact(number):
		return Target{Kind: ToContact, Number: number, Identity: identity}, nil
	}
	return t.outside(number, identity)
}

// outside finds the rule for a number that leaves the box.
func (t *Table) outside(number, identity string) (Target, error) {
	i := slices.IndexFunc(t.rules, func(r Rule) bool { return strings.HasPrefix(number, r.Prefix) })
	if i < 0 {
		return Target{}, ErrNotFound
	}
	r := t.rules[i]
	hops, err := r.hops(t, number)
	if err != nil {
		return Target{}, err
	}
	return Target{Kind: ToGateway, Number: number, Identity: cmp.Or(identity, r.Identity), Hops: hops}, nil
}

func (r Rule) hops(t *Table, number string) ([]Hop, error) {
	if r.Deny {
		return nil, ErrDenied
	}
	if r.Strip > len(number) {
		return nil, ErrNotFound
	}
	out := r.Prepend + number[r.Strip:]
	if out == "" {
		return nil, ErrNotFound
	}
	hops := make([]Hop, len(r.Gateways))
	for i, name := range r.Gateways {
		hops[i] = Hop{Gateway: t.gateways[name], Number: out}
	}
	return hops, nil
}
