package menu

import (
	"time"

	"parley/conference"
)

// Ask is a question that the caller's number and digits raise. It is answered by Entry.Answer.
type Ask struct {
	Conference string
	Password   string // empty: whether the conference lets this caller in without one
}

// Verdict is the answer to an Ask.
type Verdict string

// The verdicts.
const (
	Welcome  Verdict = "welcome"  // he comes in, and in the role that the password is of
	Password Verdict = "password" // he has to give one
	Wrong    Verdict = "wrong"    // the password is none of the two
	Unknown  Verdict = "unknown"  // there is no such conference, or nobody gets in yet
	Full     Verdict = "full"
	Locked   Verdict = "locked"
	Failed   Verdict = "failed" // the box cannot tell
)

// Outcome is what comes of a caller's digit, of an answer, or of time; the zero value is nothing.
type Outcome struct {
	Say    Phrase
	Ask    *Ask
	Enter  *Enter
	HangUp string // the call is to end, for this reason
}

// Enter says that the caller may come in: as Role, into the conference or, where it has not begun, its lobby.
type Enter struct {
	Conference string
	Role       conference.MemberRole
}

// How long an Entry waits, for what, and how much it takes.
const (
	Between   = 4 * time.Second  // after a digit, until what was entered counts as complete
	Begin     = 15 * time.Second // for the first digit, until the prompt is said again
	ForAnswer = 10 * time.Second
	Parting   = 4 * time.Second // for what is said last, before hanging up
	Patience  = 10 * time.Second
	Tries     = 3
	Digits    = 16 // of a password; a longer entry is wrong
)

// entryPrompts are all that an Entry says.
var entryPrompts = []string{"ask-number", "ask-password", "wrong-password", "no-conference", "one-moment", "later", "goodbye",
	"wait-for-start", "full", "locked"}

// state is what an Entry waits for.
type state int

const (
	number   state = iota // the digits of a conference's number
	password              // the digits of a password
	pausing               // the end of a pause
	asking                // an answer
	leaving               // the end of what is said last
	over
)

// Entry is the conversation with a caller before he is in a conference: its number, if he has dialled the reception's, and
// the password. It belongs to one goroutine.
type Entry struct {
	caller     string
	conference string
	reception  bool // the conference is what the caller enters
	penalties  *Penalties

	state   state
	from    state // of pausing and asking: what was entered
	digits  []byte
	entered string // of pausing: what is to be tried
	counted bool   // the question that is open counts as a try
	wrong   int
	silent  int // how often nothing was entered
	until   time.Time
	why     string
}

// NewEntry begins with a caller who has dialled a conference, or the reception if that is empty. Call Start next.
func NewEntry(caller, conference string, p *Penalties) *Entry {
	return &Entry{caller: caller, conference: conference, reception: conference == "", penalties: p}
}

// Start is called when the call is answered.
func (e *Entry) Start(now time.Time) Outcome {
	if e.conference == "" {
		return e.wait(now, number)
	}
	return e.ask(now, number, "")
}

// Due is when Pass has something to do; zero: never.
func (e *Entry) Due() time.Time { return e.until }

// Over tells that the conversation has ended: the caller is in, or is to be hung up.
func (e *Entry) Over() bool { return e.state == over }

// wait asks for digits.
func (e *Entry) wait(now time.Time, s state, before ...string) Outcome {
	e.state, e.digits, e.until = s, e.digits[:0], now.Add(Begin)
	prompt := "ask-number"
	if s == password {
		prompt = "ask-password"
	}
	return Outcome{Say: say(append(before, prompt)...)}
}

// ask raises a question of what was entered in state from.
func (e *Entry) ask(now time.Time, from state, entered string) Outcome {
	e.state, e.from, e.until = asking, from, now.Add(ForAnswer)
	if from == number {
		if entered != "" {
			e.conference = entered
		}
		return Outcome{Ask: &Ask{Conference: e.conference}}
	}
	return Outcome{Ask: &Ask{Conference: e.conference, Password: entered}}
}

// Digit takes one digit, a star (what was entered is forgotten) or a hash (it is complete).
func (e *Entry) Digit(now time.Time, digit byte) Outcome {
	if !valid(digit) || e.state != number && e.state != password {
		return Outcome{}
	}
	switch {
	case digit == '*':
		return e.wait(now, e.state)
	case digit == '#' && len(e.digits) > 0:
		return e.complete(now)
	case digit == '#':
		return Outcome{}
	}
	if len(e.digits) <= Digits { // one more than may be, so that it shows
		e.digits = append(e.digits, digit)
	}
	e.until = now.Add(Between)
	return Outcome{}
}

// about is at whose expense something is tried: a wrong number is the caller's alone.
func (e *Entry) about(from state) string {
	if from == number {
		return ""
	}
	return e.conference
}

// complete tries what was entered, at once or after a short pause.
func (e *Entry) complete(now time.Time) Outcome {
	entered := string(e.digits)
	e.digits = e.digits[:0]
	return e.try(now, e.state, entered)
}

func (e *Entry) try(now time.Time, from state, entered string) Outcome {
	if pause := e.penalties.Try(now, e.caller, e.about(from)); pause > 0 {
		if pause > Patience {
			return e.leave(now, "too many tries", "later")
		}
		again := e.state == pausing
		e.state, e.from, e.entered, e.until = pausing, from, entered, now.Add(pause)
		if again {
			return Outcome{}
		}
		return Outcome{Say: say("one-moment")}
	}
	e.counted = true
	if len(entered) > Digits {
		e.state, e.from = asking, from
		if from == number {
			return e.Answer(now, Unknown, "", false)
		}
		return e.Answer(now, Wrong, "", false)
	}
	return e.ask(now, from, entered)
}

// Answer takes the verdict on the last question: for Welcome with the role, and whether the conference has begun. An answer that
// nobody waits for any more is passed over.
func (e *Entry) Answer(now time.Time, v Verdict, role conference.MemberRole, begun bool) Outcome {
	if e.state != asking {
		return Outcome{}
	}
	if wrong := v == Wrong || v == Unknown || v == Failed; e.counted && !wrong {
		e.penalties.Right(e.caller, e.about(e.from))
	}
	e.counted = false
	switch v {
	case Welcome:
		return e.enter(role, begun)
	case Password:
		return e.wait(now, password)
	case Wrong:
		return e.failed(now, password, "wrong-password")
	case Unknown:
		return e.unknown(now)
	case Full:
		return e.leave(now, "full", "full")
	case Locked:
		return e.leave(now, "locked", "locked")
	}
	return e.leave(now, "no answer", "later")
}

func (e *Entry) enter(role conference.MemberRole, begun bool) Outcome {
	e.state, e.until = over, time.Time{}
	if role != conference.Chair {
		role = conference.Guest
	}
	o := Outcome{Enter: &Enter{Conference: e.conference, Role: role}}
	if !begun {
		o.Say = say("wait-for-start")
	}
	return o
}

// unknown ends the call of who dialled the conference himself, since dialling is how he would correct it.
func (e *Entry) unknown(now time.Time) Outcome {
	if e.from == password || !e.reception {
		return e.leave(now, "no such conference", "no-conference", "goodbye")
	}
	return e.failed(now, number, "no-conference")
}

func (e *Entry) failed(now time.Time, again state, prompt string) Outcome {
	if e.wrong++; e.wrong >= Tries {
		return e.leave(now, "too many tries", prompt, "goodbye")
	}
	return e.wait(now, again, prompt)
}

func (e *Entry) leave(now time.Time, why string, names ...string) Outcome {
	e.state, e.why, e.until = leaving, why, now.Add(Parting)
	return Outcome{Say: say(names...)}
}

// Pass does what is due: an entry is complete, a prompt is said again, a pause is over, an answer has not come, or the call ends.
func (e *Entry) Pass(now time.Time) Outcome {
	if e.until.IsZero() || now.Before(e.until) {
		return Outcome{}
	}
	switch e.state {
	case number, password:
		if len(e.digits) > 0 {
			return e.complete(now)
		}
		if e.silent++; e.silent >= Tries {
			return e.leave(now, "nothing was entered", "goodbye")
		}
		return e.wait(now, e.state)
	case pausing:
		return e.try(now, e.from, e.entered)
	case asking:
		return e.Answer(now, Failed, "", false)
	case leaving:
		e.state, e.until = over, time.Time{}
		return Outcome{HangUp: e.why}
	}
	return Outcome{}
}
