package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"parley/board"
)

// The settings that the image brings are good, for every board that it is made for.
func TestImageSettings(t *testing.T) {
	text, err := os.ReadFile("../../../buildroot/package/parley/parley.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// Started as root, the box is to become its own user, once it can.
	if strings.Contains(Defaults(), "\nuser:") && !strings.Contains(string(text), "\nuser: parley\n") {
		t.Error("the image's settings do not name the box's user")
	}
	for _, b := range board.List() {
		if b.Terminal {
			continue
		}
		file := filepath.Join(t.TempDir(), "parley.yaml")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "@BOARD@", b.Name)), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := Load(file, func(string) string { return "" })
		if err != nil || cfg.Board != b.Name || cfg.Data != "/data/parley" {
			t.Errorf("%s: %v, board %q, data %q", b.Name, err, cfg.Board, cfg.Data)
		}
	}
}
