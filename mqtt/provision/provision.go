// Package provision is how a box comes by an enterprise and by its settings: it enrols with whoever its boot file says is to be trusted,
// and takes signed settings, on trial first.
//
//	desired (retained) ─► judge: signed? ours? newer? valid? ─► trial, on the disk ─► no call on? ─► the box begins anew
//	─► connected, heard, registered within confirm_s ─► good ─► reported
//	   not, or a crash or power cut meanwhile ─► good, as it was ─► rejected, with the reason
//
// It knows neither what a setting means, nor how a message travels: what it needs is handed to it. What it decides it decides as a
// state machine with the time as an argument; files are only ever replaced whole.
package provision

import (
	"errors"
	"slices"
	"time"

	"parley/mqtt/wire"
)

// Facts are how the box stands.
type Facts struct {
	Idle     bool // no call is on
	ClockSet bool
	MQTT     bool // connected to the broker, and heard there
	Sound    bool // the card is open
	SIP      []Registration
}

// whole tells whether nothing is missing.
func (f *Facts) whole() bool {
	return f.MQTT && f.Sound && !slices.ContainsFunc(f.SIP, func(r Registration) bool { return !r.Up })
}

// Registration is how it stands with one registrar.
type Registration struct {
	Name string
	Up   bool
}

// Fault is what Validate says of settings that cannot be used.
type Fault struct {
	Reason string // one of wire.SettingsReasons
	Path   string // of the field
	Detail string // for people
}

func (f *Fault) Error() string { return f.Path + ": " + f.Detail }

// Order is what the box is to do after a look.
type Order struct {
	Begin bool   // anew
	Trial uint64 // with this version, on trial; 0: with the last known good
}

const (
	// maxTries is how often settings are tried that end in a crash or a power cut.
	maxTries = 3
	// steady is how long all must be well with settings before they are good.
	steady = time.Second
	// patience is how long settings that failed are endured for the sake of a call.
	patience = 30 * time.Minute
	// settled is how long after its start the box is what it is: by then it has a card and its registrars, or has none.
	settled = 20 * time.Second
	// again is the pause before something is written again that could not be.
	again = 30 * time.Second
)

// Config is what a Settings needs.
type Config struct {
	Box      wire.Box
	Keys     wire.KeySet // whose signatures count
	Firmware string      // what another one has refused is looked at again
	Store    *Store
	Life     Life
	Began    time.Time // of the process, by the same clock as Run's
	// Validate says whether the box could run with a document, and whether it would be the same as it is. The error may be a *Fault.
	Validate func(wire.Desired) (same bool, err error)
	Drift    []wire.Drift // of the settings that the box runs with
}

// waiting is one document that waits for its trial.
type waiting struct {
	doc   Document
	busy  bool // has waited for calls
	tries int
}

// machine decides. Its methods take the time; it writes files and does nothing else.
type machine struct {
	Config
	good    *Document
	notes   notes
	next    *waiting      // to be tried
	bogus   *wire.Refusal // the newest that was refused and proves nothing; not kept
	proved  bool          // the trial has succeeded, and need only be written down
	undone  bool          // the trial has failed, and the box has yet to go back
	since   time.Time     // all has been well
	missing []string
	pending string
	held    []byte    // could not be written
	retry   time.Time // when that is tried again
	ended   bool      // the order to begin anew was given
}

func newMachine(c Config) *machine {
	kept := c.Store.Load(c.Box)
	m := &machine{Config: c, good: kept.Good, notes: kept.notes}
	if m.notes.At.IsZero() {
		m.notes.At = c.Began.UTC()
	}
	if c.Life.Problem != nil && c.Life.Doc == nil && m.good != nil {
		m.bogus = &wire.Refusal{Version: m.good.Version, Hash: m.good.Hash, Reason: wire.ReasonApplyFailed, Detail: c.Life.Problem.Error(), At: c.Began.UTC()}
	}
	switch {
	case kept.Trial == nil:
	case c.Life.Trial && c.Life.Doc.Hash == kept.Trial.Hash:
	default:
		m.next = &waiting{doc: *kept.Trial, tries: m.notes.tries(kept.Trial.Hash)}
	}
	return m
}

// onTrial tells whether the box runs with settings that are not good yet.
func (m *machine) onTrial() bool { return m.Life.Trial && !m.undone }

// receive judges a document.
func (m *machine) receive(now time.Time, envelope []byte) {
	if len(envelope) == 0 || m.ended {
		return
	}
	hash := wire.HashOf(envelope)
	if m.known(hash) {
		return
	}
	m.held = nil
	d, hash, err := wire.OpenDesired(m.Box, envelope, m.Keys)
	if err != nil {
		r := wire.RefusalOf(err)
		r.Version, r.Hash = d.Version, hash
		m.refuse(now, r, false)
		return
	}
	doc := Document{Desired: d, Hash: hash, Envelope: envelope}
	if m.stale(doc) {
		m.refuse(now, wire.Refusal{Version: d.Version, Hash: hash, Reason: wire.ReasonStaleVersion}, false)
		return
	}
	same, err := m.Validate(d)
	if err != nil {
		r := wire.Refusal{Version: d.Version, Hash: hash, Reason: wire.ReasonInvalidValue, Detail: err.Error()}
		var f *Fault
		if errors.As(err, &f) {
			r.Reason, r.Path, r.Detail = f.Reason, f.Path, f.Detail
		}
		m.refuse(now, r, true)
		return
	}
	m.take(now, doc, same && !m.Life.Trial && m.Life.Problem == nil)
}

// known tells whether a document is one that has been dealt with: there is nothing more to say of it.
func (m *machine) known(hash string) bool {
	refused := m.notes.Refused
	return m.good != nil && m.good.Hash == hash && (m.Life.Doc == nil || !m.Life.Trial) && m.next == nil ||
		m.next != nil && m.next.doc.Hash == hash || m.onTrial() && m.Life.Doc.Hash == hash ||
		m.bogus != nil && m.bogus.Hash == hash && m.held == nil ||
		refused != nil && refused.Hash == hash && (m.notes.By == m.Firmware || !m.notes.static())
}

// stale tells whether a document is not newer than what the box has had. What other firmware has refused may be tried once more, and so may what
// was good and is lost.
func (m *machine) stale(doc Document) bool {
	switch {
	case m.next != nil && doc.Version <= m.next.doc.Version, m.onTrial() && doc.Version <= m.Life.Doc.Version:
		return true
	case m.good == nil && m.notes.Good == doc.Hash:
		return false
	case doc.Version == m.notes.Seen && m.notes.Refused != nil && m.notes.Refused.Hash == doc.Hash:
		return false
	}
	return doc.Version <= m.notes.Seen
}

// take keeps a document that is valid. One that changes nothing needs no trial.
func (m *machine) take(now time.Time, doc Document, same bool) {
	var err error
	if same {
		err = m.Store.putGood(doc)
	} else {
		err = m.Store.putTrial(doc)
	}
	if err != nil {
		m.hold(now, doc, err)
		return
	}
	m.bogus = nil
	if same {
		m.next = nil
		m.Life.Doc = &doc
		m.accept(now, doc)
		return
	}
	m.next = &waiting{doc: doc, tries: m.notes.tries(doc.Hash)}
}

// hold refuses a document for now that cannot be written down.
func (m *machine) hold(now time.Time, doc Document, err error) {
	m.held, m.retry = doc.Envelope, now.Add(again)
	m.refuse(now, wire.Refusal{Version: doc.Version, Hash: doc.Hash, Reason: wire.ReasonStorageFull, Detail: err.Error()}, false)
}

// refuse notes why a document does not hold. What is genuine is kept, so that it is not looked at again.
func (m *machine) refuse(now time.Time, r wire.Refusal, genuine bool) {
	r.At = now.UTC()
	r.Tidy()
	if !genuine {
		m.bogus = &r
		return
	}
	m.bogus = nil
	m.notes.refuse(r, m.Firmware)
	if err := m.Store.putNotes(m.notes); err != nil {
		m.bogus = &r // it is told all the same
	}
}

// accept notes that a document is good.
func (m *machine) accept(now time.Time, doc Document) {
	m.good = &doc
	m.Life.Trial, m.Life.Problem = false, nil
	m.notes.accept(doc, now)
	m.Store.putNotes(m.notes) // what is lost with it is when, and what was refused before
}

// look says what is to be done now.
func (m *machine) look(now time.Time, f Facts) Order {
	m.missing, m.pending = nil, ""
	switch {
	case m.ended:
		return Order{}
	case m.held != nil && !now.Before(m.retry):
		envelope := m.held
		m.bogus = nil
		m.held = nil
		m.receive(now, envelope)
	}
	if m.Life.Trial && !m.undone {
		m.prove(now, f)
	}
	if m.undone && (f.Idle || now.Sub(m.Began) > patience) {
		return m.end(0)
	}
	if m.next == nil {
		return Order{}
	}
	return m.try(now, f)
}

func (m *machine) end(trial uint64) Order {
	m.ended = true
	return Order{Begin: true, Trial: trial}
}

// prove looks whether settings on trial are good, or have had their time.
func (m *machine) prove(now time.Time, f Facts) {
	doc := *m.Life.Doc
	m.missing = lacks(f, m.notes.Tried)
	switch {
	case len(m.missing) > 0:
		m.since = time.Time{}
	case m.since.IsZero():
		m.since = now
	}
	if m.proved = m.proved || len(m.missing) == 0 && now.Sub(m.since) >= steady; m.proved {
		if now.Before(m.retry) {
			return
		}
		if err := m.Store.promote(doc); err != nil {
			m.retry = now.Add(again)
			return
		}
		m.accept(now, doc)
		return
	}
	if now.Sub(m.Began) < time.Duration(doc.ConfirmS)*time.Second {
		return
	}
	detail := "was not steady"
	if len(m.missing) > 0 {
		detail = "without " + join(m.missing)
	}
	m.undone = true
	m.fail(now, doc, wire.ReasonConfirmTimeout, detail)
}

// fail refuses a document that was to be tried, and takes it away: in this order, so that a power cut in between leaves nothing that would be
// tried again.
func (m *machine) fail(now time.Time, doc Document, reason, detail string) {
	m.refuse(now, wire.Refusal{Version: doc.Version, Hash: doc.Hash, Reason: reason, Detail: detail}, true)
	if m.next == nil { // else its file has taken the place
		m.Store.dropTrial()
	}
}

// lacks lists what a box on trial does not have that it must have.
func lacks(f Facts, before *tried) (list []string) {
	if !f.MQTT {
		list = append(list, "mqtt")
	}
	if before == nil {
		before = &tried{}
	}
	if before.Sound && !f.Sound {
		list = append(list, "sound")
	}
	return append(list, before.unregistered(f.SIP)...)
}

// try begins the trial of what waits, if nothing speaks against it.
func (m *machine) try(now time.Time, f Facts) Order {
	w := m.next
	give := func(reason, detail string) Order {
		m.next = nil
		m.fail(now, w.doc, reason, detail)
		return Order{}
	}
	switch {
	case w.tries >= maxTries:
		return give(wire.ReasonRolledBack, "the box ended while it ran with them")
	case w.doc.Exp > 0 && !f.ClockSet:
		m.pending = wire.ReasonClockUnset
		return Order{}
	case w.doc.Exp > 0 && now.Unix() >= w.doc.Exp && w.busy:
		return give(wire.ReasonBusy, "calls went on until exp")
	case w.doc.Exp > 0 && now.Unix() >= w.doc.Exp:
		return give(wire.ReasonExpired, "")
	case !f.Idle:
		w.busy, m.pending = true, wire.ReasonBusy
		return Order{}
	case now.Before(m.retry), !m.Life.Trial && now.Sub(m.Began) < settled && !f.whole():
		m.pending = wire.ReasonBusy
		return Order{}
	}
	before := newTried(w.doc, w.tries+1, f)
	if old := m.notes.Tried; old != nil && (m.Life.Trial || w.tries > 0) { // it is to be as it was with what was good
		before.Sound, before.SIP = old.Sound, old.SIP
	}
	noted := m.notes
	noted.Tried = before
	if err := m.Store.putNotes(noted); err != nil {
		m.retry = now.Add(again)
		m.refuse(now, wire.Refusal{Version: w.doc.Version, Hash: w.doc.Hash, Reason: wire.ReasonStorageFull, Detail: err.Error()}, false)
		return Order{}
	}
	m.notes = noted
	return m.end(w.doc.Version)
}

// report is what is to be told.
func (m *machine) report() wire.Reported {
	r := wire.Reported{Schema: wire.SettingsSchema, Drift: m.Drift, Rejected: m.notes.Refused}
	if m.good != nil {
		r.Good = m.good.version(m.notes.At)
	}
	if d := m.Life.Doc; d != nil {
		r.Applied = d.version(m.notes.At)
		if m.onTrial() {
			r.Applied.At = m.Began.UTC()
			r.Trial = &wire.Trial{Version: d.Version, ConfirmS: d.ConfirmS, Try: max(1, m.notes.tries(d.Hash)), Missing: m.missing}
		}
	}
	if m.next != nil && m.pending != "" {
		r.Pending = &wire.Pending{Version: m.next.doc.Version, Reason: m.pending}
	}
	if m.bogus != nil {
		r.Rejected = m.bogus
	}
	return r
}
