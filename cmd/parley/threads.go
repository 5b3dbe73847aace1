package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// slack is how much later than it asked for a thread may be woken, except for the mixer's.
const slack = time.Millisecond

// relax allows the kernel to wake this process's threads a little late. Go's own watcher of threads asks to be woken every 20 µs
// for as long as any of them works, which with a tick every 10 ms costs as much as many calls do. Threads made
// later inherit it. It needs CAP_SYS_NICE, as the mixer's priority does; without it the box does as well, and costs more.
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
