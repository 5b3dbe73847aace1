package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"parley/mqtt"
	"parley/mqtt/wire"
)

// newest is the greatest version that a box speaks of.
func newest(r wire.Reported) (v uint64) {
	for _, x := range []*wire.Version{r.Applied, r.Good} {
		if x != nil {
			v = max(v, x.Version)
		}
	}
	if r.Rejected != nil {
		v = max(v, r.Rejected.Version)
	}
	return v
}

type boxReport struct {
	box string
	wire.Reported
}

func listenReports(to chan<- boxReport) mqtt.Handler {
	return func(m mqtt.Message) {
		var r wire.Reported
		if wire.DecodeKnown(m.Payload, &r) != nil {
			return
		}
		select {
		case to <- boxReport{boxOf(m.Topic), r}:
		default: // the next one says more
		}
	}
}

// awaited is a document that was told.
type awaited struct {
	version uint64
	hash    string
	said    string
}

// judge says what a report tells about the document: a word for people, and whether it is the last one.
func (a *awaited) judge(r wire.Reported) (word string, done, good bool) {
	switch {
	case r.Rejected != nil && r.Rejected.Hash == a.hash:
		word = "refused: " + r.Rejected.Reason
		if slices.Contains([]string{wire.ReasonApplyFailed, wire.ReasonConfirmTimeout, wire.ReasonRolledBack}, r.Rejected.Reason) {
			word = "undone: " + r.Rejected.Reason
		}
		if r.Rejected.Path != "" {
			word += " at " + harmless(r.Rejected.Path)
		}
		if r.Rejected.Detail != "" {
			word += " (" + harmless(r.Rejected.Detail) + ")"
		}
		return word, true, false
	case r.Good != nil && r.Good.Hash == a.hash && r.Good.Version == a.version:
		word = "applied"
		if n := len(r.Drift); n > 0 {
			word += "; " + count(n, "setting differs", "settings differ") + " by what was set on the box"
		}
		return word, true, true
	case r.Trial != nil && r.Trial.Version == a.version:
		if len(r.Trial.Missing) == 0 {
			return "on trial", false, false
		}
		return "on trial, without " + harmless(strings.Join(r.Trial.Missing, ", ")) + " so far", false, false
	case r.Pending != nil && r.Pending.Version == a.version:
		return "waits: " + harmless(r.Pending.Reason), false, false
	case newest(r) > a.version:
		return fmt.Sprintf("overtaken by version %d", newest(r)), true, false
	}
	return "", false, false
}

func awaitReports(ctx context.Context, told map[string]*awaited, reports <-chan boxReport, timeout time.Duration) error {
	late := time.After(timeout)
	all, open, refused := len(told), len(told), 0
	for open > 0 {
		select {
		case r := <-reports:
			a := told[r.box]
			if a == nil {
				continue
			}
			word, done, good := a.judge(r.Reported)
			if word == "" || word == a.said {
				continue
			}
			a.said = word
			fmt.Printf("%s: version %d %s\n", r.box, a.version, word)
			if !done {
				continue
			}
			open--
			delete(told, r.box)
			if !good {
				refused++
			}
		case <-late:
			for box, a := range told {
				fmt.Printf("%s: version %d: nothing was heard of it yet%s\n", box, a.version, lastWord(a.said))
			}
			return fmt.Errorf("%s did not answer in %v", count(open, "box", "boxes"), timeout)
		case <-ctx.Done():
			return gaveUp(ctx, "interrupted")
		}
	}
	if refused > 0 {
		return fmt.Errorf("%s without these settings", count(refused, "box goes on", "boxes go on"))
	}
	if all > 1 {
		fmt.Println(all, "boxes have these settings")
	}
	return nil
}

func lastWord(said string) string {
	if said == "" {
		return ""
	}
	return "; last: " + said
}
