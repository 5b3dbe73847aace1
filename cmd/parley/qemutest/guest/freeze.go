package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// freeze stops one thread of a process, and no other, until the process has ended.
func freeze(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("freeze PID THREAD")
	}
	pid, thread := args[0], args[1]
	tasks, err := os.ReadDir("/proc/" + pid + "/task")
	if err != nil {
		return err
	}
	tid := 0
	for _, task := range tasks {
		comm, _ := os.ReadFile("/proc/" + pid + "/task/" + task.Name() + "/comm")
		if strings.TrimSpace(string(comm)) == thread {
			tid, _ = strconv.Atoi(task.Name())
		}
	}
	if tid == 0 {
		return fmt.Errorf("no thread %q", thread)
	}
	runtime.LockOSThread() // who traces is a thread
	if err := unix.PtraceSeize(tid); err != nil {
		return err
	}
	if err := unix.PtraceInterrupt(tid); err != nil {
		return err
	}
	fmt.Println("frozen")
	var status unix.WaitStatus
	for {
		if _, err := unix.Wait4(tid, &status, unix.WALL, nil); err != nil || status.Exited() || status.Signaled() {
			return nil
		}
	}
}
