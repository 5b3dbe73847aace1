package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"parley/conference"
	"parley/sip"
	"parley/sip/registrar"
)

// What a start finds in the journal, and what becomes of it:
//
//	make    conferences are there again, as they were
//	resume  nobody is asked yet: answered calls are taken up in their dialogs, the place sits down muted, who is lost leaves
//	wake    the agent listens: time goes on, and whom conferences had called and lost is called once more
//
// Calls are taken up if the box was alive less than takeUp ago. Later their far ends get BYE, and immediate conferences end.
// After a stop in order there are no calls.

// takeUp is how long after a crash people may still be there.
const takeUp = time.Minute

// Leaps keep numbers that were given out and not written down from being given out again.
const (
	seqLeap    = 1_000_000 // of a conference's events; who follows them sees a gap and asks for the snapshot
	legLeap    = 1_000
	dialogLeap = 100 // of CSeq, as often as a call is taken up
)

// Why somebody has left, or a conference is over, whom a crash has caught.
const (
	whyLost   = "lost in a restart"
	whyClosed = "closed after a failure"
	whyStop   = "the box stops"
)

// past is what the last run has left in the journal.
type past struct {
	fault    error // it cannot be read
	life     keptLife
	meetings []keptMeeting
	dialogs  map[string]keptDialog // by leg
	seat     *keptSeat             // the place's
	phones   map[string][]registrar.Binding
	unread   []string // keys that make no sense

	again []func() // calls to place once the agent listens
}

// reviver takes up calls of a run before; *sip.Agent is it.
type reviver interface {
	Restore(sip.Dialog) (*sip.Call, error)
	Bye(sip.Dialog) error
}

func readPast(values map[string][]byte, log *slog.Logger) *past {
	p := &past{dialogs: map[string]keptDialog{}, phones: map[string][]registrar.Binding{}}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if err := p.read(key, values[key]); err != nil {
			log.Warn("something in the journal cannot be read", "key", key, "error", err)
			p.unread = append(p.unread, key)
		}
	}
	return p
}

func (p *past) read(key string, value []byte) error {
	switch {
	case key == aliveKey:
		return json.Unmarshal(value, &p.life)
	case key == placeKey:
		return json.Unmarshal(value, &p.seat)
	case strings.HasPrefix(key, phoneKey):
		var list []registrar.Binding
		err := json.Unmarshal(value, &list)
		p.phones[key[len(phoneKey):]] = list
		return err
	case strings.HasPrefix(key, dialogKey):
		var d keptDialog
		err := json.Unmarshal(value, &d)
		if err == nil {
			p.dialogs[key[len(dialogKey):]] = d
		}
		return err
	case strings.HasPrefix(key, confKey):
		var m keptMeeting
		if err := json.Unmarshal(value, &m); err != nil {
			return err
		}
		if m.Version != keptVersion || m.At.UID != key[len(confKey):] || m.At.Phase == conference.Over {
			return fmt.Errorf("version %d, uid %.40q, phase %.40q", m.Version, m.At.UID, m.At.Phase)
		}
		p.meetings = append(p.meetings, m)
		return nil
	}
	return fmt.Errorf("no such key")
}

// register brings the phones of the branch back, so that they can be called before they register again.
func (p *past) register(phones *registrar.Registrar, now time.Time) {
	for user, bindings := range p.phones {
		phones.Restore(now, user, bindings)
	}
}

// fresh tells whether the box was alive just now, and did not stop in order.
func (p *past) fresh(now time.Time) bool {
	age := now.Sub(p.life.At)
	return !p.life.Clean && age >= 0 && age <= takeUp
}

// restore brings the conferences back that the last run has left. It is part of making the house.
func (h *house) restore(p *past) {
	h.before, h.asleep = p, true
	h.counter = max(h.counter, p.life.Counter)
	if !p.life.Clean && !p.life.At.IsZero() {
		h.counter += legLeap
	}
	for _, k := range p.meetings {
		if err := h.bringBack(k); err != nil {
			h.log.Warn("a conference does not come back", "number", k.At.Number, "uid", k.At.UID, "error", err)
			p.unread = append(p.unread, confKey+k.At.UID)
		}
	}
	for _, r := range h.meetings {
		h.keep.mark(r)
	}
	for _, key := range p.unread {
		h.keep.hand(key, nil, nil)
	}
}

// bringBack makes a conference of what was kept of it. A standing one is in the settings, which have the last word on its rules.
func (h *house) bringBack(k keptMeeting) error {
	at, old := k.At, h.find(k.At.Number)
	if at.Kind == conference.Standing {
		if old == nil || old.kind != conference.Standing {
			return fmt.Errorf("it is not in the settings any more")
		}
		now := old.Rules()
		now.UID = at.UID
		at.Rules = now
	} else if old != nil || at.Number != "" && !h.free(at.Number) {
		return fmt.Errorf("its number is taken")
	}
	if !h.before.life.Clean {
		at.Seq += seqLeap
	}
	for i := range at.Members {
		hush(&at.Members[i], h.before.life.At)
	}
	r := old
	if r == nil {
		r = &meeting{kind: at.Kind}
		h.meetings = append(h.meetings, r)
	}
	r.Conference = conference.Restore(at)
	r.moderator, r.user, r.request = k.Moderator, k.User, request{By: k.By, ID: k.Request}
	return nil
}

// hush has somebody stop talking when the box was last seen alive.
func hush(m *conference.Member, at time.Time) {
	if m.Talks {
		m.Talks = false
		m.Spoken += max(0, at.Sub(m.SpokeAt))
	}
	m.SpokeAt = time.Time{}
}

// resume takes up what can be, before the agent listens. noted is called once a further crash would find it so.
func (h *house) resume(agent reviver, noted func(durable bool)) {
	p := h.before
	if p.fault != nil {
		h.fault("journal", true, "nothing that is decided now outlives a power cut: "+p.fault.Error())
	}
	for _, r := range h.meetings {
		for _, d := range h.doors {
			d.opened(r)
		}
	}
	fresh := p.fresh(h.now())
	for _, id := range p.latestFirst() {
		h.takeUp(agent, id, p.dialogs[id], fresh)
	}
	if p.seat != nil {
		h.keep.markLeg(h.place.leg)
		if r := h.known(p.seat.UID); r != nil && fresh {
			h.place.rejoin(r, p.seat.Member)
		}
	}
	for _, r := range slices.Clone(h.meetings) {
		h.clear(r, fresh)
	}
	if len(p.dialogs) == 0 || len(h.meetings) == 0 {
		noted(true)
		return
	}
	h.kept(h.meetings[0], noted)
}

// latestFirst lists the calls, those first that were answered last: of two of one member, who was going from one
// terminal to the other, the new one counts.
func (p *past) latestFirst() []string {
	return slices.SortedFunc(maps.Keys(p.dialogs), func(a, b string) int {
		return p.dialogs[b].Dialog.Answered.Compare(p.dialogs[a].Dialog.Answered)
	})
}

// takeUp takes a call up and seats it where it was, or has its far end told that it is over.
func (h *house) takeUp(agent reviver, id string, d keptDialog, fresh bool) {
	d.Dialog.LocalSeq += dialogLeap
	r := h.known(d.UID)
	if fresh && r != nil && r.leg(d.Member) == nil {
		if m, ok := r.Member(d.Member); ok && m.In() {
			c, err := agent.Restore(d.Dialog)
			if err == nil {
				l := &leg{id: id, call: c, kept: true, back: true}
				h.legs[c] = l
				h.seat(r, l, d.Member)
				return
			}
			h.log.Warn("a call cannot be taken up", "member", d.Member, "error", err)
		}
	}
	h.keep.hand(dialogKey+id, nil, nil)
	if err := agent.Bye(d.Dialog); err != nil {
		h.log.Warn("the far end of an old call cannot be told", "call", id, "error", err)
	}
}

// clear brings a conference up to what has become of its members' calls.
func (h *house) clear(r *meeting, fresh bool) {
	why := whyLost
	if !fresh {
		why = whyClosed
	}
	switch {
	case r.kind == conference.Pair && len(r.legs) < 2:
		h.end(r, why)
		return
	case r.kind == conference.Immediate && !fresh:
		h.do(r, conference.Command{Do: conference.End, Why: why, By: conference.Actor{Role: conference.BySystem}})
		return
	}
	for _, m := range r.Snapshot().Members {
		if m.State != conference.Pending && m.State != conference.Disconnected && r.leg(m.ID) == nil {
			h.do(r, conference.Command{Do: conference.Remove, ID: m.ID, Why: why})
			if outgoing := h.before.outgoing(r.UID(), m.ID); fresh {
				h.before.again = append(h.before.again, func() { h.again(r, m, outgoing) })
			}
		}
	}
}

// outgoing tells whether the box had placed a call to that member, and it was answered.
func (p *past) outgoing(uid, member string) bool {
	for _, d := range p.dialogs {
		if d.keptSeat == (keptSeat{uid, member}) && d.Dialog.Outgoing {
			return true
		}
	}
	return false
}

// wake lets time go on, now that calls can be placed.
func (h *house) wake() {
	h.asleep = false
	for _, r := range h.meetings {
		h.tapes.restored(r)
	}
	for _, call := range h.before.again {
		call()
	}
	h.before = nil
}

// again calls a member whom a restart has lost, once, if the conference had called him. Who had called in is for himself to call.
func (h *house) again(r *meeting, m conference.Member, outgoing bool) {
	if r.kind == conference.Pair || h.known(r.UID()) == nil || r.leg(m.ID) != nil || m.Number == "" || !m.Invited && !outgoing {
		return
	}
	h.do(r, conference.Command{
		Do: conference.Invite, By: conference.Actor{Role: conference.BySystem},
		Member: conference.Member{ID: m.ID, Number: m.Number, Name: m.Name, Role: m.Role},
	})
}

// depart takes a leg out of its conference whose call has ended. If it was one that could not be taken up after a restart, the
// member is called again.
func (h *house) depart(l *leg, e sip.Event) {
	r, hungUp := l.meeting, e.By == sip.Remote && e.Code == 200
	if r == nil || !l.back || hungUp {
		h.leave(l, why(e))
		return
	}
	m, _ := r.Member(l.member)
	h.log.Info("a call could not be taken up", "member", l.member, "why", why(e))
	h.leave(l, whyLost)
	h.again(r, m, l.call.Direction() == sip.Out)
}

// rejoin seats the place where it was before a crash. Whether somebody had closed the microphone the box still knows, and it
// opens for nobody but the key.
func (p *place) rejoin(r *meeting, member string) {
	m, ok := r.Member(member)
	if !ok || !m.In() || !m.Place {
		return
	}
	p.house.seat(r, p.leg, member)
	for _, mark := range m.Mute {
		if mark.Reason == conference.Hardware || mark.Reason == conference.Self {
			p.mute = append(without(p.mute, mark.Reason), mark)
		}
		if mark.Reason == conference.Hardware {
			p.gate.closeByKey()
		}
	}
	p.house.do(r, conference.Command{Do: conference.Mute, ID: member, Reason: conference.System, By: conference.Actor{Role: conference.BySystem}})
}

// close is the end in order, after every call has ended: the place leaves, and what does not outlast the box is over.
func (h *house) close() {
	h.place.withdraw(whyStop, func(invite) bool { return true })
	h.place.rest(whyStop)
	for _, r := range slices.Clone(h.meetings) {
		switch r.kind {
		case conference.Immediate:
			h.do(r, conference.Command{Do: conference.End, Why: whyStop, By: conference.Actor{Role: conference.BySystem}})
		case conference.Pair:
			h.end(r, whyStop)
		}
	}
	h.keep.clean = true
	h.keep.markLeg(h.place.leg)
}

// promise holds a new conference back until it is known whether it can be kept: nobody is called into one that is not.
func (h *house) promise(r *meeting) {
	r.promised = true
	h.kept(r, func(bool) { go h.post(func() { r.promised = false }) })
}

// resume takes up what the last run has left, and waits until a further crash would find that out: no CSeq is used twice.
func (b *box) resume() {
	noted := make(chan struct{})
	if b.house.ask(func() { b.house.resume(b.agent, func(bool) { close(noted) }) }) {
		<-noted
	}
}

// closing is a part of the box's life that stops after the calls and before the house.
func (b *box) closing(ctx context.Context) error {
	<-ctx.Done()
	b.house.ask(b.house.close)
	return nil
}
