package update

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestVersions(t *testing.T) {
	order := []string{"0.9.12", "v1.0.0", "1.0.0-1", "1.0.0-3-gabcdef1", "1.0.1", "1.2.0", "1.10.0", "2.0.0"}
	for i, a := range order {
		for j, b := range order {
			va, err1 := ParseVersion(a)
			vb, err2 := ParseVersion(b)
			if err1 != nil || err2 != nil || va.Before(vb) != (i < j) {
				t.Errorf("%s before %s: %v %v %v", a, b, va.Before(vb), err1, err2)
			}
		}
	}
	for _, s := range []string{"", "dev", "1.2", "1.2.3.4", "1.2.3-", "1.2.3-x", "1.2.3-1-", "1.2.3-1-dirty", "1.2.3-1-gxyz", "-1.2.3", "+1.2.3",
		"1.2.4294967296", "1.2.3-1-gabc-dirty", strings.Repeat("1", 65) + ".0.0"} {
		if v, err := ParseVersion(s); !errors.Is(err, ErrVersion) {
			t.Errorf("%q is %v", s, v)
		}
	}
}

// what is for another board or processor, or older, is refused; the last unless it is signed that it may be.
func TestFits(t *testing.T) {
	_, m := image("1.2.0", 600, 600)
	for name, c := range map[string]struct {
		host      Host
		downgrade bool
		err       error
	}{
		"newer":                 {Host{"desk", "arm64", "1.1.9"}, false, nil},
		"the same":              {Host{"desk", "arm64", "1.2.0"}, false, nil},
		"own build":             {Host{"desk", "arm64", "dev"}, false, nil},
		"no processor is named": {Host{"desk", "", "1.1.0"}, false, nil},
		"older":                 {Host{"desk", "arm64", "1.2.0-1"}, false, ErrDowngrade},
		"older, as ordered":     {Host{"desk", "arm64", "3.0.0"}, true, nil},
		"another board":         {Host{"rpi4", "arm64", "1.1.0"}, true, ErrBoard},
		"another processor":     {Host{"desk", "armv7", "1.1.0"}, true, ErrArch},
	} {
		if err := c.host.Fits(m, c.downgrade); !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestManifest(t *testing.T) {
	_, good := image("1.2.0", 600, 700)
	b, _ := json.Marshal(good)
	if m, err := ParseManifest(b); err != nil || m.Size != 1300 || len(m.Parts) != 2 {
		t.Errorf("%+v %v", m, err)
	}
	text := string(b)
	for name, s := range map[string]string{
		"schema 2":      strings.Replace(text, `"schema":1`, `"schema":2`, 1),
		"unknown field": strings.Replace(text, `"schema":1`, `"schema":1,"x":1`, 1),
		"no version":    strings.Replace(text, `"1.2.0"`, `""`, 1),
		"no board":      strings.Replace(text, `["desk"]`, `[]`, 1),
		"arch":          strings.Replace(text, `"arm64"`, `"mips"`, 1),
		"size":          strings.Replace(text, `"size":1300`, `"size":1301`, 1),
		"negative":      strings.Replace(text, `"size":600`, `"size":-600`, 1),
		"tiny":          strings.Replace(text, `"size":600`, `"size":1`, 1),
		"part's name":   strings.Replace(text, `"root"`, `"../data"`, 1),
		"twice":         strings.Replace(text, `"root"`, `"kernel"`, 1),
		"hash":          strings.Replace(text, good.Parts[0].SHA256, good.Parts[0].SHA256[:62], 1),
		"big hash":      strings.Replace(text, good.Parts[0].SHA256, strings.ToUpper(good.Parts[0].SHA256), 1),
		"cut":           text[:len(text)-1],
		"more":          text + text,
		"long":          text + strings.Repeat(" ", MaxManifest) + "1",
		"empty":         "",
	} {
		if m, err := ParseManifest([]byte(s)); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// The manifest in the protocol's page is one.
func TestManifestOfTheProtocol(t *testing.T) {
	page, err := os.ReadFile("../../mqtt/wire/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "```json\n{\"schema\":1,\"version\"")
	if !ok {
		t.Fatal("there is none")
	}
	line, _, _ := strings.Cut("{\"schema\":1,\"version\""+rest, "\n")
	if m, err := ParseManifest([]byte(line)); err != nil || m.Version != "1.4.2" {
		t.Errorf("%+v %v", m, err)
	}
}

func FuzzParseManifest(f *testing.F) {
	_, m := image("1.2.0", 600, 700)
	b, _ := json.Marshal(m)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseManifest(b)
		if err != nil {
			return
		}
		if err := m.Check(); err != nil {
			t.Error(err)
		}
		if again, err := json.Marshal(m); err != nil {
			t.Error(err)
		} else if _, err := ParseManifest(again); err != nil {
			t.Errorf("%s: %v", again, err)
		}
	})
}
