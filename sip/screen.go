// What is answered before anything is kept of a request (X-7b): 401 to who shows no credentials, and 481 to what belongs to
// nothing here. A stranger costs no transaction by it.

package sip

import (
	"hash/maphash"
	"strconv"
	"sync"
	"time"

	gosip "github.com/emiago/sipgo/sip"

	"parley/sip/admit"
	"parley/sip/guard"
)

// judged are the methods that the gate is asked about, outside a dialog. OPTIONS is not among them: its answer is the same
// for everybody and for every number.
var judged = map[string]bool{"INVITE": true, "REGISTER": true, "SUBSCRIBE": true, "REFER": true}

// screen is the guard's question about every message that would reach sipgo.
func (a *Agent) screen(e guard.Envelope) *guard.Answer {
	if e.Status != 0 {
		return nil
	}
	if e.ToTag != "" || e.Method == string(gosip.CANCEL) {
		if a.concerned(e.CallID) {
			return nil
		}
		return &guard.Answer{Code: 481, Reason: phrase(481)}
	}
	if a.cfg.Gate != nil && judged[e.Method] {
		if v, final := a.cfg.Gate.Screen(visitor(e.Method, e.URI, unescape(e.User), e.Authorization, e.Arrival)); final {
			return &guard.Answer{Code: codeOf(v), Reason: phrase(codeOf(v)), Headers: headersFor(v)}
		}
	}
	if e.Method == string(gosip.INVITE) || e.Method == string(gosip.SUBSCRIBE) {
		a.ids.passed(e.CallID, a.cfg.Now())
	}
	return nil
}

// visitor is a request as the gate sees it.
func visitor(method, uri, user string, authorization []string, came guard.Arrival) admit.Request {
	r := admit.Request{
		Method: method, URI: uri, URIUser: clean(user, maxNumber), Authorization: authorization[:min(len(authorization), 8)],
		Source: came.Remote, Local: came.Local, PeerNames: came.Names,
	}
	if !r.Local.Addr().IsValid() || r.Local.Addr().IsUnspecified() {
		if r.Source.Addr().IsLoopback() {
			r.Local = r.Source // what comes from loopback came to it
		}
	}
	return r
}

// codeOf is the status that tells a verdict other than "admitted".
func codeOf(v admit.Verdict) int {
	if v.Outcome == admit.Challenged {
		return 401
	}
	return v.Code
}

// headersFor are the headers that go with it.
func headersFor(v admit.Verdict) (list [][2]string) {
	for _, c := range v.Challenges {
		list = append(list, [2]string{"WWW-Authenticate", c})
	}
	if v.RetryAfter > 0 {
		list = append(list, [2]string{"Retry-After", strconv.Itoa(int((v.RetryAfter + time.Second - 1) / time.Second))})
	}
	return list
}

// concerned reports whether there is a call, a subscription, or was one until lately, to which a message can belong.
func (a *Agent) concerned(callID string) bool {
	if a.ids.known(callID, a.cfg.Now()) {
		return true
	}
	a.subs.mu.Lock()
	defer a.subs.mu.Unlock()
	for k := range a.subs.subs {
		if k.call == callID {
			return true
		}
	}
	return false
}

const (
	// aftermath is how long messages of what is over may still come: the life of a transaction (RFC 3261, 17.1.1.2, 64·T1).
	aftermath = 32 * time.Second
	// maxLately bounds the Call-IDs that are remembered without a call.
	maxLately = 4096
)

// callIDs knows the Call-IDs of the calls that there are, and for a while those that a request was let in with or that a
// call had. It holds them by hash: two that share one only mean that a stray message goes one step further.
type callIDs struct {
	seed maphash.Seed

	mu         sync.Mutex // guards what follows
	live       map[string]int
	young, old map[uint64]struct{} // lately seen; old ones go when the young ones have become old
	turned     time.Time
}

func newCallIDs() *callIDs {
	return &callIDs{seed: maphash.MakeSeed(), live: make(map[string]int), young: make(map[uint64]struct{})}
}

// began notes a call.
func (c *callIDs) began(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live[id]++
}

// over notes its end.
func (c *callIDs) over(id string, now time.Time) {
	c.mu.Lock()
	if c.live[id]--; c.live[id] <= 0 {
		delete(c.live, id)
	}
	c.mu.Unlock()
	c.passed(id, now)
}

// passed notes a request that may become a call.
func (c *callIDs) passed(id string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	if len(c.young) >= maxLately {
		c.old, c.young, c.turned = c.young, make(map[uint64]struct{}), now
	}
	c.young[maphash.String(c.seed, id)] = struct{}{}
}

func (c *callIDs) known(id string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live[id] > 0 {
		return true
	}
	c.turn(now)
	h := maphash.String(c.seed, id)
	_, young := c.young[h]
	_, old := c.old[h]
	return young || old
}

// turn makes the young ones old when their time has come.
func (c *callIDs) turn(now time.Time) {
	if age := now.Sub(c.turned); age >= 2*aftermath {
		c.old, c.young, c.turned = nil, make(map[uint64]struct{}), now
	} else if age >= aftermath {
		c.old, c.young, c.turned = c.young, make(map[uint64]struct{}), now
	}
}
