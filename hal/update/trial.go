package update

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Bounds of a try.
const (
	steady     = 5 // so many looks in a row the box must be healthy
	mostAsked  = 3 // so often the machine is restarted to have a slot tried
	mostStarts = 3 // so often the box may start in a slot that is tried
)

// arm has the boot loader try the slot once. What must be known afterwards is kept first.
func (u *Updater) arm() error {
	u.rec.Was, u.rec.Asked, u.rec.Starts, u.rec.Detail = u.cfg.Health(), 1, 0, ""
	if err := u.phase(Updating); err != nil {
		return err
	}
	return u.boot(func(s State) (State, error) {
		return State{Good: s.Good, Try: u.rec.Slot, Left: 1}, nil
	})
}

// situation is how a start finds the machine.
type situation int

const (
	plain     situation = iota // nothing is tried; an update may be under way
	onTrial                    // the slot that runs is being tried
	stranded                   // the good slot does not boot: the other one runs
	confirmed                  // the slot that runs has proved healthy, and that was not noted
	untried                    // the machine has restarted, and the boot loader has not tried the slot
	unarmed                    // the boot loader was not told yet to try the slot
	returned                   // the slot was tried, and the good one runs again
)

// judge tells how a start finds the machine, by what was kept, what the boot loader goes by, and what runs.
func judge(r Record, s State, running Slot) situation {
	switch {
	case s.Good != running && s.Try == running:
		return onTrial
	case s.Good != running:
		return stranded
	case r.Phase != Updating:
		return plain
	case r.Slot == running:
		return confirmed
	case s.Try != r.Slot:
		return unarmed
	case s.Left > 0:
		return untried
	}
	return returned
}

// resume finds out at the start what became of the last update.
func (u *Updater) resume(ctx context.Context) {
	var state State
	err := u.boot(func(s State) (State, error) { state = s; return s, nil })
	if err != nil {
		u.cfg.Log.Error("the boot state cannot be read", "error", err)
		return
	}
	running := u.cfg.Machine.Running
	switch judge(u.rec, state, running) {
	case plain:
		if u.rec.Phase.over() && state.Try != None {
			u.settle(running)
		}
	case onTrial:
		u.trial(ctx)
	case stranded:
		u.stranded(ctx, state.Good)
	case confirmed:
		u.rec.Detail = ""
		u.phase(Updated)
	case unarmed:
		u.rec.Phase = Downloaded
	case untried:
		u.untried(ctx)
	case returned:
		cause := u.rec.Detail
		if cause == "" {
			cause = "it did not start, or the power was cut before it had proved healthy"
		}
		u.failed(fmt.Errorf("%w: %s", ErrRolledBack, cause))
		u.settle(running)
	}
}

// settle has the boot loader boot a slot and try none.
func (u *Updater) settle(good Slot) error {
	err := u.boot(func(State) (State, error) { return State{Good: good, Try: None}, nil })
	if err != nil {
		u.cfg.Log.Error("the boot state cannot be written", "error", err)
	}
	return err
}

// untried restarts the machine again, or gives the update up.
func (u *Updater) untried(ctx context.Context) {
	if u.rec.Asked >= mostAsked {
		u.failed(fmt.Errorf("%w, %d times", ErrNotTried, u.rec.Asked))
		u.settle(u.cfg.Machine.Running)
		return
	}
	u.rec.Asked++
	if err := u.save(); err != nil {
		u.failed(err)
		u.settle(u.cfg.Machine.Running)
		return
	}
	if u.quiet(ctx) == nil {
		u.restart(ctx)
	}
}

// trial waits until the box has proved healthy in the slot that runs, which then is the good one. If it does not in time, the machine is
// restarted: the boot loader takes the good slot.
func (u *Updater) trial(ctx context.Context) {
	if u.rec.Phase != Updating || u.rec.Slot != u.cfg.Machine.Running { // what was noted is lost
		u.rec = Record{Phase: Updating, Slot: u.cfg.Machine.Running, At: u.cfg.Now().UTC()}
		u.rec.Order.Manifest.Version = u.cfg.Host.Version
	}
	u.rec.Starts++
	u.rec.Detail = "" // a cause of an earlier start is overtaken
	if err := u.save(); err != nil {
		u.cfg.Log.Warn("that a slot is being tried cannot be noted", "error", err)
	}
	u.cfg.Report(u.rec)
	if u.rec.Starts > mostStarts {
		u.giveUp(ctx, fmt.Errorf("the program has ended %d times", mostStarts))
		return
	}
	err := u.prove(ctx)
	if err == nil {
		err = u.settle(u.cfg.Machine.Running)
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		u.giveUp(ctx, err)
	default:
		u.phase(Updated)
	}
}

// stranded makes the slot that runs the good one, once the box has been up for a moment: the boot loader has come here because the other
// does not boot.
func (u *Updater) stranded(ctx context.Context, good Slot) {
	running := u.cfg.Machine.Running
	u.cfg.Log.Error("the good slot does not boot", "slot", good, "running", running)
	if u.cfg.Sleep(ctx, steady*look) == nil {
		u.settle(running)
	}
}

// errLate: the box was not healthy in time.
var errLate = errors.New("it was not healthy in time")

// prove watches the box until it has been healthy for a while. After the time to confirm it goes on only while a call is on, which the
// way back would end.
func (u *Updater) prove(ctx context.Context) error {
	good, began := 0, u.cfg.Now()
	for {
		lacks := u.cfg.Health().lacks(u.rec.Was)
		if good++; lacks != "" {
			good = 0
		}
		if good >= steady {
			return nil
		}
		if late := u.cfg.Now().Sub(began) >= u.cfg.Confirm; late && lacks != "" && !u.cfg.Busy() {
			return fmt.Errorf("%w: %s within %v", errLate, lacks, u.cfg.Confirm.Round(time.Second))
		}
		if err := u.cfg.Sleep(ctx, look); err != nil {
			return err
		}
	}
}

// giveUp notes why the slot that is tried is none to stay with, and restarts the machine into the good one.
func (u *Updater) giveUp(ctx context.Context, cause error) {
	u.rec.Detail = text(cause)
	u.cfg.Log.Error("the new firmware is given up", "cause", cause)
	if err := u.save(); err != nil {
		u.cfg.Log.Warn("the cause cannot be noted", "error", err)
	}
	u.cfg.Report(u.rec)
	u.restart(ctx)
}
