package main

import (
	"time"

	"parley/audio"
	"parley/conference"
	"parley/mixer"
	"parley/sip"
)

// Roaming (C-8): a member goes from one terminal to another without leaving. The new leg is called and seated beside the old
// one; once it is answered both are in the mix for fadeTime, the one growing and the other dying away, and then the old one is let go.
// The roster has one line throughout.

// fadeTime is how long the old terminal and the new one overlap.
const fadeTime = 60 * time.Millisecond

// roam calls a member at another number, or has the room ring if that is its own. The leg is nil for the room.
func (h *house) roam(r *meeting, member, number string) (*leg, error) {
	if number == h.cfg.Place.Number {
		h.place.invited(r, member)
		return nil, nil
	}
	c, err := h.phone.Dial(sip.Dial{To: number, From: r.Number(), Name: r.theme(), Focus: true})
	if err != nil {
		return nil, err
	}
	l := &leg{id: h.nextID(), call: c, roams: true}
	h.legs[c] = l
	h.seat(r, l, member)
	return l, nil
}

// replaces seats a call that was made to take another's place (RFC 3891), if it is the same person's.
func (h *house) replaces(l *leg, old *leg) {
	if old == nil || old.meeting == nil || memberOf(old.call, "").Number != memberOf(l.call, "").Number {
		l.call.Reject(403, "Not your call")
		return
	}
	l.roams = true
	h.seat(old.meeting, l, old.member)
	l.call.SetFocus(true)
	l.call.Answer()
}

// arrived is told that a roaming member's new terminal is in: the conference learns what it is, and the old one fades.
func (h *house) arrived(l *leg) {
	r := l.meeting
	now := conference.Member{}
	if l.call == nil {
		now.Place, now.Mute = true, h.place.mute
	}
	h.do(r, conference.Command{Do: conference.Roam, ID: l.member, Member: now})
	for _, old := range r.legs {
		if old.member == l.member && old != l {
			old.gone = h.now().Add(fadeTime)
			if media := media(old); media != nil {
				h.mixer.Add(mixer.Port{ID: old.port, Source: &fade{source: media, out: true}, Packets: media})
			}
		}
	}
	l.roams = false
}

// faded lets go the terminals whose member has arrived at another one.
func (h *house) faded() {
	for _, r := range h.meetings {
		for _, l := range append([]*leg(nil), r.legs...) {
			if !l.gone.IsZero() && !h.now().Before(l.gone) {
				l.gone = time.Time{}
				h.release(l, "went to another terminal")
			}
		}
	}
}

// source is what the mixer reads of a leg: a roaming member's new terminal begins softly.
func (l *leg) source(m mixer.Source) mixer.Source {
	if l.roams {
		return &fade{source: m}
	}
	return m
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

// fade lets a source grow out of silence, or die away, over fadeTime. It belongs to the mixer's goroutine.
type fade struct {
	source mixer.Source
	out    bool // dies away
	frames int  // that have passed
}

// ReadFrame implements mixer.Source.
func (f *fade) ReadFrame(rate int, frame *audio.Frame) audio.Status {
	status := f.source.ReadFrame(rate, frame)
	const length = int(fadeTime / (10 * time.Millisecond))
	if f.frames >= length {
		if f.out && status != audio.Gone {
			return audio.Silent
		}
		return status
	}
	if status == audio.Active || status == audio.Late {
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
