package conference

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// verb is how a kind of command is carried out and who may give it. With neither right nor own it is the box's alone.
type verb struct {
	name  Do
	do    func(*step) error
	right Right                   // for others and for the conference
	own   Right                   // is enough where it is about who asks
	self  bool                    // it is about who asks, who must be in; ID means somebody else
	when  func(*Conference) error // whether there is any sense in it now; nil: always
}

// verbs stand in the order in which Can lists them. Who may mute depends on the reason, and mutes' own code judges it.
var verbs = []verb{
	{name: Add, do: (*step).add},
	{name: Move, do: (*step).move},
	{name: Remove, do: (*step).remove},
	{name: Talk, do: func(s *step) error { return s.talk(true) }},
	{name: Rest, do: func(s *step) error { return s.talk(false) }},
	{name: Pass, do: (*step).pass},
	{name: Admit, do: (*step).admit},
	{name: Roam, do: (*step).roam},

	{name: Mute, do: (*step).mute, right: RightMute, own: RightSee},
	{name: Unmute, do: (*step).unmute, right: RightMute, own: RightSee},
	{name: Deafen, do: (*step).deafen, right: RightMute},
	{name: Hear, do: (*step).undeafen, right: RightMute},

	{name: Kick, do: (*step).kick, right: RightKick},
	{name: Invite, do: (*step).invite, right: RightInvite},
	{name: CloseHouse, do: toggle(house, true, HouseClosed), right: RightHouse},
	{name: OpenHouse, do: toggle(house, false, HouseOpened), right: RightHouse},
	{name: Lock, do: toggle(lock, true, Locked), right: RightHouse},
	{name: Unlock, do: toggle(lock, false, Unlocked), right: RightHouse},
	{name: HandOver, do: (*step).handOver, right: RightHand},
	{name: End, do: (*step).end, right: RightEnd, when: mayEnd},
	{name: Prolong, do: (*step).prolong, right: RightEnd, when: hasEnd},
	{name: Transfer, do: (*step).transfer, right: RightInvite, own: RightSee, when: begun},

	{name: AskFloor, do: (*step).askFloor, right: RightGrant, own: RightFloor, when: queued},
	{name: YieldFloor, do: (*step).yieldFloor, right: RightGrant, own: RightFloor, when: queued},
	{name: Grant, do: (*step).grant, right: RightGrant, when: queued},
	{name: Refuse, do: (*step).refuse, right: RightGrant, when: queued},
	{name: TakeFloor, do: (*step).takeFloor, right: RightGrant, when: queued},
	{name: PassFloor, do: (*step).passFloor, right: RightGrant, when: queued},
	{name: Pin, do: (*step).pin, right: RightGrant, when: queued},
	{name: Reorder, do: (*step).reorder, right: RightGrant, when: queued},
	{name: NextSpeaker, do: (*step).nextSpeaker, right: RightGrant, when: queued},

	{name: OpenRoom, do: (*step).openRoom, right: RightRooms, when: begun},
	{name: MoveTo, do: (*step).moveTo, right: RightRooms, when: begun},
	{name: Return, do: (*step).returnToHall, own: RightSee, right: RightRooms, when: begun},
	{name: AskRoom, do: (*step).askRoom, own: RightPrivate, self: true, when: begun},
	{name: Accept, do: (*step).accept, own: RightSee, self: true, when: begun},
	{name: Decline, do: (*step).decline, own: RightSee, self: true, when: begun},
	{name: CallHost, do: (*step).callHost, own: RightPrivate, self: true, when: begun},

	{name: Record, do: (*step).record, right: RightRecord, when: begun},
	{name: PauseRecord, do: (*step).pauseRecord, right: RightRecord, when: recording},
	{name: StopRecord, do: (*step).stopRecord, right: RightRecord, when: recording},
	{name: Note, do: (*step).note, right: RightNote, when: recording},

	{name: ToMessages, do: (*step).toMessages, right: RightMode},
	{name: ToVoice, do: (*step).toVoice, right: RightMode},
	{name: CloseMessages, do: toggle(messages, true, MessagesOff), right: RightMode},
	{name: OpenMessages, do: toggle(messages, false, MessagesOn), right: RightMode},
}

func verbOf(do Do) *verb {
	for i := range verbs {
		if verbs[i].name == do {
			return &verbs[i]
		}
	}
	return nil
}

// judged tells whether the verb's own code says who may give it.
func (v *verb) judged() bool {
	return v.name == Mute || v.name == Unmute || v.name == Deafen || v.name == Hear
}

// step is one command being carried out. Its code checks everything before it changes anything.
type step struct {
	*Conference
	now    time.Time
	cmd    Command
	events []Event
}

// Apply carries out one command, or refuses it and changes nothing. The events are in order, their sequence numbers
// follow on each other without a gap, and a command that changes nothing yields none. One refusal has an event: the wish for
// an unmute that only the member can grant.
func (c *Conference) Apply(now time.Time, cmd Command) ([]Event, error) {
	v := verbOf(cmd.Do)
	if v == nil {
		return nil, fmt.Errorf("%w: %q is not known", ErrInvalid, clean(string(cmd.Do), 64))
	}
	cmd.Why, cmd.By.Name, cmd.By.Member = clean(cmd.Why, 256), clean(cmd.By.Name, 128), clean(cmd.By.Member, 64)
	s := &step{Conference: c, now: now.UTC(), cmd: cmd}
	if err := s.allowed(v); err != nil {
		return nil, err
	}
	queue, filled := slices.Clone(c.at.Queue), c.active() > 0
	if err := v.do(s); err != nil {
		return s.events, err
	}
	s.settle(queue, filled)
	return s.events, nil
}

// settle brings about what follows from any change.
func (s *step) settle(queue []string, filled bool) {
	if s.at.Phase == Over {
		return
	}
	s.openIfHostIsIn()
	s.closeEmptyRooms()
	s.fillFloor()
	s.tellQueue(queue)
	switch empty := s.active() == 0; {
	case s.at.Kind == Standing && empty && filled:
		s.reset()
	case s.at.Kind == Immediate && empty && s.at.IdleSince.IsZero():
		s.at.IdleSince = s.now
	case !empty:
		s.at.IdleSince = time.Time{}
	}
}

// tell adds an event about a member, who may be nil.
func (s *step) tell(what What, m *Member) *Event {
	s.at.Seq++
	e := Event{Seq: s.at.Seq, At: s.now, Conference: s.at.Number, UID: s.at.UID, What: what, By: s.cmd.By, Why: s.cmd.Why}
	if m != nil {
		e.Member, e.Room = m.clone(), m.Room
	}
	s.events = append(s.events, e)
	return &s.events[len(s.events)-1]
}

// member is whom the command is about.
func (s *step) member(id string) (*Member, error) {
	if m := s.find(id); m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("%q: %w", clean(id, 64), ErrNoMember)
}

// subject is whom the command is about: who asks, if it names nobody.
func (s *step) subject() (*Member, error) {
	if s.cmd.ID != "" {
		return s.member(s.cmd.ID)
	}
	if m := s.self(s.cmd.By); m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("%w: nobody is named", ErrInvalid)
}

// clean makes a text fit for keeping: valid UTF-8 of at most n bytes.
func clean(text string, n int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= n {
		return text
	}
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// printable tells whether a text is 1 to n printable characters.
func printable(text string, n int) bool {
	if text == "" || !utf8.ValidString(text) || utf8.RuneCountInString(text) > n {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}
