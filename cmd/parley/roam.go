package main

import (
	"errors"
	"slices"
	"time"

	"parley/audio"
	"parley/conference"
	"parley/mixer"
	"parley/sip"
)

// Roaming (C-8): a member goes from one terminal to another without leaving. The new leg is called and seated beside the old
// one; once it is answered it hears the conference, and as soon as sound comes from it the two are cross-faded over fadeTime and the
// old one is let go. The roster has one line throughout.

// fadeTime is how long the old terminal and the new one overlap.
const fadeTime = 60 * time.Millisecond

// firstSound is how long the old terminal goes on if nothing is heard of the new one.
const firstSound = time.Second

// errRoams: a member goes to one terminal at a time, or one person could take every line.
var errRoams = errors.New("is being called at another terminal already")

// roam calls a member at another number, or has the room ring if that is its own. The leg is nil for the room.
func (h *house) roam(r *meeting, member, number string) (*leg, error) {
	if number == h.cfg.Place.Number {
		if at := r.leg(member); at == nil || at.call != nil { // else he is in the room already
			h.place.invited(r, member)
		}
		return nil, nil
	}
	for _, l := range r.legs {
		if l.member == member && l.roams {
			return nil, errRoams
		}
	}
	c, err := h.phone.Dial(sip.Dial{To: number, From: r.Number(), Name: r.theme(), Focus: true, Headers: h.announce(r, conference.Member{Number: number})})
	if err != nil {
		return nil, err
	}
	l := &leg{id: h.nextID(), call: c, roams: true}
	h.legs[c] = l
	h.seat(r, l, member)
	return l, nil
}

// replaces seats a call that was made to take another's place (RFC 3891), if it is the same person's: the place of who has proved who he
// is goes to nobody who only says so.
func (h *house) replaces(l *leg, old *leg) {
	var m conference.Member
	if old != nil && old.meeting != nil {
		m, _ = old.meeting.Member(old.member)
	}
	only := old != nil && old.call != nil && proved(old.call) != "" && proved(l.call) == ""
	if only || m.Number == "" || m.Number != memberOf(l.call, "").Number {
		l.call.Reject(403, "Not your call")
		return
	}
	l.roams = true
	h.seat(old.meeting, l, old.member)
	l.call.SetFocus(!m.Proving)
	l.call.Answer()
}

// arrived is told that a roaming member's new terminal is in: the conference learns what it is. The old one goes on until the new
// one is heard.
func (h *house) arrived(l *leg) {
	r := l.meeting
	l.roams = false
	now := conference.Member{}
	if l.call == nil {
		now.Place, now.Mute = true, h.place.mute
	}
	h.do(r, conference.Command{Do: conference.Roam, ID: l.member, Member: now})
	for _, old := range r.legs {
		if old.member == l.member && old != l {
			old.gone = h.now().Add(firstSound)
		}
	}
	media := media(l)
	if media == nil { // the card is always there
		h.heardFrom(l)
		return
	}
	first := make(chan struct{})
	h.mixer.Add(mixer.Port{ID: l.port, Source: h.tapes.source(l, &fade{source: h.tapes.source(l, media), first: first}), Packets: media})
	go func() {
		late := time.NewTimer(firstSound)
		defer late.Stop()
		select {
		case <-first:
			h.post(func() { h.heardFrom(l) })
		case <-late.C:
		case <-h.done:
		}
	}()
}

// heardFrom is told that sound comes from a roaming member's new terminal: the old one dies away.
func (h *house) heardFrom(l *leg) {
	if l.meeting == nil {
		return
	}
	for _, old := range slices.Clone(l.meeting.legs) {
		if old.member != l.member || old == l || old.gone.IsZero() {
			continue
		}
		if media := media(old); media != nil {
			h.mixer.Add(mixer.Port{ID: old.port, Source: &fade{source: h.tapes.source(old, media), out: true}, Packets: media})
			old.gone = h.now().Add(fadeTime)
		} else {
			h.goes(old)
		}
	}
}

// goes lets a terminal go whose member has arrived at another one.
func (h *house) goes(l *leg) {
	l.gone = time.Time{}
	h.release(l, "went to another terminal")
}

// faded lets go the terminals whose member has arrived at another one.
func (h *house) faded() {
	for _, r := range h.meetings {
		for _, l := range append([]*leg(nil), r.legs...) {
			if !l.gone.IsZero() && !h.now().Before(l.gone) {
				h.goes(l)
			}
		}
	}
}

// others is what a terminal hears of list: not its member's other one.
func others(list []mixer.PortID, port mixer.PortID, own []mixer.PortID) []mixer.PortID {
	if len(own) == 1 {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(p mixer.PortID) bool { return p != port && slices.Contains(own, p) })
}

// media is a call's leg in the sound; nil: it has none, or is the room's card.
func media(l *leg) interface {
	mixer.Source
	mixer.PacketSink
} {
	if l.call == nil || l.port == 0 {
		return nil
	}
	if m := l.call.Leg(); m != nil {
		return m
	}
	return nil
}

// fade lets a source grow out of its first sound, or die away, over fadeTime. It belongs to the mixer's goroutine.
type fade struct {
	source mixer.Source
	first  chan<- struct{} // is closed at the first sound; only if it grows
	out    bool            // dies away
	frames int             // that have passed since it began
}

// ReadFrame implements mixer.Source.
func (f *fade) ReadFrame(rate int, frame *audio.Frame) audio.Status {
	status := f.source.ReadFrame(rate, frame)
	const length = int(fadeTime / (10 * time.Millisecond))
	sound := status == audio.Active || status == audio.Late
	switch {
	case status == audio.Gone:
		return status
	case f.frames >= length && f.out:
		return audio.Silent
	case f.frames >= length:
		return status
	case !f.out && f.frames == 0 && status != audio.Active:
		return audio.Silent
	case !f.out && f.frames == 0:
		close(f.first)
	}
	if sound {
		n := rate / 100
		for i := range frame[:n] {
			gain := float32(f.frames*n+i) / float32(length*n)
			if f.out {
				gain = 1 - gain
			}
			frame[i] = int16(float32(frame[i]) * gain)
		}
	}
	f.frames++
	return status
}
