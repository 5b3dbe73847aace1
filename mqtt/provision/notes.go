package provision

import (
	"slices"
	"strings"
	"time"

	"parley/mqtt/wire"
)

// notes is what the box remembers of documents beside the documents themselves.
type notes struct {
	For     string        `json:"for"`               // eid and box: those of another are of no meaning
	Seen    uint64        `json:"seen"`              // the highest version that was applied for good, refused or undone
	Good    string        `json:"good,omitempty"`    // hash of the last one that was applied for good
	At      time.Time     `json:"at"`                // when that began
	Refused *wire.Refusal `json:"refused,omitempty"` // the newest genuine document that was
	By      string        `json:"by,omitempty"`      // the firmware that did
	Tried   *tried        `json:"tried,omitempty"`   // the last one that was, or is, on trial
}

// tried is one document that is tried, and how the box stood before.
type tried struct {
	Hash  string   `json:"hash"`
	Count int      `json:"count"`
	Sound bool     `json:"sound"`
	SIP   []string `json:"sip,omitempty"` // names of registrars that it was registered with
}

func newTried(d Document, count int, f Facts) *tried {
	t := &tried{Hash: d.Hash, Count: count, Sound: f.Sound}
	for _, r := range f.SIP {
		if r.Up {
			t.SIP = append(t.SIP, r.Name)
		}
	}
	return t
}

// unregistered lists where the box was registered before and is not now. Of registrars that are all new, one must do.
func (t *tried) unregistered(now []Registration) (list []string) {
	if len(t.SIP) == 0 {
		return nil
	}
	old, up := false, len(now) == 0
	for _, r := range now {
		before := slices.Contains(t.SIP, r.Name)
		old, up = old || before, up || r.Up
		if before && !r.Up {
			list = append(list, "sip "+r.Name)
		}
	}
	if !old && !up {
		list = append(list, "sip "+now[0].Name)
	}
	return list
}

// usable drops what no firmware of ours can have written.
func (n *notes) usable() {
	if (&wire.Reported{Schema: wire.SettingsSchema, Rejected: n.Refused}).Check() != nil {
		n.Refused = nil
	}
}

func (n *notes) tries(hash string) int {
	if n.Tried == nil || n.Tried.Hash != hash {
		return 0
	}
	return n.Tried.Count
}

func (n *notes) refuse(r wire.Refusal, by string) {
	r.Tidy()
	n.Seen, n.Refused, n.By = max(n.Seen, r.Version), &r, by
	if n.Tried != nil && n.Tried.Hash == r.Hash {
		n.Tried = nil
	}
}

func (n *notes) accept(d Document, now time.Time) {
	n.Seen, n.Good, n.At, n.Tried = max(n.Seen, d.Version), d.Hash, now.UTC(), nil
	if n.Refused != nil && n.Refused.Version <= d.Version {
		n.Refused = nil
	}
}

// static tells whether what was refused was refused for what it says, which other firmware may see otherwise.
func (n *notes) static() bool {
	return slices.Contains([]string{wire.ReasonUnknownField, wire.ReasonInvalidValue, wire.ReasonMissingSecret}, n.Refused.Reason)
}

func join(list []string) string { return strings.Join(list, ", ") }
