package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// awayFor is how long the broker is away: long enough for the box to be past its quick attempts, and as long as PARLEY_AWAY says
// for who wants to see more.
func awayFor(t *testing.T) time.Duration {
	if s := os.Getenv("PARLEY_AWAY"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	return 15 * time.Second
}

// C-5, spec 6: while the broker is away the meeting goes on and is run over HTTP; when the broker is back, without its memory,
// everybody is told all that has happened, in order and nothing twice.
func TestBrokerAwayInAConference(t *testing.T) {
	t.Parallel()
	broker := phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})
	relay := phonetest.StartRelay(t, broker.Addr())
	box := boxtest.Start(t, boxtest.Config{Settings: boxtest.Settings{
		"mqtt": boxtest.Settings{"broker": "mqtt://" + relay.Addr()}, "place": boxtest.Settings{"join_at_start": true},
	}})
	host := box.Token("-role", "host", "-number", "2001")
	const notices, state = "/e/local/conf/1000/notice", "/e/local/conf/1000/state"
	hears := broker.Foreign("").Subscribe("/e/local/conf/#")
	seqs := func(in *phonetest.Inbox) (list []uint64) {
		for _, m := range in.Messages() {
			var n struct {
				Seq uint64 `json:"seq"`
			}
			if m.Topic == notices && json.Unmarshal(m.Payload, &n) == nil {
				list = append(list, n.Seq)
			}
		}
		return list
	}
	seq := func() uint64 {
		answer := box.Must(http.StatusOK, "GET", "/api/v1/conferences/1000", host, nil)
		n, _ := answer.JSON["seq"].(float64)
		return uint64(n)
	}
	run := func(commands int) {
		for i := range commands {
			do := []string{"close_house", "open_house"}[i%2]
			box.Must(http.StatusOK, "POST", "/api/v1/conferences/1000/commands", host, fmt.Sprintf(`{"do":%q}`, do))
		}
	}
	run(4)
	before := seq()
	phonetest.Eventually(t, 20*time.Second, "the notices before the outage", func() bool {
		list := seqs(hears)
		return len(list) > 0 && list[len(list)-1] >= before
	})

	relay.Cut()
	broker.Kill()
	until := time.Now().Add(awayFor(t)) // what the outage is
	for time.Now().Before(until) {
		run(2)
		time.Sleep(200 * time.Millisecond)
	}
	last := seq()
	if last <= before {
		t.Fatalf("nothing has happened: %d events before, %d after", before, last)
	}
	// Back with an empty memory, and a subscriber who is there before the box is.
	broker.Start()
	again := broker.Foreign("").Subscribe("/e/local/conf/#")
	relay.Restore()
	phonetest.Eventually(t, 90*time.Second, "everything that was missed", func() bool {
		list := seqs(again)
		return len(list) > 0 && list[len(list)-1] >= last
	})
	list := seqs(again)
	t.Logf("%d events while the broker was away, told %d to %d", last-before, list[0], list[len(list)-1])
	if list[0] > before+1 {
		t.Errorf("the first that is told is %d, and %d was the last before the outage", list[0], before)
	}
	for i := 1; i < len(list); i++ {
		if list[i] != list[i-1]+1 {
			t.Errorf("%d after %d", list[i], list[i-1])
		}
	}
	phonetest.Eventually(t, 20*time.Second, "the snapshot", func() bool {
		for _, m := range again.Messages() {
			var n struct {
				Seq uint64 `json:"seq"`
			}
			if m.Topic == state && json.Unmarshal(m.Payload, &n) == nil && n.Seq >= last {
				return true
			}
		}
		return false
	})
}
