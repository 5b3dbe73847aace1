package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"parley/conference"
	"parley/conference/create"
	"parley/conference/journal"
	"parley/sip"
	"parley/sip/registrar"
)

// keeper hands what must outlive a power cut to the journal. The house's goroutine marks what changes and, when it has done
// what was posted, hands over copies; another one makes text of them, since that takes time.
//
//	do, seat, answered … → mark → flush: copies → Run: JSON → journal → whoever waits for it
//
// The keys of the journal:
//
//	conf/{uid}     keptMeeting
//	dialog/{leg}   keptDialog, of a call that is answered
//	place          keptSeat, while the place is in a conference
//	phone/{user}   where phones of the branch can be reached
//	alive          keptLife, with everything else and every few seconds while anybody is in
type keeper struct {
	journal *journal.Journal // nil: nothing can be kept
	log     *slog.Logger

	// What follows belongs to the house's goroutine.
	meetings map[*meeting][]func(durable bool) // marked, and who waits for them
	legs     map[*leg]bool                     // marked
	saved    map[string]uint64                 // sequence number of each conference as it was handed over last, by uid
	session  int
	beaten   time.Time
	clean    bool // the box has stopped in order

	mu    sync.Mutex // guards what follows
	keys  []string   // of entries, in order
	work  map[string]entry
	ready chan struct{}
}

// entry is what is to become of a key: a value, or none any more.
type entry struct {
	value any
	done  []func(durable bool)
}

// keptMeeting is a conference with what the house knows of it. Of the request that made it there is only the id: its digest
// would help who guesses passwords.
type keptMeeting struct {
	Version         int
	At              conference.Snapshot
	Moderator, User create.Secret
	By, Request     string
}

// keptDialog is an answered call, and whose it is.
type keptDialog struct {
	Dialog sip.Dialog
	keptSeat
}

// keptSeat is a place in a roster.
type keptSeat struct{ UID, Member string }

// keptLife tells when the box was last seen alive, and which numbers are taken.
type keptLife struct {
	At      time.Time
	Session int
	Counter int
	Clean   bool
}

// keptVersion is of what stands in the journal. Values of another one are not read.
const keptVersion = 1

const (
	confKey   = "conf/"
	dialogKey = "dialog/"
	phoneKey  = "phone/"
	placeKey  = "place"
	aliveKey  = "alive"
)

// beatPause is how exactly the moment of a crash is known.
const beatPause = 5 * time.Second

// unsaved is how many events of people talking, which are not worth a write, a conference may be ahead of the journal.
const unsaved = 256

func newKeeper(log *slog.Logger) *keeper {
	return &keeper{
		log: log, meetings: map[*meeting][]func(bool){}, legs: map[*leg]bool{}, saved: map[string]uint64{},
		work: map[string]entry{}, ready: make(chan struct{}, 1),
	}
}

// mark notes that a conference is to be kept as it is after what is being done now.
func (k *keeper) mark(r *meeting) { k.meetings[r] = k.meetings[r] }

// applied marks a conference unless all that has happened is that people talked.
func (k *keeper) applied(r *meeting, events []conference.Event) {
	for _, e := range events {
		if e.What != conference.Talking && e.What != conference.Resting || e.Seq > k.saved[e.UID]+unsaved {
			k.mark(r)
		}
	}
}

// markLeg notes that a call or the place is to be kept where it is after what is being done now.
func (k *keeper) markLeg(l *leg) { k.legs[l] = true }

// kept calls done once it is certain, or given up, that a conference as it is now outlives a power cut. done is called by
// another goroutine and must not block.
func (h *house) kept(r *meeting, done func(durable bool)) {
	h.keep.meetings[r] = append(h.keep.meetings[r], done)
}

// flush hands over what is marked: conferences last, so that who waits for one waits for the calls in it, too.
func (k *keeper) flush(h *house) {
	if len(k.meetings) == 0 && len(k.legs) == 0 {
		return
	}
	k.handLife(h)
	for l := range k.legs {
		k.handLeg(l)
	}
	clear(k.legs)
	for r, done := range k.meetings {
		if r.Phase() == conference.Over || !slices.Contains(h.meetings, r) {
			k.hand(confKey+r.UID(), nil, done)
			delete(k.saved, r.UID())
			continue
		}
		k.saved[r.UID()] = r.Seq()
		k.hand(confKey+r.UID(), keptMeeting{
			Version: keptVersion, At: r.Snapshot(), Moderator: r.moderator, User: r.user, By: r.request.By, Request: r.request.ID,
		}, done)
	}
	clear(k.meetings)
}

func (k *keeper) handLife(h *house) {
	k.beaten = h.now()
	k.hand(aliveKey, keptLife{At: k.beaten.Round(0), Session: k.session, Counter: h.counter, Clean: k.clean}, nil)
}

func (k *keeper) handLeg(l *leg) {
	if l.call == nil {
		if l.meeting == nil {
			k.hand(placeKey, nil, nil)
		} else {
			k.hand(placeKey, keptSeat{l.meeting.UID(), l.member}, nil)
		}
		return
	}
	if d, ok := l.call.Dialog(); ok && l.meeting != nil {
		k.hand(dialogKey+l.id, keptDialog{d, keptSeat{l.meeting.UID(), l.member}}, nil)
		l.kept = true
	} else if l.kept {
		k.hand(dialogKey+l.id, nil, nil)
		l.kept = false
	}
}

// beat notes now and then that the box is alive, while there is anything whose age would matter after a crash.
func (k *keeper) beat(h *house) {
	if h.now().Sub(k.beaten) < beatPause {
		return
	}
	for _, r := range h.meetings {
		if len(r.legs) > 0 || r.kind == conference.Immediate {
			k.handLife(h)
			return
		}
	}
}

// registered is told where the phones of a user can be reached now, by the registrar.
func (k *keeper) registered(user string, bindings []registrar.Binding) {
	if len(bindings) == 0 {
		k.hand(phoneKey+user, nil, nil)
		return
	}
	k.hand(phoneKey+user, bindings, nil)
}

// hand passes a key on to Run, after all that was passed on before, from any goroutine; what of it has not been written yet is replaced.
func (k *keeper) hand(key string, value any, done []func(bool)) {
	if k.journal == nil {
		tellAll(done, false)
		return
	}
	k.mu.Lock()
	old, waits := k.work[key]
	if waits {
		k.keys = slices.DeleteFunc(k.keys, func(o string) bool { return o == key })
	}
	k.keys = append(k.keys, key)
	k.work[key] = entry{value, append(old.done, done...)}
	k.mu.Unlock()
	select {
	case k.ready <- struct{}{}:
	default:
	}
}

func tellAll(done []func(bool), durable bool) {
	for _, f := range done {
		f(durable)
	}
}

// Run writes what is handed over until ctx ends, and then what is left.
func (k *keeper) Run(ctx context.Context) error {
	if k.journal == nil {
		<-ctx.Done()
		return nil
	}
	disk, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- k.journal.Run(disk) }()
	for ctx.Err() == nil {
		select {
		case <-k.ready:
			k.write()
		case <-ctx.Done():
		}
	}
	k.write()
	stop()
	if err := <-ended; err != nil {
		k.log.Warn("not all that should outlive the stop could be written down", "error", err)
	}
	return nil
}

// write passes everything that was handed over on to the journal.
func (k *keeper) write() {
	k.mu.Lock()
	keys, work := k.keys, k.work
	k.keys, k.work = nil, map[string]entry{}
	k.mu.Unlock()
	for _, key := range keys {
		e := work[key]
		done := func(durable bool) { tellAll(e.done, durable) }
		if e.value == nil {
			k.journal.Delete(key, done)
			continue
		}
		text, err := json.Marshal(e.value)
		if err == nil {
			err = k.journal.Put(key, text, done)
		} else {
			done(false)
		}
		if err != nil && !errors.Is(err, journal.ErrClosed) {
			k.log.Error("something that should outlive a power cut cannot be kept", "key", key, "error", err)
		}
	}
}

// openJournal opens what the last run has left. While the disk fails, an alert is raised. Without a journal the box runs, and what
// must last is refused. disk is nil but in tests.
func (b *box) openJournal(disk journal.FS) *past {
	fault := func(on bool, text string) { b.house.post(func() { b.house.fault("journal", on, text) }) }
	k := newKeeper(b.log)
	b.keep = k
	j, values, err := journal.Open(b.data.path("journal"), journal.Options{
		FS:      disk,
		OnFault: func(err error) { fault(true, fmt.Sprintf("what is decided now may not outlive a power cut: %v", err)) },
		OnHeal:  func() { fault(false, "") },
	})
	if err != nil {
		b.log.Warn("nothing will outlive a power cut: the journal cannot be opened", "error", err)
		return &past{fault: err}
	}
	if d := j.Damage(); d != (journal.Damage{}) {
		b.log.Warn("the journal was damaged", "cut_bytes", d.Torn, "unread_bytes", d.Unread, "commits", d.Frames, "error", d.Err)
	}
	k.journal = j
	return readPast(values, b.log)
}
