package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// lockMemory keeps what the program uses in memory from the moment that it is used: neither sound nor a key waits for a disk then. What
// is only reserved takes none. It needs CAP_IPC_LOCK, or a limit (RLIMIT_MEMLOCK) that takes everything, and then also what is
// reserved later; a limit that is merely large would end the program when it is reached.
func lockMemory() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return err
	}
	if limit.Cur != unix.RLIM_INFINITY && !hasCapability(unix.CAP_IPC_LOCK) {
		return fmt.Errorf("lock memory: %w", unix.EPERM)
	}
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("lock memory: %w", err)
	}
	return nil
}

// hasCapability tells whether the calling thread may use one.
func hasCapability(c int) bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	return unix.Capget(&head, &have[0]) == nil && have[c/32].Effective&(1<<(c%32)) != 0
}
