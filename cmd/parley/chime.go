package main

import (
	"slices"
	"time"

	"parley/audio/tone"
	"parley/conference"
	"parley/mixer"
)

// chime is a short tone that all in the hall of a conference hear, and nobody else.
type chime struct {
	meeting *meeting
	port    mixer.PortID
	until   time.Time
}

// chimeTime is longer than any of the tones.
const chimeTime = 600 * time.Millisecond

// chime plays a brief tone to the hall.
func (t *tapes) chime(r *meeting, k tone.Kind) {
	h := t.house
	player := &tone.Player{}
	player.Play(k)
	h.ports++
	c := &chime{meeting: r, port: h.ports, until: h.now().Add(chimeTime)}
	h.mixer.Add(mixer.Port{ID: c.port, Source: player, Ungated: true})
	t.chimes = append(t.chimes, c)
	h.moved = true
}

// look ends the chimes that are over.
func (t *tapes) look() {
	if t == nil || len(t.chimes) == 0 {
		return
	}
	t.chimes = slices.DeleteFunc(t.chimes, func(c *chime) bool {
		over := !t.house.now().Before(c.until)
		if over {
			t.house.mixer.Remove(c.port)
			t.house.moved = true
		}
		return over
	})
}

// hear adds the chime to what each in the hall hears. Who hears the same goes on sharing one list.
func (c *chime) hear(matrix mixer.Hearing) {
	var to []*leg
	for _, l := range c.meeting.legs {
		if m, ok := c.meeting.Member(l.member); ok && m.Room == conference.Hall && m.Hears() {
			to = append(to, l)
		}
	}
	overlay(matrix, c.port, to)
}
