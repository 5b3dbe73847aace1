package main

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"time"

	"parley/conference"
	"parley/conference/create"
)

// request tells one create call from another, so that the same one twice makes one conference.
type request struct {
	By, ID string
	Digest [sha256.Size]byte
}

// What a conference is made with that the create call doesn't say.
const (
	floorKept   = 10 * time.Second // for a speaker who drops off
	emptyStands = time.Minute      // an immediate conference with nobody in it
	maxMade     = 200              // conferences that stand or are to come, beside those of the settings
)

// create makes the conference of a create call (C-1, C-2), and invites into others that stand already. by is who asks, and may
// what his token lets him do. The same request of the same caller gives the conference that it has made. The error is a
// *create.FieldError.
func (h *house) create(req create.Request, by conference.Actor, may []conference.Right) (*meeting, error) {
	asked := request{By: by.Name, ID: req.ID, Digest: req.Digest}
	for _, r := range h.meetings {
		if req.ID != "" && r.request.By == asked.By && r.request.ID == asked.ID {
			if r.request.Digest != asked.Digest && r.request.Digest != (request{}).Digest { // of one that a restart brought back it is not known
				return nil, &create.FieldError{Field: "requestId", Code: create.Reused, Want: "an id that was not used for another request"}
			}
			return r, nil
		}
	}
	if h.made() >= maxMade {
		return nil, &create.FieldError{Field: "conferList", Code: create.NoneFree, Want: fmt.Sprintf("%d conferences at a time at most", maxMade)}
	}
	number, err := h.number(req.Number)
	if err != nil {
		return nil, err
	}
	if err := h.elsewhere(req, by, may); err != nil {
		return nil, err
	}
	r := h.open(conference.Rules{
		Number: number, Theme: req.Theme, Memo: req.Memo, Kind: req.Kind, Creator: req.Creator, Start: req.Start, End: req.End,
		Max: req.Max, Speakers: req.Speakers, Early: h.cfg.Meetings.Lobby, Warn: h.cfg.Meetings.Warning, Grace: floorKept,
		HostGone: conference.HostRule(h.cfg.Meetings.HostGone), Idle: emptyStands,
	})
	r.moderator, r.user, r.request = req.Moderator, req.User, asked
	h.promise(r)
	for _, d := range h.doors {
		d.opened(r)
	}
	host := conference.Member{Number: req.Creator, Role: conference.Chair}
	for i := range req.Invited {
		if m := req.Invited[i].Member(h.now(), by); m.Number == host.Number {
			m.Role, host = conference.Chair, m
		}
	}
	for _, m := range append([]conference.Member{host}, h.guests(req, by)...) {
		m.ID = h.nextID()
		if err := h.do(r, conference.Command{Do: conference.Invite, Member: m, By: conference.Actor{Role: conference.BySystem, Name: by.Name}}); err != nil {
			h.end(r, "could not be made")
			return nil, &create.FieldError{Field: "membersList", Code: create.OutOfRange, Want: fmt.Sprintf("members that the conference takes: %v", err)}
		}
	}
	return r, nil
}

// made is how many conferences there are that somebody has made.
func (h *house) made() (n int) {
	for _, r := range h.meetings {
		if r.kind == conference.Immediate || r.kind == conference.Appointment {
			n++
		}
	}
	return n
}

// guests are those invited beside the host.
func (h *house) guests(req create.Request, by conference.Actor) (list []conference.Member) {
	for i := range req.Invited {
		if m := req.Invited[i].Member(h.now(), by); m.Number != req.Creator {
			list = append(list, m)
		}
	}
	return list
}

// number is the one asked for if it is free, else the first free one.
func (h *house) number(wanted string) (string, error) {
	if wanted != "" {
		if !h.free(wanted) {
			return "", &create.FieldError{Field: "conferList.confName", Code: create.Taken, Want: "a number that is not taken, or 0 to have one chosen"}
		}
		return wanted, nil
	}
	for n := create.FirstNumber; n <= create.LastNumber; n++ {
		if s := strconv.Itoa(n); h.free(s) {
			return s, nil
		}
	}
	return "", &create.FieldError{Field: "conferList.confName", Code: create.NoneFree, Want: "fewer conferences at a time"}
}

func (h *house) free(number string) bool {
	return h.find(number) == nil && number != h.cfg.Place.Number && number != h.cfg.Place.Join
}

// elsewhere invites those members of a create call who are meant for conferences that stand already: all or nobody.
func (h *house) elsewhere(req create.Request, by conference.Actor, may []conference.Right) error {
	for _, i := range req.Elsewhere {
		if h.find(i.Conference) == nil {
			return &create.FieldError{Field: i.Field, Code: create.NoConference, Want: "a conference that stands, or 0"}
		}
	}
	for _, i := range req.Elsewhere {
		m := i.Member(h.now(), by)
		m.ID = h.nextID()
		r := h.find(i.Conference)
		if err := h.do(r, conference.Command{Do: conference.Invite, Member: m, By: r.actor(by), May: may}); err != nil {
			return &create.FieldError{Field: i.Field, Code: create.Denied, Want: err.Error()}
		}
	}
	return nil
}

// actor is by with the line in this conference's roster that belongs to his number: one that is in before one that is not, his own
// before one of XXX:YYY, and never one of somebody who has to prove yet that the number is his.
func (r *meeting) actor(by conference.Actor) conference.Actor {
	if by.Member != "" || by.Name == "" {
		return by
	}
	best := 0
	for _, m := range r.Snapshot().Members {
		rank := 0
		switch {
		case m.Proving:
		case m.Number == by.Name:
			rank = 3
		case create.Bears(by.Name, m.Number):
			rank = 1
		}
		if rank > 0 && m.In() {
			rank++
		}
		if rank > best {
			best, by.Member = rank, m.ID
		}
	}
	return by
}
