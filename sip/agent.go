// The agent: its settings, its life, and the tables of what it has going.

package sip

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	gosip "github.com/emiago/sipgo/sip"

	"parley/audio"
	"parley/sip/admit"
	"parley/sip/guard"
	"parley/sip/registrar"
	"parley/sip/route"
	"parley/sip/rtp"
	"parley/sip/sdp"
)

// SRTPPolicy says what becomes of media encryption (SDES, RFC 4568).
type SRTPPolicy = sdp.Policy

// The policies.
const (
	// SRTPDisable never encrypts.
	SRTPDisable = sdp.Disable
	// SRTPAllow offers encryption over TLS, and takes it where it is offered.
	SRTPAllow = sdp.Allow
	// SRTPRequire refuses calls without encryption.
	SRTPRequire = sdp.Require
)

// Listener is one socket that the agent serves.
type Listener struct {
	Network string // "udp", "tcp" or "tls"
	Addr    string // host:port with a numeric host; port 0 takes a free one
}

// Handler decides about calls and hears what becomes of them. Both methods run on the call's own goroutine, in order, and
// must not block: while they do, this one call's messages wait.
type Handler interface {
	// Incoming is told of an admitted call with an acceptable offer. It decides with Ring, Progress, Answer or Reject,
	// at once or later.
	Incoming(*Call)
	Event(*Call, Event)
}

// Timers are the agent's times. A zero field takes the default, which is the figure of the RFC or of the product.
type Timers struct {
	T1            time.Duration // round trip estimate: 500 ms; retransmissions of 200 start with it
	T2            time.Duration // longest retransmission interval: 4 s
	AckWait       time.Duration // 200 without ACK: 64·T1
	Try           time.Duration // no response at all from a target: 5 s, then the next one
	NoAnswer      time.Duration // an outgoing call rings: 60 s
	Linger        time.Duration // how long an INVITE that was given up is waited for: 64·T1
	MediaAlert    time.Duration // no RTP: 30 s to MediaLost
	MediaEnd      time.Duration // no RTP: 60 s to BYE
	MediaCheck    time.Duration // how often that is looked at: 1 s
	Glare         time.Duration // unit of the random wait after 491: 1 s (RFC 3261, 14.1)
	RegisterRetry time.Duration // first pause after a failed registration: 2 s, doubled up to 64 times that
	Stop          time.Duration // how long Run waits for its calls at the end: 2 s
	Second        time.Duration // what a second in a header (Expires, Session-Expires, Retry-After) lasts: 1 s
}

// Config is an agent's settings. It is not changed after New.
type Config struct {
	Listen    []Listener
	TLS       *tls.Config // for TLS listeners
	TLSClient *tls.Config // for outgoing TLS; nil: the system's roots
	Advertise string      // host put into Via, Contact and SDP instead of the local address

	Codecs       []audio.Codec // in order of preference
	SRTP         SRTPPolicy    // without TLS, Allow is Disable and Require refuses the call
	JitterTarget time.Duration // of the legs' jitter buffers; 0 is their default
	SRTPInsecure bool          // SDES keys also without TLS: for tests, since everybody on the way can read them
	Ports        *rtp.Ports
	Poller       *rtp.Poller

	Guard     *guard.Counters      // what the guard refused; may be nil
	Gate      *admit.Gate          // nil: nobody is asked for credentials
	Registrar *registrar.Registrar // nil: REGISTER is not served
	Routes    *route.Table         // nil: only URIs and registered contacts can be dialled
	Upstreams []Upstream           // where we register

	MaxCalls       int // at once, both directions; 0 means 64
	MaxSubscribers int // conference event package; 0 means 64

	SessionExpires time.Duration // asked for and granted, RFC 4028; 0 means 1800 s
	MinSE          time.Duration // shorter wishes get 422; 0 means 90 s

	Handler Handler
	// AllowRefer is asked whether a REFER within a call is taken. nil refuses all.
	AllowRefer func(c *Call, target string) bool
	// ConferenceInfo tells how a conference stands (RFC 4575); false if there is none with that number. It is called on
	// goroutines of the agent's, and what it gives is not changed any more by either side.
	ConferenceInfo func(number string) (*ConferenceState, bool)

	UserAgent string // for the User-Agent and Server headers; "Parley" if empty
	Log       *slog.Logger
	Now       func() time.Time
	Timers    Timers
}

// Errors of the agent.
var (
	// ErrEnded: the call or the agent is over.
	ErrEnded = errors.New("sip: ended")
	// ErrState: the call is not in a state where this can be done.
	ErrState = errors.New("sip: not now")
	// ErrBusy: as many calls as allowed are going on.
	ErrBusy = errors.New("sip: too many calls")
	// ErrInvalid: an argument that would not survive in a SIP header, or makes no sense there.
	ErrInvalid = errors.New("sip: invalid argument")
	// ErrNoRoute: there is nowhere to send this number.
	ErrNoRoute = errors.New("sip: no route")
	// ErrListen: a socket could not be opened.
	ErrListen = errors.New("sip: cannot listen")
)

// ListenError says which socket could not be opened. It is an ErrListen.
type ListenError struct {
	Listener Listener
	Err      error
}

func (e *ListenError) Error() string {
	return fmt.Sprintf("%v on %s %s: %v", ErrListen, e.Listener.Network, e.Listener.Addr, e.Err)
}

// Unwrap gives ErrListen and the system's reason.
func (e *ListenError) Unwrap() []error { return []error{ErrListen, e.Err} }

// Agent is a SIP user agent: see the package comment. All methods may be called from any goroutine.
type Agent struct {
	cfg    Config
	log    *slog.Logger
	net    *network
	tp     *gosip.TransportLayer
	tx     *gosip.TransactionLayer
	life   context.Context // ends when everything must stop, after the grace of Timers.Stop
	cancel context.CancelFunc
	ready  chan struct{} // closed when the sockets listen
	wg     sync.WaitGroup

	outside map[gosip.RequestMethod]func(*Agent, *inbound)
	inside  map[gosip.RequestMethod]func(*Call, *inbound)
	heard   atomic.Uint64 // datagrams
	uplinks []*uplink
	subs    *subscriptions
	ids     *callIDs

	mu       sync.Mutex
	stopping bool // no new calls
	closed   bool // no new goroutines
	calls    map[dialogKey]*Call
	invites  map[string]int              // merged requests, RFC 3261, 8.2.2.2
	tickets  map[*gosip.Request]*inbound // requests within dialogs on their way through the transaction layer
	pending  int                         // INVITE transactions that were given up and still linger
}

// New makes an agent at rest.
func New(cfg Config) *Agent {
	cfg = cfg.withDefaults()
	a := &Agent{
		cfg:     cfg,
		log:     cfg.Log,
		outside: outside(),
		inside:  inside(),
		ready:   make(chan struct{}),
		calls:   make(map[dialogKey]*Call),
		invites: make(map[string]int),
		tickets: make(map[*gosip.Request]*inbound),
		ids:     newCallIDs(),
	}
	a.life, a.cancel = context.WithCancel(context.Background())
	a.net = newNetwork(a)
	a.subs = newSubscriptions(a)
	for _, u := range cfg.Upstreams {
		a.uplinks = append(a.uplinks, newUplink(a, u))
	}
	return a
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.UserAgent == "" {
		c.UserAgent = "Parley"
	}
	setInt(&c.MaxCalls, 64)
	setInt(&c.MaxSubscribers, 64)
	setDur(&c.SessionExpires, 1800*time.Second)
	setDur(&c.MinSE, 90*time.Second)
	t := &c.Timers
	setDur(&t.T1, 500*time.Millisecond)
	setDur(&t.T2, 4*time.Second)
	setDur(&t.AckWait, 64*t.T1)
	setDur(&t.Try, 5*time.Second)
	setDur(&t.NoAnswer, 60*time.Second)
	setDur(&t.Linger, 64*t.T1)
	setDur(&t.MediaAlert, 30*time.Second)
	setDur(&t.MediaEnd, 60*time.Second)
	setDur(&t.MediaCheck, time.Second)
	setDur(&t.Glare, time.Second)
	setDur(&t.RegisterRetry, 2*time.Second)
	setDur(&t.Stop, 2*time.Second)
	setDur(&t.Second, time.Second)
	return c
}

func setDur(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}

func setInt(n *int, def int) {
	if *n <= 0 {
		*n = def
	}
}

// Ready is closed once every listener is open.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Addrs are the listeners with the ports that they really have, in the order of Config.Listen. Empty before Ready.
func (a *Agent) Addrs() []Listener {
	select {
	case <-a.ready:
		return a.net.addrs()
	default:
		return nil
	}
}

// Run listens and serves until ctx ends; then every call gets BYE or CANCEL, registrations are taken back, and after at most
// Timers.Stop all sockets are closed and all goroutines gone. It runs once.
func (a *Agent) Run(ctx context.Context) error {
	defer a.cancel()
	if err := a.net.open(); err != nil {
		return err
	}
	a.net.serve()
	close(a.ready)
	for _, u := range a.uplinks {
		a.goDo(func() { u.run(ctx) })
	}
	a.goDo(func() { a.subs.run(ctx) })
	<-ctx.Done()
	a.stop()
	a.cancel()
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.net.muted.Store(true)
	a.wg.Wait()
	a.tx.Close()
	a.net.close()
	return nil
}

// stop hangs up every call and waits, no longer than Timers.Stop, until all of them and the registrations are done.
func (a *Agent) stop() {
	a.mu.Lock()
	a.stopping = true
	calls := make([]*Call, 0, len(a.calls))
	for _, c := range a.calls {
		calls = append(calls, c)
	}
	a.mu.Unlock()
	for _, c := range calls {
		c.Hangup("going down")
	}
	deadline := time.NewTimer(a.cfg.Timers.Stop)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !a.idle() {
		select {
		case <-deadline.C:
			a.log.Warn("sip: calls did not end in time")
			return
		case <-poll.C:
		}
	}
}

func (a *Agent) idle() bool {
	for _, u := range a.uplinks {
		if !u.gone() {
			return false
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.calls) == 0 && a.pending == 0
}

// ending reports whether Run is about to end: there is no time to wait for the far end.
func (a *Agent) ending() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stopping
}

// Calls is the number of calls that there are, in any state.
func (a *Agent) Calls() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.calls)
}

// goDo runs f in a goroutine that Run waits for. It reports false, and does nothing, once Run has begun to wait.
func (a *Agent) goDo(f func()) bool {
	if !a.begin() {
		return false
	}
	go func() {
		defer a.wg.Done()
		f()
	}()
	return true
}

// begin counts something that Run waits for at its end, and that calls wg.Done; false when it is too late for it.
func (a *Agent) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.wg.Add(1)
	}
	return !a.closed
}

// seconds turns a number in a header into time.
func (a *Agent) seconds(n int) time.Duration { return time.Duration(n) * a.cfg.Timers.Second }

// localHost is what the far end at h can reach us by.
func (a *Agent) localHost(h hop) string {
	switch {
	case a.cfg.Advertise != "":
		return a.cfg.Advertise
	case h.local != "":
		return h.local
	}
	return a.net.towards(h.addr.Addr())
}
