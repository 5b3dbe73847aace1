package main

import (
	"crypto/rand"

	"parley/conference"
	"parley/sip"
)

// follow carries out what an event asks of the house, beside being told.
func (h *house) follow(r *meeting, e conference.Event) {
	h.tapes.follow(r, e)
	switch e.What {
	case conference.Call:
		h.callMember(r, e.Member)
	case conference.Transferred:
		h.transfer(r, e)
	case conference.Kicked:
		h.dismiss(r, e.Member.ID, e.Why)
	case conference.Left:
		if _, ok := r.Member(e.Member.ID); !ok {
			h.dismiss(r, e.Member.ID, e.Why)
		}
	case conference.Ended:
		h.end(r, e.Why)
	}
}

// callMember calls a member whom the conference wants (C-3, C-15): the room itself rings, everybody else is dialled. A notice
// goes ahead, with a token by which the member's own box knows the call (C-4).
func (h *house) callMember(r *meeting, m conference.Member) {
	if r.leg(m.ID) != nil {
		return
	}
	if m.Number == h.cfg.Place.Number {
		h.place.invited(r, m.ID)
		return
	}
	c, err := h.phone.Dial(sip.Dial{To: m.Number, From: r.Number(), Name: r.theme(), Focus: true, Headers: h.announce(r, m)})
	if err != nil {
		h.do(r, conference.Command{Do: conference.Remove, ID: m.ID, Why: err.Error()})
		return
	}
	l := &leg{id: h.nextID(), call: c, wanted: true}
	h.legs[c] = l
	h.seat(r, l, m.ID)
	h.do(r, conference.Command{Do: conference.Move, ID: m.ID, State: conference.DialingOut})
}

// announce tells a member that a call comes to his number, and gives the header by which his terminal knows it.
func (h *house) announce(r *meeting, m conference.Member) [][2]string {
	token := rand.Text()
	if h.summon != nil {
		h.summon(r, m, token)
	}
	return [][2]string{{joinHeader, token}}
}

// transfer calls the terminal that a member wants to change to. If nothing comes of it, he stays where he is.
func (h *house) transfer(r *meeting, e conference.Event) {
	if _, err := h.roam(r, e.Member.ID, e.Text); err != nil {
		h.log.Info("a member cannot go to another terminal", "member", e.Member.ID, "to", e.Text, "error", err)
	}
}

// joinHeader carries a join notice's token in the call that it announces.
const joinHeader = "X-Parley-Join"

// dismiss lets the legs of a member go who is not in the roster any more, and the room ring no more for him.
func (h *house) dismiss(r *meeting, member, why string) {
	h.place.withdraw(why, func(in invite) bool { return in.meeting == r && in.member == member })
	for l := r.leg(member); l != nil; l = r.leg(member) {
		h.release(l, why)
	}
}
