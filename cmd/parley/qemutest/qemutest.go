// Package qemutest runs the firmware's own binaries on a real ARM Linux kernel: QEMU's machine "virt" with Debian's kernel, real ALSA
// (snd-aloop) and real GPIO lines (the machine's PL061), whose keys are pressed and whose lamps are read from outside.
//
// A guest's file system is an initramfs: busybox, the binaries, the modules, guest/init, guest/lib.sh and one scenario of scenarios/. A scenario is
// a shell script that runs in the guest and fails by its exit status. What it cannot do from inside it asks the host for, line by line, over
// a virtio-serial port: a key, a lamp, what a recording holds (see asked.go).
//
// It is for tests only, knows the box by its command line, files and sockets, and needs what `make qemu-test` builds and names.
package qemutest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Arch is one of the two machines that firmware is made for.
type Arch struct {
	Name  string // as in dist/parley-NAME
	Board string
	qemu  string
	cpu   string
}

// Archs lists the machines that are to be tested: all, or those in PARLEY_QEMU_ARCHS.
func Archs() []Arch {
	all := []Arch{
		{"armv7", "qemu-arm", "qemu-system-arm", "cortex-a7"},
		{"arm64", "qemu-arm64", "qemu-system-aarch64", "cortex-a53"},
	}
	wanted := strings.Fields(os.Getenv("PARLEY_QEMU_ARCHS"))
	if len(wanted) == 0 {
		return all
	}
	var some []Arch
	for _, a := range all {
		for _, w := range wanted {
			if a.Name == w {
				some = append(some, a)
			}
		}
	}
	return some
}

// folder is one of those that `make qemu-test` names in the environment; without it the test is skipped.
func folder(t testing.TB, variable string) string {
	t.Helper()
	dir := os.Getenv(variable)
	if dir == "" {
		t.Skip("needs kernels and binaries for ARM: make qemu-test brings them")
	}
	return dir
}

// Kernel is the guest's kernel image.
func Kernel(t testing.TB, a Arch) string {
	return filepath.Join(folder(t, "PARLEY_QEMU_KERNELS"), a.Name, "vmlinuz")
}

// Binary is a program of ours for the guest: "parley" as it is flashed, "parleyctl", or "guest", the tester's hands there.
func Binary(t testing.TB, a Arch, program string) string {
	variable := "PARLEY_QEMU_TOOLS"
	if program == "parley" {
		variable = "PARLEY_ARM_BINARIES"
	}
	return filepath.Join(folder(t, variable), program+"-"+a.Name)
}
