package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"parley/cmd/parleyctl/fleet"
	"parley/mqtt"
	"parley/mqtt/wire"
)

// boxFacts is all that is known of one box: what the folder says, and what the broker has kept of its messages.
type boxFacts struct {
	name    string
	record  *fleet.Box // nil: has never enrolled
	waiting *fleet.Waiting
	seen    time.Time

	state    *wire.BoxState
	info     *wire.BoxInfo
	reported *wire.Reported
	firmware *wire.FwReported
	alerts   map[string]wire.Alert
}

func provisionBoxes(ctx context.Context, args []string) error {
	flags := newFlags("boxes")
	width := flags.Int("width", terminalWidth(), "`columns` of the table")
	only := flags.Bool("bad", false, "only boxes with which something is not as it should be")
	words, err := arguments(flags, args, "provision boxes DIR [flags]", 1, 1)
	if err != nil {
		return err
	}
	f, err := fleet.Open(words[0])
	if err != nil {
		return err
	}
	facts, err := gatherFacts(ctx, f)
	if err != nil {
		return err
	}
	t := boxTable{width: *width, now: time.Now(), colour: isTerminal(os.Stdout), dir: f.Dir()}
	fmt.Print(t.show(facts, *only))
	return nil
}

// gatherFacts asks the folder, then the broker. Without a broker the folder's half is told.
func gatherFacts(ctx context.Context, f *fleet.Fleet) ([]*boxFacts, error) {
	all, err := recordedFacts(f)
	if err != nil {
		return nil, err
	}
	l := newLink(f)
	var mu sync.Mutex // guards all
	note := func(decode func(*boxFacts, mqtt.Message)) mqtt.Handler {
		return func(m mqtt.Message) {
			mu.Lock()
			defer mu.Unlock()
			if name := boxOf(m.Topic); wire.CheckBox(name) == nil {
				if all[name] == nil {
					all[name] = &boxFacts{name: name}
				}
				decode(all[name], m)
			}
		}
	}
	for leaf, decode := range factDecoders {
		l.subs["/e/"+f.EID+"/box/+/"+leaf] = note(decode)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err = l.run(ctx, func(ctx context.Context) error {
		if err := l.caughtUp(ctx); err != nil {
			return err
		}
		if n := l.client.Stats().Overrun; n > 0 {
			return fmt.Errorf("%d messages came faster than they could be read: try again", n)
		}
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	var list []*boxFacts
	for _, b := range all {
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b *boxFacts) int { return cmp.Compare(a.name, b.name) })
	return list, err
}

func recordedFacts(f *fleet.Fleet) (map[string]*boxFacts, error) {
	records, err := f.Boxes()
	waiting, err2 := f.Waiting()
	seen, err3 := f.Seen()
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, err
	}
	all := map[string]*boxFacts{}
	of := func(name string) *boxFacts {
		if all[name] == nil {
			all[name] = &boxFacts{name: name, seen: seen[name]}
		}
		return all[name]
	}
	for _, r := range records {
		of(r.Box).record = r
	}
	for name, w := range waiting {
		of(name).waiting = &w
	}
	return all, nil
}

// factDecoders read what the broker keeps of a box, by the topic's last part.
var factDecoders = map[string]func(*boxFacts, mqtt.Message){
	"state": func(b *boxFacts, m mqtt.Message) {
		if v := new(wire.BoxState); wire.DecodeKnown(m.Payload, v) == nil {
			b.state = v
		}
	},
	"info": func(b *boxFacts, m mqtt.Message) {
		if v := new(wire.BoxInfo); wire.DecodeKnown(m.Payload, v) == nil {
			b.info = v
		}
	},
	"config/reported": func(b *boxFacts, m mqtt.Message) {
		if v := new(wire.Reported); wire.DecodeKnown(m.Payload, v) == nil {
			b.reported = v
		}
	},
	"fw/reported": func(b *boxFacts, m mqtt.Message) {
		if v := new(wire.FwReported); wire.DecodeKnown(m.Payload, v) == nil {
			b.firmware = v
		}
	},
	"alert/+": func(b *boxFacts, m mqtt.Message) {
		var v wire.Alert
		if len(m.Payload) > 0 && wire.DecodeKnown(m.Payload, &v) == nil {
			if b.alerts == nil {
				b.alerts = map[string]wire.Alert{}
			}
			b.alerts[m.Topic[strings.LastIndexByte(m.Topic, '/')+1:]] = v
		}
	},
}

// The words of the column STATE that are no state of a running box.
const (
	stateWaits    = "waits"    // has asked, and is not on the list
	stateRefused  = "refused"  // has asked, and will not be let in
	stateReleased = "released" // another key may take its place
	stateSilent   = "silent"   // has enrolled, and never said a word
)

// standing is the box's state in one word, and whether it is as it should be.
func (b *boxFacts) standing() (word string, good bool) {
	switch {
	case b.record == nil && b.waiting != nil && b.waiting.Reason != "":
		return stateRefused, false
	case b.record == nil && b.waiting != nil:
		return stateWaits, false
	case b.record != nil && b.record.Released:
		return stateReleased, false
	case b.state == nil:
		return stateSilent, false
	}
	return string(b.state.State), b.state.State == wire.Ready
}

// settings tells which settings the box has, and which it should have; and whether that is as it should be.
func (b *boxFacts) settings() (word string, good bool) {
	has, want := uint64(0), uint64(0)
	if b.record != nil {
		want = b.record.Version
	}
	r := b.reported
	if r == nil {
		r = &wire.Reported{}
	}
	if r.Good != nil {
		has = r.Good.Version
	}
	number := func(v uint64) string {
		if v == 0 {
			return "-"
		}
		return strconv.FormatUint(v, 10)
	}
	switch {
	case has >= want:
		return number(has), true
	case r.Rejected != nil && r.Rejected.Version == want:
		return number(has) + " not " + number(want), false
	case r.Trial != nil && r.Trial.Version == want:
		return number(has) + "→" + number(want) + "?", false
	}
	return number(has) + "→" + number(want), false
}

// note is what the operator should know, the most important first.
func (b *boxFacts) note(dir string) string {
	var notes []string
	if b.waiting != nil && b.waiting.Reason != "" {
		notes = append(notes, "another box asked in its name: "+b.waiting.Reason)
	} else if b.waiting != nil && b.record == nil {
		notes = append(notes, "not on the list: allow "+b.waiting.Serial)
	}
	if r := b.reported; r != nil && r.Rejected != nil {
		text := fmt.Sprintf("%d: %s", r.Rejected.Version, r.Rejected.Reason)
		if r.Rejected.Version == 0 {
			text = "told what is not yours: " + r.Rejected.Reason
		}
		if r.Rejected.Path != "" {
			text += " at " + r.Rejected.Path
		}
		notes = append(notes, text)
	}
	if r := b.reported; r != nil && r.Pending != nil {
		notes = append(notes, fmt.Sprintf("%d waits: %s", r.Pending.Version, r.Pending.Reason))
	}
	if text := b.updating(); text != "" {
		notes = append(notes, text)
	}
	for _, id := range sortedKeys(b.alerts) {
		notes = append(notes, b.alerts[id].Text)
	}
	if r := b.reported; r != nil && len(r.Drift) > 0 {
		var keys []string
		for _, d := range r.Drift {
			keys = append(keys, d.Key+" is "+d.Local)
		}
		notes = append(notes, strings.Join(keys, ", "))
	}
	return strings.Join(notes, "; ")
}

// updating says how an update stands that is not done; empty: there is none.
func (b *boxFacts) updating() string {
	f := b.firmware
	if f == nil || f.State == "" || f.State == wire.FwUpdated {
		return ""
	}
	text := "firmware " + f.Version + ": " + f.State
	switch {
	case f.Reason != "":
		text += ", " + f.Reason
	case f.State == wire.FwDownloading && f.Size > 0:
		text += fmt.Sprintf(" %d %%", 100*f.Done/f.Size)
	}
	return text
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
