package main

import (
	"context"
	"path/filepath"

	"parley/cmd/parleyctl/fleet"
)

// provisionCommand is parleyctl cmd with the operator's key, at the fleet's broker.
func provisionCommand(ctx context.Context, args []string) error {
	flags := newFlags("command")
	timeout := flags.Duration("timeout", 0, "wait so long for the outcome")
	words, err := arguments(flags, args, "provision command DIR BOX VERB [ARGUMENT]", 3, 4)
	if err != nil {
		return err
	}
	f, err := fleet.Open(words[0])
	if err != nil {
		return err
	}
	if _, err := f.Box(words[1]); err != nil {
		return err
	}
	more := append(newLink(f).flags(), "-box", words[1], "-signing-key", filepath.Join(f.Dir(), "operator.key"))
	if *timeout > 0 {
		more = append(more, "-timeout", timeout.String())
	}
	return cmdCommand(ctx, append(more, words[2:]...))
}

// provisionWatch is parleyctl watch at the fleet's broker.
func provisionWatch(ctx context.Context, args []string) error {
	flags := newFlags("watch")
	length := flags.Duration("for", 0, "stop after this `time`; 0: at ^C")
	words, err := arguments(flags, args, "provision watch DIR [BOX]", 1, 2)
	if err != nil {
		return err
	}
	f, err := fleet.Open(words[0])
	if err != nil {
		return err
	}
	more := append(newLink(f).flags(), "-for", length.String())
	if len(words) == 2 {
		more = append(more, "-box", words[1])
	}
	return cmdWatch(ctx, more)
}
