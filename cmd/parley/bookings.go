package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"time"

	"parley/conference"
	"parley/mqtt"
	"parley/mqtt/wire"
)

// bookings are what the join key enters before anything else: conferences of this box that the place is a member of, and a
// signed list from outside, which is kept across restarts.
//
//	bookings topic, file → Run: signed by a known key? newer? → file → house
type bookings struct {
	house *house
	data  *data
	box   wire.Box
	keys  wire.KeySet
	in    chan []byte

	// What follows belongs to the house's goroutine.
	list   wire.Bookings
	open   bool // something is booked now
	looked time.Time
}

// bookingsFile is in the data folder: the newest list, in its envelope.
const bookingsFile = "bookings"

// fewLists is how many lists may wait to be looked at. The topic is retained: what is lost comes again.
const fewLists = 8

func newBookings(h *house, d *data, box wire.Box, keys wire.KeySet) *bookings {
	return &bookings{house: h, data: d, box: box, keys: keys, in: make(chan []byte, fewLists)}
}

// receive is called by the client for what is on the topic. An empty message changes nothing.
func (b *bookings) receive(m mqtt.Message) {
	if len(m.Payload) == 0 {
		return
	}
	select {
	case b.in <- bytes.Clone(m.Payload):
	default:
	}
}

// Run takes the lists, the one on the disk first.
func (b *bookings) Run(ctx context.Context) error {
	known := uint64(0)
	take := func(envelope []byte) bool {
		list, err := wire.OpenBookings(b.box, envelope, b.keys, known)
		if errors.Is(err, wire.ErrStale) {
			return false
		}
		if err != nil {
			b.house.log.Warn("bookings are not taken", "error", err)
			return false
		}
		known = list.Version
		b.house.log.Info("bookings", "version", list.Version, "count", len(list.Bookings))
		b.house.post(func() { b.list, b.looked = list, time.Time{} })
		return true
	}
	if kept, err := os.ReadFile(b.data.path(bookingsFile)); err == nil {
		take(kept)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case envelope := <-b.in:
			if !take(envelope) {
				continue
			}
			if err := b.data.write(bookingsFile, string(envelope)); err != nil {
				b.house.log.Warn("bookings will be forgotten at the next start", "error", err)
			}
		}
	}
}

// lookPause is how often it is looked whether something is booked now.
const lookPause = time.Second

// look tells the room when there is something to join.
func (b *bookings) look() {
	if b == nil {
		return
	}
	now := b.house.now()
	if now.Sub(b.looked) < lookPause {
		return
	}
	b.looked = now
	if open := b.now() != ""; open != b.open {
		b.open = open
		b.house.place.changed()
	}
}

// now is the number to call for what is booked now, from some minutes before its start to its end; empty: nothing is. Of several
// it is what began last, since an earlier one may be over before its end.
func (b *bookings) now() string {
	if b == nil {
		return ""
	}
	now, early := b.house.now(), b.house.cfg.Meetings.Lobby
	list := wire.Bookings{Bookings: append(b.own(now, early), b.list.Bookings...)}
	k, _ := list.Now(now, early)
	return cmp.Or(k.Dial, k.Conf)
}

// own are the conferences of this box that are on, or soon, and that the place is expected in.
func (b *bookings) own(now time.Time, early time.Duration) (list []wire.Booking) {
	for _, r := range b.house.meetings {
		c := r.Rules()
		if c.Kind != conference.Appointment || now.Before(c.Start.Add(-early)) || !now.Before(c.End) {
			continue
		}
		for _, m := range r.Snapshot().Members {
			if m.Invited && m.Number == b.house.cfg.Place.Number && m.Number != "" {
				list = append(list, wire.Booking{Conf: c.Number, Start: c.Start, End: c.End})
			}
		}
	}
	return list
}

// wanted is what the join key calls.
func (p *place) wanted() string { return cmp.Or(p.house.bookings.now(), p.house.cfg.Place.Join) }

// keyFloor asks for the floor of a queued conference when the key opens the microphone, and gives it up, or the place in the queue,
// when it closes it.
func (p *place) keyFloor(closed bool) {
	r := p.leg.meeting
	if r == nil {
		return
	}
	if rules := r.Rules(); !rules.Queued() {
		return
	}
	m, _ := r.Member(p.leg.member)
	do := conference.AskFloor
	if closed {
		do = conference.YieldFloor
	}
	if has := m.Floor != conference.FloorNone; has == closed {
		p.house.do(r, conference.Command{Do: do, ID: p.leg.member, By: conference.Actor{Role: conference.ByKey, Member: p.leg.member}})
	}
}
