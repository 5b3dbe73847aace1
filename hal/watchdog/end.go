package watchdog

import (
	"syscall"
	"time"
	"unsafe"
)

// EndWithin has the kernel kill the process in so long, whatever state it is in then: for an end in order that may itself stand.
func EndWithin(d time.Duration) error {
	// struct sigevent: 64 bytes; SIGEV_SIGNAL is 0.
	event := struct {
		value          uintptr
		signal, notify int32
		rest           [12]int32
	}{signal: int32(syscall.SIGKILL)}
	var timer int32
	const monotonic = 1
	if _, _, err := syscall.RawSyscall(syscall.SYS_TIMER_CREATE, monotonic, uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&timer))); err != 0 {
		return err
	}
	spec := struct{ interval, value syscall.Timespec }{value: syscall.NsecToTimespec(d.Nanoseconds())}
	if _, _, err := syscall.RawSyscall6(syscall.SYS_TIMER_SETTIME, uintptr(timer), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0); err != 0 {
		return err
	}
	return nil
}
