package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A box whose data partition could not be used works, and says that nothing will last.
func TestDataInMemoryIsToldOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	marker := filepath.Join(dir, "nodata")
	if text := storageFault(dir, marker); text != "" {
		t.Fatal(text)
	}
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if text := storageFault(dir, marker); !strings.Contains(text, "data partition") {
		t.Errorf("told %q", text)
	}
	if script, err := os.ReadFile("../../buildroot/package/parley/storage"); err != nil || !strings.Contains(string(script), noData) {
		t.Errorf("the image marks it elsewhere than in %s (%v)", noData, err)
	}
}
