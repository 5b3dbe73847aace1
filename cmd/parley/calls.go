package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"parley/conference"
	"parley/sip"
	"parley/sip/route"
)

// Incoming is told of a call that was admitted, and decides where it belongs. It is the house's half of sip.Handler.
func (h *house) Incoming(c *sip.Call) { h.post(func() { h.incoming(c) }) }

// Event is told what becomes of a call.
func (h *house) Event(c *sip.Call, e sip.Event) { h.post(func() { h.event(c, e) }) }

func (h *house) incoming(c *sip.Call) {
	l := &leg{id: h.nextID(), call: c}
	h.legs[c] = l
	if old := c.Replaces(); old != nil {
		h.replaces(l, h.legs[old])
		return
	}
	if r := h.find(c.Number()); r != nil {
		h.admit(r, l)
		return
	}
	if c.Number() == h.cfg.Place.Number {
		h.place.called(l)
		return
	}
	h.connect(l)
}

// admit answers a call into a conference, or into its lobby.
func (h *house) admit(r *meeting, l *leg) {
	m := r.comer(memberOf(l.call, conference.Alerting), proved(l.call) != "")
	if err := h.enter(r, l, m); err != nil {
		l.call.Reject(refusal(err))
		return
	}
	l.call.SetFocus(m.Room != conference.Lobby) // who has to prove himself learns nothing of the conference
	l.call.Answer()
}

// connect places a call for somebody who dialled a phone or an outside number, and brings the two together once it is
// answered.
func (h *house) connect(from *leg) {
	r := h.pair()
	if err := h.enter(r, from, memberOf(from.call, conference.Alerting)); err != nil {
		from.call.Reject(500, "")
		return
	}
	to, err := h.dial(r, sip.Dial{To: from.call.Number(), From: from.call.From(), Name: from.call.Name(), Early: true})
	if err != nil {
		from.call.Reject(codeOf(err), "")
		h.leave(from, err.Error())
		return
	}
	to.caller = from
}

// dial calls a number and has it in the roster of r while it rings.
func (h *house) dial(r *meeting, d sip.Dial) (*leg, error) {
	c, err := h.phone.Dial(d)
	if err != nil {
		return nil, err
	}
	l := &leg{id: h.nextID(), call: c}
	h.legs[c] = l
	m := memberOf(c, conference.DialingOut)
	m.Number, m.Name = d.To, ""
	if err := h.enter(r, l, m); err != nil {
		c.Hangup(err.Error())
		return nil, err
	}
	return l, nil
}

// codeOf is the answer to a caller whose call cannot be placed.
func codeOf(err error) int {
	switch {
	case errors.Is(err, route.ErrDenied):
		return 403
	case errors.Is(err, sip.ErrBusy):
		return 486
	}
	return 404
}

// memberOf is how a call stands in the roster: by the name that it proved, where it proved one, else by what it says.
func memberOf(c *sip.Call, s conference.State) conference.Member {
	return conference.Member{Number: cmp.Or(proved(c), c.From()), Name: c.Name(), State: s}
}

// proved is the name that a caller has proved to bear; empty: none. Of a PBX it is not that of who calls through it.
func proved(c *sip.Call) string {
	if i := c.Info(); !i.Many {
		return i.User
	}
	return ""
}

// peer is the number at the far end of a call.
func peer(c *sip.Call) string {
	if c.Direction() == sip.Out {
		return c.Number()
	}
	return c.From()
}

func (h *house) event(c *sip.Call, e sip.Event) {
	l := h.legs[c]
	if l == nil {
		return
	}
	if on, ok := callEvents[e.Kind]; ok {
		on(h, l, e)
	}
}

// callEvents says what each event of a call does in the house.
var callEvents = map[sip.EventKind]func(*house, *leg, sip.Event){
	sip.Ringing:       (*house).ringing,
	sip.EarlyMedia:    (*house).earlyMedia,
	sip.Answered:      (*house).answered,
	sip.MediaChanged:  func(h *house, l *leg, _ sip.Event) { h.plug(l) },
	sip.DialogChanged: func(h *house, l *leg, _ sip.Event) { h.keep.markLeg(l) },
	sip.Held:          func(h *house, l *leg, _ sip.Event) { h.move(l, conference.OnHold) },
	sip.Resumed:       func(h *house, l *leg, _ sip.Event) { h.move(l, conference.Connected) },
	sip.Referred:      (*house).referred,
	sip.DTMF:          (*house).digit,
	sip.MediaLost:     func(h *house, l *leg, _ sip.Event) { h.silent(l, true) },
	sip.MediaBack:     func(h *house, l *leg, _ sip.Event) { h.silent(l, false) },
	sip.Ended:         (*house).ended,
}

func (h *house) move(l *leg, s conference.State) {
	if l.meeting != nil && !l.roams && l.gone.IsZero() { // else the member's state is that of another leg
		h.do(l.meeting, conference.Command{Do: conference.Move, ID: l.member, State: s})
	}
}

func (h *house) ringing(l *leg, _ sip.Event) {
	h.move(l, conference.Alerting)
	if l.caller != nil {
		l.caller.call.Ring()
	}
	h.place.heard(l, sip.Event{Kind: sip.Ringing})
}

// earlyMedia lets whoever waits for the answer hear what comes before it.
func (h *house) earlyMedia(l *leg, e sip.Event) {
	l.early = true
	h.plug(l)
	if l.caller != nil {
		l.caller.call.Progress()
	}
	h.place.heard(l, e)
}

// digit passes a key on in a call of two: behind the box may be somebody's answering machine. In a conference it is for the lobby or
// the menu. Which key it was is not logged: it may be part of a password.
func (h *house) digit(l *leg, e sip.Event) {
	h.log.Info("key pressed", "member", l.id, "number", peer(l.call))
	if l.meeting != nil && l.meeting.kind != conference.Pair {
		h.lobby.digit(l, e.Digit)
		return
	}
	if l.meeting == nil || len(l.meeting.legs) != 2 {
		return
	}
	for _, o := range l.meeting.legs {
		if o != l && o.call != nil {
			o.call.SendDTMF(string(e.Digit), max(e.Duration, digitLength))
		}
	}
}

// digitLength is how long a digit is at least that is passed on: it is known when it begins, not when it ends.
const digitLength = 100 * time.Millisecond

// silent raises an alert about a caller of whom nothing arrives, or takes it back.
func (h *house) silent(l *leg, on bool) {
	h.fault("sound-"+l.id, on, "no sound arrives from "+peer(l.call))
}

func (h *house) answered(l *leg, e sip.Event) {
	if l.meeting == nil { // whoever it was for has gone meanwhile
		l.call.Hangup("nobody waits")
		return
	}
	l.early, l.back = false, false
	h.keep.markLeg(l)
	h.plug(l)
	if l.roams {
		h.arrived(l)
	}
	h.move(l, conference.Connected)
	if l.caller != nil {
		l.caller.call.Answer()
		l.caller = nil
	}
	l.settle(e)
	h.place.heard(l, e)
}

func (l *leg) settle(e sip.Event) {
	if l.settled != nil {
		l.settled(e)
		l.settled = nil
	}
}

// mayAdd tells whether a member may have others called by his telephone alone: nobody who has to prove himself, and past the passwords
// of a conference nobody but its hosts brings anybody in.
func (r *meeting) mayAdd(member string) bool {
	m, ok := r.Member(member)
	return ok && !m.Proving && (!r.secret() || m.Role == conference.Chair)
}

// referred dials whom a member asked to have added, and tells the member how that comes out. The agent asked us before
// whether it may.
func (h *house) referred(l *leg, e sip.Event) {
	if l.meeting == nil {
		e.Refer.Progress(480, "")
		return
	}
	if !l.meeting.mayAdd(l.member) {
		e.Refer.Progress(403, "")
		return
	}
	if !e.Refer.Here { // past the routes a caller could make the box call anywhere (X-7a)
		e.Refer.Progress(403, "")
		return
	}
	added, err := h.dial(l.meeting, sip.Dial{To: e.Refer.Number, From: h.cfg.Place.Number})
	if err != nil {
		h.log.Info("could not add whom a caller asked for", "by", l.id, "error", err)
		e.Refer.Progress(codeOf(err), "")
		return
	}
	added.settled = func(out sip.Event) {
		if out.Kind == sip.Answered {
			e.Refer.Progress(200, "")
		} else {
			e.Refer.Progress(rejection(out.Code), "")
		}
	}
}

func (h *house) ended(l *leg, e sip.Event) {
	if h.gone != nil {
		h.gone(l, e)
	}
	delete(h.legs, l.call)
	h.keep.markLeg(l)
	if media := l.call.Leg(); media != nil {
		s := media.Stats()
		addCounts(&h.past, &s)
	}
	h.silent(l, false)
	h.unplug(l)
	if l.caller != nil {
		l.caller.call.Reject(rejection(e.Code), "")
	}
	l.settle(e)
	h.place.heard(l, e)
	h.goodbye(l, e)
	h.depart(l, e)
	h.place.changed() // it is no call any more, in whatever conference it was
}

// goodbye gives up the floor of who hangs up: only who drops off has it kept (C-16).
func (h *house) goodbye(l *leg, e sip.Event) {
	if l.meeting == nil || e.By != sip.Remote || e.Code != 200 || l.meeting.leg(l.member) != l {
		return
	}
	if m, ok := l.meeting.Member(l.member); ok && m.Floor != conference.FloorNone {
		h.do(l.meeting, conference.Command{Do: conference.YieldFloor, ID: l.member, By: conference.Actor{Role: conference.BySystem}})
	}
}

// rejection is the code with which a caller is refused whose call somebody else refused with code.
func rejection(code int) int {
	if code < 400 || code == 401 || code == 407 {
		return 480
	}
	return code
}

// why says in words for the roster how a call ended.
func why(e sip.Event) string {
	switch {
	case e.Code == 200 && e.By == sip.Remote:
		return "hung up"
	case e.Code == 200:
		return "released"
	case e.Reason != "":
		return fmt.Sprintf("%d %s", e.Code, e.Reason)
	}
	return fmt.Sprint(e.Code)
}
