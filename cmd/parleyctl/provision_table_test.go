package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"parley/cmd/parleyctl/fleet"
	"parley/mqtt/wire"
)

// sampleFacts is a fleet in which everything is the matter somewhere.
func sampleFacts() []*boxFacts {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	box := func(name string, version uint64, state wire.StateWord) *boxFacts {
		b := &boxFacts{name: name, seen: now.Add(-3 * time.Minute)}
		b.record = &fleet.Box{Box: name, Serial: "10000000a1b2" + name[len(name)-4:], Model: "rpi4", Firmware: "1.2.0", Version: version}
		if state != "" {
			b.state = &wire.BoxState{State: state, Sess: 3}
			b.info = &wire.BoxInfo{Model: "rpi4", Serial: "x", Firmware: "1.2.0", Slot: "a", Addresses: []string{"192.0.2.17"}}
			b.reported = &wire.Reported{Schema: 1, Good: &wire.Version{Version: version}}
		}
		return b
	}
	list := []*boxFacts{
		box("berlin-0001", 7, wire.Ready), box("berlin-0002", 7, wire.Ready), box("berlin-0003", 8, wire.Alerting), box("hamburg-0001", 7, wire.Lost),
		box("hamburg-0002", 7, ""), box("koeln-0001", 8, wire.Ready), box("koeln-0002", 8, wire.Ready), box("koeln-0003", 7, wire.Disconnected),
		{name: "parley-1f0c77aa", waiting: &fleet.Waiting{Serial: "10000000c0ffee00", Model: "rpi-zero2w"}},
		{name: "parley-badbad00", waiting: &fleet.Waiting{Serial: "10000000c0ffee01", Model: "rpi4", Reason: wire.ReasonAlreadyClaimed}},
	}
	list[2].alerts = map[string]wire.Alert{"card": {Sev: "warning", Text: "no sound card: the file card is in use"}, "sip-pbx": {Sev: "warning", Text: "not registered with pbx"}}
	list[2].reported = &wire.Reported{Good: &wire.Version{Version: 7}, Trial: &wire.Trial{Version: 8, Try: 1, Missing: []string{"sip"}}}
	list[5].reported = &wire.Reported{Good: &wire.Version{Version: 7}, Rejected: &wire.Refusal{Version: 8, Reason: wire.ReasonInvalidValue, Path: "settings.sip.upstreams[0].registrar"}}
	list[6].reported = &wire.Reported{Good: &wire.Version{Version: 8}, Drift: []wire.Drift{{Key: "card.volume", Central: "70", Local: "85"}, {Key: "place.name", Central: "Saal", Local: "Küche"}}}
	list[7].record.Released = true
	list[0].firmware = &wire.FwReported{State: wire.FwDownloading, Version: "1.3.0", Done: 40, Size: 100}
	list[1].firmware = &wire.FwReported{State: wire.FwUpdated, Version: "1.2.0"}
	list[3].firmware = &wire.FwReported{State: wire.FwFailed, Version: "1.3.0", Reason: wire.ReasonRolledBack}
	return list
}

// The table fits the terminal, says the most important at 80 columns and all of it at 200.
func TestBoxTable(t *testing.T) {
	table := boxTable{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	for _, width := range []int{40, 80, 100, 120, 160, 200, 300} {
		table.width = width
		text := table.show(sampleFacts(), false)
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		for _, line := range lines[:len(lines)-2] {
			if n := utf8.RuneCountInString(line); n > width {
				t.Errorf("%d columns: a line of %d:\n%s", width, n, line)
			}
		}
		if name := os.Getenv("PARLEY_TABLES"); name != "" { // to be looked at
			table.colour = true
			os.WriteFile(name+"-"+strconv.Itoa(width)+".txt", []byte(table.show(sampleFacts(), false)), 0o644)
			table.colour = false
		}
		for what, least := range map[string]int{
			"BOX": 0, "STATE": 0, "SETTINGS": 0, "7 not 8": 0, "7→8?": 0, "-→7": 0, "released": 0, "waits": 0, "refused": 0, "silent": 0,
			"DRIFT": 80, "ALERTS": 80, "FIRMWARE": 80, "SLOT": 80, "SEEN": 80, "3 min": 80, "  8: invalid_value at settings.sip.upstreams[0].registrar": 80,
			"  card.volume is 85, place.name is Küche": 80, "no sound card: the file card is in use; not registered with pbx": 80,
			"firmware 1.3.0: DOWNLOADING 40 %": 80, "firmware 1.3.0: FAILED, rolled_back": 80, "NOTE": 160, "MODEL": 200, "10000000c0ffee00": 200, "192.0.2.17": 200,
		} {
			if width >= least && !strings.Contains(text, what) {
				t.Errorf("%d columns: no %q in\n%s", width, what, text)
			}
		}
		if want := "10 boxes: 1 alert, 1 lost, 4 ready, 1 refused, 1 released, 1 silent, 1 waits\n3 boxes are without the settings that were told\n"; !strings.HasSuffix(text, want) {
			t.Errorf("%s", text)
		}
	}
	if bad := table.show(sampleFacts(), true); strings.Contains(bad, "berlin-0002") || !strings.Contains(bad, "berlin-0003") {
		t.Errorf("only the bad ones:\n%s", bad)
	}
}
