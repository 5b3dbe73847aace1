package main

import (
	"cmp"
	"fmt"
	"io"
	"os"

	"parley/board"
)

// cmdBoards lists the boards, or tells all about one.
func cmdBoards(args []string, out io.Writer) error {
	switch {
	case len(args) > 1 || len(args) == 1 && args[0] == "":
		fmt.Fprintln(os.Stderr, "usage: parley boards [NAME]")
		return errUsage
	case len(args) == 1:
		b, err := board.Find(args[0])
		if err == nil {
			tellBoard(b, out)
		}
		return err
	}
	const line = "%-12s %-7s %-8s %-8s %-19s %s\n"
	fmt.Fprintf(out, line, "board", "program", "keys", "lamps", "card", "watchdog")
	for _, b := range board.List() {
		keys, lamps := fmt.Sprint(len(b.Keys)), fmt.Sprint(len(b.Lamps))
		if b.Terminal {
			keys, lamps = "terminal", "terminal"
		}
		fmt.Fprintf(out, line, b.Name, cmp.Or(b.Arch, "any"), keys, lamps, b.Card, cmp.Or(b.Watchdog, "-"))
	}
	fmt.Fprintln(out, "\n`parley boards NAME` tells how keys and lamps are wired.")
	return nil
}

// tellBoard is all that is known of a board, for whoever wires it.
func tellBoard(b board.Board, out io.Writer) {
	fmt.Fprintf(out, "%s: %s\n\n", b.Name, b.Title)
	for _, fact := range [][2]string{
		{"program", "parley-" + b.Arch}, {"card", b.Card}, {"watchdog", b.Watchdog}, {"disk", b.Disk}, {"GPIO chip", b.Chip},
	} {
		if fact[1] != "" && fact[1] != "parley-" {
			fmt.Fprintf(out, "  %-10s %s\n", fact[0], fact[1])
		}
	}
	if b.Terminal {
		return
	}
	level := func(low bool) string {
		if low {
			return "low"
		}
		return "high"
	}
	bias := [...]string{board.PullNone: "none", board.PullUp: "pulled up", board.PullDown: "pulled down"}
	const line = "  %-12s %-13s %4v  %-8s %s\n"
	fmt.Fprintf(out, "\n"+line, "key", "where", "line", "pressed", "bias")
	for _, k := range b.Keys {
		fmt.Fprintf(out, line, k.Key, k.Pin, k.Line, level(k.ActiveLow), bias[k.Pull])
	}
	const lampLine = "  %-12s %-13s %4v  %s\n"
	fmt.Fprintf(out, "\n"+lampLine, "lamp", "where", "line", "lit")
	for _, l := range b.Lamps {
		fmt.Fprintf(out, lampLine, l.Lamp, l.Pin, l.Line, level(l.ActiveLow))
	}
}
