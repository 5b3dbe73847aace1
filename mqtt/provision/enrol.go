package provision

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"parley/mqtt/wire"
)

// Link is a connection to a broker as somebody who may only ask to be enrolled.
type Link interface {
	// Subscribe is called before Run, once. The handler must not block.
	Subscribe(filter string, take func(topic string, payload []byte)) error
	Publish(topic string, payload []byte) error
	Up() bool // connected, and the subscription granted
	Run(ctx context.Context) error
}

// Enrolment is how a box asks to be enrolled until it is. Make it with NewEnrolment; Run is its life.
type Enrolment struct {
	cfg     EnrolConfig
	asked   wire.EnrolRequest
	topics  wire.Prov
	answers chan answer
	warned  map[string]bool
}

// EnrolConfig is what an Enrolment needs.
type EnrolConfig struct {
	Box, Serial, Model, Firmware string
	Identity                     *Identity
	Keys                         []string // public keys of operators, of image and boot file: no other's answers count
	Places                       func(ctx context.Context) []Place
	Dial                         func(url string) (Link, error)
	Wanted                       func() bool          // now; nil: always. A box that is enrolled may want to ask once more
	Done                         func()               // the box is enrolled and is to begin anew
	Tell                         func(refused string) // why it is refused for now; empty: it is not. nil: nobody wants to know
	Log                          *slog.Logger

	// The pauses; zero is what a box takes.
	Connect     time.Duration // how long a connection may take
	First, Most time.Duration // between two questions without an answer, doubling
	Refused     time.Duration // after a rejection
}

// answer is a message that came, as it came.
type answer struct {
	topic   string
	payload []byte
}

func orElse(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	}
}

// NewEnrolment makes one at rest. The identity's keys are on the disk by now.
func NewEnrolment(c EnrolConfig) (*Enrolment, error) {
	orElse(&c.Connect, 15*time.Second)
	orElse(&c.First, 5*time.Second)
	orElse(&c.Most, 10*time.Minute)
	orElse(&c.Refused, 10*time.Minute)
	topics, err := wire.NewProv(c.Box)
	if err != nil {
		return nil, err
	}
	seal := wire.EncodeSealKey(c.Identity.Seal.PublicKey())
	csr, err := wire.NewCSR(c.Identity.TLS, c.Box, seal)
	if err != nil {
		return nil, err
	}
	e := &Enrolment{cfg: c, topics: topics, answers: make(chan answer, 8), warned: map[string]bool{}}
	e.asked = wire.EnrolRequest{Schema: wire.EnrolSchema, Nonce: rand.Text(), Box: c.Box, Serial: c.Serial, Model: c.Model,
		Firmware: c.Firmware, CSR: csr, Seal: seal}
	return e, e.asked.Check()
}

// Run asks wherever a broker may be, again and again, until the box is enrolled; then it waits for ctx to end, as it does before.
func (e *Enrolment) Run(ctx context.Context) error {
	wait := e.cfg.First
	for {
		for _, p := range e.places(ctx) {
			if p.Shown {
				e.once("shown "+p.URL, "a broker announces itself, and is not used for that alone: name it in the boot file", "broker", p.URL, "by", p.From)
				continue
			}
			e.once("asks "+p.URL, "the box asks to be enrolled", "broker", p.URL, "by", p.From)
			if e.visit(ctx, p.URL) {
				e.cfg.Done()
				<-ctx.Done()
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, e.cfg.Most)
	}
}

func (e *Enrolment) tell(refused string) {
	if e.cfg.Tell != nil {
		e.cfg.Tell(refused)
	}
}

// places lists where to ask now: nowhere while that is not wanted.
func (e *Enrolment) places(ctx context.Context) []Place {
	if !e.wanted() {
		return nil
	}
	return e.cfg.Places(ctx)
}

func (e *Enrolment) wanted() bool { return e.cfg.Wanted == nil || e.cfg.Wanted() }

// once logs something once.
func (e *Enrolment) once(what, text string, args ...any) {
	const most = 64
	if !e.warned[what] && len(e.warned) < most {
		e.warned[what] = true
		e.cfg.Log.Info(text, args...)
	}
}

// visit asks at one broker for as long as it is there, and tells whether the box has been enrolled.
func (e *Enrolment) visit(ctx context.Context, url string) bool {
	link, err := e.cfg.Dial(url)
	if err == nil {
		err = link.Subscribe(e.topics.Answers(), e.take)
	}
	if err != nil {
		e.once("dial "+url, "a broker cannot be used for enrolment", "broker", url, "error", err)
		return false
	}
	ctx, leave := context.WithCancel(ctx)
	left := make(chan struct{})
	go func() {
		defer close(left)
		link.Run(ctx)
	}()
	defer func() { leave(); <-left }()
	return e.stay(ctx, link)
}

// take is called by the link for every answer. One that finds no room comes again when the box asks again.
func (e *Enrolment) take(topic string, payload []byte) {
	if topic == e.topics.CSR() {
		return // its own question
	}
	select {
	case e.answers <- answer{topic, append([]byte(nil), payload...)}:
	default:
	}
}

// stay asks, and waits for answers, until the box is enrolled or the connection is gone for good.
func (e *Enrolment) stay(ctx context.Context, link Link) bool {
	const look = 100 * time.Millisecond
	tick := time.NewTicker(look)
	defer tick.Stop()
	wait, ask, seen := e.cfg.First, time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return false
		case a := <-e.answers:
			done, pause := e.judge(a)
			if done {
				return true
			}
			if pause > 0 {
				ask = time.Now().Add(pause)
			}
		case now := <-tick.C:
			if !e.wanted() {
				return false
			}
			if !link.Up() {
				if now.Sub(seen) > e.cfg.Connect {
					return false
				}
				continue
			}
			seen = now
			if now.Before(ask) {
				continue
			}
			if payload, err := wire.Encode(&e.asked); err == nil {
				link.Publish(e.topics.CSR(), payload)
			}
			ask, wait = now.Add(wait), min(2*wait, e.cfg.Most)
		}
	}
}

// judge says what an answer means: the box is enrolled, or when it is to ask again; zero: the answer is none.
func (e *Enrolment) judge(a answer) (done bool, pause time.Duration) {
	topic, err := wire.ParseTopic(a.topic)
	if err != nil || topic.Kind != wire.KindEnrol {
		return false, 0
	}
	got, err := wire.OpenEnrolAnswer(topic.Status, a.payload, keySet(e.cfg.Keys), &e.asked)
	if err == nil && got.Status == wire.EnrolAccepted {
		_, err = pair(e.cfg.Identity.TLS, &got)
	}
	if err != nil {
		e.once("answer "+kindOf(err), "an answer to the enrolment is not believed", "status", topic.Status, "error", err)
		return false, 0
	}
	switch got.Status {
	case wire.EnrolPending:
		e.once("pending", "the enrolment waits for the operator")
		e.tell("")
		return false, time.Duration(got.RetryAfter) * time.Second
	case wire.EnrolRejected:
		e.once("rejected "+got.Reason, "the enrolment is refused", "reason", got.Reason, "detail", got.Detail)
		e.tell(strings.TrimSuffix(got.Reason+": "+got.Detail, ": "))
		return false, e.cfg.Refused
	}
	if old := e.cfg.Identity.Enrolled; old != nil && old.same(&got) {
		e.once("same", "the enrolment is as it was")
		e.tell("")
		return false, e.cfg.Most
	}
	keep := Enrolled{Answer: got, Keys: append(append([]string(nil), e.cfg.Keys...), got.Keys...)}
	if err := e.cfg.Identity.Keep(keep); err != nil {
		e.once("keep", "the enrolment cannot be kept", "error", err)
		return false, again
	}
	e.cfg.Log.Info("the box is enrolled", "eid", got.EID, "broker", got.Broker)
	return true, 0
}

// same tells whether another answer grants the same.
func (e *Enrolled) same(a *wire.EnrolAnswer) bool {
	o := &e.Answer
	return o.EID == a.EID && o.Broker == a.Broker && o.Certificate == a.Certificate && o.CA == a.CA && slices.Equal(o.Keys, a.Keys)
}

// kindOf is what makes two faults the same for the log.
func kindOf(err error) string {
	for _, kind := range []error{wire.ErrUnsigned, wire.ErrUnknownKey, wire.ErrBadSignature, wire.ErrNotOurs, ErrIdentity} {
		if errors.Is(err, kind) {
			return kind.Error()
		}
	}
	return "other"
}

// keySet makes a set of keys that settings have checked.
func keySet(keys []string) wire.KeySet {
	set := wire.KeySet{}
	for _, k := range keys {
		if pub, err := wire.ParsePublicKey(k); err == nil {
			set[wire.KeyID(pub)] = pub
		}
	}
	return set
}
