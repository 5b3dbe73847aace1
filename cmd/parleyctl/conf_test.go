package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"parley/conference"
	"parley/mqtt/wire"
)

// Whatever can be asked of a conference has a word, and each word's usage finds it again.
func TestConfWords(t *testing.T) {
	for _, do := range wire.Dos() {
		if do == wire.DoCreate || do == wire.DoList || do == wire.DoCan {
			continue
		}
		if !slices.ContainsFunc(orders, func(o order) bool { return conference.Do(o.do) == do }) {
			t.Errorf("%s has no word", do)
		}
	}
	help := confHelp()
	for i := range orders {
		o := &orders[i]
		words := strings.Fields(strings.ReplaceAll(o.usage(), "CONF", "1000"))
		found, rest := find(words)
		if found != o || len(rest) == 0 || rest[0] != "1000" {
			t.Errorf("%v finds %+v, %v", words, found, rest)
		}
		if o.help == "" || !strings.Contains(help, o.usage()) {
			t.Errorf("%s is not explained", o.words)
		}
	}
	for _, words := range [][]string{{"dance", "1000"}, {"floor", "1000"}, {"floor"}} {
		if o, _ := find(words); o != nil {
			t.Errorf("%v is %s", words, o.words)
		}
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2030, 8, 6, 16, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"16:30": "2030-08-06T16:30:00Z", "15:30": "2030-08-07T15:30:00Z", "+15m": "2030-08-06T16:15:00Z",
		"2030-08-06T17:00": "2030-08-06T17:00:00Z", "2030-08-06T17:00:00+02:00": "2030-08-06T15:00:00Z",
	} {
		if got, err := moment(text, now); err != nil || got != want {
			t.Errorf("%s is %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "+", "+-5m", "25:00", "tomorrow"} {
		if got, err := moment(text, now); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}
