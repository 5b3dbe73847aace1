package watchdog

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// A process whose threads all wait for one that never comes ends all the same.
func TestEndWithin(t *testing.T) {
	if os.Getenv("WATCHDOG_TEST_END") != "" {
		if err := EndWithin(50 * time.Millisecond); err != nil {
			os.Exit(3)
		}
		time.Sleep(time.Minute)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestEndWithin$")
	cmd.Env = append(os.Environ(), "WATCHDOG_TEST_END=1")
	err := cmd.Run()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v", err)
	}
}
