package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// slack is how much later than it asked for a thread may be woken, except for the mixer's: short beside a debounce.
const slack = 5 * time.Millisecond

// relax allows the kernel to wake this process's threads a little late. Go's own watcher of threads (sysmon) otherwise wakes
// every 20 µs or so for as long as any of them works. That costs as much as many calls do, and whenever it sees the mixer at work in the
// same tick of the scheduler as 10 ms ago it interrupts it. Threads made later inherit the slack. It needs
// CAP_SYS_NICE, as the mixer's priority does.
func relax() error {
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	var failed error
	value := []byte(strconv.FormatInt(slack.Nanoseconds(), 10))
	for _, t := range threads {
		if err := os.WriteFile(filepath.Join("/proc", filepath.Base(t), "timerslack_ns"), value, 0); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	if failed != nil {
		return fmt.Errorf("timer slack: %w", failed)
	}
	return nil
}
