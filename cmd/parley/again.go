package main

import (
	"fmt"
	"os"
	"syscall"
)

// again has the box stop in order and the program begin anew, as it does for other settings: the same process, with the same arguments and
// these variables beside its environment. Any goroutine may call it; only the first call counts.
func (b *box) again(reason string, environ ...string) {
	b.log.Info("the box begins anew", "reason", reason)
	select {
	case b.life.failed <- &nextLife{environ: environ}:
	default: // it is ending already
	}
}

// nextLife is what run ends with when the program is to begin anew.
type nextLife struct {
	environ []string
	machine func() error // restarts the machine instead; nil: only the program
}

func (n *nextLife) Error() string { return "to begin anew" }

// begin replaces the process by a new one of the same program. It returns only when that failed.
func (n *nextLife) begin() error {
	if n.machine != nil {
		return n.machine()
	}
	// By this name it is found also after the file was replaced.
	err := syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), n.environ...))
	return fmt.Errorf("begin anew: %w", err)
}
