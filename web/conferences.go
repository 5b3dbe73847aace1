package web

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"parley/conference"
	"parley/conference/create"
	"parley/web/token"
)

// createPath is the name that business systems know.
const createPath = "conferAndMembersAddJson"

// created is the answer to a create call.
type created struct {
	Code     create.Code `json:"code"`
	Message  string      `json:"message"`
	ConfName string      `json:"confName"`
	UID      string      `json:"uid"`
}

// Makes tells whether a token is one to make conferences with at all.
func Makes(who *token.Claims) bool { return who.Has(conference.RightCreate) && who.Conference == "" }

// MayMake refuses a conference that is not for a token's holder to make: a number makes them for itself only, unless its token is
// an admin's; and nobody who may not invite invites into others so. The error is a *create.FieldError.
func MayMake(who *token.Claims, r *create.Request) error {
	if who.Role != token.Admin && create.IsNumber(who.Subject) && !r.MadeFor(who.Subject) {
		return &create.FieldError{Field: "conferList.creator", Code: create.Denied, Want: "the number of the token's holder"}
	}
	if len(r.Elsewhere) > 0 && Narrowed(who, conference.Invite) {
		return &create.FieldError{Field: r.Elsewhere[0].Field, Code: create.Denied, Want: "a token that gives the right: " + string(conference.RightInvite)}
	}
	return nil
}

// create makes a conference (C-1, C-2).
func (a *api) create(w http.ResponseWriter, r *http.Request, who *token.Claims) error {
	if !Makes(who) {
		return forbidden("this token does not make conferences")
	}
	body, err := readBody(w, r, create.MaxBody)
	if err != nil {
		return err
	}
	limits := a.Limits
	limits.Now = a.Now()
	request, err := create.Parse(body, a.Zone, limits)
	if err != nil {
		return err
	}
	if err := MayMake(who, &request); err != nil {
		return err
	}
	ctx, done := a.house(r)
	defer done()
	c, err := a.House.Create(ctx, *who, request)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, &created{create.OK, "ok", c.ConfName, c.UID})
	return nil
}

func forbidden(text string) error {
	return &fault{Status: http.StatusForbidden, Code: "forbidden", Message: text}
}

// readBody reads a body of at most longest bytes.
func readBody(w http.ResponseWriter, r *http.Request, longest int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, longest))
	if err != nil {
		var long *http.MaxBytesError
		if !errors.As(err, &long) {
			err = &fault{Status: http.StatusBadRequest, Code: "cut_short", Message: "the body ended before its end"}
		}
		return nil, err
	}
	return body, nil
}

// brief is a conference in the list.
type brief struct {
	Number  string    `json:"conf"`
	UID     string    `json:"uid"`
	Theme   string    `json:"theme,omitempty"`
	Kind    string    `json:"kind"`
	Phase   string    `json:"phase"`
	Creator string    `json:"creator,omitempty"`
	Start   time.Time `json:"start,omitzero"`
	End     time.Time `json:"end,omitzero"`
	Members int       `json:"members"` // whose call is up
}

// conferences lists those that the caller may see.
func (a *api) conferences(w http.ResponseWriter, r *http.Request, who *token.Claims) error {
	ctx, done := a.house(r)
	defer done()
	views, err := a.House.Look(ctx, *who, "")
	if err != nil {
		return err
	}
	list := []brief{}
	for i := range views {
		s := &views[i].Snapshot
		if !Sees(who, s) {
			continue
		}
		b := brief{s.Number, s.UID, s.Theme, string(s.Kind), string(s.Phase), s.Creator, s.Start, s.End, 0}
		for _, m := range s.Members {
			if m.State == conference.Connected || m.State == conference.OnHold {
				b.Members++
			}
		}
		list = append(list, b)
	}
	writeJSON(w, http.StatusOK, map[string]any{"conferences": list})
	return nil
}

// Sees tells whether a conference is any of the caller's business: a guest's is the one that the token names, or where his
// number stands in the roster, not of somebody who has to prove himself yet; a host's all that the token covers.
func Sees(who *token.Claims, s *conference.Snapshot) bool {
	switch {
	case !who.Has(conference.RightSee) || !who.Covers(s.Number, s.UID):
		return false
	case who.Role != token.Guest || who.Conference != "" || create.Bears(who.Subject, s.Creator):
		return true
	}
	return slices.ContainsFunc(s.Members, func(m conference.Member) bool { return !m.Proving && create.Bears(who.Subject, m.Number) })
}

// find gives the conference of the path, if the caller may see it. To whom the token names another it says so; for all others
// what is none of theirs is not there.
func (a *api) find(r *http.Request, who *token.Claims) (View, error) {
	conf := r.PathValue("conf")
	if conf == "" || !plain(conf) {
		return View{}, ErrNoConference
	}
	ctx, done := a.house(r)
	defer done()
	views, err := a.House.Look(ctx, *who, conf)
	if err != nil {
		return View{}, err
	}
	if len(views) == 0 || !Sees(who, &views[0].Snapshot) {
		if who.Conference != "" && who.Conference != conf {
			return View{}, &fault{Status: http.StatusForbidden, Code: "wrong_conference", Message: "this token is for another conference"}
		}
		if !who.Has(conference.RightSee) {
			return View{}, forbidden("this token does not show conferences")
		}
		return View{}, ErrNoConference
	}
	return views[0], nil
}

// state answers with the whole conference, in the form in which its topic tells it.
func (a *api) state(w http.ResponseWriter, r *http.Request, who *token.Claims) error {
	v, err := a.find(r, who)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, json.RawMessage(v.State))
	return nil
}

// can answers with what the caller may do.
func (a *api) can(w http.ResponseWriter, r *http.Request, who *token.Claims) error {
	v, err := a.find(r, who)
	if err != nil {
		return err
	}
	list := []conference.Do{}
	for _, do := range v.Can {
		if !Narrowed(who, do) {
			list = append(list, do)
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"conf": v.Number, "uid": v.UID, "can": list})
	return nil
}

// outcome is the answer to a command.
type outcome struct {
	Status  string `json:"status"`
	Seq     uint64 `json:"seq"`
	Durable bool   `json:"durable"`
}

// command carries out one command (C-10 to C-18 and the rest of them). With an id, the same one twice has one effect and the
// same answer.
func (a *api) command(w http.ResponseWriter, r *http.Request, who *token.Claims) error {
	body, err := readBody(w, r, maxCommand)
	if err != nil {
		return err
	}
	o, err := decodeCommand(body)
	if err != nil {
		return err
	}
	v, err := a.find(r, who)
	switch {
	case err != nil:
		return err
	case o.uid != "" && o.uid != v.UID:
		return ErrWrongUID
	case Narrowed(who, o.cmd.Do):
		return forbidden("this token does not give that right")
	}
	o.cmd.By = conference.Actor{Role: conference.ByMember, Name: who.Subject}
	o.cmd.May = who.Rights()
	out, err := a.doOnce(r, who, v.UID, o, sha256.Sum256(body))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, &outcome{"done", out.Seq, out.Durable})
	return nil
}

// doOnce has the house do it, unless it has done it before or is about to.
func (a *api) doOnce(r *http.Request, who *token.Claims, uid string, o order, digest [sha256.Size]byte) (Outcome, error) {
	ctx, done := a.house(r)
	defer done()
	if o.id == "" {
		return a.House.Do(ctx, *who, uid, o.cmd)
	}
	key := who.Subject + " " + uid + " " + o.id
	known, first, err := a.once.begin(key, digest)
	if err != nil {
		return Outcome{}, err
	}
	if first {
		// Whether the asker waits or not: the next to ask with this id gets what came of it.
		apart, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), houseTimeout)
		defer cancel()
		known.out, known.err = a.House.Do(apart, *who, uid, o.cmd)
		if errors.Is(known.err, context.DeadlineExceeded) {
			a.once.forget(key)
		}
		close(known.done)
	}
	select {
	case <-known.done:
		return known.out, known.err
	case <-ctx.Done():
		return Outcome{}, ctx.Err()
	}
}

// message is one of the log.
type message struct {
	Seq      uint64          `json:"seq"`
	ID       string          `json:"id,omitempty"`
	From     string          `json:"from"`
	At       time.Time       `json:"at"`
	Type     byte            `json:"type"`           // the payload's first byte
	Body     json.RawMessage `json:"body,omitempty"` // the rest of it, if it is JSON
	Raw      []byte          `json:"raw,omitempty"`  // the rest of it, if it is not; base64
	Verified bool            `json:"verified"`
}

const maxMessages = 200 // in one answer

// messages answers with what was written after a number, for who joins late.
func (a *api) messages(w http.ResponseWriter, r *http.Request, who *token.Claims) error {
	uid, err := a.uid(r, who, conference.RightMessage)
	if err != nil {
		return err
	}
	if a.Messages == nil {
		return ErrNotFound
	}
	after, err1 := whole(r.URL.Query().Get("after"), 0)
	limit, err2 := whole(r.URL.Query().Get("limit"), maxMessages)
	if err1 != nil || err2 != nil {
		return &fault{http.StatusUnprocessableEntity, "invalid_value", "after and limit are whole numbers", "after"}
	}
	entries, err := a.Messages.Since(uid, after, int(min(max(limit, 1), maxMessages)))
	if err != nil && len(entries) == 0 {
		return err
	}
	list := []message{}
	for _, e := range entries {
		m := message{Seq: e.Seq, ID: e.ID, From: e.From, At: e.At, Type: e.Kind, Verified: e.Verified}
		if json.Valid(e.Body) {
			m.Body = e.Body
		} else {
			m.Raw = e.Body
		}
		list, after = append(list, m), e.Seq
	}
	writeJSON(w, http.StatusOK, map[string]any{"uid": uid, "messages": list, "after": after})
	return nil
}

// whole reads a number, or what holds if there is none.
func whole(s string, none uint64) (uint64, error) {
	if s == "" {
		return none, nil
	}
	return strconv.ParseUint(s, 10, 64)
}

// uid finds whose things the path means. A conference that is over has left its things under its uid, and a token that
// names it, or any host's that names none, gets at them.
func (a *api) uid(r *http.Request, who *token.Claims, right conference.Right) (string, error) {
	if !who.Has(right) {
		return "", forbidden("this token does not give the right: " + string(right))
	}
	v, err := a.find(r, who)
	if err == nil {
		return v.UID, nil
	}
	conf := r.PathValue("conf")
	over := errors.Is(err, ErrNoConference) && conf != "" && plain(conf)
	if over && (who.Conference == conf || who.Conference == "" && who.Role != token.Guest) {
		return conf, nil
	}
	return "", err
}
