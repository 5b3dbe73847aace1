package main

import (
	"testing"

	"parley/mqtt/wire"
)

// What a box reports is told as it concerns the document that was sent, and nothing that it says of others ends the waiting.
func TestJudge(t *testing.T) {
	at := func(v uint64, hash string) *wire.Version { return &wire.Version{Version: v, Hash: hash} }
	for _, x := range []struct {
		what       string
		r          wire.Reported
		word       string
		done, good bool
	}{
		{"nothing", wire.Reported{}, "", false, false},
		{"what was before", wire.Reported{Good: at(6, "old")}, "", false, false},
		{"an older refusal", wire.Reported{Good: at(5, "old"), Rejected: &wire.Refusal{Version: 6, Hash: "old"}}, "", false, false},
		{"applied", wire.Reported{Good: at(7, "mine")}, "applied", true, true},
		{"applied with drift", wire.Reported{Good: at(7, "mine"), Drift: []wire.Drift{{Key: "card.volume"}}},
			"applied; 1 setting differs by what was set on the box", true, true},
		{"on trial", wire.Reported{Good: at(6, "old"), Applied: at(7, "mine"), Trial: &wire.Trial{Version: 7, Missing: []string{"mqtt", "sip pbx"}}},
			"on trial, without mqtt, sip pbx so far", false, false},
		{"in a call", wire.Reported{Pending: &wire.Pending{Version: 7, Reason: wire.ReasonBusy}}, "waits: busy", false, false},
		{"refused", wire.Reported{Rejected: &wire.Refusal{Version: 7, Hash: "mine", Reason: wire.ReasonInvalidValue, Path: "settings.x", Detail: "no\x1b such"}},
			"refused: invalid_value at settings.x (no? such)", true, false},
		{"refused, and not even its version believed", wire.Reported{Rejected: &wire.Refusal{Hash: "mine", Reason: wire.ReasonUnknownKey}},
			"refused: unknown_key", true, false},
		{"undone", wire.Reported{Good: at(6, "old"), Rejected: &wire.Refusal{Version: 7, Hash: "mine", Reason: wire.ReasonConfirmTimeout, Detail: "without sip pbx"}},
			"undone: confirm_timeout (without sip pbx)", true, false},
		{"overtaken", wire.Reported{Good: at(8, "newer")}, "overtaken by version 8", true, false},
	} {
		a := awaited{version: 7, hash: "mine"}
		if word, done, good := a.judge(x.r); word != x.word || done != x.done || good != x.good {
			t.Errorf("%s: %q, %v, %v", x.what, word, done, good)
		}
	}
}
