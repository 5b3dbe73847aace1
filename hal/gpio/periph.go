package gpio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"periph.io/x/conn/v3/driver/driverreg"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/host/v3/gpioioctl"
)

// periphLine is a line of periph's character-device driver. periph turns an output into an input when it is asked for its
// level or function, so nothing here does.
type periphLine struct{ *gpioioctl.GPIOLine }

var pulls = [...]gpio.Pull{PullNone: gpio.Float, PullUp: gpio.PullUp, PullDown: gpio.PullDown}

func (l periphLine) Input(p Pull) error     { return l.In(pulls[p], gpio.BothEdges) }
func (l periphLine) Output(high bool) error { return l.Out(gpio.Level(high)) }
func (l periphLine) High() bool             { return l.Read() == gpio.High }

// Wait never hands periph a zero, which would wait for ever, nor less, which would not wait.
func (l periphLine) Wait(d time.Duration) bool { return l.WaitForEdge(max(d, time.Millisecond)) }

// findLine is a line of the machine. periph looks for chips once per process, at the first call.
func findLine(chip string, offset int) (line, error) {
	if _, err := driverreg.Init(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoChip, err)
	}
	var labels []string
	for _, c := range gpioioctl.Chips {
		if c.Label() != chip && c.Name() != chip {
			labels = append(labels, c.Label())
			continue
		}
		if offset < 0 || offset >= c.LineCount() {
			return nil, fmt.Errorf("%w: %s has lines 0 to %d", ErrNoLine, chip, c.LineCount()-1)
		}
		return periphLine{c.ByNumber(offset)}, nil
	}
	return nil, missing(chip, labels, "/dev/gpiochip*")
}

// missing says why there is no such chip: none at all, not allowed to look, or others.
func missing(chip string, labels []string, devices string) error {
	files, _ := filepath.Glob(devices)
	for _, f := range files {
		d, err := os.Open(f)
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%w: %s: run as root, or as a user of the group that owns it (often gpio)", ErrPermission, f)
		}
		if err == nil {
			d.Close()
		}
	}
	switch {
	case len(files) == 0:
		return fmt.Errorf("%w: this machine has none (no %s); choose board desk, or load the chip's driver and start again", ErrNoChip, devices)
	case len(labels) == 0:
		return fmt.Errorf("%w: %q; %s could not be read as a GPIO chip", ErrNoChip, chip, strings.Join(files, ", "))
	}
	return fmt.Errorf("%w: %q; there are %s: is this the board that the settings name?", ErrNoChip, chip, strings.Join(labels, ", "))
}

// explain adds what can be done to the kernel's errors.
func explain(err error) error {
	switch {
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("%w: somebody else has it (gpioinfo tells who): %w", ErrLine, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: run as root, or as a user of the group that owns it: %w", ErrPermission, err)
	case errors.Is(err, ErrNoChip), errors.Is(err, ErrNoLine), errors.Is(err, ErrPermission):
		return err
	}
	return fmt.Errorf("%w: %w", ErrLine, err)
}
