package board

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every board is whole: its names are ones that hal has, and no line is used twice.
func TestBoardsAreWhole(t *testing.T) {
	keys := map[string]bool{"mute": true, "join": true, "volume-up": true, "volume-down": true, "reset": true}
	seen := map[string]bool{}
	for _, b := range List() {
		if !regexp.MustCompile(`^[a-z0-9-]+$`).MatchString(b.Name) || seen[b.Name] || b.Title == "" || b.Card == "" || b.Terminal != (b.Arch == "") ||
			!slices.Contains([]string{"", "armv7", "arm64"}, b.Arch) || b.Terminal != (b.Disk == "") || b.Terminal != (b.Watchdog == "") {
			t.Errorf("%+v", b)
		}
		seen[b.Name] = true
		lines, names, pins := map[int]bool{}, map[string]bool{}, map[string]bool{}
		for _, k := range b.Keys {
			if !keys[k.Key] || lines[k.Line] || names[k.Key] || k.Line < 0 || k.Pin == "" || pins[k.Pin] {
				t.Errorf("%s: key %+v", b.Name, k)
			}
			lines[k.Line], names[k.Key], pins[k.Pin] = true, true, true
			if k.ActiveLow == (k.Pull == PullDown) && k.Pull != PullNone {
				t.Errorf("%s: key %+v is pulled to where it counts as pressed", b.Name, k)
			}
		}
		lamps := map[string]bool{}
		for _, l := range b.Lamps {
			if l.Lamp != "mute" && l.Lamp != "status" || lines[l.Line] || lamps[l.Lamp] || l.Line < 0 || l.Pin == "" || pins[l.Pin] {
				t.Errorf("%s: lamp %+v", b.Name, l)
			}
			lines[l.Line], lamps[l.Lamp], pins[l.Pin] = true, true, true
		}
		if b.Terminal != (b.Chip == "") || !b.Terminal && (len(b.Keys) != len(keys) || len(b.Lamps) == 0) {
			t.Errorf("%s: neither terminal nor a whole set of keys and lamps: %+v", b.Name, b)
		}
	}
	for _, name := range []string{"desk", "qemu-arm", "qemu-arm64", "rpi4", "rpi-zero2w", "orangepi-pc"} {
		if b, err := Find(name); err != nil || b.Name != name {
			t.Errorf("%s: %v, %v", name, b, err)
		}
	}
}

func TestUnknownBoardNamesTheOthers(t *testing.T) {
	_, err := Find("rpi3")
	if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), `"rpi3"; there are: desk, qemu-arm, `) {
		t.Error(err)
	}
}
