package main

import (
	"encoding/json"
	"fmt"
	"io"

	"parley/hal/update"
	"parley/mqtt/wire"
)

// fleetFigures are those of what comes from outside: settings and firmware.
func (b *box) fleetFigures(gauge func(string, func() float64)) {
	settings := func(f func(*wire.Reported) float64) func() float64 {
		return func() float64 {
			if r := b.reported.Load(); r != nil {
				return f(r)
			}
			return 0
		}
	}
	gauge("enrolled", func() float64 { return truth(b.layers.identity.Enrolled != nil) })
	gauge("settings_version", settings(func(r *wire.Reported) float64 {
		if r.Applied == nil {
			return 0
		}
		return float64(r.Applied.Version)
	}))
	gauge("settings_trial", settings(func(r *wire.Reported) float64 { return truth(r.Trial != nil) }))
	gauge("settings_refused", settings(func(r *wire.Reported) float64 { return truth(r.Rejected != nil) }))
	gauge("settings_drift", settings(func(r *wire.Reported) float64 { return float64(len(r.Drift)) }))
	for _, p := range []update.Phase{update.Queued, update.Downloading, update.Downloaded, update.Verified, update.Updating, update.Updated, update.Failed} {
		gauge(fmt.Sprintf("update{state=%q}", p), func() float64 {
			b.updates.mu.Lock()
			defer b.updates.mu.Unlock()
			return truth(b.updates.rec.Phase == p)
		})
	}
}

// aboutFleet is the section about settings and firmware from outside, as the topics tell it: without secrets, and without the addresses from
// which firmware comes.
func (b *box) aboutFleet(w io.Writer) {
	fmt.Fprintf(w, "enrolled: %v\n", b.layers.identity.Enrolled != nil)
	out := json.NewEncoder(w)
	if r := b.reported.Load(); r != nil {
		out.Encode(r)
	}
	b.updates.mu.Lock()
	defer b.updates.mu.Unlock()
	out.Encode(b.updates.reported())
}
