package main

import (
	"crypto/ed25519"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"parley/conference/store"
	"parley/mqtt"
	"parley/mqtt/wire"
)

// messages keeps what is written to the conferences' groups, so that who comes late finds it, and tells the senders that it
// is kept (C-30, C-32). The messages themselves go from member to member through the broker; the box only reads along.
//
//	broker → receive: readable? whose? → house: does the conference stand, does it take messages? → log → disk → sender's notice
//
// receive runs on the client's goroutine, and what the log says comes on the log's.
type messages struct {
	house *house
	out   publisher
	log   *store.Log // nil: nothing can be kept
	slog  *slog.Logger
	keys  *senderKeys // nil: nobody is known

	eid, box string
	room     func() (uint64, error) // free bytes of the disk
	key      ed25519.PrivateKey     // of the box; nil: it signs nothing
	rate     bucket                 // belongs to the client's goroutine
	told     map[string]bool        // what was logged, and need not be again; the client's goroutine's

	full                         atomic.Bool // the disk refused the last message
	kept, doubles, refused, malf atomic.Uint64
}

// What is looked at of a flood, in all conferences together.
const (
	messagesPerSecond = 50
	messagesAtOnce    = 500
)

// maxTold bounds what is remembered as logged.
const maxTold = 256

// receive is called by the client for every message to anybody; those to people are none of the box's business.
func (m *messages) receive(in mqtt.Message) {
	t, err := wire.ParseTopic(in.Topic)
	if err != nil || t.EID != m.eid || in.Retained {
		return // what the broker kept was a message of another day
	}
	uid, ok := wire.ConferenceOf(t.User)
	if !ok || !m.ours(uid) {
		return
	}
	msg, err := wire.DecodeMessage(in.Payload)
	if err != nil {
		m.unreadable(uid, err)
		return
	}
	if len(msg.Media) == 0 {
		return // there is nothing to keep
	}
	if !m.rate.take(m.house.now()) {
		m.answer(uid, &msg, 0, store.ErrBusy)
		return
	}
	if msg.From == m.box {
		m.own(in.Topic, uid, &msg)
		return
	}
	e := store.Entry{
		ID: msg.ID, From: msg.From, At: m.house.now(), Kind: in.Payload[0], Body: slices.Clone(in.Payload[1:]),
		Verified: m.keys.proves(in.Topic, &msg, m.house.now()),
	}
	m.house.post(func() { m.take(uid, &msg, e) })
}

// ours tells whether the uid is one that this box has made: {box}-{session}-{number}. Others' conferences are on the same broker.
func (m *messages) ours(uid string) bool {
	rest, ok := strings.CutPrefix(uid, m.box+"-")
	session, number, ok2 := strings.Cut(rest, "-")
	return ok && ok2 && isDigits(session) && isDigits(number)
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// unreadable counts a message that makes no sense. Who sent it is not known, so that it is logged once for each conference.
func (m *messages) unreadable(uid string, err error) {
	m.malf.Add(1)
	if m.first(uid) {
		m.slog.Warn("a message cannot be read; further ones to this conference are only counted", "conference", uid, "error", err)
	}
}

// first tells whether nothing was logged yet of what this is about.
func (m *messages) first(what string) bool {
	if m.told[what] {
		return false
	}
	if len(m.told) >= maxTold {
		clear(m.told)
	}
	m.told[what] = true
	return true
}

// own looks at a message in the box's name. What it has sent itself it has kept; others may not speak for it.
func (m *messages) own(topic, uid string, msg *wire.Message) {
	if m.key != nil && msg.Verify(topic, m.key.Public().(ed25519.PublicKey)) == nil {
		return
	}
	m.refused.Add(1)
	if m.first("own " + uid) {
		m.slog.Warn("somebody writes in the name of the box; further messages to this conference are only counted", "conference", uid)
	}
}

// What a message can be refused for, beside what the log says.
var (
	errNoConference = errors.New("there is no such conference")
	errMessagesOff  = errors.New("the conference takes no messages")
	errBarred       = errors.New("was kicked out")
)

// take has a message written, if its conference takes it. It runs on the house's goroutine.
func (m *messages) take(uid string, msg *wire.Message, e store.Entry) {
	if err := m.house.takes(uid, e.From); err != nil {
		m.answer(uid, msg, 0, err)
		return
	}
	if err := m.append(uid, e, func(seq uint64, err error) { m.answer(uid, msg, seq, err) }); err != nil {
		m.answer(uid, msg, 0, err)
	}
}

// takes tells why a conference takes no message from somebody; nil: it does.
func (h *house) takes(uid, from string) error {
	r := h.known(uid)
	if r == nil {
		return errNoConference
	}
	s := r.Snapshot()
	switch {
	case s.Messages:
		return errMessagesOff
	case from != "" && slices.Contains(s.Barred, from):
		return errBarred
	}
	return nil
}

// append hands a message to the log. done is called by the log's goroutine, unless there is an error.
func (m *messages) append(uid string, e store.Entry, done func(seq uint64, err error)) error {
	if m.log == nil {
		return errNoLog
	}
	return m.log.Append(uid, e, func(seq uint64, dup bool, err error) {
		switch {
		case err != nil:
			m.trouble(err)
		case dup:
			m.doubles.Add(1)
		default:
			m.kept.Add(1)
			m.heal()
		}
		done(seq, err)
	})
}

var errNoLog = errors.New("messages are not kept")

// trouble raises the alert when the disk does not take a message. Conferences go on, and so do their messages.
func (m *messages) trouble(err error) {
	if !errors.Is(err, store.ErrClosed) && !m.full.Swap(true) {
		m.slog.Warn("messages are not kept", "error", err)
		m.house.post(func() { m.house.fault(messagesFault, true, "messages are not kept: "+err.Error()) })
	}
}

func (m *messages) heal() {
	if m.full.Swap(false) {
		m.house.post(func() { m.house.fault(messagesFault, false, "") })
	}
}

const messagesFault = "messages"

// figures are what the metrics page tells of messages.
func (m *messages) figures(gauge func(name string, f func() float64)) {
	for name, n := range map[string]*atomic.Uint64{
		"kept": &m.kept, "doubles": &m.doubles, "refused": &m.refused, "malformed": &m.malf,
	} {
		gauge("messages_"+name+"_total", func() float64 { return float64(n.Load()) })
	}
}

// answer tells the sender what became of a message: err is nil when it is on disk, as number seq. Who gave neither an id nor a
// name that topics take is told nothing. It may be called from any goroutine.
func (m *messages) answer(uid string, msg *wire.Message, seq uint64, err error) {
	if err != nil {
		m.refused.Add(1)
	}
	to, bad := wire.NewUser(m.eid, msg.From)
	if bad != nil || msg.ID == "" {
		return
	}
	n := wire.Settled(wire.NoticeMessage, m.house.now(), msg.ID, nil, true, &wire.Result{UID: uid, Seq: seq})
	if err != nil {
		n = wire.Settled(wire.NoticeMessage, m.house.now(), msg.ID, err, true, &wire.Result{UID: uid})
		n.Reason, n.Detail = messageReason(err), "" // what the disk said is for the log
	}
	if payload, err := wire.Encode(&n); err == nil {
		m.out.Publish(to.Notice(), payload, 1, false)
	}
}

func messageReason(err error) string {
	for _, r := range messageReasons {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return wire.ReasonUnavailable
}

var messageReasons = []struct {
	err    error
	reason string
}{
	{errNoConference, wire.ReasonNoConference}, {errMessagesOff, wire.ReasonMessagesOff}, {errBarred, wire.ReasonBarred},
	{store.ErrSpace, wire.ReasonStorageFull}, {store.ErrQuota, wire.ReasonStorageFull}, {store.ErrBusy, wire.ReasonBusy},
	{store.ErrClosed, wire.ReasonOver}, {store.ErrTooLarge, wire.ReasonTooLarge}, {store.ErrInvalid, wire.ReasonInvalidValue},
}

// bucket lets so many through at once and refills with time.
type bucket struct {
	left float64
	at   time.Time
}

func (b *bucket) take(now time.Time) bool {
	if b.at.IsZero() {
		b.left = messagesAtOnce
	} else {
		b.left = min(messagesAtOnce, b.left+max(0, now.Sub(b.at).Seconds())*messagesPerSecond)
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
