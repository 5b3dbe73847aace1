package update

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Config is what an Updater needs.
type Config struct {
	Machine *Machine // nil: there are no slots, and every order fails for that
	Host    Host
	Store   Store
	Fetch   Fetch         // nil: by HTTP
	Confirm time.Duration // in which a slot that is tried must prove healthy
	Busy    func() bool   // a call is on, which must not suffer
	Health  func() Health // how the box is doing
	Restart func()        // restarts the machine, in order
	Report  func(Record)  // is told whatever changes; it must not block
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
	// Sleep waits, or returns the context's error; nil: in real time.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Updater carries out orders, one after the other. Make it with New; Run is its life. Order may be called from any goroutine.
type Updater struct {
	cfg        Config
	rec        Record // Run's
	chunk      int64  // bytes that are read and written at once
	checkpoint int64  // so many bytes are written between two syncs

	mu        sync.Mutex // guards what follows
	last      uint64     // order that was taken
	next      *Order     // has come and is not dealt with yet; one without parts takes the last back
	interrupt context.CancelFunc
	wake      chan struct{}
}

// New makes an updater at rest.
func New(cfg Config) *Updater {
	if cfg.Fetch == nil {
		cfg.Fetch = Get
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Sleep == nil {
		cfg.Sleep = sleep
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Updater{cfg: cfg, chunk: 256 << 10, checkpoint: 4 << 20, wake: make(chan struct{}, 1)}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Order hands an order over. One that is not above the last is passed over. A newer one takes the place of one that is under way, until
// that is to be tried.
func (u *Updater) Order(o Order) { u.hand(o) }

// Withdraw takes the order back that is under way, until it is to be tried.
func (u *Updater) Withdraw() { u.hand(Order{}) }

func (u *Updater) hand(o Order) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(o.Manifest.Parts) > 0 && o.ID <= u.last {
		return
	}
	u.next = &o
	if u.interrupt != nil {
		u.interrupt()
	}
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// taken gives what has come.
func (u *Updater) taken() *Order {
	u.mu.Lock()
	defer u.mu.Unlock()
	o := u.next
	u.next = nil
	if o != nil {
		u.last = max(u.last, o.ID)
	}
	return o
}

// interruptible is a context that ends when an order comes.
func (u *Updater) interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	u.mu.Lock()
	defer u.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	u.interrupt = cancel
	if u.next != nil {
		cancel()
	}
	return ctx, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.interrupt = nil
		cancel()
	}
}

// Run finds out what became of the last update, goes on with one that was under way, and carries out orders until ctx ends.
func (u *Updater) Run(ctx context.Context) error {
	var err error
	if u.rec, err = u.cfg.Store.Load(); err != nil {
		u.cfg.Log.Warn("what became of the last update cannot be read", "error", err)
		u.rec = Record{}
	}
	u.mu.Lock()
	u.last = u.rec.Order.ID
	u.mu.Unlock()
	if u.cfg.Machine != nil {
		u.resume(ctx)
	}
	if u.rec.Phase != "" {
		u.cfg.Report(u.rec)
	}
	for ctx.Err() == nil { // after the end nothing is touched: the boot loader may have its orders
		if o := u.taken(); o != nil {
			u.accept(*o)
		}
		if !u.rec.Phase.over() {
			u.work(ctx)
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-u.wake:
		}
	}
	return nil
}

// accept begins an order, if it is one to begin.
func (u *Updater) accept(o Order) {
	switch {
	case len(o.Manifest.Parts) == 0:
		if !u.rec.Phase.over() {
			u.failed(ErrWithdrawn)
		}
		return
	case o.ID <= u.rec.Order.ID:
		return
	}
	u.rec = Record{Order: o}
	u.cfg.Log.Info("an update is ordered", "order", o.ID, "version", o.Manifest.Version)
	if u.cfg.Machine == nil {
		u.failed(ErrNoSlots)
		return
	}
	if err := u.cfg.Host.Fits(o.Manifest, o.Downgrade); err != nil {
		u.failed(err)
		return
	}
	if o.Manifest.Version == u.cfg.Host.Version && !o.Downgrade {
		u.rec.Detail = "it runs already"
		u.phase(Updated)
		return
	}
	u.rec.Slot = u.cfg.Machine.Running.Other()
	u.phase(Queued)
}

// work brings an order to its end, or to the restart in which it is tried. It returns early when another order comes.
func (u *Updater) work(whole context.Context) {
	ctx, done := u.interruptible(whole)
	defer done()
	err := u.install(ctx)
	if err == nil {
		if err = u.quiet(ctx); err == nil {
			if err = u.arm(); err != nil {
				u.settle(u.cfg.Machine.Running) // what failed may have come half way
			}
		}
	}
	switch {
	case err == nil:
		done()
		u.restart(whole)
	case ctx.Err() != nil: // another order, or the end of all
	default:
		u.failed(err)
	}
}

// quiet waits until no call is on.
func (u *Updater) quiet(ctx context.Context) error {
	if !u.cfg.Busy() {
		return ctx.Err()
	}
	u.waits("until no call is on")
	defer u.waits("")
	for u.cfg.Busy() {
		if err := u.cfg.Sleep(ctx, look); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// look is how often the updater looks whether what it waits for has come.
const look = time.Second

// restart has the machine restart and waits for the end.
func (u *Updater) restart(ctx context.Context) {
	u.cfg.Log.Info("the machine restarts", "slot", u.rec.Slot)
	u.cfg.Restart()
	<-ctx.Done()
}

// phase begins a phase, keeps and tells it.
func (u *Updater) phase(p Phase) error {
	u.rec.Phase, u.rec.At = p, u.cfg.Now().UTC()
	err := u.save()
	u.cfg.Log.Info("update", "order", u.rec.Order.ID, "version", u.rec.Order.Manifest.Version, "phase", p, "detail", u.rec.Detail)
	u.cfg.Report(u.rec)
	return err
}

func (u *Updater) save() error {
	if err := u.cfg.Store.Save(u.rec); err != nil {
		return errors.Join(ErrStore, err)
	}
	return nil
}

// failed ends an update that came to nothing.
func (u *Updater) failed(err error) {
	u.rec.Reason, u.rec.Detail, u.rec.Head = reasonOf(err), text(err), nil
	u.phase(Failed) // if it cannot be kept, the next start finds out again
}

// text is an error in one line.
func text(err error) string { return strings.ReplaceAll(err.Error(), "\n", ": ") }

// waits tells what the update waits for; empty: for nothing any more.
func (u *Updater) waits(what string) {
	if u.rec.Detail != what {
		u.rec.Detail = what
		u.cfg.Report(u.rec)
	}
}

// jitter is a pause of d, give or take a third, so that a hundred boxes do not ask all at once.
func jitter(d time.Duration) time.Duration { return d*2/3 + rand.N(d*2/3) }
