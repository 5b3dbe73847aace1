package main

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"parley/hal/update"
	"parley/mqtt/wire"
)

// What is packed without a key, and signed afterwards by two, is what a box takes that knows one of them.
func TestFirmware(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, size := range map[string]int{"kernel": 3000, "root": 5000} {
		if err := os.WriteFile(in(name), []byte(strings.Repeat(name[:1], size)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	do := func(args ...string) error { return cmdFirmware(t.Context(), args) }
	pack := []string{"pack", in("image"), "--version", "1.4.2", "--board", "rpi4,rpi-zero2w", "--arch", "arm64", "--kernel", in("kernel"), "--root", in("root")}
	if err := do(pack...); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"one", "two"} {
		if err := do("key", in(key)); err != nil {
			t.Fatal(err)
		}
		if err := do("sign", in("image.manifest"), "--key", in(key)); err != nil {
			t.Fatal(err)
		}
		k, err := wire.LoadKey(in(key))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(in("image.manifest"))
		if err != nil {
			t.Fatal(err)
		}
		payload, _, err := wire.Verify(b, wire.NewKeySet(k.Public().(ed25519.PublicKey)))
		if err != nil {
			t.Fatal(err)
		}
		m, err := update.ParseManifest(payload)
		if err != nil || m.Version != "1.4.2" || len(m.Boards) != 2 || m.Size != 8000 || m.Parts[1].Size != 5000 {
			t.Errorf("%+v, %v", m, err)
		}
	}
	if _, _, e, err := readManifest(in("image.manifest")); err != nil || len(e.Signatures) != 2 {
		t.Errorf("%d signatures, %v", len(e.Signatures), err)
	}
	if err := do("show", in("image.manifest")); err != nil {
		t.Error(err)
	}
	image, err := os.ReadFile(in("image"))
	if err != nil || len(image) != 8000 || image[2999] != 'k' || image[3000] != 'r' {
		t.Errorf("%d bytes, %v", len(image), err)
	}
	// A command line that makes no image leaves none.
	pack[1], pack[3] = in("other"), "next"
	if err := do(pack...); err == nil {
		t.Error("a version that is none is packed")
	}
	if _, err := os.Stat(in("other")); !os.IsNotExist(err) {
		t.Error("a bad image is left behind")
	}
}

// A report is told in a line that says when nothing more comes.
func TestFirmwareLines(t *testing.T) {
	for _, c := range []struct {
		report    wire.FwReported
		text      string
		over, bad bool
	}{
		{wire.FwReported{Order: 3, State: "DOWNLOADING", Done: 50, Size: 200}, "DOWNLOADING 25 %", false, false},
		{wire.FwReported{Order: 3, State: "DOWNLOADING", Detail: "until no call is on"}, "DOWNLOADING (until no call is on)", false, false},
		{wire.FwReported{Order: 3, State: "UPDATED", Version: "1.4.2", Running: wire.FwRunning{Slot: "b"}}, "UPDATED, 1.4.2 runs in slot b", true, false},
		{wire.FwReported{Order: 3, State: "FAILED", Reason: "rolled_back", Detail: "x"}, "FAILED: rolled_back (x)", true, true},
		{wire.FwReported{Order: 2, State: "UPDATED"}, "", false, true},
		{wire.FwReported{Order: 4, State: "QUEUED"}, "", true, true},
		{wire.FwReported{Order: 2, State: "UPDATED", Rejected: &wire.FwRefusal{Hash: "h", Reason: "unknown_key", Detail: "d"}}, "refused: unknown_key d", true, true},
	} {
		if text, over, bad := fwLine(c.report, 3, "h"); text != c.text || over != c.over || over && bad != c.bad {
			t.Errorf("%+v: %q %v %v", c.report, text, over, bad)
		}
	}
}
