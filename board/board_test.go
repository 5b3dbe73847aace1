package board

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

// Every board is whole: its names are ones that hal has, and no line is used twice.
func TestBoardsAreWhole(t *testing.T) {
	keys := map[string]bool{"mute": true, "join": true, "volume-up": true, "volume-down": true, "reset": true}
	seen := map[string]bool{}
	for _, b := range List() {
		if !regexp.MustCompile(`^[a-z0-9-]+$`).MatchString(b.Name) || seen[b.Name] || b.Title == "" || b.Card == "" {
			t.Errorf("%+v", b)
		}
		seen[b.Name] = true
		lines, names := map[int]bool{}, map[string]bool{}
		for _, k := range b.Keys {
			if !keys[k.Key] || lines[k.Line] || names[k.Key] || k.Line < 0 {
				t.Errorf("%s: key %+v", b.Name, k)
			}
			lines[k.Line], names[k.Key] = true, true
		}
		lamps := map[string]bool{}
		for _, l := range b.Lamps {
			if l.Lamp != "mute" && l.Lamp != "status" || lines[l.Line] || lamps[l.Lamp] || l.Line < 0 {
				t.Errorf("%s: lamp %+v", b.Name, l)
			}
			lines[l.Line], lamps[l.Lamp] = true, true
		}
		if b.Terminal != (b.Chip == "") || !b.Terminal && (len(b.Keys) != len(keys) || len(b.Lamps) == 0) {
			t.Errorf("%s: neither terminal nor a whole set of keys and lamps: %+v", b.Name, b)
		}
	}
	for _, name := range []string{"desk", "rpi4"} {
		if b, err := Find(name); err != nil || b.Name != name {
			t.Errorf("%s: %v, %v", name, b, err)
		}
	}
}

func TestUnknownBoardNamesTheOthers(t *testing.T) {
	_, err := Find("rpi3")
	if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), `"rpi3"; there are: desk, rpi4`) {
		t.Error(err)
	}
}
