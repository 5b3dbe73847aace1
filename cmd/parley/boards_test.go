package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"parley/board"
)

// Whoever wires a board finds every key and lamp with its pin and line, and 80 columns are enough.
func TestBoardsTellTheWiring(t *testing.T) {
	var list strings.Builder
	if err := dispatch([]string{"boards"}, &list); err != nil {
		t.Fatal(err)
	}
	for _, b := range board.List() {
		var one strings.Builder
		if err := dispatch([]string{"boards", b.Name}, &one); err != nil {
			t.Error(err)
		}
		if !strings.Contains(list.String(), "\n"+b.Name+" ") || !strings.HasPrefix(one.String(), b.Name+": "+b.Title+"\n") || !strings.Contains(one.String(), b.Chip) {
			t.Errorf("%s:\n%s\n%s", b.Name, list.String(), one.String())
		}
		for _, k := range b.Keys {
			if want := fmt.Sprintf("  %-12s %-13s %4d  ", k.Key, k.Pin, k.Line); !strings.Contains(one.String(), want) {
				t.Errorf("%s: no %q", b.Name, want)
			}
		}
		for _, l := range b.Lamps {
			if want := fmt.Sprintf("  %-12s %-13s %4d  ", l.Lamp, l.Pin, l.Line); !strings.Contains(one.String(), want) {
				t.Errorf("%s: no %q", b.Name, want)
			}
		}
		for _, l := range strings.Split(list.String()+one.String(), "\n") {
			if len(l) > 80 {
				t.Errorf("%d columns: %s", len(l), l)
			}
		}
	}
	page, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	var rpi strings.Builder
	dispatch([]string{"boards", "rpi4"}, &rpi)
	if shown := regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(rpi.String(), "    $1"); !strings.Contains(string(page), "\n"+shown) {
		t.Errorf("docs/install.md does not show\n%s", shown)
	}
	if err := dispatch([]string{"boards", "rpi9"}, &list); !errors.Is(err, board.ErrUnknown) {
		t.Error(err)
	}
}
