package main

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"parley/conference"
	"parley/conference/create"
	"parley/mqtt"
	"parley/mqtt/wire"
	"parley/web"
	"parley/web/token"
)

// askers carries out what members ask for over MQTT. It means the same as over HTTP:
//
//	message → wire.MemberDoor (token? signed? for this topic and time? new?) → house → journal → answer on /u/{sub}/notice
type askers struct {
	door  *wire.MemberDoor
	house *house
	out   publisher
	zone  *time.Location
	turns chan struct{} // to read a create call
	log   *denials
}

// maxTurns is how many create calls are read at the same time, or wait for it: the passwords in each take a while to hash.
const maxTurns = 8

// makeAskers opens the members' door, if it can be told who they are.
func (b *box) makeAskers() error {
	if b.tokens == nil {
		return nil
	}
	a := &askers{
		house: b.house, out: b.client, zone: b.cfg.Meetings.Zone(), turns: make(chan struct{}, maxTurns), log: newDenials(b.log),
		door: wire.NewMemberDoor(wire.MemberConfig{EID: b.cfg.EID, Verify: verifyWith(b.tokens), ClockSet: b.clock.believed}),
	}
	if err := b.client.Subscribe(wire.ConfCmds(b.cfg.EID), a.receive); err != nil {
		return err
	}
	return b.client.Subscribe(wire.UserCmds(b.cfg.EID), a.receive)
}

// verifyWith has tokens judged for the door, in its words.
func verifyWith(v web.Tokens) func(string) (wire.Claims, error) {
	return func(text string) (wire.Claims, error) {
		c, err := v.Verify(text)
		switch {
		case errors.Is(err, token.ErrExpired), errors.Is(err, token.ErrNotYet):
			return wire.Claims{}, errors.Join(wire.ErrTokenExpired, err)
		case errors.Is(err, token.ErrRevoked):
			return wire.Claims{}, errors.Join(wire.ErrTokenRevoked, err)
		case err != nil:
			return wire.Claims{}, err
		}
		return wire.Claims{
			Subject: c.Subject, Name: c.Name, Role: string(c.Role), Rights: c.Rights(), Narrow: c.Limits != nil, Conference: c.Conference,
			Key: c.Key, Expires: c.Expires,
		}, nil
	}
}

// claimsOf is a token's claims as the HTTP door has them, so that both judge alike.
func claimsOf(c wire.Claims) token.Claims {
	who := token.Claims{Subject: c.Subject, Name: c.Name, Role: token.Role(c.Role), Conference: c.Conference, Key: c.Key, Expires: c.Expires}
	if c.Narrow {
		who.Limits = append([]conference.Right{}, c.Rights...)
	}
	return who
}

// wish is a command that is genuine and new, and on its way.
type wish struct {
	*askers
	wire.MemberVerdict
	who token.Claims
}

// receive is called by the client for every message on a members' command topic.
func (a *askers) receive(m mqtt.Message) {
	v := a.door.Receive(m.Topic, m.Payload, m.Retained)
	switch {
	case v.Ignore:
		return
	case !v.Fresh:
		a.log.note(m.Topic, v.Topic, v.Answer)
		a.answer(v.Topic, v.Answer)
		return
	}
	w := wish{a, v, claimsOf(v.Claims)}
	switch v.Command.Do {
	case wire.DoCreate:
		w.create()
	case wire.DoList:
		a.house.post(w.list)
	default:
		a.house.post(w.command)
	}
}

func (a *askers) answer(topic string, n wire.UserNotice) {
	if payload, err := wire.Encode(&n); err == nil {
		a.out.Publish(topic, payload, 1, false)
	}
}

// settle tells what came of it, now and to whoever sends it again.
func (w wish) settle(n wire.UserNotice) {
	w.door.Settle(w.who.Subject, n)
	w.askers.answer(w.Topic, n)
}

func (w wish) done(durable bool, r *wire.Result) {
	w.settle(wire.Settled(wire.NoticeAnswer, time.Now(), w.Command.ID, nil, durable, r))
}

// failed tells why it came to nothing.
func (w wish) failed(err error) {
	n := wire.Settled(wire.NoticeAnswer, time.Now(), w.Command.ID, err, false, nil)
	if errors.Is(err, web.ErrNotDurable) {
		n.Reason, n.Result = wire.ReasonNotDurable, &wire.Result{Code: string(create.NotKept)}
	}
	w.log.note(w.Command.Topic, w.Topic, n)
	w.settle(n)
}

func (w wish) refused(reason string) {
	n := wire.AnswerNotice(time.Now(), wire.Answer{ID: w.Command.ID, Status: wire.Rejected, Reason: reason})
	w.log.note(w.Command.Topic, w.Topic, n)
	w.settle(n)
}

// command does what is asked of a conference. It runs on the house's goroutine.
func (w wish) command() {
	r := w.house.find(w.Conf)
	if r == nil {
		w.refused(wire.ReasonNoConference)
		return
	}
	s := r.Snapshot()
	switch do := w.Command.Do; {
	case s.UID != w.Command.UID:
		w.refused(wire.ReasonWrongUID)
	case !web.Sees(&w.who, &s):
		w.refused(wire.ReasonNoConference)
	case do == wire.DoCan:
		w.can(r)
	case web.Narrowed(&w.who, do):
		w.refused(wire.ReasonForbidden)
	default:
		c, err := wire.ToCommand(w.Command)
		if err != nil {
			w.failed(err)
			return
		}
		c.By, c.May = actorOf(w.who), w.who.Rights()
		w.house.order(r, c, func(seq uint64, durable bool, err error) {
			if err != nil {
				w.failed(err)
				return
			}
			w.done(durable, &wire.Result{Seq: seq})
		})
	}
}

func (w wish) can(r *meeting) {
	result := &wire.Result{Conf: r.Number(), UID: r.UID(), Can: []string{}}
	for _, do := range r.Can(r.actor(actorOf(w.who)), w.who.Rights()) {
		if !web.Narrowed(&w.who, do) {
			result.Can = append(result.Can, string(do))
		}
	}
	w.done(true, result)
}

// list tells the conferences that are the asker's business. It runs on the house's goroutine.
func (w wish) list() {
	result := &wire.Result{Conferences: []wire.Listed{}}
	for _, r := range w.house.meetings {
		if r.Number() == "" {
			continue
		}
		if s := r.Snapshot(); web.Sees(&w.who, &s) {
			result.Conferences = append(result.Conferences, listed(&s))
		}
	}
	w.done(true, result)
}

func listed(s *conference.Snapshot) wire.Listed {
	l := wire.Listed{Conf: s.Number, UID: s.UID, Theme: s.Theme, Kind: string(s.Kind), Phase: string(s.Phase), Creator: s.Creator,
		Start: s.Start.UTC(), End: s.End.UTC()}
	for i := range s.Members {
		if s.Members[i].In() {
			l.Members++
		}
	}
	return l
}

// create makes a conference. The call is read apart from all others, which have not to wait for its passwords' hashes.
func (w wish) create() {
	if !web.Makes(&w.who) {
		w.refused(wire.ReasonForbidden)
		return
	}
	select {
	case w.turns <- struct{}{}:
	default:
		w.refused(wire.ReasonBusy)
		return
	}
	go func() {
		req, err := create.Parse(w.Command.Request, w.zone, create.Limits{Now: time.Now()})
		<-w.turns
		if err == nil {
			err = web.MayMake(&w.who, &req)
		}
		if err != nil {
			w.failed(err)
			return
		}
		w.house.post(func() { w.house.make(req, w.who, w.made) })
	}()
}

func (w wish) made(c web.Created, err error) {
	if err != nil {
		w.failed(err)
		return
	}
	w.done(true, &wire.Result{Code: string(create.OK), Conf: c.ConfName, UID: c.UID})
}

// denials logs what was refused: of one sender and for one reason, once in a while.
type denials struct {
	log *slog.Logger

	mu   sync.Mutex // guards what follows
	last map[[2]string]time.Time
}

const (
	denialPause = time.Minute
	maxDenials  = 256 // senders and reasons that are remembered
)

func newDenials(log *slog.Logger) *denials {
	return &denials{log: log, last: map[[2]string]time.Time{}}
}

// note logs an answer that says no. to is the topic of who asks, or says that he is who asks.
func (f *denials) note(topic, to string, n wire.UserNotice) {
	if n.Status != wire.Rejected && n.Status != wire.Failed {
		return
	}
	now, key := time.Now(), [2]string{to, n.Reason}
	f.mu.Lock()
	defer f.mu.Unlock()
	if at, ok := f.last[key]; ok && now.Sub(at) < denialPause {
		return
	}
	for k, at := range f.last {
		if len(f.last) >= maxDenials && now.Sub(at) >= denialPause {
			delete(f.last, k)
		}
	}
	if len(f.last) >= maxDenials {
		return
	}
	f.last[key] = now
	f.log.Warn("a member's command is refused", "topic", topic, "answer", to, "reason", n.Reason, "detail", n.Detail)
}
