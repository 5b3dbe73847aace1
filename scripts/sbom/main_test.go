package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What CycloneDX 1.5's schema asks of the fields that are used here.
var (
	serial  = regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	sha256s = regexp.MustCompile(`^[0-9a-f]{64}$`)
	purl    = regexp.MustCompile(`^pkg:(golang|deb|github)/[A-Za-z0-9._~/+-]+(@[A-Za-z0-9._+:~-]+)?(\?[a-z]+=[a-z0-9]+)?$`)
	cpe     = regexp.MustCompile(`^cpe:2\.3:a:[a-z0-9._-]+:[a-z0-9._-]+:[A-Za-z0-9._-]+(:\*){7}$`)
	types   = []string{"application", "framework", "library", "container", "platform", "operating-system", "device", "device-driver", "firmware", "file", "machine-learning-model", "data"}
	fields  = []string{"bomFormat", "specVersion", "serialNumber", "version", "metadata", "components", "dependencies"}
	ids     = []string{"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "Unlicense", "LGPL-2.1-or-later"}
	terms   = []string{"EPL-2.0 OR BSD-3-Clause", "MIT AND Apache-2.0", "Unlicense OR MIT-0", "GPL-3.0-or-later WITH GCC-exception-3.1"}
)

// list makes the list as it is printed, and as it is read again.
func list(t *testing.T) (text []byte, b *bom) {
	t.Helper()
	made, err := firmware("../..", nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = json.MarshalIndent(made, "", "  "); err != nil {
		t.Fatal(err)
	}
	b = &bom{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(b); err != nil {
		t.Fatal(err)
	}
	return text, b
}

func checkComponent(t *testing.T, c component, refs map[string]bool) {
	t.Helper()
	if !slices.Contains(types, c.Type) || c.Name == "" || c.Ref == "" || refs[c.Ref] {
		t.Errorf("%+v", c)
	}
	refs[c.Ref] = true
	if c.Type == "library" && (c.Version == "" || len(c.Licenses) != 1 || !purl.MatchString(c.PURL)) {
		t.Errorf("%s: version %q, licences %v, %s", c.Name, c.Version, c.Licenses, c.PURL)
	}
	for _, l := range c.Licenses {
		if (l.License == nil) == (l.Expression == "") || l.License != nil && !slices.Contains(ids, l.License.ID) || l.License == nil && !slices.Contains(terms, l.Expression) {
			t.Errorf("%s: licence %+v", c.Name, l)
		}
	}
	if c.CPE != "" && !cpe.MatchString(c.CPE) {
		t.Errorf("%s: %s", c.Name, c.CPE)
	}
	hashes := c.Hashes
	for _, r := range c.References {
		if r.Type != "distribution" || r.URL == "" || len(r.Hashes) == 0 {
			t.Errorf("%s: %+v", c.Name, r)
		}
		hashes = append(hashes, r.Hashes...)
	}
	for _, h := range hashes {
		if h.Alg != "SHA-256" || !sha256s.MatchString(h.Content) {
			t.Errorf("%s: %+v", c.Name, h)
		}
	}
}

// The list has what CycloneDX asks for, names all that the product's owner has named and all parts in C, and is the same every time.
func TestList(t *testing.T) {
	text, b := list(t)
	var plain map[string]json.RawMessage
	if err := json.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		if len(plain[f]) == 0 {
			t.Errorf("no %s", f)
		}
	}
	if b.Format != "CycloneDX" || b.Spec != "1.5" || b.Version < 1 || !serial.MatchString(b.Serial) {
		t.Errorf("%q %q %d %q", b.Format, b.Spec, b.Version, b.Serial)
	}
	refs := map[string]bool{}
	checkComponent(t, *b.Metadata.Component, refs)
	names := map[string]component{}
	for _, c := range b.Components {
		checkComponent(t, c, refs)
		names[c.Name] = c
	}
	for _, d := range b.Dependencies {
		for _, on := range append(d.DependsOn, d.Ref) {
			if !refs[on] {
				t.Errorf("a dependency on %q, which is not in the list", on)
			}
		}
	}
	for _, name := range []string{"periph.io/x/conn/v3", "periph.io/x/host/v3", "github.com/gen2brain/malgo", "github.com/emiago/sipgo", "github.com/pion/rtp",
		"github.com/eclipse/paho.mqtt.golang", "github.com/hraban/opus", "github.com/mochi-mqtt/server/v2", "std", "musl", "alsa-lib", "opus", "miniaudio", "libgcc"} {
		if names[name].Name == "" {
			t.Errorf("%s is not in the list", name)
		}
	}
	for _, name := range []string{"musl", "alsa-lib", "opus"} {
		if len(names[name].References) == 0 {
			t.Errorf("%s: no sum", name)
		}
	}
	if again, _ := list(t); !bytes.Equal(again, text) {
		t.Error("another time it is another list")
	}
}

// The versions are those of go.mod; what only tests and tools need is not in it.
func TestVersions(t *testing.T) {
	_, b := list(t)
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b.Components {
		if strings.HasPrefix(c.PURL, "pkg:golang/") && c.Name != "std" && !strings.Contains(string(mod), c.Name+" "+c.Version) {
			t.Errorf("%s %s is not what go.mod says", c.Name, c.Version)
		}
		if strings.Contains(c.Name, "goleak") || strings.Contains(c.Name, "rapid") {
			t.Errorf("%s is for tests", c.Name)
		}
	}
}

// The binaries that were built say the same of themselves; another program is refused.
func TestBinaries(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := binary(own, []module{{Path: "github.com/pion/rtp", Version: "v0.0.1"}}); err != nil {
		t.Errorf("a program without modules: %v", err)
	}
	if _, err := binary("main.go", nil); err == nil {
		t.Error("a file that is no program is taken")
	}
	dir := os.Getenv("PARLEY_ARM_BINARIES")
	if dir == "" {
		t.Skip("`make test-arm` compares the binaries")
	}
	files, _ := filepath.Glob(filepath.Join(dir, "parley-arm*"))
	made, err := firmware("../..", files)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(made.Metadata.Component.Components); n != len(files) || n == 0 {
		t.Errorf("%d binaries in the list, %d files", n, len(files))
	}
}

// A licence that nobody has looked at is an error, not a guess.
func TestLicences(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"Permission is hereby granted, free of charge, … The above copyright notice and this\npermission notice shall be included": "MIT",
		"All rights reserved.": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, "LICENSE"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := readLicence(dir); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := readLicence(t.TempDir()); err == nil {
		t.Error("a module without a licence is taken")
	}
}
