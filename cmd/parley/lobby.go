package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"parley/conference"
	"parley/conference/create"
	"parley/conference/menu"
)

// lobby is where callers are who have to prove themselves, or come before the conference begins; and it hears the keys of all
// members' telephones.
//
//	call → admit → answered, in the lobby → menu.Entry: prompts, digits → password → (another goroutine: is it one?) → Admit
//	digit in the conference → menu.Menu → command, or a prompt
//
// It belongs to the house's goroutine but for Run.
type lobby struct {
	house     *house
	penalties *menu.Penalties
	work      chan func() // hashing, which takes tens of milliseconds
}

// attendant is what a leg has of the lobby. Its zero value is ready.
type attendant struct {
	voice *announcer  // speaks to this leg alone; nil: nothing has been said yet
	entry *menu.Entry // asks for the password; nil: nobody has to give one
	menu  menu.Menu
	wait  time.Time // when it is told next that it has to wait
}

// hashing is how many passwords may wait for their turn.
const hashing = 64

func newLobby(h *house) *lobby {
	return &lobby{house: h, penalties: menu.NewPenalties(), work: make(chan func(), hashing)}
}

// Run hashes one password after the other, so that guessing takes no more than one processor.
func (b *lobby) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-b.work:
			f()
		}
	}
}

// secret tells whether who comes has to give a password.
func (r *meeting) secret() bool { return r.moderator.Given() || r.user.Given() }

// comer is how a caller comes into a conference: who is expected, and has proved by digest that he is that, has his line in the
// roster; who has not has to prove himself in the lobby, if the conference has passwords.
func (r *meeting) comer(m conference.Member, proved bool) conference.Member {
	if line, ok := r.Line(m.Number); ok && proved {
		m.ID = line.ID
	} else if r.secret() {
		m.Room = conference.Lobby
	}
	return m
}

// turnedAway are the answers to a caller whom the conference does not take.
var turnedAway = []struct {
	err    error
	code   int
	reason string
}{
	{conference.ErrFull, 486, "Conference is full"},
	{conference.ErrNotYet, 480, "Conference has not begun"},
	{conference.ErrLocked, 403, "Conference is locked"},
	{conference.ErrBarred, 403, "Barred from the conference"},
	{conference.ErrOver, 404, "Conference is over"},
}

// refusal is the answer to who may not come in for that reason.
func refusal(err error) (code int, reason string) {
	for _, r := range turnedAway {
		if errors.Is(err, r.err) {
			return r.code, r.reason
		}
	}
	return 500, ""
}

// look does what time brings, and receives who has come into the lobby.
func (b *lobby) look() {
	if b == nil {
		return
	}
	now := b.house.now()
	for _, r := range slices.Clone(b.house.meetings) {
		if r.kind == conference.Pair || r.kind == conference.Standing && !r.secret() {
			continue
		}
		for _, l := range slices.Clone(r.legs) {
			m, ok := r.Member(l.member)
			if !ok || l.meeting != r || m.Room != conference.Lobby || !m.In() || l.port == 0 {
				continue
			}
			switch a := &l.attendant; {
			case a.entry != nil:
				b.carry(l, a.entry.Pass(now))
			case m.Proving:
				b.receive(r, l)
			case !now.Before(a.wait):
				b.house.prompts.say(l, menu.Phrase{Kind: "phase", Names: []string{"wait-for-start"}})
				a.wait = now.Add(stillWait)
			}
		}
	}
}

// stillWait is how often who waits in a lobby is told so.
const stillWait = time.Minute

// receive begins the conversation with somebody who has to prove himself. Whose number is not proved is another than who has proved
// it: nobody can use up the tries of somebody else.
func (b *lobby) receive(r *meeting, l *leg) {
	if l.call == nil {
		return
	}
	caller := proved(l.call)
	if caller == "" {
		caller = "said:" + l.call.From()
	}
	l.attendant.entry = menu.NewEntry(caller, r.UID(), b.penalties)
	b.carry(l, l.attendant.entry.Start(b.house.now()))
}

// carry carries out what comes of the conversation.
func (b *lobby) carry(l *leg, o menu.Outcome) {
	b.house.prompts.say(l, o.Say)
	switch {
	case o.Ask != nil && o.Ask.Password == "":
		b.carry(l, l.attendant.entry.Answer(b.house.now(), menu.Password, "", false))
	case o.Ask != nil:
		b.check(l, o.Ask.Password)
	case o.Enter != nil:
		l.attendant.entry = nil
		l.attendant.wait = b.house.now().Add(stillWait)
		l.call.SetFocus(true)
	case o.HangUp != "":
		b.house.release(l, o.HangUp)
	}
}

// check looks, beside the house's goroutine, of which role a password is.
func (b *lobby) check(l *leg, password string) {
	r, entry := l.meeting, l.attendant.entry
	moderator, user := r.moderator, r.user
	job := func() {
		role := roleOf(moderator, user, password)
		b.house.post(func() {
			if l.meeting == r && l.attendant.entry == entry {
				b.judged(l, role)
			}
		})
	}
	select {
	case b.work <- job:
	default:
		b.carry(l, entry.Answer(b.house.now(), menu.Failed, "", false))
	}
}

func roleOf(moderator, user create.Secret, password string) conference.MemberRole {
	switch {
	case moderator.Matches(password):
		return conference.Chair
	case user.Matches(password):
		return conference.Guest
	}
	return ""
}

// judged lets a caller in whose password is right: into the conference, or on in the lobby until it begins.
func (b *lobby) judged(l *leg, role conference.MemberRole) {
	r, verdict := l.meeting, menu.Wrong
	if role != "" {
		err := b.house.do(r, conference.Command{Do: conference.Admit, ID: l.member, Member: conference.Member{Role: role}})
		switch {
		case err == nil:
			verdict = menu.Welcome
		case errors.Is(err, conference.ErrLocked):
			verdict = menu.Locked
		default:
			verdict = menu.Failed
		}
	}
	if l.attendant.entry != nil { // else what followed from it has taken the leg away
		b.carry(l, l.attendant.entry.Answer(b.house.now(), verdict, role, r.Phase() == conference.Open))
	}
}

// digit takes a key of a member's telephone: of a password, or of the menu.
func (b *lobby) digit(l *leg, digit byte) {
	if b == nil || l.roams || l.port == 0 {
		return
	}
	h, r := b.house, l.meeting
	if e := l.attendant.entry; e != nil {
		b.carry(l, e.Digit(h.now(), digit))
		return
	}
	s := r.Snapshot()
	step := l.attendant.menu.Digit(h.now(), digit, menu.ViewOf(&s, l.member))
	h.prompts.say(l, step.Say)
	if step.Do != nil {
		h.prompts.say(l, menu.Refused(h.do(r, *step.Do)))
	}
}
