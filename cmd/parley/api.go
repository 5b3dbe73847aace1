package main

import (
	"context"
	"crypto/ed25519"
	"errors"

	"parley/conference"
	"parley/conference/create"
	"parley/mqtt/wire"
	"parley/web"
	"parley/web/token"
)

// api is the house as it is asked over HTTP. Its methods are called by the server's goroutines; what they ask is done by the
// house's, in turn.
type api struct{ house *house }

// errEnded: the box is stopping.
var errEnded = errors.New("the box is stopping")

// on has f done by the house, unless the asker has gone before its turn.
func (a api) on(ctx context.Context, f func()) error {
	late := false
	if !a.house.ask(func() {
		if late = ctx.Err() != nil; !late {
			f()
		}
	}) {
		return errEnded
	}
	if late {
		return context.Cause(ctx)
	}
	return nil
}

// Look implements web.House.
func (a api) Look(ctx context.Context, who token.Claims, conf string) (list []web.View, err error) {
	err = a.on(ctx, func() {
		for _, r := range a.house.meetings {
			if r.Number() != "" && (conf == "" || conf == r.Number() || conf == r.UID()) {
				list = append(list, viewOf(r, who))
			}
		}
	})
	return list, err
}

func viewOf(r *meeting, who token.Claims) web.View {
	s := r.Snapshot()
	told := wire.SnapshotOf(s)
	state, err := wire.Encode(&told)
	if err != nil {
		state = nil
	}
	return web.View{Snapshot: s, State: state, Can: r.Can(r.actor(actorOf(who)), who.May(s.Number, s.UID))}
}

// actorOf is who holds a token, short of his line in a roster.
func actorOf(who token.Claims) conference.Actor {
	return conference.Actor{Role: conference.ByMember, Name: who.Subject}
}

// Do implements web.House.
func (a api) Do(ctx context.Context, _ token.Claims, uid string, c conference.Command) (out web.Outcome, err error) {
	done := make(chan bool, 1)
	if e := a.on(ctx, func() {
		r := a.house.known(uid)
		if r == nil {
			err = web.ErrNoConference
			return
		}
		c.By = r.actor(c.By)
		if err = a.house.do(r, c); err == nil {
			out.Seq = r.Seq()
			a.house.kept(r, func(durable bool) { done <- durable })
		}
	}); e != nil {
		err = e
	}
	if err == nil {
		out.Durable, err = a.wait(ctx, done)
	}
	if err == nil && c.Do == conference.Record {
		err = a.recorded(ctx, uid)
	}
	return out, err
}

// wait is for the journal's word on what has been done.
func (a api) wait(ctx context.Context, done <-chan bool) (bool, error) {
	select {
	case durable := <-done:
		return durable, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-a.house.done:
		return false, errEnded
	}
}

// Create implements web.House. What was made is undone if it cannot be kept: a conference that is promised must outlive a power
// cut.
func (a api) Create(ctx context.Context, who token.Claims, req create.Request) (made web.Created, err error) {
	done := make(chan bool, 1)
	var r *meeting
	if e := a.on(ctx, func() {
		if r, err = a.house.create(req, actorOf(who), who.Rights()); err == nil {
			made = web.Created{ConfName: r.Number(), UID: r.UID()}
			a.house.kept(r, func(durable bool) { done <- durable })
		}
	}); e != nil {
		err = e
	}
	if err != nil {
		return made, err
	}
	if durable, err := a.wait(ctx, done); err != nil || durable {
		return made, err
	}
	a.house.post(func() { a.house.end(r, "could not be kept") })
	return web.Created{}, web.ErrNotDurable
}

// known is the conference with that uid; nil: there is none.
func (h *house) known(uid string) *meeting {
	for _, r := range h.meetings {
		if r.UID() == uid {
			return r
		}
	}
	return nil
}

// makeAPI makes what the HTTP server asks the house by. Tokens are signed with a key of the box's own, made at its first start, until
// others issue them.
func (b *box) makeAPI() (*web.API, error) {
	key, err := wire.LoadOrCreateKey(b.data.path("token.key"))
	if err != nil {
		b.log.Warn("there is no API: the key that signs tokens cannot be read or made", "error", err)
		return nil, nil
	}
	b.tokens = newSenderKeys(token.Config{
		Keys:     []token.Key{{Public: key.Public().(ed25519.PublicKey), Issuer: token.LocalIssuer}},
		Audience: []string{b.cfg.EID, b.cfg.Box},
		ClockSet: clockSet,
	})
	kept := recordings{b.house.tapes.library}
	b.shares.messages.keys = b.tokens
	return b.shares.serve(&web.API{Tokens: b.tokens, House: api{b.house}, Zone: b.cfg.Meetings.Zone(), Recordings: kept, Index: kept.index}), nil
}
