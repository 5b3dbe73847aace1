// The conference event package (RFC 4575 over RFC 6665): who subscribes to a number is sent its roster, whole, whenever that
// changes.

package sip

import (
	"context"
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

// subscription is one subscriber's dialog. Its fields are guarded by subscriptions.mu.
type subscription struct {
	number string
	event  string // our Event header, with the subscriber's id
	dialog dialog
	until  time.Time
	busy   bool // a NOTIFY is under way
	dirty  bool // and another is due after it
	over   string
}

// subscriptions are all of them.
type subscriptions struct {
	agent *Agent
	wake  chan struct{}

	mu   sync.Mutex
	subs map[dialogKey]*subscription
}

func newSubscriptions(a *Agent) *subscriptions {
	return &subscriptions{agent: a, wake: make(chan struct{}, 1), subs: make(map[dialogKey]*subscription)}
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
	for {
		select {
		case <-s.wake:
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
		s.flush()
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

// flush sends a NOTIFY to everyone whose is due and has none under way.
func (s *subscriptions) flush() {
	s.mu.Lock()
	due := make([]*subscription, 0, len(s.subs))
	for _, sub := range s.subs {
		if sub.dirty && !sub.busy {
			sub.busy, sub.dirty = true, false
			due = append(due, sub)
		}
	}
	s.mu.Unlock()
	for _, sub := range due {
		s.notify(sub)
	}
}

func (s *subscriptions) notify(sub *subscription) {
	a := s.agent
	body, there := a.cfg.ConferenceInfo(sub.number)
	s.mu.Lock()
	if !there && sub.over == "" {
		sub.over = "noresource"
	}
	over := sub.over
	state := "active;expires=" + strconv.Itoa(max(0, int(sub.until.Sub(a.cfg.Now())/a.cfg.Timers.Second)))
	if over != "" {
		state = "terminated;reason=" + over
	}
	req := sub.dialog.request(a, gosip.NOTIFY)
	where := sub.dialog.where(a)
	s.mu.Unlock()
	req.AppendHeader(gosip.NewHeader("Event", sub.event))
	req.AppendHeader(gosip.NewHeader("Subscription-State", state))
	if there {
		req.AppendHeader(gosip.NewHeader("Content-Type", infoType))
		req.SetBody(body)
	} else {
		req.SetBody(nil)
	}
	a.exchange(&outgoing{req: req, where: where, user: sub.number, focus: true}, func(res *gosip.Response, err error) {
		s.mu.Lock()
		sub.busy = false
		if over != "" || err != nil || !res.IsSuccess() {
			delete(s.subs, sub.dialog.key)
		}
		again := sub.dirty
		s.mu.Unlock()
		if again {
			s.kick()
		}
	})
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
	if _, there := a.cfg.ConferenceInfo(number); !there {
		in.reply(404, "")
		return
	}
	n, ok := subscriptionTime(in)
	if !ok {
		return
	}
	tag := token(12)
	in.req.To().Params.Add("tag", tag)
	sub := &subscription{number: number, event: event, dialog: uasDialog(in.req, tag, a.net.cameFrom(in.req)), dirty: true}
	a.subs.grant(in, sub, n)
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
func (s *subscriptions) grant(in *inbound, sub *subscription, n int) {
	a := s.agent
	sub.until = a.cfg.Now().Add(a.seconds(n))
	if n == 0 {
		sub.over = "timeout"
	}
	s.mu.Lock()
	full := len(s.subs) >= a.cfg.MaxSubscribers
	if !full {
		s.subs[sub.dialog.key] = sub
		sub.busy = true // the NOTIFY goes out after the 200
	}
	s.mu.Unlock()
	if full {
		in.reply(503, "", retryAfter(60))
		return
	}
	in.reply(200, "", gosip.NewHeader("Expires", strconv.Itoa(n)), a.contact(sub.number, sub.dialog.hop, true))
	s.mu.Lock()
	sub.busy, sub.dirty = false, true
	s.mu.Unlock()
	s.kick()
}

// refresh takes a SUBSCRIBE within a subscription.
func (s *subscriptions) refresh(in *inbound, key dialogKey) {
	s.mu.Lock()
	sub := s.subs[key]
	if sub == nil || sub.over != "" || !sub.dialog.ours(in.req) {
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
	a := s.agent
	in.reply(200, "", gosip.NewHeader("Expires", strconv.Itoa(n)), a.contact(sub.number, a.net.cameFrom(in.req), true))
	s.mu.Lock()
	sub.dialog.retarget(in.req)
	sub.dialog.hop = a.net.cameFrom(in.req)
	sub.until = a.cfg.Now().Add(a.seconds(n))
	if n == 0 {
		sub.over = "timeout"
	}
	sub.dirty = true
	s.mu.Unlock()
	s.kick()
}
