package main_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// held are the goroutines and file descriptors of a box.
type held struct{ goroutines, files int }

func holds(t *testing.T, box *boxtest.Box) held {
	t.Helper()
	files, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(box.PID()), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return held{int(box.Metric("parley_goroutines")), len(files)}
}

// rests is what a box holds while nothing happens: the same in several looks.
func rests(t *testing.T, box *boxtest.Box) (now held) {
	t.Helper()
	same := 0
	phonetest.Eventually(t, 20*time.Second, "the box is at rest", func() bool {
		was := now
		if now = holds(t, box); now == was {
			same++
		} else {
			same = 0
		}
		return same >= 10
	})
	return now
}

// A thousand calls leave nothing behind: after at most 60 s the box holds as many goroutines and file descriptors as before.
// Forty calls a second leave others beside it too little of the machine.
func TestThousandCallsLeaveNothingBehind(t *testing.T) {
	box := boxtest.Start(t, boxtest.Config{Settings: joined(boxtest.Settings{"rtp": boxtest.Settings{"rest": "100ms"}})})
	before := rests(t, box)
	phonetest.StartSIPP(t, phonetest.SIPPConfig{
		Scenario: phonetest.CallScenario{Talk: 50 * time.Millisecond}.Caller(), Remote: box.SIP, Service: "1000", Calls: 1000, Timeout: 3 * time.Minute,
		Args: []string{"-r", "40", "-l", "8"},
	}).Succeed(4 * time.Minute)
	var after held
	deadline := time.Now().Add(time.Minute)
	for after = holds(t, box); (after.goroutines > before.goroutines || after.files > before.files) && time.Now().Before(deadline); after = holds(t, box) {
		time.Sleep(200 * time.Millisecond)
	}
	t.Logf("before %+v, after %+v", before, after)
	if after.goroutines > before.goroutines || after.files > before.files {
		t.Errorf("a minute after the calls the box holds %+v, before them %+v", after, before)
	}
	if n := box.Metric("parley_rtp_ports_in_use"); n != 0 {
		t.Errorf("%v ports are in use", n)
	}
}
