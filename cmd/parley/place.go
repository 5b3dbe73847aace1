package main

import (
	"slices"
	"time"

	"parley/audio"
	"parley/audio/tone"
	"parley/cmd/parley/config"
	"parley/conference"
	"parley/sip"
)

// place is the room that the box stands in: its microphone's gate, the conference it is in, and who rings for it. All of it
// but the gate belongs to the house's goroutine.
type place struct {
	house *house
	gate  *microphone
	tones *tone.Player

	leg     *leg
	mute    conference.Reasons
	out     *leg      // the call that the join key placed, until it is answered
	alerts  bool      // it rings at the far end
	early   *leg      // whose early media the room hears
	waiting []*leg    // calls that ring for the place, the first come first
	asked   []invite  // conferences of this box that ring for the place
	result  string    // how the last call ended
	quiet   time.Time // when the tone of a call that came to nothing ends; zero if none plays
}

// invite is a conference here that calls the place as one of its members.
type invite struct {
	meeting *meeting
	member  string
	until   time.Time
}

// placeState is the room as others see it.
type placeState struct {
	Muted   bool
	Reasons []string
	Meeting *meeting
	Calling bool   // the join key's call is not answered yet
	Rings   []*leg // calls that wait for the key
	Ringing bool   // somebody does: a call, or a conference of this box
	Result  string // how the last call ended; empty while one stands
	Booked  bool   // the join key enters what is booked now

	// Of the conference that it is in:
	Recorded bool // what is said in the hall is recorded
	Private  bool // it is in a private room
	Floor    conference.Floor
}

// microphone is the gate, and who may open it: what the key has closed, only the key opens. Each is one atomic step.
type microphone struct{ audio.Gate }

func (m *microphone) closeByKey()    { m.Latch() }
func (m *microphone) openByKey()     { m.Release() }
func (m *microphone) openUnlessKey() { m.Open() }

func newPlace(h *house, mic *microphone, open bool) *place {
	p := &place{house: h, gate: mic, tones: &tone.Player{}, leg: &leg{id: "place", member: "place", port: placePort}}
	if open {
		p.gate.Open()
	} else {
		p.mute = conference.Reasons{{Reason: conference.System, By: conference.Actor{Role: conference.BySystem}, At: h.now()}}
	}
	h.place = p
	return p
}

// keyMuted is told that the mute key closed the gate, or opened it: then whatever people in the place may undo is undone.
func (p *place) keyMuted(closed bool) {
	by := conference.Actor{Role: conference.ByKey}
	if closed {
		p.setMute(conference.Hardware, by, true)
		p.tones.Play(tone.MuteOn)
		p.keyFloor(true)
		return
	}
	for _, r := range []conference.Reason{conference.Hardware, conference.System, conference.Self} {
		p.note(r, by, false)
	}
	p.follow()
	p.tones.Play(tone.MuteOff)
	p.keyFloor(false)
}

// setMute sets or clears one reason, in the conference too if the place is in one. The gate is open while there is none.
func (p *place) setMute(r conference.Reason, by conference.Actor, on bool) error {
	err := p.note(r, by, on)
	p.follow()
	return err
}

func (p *place) note(r conference.Reason, by conference.Actor, on bool) error {
	if err := p.tellMute(r, by, on); err != nil {
		return err
	}
	p.mute = without(p.mute, r)
	if on {
		p.mute = append(p.mute, conference.Mark{Reason: r, By: by, At: p.house.now()})
	}
	return nil
}

// follow brings the gate to what the reasons say, and tells. The key's own reason is left out: the key has moved the gate
// itself, and may have moved it again since what it did first was heard of here.
func (p *place) follow() {
	if len(without(p.mute, conference.Hardware)) > 0 {
		p.gate.Close()
	} else {
		p.gate.openUnlessKey()
	}
	p.changed()
}

// tellMute applies the change to the roster; outside a conference a roster of one judges whether it is allowed.
func (p *place) tellMute(r conference.Reason, by conference.Actor, on bool) error {
	cmd := conference.Command{Do: conference.Unmute, ID: p.leg.id, Reason: r, By: by}
	if on {
		cmd.Do = conference.Mute
	}
	if p.leg.meeting != nil {
		cmd.ID = p.leg.member
		return p.house.do(p.leg.meeting, cmd)
	}
	alone := conference.New(conference.Rules{})
	if _, err := alone.Apply(p.house.now(), conference.Command{Do: conference.Add, Member: p.member()}); err != nil {
		return err
	}
	_, err := alone.Apply(p.house.now(), cmd)
	return err
}

func without(rs conference.Reasons, r conference.Reason) conference.Reasons {
	kept := conference.Reasons{}
	for _, m := range rs {
		if m.Reason != r {
			kept = append(kept, m)
		}
	}
	return kept
}

func (p *place) member() conference.Member {
	return conference.Member{
		ID: p.leg.id, Number: p.house.cfg.Place.Number, Name: p.house.cfg.Place.Name, Place: true,
		State: conference.Connected, Mute: p.mute,
	}
}

// joinKey is the join key: it takes who waits, else leaves, else calls. A second press right after the first is no wish.
func (p *place) joinKey(twice bool) {
	switch {
	case twice:
	case len(p.asked) > 0:
		p.accept()
	case len(p.waiting) > 0:
		p.take()
	case p.leg.meeting != nil:
		p.rest("left by key")
	default:
		p.join(p.wanted())
	}
}

// join brings the place into the conference with that number, or calls it: then it returns the call, which is not
// answered yet.
func (p *place) join(number string) (*leg, error) {
	if p.leg.meeting != nil {
		return nil, nil
	}
	p.result = ""
	p.sound()
	h := p.house
	if r := h.find(number); r != nil {
		if err := p.enter(r); err != nil {
			code, _ := refusal(err)
			return nil, p.fail(code, sip.Local, err)
		}
		return nil, nil
	}
	r := h.pair()
	if err := p.enter(r); err != nil {
		return nil, p.fail(500, sip.Local, err)
	}
	l, err := h.dial(r, sip.Dial{To: number, From: h.cfg.Place.Number, Name: h.cfg.Place.Name, NoAnswer: h.cfg.Place.NoAnswer, Early: true})
	if err != nil {
		p.rest(err.Error())
		return nil, p.fail(codeOf(err), sip.Local, err)
	}
	p.out = l
	p.changed()
	return l, nil
}

// add calls somebody into the conference that the place is in, or calls him from the place.
func (p *place) add(number string) (*leg, error) {
	if p.leg.meeting == nil {
		return p.join(number)
	}
	return p.house.dial(p.leg.meeting, sip.Dial{To: number, From: p.house.cfg.Place.Number, Name: p.house.cfg.Place.Name})
}

func (p *place) fail(code int, by sip.Side, err error) error {
	p.result = err.Error()
	p.playResult(toneFor(code, by))
	p.changed()
	return err
}

// resultTone is how long the room hears that its call came to nothing.
const resultTone = 4 * time.Second

func (p *place) playResult(k tone.Kind) {
	p.quiet = p.house.now().Add(resultTone)
	p.tones.Play(k)
}

// look does what time alone brings: the tone of a call that came to nothing ends, and who has waited for too long is refused,
// with 486 if the place was busy with others.
func (p *place) look() {
	now := p.house.now()
	if !p.quiet.IsZero() && now.After(p.quiet) {
		p.sound()
	}
	p.withdraw("408 no answer", func(in invite) bool { return now.After(in.until) })
	for len(p.waiting) > 0 && now.After(p.waiting[0].until) {
		l, code := p.waiting[0], 480
		if p.leg.meeting != nil {
			code = 486
		}
		p.waiting = p.waiting[1:]
		l.call.Reject(code, "")
		p.sound()
		p.changed()
	}
}

func (p *place) enter(r *meeting) error {
	m := p.member()
	if line, ok := r.Line(m.Number); ok {
		m.ID = line.ID
	}
	err := p.house.enter(r, p.leg, m)
	p.changed()
	return err
}

// rest takes the place out of whatever it is in.
func (p *place) rest(why string) {
	heard := p.out != nil || p.ringing()
	p.forget()
	p.house.leave(p.leg, why)
	if heard {
		p.sound()
	}
	p.changed()
}

// forget drops the call that the join key placed: it is answered or over.
func (p *place) forget() { p.out, p.early, p.alerts = nil, nil, false }

func (p *place) ringing() bool { return len(p.waiting) > 0 || len(p.asked) > 0 }

// invited is told that a conference of this box calls the place, as a member or as another terminal of one. It rings until the key is pressed, unless the settings let
// conferences in (C-4).
func (p *place) invited(r *meeting, member string) {
	if slices.ContainsFunc(p.asked, func(in invite) bool { return in.meeting == r && in.member == member }) {
		return // it rings already
	}
	p.asked = append(p.asked, invite{r, member, p.house.now().Add(p.house.cfg.Place.NoAnswer)})
	if r.leg(member) == nil {
		p.house.do(r, conference.Command{Do: conference.Move, ID: member, State: conference.Alerting})
	}
	if answer := p.house.cfg.Place.AutoAnswer; answer != config.AnswerOff && p.leg.meeting == nil {
		if answer == config.AnswerMuted {
			p.setMute(conference.System, conference.Actor{Role: conference.BySystem}, true)
		}
		p.accept()
		return
	}
	p.sound()
	p.changed()
}

// accept brings the place into the conference that asked first, out of whatever it is in.
func (p *place) accept() {
	in := p.asked[0]
	p.asked = p.asked[1:]
	if p.leg.meeting != nil {
		p.rest("went to another conference")
	}
	roams := in.meeting.leg(in.member) != nil
	p.house.seat(in.meeting, p.leg, in.member)
	if !roams {
		if err := p.house.do(in.meeting, conference.Command{Do: conference.Move, ID: in.member, State: conference.Connected}); err != nil {
			p.rest(err.Error()) // it is full meanwhile
			p.sound()
			return
		}
	}
	p.house.arrived(p.leg) // from now on the line is the place's, with its keys and what they have closed
	p.sound()
	p.changed()
}

// withdraw takes the invitations back that a test picks out, and tells the conference why the place does not come.
func (p *place) withdraw(why string, pick func(invite) bool) {
	kept := p.asked[:0:0]
	for _, in := range p.asked {
		if !pick(in) {
			kept = append(kept, in)
		}
	}
	gone := len(kept) < len(p.asked)
	for _, in := range p.asked {
		if pick(in) && in.meeting.leg(in.member) == nil && in.meeting.Phase() != conference.Over {
			p.house.do(in.meeting, conference.Command{Do: conference.Remove, ID: in.member, Why: why})
		}
	}
	if p.asked = kept; gone {
		p.sound()
		p.changed()
	}
}

// called is told of a call for the place. It rings, or knocks while the place is in a conference; nobody is let in
// without the key unless the settings say so.
func (p *place) called(l *leg) {
	l.call.Ring()
	l.until = p.house.now().Add(p.house.cfg.Place.NoAnswer)
	p.house.terminal.match(l)
	p.waiting = append(p.waiting, l)
	if answer := p.house.cfg.Place.AutoAnswer; answer != config.AnswerOff && p.leg.meeting == nil {
		if answer == config.AnswerMuted {
			p.setMute(conference.System, conference.Actor{Role: conference.BySystem}, true)
		}
		p.take()
		return
	}
	p.sound()
	p.changed()
}

// sound plays what fits who rings, here or at the far end.
func (p *place) sound() {
	p.quiet = time.Time{}
	switch {
	case p.ringing() && p.leg.meeting != nil:
		p.tones.Play(tone.Knock)
	case p.ringing():
		p.tones.Play(tone.Ring)
	case p.alerts && p.early == nil:
		p.tones.Play(tone.RingBack)
	default:
		p.tones.Stop()
	}
}

// take answers the first who waits, into the conference that the place is in or into one of their own.
func (p *place) take() {
	l := p.waiting[0]
	p.waiting = p.waiting[1:]
	r := p.leg.meeting
	if r == nil {
		r = p.house.pair()
		p.enter(r)
	}
	p.sound()
	if err := p.house.enter(r, l, memberOf(l.call, conference.Alerting)); err != nil {
		l.call.Reject(486, "Conference is full")
	} else {
		l.call.Answer()
	}
	p.changed()
}

// heard is told of every call's event, and acts on those that concern the place.
func (p *place) heard(l *leg, e sip.Event) {
	for i, w := range p.waiting {
		if w == l && e.Kind == sip.Ended {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			p.sound()
			p.changed()
			return
		}
	}
	if l != p.out {
		return
	}
	switch e.Kind {
	case sip.Ringing:
		p.alerts = true
		p.sound()
	case sip.EarlyMedia:
		p.early = l
		p.sound()
		p.house.moved = true
	case sip.Answered:
		p.forget()
		p.sound()
		p.house.moved = true
	case sip.Ended:
		p.forget()
		p.result = why(e)
		p.playResult(toneFor(e.Code, e.By))
	}
	p.changed()
}

func (p *place) state() placeState {
	s := placeState{
		Muted: p.gate.Closed(), Reasons: p.mute.Names(), Meeting: p.leg.meeting,
		Calling: p.out != nil, Rings: append([]*leg(nil), p.waiting...), Ringing: p.ringing(), Result: p.result,
		Booked: p.house.bookings != nil && p.house.bookings.open,
	}
	if r := p.leg.meeting; r != nil {
		m, _ := r.Member(p.leg.member)
		tape := r.Snapshot().Recording
		s.Recorded, s.Floor = tape.On && !tape.Paused, m.Floor
		s.Private = m.Room != conference.Hall && m.Room != conference.Lobby
	}
	return s
}

func (p *place) changed() {
	s := p.state()
	for _, d := range p.house.doors {
		d.placed(s)
	}
}
