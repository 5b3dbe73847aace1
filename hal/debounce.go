package hal

import "time"

// Timing is what makes an edge a press. Every field must be above zero.
type Timing struct {
	Debounce time.Duration // a level counts when it has lasted so long
	Repeat   time.Duration // a press that begins so soon after the one before it is a repeated one
	Holding  time.Duration // a key that is down so long may become a long press
	Hold     time.Duration // and so long, is one
	Stuck    time.Duration // and so long, stuck
	Chatter  int           // more edges than this within a second is chattering
}

// DefaultTiming is what the settings begin with.
func DefaultTiming() Timing {
	return Timing{Debounce: 20 * time.Millisecond, Repeat: 400 * time.Millisecond, Holding: 2 * time.Second, Hold: 10 * time.Second,
		Stuck: 30 * time.Second, Chatter: 40}
}

// Kind is what happened to a key.
type Kind uint8

const (
	// Leading: the first down edge of what may become a press, told at once. For what is safe to do by mistake: closing
	// the microphone.
	Leading Kind = iota
	// Pressed: the key has been down for Timing.Debounce. Its Leading came before it.
	Pressed
	// Released: the key has been up for Timing.Debounce after a Pressed.
	Released
	// Holding: the key is down for Timing.Holding; once per press. A LongPress follows unless it is let go.
	Holding
	// LongPress: the key is down for Timing.Hold; once per press.
	LongPress
	// Stuck: the key is down for Timing.Stuck; it says nothing more until it is up again.
	Stuck
	// Chattering: more than Timing.Chatter edges in a second. Until Healed the key gives Leading only.
	Chattering
	// Healed: the key that was Stuck is up again, or the one that was Chattering has been quiet for a second.
	Healed
)

var kindNames = []string{"leading", "pressed", "released", "holding", "long-press", "stuck", "chattering", "healed"}

// String is the kind's name.
func (k Kind) String() string { return nameOf(kindNames, int(k)) }

// Event is something that happened to a key.
type Event struct {
	Key  Key
	Kind Kind
	At   time.Time // when it became true: the edge's own time, or the time at which a duration was over
	// Repeat, of Leading and Pressed: how many presses came in quick succession before this one. 1 is a double press.
	Repeat int
}

// chatterWindow is the time over which edges are counted, and for which a chattering key must be quiet to be healed.
const chatterWindow = time.Second

// Debounce makes events of edges. It is a pure state machine: it reads no clock and starts nothing. It belongs to one
// goroutine, which calls Edge for every edge and Advance when the time that Next tells has come.
type Debounce struct {
	timing Timing
	keys   [NumKeys]keyState
	now    time.Time // of the latest call: time does not run backwards
	events []Event
}

// keyState is one key. level is the wire, down is the debounced truth.
type keyState struct {
	level, down bool
	begun       bool      // Leading was told, and it is not yet decided what it becomes
	muffled     bool      // held since the start, or pressed while chattering: no Pressed, Released, Holding or LongPress
	holding     bool      // told for this press
	long, stuck bool      // told for this press
	chattering  bool      // told
	changed     time.Time // the last edge
	leading     time.Time // when this press began
	pressed     time.Time // when the latest press that came to be Pressed began
	streak      int       // its Repeat
	repeat      int       // of this press
	window      time.Time // edges are counted from here
	edges       int
}

// NewDebounce is a state machine with all keys up.
func NewDebounce(t Timing) *Debounce { return &Debounce{timing: t} }

// Edge takes an edge, and first everything that was due before it: late delivery changes nothing. The events are valid until
// the next call.
func (d *Debounce) Edge(e Edge) []Event {
	d.events = d.events[:0]
	if e.Key >= NumKeys {
		return nil
	}
	d.advance(e.At)
	k := &d.keys[e.Key]
	if e.Initial {
		d.lapse(e.Key, k)
		*k = keyState{level: e.Down, down: e.Down, muffled: e.Down, changed: d.now, leading: d.now}
		return d.events
	}
	d.count(e.Key, k)
	k.level, k.changed = e.Down, d.now
	if e.Down && !k.down && !k.begun {
		k.begun, k.leading, k.muffled = true, d.now, k.chattering
		k.repeat = 0
		if !k.pressed.IsZero() && d.now.Sub(k.pressed) <= d.timing.Repeat {
			k.repeat = k.streak + 1
		}
		d.tell(e.Key, Leading, d.now)
	}
	return d.events
}

// lapse ends what was told of a key, before it begins anew.
func (d *Debounce) lapse(key Key, k *keyState) {
	if k.down && !k.muffled {
		d.tell(key, Released, d.now)
	}
	if k.stuck || k.chattering {
		d.tell(key, Healed, d.now)
	}
}

// Advance lets time pass until now. The events are valid until the next call.
func (d *Debounce) Advance(now time.Time) []Event {
	d.events = d.events[:0]
	d.advance(now)
	return d.events
}

// Next is when Advance is to be called, or the zero time when nothing is due before the next edge.
func (d *Debounce) Next() (next time.Time) {
	for i := range d.keys {
		if at := d.keys[i].due(d.timing); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// advance lets what is due happen in the order of time, whatever the key.
func (d *Debounce) advance(now time.Time) {
	if now.Before(d.now) {
		return
	}
	for {
		at := d.Next()
		if at.IsZero() || at.After(now) {
			break
		}
		for i := range d.keys {
			if d.keys[i].due(d.timing).Equal(at) {
				d.happen(Key(i), &d.keys[i], at)
			}
		}
	}
	d.now = now
}

// due is when the next thing happens to the key by the passing of time alone.
func (k *keyState) due(t Timing) (at time.Time) {
	sooner := func(x time.Time) {
		if at.IsZero() || x.Before(at) {
			at = x
		}
	}
	if k.level != k.down || k.begun {
		sooner(k.changed.Add(t.Debounce))
	}
	if k.down && k.level && !k.holding && !k.muffled {
		sooner(k.heldFor(t.Holding))
	}
	if k.down && k.level && k.holding && !k.long && !k.muffled {
		sooner(k.heldFor(t.Hold))
	}
	if k.down && k.level && !k.stuck {
		sooner(k.heldFor(t.Stuck))
	}
	if k.chattering {
		sooner(k.changed.Add(chatterWindow))
	}
	return at
}

// heldFor is when the press has lasted so long; not while the wire is up, which may be a bounce or the end.
func (k *keyState) heldFor(d time.Duration) time.Time {
	if at := k.leading.Add(d); at.After(k.changed) {
		return at
	}
	return k.changed
}

// happen does one thing that is due at the time at.
func (d *Debounce) happen(key Key, k *keyState, at time.Time) {
	switch {
	case (k.level != k.down || k.begun) && k.changed.Add(d.timing.Debounce).Equal(at):
		d.settle(key, k, at)
	case k.chattering && k.changed.Add(chatterWindow).Equal(at):
		k.chattering, k.edges = false, 0
		d.tell(key, Healed, at)
	case k.down && k.level && !k.holding && !k.muffled && k.heldFor(d.timing.Holding).Equal(at):
		k.holding = true
		d.tell(key, Holding, at)
	case k.down && k.level && k.holding && !k.long && !k.muffled && k.heldFor(d.timing.Hold).Equal(at):
		k.long = true
		d.tell(key, LongPress, at)
	default:
		k.stuck = true
		d.tell(key, Stuck, at)
	}
}

// settle takes the wire's level for the truth.
func (d *Debounce) settle(key Key, k *keyState, at time.Time) {
	was := k.down
	k.down, k.begun = k.level, false
	switch {
	case k.down && !was && !k.muffled:
		k.pressed, k.streak = k.leading, k.repeat
		d.tell(key, Pressed, at)
	case was && !k.down:
		if !k.muffled {
			d.tell(key, Released, at)
		}
		if k.stuck {
			d.tell(key, Healed, at)
		}
		k.holding, k.long, k.stuck, k.muffled = false, false, false, false
	}
}

// count counts edges in windows of a second, and tells when there are too many.
func (d *Debounce) count(key Key, k *keyState) {
	if k.window.IsZero() || d.now.Sub(k.window) >= chatterWindow {
		k.window, k.edges = d.now, 0
	}
	if k.edges++; k.edges > d.timing.Chatter && !k.chattering {
		k.chattering = true
		d.tell(key, Chattering, d.now)
		k.muffled = k.muffled || !k.down // a press that was decided before stays one
	}
}

func (d *Debounce) tell(key Key, kind Kind, at time.Time) {
	e := Event{Key: key, Kind: kind, At: at}
	if kind == Leading || kind == Pressed {
		e.Repeat = d.keys[key].repeat
	}
	d.events = append(d.events, e)
}
