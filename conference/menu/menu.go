// Package menu is what a member can do with the digits of a telephone, and what is said to him: before the conference
// (Entry), in it (Menu, Commands), and when something happens (Tell).
//
// It is pure: digits, events and a time go in; commands, questions and names of prompts come out. It must not know how
// digits arrive, what prompts sound like, or passwords.
package menu

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"parley/conference"
)

// Phrase is what is to be said in one breath: of a kind, of which a newer one replaces older ones, with a rank, by which
// more important ones come first. It has the fields of the player's own, so that one converts to the other.
type Phrase struct {
	Kind  string
	Rank  int
	Names []string
}

// answer is the kind of what is said in answer to digits.
const answer = "answer"

func say(names ...string) Phrase { return Phrase{Kind: answer, Rank: rankAnswer, Names: names} }

// Step is what comes of a digit: something to be said, or a command for the conference, or neither.
type Step struct {
	Say Phrase
	Do  *conference.Command // By is the member; what the conference answers with goes to Refused
}

// View is how the conference looks to one member at the moment of his digit.
type View struct {
	Member    conference.Member
	Queued    bool // the floor is limited
	House     bool // its microphones are closed
	Locked    bool
	Recording conference.Recording
}

// ViewOf finds a member in a snapshot; without him the view may do nothing.
func ViewOf(s *conference.Snapshot, id string) View {
	v := View{Queued: s.Queued(), House: s.House, Locked: s.Locked, Recording: s.Recording}
	for _, m := range s.Members {
		if m.ID == id {
			v.Member = m
		}
	}
	return v
}

func (v *View) host() bool { return v.Member.Role == conference.Chair }

func (v *View) private() bool {
	return v.Member.Room != conference.Hall && v.Member.Room != conference.Lobby
}

// Timeout is how long the menu waits for the digit after the star.
const Timeout = 4 * time.Second

// Menu listens to the digits of one member in a conference. The zero value is ready. It belongs to one goroutine.
type Menu struct {
	until time.Time // the digit after a star is waited for until then
}

// Due is when Pass has something to forget; zero: never.
func (m *Menu) Due() time.Time { return m.until }

// Pass forgets a star that nothing has followed.
func (m *Menu) Pass(now time.Time) {
	if !m.until.IsZero() && !now.Before(m.until) {
		m.until = time.Time{}
	}
}

// Digit takes 0 … 9, * or #; anything else, and a digit without a star before it, does nothing.
func (m *Menu) Digit(now time.Time, digit byte, v View) Step {
	m.Pass(now)
	waiting := !m.until.IsZero()
	switch {
	case !valid(digit) || v.Member.Proving || v.Member.ID == "":
		return Step{}
	case !waiting && digit == '*':
		m.until = now.Add(Timeout)
		return Step{}
	case !waiting:
		return Step{}
	}
	m.until = time.Time{}
	if digit == '0' || digit == '*' {
		return Step{Say: help(&v)}
	}
	for i := range commands {
		c := &commands[i]
		if c.key != digit {
			continue
		}
		if c.host && !v.host() {
			return Step{Say: say("not-allowed")}
		}
		cmd := c.make(&v)
		if cmd.Do == "" {
			return Step{Say: say("not-possible")}
		}
		cmd.By = conference.Actor{Role: conference.ByMember, Name: v.Member.Number, Member: v.Member.ID}
		return Step{Do: &cmd}
	}
	return Step{Say: say("wrong-key")}
}

func valid(digit byte) bool { return digit >= '0' && digit <= '9' || digit == '*' || digit == '#' }

// refusals holds what is said for what Apply answers; anything else is not possible now.
var refusals = []struct {
	err    error
	prompt string
}{
	{conference.ErrDenied, "not-allowed"},
	{conference.ErrNotYours, "not-allowed"},
	{conference.ErrLocked, "locked"},
	{conference.ErrFull, "full"},
}

// Refused is what is said to a member whose command the conference has refused; nothing for nil. What has worked is told by
// its events.
func Refused(err error) Phrase {
	if err == nil {
		return Phrase{}
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return say(r.prompt)
		}
	}
	return say("not-possible")
}

// command is one entry of the menu. All of them are begun with a star.
type command struct {
	key  byte
	host bool
	does string // for the book
	help string // the prompt that names it
	when func(*View) bool
	make func(*View) conference.Command
}

func (c *command) offered(v *View) bool { return (!c.host || v.host()) && (c.when == nil || c.when(v)) }

var commands = [...]command{
	{key: '1', help: "help-floor", does: "ask for the floor", when: func(v *View) bool { return v.Queued },
		make: only(conference.AskFloor)},
	{key: '2', help: "help-yield", does: "give the floor up, or leave the queue", when: func(v *View) bool { return v.Queued },
		make: only(conference.YieldFloor)},
	{key: '6', help: "help-mute", does: "mute oneself, or be heard again", make: muteSelf},
	{key: '3', help: "help-accept", does: "accept the invitation into a private room; in one: go back to the conference",
		when: aside, make: acceptOrReturn},
	{key: '8', help: "help-decline", does: "decline the invitation into a private room; in one: ask the host in",
		when: aside, make: declineOrCall},
	{key: '4', host: true, help: "help-house", does: "close everybody's microphone but the hosts', or open them",
		make: toggle(func(v *View) bool { return v.House }, conference.CloseHouse, conference.OpenHouse)},
	{key: '5', host: true, help: "help-lock", does: "lock the conference, or unlock it",
		make: toggle(func(v *View) bool { return v.Locked }, conference.Lock, conference.Unlock)},
	{key: '7', host: true, help: "help-record", does: "start the recording, or stop it",
		make: toggle(func(v *View) bool { return v.Recording.On }, conference.Record, conference.StopRecord)},
	{key: '9', host: true, help: "help-next", does: "let the next in the queue speak",
		when: func(v *View) bool { return v.Queued }, make: only(conference.NextSpeaker)},
}

func aside(v *View) bool { return v.private() || v.Member.Asked != "" }

func only(do conference.Do) func(*View) conference.Command {
	return func(*View) conference.Command { return conference.Command{Do: do} }
}

func toggle(on func(*View) bool, start, stop conference.Do) func(*View) conference.Command {
	return func(v *View) conference.Command {
		if on(v) {
			return conference.Command{Do: stop}
		}
		return conference.Command{Do: start}
	}
}

func muteSelf(v *View) conference.Command {
	do := conference.Mute
	if v.Member.Mute.Has(conference.Self) {
		do = conference.Unmute
	}
	return conference.Command{Do: do, ID: v.Member.ID, Reason: conference.Self}
}

func acceptOrReturn(v *View) conference.Command {
	switch {
	case v.Member.Asked != "":
		return conference.Command{Do: conference.Accept, ID: v.Member.Asked}
	case v.private():
		return conference.Command{Do: conference.Return, ID: v.Member.ID}
	}
	return conference.Command{}
}

func declineOrCall(v *View) conference.Command {
	switch {
	case v.Member.Asked != "":
		return conference.Command{Do: conference.Decline, ID: v.Member.Asked}
	case v.private():
		return conference.Command{Do: conference.CallHost}
	}
	return conference.Command{}
}

// help lists what the member may do as things are.
func help(v *View) Phrase {
	var names []string
	for i := range commands {
		if c := &commands[i]; c.offered(v) {
			names = append(names, c.help, "press-star", string(c.key))
		}
	}
	return say(names...)
}

// Entered is what one line of the menu says to people.
type Entered struct {
	Keys string
	Host bool
	Does string
}

// Book lists the menu, for manuals and help texts.
func Book() (lines []Entered) {
	for _, c := range commands {
		lines = append(lines, Entered{"*" + string(c.key), c.host, c.does})
	}
	return append(lines, Entered{Keys: "*0 or **", Does: "help: what can be pressed now"})
}

// Prompts lists every prompt that this package asks for, without numbers other than single digits.
func Prompts() (names []string) {
	for i := range commands {
		names = append(names, commands[i].help)
	}
	for _, r := range refusals {
		names = append(names, r.prompt)
	}
	for i := range told {
		names = append(names, told[i].names...)
	}
	names = append(names, entryPrompts...)
	names = append(names, "press-star", "not-possible", "wrong-key", "not-allowed", "minute", "minutes")
	names = slices.DeleteFunc(names, func(n string) bool { return n == numberHere })
	for n := range 10 {
		names = append(names, strconv.Itoa(n))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
