package main

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// built is when the sources of this program were last changed, in Unix seconds; set by the linker.
var built string

// firstBuild is no later than any build.
var firstBuild = time.Unix(1767225600, 0) // 2026-01-01

// latestClock is the latest that is believed of a file: a board lives no longer.
var latestClock = time.Unix(4102444800, 0) // 2100-01-01

const (
	// clockFile keeps the time over a power cut, and whether it was guessed.
	clockFile = "clock"
	// clockEvery is how often it is kept: what a board without a clock lags behind after a power cut.
	clockEvery = 10 * time.Minute
	// clockStep is a jump that is no drift: somebody has set the clock.
	clockStep = time.Minute
	// clockSlack is how far behind the floor a clock may be that is right: one that ran ahead may have been put right.
	clockSlack = 5 * time.Minute
	// clockLook is how often the clock is looked at.
	clockLook = 5 * time.Second
)

// A board without a clock of its own wakes in 1970. Until a network has told it the time, it takes the latest that it knows to have passed: when the
// program was built, when it last ran, what the machine says. Such a time lets certificates be judged that are valid for long, but nothing
// that ends in minutes: until the clock is set, tokens and commands are refused with a reason of their own.
//
//	root: system clock before the floor → set to the floor, "guessed"
//	box:  guessed, or before the floor → not set, until NTP has it in sync or somebody moves it

// clock tells whether the machine's clock can be believed.
type clock struct {
	floor   time.Time
	boot    string // the machine's start that this is
	guessed bool   // the machine had the time from us
	last    time.Time
	set     atomic.Bool
}

// newClock judges the clock at the start. saved is what the file says; guessed, that the program has just set the clock itself; synced, that
// the kernel says that something holds its clock in step.
func newClock(now time.Time, saved, boot string, guessed, synced bool) *clock {
	at, in := parseClock(saved)
	c := &clock{floor: floorOf(at), boot: boot, last: now}
	c.guessed = guessed || in != "" && in == boot
	c.set.Store(c.right(now, synced) && (synced || !c.guessed))
	return c
}

// right tells whether the time is a possible one. Whoever holds the clock in step knows better than a file, but not better than the calendar.
func (c *clock) right(now time.Time, synced bool) bool {
	if synced {
		return !now.Before(floorOf(time.Time{}))
	}
	return !now.Before(c.floor.Add(-clockSlack))
}

// floorOf is the latest time that has passed for certain.
func floorOf(saved time.Time) time.Time {
	floor := firstBuild
	if s, err := strconv.ParseInt(built, 10, 64); err == nil && s > floor.Unix() && s < latestClock.Unix() {
		floor = time.Unix(s, 0)
	}
	if saved.After(floor) && saved.Before(latestClock) {
		floor = saved
	}
	return floor
}

// look judges the clock again. now carries a monotonic reading. It tells whether the clock has just become one that can be believed.
func (c *clock) look(now time.Time, synced bool) bool {
	// How far the clock has gone, less how long that took.
	step := now.Round(0).Sub(c.last.Round(0)) - now.Sub(c.last)
	c.last = now
	moved := step.Abs() >= clockStep || !c.guessed // by somebody; a clock that we could not set was before the floor
	if c.set.Load() || !c.right(now.Round(0), synced) || !synced && !moved {
		return false
	}
	c.guessed = false
	c.set.Store(true)
	return true
}

// text is what is kept of the clock: the time, and in which start of the machine it was guessed.
func (c *clock) text(now time.Time) string {
	at := now
	if !c.set.Load() && at.Before(c.floor) {
		at = c.floor // what has passed has passed
	}
	line := at.UTC().Format(time.RFC3339)
	if c.guessed {
		line += " guessed " + c.boot
	}
	return line + "\n"
}

// parseClock reads what text has written; the zero time if it makes no sense.
func parseClock(text string) (at time.Time, guessedIn string) {
	fields := strings.Fields(text)
	if len(fields) == 0 || len(text) > 200 {
		return time.Time{}, ""
	}
	at, err := time.Parse(time.RFC3339, fields[0])
	if err != nil {
		return time.Time{}, ""
	}
	if len(fields) == 3 && fields[1] == "guessed" {
		guessedIn = fields[2]
	}
	return at, guessedIn
}

// clockGuessed tells the next life that the system's clock was set by a guess, before it can be written down.
const clockGuessed = "PARLEY_CLOCK=guessed"

// takeGuess reads that, once.
func takeGuess() bool {
	name, value, _ := strings.Cut(clockGuessed, "=")
	defer os.Unsetenv(name)
	return os.Getenv(name) == value
}

// setForward sets the system's clock to the floor if it lies before it, which takes root, and tells whether it did.
func setForward(now time.Time, saved string) (bool, error) {
	at, _ := parseClock(saved)
	floor := floorOf(at)
	if !now.Before(floor.Add(-clockSlack)) || synced() {
		return false, nil
	}
	ts := unix.NsecToTimespec(floor.UnixNano())
	err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts)
	return err == nil, err
}

// readSmall is the beginning of a small file; empty if there is none.
func readSmall(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text := make([]byte, 256)
	n, _ := f.Read(text)
	return string(text[:n])
}

func bootID() string { return strings.TrimSpace(readSmall("/proc/sys/kernel/random/boot_id")) }

// synced tells whether the kernel says that its clock is held in step.
func synced() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}

// clockKeeper looks at the clock and keeps it.
type clockKeeper struct {
	*clock
	data *data
	log  *slog.Logger
}

// openClock is the machine's clock, judged by what the data folder knows of it.
func openClock(d *data, log *slog.Logger) *clockKeeper {
	return &clockKeeper{newClock(time.Now(), readSmall(d.path(clockFile)), bootID(), takeGuess(), synced()), d, log}
}

// believed tells whether the machine knows the time.
func (k *clockKeeper) believed() bool { return k.set.Load() }

// Run looks at the clock until ctx ends, and writes it down now and then, and at the end.
func (k *clockKeeper) Run(ctx context.Context) error {
	look := time.NewTicker(clockLook)
	defer look.Stop()
	if !k.believed() {
		k.log.Warn("the clock is not set: commands and tokens are refused until it is", "now", k.last.UTC().Format(time.RFC3339), "floor", k.floor.UTC().Format(time.RFC3339))
	}
	k.save(k.last)
	saved := k.last
	for {
		select {
		case <-ctx.Done():
			k.save(time.Now())
			return nil
		case <-look.C:
		}
		now := time.Now()
		became := k.look(now, !k.believed() && synced())
		if became {
			k.log.Info("the clock is set", "now", now.UTC().Format(time.RFC3339))
		}
		if became || now.Sub(saved) >= clockEvery {
			k.save(now)
			saved = now
		}
	}
}

func (k *clockKeeper) save(now time.Time) {
	if err := k.data.write(clockFile, k.text(now)); err != nil {
		k.log.Debug("the time could not be kept", "error", err)
	}
}
