package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// what the program said when it crashed is kept, and told once by the next start.
func TestWhyItCrashedIsToldOnce(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{})
	box.Signal(syscall.SIGABRT) // to which the runtime says what it says of every fatal error
	if code := box.Wait(20 * time.Second); code == 0 {
		t.Fatal("it ended in order")
	}
	box.Restart()
	box.WaitLine("the last run did not end in order", 10*time.Second)
	box.WaitLine("SIGABRT", 10*time.Second)
	if box.Metric("parley_muted") != 1 {
		t.Error("after a crash the place is open")
	}
	cause, err := os.ReadFile(filepath.Join(box.Data, "last-crash.told"))
	if err != nil || !strings.Contains(string(cause), "goroutine ") {
		t.Errorf("the cause is kept: %v, %.200q", err, cause)
	}
	box.StopCleanly()
	box.Restart()
	phonetest.Eventually(t, 20*time.Second, "the box ticks", func() bool { return box.Metric("parley_mixer_ticks_total") > 10 })
	for _, l := range box.Lines() {
		if strings.Contains(l, "did not end in order") {
			t.Errorf("told twice: %s", l)
		}
	}
}
