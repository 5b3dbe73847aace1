// Command parleyctl is the operator's tool for a box: it watches what happens, sends commands, and is a small telephone
// with which a call, and a load of calls, can be tried out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `parleyctl: look at a box, command it, call it

  parleyctl watch                   what happens at the box, as it comes
  parleyctl cmd VERB [ARGUMENT]     send a command and print the answer:
                                    mute, unmute, join, leave, dial NUMBER, hangup [CALL],
                                    support, factory-reset BOX (all but the box's identity goes)
  parleyctl support                 fetch a support bundle
  parleyctl call TARGET             call a number or SIP URI: play a file or tone, record, print the quality
  parleyctl load N TARGET           N calls with speech or noise, for a while
  parleyctl conf WORD ...           run a meeting: create one, mute, invite, floor, rooms, record, end;
                                    parleyctl conf help lists the words
  parleyctl provision WORD ...      the central side of a fleet: take boxes in, tell them their settings;
                                    parleyctl provision help lists the words
  parleyctl token -role ROLE        print a token for the HTTP API and members' commands; ROLE is
                                    guest, host or admin
  parleyctl firmware WORD ...       make and sign firmware, order it; parleyctl firmware help lists the words

Each has -h. Exit status: 0 done, 1 failed or refused, 2 wrong usage.
`

// errUsage is a command line that makes no sense; its text has been printed.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := dispatch(ctx, os.Args[1:])
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "parleyctl:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	commands := map[string]func(context.Context, []string) error{
		"watch": cmdWatch, "cmd": cmdCommand, "call": cmdCall, "load": cmdLoad,
		"token": cmdToken, "firmware": cmdFirmware, "conf": cmdConf, "support": cmdSupport, "provision": cmdProvision,
	}
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Print(usage)
		return nil
	}
	cmd, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(os.Stderr, "parleyctl: there is no command %q\n\n%s", args[0], usage)
		return errUsage
	}
	return cmd(ctx, args[1:])
}

// wrong says what is wrong with the command line.
func wrong(format string, args ...any) error {
	fmt.Fprintf(os.Stderr, "parleyctl: "+format+"\n", args...)
	return errUsage
}

// arguments parses flags that may stand before and after the arguments, of which there must be least to most.
func arguments(flags *flag.FlagSet, args []string, line string, least, most int) ([]string, error) {
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "usage: parleyctl %s\n", line)
		flags.PrintDefaults()
	}
	var plain []string
	for {
		if err := flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, errUsage
		}
		if flags.NArg() == 0 {
			break
		}
		plain, args = append(plain, flags.Arg(0)), flags.Args()[1:]
	}
	if len(plain) < least || len(plain) > most {
		flags.Usage()
		return nil, errUsage
	}
	return plain, nil
}
