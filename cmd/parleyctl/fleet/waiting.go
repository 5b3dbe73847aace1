package fleet

import (
	"errors"
	"io/fs"
	"time"
)

// Waiting is a box that has asked and was not accepted.
type Waiting struct {
	Serial string    `json:"serial"`
	Model  string    `json:"model"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason,omitempty"` // for which it was rejected; none: it is not on the list
}

// KeepWaiting replaces what Waiting gives.
func (f *Fleet) KeepWaiting(boxes map[string]Waiting) error {
	return f.writeJSON("waiting.json", boxes)
}

// Waiting gives the boxes that were not accepted while the last server ran, by name.
func (f *Fleet) Waiting() (map[string]Waiting, error) {
	boxes := map[string]Waiting{}
	if err := f.readJSON("waiting.json", &boxes); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return boxes, nil
}

// KeepSeen replaces what Seen gives.
func (f *Fleet) KeepSeen(boxes map[string]time.Time) error { return f.writeJSON("seen.json", boxes) }

// Seen gives when a server heard of each box last.
func (f *Fleet) Seen() (map[string]time.Time, error) {
	boxes := map[string]time.Time{}
	if err := f.readJSON("seen.json", &boxes); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return boxes, nil
}
