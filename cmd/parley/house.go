package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"parley/audio/record"
	"parley/audio/tone"
	"parley/cmd/parley/config"
	"parley/conference"
	"parley/conference/create"
	"parley/mixer"
	"parley/mqtt/wire"
	"parley/sip"
	"parley/sip/rtp"
)

// house owns every conference, every call's place in it, and the room itself. Whatever happens (a key, a call's event, a
// command) is posted to its one goroutine, which applies it to the conference and carries out what follows:
//
//	post → conference.Apply → events → hear (matrix), calls, doors (topics, view, lamps)
type house struct {
	cfg   config.Config
	log   *slog.Logger
	now   func() time.Time
	inbox chan func()
	done  chan struct{} // closed when nobody reads the inbox any more
	mixer *mixer.Mixer
	phone dialer
	doors []door

	session  int // of this run, part of every uid
	counter  int
	meetings []*meeting
	moved    bool // something has happened since who hears whom was told to the mixer
	legs     map[*sip.Call]*leg
	terminal *terminal // nil: the place is no terminal of others' conferences
	ports    mixer.PortID
	place    *place
	faults   map[string]fault
	alert    func(id string, f fault)                            // tells that a fault has come or gone; nil: nobody
	summon   func(r *meeting, m conference.Member, token string) // tells a member that a call from the conference comes; nil: nobody
	gone     func(l *leg, e sip.Event)                           // tells how a call has ended that is still among the legs; nil: nobody
	due      func()                                              // tells what is told by the clock; nil: nothing
	past     rtp.Stats                                           // counts of the calls that have ended
	pulse    pulse
	keep     *keeper
	before   *past     // what the last run has left; nil once that is dealt with
	asleep   bool      // time stands still until the box can call
	tapes    *tapes    // nil: nothing is recorded
	prompts  *prompts  // nil: nothing is spoken
	lobby    *lobby    // nil: keys mean nothing
	bookings *bookings // nil: nothing is booked

	clockSet func() bool           // the machine knows the time
	reset    func(by string) error // makes the box what it was when it left the factory
	support  func(settle) error    // publishes a support bundle, and answers
}

// dialer places calls; *sip.Agent is it.
type dialer interface {
	Dial(sip.Dial) (*sip.Call, error)
}

// door is told what happens. It is called by the house's goroutine and must not block.
type door interface {
	opened(r *meeting) // the conference stands, with nobody in it
	happened(r *meeting, e conference.Event)
	ended(r *meeting) // the conference is over and takes its topics with it
	placed(p placeState)
}

// meeting is a conference with what it needs of the house.
type meeting struct {
	*conference.Conference
	kind conference.Kind
	legs []*leg

	moderator, user create.Secret // who enters the one is a host, who enters the other a guest; empty: everybody gets in
	request         request       // that made it
	promised        bool          // nobody is called before it is certain that it is kept
}

// leg is a member's way in: a call, or the place's card when call is nil.
type leg struct {
	id      string // of the call, as topics tell it
	member  string // whose it is, in the meeting's roster
	call    *sip.Call
	meeting *meeting
	port    mixer.PortID     // 0 while it is not in the mixer
	caller  *leg             // of a call that was placed for somebody else: who waits for its answer
	until   time.Time        // of a call that waits for the place: when it is refused
	early   bool             // sends sound and is not answered yet
	far     *wire.UserNotice // of a call for the place: the conference of another box from which it comes; nil: none that is known

	wanted  bool            // the conference calls the member
	kept    bool            // the journal has it
	back    bool            // it is being taken up after a restart
	roams   bool            // the member is coming over from another terminal
	gone    time.Time       // when it is let go, its member having gone to another terminal; zero: not
	tee     *record.Tee     // in its sound, for a track; nil: none is wanted
	teed    mixer.Source    // what the tee is in
	settled func(sip.Event) // is told once how a call that was placed came out; may be nil

	attendant attendant // hears its keys, and speaks to it alone
}

// placePort and tonePort are always in the mixer.
const (
	placePort mixer.PortID = 1
	tonePort  mixer.PortID = 2
)

func newHouse(cfg config.Config, session int, log *slog.Logger) *house {
	h := &house{
		cfg: cfg, log: log, now: time.Now, session: session,
		inbox: make(chan func(), 1024), done: make(chan struct{}),
		legs: map[*sip.Call]*leg{}, ports: tonePort, faults: map[string]fault{}, keep: newKeeper(log),
		clockSet: func() bool { return true },
	}
	for _, c := range cfg.Conferences {
		h.open(conference.Rules{Kind: conference.Standing, Number: c.Number, Theme: c.Name, Max: c.Max})
	}
	return h
}

// Run is the house's life: it does what is posted until ctx ends.
func (h *house) Run(ctx context.Context) error {
	defer close(h.done)
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-h.inbox:
			f()
		case <-look.C:
			h.listen()
		}
		h.settle()
	}
}

// settle brings what follows from the conferences' state up to it, once for everything that has just happened.
func (h *house) settle() {
	h.prompts.tell()
	if h.moved {
		h.moved = false
		h.hear()
	}
	h.keep.flush(h)
}

// post has f done by the house's goroutine; after the end nothing is done.
func (h *house) post(f func()) {
	select {
	case h.inbox <- f:
	case <-h.done:
	}
}

// ask is post, and waits until f is done. It returns false after the end.
func (h *house) ask(f func()) bool {
	ready := make(chan struct{})
	h.post(func() { f(); close(ready) })
	select {
	case <-ready:
		return true
	case <-h.done:
		return false
	}
}

// open makes a conference by its rules, under a uid of its own.
func (h *house) open(rules conference.Rules) *meeting {
	h.counter++
	rules.UID, rules.EID = fmt.Sprintf("%s-%d-%d", h.cfg.Box, h.session, h.counter), h.cfg.EID
	r := &meeting{Conference: conference.New(rules), kind: rules.Kind}
	h.meetings = append(h.meetings, r)
	return r
}

// pair makes a conference for a plain call of two.
func (h *house) pair() *meeting { return h.open(conference.Rules{Kind: conference.Pair}) }

func (h *house) find(number string) *meeting {
	for _, r := range h.meetings {
		if number != "" && r.Number() == number {
			return r
		}
	}
	return nil
}

// do applies a command, tells every door what came of it, and carries out what it asks of the house.
func (h *house) do(r *meeting, cmd conference.Command) error {
	events, err := r.Apply(h.now(), cmd)
	h.keep.applied(r, events)
	for _, e := range events {
		for _, d := range h.doors {
			d.happened(r, e)
		}
	}
	for _, e := range events {
		h.follow(r, e)
	}
	h.moved = h.moved || len(events) > 0
	if err != nil && !errors.Is(err, conference.ErrNoMember) {
		h.log.Info("refused", "do", cmd.Do, "member", cmd.ID, "error", err)
	}
	return err
}

// enter brings a leg into a conference's roster.
func (h *house) enter(r *meeting, l *leg, m conference.Member) error {
	if m.ID == "" {
		m.ID = l.id
	}
	if err := h.do(r, conference.Command{Do: conference.Add, Member: m}); err != nil {
		return err
	}
	h.seat(r, l, m.ID)
	return nil
}

// seat has a leg belong to a member of the roster.
func (h *house) seat(r *meeting, l *leg, member string) {
	l.meeting, l.member = r, member
	r.legs = append(r.legs, l)
	h.keep.markLeg(l)
	h.moved = true
}

// leave takes a leg out of its conference, and ends the conference if nobody is left to talk to.
func (h *house) leave(l *leg, why string) {
	r := l.meeting
	if r == nil {
		return
	}
	h.prompts.drop(l)
	l.meeting, l.gone = nil, time.Time{} // the room's leg is seated again, and has a new life then
	h.keep.markLeg(l)
	r.legs = slices.DeleteFunc(r.legs, func(o *leg) bool { return o == l })
	h.moved = true
	if r.leg(l.member) == nil && r.Phase() != conference.Over { // else the member has another one meanwhile
		h.do(r, conference.Command{Do: conference.Remove, ID: l.member, Why: why})
	}
	if r.kind == conference.Pair && len(r.legs) < 2 {
		h.end(r, why)
	}
}

func (r *meeting) theme() string { return r.Rules().Theme }

// leg is the way in of a member; nil: there is none.
func (r *meeting) leg(member string) *leg {
	for _, l := range r.legs {
		if l.member == member {
			return l
		}
	}
	return nil
}

// end hangs up whoever is still in a conference and forgets it.
func (h *house) end(r *meeting, why string) {
	for i, o := range h.meetings {
		if o == r {
			h.meetings = append(h.meetings[:i:i], h.meetings[i+1:]...)
			h.keep.mark(r)
			h.place.withdraw("", func(in invite) bool { return in.meeting == r })
			h.tapes.stop(r)
			for _, l := range append([]*leg(nil), r.legs...) {
				h.release(l, why)
			}
			for _, d := range h.doors {
				d.ended(r)
			}
			return
		}
	}
}

// release lets a leg go: the place comes to rest, a call is hung up.
func (h *house) release(l *leg, why string) {
	if l.call == nil {
		h.place.rest(why)
		return
	}
	l.call.Hangup(why)
	h.leave(l, why)
}

// plug puts a call's leg into the mixer, anew if it was there: its format may be another.
func (h *house) plug(l *leg) {
	media := l.call.Leg()
	if media == nil || !l.gone.IsZero() { // what dies away keeps its form
		return
	}
	if l.port == 0 {
		h.ports++
		l.port = h.ports
	}
	h.mixer.Add(mixer.Port{ID: l.port, Source: h.tapes.source(l, media), Packets: media})
	h.moved = true
}

func (h *house) unplug(l *leg) {
	if l.port != 0 {
		h.mixer.Remove(l.port)
		l.port = 0
		h.moved = true
	}
}

// hear gives the mixer who hears whom, in all conferences at once.
func (h *house) hear() {
	matrix := mixer.Hearing{}
	for _, r := range h.meetings {
		r.hear(matrix)
	}
	for _, l := range h.legs { // what comes before the answer is for who waits for it
		if l.early && l.port != 0 && l.caller != nil && l.caller.port != 0 {
			matrix[l.caller.port] = []mixer.PortID{l.port}
		}
	}
	h.tapes.hear(matrix)
	h.prompts.hear(matrix)
	place := append([]mixer.PortID{tonePort}, matrix[placePort]...)
	if early := h.place.early; early != nil && early.port != 0 {
		place = append(place, early.port)
	}
	matrix[placePort] = place
	h.mixer.SetHearing(matrix)
}

// hear adds a conference to the matrix. Members who hear the same share one list there too. One who roams has two legs for
// a moment.
func (r *meeting) hear(matrix mixer.Hearing) {
	ports := make(map[string][]mixer.PortID, len(r.legs))
	for _, l := range r.legs {
		if l.port != 0 {
			ports[l.member] = append(ports[l.member], l.port)
		}
	}
	lists := map[*string][]mixer.PortID{}
	for listener, heard := range r.Hearing() {
		if len(ports[listener]) == 0 || len(heard) == 0 {
			continue
		}
		list, ok := lists[&heard[0]]
		if !ok {
			for _, id := range heard {
				list = append(list, ports[id]...)
			}
			lists[&heard[0]] = list
		}
		for _, port := range ports[listener] {
			matrix[port] = others(list, port, ports[listener])
		}
	}
}

// listen looks who contributes sound and tells the conferences.
func (h *house) listen() {
	h.pulse.beat(time.Now(), h.mixer.Stats().Ticks)
	h.place.look()
	h.tapes.look()
	h.prompts.look()
	h.lobby.look()
	h.bookings.look()
	h.faded()
	if h.due != nil {
		h.due()
	}
	h.keep.beat(h)
	for _, r := range slices.Clone(h.meetings) {
		if due := r.Due(); !due.IsZero() && !h.asleep && !r.promised && !h.now().Before(due) {
			h.do(r, conference.Command{Do: conference.Pass})
		}
		for _, l := range r.legs {
			m, ok := r.Member(l.member)
			if !ok || l.port == 0 || r.leg(l.member) != l { // of two terminals the older one counts
				continue
			}
			sound, _ := h.mixer.State(l.port)
			talks := sound.Contributes && r.Heard(l.member)
			if talks == m.Talks {
				continue
			}
			do := conference.Rest
			if talks {
				do = conference.Talk
			}
			h.do(r, conference.Command{Do: do, ID: l.member})
		}
	}
}

// nextID makes a member id.
func (h *house) nextID() string {
	h.counter++
	return fmt.Sprintf("m%d", h.counter)
}

// toneFor is what the room hears when its call came to nothing.
func toneFor(code int, by sip.Side) tone.Kind {
	switch {
	case code == 486 || code == 600:
		return tone.Busy
	case code == 408 || code == 480 || (code == 487 && by == sip.Watchdog):
		return tone.NoAnswer
	}
	return tone.Refused
}
