package main

import (
	"context"
	"crypto/ed25519"
	"fmt"

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
var errEnded = fmt.Errorf("%w: the box is stopping", web.ErrUnavailable)

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

// Look implements web.House. Only of one that was asked for by its name the state is made: a list needs none.
func (a api) Look(ctx context.Context, who token.Claims, conf string) (list []web.View, err error) {
	err = a.on(ctx, func() {
		for _, r := range a.house.meetings {
			if r.Number() != "" && (conf == "" || conf == r.Number() || conf == r.UID()) {
				s := r.Snapshot()
				list = append(list, web.View{Snapshot: s, Can: r.Can(r.actor(actorOf(who)), who.May(s.Number, s.UID))})
			}
		}
	})
	for i := 0; i < len(list) && conf != "" && err == nil; i++ { // by the asker's goroutine: it takes a while
		told := wire.SnapshotOf(list[i].Snapshot)
		list[i].State, err = wire.Encode(&told)
	}
	return list, err
}

// actorOf is who holds a token, short of his line in a roster.
func actorOf(who token.Claims) conference.Actor {
	return conference.Actor{Role: conference.ByMember, Name: who.Subject}
}

// Do implements web.House.
func (a api) Do(ctx context.Context, _ token.Claims, uid string, c conference.Command) (out web.Outcome, err error) {
	type outcome struct {
		web.Outcome
		err error
	}
	done := make(chan outcome, 1)
	if err := a.on(ctx, func() {
		if r := a.house.known(uid); r != nil {
			a.house.order(r, c, func(seq uint64, durable bool, err error) {
				done <- outcome{web.Outcome{Seq: seq, Durable: durable}, err}
			})
		} else {
			done <- outcome{err: web.ErrNoConference}
		}
	}); err != nil {
		return out, err
	}
	select {
	case o := <-done:
		return o.Outcome, o.err
	case <-ctx.Done(): // it is done all the same, and no more can be promised
	case <-a.house.done:
	}
	return out, nil
}

// Create implements web.House.
func (a api) Create(ctx context.Context, who token.Claims, req create.Request) (made web.Created, err error) {
	type outcome struct {
		made web.Created
		err  error
	}
	done := make(chan outcome, 1)
	if err := a.on(ctx, func() {
		a.house.make(req, who, func(made web.Created, err error) { done <- outcome{made, err} })
	}); err != nil {
		return made, err
	}
	select {
	case out := <-done:
		return out.made, out.err
	case <-ctx.Done():
		return made, context.Cause(ctx)
	case <-a.house.done:
		return made, errEnded
	}
}

// order carries out what somebody with a token asks of a conference, and tells what came of it, on any goroutine: the number of the last
// event that it led to, and whether it outlives a power cut. A recording has begun by then, or the error is why not.
func (h *house) order(r *meeting, c conference.Command, told func(seq uint64, durable bool, err error)) {
	c.By = r.actor(c.By)
	if err := h.do(r, c); err != nil {
		told(0, false, err)
		return
	}
	seq := r.Seq()
	kept := func(err error) {
		if err != nil {
			told(seq, false, err)
			return
		}
		h.kept(r, func(durable bool) { told(seq, durable, nil) })
	}
	if c.Do == conference.Record {
		h.tapes.begun(r, kept)
	} else {
		kept(nil)
	}
}

// make makes the conference that somebody with a token asks for, and tells what came of it, on any goroutine. A conference that is
// promised must outlive a power cut: what cannot be kept is undone.
func (h *house) make(req create.Request, who token.Claims, told func(web.Created, error)) {
	before := len(h.meetings)
	r, err := h.create(req, actorOf(who), who.Rights())
	if err != nil {
		told(web.Created{}, err)
		return
	}
	made, fresh := web.Created{ConfName: r.Number(), UID: r.UID()}, len(h.meetings) > before
	h.kept(r, func(durable bool) {
		if durable {
			told(made, nil)
			return
		}
		if fresh {
			go h.post(func() { h.end(r, "could not be kept") })
		}
		told(web.Created{}, web.ErrNotDurable)
	})
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

// makeTokens makes what tells who somebody is. Tokens are signed with a key of the box's own, made at its first start, until others
// issue them.
func (b *box) makeTokens() {
	key, err := wire.LoadOrCreateKey(b.data.path("token.key"))
	if err != nil {
		b.log.Warn("nobody can be let in by a token: the key that signs them cannot be read or made", "error", err)
		return
	}
	b.tokens = newSenderKeys(token.Config{
		Keys:     []token.Key{{Public: key.Public().(ed25519.PublicKey), Issuer: token.LocalIssuer}},
		Audience: []string{b.cfg.EID, b.cfg.Box},
		ClockSet: b.clock.believed,
	})
}

// makeAPI makes what the HTTP server asks the house by; nil without tokens.
func (b *box) makeAPI() *web.API {
	if b.tokens == nil {
		return nil
	}
	kept := recordings{b.house.tapes.library}
	return b.shares.serve(&web.API{Tokens: b.tokens, House: api{b.house}, Zone: b.cfg.Meetings.Zone(), Recordings: kept, Index: kept.index,
		Support: b.support.bundle})
}
