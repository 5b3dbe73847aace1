package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// effort is what the process has used of the processor when that was last told.
type effort struct {
	busy time.Duration
	up   time.Duration
}

// cpu is the share of one core since it was last asked, up being how long the process has run; nil if that is not known.
func (u *effort) cpu(up time.Duration) *float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil || up <= u.up {
		return nil
	}
	busy := time.Duration(r.Utime.Nano() + r.Stime.Nano())
	share := float64(busy-u.busy) / float64(up-u.up)
	u.busy, u.up = busy, up
	return figure(min(max(share, 0), 1024), true)
}

// resident is how much memory the process has in use, KiB; nil if that is not known.
func resident() *uint64 {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return nil
	}
	field := strings.Fields(string(raw))
	if len(field) < 2 {
		return nil
	}
	pages, err := strconv.ParseUint(field[1], 10, 64)
	if err != nil {
		return nil
	}
	kib := pages * uint64(os.Getpagesize()) / 1024
	return &kib
}
