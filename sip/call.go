// A call: its face, and the goroutine that owns it.

package sip

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"parley/audio"
	"parley/sip/rtp"
)

// Direction is who began a call.
type Direction uint8

const (
	// In is a call that came to us.
	In Direction = iota
	// Out is a call that we placed.
	Out
)

// String names the direction for logs and topics.
func (d Direction) String() string { return [...]string{"in", "out"}[d] }

// State is how far a call has come.
type State uint8

const (
	// Calling: an INVITE is under way and not answered; for an incoming call, nobody has decided.
	Calling State = iota
	// Alerting: it rings.
	Alerting
	// Talking: answered with 200.
	Talking
	// Over: ended.
	Over
	// Restoring: it was answered before the program was started again, and is being taken up.
	Restoring
)

// String names the state for logs and topics.
func (s State) String() string {
	return [...]string{"calling", "alerting", "talking", "over", "restoring"}[s]
}

// Info is what a call is made of at the moment.
type Info struct {
	State     State
	Transport string         // "udp", "tcp", "tls"
	Peer      netip.AddrPort // signalling address of the far end
	Format    audio.Format   // of the leg; zero before there is one
	SRTP      bool
	HeldHere  bool          // we hold the far end
	HeldThere bool          // the far end holds us
	User      string        // admitted user name, from the digest or certificate; empty if none was asked for
	Many      bool          // User is a PBX, known by its certificate: who of those behind it calls is not proved
	Upstream  string        // name of the upstream by whose contact it came, or through which it went
	Began     time.Time     // Dial or INVITE
	Answered  time.Time     // zero before
	Agent     string        // the far end's User-Agent or Server header, printable
	Expires   time.Duration // session interval, 0 without session timer
}

// Call is one call, a dialog with a leg. Its methods may be called from any goroutine, also from within a Handler, and do
// not block: what they ask for is done on the call's own goroutine, and what comes of it is told by events.
type Call struct {
	agent     *Agent
	id        string
	direction Direction
	number    string
	from      string
	name      string
	target    string // the Request-URI of an incoming call, the dialled one of an outgoing
	headers   map[string]string
	box       *mailbox
	done      chan struct{}

	mu      sync.Mutex // guards what other goroutines may read
	info    Info
	leg     *rtp.Leg
	focus   bool
	seen    [64]string // transactions of the dialog's latest requests
	seenN   int
	saved   *Dialog
	instead *Call    // whose place it takes, until it is over itself
	far     []string // the far end's tags, as far as they are known

	// Everything below belongs to the call's goroutine.
	key     dialogKey
	merge   string // key in Agent.invites
	dialog  dialog
	media   media
	uas     uas
	uac     uac
	re      reinvite
	session session
	refer   referState
	take    takeover
	watch   mediaWatch
	early   []*inbound // requests that came before the dialog was complete
	timers  map[*time.Timer]struct{}
	ended   bool
	ctx     context.Context // ends with the call
	stop    context.CancelFunc
}

// ID is the call's name in this program: unique, and no secret.
func (c *Call) ID() string { return c.id }

// Direction is who began it.
func (c *Call) Direction() Direction { return c.direction }

// Number is what was dialled: the user part of the Request-URI, with escapes resolved. For a call that came by the contact
// registered with an upstream it is the upstream's Number if there is one, else the user part of To.
func (c *Call) Number() string { return c.number }

// From is the far end's number of an incoming call, and ours of an outgoing one.
func (c *Call) From() string { return c.from }

// Name is the display name of the caller, printable, at most 128 bytes, and proves nothing.
func (c *Call) Name() string { return c.name }

// Target is the Request-URI of an incoming call and the To of an outgoing one.
func (c *Call) Target() string { return c.target }

// Header is a header of the INVITE that began an incoming call, by its full name in any case; empty if it was not there.
func (c *Call) Header(name string) string { return c.headers[canonical(name)] }

// Leg is the call's mixer port, nil before EarlyMedia or Answered, and closed by Ended.
func (c *Call) Leg() *rtp.Leg {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leg
}

// State is how far the call has come.
func (c *Call) State() State { return c.Info().State }

// Info is a copy of what the call is made of now.
func (c *Call) Info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.info
}

// Done is closed when the call is over and Ended was delivered.
func (c *Call) Done() <-chan struct{} { return c.done }

// SetFocus says that this end is a conference (RFC 4579): Contact carries isfocus. To be called before Ring or Answer.
func (c *Call) SetFocus(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.focus = on
}

// Ring sends 180.
func (c *Call) Ring() error { return c.post(c.ring) }

// Progress sends 183 with an answer, so that the far end hears the leg before Answer.
func (c *Call) Progress() error { return c.post(c.progress) }

// Answer takes the call. Answered follows, or Ended.
func (c *Call) Answer() error { return c.post(c.answer) }

// Reject refuses an incoming call with a final code from 300 to 699. An empty reason takes the usual one.
func (c *Call) Reject(code int, reason string) error {
	if code < 300 || code > 699 || !printable(reason, maxReason) {
		return fmt.Errorf("%w: reject %d %q", ErrInvalid, code, reason)
	}
	return c.post(func() { c.reject(code, reason) })
}

// Hangup ends the call, whatever its state: by CANCEL, BYE, or 603 for one not yet answered. Ended follows.
func (c *Call) Hangup(reason string) error {
	if !printable(reason, maxReason) {
		return fmt.Errorf("%w: reason %q", ErrInvalid, reason)
	}
	return c.post(func() { c.hangup(reason) })
}

// Hold puts the far end on hold by re-INVITE, or takes it off. MediaChanged follows.
func (c *Call) Hold(on bool) error { return c.post(func() { c.hold(on) }) }

// SetCodecs offers other codecs by re-INVITE, in order of preference. MediaChanged follows if that changed anything.
func (c *Call) SetCodecs(codecs []audio.Codec) error {
	if len(codecs) == 0 {
		return fmt.Errorf("%w: no codec", ErrInvalid)
	}
	return c.post(func() { c.recode(codecs) })
}

// Refresh sends the session description again by re-INVITE, for instance after the box's own address changed.
func (c *Call) Refresh() error { return c.post(c.readdress) }

// SendDTMF presses digits (0-9 * # A-D) for d each: by RFC 4733 if it was negotiated, else by INFO. At most 32.
func (c *Call) SendDTMF(digits string, d time.Duration) error {
	if !validDigits(digits) || d <= 0 || d > 5*time.Second {
		return fmt.Errorf("%w: digits %q", ErrInvalid, digits)
	}
	return c.post(func() { c.sendDTMF(digits, d) })
}

// Refer asks the far end to call target (a SIP URI). ReferProgress follows.
func (c *Call) Refer(target string) error {
	uri, err := parseURI(target)
	if err != nil {
		return err
	}
	return c.post(func() { c.sendRefer(uri) })
}

// post has f done on the call's goroutine. Orders from the program are always taken.
func (c *Call) post(f func()) error {
	if !c.box.put(func() {
		if !c.ended {
			f()
		}
	}, true) {
		return ErrEnded
	}
	return nil
}

// run is the call's goroutine.
func (c *Call) run() {
	check := time.NewTicker(c.agent.cfg.Timers.MediaCheck)
	defer check.Stop()
	for !c.ended {
		select {
		case <-c.box.wake:
			for !c.ended {
				f := c.box.take()
				if f == nil {
					break
				}
				f()
			}
		case ev := <-c.media.events():
			c.onLegEvent(ev)
		case <-check.C:
			c.watchMedia()
		case <-c.agent.life.Done():
			c.over(503, "going down", Local)
		}
	}
	c.finish()
}

// after has f done on the call's goroutine after d, unless the call ends before or the timer is stopped.
func (c *Call) after(d time.Duration, f func()) *time.Timer {
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		c.box.put(func() {
			if _, live := c.timers[t]; live && !c.ended {
				delete(c.timers, t)
				f()
			}
		}, true)
	})
	c.timers[t] = struct{}{}
	return t
}

// stopTimer stops t for good: also when it has fired and its work is still waiting in the mailbox.
func (c *Call) stopTimer(t **time.Timer) {
	if *t != nil {
		(*t).Stop()
		delete(c.timers, *t)
		*t = nil
	}
}

func (c *Call) emit(e Event) {
	if c.agent.cfg.Handler != nil {
		c.agent.cfg.Handler.Event(c, e)
	}
}

// over ends the call: nothing is done after it but telling so. The first reason counts.
func (c *Call) over(code int, reason string, by Side) {
	if c.ended {
		return
	}
	c.ended = true
	c.update(func(i *Info) { i.State, c.instead = Over, nil })
	c.stop()
	for t := range c.timers {
		t.Stop()
	}
	clear(c.timers)
	c.media.close()
	c.refer.end()
	c.agent.log.Info("sip: call ended", "call", c.id, "direction", c.direction, "number", c.number, "from", c.from, "code", code,
		"reason", clean(reason, maxReason), "by", by, "lasted", c.agent.cfg.Now().Sub(c.Info().Began).Round(time.Millisecond))
	c.emit(Event{Kind: Ended, Code: code, Reason: clean(reason, maxReason), By: by})
}

// finish leaves the agent's tables and answers what still waited.
func (c *Call) finish() {
	c.agent.forget(c)
	c.agent.subs.drop(c.key)
	for _, in := range c.early {
		in.reply(481, "")
	}
	for _, f := range c.box.close() {
		f() // each looks at c.ended: requests get 481, orders come to nothing
	}
	close(c.done)
}

// update changes what others may read.
func (c *Call) update(f func(*Info)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.info)
}

// fresh reports whether a request of this transaction is the first to arrive, and remembers it.
func (c *Call) fresh(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.seen {
		if k == key {
			return false
		}
	}
	c.seen[c.seenN%len(c.seen)] = key
	c.seenN++
	return true
}
