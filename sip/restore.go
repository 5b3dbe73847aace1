// Calls that were going on when the program ended without a word: taken up in the dialogs that there are, or ended.

package sip

import (
	"fmt"
	"time"
)

// takeover is the part of a Call that only one has that was restored.
type takeover struct {
	silence  *time.Timer // no response at all
	deadline *time.Timer // and none that counts
}

// Restore takes up the call that d is the record of: the same dialog, RTP port and SSRC. The call is Restoring; a re-INVITE goes
// out as soon as Run listens, and what the far end sends in the dialog meanwhile is served. Then Answered follows, or Ended: by
// Remote with the code with which the far end refused (481: it knows the call no more), by Watchdog with 408 if it is silent for
// Timers.Try.
//
// Before Run it can be called too, and should be: then no request of the far end finds the dialog unknown. An error means that
// nothing was sent: ErrInvalid for a record that makes no sense, ErrState if the call is there, ErrBusy, ErrEnded.
func (a *Agent) Restore(d Dialog) (*Call, error) {
	dlg, err := d.dialog(a)
	if err != nil {
		return nil, err
	}
	c, err := d.call(a, dlg)
	if err != nil {
		return nil, err
	}
	if a.life.Err() != nil {
		return nil, ErrEnded
	}
	if a.find(c.key) != nil {
		return nil, fmt.Errorf("%w: the call is there", ErrState)
	}
	if a.cfg.Gate != nil && d.Caller != "" && a.cfg.Gate.Enter(d.Caller) {
		c.uas.caller = d.Caller
	}
	if err := a.admitCall(c); err != nil {
		a.leave(c)
		return nil, err
	}
	a.log.Info("sip: restoring", "call", c.id, "number", c.number, "from", c.from)
	if !a.goDo(c.run) {
		a.forget(c)
		return nil, ErrEnded
	}
	a.goDo(func() {
		select {
		case <-a.ready:
			c.post(c.reclaim)
		case <-c.ctx.Done():
		}
	})
	return c, nil
}

// Bye ends a dialog that is too old to be taken up: one BYE, without sound, as soon as Run listens. It does not wait; whether the
// far end hears it is not known. An error is an ErrInvalid or ErrEnded.
func (a *Agent) Bye(d Dialog) error {
	dlg, err := d.dialog(a)
	if err != nil {
		return err
	}
	if a.life.Err() != nil {
		return ErrEnded
	}
	a.release(dlg, 200, "")
	return nil
}

// reclaim takes the ports and tells the far end that we are back.
func (c *Call) reclaim() {
	if err := c.media.open(c.dialog.hop); err != nil {
		c.agent.log.Warn("sip: no leg", "call", c.id, "err", err)
		c.bye(503, "no media port", Local)
		return
	}
	c.take.deadline = c.after(c.agent.cfg.Timers.NoAnswer, func() { c.bye(408, "not restored in time", Watchdog) })
	c.renegotiate()
}

// expect bounds how long the far end of a call that is being restored may be silent.
func (t *takeover) expect(c *Call) {
	if c.State() == Restoring {
		c.stopTimer(&t.silence)
		t.silence = c.after(c.agent.cfg.Timers.Try, func() { c.bye(408, "no response", Watchdog) })
	}
}

// restored: the far end and we have agreed again, by our re-INVITE or by one of theirs.
func (c *Call) restored() {
	if !c.media.ready() { // the answer comes in the ACK
		return
	}
	c.stopTimer(&c.take.silence)
	c.stopTimer(&c.take.deadline)
	c.stopTimer(&c.re.later)
	c.re.wanted = false
	c.update(func(i *Info) { i.State = Talking })
	c.established()
}
