package main

import (
	"fmt"
	"time"

	"parley/mqtt"
	"parley/mqtt/wire"
)

// fault notes that something is wrong with the box, or no longer is: the lamp and an alert show it for as long as it lasts.
// It belongs to the house's goroutine.
func (h *house) fault(id string, on bool, text string) {
	old, was := h.faults[id]
	if on == was && (!on || old.text == text) {
		return
	}
	if on {
		since := h.now()
		if was {
			since = old.since
		}
		h.faults[id] = fault{text: text, since: since}
	} else {
		delete(h.faults, id)
	}
	if h.alert != nil {
		h.alert(id, h.faults[id])
	}
	h.place.changed()
}

// fault is one thing that is wrong; the zero value is one that is over.
type fault struct {
	text  string
	since time.Time
}

// ready tells that the box is ready from now on.
func (t *topics) ready() {
	t.isReady = true
	t.state()
}

// state tells whether something is wrong with a box that is ready.
func (t *topics) state() {
	word := wire.Ready
	if len(t.house.faults) > 0 {
		word = wire.Alerting
	}
	if t.updating {
		word = wire.Updating
	}
	if t.isReady && word != t.word {
		t.word = word
		t.tell(t.box.State(), &wire.BoxState{State: word, Sess: uint64(t.house.session)}, true)
	}
}

// alert tells a fault on its own retained topic, which is emptied when the fault is over.
func (t *topics) alert(id string, f fault) {
	t.state()
	topic, err := t.box.Alert(id)
	if err != nil {
		t.house.log.Error("a fault of our own has no valid name", "id", id, "error", err)
		return
	}
	if f.text == "" {
		t.out.Publish(topic, nil, 1, true)
		return
	}
	t.tell(topic, &wire.Alert{Sev: "warning", Text: f.text, Since: f.since.UTC()}, true)
}

// refused raises the alert of a message that the broker does not take: it stands until the next start.
func (b *box) refused(m mqtt.Message) {
	b.house.post(func() {
		b.house.fault("mqtt-refused", true, fmt.Sprintf(
			"the broker closes the connection over %s (%d bytes), which is told no more: it is too long for the broker, or its rules do not allow it",
			m.Topic, len(m.Payload)))
	})
}
