package main

import (
	"errors"

	"parley/conference"
	"parley/mqtt"
	"parley/mqtt/wire"
	"parley/sip"
	"parley/sip/route"
)

// commands carries out what is asked of the box over MQTT:
//
//	message → wire.Door (signed? for us? in time? new?) → house → answer on res/{verb}
type commands struct {
	door  *wire.Door
	house *house
	out   publisher
}

// publisher sends a message, now or when there is a broker again. It does not block.
type publisher interface {
	Publish(topic string, payload []byte, qos byte, retained bool) error
}

// receive is called by the client for every message on a command topic.
func (c *commands) receive(m mqtt.Message) {
	v := c.door.Receive(m.Topic, m.Payload, m.Retained)
	if v.Ignore {
		return
	}
	if !v.Fresh {
		c.answer(v.Topic, v.Answer)
		return
	}
	settle := func(a wire.Answer) {
		a.ID = v.Command.ID
		c.door.Settle(a)
		c.answer(v.Topic, a)
	}
	c.house.post(func() { orders[v.Command.Verb](c.house, v, settle) })
}

func (c *commands) answer(topic string, a wire.Answer) {
	if payload, err := wire.Encode(&a); err == nil {
		c.out.Publish(topic, payload, 1, false)
	}
}

type settle func(wire.Answer)

func (s settle) done() { s(wire.Answer{Status: wire.Done}) }

func (s settle) failed(err error) {
	s(wire.Answer{Status: wire.Failed, Reason: reasonOf(err), Detail: err.Error()})
}

func (s settle) rejected(reason, detail string) {
	s(wire.Answer{Status: wire.Rejected, Reason: reason, Detail: detail})
}

// orders says what each verb does. All of it runs on the house's goroutine.
var orders = map[wire.Verb]func(*house, wire.Verdict, settle){
	wire.VerbMute:   orderMute(true),
	wire.VerbUnmute: orderMute(false),
	wire.VerbJoin: func(h *house, _ wire.Verdict, s settle) {
		if h.place.leg.meeting != nil {
			s.rejected(wire.ReasonJoined, "")
			return
		}
		s.follow(h.place.join(h.place.wanted()))
	},
	wire.VerbLeave: func(h *house, _ wire.Verdict, s settle) {
		if h.place.leg.meeting == nil {
			s.rejected(wire.ReasonNotJoined, "")
			return
		}
		h.place.rest("left by command")
		s.done()
	},
	wire.VerbDial: func(h *house, v wire.Verdict, s settle) {
		s.follow(h.place.add(v.Command.Args.Number))
	},
	wire.VerbHangup:       orderHangup,
	wire.VerbFactoryReset: orderReset,
	wire.VerbSupport:      orderSupport,
}

// orderMute sets or clears the reason "self"; while the key holds the gate, a wish to open it is refused and told.
func orderMute(on bool) func(*house, wire.Verdict, settle) {
	return func(h *house, v wire.Verdict, s settle) {
		p, by, reason := h.place, conference.Actor{Role: conference.ByRemote, Name: v.KeyID}, conference.Self
		if !on && p.mute.Has(conference.Hardware) {
			reason = conference.Hardware
		} else if !on && p.mute.Has(conference.System) {
			reason = conference.System
		}
		err := p.setMute(reason, by, on)
		if errors.Is(err, conference.ErrLocalOnly) {
			s.rejected(wire.ReasonLocalOnly, map[conference.Reason]string{
				conference.Hardware: "closed in the room, and only the mute key opens it",
				conference.System:   "closed since the start, and only the mute key opens it",
			}[reason])
			return
		}
		s.follow(nil, err)
	}
}

func orderHangup(h *house, v wire.Verdict, s settle) {
	id := v.Command.Args.Call
	if id == "" {
		if h.place.leg.meeting == nil {
			s.rejected(wire.ReasonNotJoined, "")
			return
		}
		h.place.rest("hung up by command")
		s.done()
		return
	}
	for _, l := range h.legs {
		if l.id == id {
			h.release(l, "hung up by command")
			s.done()
			return
		}
	}
	s.rejected(wire.ReasonNoCall, "no call has the id "+id)
}

// follow answers once it is known what became of a call; without a call, at once.
func (s settle) follow(l *leg, err error) {
	switch {
	case err != nil:
		s.failed(err)
	case l == nil:
		s.done()
	default:
		s(wire.Answer{Status: wire.Accepted})
		l.settled = func(e sip.Event) {
			if e.Kind == sip.Answered {
				s.done()
				return
			}
			s(wire.Answer{Status: wire.Failed, Reason: reasonFor(e.Code), Detail: why(e)})
		}
	}
}

// reasonOf names for a machine why something was not done.
func reasonOf(err error) string {
	for sentinel, reason := range map[error]string{
		conference.ErrFull: wire.ReasonFull, conference.ErrLocalOnly: wire.ReasonLocalOnly,
		conference.ErrNotYours: wire.ReasonDenied, route.ErrDenied: wire.ReasonDenied, sip.ErrNoRoute: wire.ReasonNotFound,
		route.ErrNotFound: wire.ReasonNotFound, sip.ErrBusy: wire.ReasonBusy, sip.ErrInvalid: wire.ReasonInvalidValue,
	} {
		if errors.Is(err, sentinel) {
			return reason
		}
	}
	return wire.ReasonUnavailable
}

// reasonFor names for a machine why a call came to nothing.
func reasonFor(code int) string {
	reasons := map[int]string{
		404: wire.ReasonNotFound, 486: wire.ReasonFarBusy, 600: wire.ReasonFarBusy, 408: wire.ReasonNoAnswer,
		480: wire.ReasonNoAnswer, 487: wire.ReasonNoAnswer, 403: wire.ReasonDeclined, 603: wire.ReasonDeclined,
	}
	if r, ok := reasons[code]; ok {
		return r
	}
	return wire.ReasonUnavailable
}
