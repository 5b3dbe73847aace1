package watchdog

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// Of the kernel's watchdog interface (Documentation/watchdog/watchdog-api.rst): _IOWR('W', 6, int).
const setTimeout = 0xc0045706

// Device is the machine's watchdog: once it is open the machine starts anew unless it is fed.
type Device struct{ file *os.File }

// Open opens a watchdog device and has it wait for timeout, or as near as the hardware can.
func Open(path string, timeout time.Duration) (*Device, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		f.Close()
		return nil, fmt.Errorf("%s is no device", path)
	}
	d := &Device{file: f}
	// One that cannot be set waits as long as it was made to.
	seconds := int32(timeout / time.Second)
	syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), setTimeout, uintptr(unsafe.Pointer(&seconds)))
	return d, d.Feed()
}

// Feed begins the wait anew.
func (d *Device) Feed() error {
	_, err := d.file.Write([]byte{0})
	return err
}

// Close stops the watchdog where the kernel allows it: the program ends because it was asked to.
func (d *Device) Close() error {
	d.file.Write([]byte{'V'})
	return d.file.Close()
}
