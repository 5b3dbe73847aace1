package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// How much later than they asked for threads may be woken, but for the mixer's: ordinary ones, short beside a debounce; and Go's
// own watcher of threads (sysmon).
const (
	slack        = 5 * time.Millisecond
	watcherSlack = 20 * time.Millisecond
)

// relax allows the kernel to wake this process's threads a little late. The runtime's watcher otherwise wakes every 20 µs or so
// for as long as any thread works. That costs as much as many calls do, and whenever it sees the mixer at work in the
// same turn of the scheduler as 10 ms ago it interrupts it. Threads made later inherit the slack. It needs
// CAP_SYS_NICE, as the mixer's priority does.
func relax() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	var failed error
	watcher := watcherOf(threads, os.Getpid())
	for _, t := range threads {
		s := slack
		if t.Name() == watcher {
			s = watcherSlack
		}
		if err := os.WriteFile("/proc/"+t.Name()+"/timerslack_ns", strconv.AppendInt(nil, s.Nanoseconds(), 10), 0); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	if failed != nil {
		return fmt.Errorf("timer slack: %w", failed)
	}
	return nil
}

// watcherOf is the watcher among the threads: the first that the runtime starts. Where numbers have begun anew it may be another one,
// which then is a little more late than the rest.
func watcherOf(threads []os.DirEntry, first int) string {
	least, name := 0, ""
	for _, t := range threads {
		if n, err := strconv.Atoi(t.Name()); err == nil && n != first && (name == "" || n < least) {
			least, name = n, t.Name()
		}
	}
	return name
}
