// Command parley is the box: it gives the room's microphone and speaker, its keys and lamps, and SIP callers a conference.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"parley/cmd/parley/config"
)

// version is set by the linker for a release.
var version = "dev"

const usage = `parley: a conference box

  parley run [-config FILE] [-data FOLDER] [-plain] [-keys]
                             run the box; ^C or SIGTERM stops it, and so does closing its terminal
  parley check-config FILE   say what is wrong with a settings file, or that nothing is
  parley support -data FOLDER [-config FILE] > FILE
                             write what support needs to know of a box that is not well, without secrets
  parley slots               which firmware runs, from which slot, and how its last update went
  parley reset -data FOLDER  remove everything in the data folder but the box's identity
  parley settings            print every setting with its default, as a settings file
  parley boards [NAME]       list the boards that this program knows, or how one is wired
  parley version             print what this program was built from

Without -config the settings file is parley.yaml in the data folder if there is one, otherwise the defaults, in which
everything is on loopback. Exit status: 0 stopped as asked, 1 failed, 2 wrong usage or settings.
`

// errUsage is a command line that makes no sense; its text has been printed.
var errUsage = errors.New("usage")

// leastThreads is how many threads run Go code at a time, at least.
const leastThreads = 4

func main() {
	// The first thread gives the process its name, and is not to be lent to the mixer, which has one of its own.
	runtime.LockOSThread()
	// With few processors the garbage collector's workers would hold up the tick: a thread more than they take is left for it.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), leastThreads))
	// Memory is scarce on a board, and calls that go on allocate next to nothing.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	// Whoever reads the output may go away; calls are not to end for that.
	signal.Ignore(syscall.SIGPIPE)
	err := dispatch(os.Args[1:], os.Stdout)
	var bad config.Errors
	switch {
	case err == nil:
	case errors.Is(err, errUsage):
		os.Exit(2)
	case errors.As(err, &bad):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "parley:", err)
		os.Exit(1)
	}
}

func dispatch(args []string, out io.Writer) error {
	commands := map[string]func([]string, io.Writer) error{
		"run": cmdRun, "check-config": cmdCheck, "reset": cmdReset, "support": cmdSupport, "slots": cmdSlots,
		"settings": alone(cmdSettings), "boards": cmdBoards, "version": alone(cmdVersion),
	}
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(out, usage)
		return nil
	}
	cmd, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(os.Stderr, "parley: there is no command %q\n\n%s", args[0], usage)
		return errUsage
	}
	return cmd(args[1:], out)
}

// alone runs a command that takes neither flags nor arguments.
func alone(run func(out io.Writer) error) func([]string, io.Writer) error {
	return func(args []string, out io.Writer) error {
		switch {
		case len(args) == 0:
			return run(out)
		case args[0] == "-h" || args[0] == "-help" || args[0] == "--help":
			fmt.Fprint(out, usage)
			return nil
		}
		fmt.Fprintf(os.Stderr, "parley: %q is not expected\n\n%s", args[0], usage)
		return errUsage
	}
}

func cmdRun(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("parley run", flag.ContinueOnError)
	file := flags.String("config", "", "settings `file`")
	folder := flags.String("data", "", "data `folder`, in place of the setting `data`")
	var o options
	flags.BoolVar(&o.plain, "plain", false, "lines of text even on a terminal")
	flags.BoolVar(&o.keys, "keys", false, "take keys (m, j, +, -, q) from standard input even if it is no terminal")
	if err := flags.Parse(args); err != nil {
		return helpOr(err)
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "parley run: %q is not expected\n", flags.Arg(0))
		return errUsage
	}
	os.WriteFile("/proc/self/comm", []byte("parley"), 0) // what has begun anew is called exe
	if err := asRoot(*file, *folder); err != nil {
		return err
	}
	trial := takeTrial()
	cfg, from, err := loadLayers(*file, *folder, trial)
	if did, e := finishReset(cmp.Or(*folder, cfg.Data)); e != nil {
		fmt.Fprintln(os.Stderr, "parley: a factory reset was asked for and is not finished:", e)
	} else if did {
		cfg, from, err = loadLayers(*file, *folder, trial) // what it says now
	}
	if err != nil {
		return err
	}
	if from.life.Trial && from.life.Problem != nil {
		if next, ok := from.fell(from.life.Problem); ok {
			return next.begin()
		}
	}
	o.layers = from
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // the terminal is gone; nohup says that this is no reason
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	err = run(ctx, cfg, o, out)
	var next *nextLife
	if errors.As(err, &next) {
		return next.begin()
	}
	if err != nil {
		if next, ok := from.fell(err); ok {
			return next.begin()
		}
	}
	return err
}

func cmdCheck(args []string, out io.Writer) error {
	if len(args) != 1 || strings.HasPrefix(args[0], "-") {
		fmt.Fprintln(os.Stderr, "usage: parley check-config FILE")
		return errUsage
	}
	cfg, err := config.Load(args[0], os.Getenv)
	if err != nil {
		return err
	}
	if err := usable(cfg); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	for _, w := range cfg.Warnings() {
		fmt.Fprintln(out, "warning:", w)
	}
	fmt.Fprintln(out, args[0]+": good")
	return nil
}

func cmdSettings(out io.Writer) error {
	_, err := io.WriteString(out, config.Defaults())
	return err
}

func cmdVersion(out io.Writer) error {
	fmt.Fprintln(out, "parley", firmware())
	return nil
}

// firmware is the version with the commit it was built from, where the build knew it.
func firmware() string {
	v := version
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				v += " " + s.Value[:12]
			}
		}
		v += " " + info.GoVersion
	}
	return v
}

func helpOr(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	return errUsage
}

func newLogger(cfg config.Log, out io.Writer) *slog.Logger {
	var level slog.Level
	level.UnmarshalText([]byte(cfg.Level)) // config holds that it is one of the four
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(out, opts))
	}
	return slog.New(slog.NewTextHandler(out, opts))
}
