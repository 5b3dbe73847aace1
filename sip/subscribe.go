// The conference event package (RFC 4575 over RFC 6665): who subscribes to a number is sent its roster, whole, and then whatever
// changes in it, at most once a second. A member can subscribe within his call, too.

package sip

import (
	"context"
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

const (
	conferenceEvent = "conference"
	minSubscription = 60 // seconds; shorter wishes get 423
	maxSubscription = 3600
)

// subscription is one subscriber's. Its fields are guarded by subscriptions.mu, but for what it was told: that belongs to run.
type subscription struct {
	number string
	event  string // our Event header, with the subscriber's id
	key    dialogKey
	dialog dialog // of its own, unless it is within a call
	call   *Call
	until  time.Time
	busy   bool // a NOTIFY is under way
	dirty  bool // another is due
	asked  bool // by the subscriber: at once, and whole
	next   time.Time
	over   string
	told   told
}

// subscriptions are all of them.
type subscriptions struct {
	agent *Agent
	wake  chan struct{}
	seed  maphash.Seed

	mu   sync.Mutex
	subs map[dialogKey]*subscription
}

func newSubscriptions(a *Agent) *subscriptions {
	return &subscriptions{agent: a, wake: make(chan struct{}, 1), seed: maphash.MakeSeed(), subs: make(map[dialogKey]*subscription)}
}

// NotifyConference tells the subscribers of a conference that it changed. It does not block; several changes may be told in
// one.
func (a *Agent) NotifyConference(number string) {
	s := a.subs
	s.mu.Lock()
	for _, sub := range s.subs {
		if sub.number == number {
			sub.dirty = true
		}
	}
	s.mu.Unlock()
	s.kick()
}

func (s *subscriptions) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run sends what is due until ctx ends, then tells every subscriber that it is over. It also sweeps the registrar.
func (s *subscriptions) run(ctx context.Context) {
	tick := time.NewTicker(s.agent.cfg.Timers.Second)
	defer tick.Stop()
	later := time.NewTimer(time.Hour)
	defer later.Stop()
	for {
		select {
		case <-s.wake:
		case <-later.C:
		case <-tick.C:
			s.expire()
			if r := s.agent.cfg.Registrar; r != nil {
				r.Sweep(s.agent.cfg.Now())
			}
		case <-ctx.Done():
			s.mu.Lock()
			for _, sub := range s.subs {
				sub.over, sub.dirty = "noresource", true
			}
			s.mu.Unlock()
			s.flush()
			return
		}
		later.Reset(s.flush())
	}
}

func (s *subscriptions) expire() {
	now := s.agent.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subs {
		if sub.over == "" && !sub.until.After(now) {
			sub.over, sub.dirty = "timeout", true
		}
	}
}

// flush sends a NOTIFY to everyone whose is due and has none under way. It returns when the next one can be due.
func (s *subscriptions) flush() (wait time.Duration) {
	now := s.agent.cfg.Now()
	wait = time.Hour
	s.mu.Lock()
	due := make([]*subscription, 0, len(s.subs))
	for _, sub := range s.subs {
		switch d := sub.next.Sub(now); {
		case !sub.dirty || sub.busy:
		case d > 0 && !sub.asked && sub.over == "":
			wait = min(wait, d)
		default:
			sub.busy, sub.dirty = true, false
			due = append(due, sub)
		}
	}
	s.mu.Unlock()
	for _, sub := range due {
		s.notify(sub)
	}
	return wait
}

// notify tells a subscriber what it does not know; nothing if there is nothing.
func (s *subscriptions) notify(sub *subscription) {
	a := s.agent
	now, there := a.cfg.ConferenceInfo(sub.number)
	s.mu.Lock()
	if !there && sub.over == "" {
		sub.over = "noresource"
	}
	over, asked := sub.over, sub.asked
	var body []byte
	if there {
		body = sub.told.document(s.seed, now, asked)
	}
	if body == nil && over == "" {
		sub.busy = false
		s.mu.Unlock()
		return
	}
	sub.asked, sub.next = false, a.cfg.Now().Add(a.cfg.Timers.Second)
	state := "active;expires=" + strconv.Itoa(max(0, int(sub.until.Sub(a.cfg.Now())/a.cfg.Timers.Second)))
	if over != "" {
		state = "terminated;reason=" + over
	}
	fill := func(req *gosip.Request) {
		req.AppendHeader(gosip.NewHeader("Event", sub.event))
		req.AppendHeader(gosip.NewHeader("Subscription-State", state))
		if body != nil {
			req.AppendHeader(gosip.NewHeader("Content-Type", infoType))
		}
		req.SetBody(body)
	}
	done := func(res *gosip.Response, err error) { s.notified(sub, over != "" || err != nil || !res.IsSuccess()) }
	if c := sub.call; c != nil {
		s.mu.Unlock()
		if c.post(func() { c.send(gosip.NOTIFY, fill, done) }) != nil {
			s.notified(sub, true)
		}
		return
	}
	req, where := sub.dialog.request(a, gosip.NOTIFY), sub.dialog.where(a)
	s.mu.Unlock()
	fill(req)
	a.exchange(&outgoing{req: req, where: where, user: sub.number, focus: true}, done)
}

// notified: a NOTIFY is through. Who does not want to hear, or is not there, is forgotten.
func (s *subscriptions) notified(sub *subscription, last bool) {
	s.mu.Lock()
	sub.busy = false
	if last && s.subs[sub.key] == sub {
		delete(s.subs, sub.key)
	}
	again := sub.dirty
	s.mu.Unlock()
	if again {
		s.kick()
	}
}

// drop forgets the subscription within a call that is over: there is no dialog for it any more.
func (s *subscriptions) drop(key dialogKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.subs[key]; sub != nil && sub.call != nil {
		delete(s.subs, key)
	}
}

// serveSubscribe takes a new subscription.
func (a *Agent) serveSubscribe(in *inbound) {
	if _, ok := a.admit(in); !ok {
		return
	}
	event, ok := a.vetSubscribe(in)
	if !ok {
		return
	}
	number := userOf(in.req.Recipient)
	state, there := a.cfg.ConferenceInfo(number)
	switch {
	case !there:
		in.reply(404, "")
		return
	case state != nil && state.Private:
		in.reply(403, "")
		return
	}
	n, ok := subscriptionTime(in)
	if !ok {
		return
	}
	tag := token(12)
	in.req.To().Params.Add("tag", tag)
	d := uasDialog(in.req, tag, a.net.cameFrom(in.req))
	a.subs.grant(in, &subscription{number: number, event: event, key: d.key, dialog: d}, n, a.contact(number, d.hop, true))
}

// onSubscribe takes a SUBSCRIBE within a call to the conference that it is in, the first or a later one.
func (c *Call) onSubscribe(in *inbound) {
	a := c.agent
	event, ok := a.vetSubscribe(in)
	if !ok {
		return
	}
	c.mu.Lock()
	focus := c.focus
	c.mu.Unlock()
	if !focus || c.State() != Talking {
		in.reply(403, "")
		return
	}
	if _, there := a.cfg.ConferenceInfo(c.user()); !there {
		in.reply(404, "")
		return
	}
	n, ok := subscriptionTime(in)
	if !ok {
		return
	}
	a.subs.mu.Lock()
	sub := a.subs.subs[c.key]
	a.subs.mu.Unlock()
	switch {
	case sub == nil:
		a.subs.grant(in, &subscription{number: c.user(), event: event, key: c.key, call: c}, n, c.contact())
	case sub.event != event: // one is enough
		in.reply(403, "")
	default:
		a.subs.prolong(in, sub, n, c.contact())
	}
}

// vetSubscribe looks for what keeps a SUBSCRIBE from being served, and returns the Event header of our NOTIFYs.
func (a *Agent) vetSubscribe(in *inbound) (string, bool) {
	event, params, _ := strings.Cut(header(in.req, "Event"), ";")
	if event == "" {
		event, params, _ = strings.Cut(header(in.req, "o"), ";")
	}
	switch {
	case a.cfg.ConferenceInfo == nil || strings.TrimSpace(event) != conferenceEvent:
		in.reply(489, "", gosip.NewHeader("Allow-Events", conferenceEvent))
		return "", false
	case unsupported(in.req) != "":
		in.reply(420, "", gosip.NewHeader("Unsupported", unsupported(in.req)))
		return "", false
	case len(tokens(in.req, "Accept")) > 0 && !accepts(in.req, infoType):
		in.reply(406, "", gosip.NewHeader("Accept", infoType))
		return "", false
	case in.req.Contact() == nil:
		in.reply(400, "")
		return "", false
	}
	for _, p := range strings.Split(params, ";") {
		if k, v, _ := strings.Cut(strings.TrimSpace(p), "="); k == "id" && isToken(v) {
			return conferenceEvent + ";id=" + v, true
		}
	}
	return conferenceEvent, true
}

// subscriptionTime is how long the subscriber wants, in seconds; 0 is a single NOTIFY.
func subscriptionTime(in *inbound) (int, bool) {
	n, ok := headerSeconds(in.req, "Expires")
	switch {
	case !ok:
		return maxSubscription, true
	case n > 0 && n < minSubscription:
		in.reply(423, "", gosip.NewHeader("Min-Expires", strconv.Itoa(minSubscription)))
		return 0, false
	}
	return min(n, maxSubscription), true
}

// grant enters sub and answers.
func (s *subscriptions) grant(in *inbound, sub *subscription, n int, contact gosip.Header) {
	s.mu.Lock()
	full := len(s.subs) >= s.agent.cfg.MaxSubscribers
	if !full {
		s.subs[sub.key] = sub
		sub.busy = true // the NOTIFY goes out after the 200
	}
	s.mu.Unlock()
	if full {
		in.reply(503, "", retryAfter(60))
		return
	}
	s.prolong(in, sub, n, contact)
	s.mu.Lock()
	sub.busy = false
	s.mu.Unlock()
	s.kick()
}

// prolong answers a SUBSCRIBE and has the roster told again; 0 seconds are the end.
func (s *subscriptions) prolong(in *inbound, sub *subscription, n int, contact gosip.Header) {
	in.reply(200, "", gosip.NewHeader("Expires", strconv.Itoa(n)), contact)
	s.mu.Lock()
	sub.until = s.agent.cfg.Now().Add(s.agent.seconds(n))
	if n == 0 && sub.over == "" {
		sub.over = "timeout"
	}
	sub.dirty, sub.asked = true, true
	s.mu.Unlock()
	s.kick()
}

// refresh takes a SUBSCRIBE within a subscription.
func (s *subscriptions) refresh(in *inbound, key dialogKey) {
	s.mu.Lock()
	sub := s.subs[key]
	if sub == nil || sub.over != "" || sub.call != nil || !sub.dialog.ours(in.req) {
		s.mu.Unlock()
		in.reply(481, "")
		return
	}
	if !sub.dialog.inOrder(in.req) {
		s.mu.Unlock()
		in.reply(500, "")
		return
	}
	s.mu.Unlock()
	n, ok := subscriptionTime(in)
	if !ok {
		return
	}
	from := s.agent.net.cameFrom(in.req)
	s.mu.Lock()
	sub.dialog.retarget(in.req)
	sub.dialog.hop = from
	s.mu.Unlock()
	s.prolong(in, sub, n, s.agent.contact(sub.number, from, true))
}
