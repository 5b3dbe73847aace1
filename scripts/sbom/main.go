// Command sbom prints what the firmware is made of, as CycloneDX 1.5 in JSON: every Go module that is linked in, Go's own library, and the
// parts in C, each with its version, its licence and where it comes from.
//
//	go run ./scripts/sbom [-o FILE] [BINARY ...]
//
// It asks go what a build of the firmware would take, with the flags of scripts/firmware.sh, so nothing need be built. Binaries that are
// named are listed with their SHA-256, and must say the same of themselves. The same sources give the same list, to the byte. It must not
// know a licence that it has not read: a text that it does not recognise is an error.
package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	to := flag.String("o", "", "write to this `file`")
	flag.Parse()
	if err := run(*to, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(to string, binaries []string) error {
	list, err := firmware(".", binaries)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if to == "" {
		_, err = os.Stdout.Write(text)
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(to, text, 0o644); err != nil {
		return err
	}
	fmt.Printf("%s: %d components\n", to, len(list.Components))
	return nil
}

// module is one Go module of a build.
type module struct {
	Path, Version, Dir, Sum string
	Main                    bool
	Replace                 *module // a copy of it in which files were replaced
}

// firmware lists what the firmware of the tree at root is made of.
func firmware(root string, binaries []string) (*bom, error) {
	recipe, err := os.ReadFile(filepath.Join(root, "scripts/firmware.sh"))
	if err != nil {
		return nil, err
	}
	standins, err := output(root, nil, "scripts/lean.sh")
	if err != nil {
		return nil, err
	}
	flags := strings.Fields(string(standins))
	modules, err := linked(root, value(recipe, "tags"), flags)
	if err != nil {
		return nil, err
	}
	version := strings.TrimSpace(os.Getenv("VERSION"))
	if version == "" {
		version = "unknown"
	}
	ours := component{Type: "firmware", Ref: "parley", Name: "parley", Version: version, Licenses: licence("Apache-2.0")}
	list := &bom{Format: "CycloneDX", Spec: "1.5", Version: 1, Metadata: metadata{Component: &ours}}
	for _, m := range modules {
		c, err := m.component()
		if err != nil {
			return nil, err
		}
		list.Components = append(list.Components, c)
	}
	c, err := inC(recipe, modules)
	if err != nil {
		return nil, err
	}
	std, err := goLibrary(root, flags)
	if err != nil {
		return nil, err
	}
	list.Components = append(append(list.Components, std), c...)
	for _, b := range binaries {
		file, err := binary(b, modules)
		if err != nil {
			return nil, err
		}
		ours.Components = append(ours.Components, file)
	}
	list.seal()
	return list, nil
}

// linked asks go for the modules of both machines' builds, in order.
func linked(root, tags string, flags []string) ([]module, error) {
	found := map[string]module{}
	for _, arch := range []string{"arm", "arm64"} {
		args := append([]string{"list"}, flags...)
		args = append(args, "-deps", "-tags", tags, "-json=Module", "./cmd/parley")
		out, err := output(root, []string{"GOOS=linux", "GOARCH=" + arch, "GOARM=7", "CGO_ENABLED=1", "GOFLAGS=-buildvcs=false"}, "go", args...)
		if err != nil {
			return nil, err
		}
		for d := json.NewDecoder(bytes.NewReader(out)); ; {
			var p struct{ Module *module }
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
			if p.Module != nil && !p.Module.Main {
				found[p.Module.Path] = *p.Module
			}
		}
	}
	var list []module
	for _, m := range found {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	if len(list) == 0 {
		return nil, errors.New("go names no module")
	}
	return list, nil
}

func output(dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), env...), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

// component describes a module, by its licence as it stands in its sources.
func (m *module) component() (component, error) {
	dir, sum := m.Dir, m.Sum
	c := component{Type: "library", Ref: m.Path, Name: m.Path, Version: m.Version, PURL: "pkg:golang/" + m.Path + "@" + m.Version}
	if m.Replace != nil {
		dir = m.Replace.Dir
		c.Modified = true
		c.Pedigree = &pedigree{Notes: "some files are replaced by those of scripts/_lean/" + m.Path}
	}
	if sum != "" {
		c.Properties = []property{{"go:sum", sum}}
	}
	id, err := readLicence(dir)
	if err != nil {
		return c, fmt.Errorf("%s: %w", m.Path, err)
	}
	c.Licenses = licence(id)
	return c, nil
}

// value reads a variable's value in a shell script.
func value(script []byte, name string) string {
	m := regexp.MustCompile(`(?m)^` + name + `=(\S+)$`).FindSubmatch(script)
	if m == nil {
		return ""
	}
	return string(m[1])
}

// inC are the parts in C: those that the recipe pins, miniaudio inside malgo, and what the compiler adds.
func inC(recipe []byte, modules []module) (list []component, err error) {
	for _, p := range []struct{ name, source, licence, cpe string }{
		{"musl", "musl", "MIT", "musl-libc:musl"},
		{"alsa", "alsa-lib", "LGPL-2.1-or-later", "alsa-project:alsa"},
		{"opus", "opus", "BSD-3-Clause", "opus-codec:opus"},
	} {
		version := value(recipe, p.name)
		upstream, _, ok := strings.Cut(version, "-")
		if !ok {
			return nil, fmt.Errorf("scripts/firmware.sh pins no version of %s", p.source)
		}
		c := component{
			Type: "library", Ref: "c:" + p.source, Name: p.source, Version: upstream, Licenses: licence(p.licence),
			PURL: "pkg:deb/debian/" + p.source + "@" + version + "?distro=" + value(recipe, "suite"),
			CPE:  "cpe:2.3:a:" + p.cpe + ":" + upstream + ":*:*:*:*:*:*:*",
		}
		for _, pin := range regexp.MustCompile(`(?m)^([0-9a-f]{64})  (\S+)$`).FindAllStringSubmatch(string(recipe), -1) {
			if strings.HasPrefix(pin[2], p.source) {
				c.References = append(c.References, reference{"distribution", pin[2], []digest{{"SHA-256", pin[1]}}})
			}
		}
		if len(c.References) == 0 {
			return nil, fmt.Errorf("scripts/firmware.sh has no sum of %s", p.source)
		}
		list = append(list, c)
	}
	at := slices.IndexFunc(modules, func(m module) bool { return m.Path == "github.com/gen2brain/malgo" })
	if at < 0 {
		return nil, errors.New("malgo is not linked in, and with it miniaudio")
	}
	header, err := os.ReadFile(filepath.Join(modules[at].Dir, "miniaudio.h"))
	if err != nil {
		return nil, err
	}
	var parts []string
	for _, m := range regexp.MustCompile(`(?m)^#define MA_VERSION_(?:MAJOR|MINOR|REVISION)\s+(\d+)`).FindAllSubmatch(header, -1) {
		parts = append(parts, string(m[1]))
	}
	if len(parts) != 3 {
		return nil, errors.New("miniaudio.h tells no version")
	}
	version := strings.Join(parts, ".")
	return append(list, component{
		Type: "library", Ref: "c:miniaudio", Name: "miniaudio", Version: version, Licenses: licence("Unlicense OR MIT-0"),
		PURL: "pkg:github/mackron/miniaudio@" + version, Pedigree: &pedigree{Notes: "as it stands in github.com/gen2brain/malgo"},
	}, component{
		Type: "library", Ref: "c:libgcc", Name: "libgcc", Version: "12", Licenses: licence("GPL-3.0-or-later WITH GCC-exception-3.1"),
		PURL:     "pkg:deb/debian/gcc-12-cross?distro=" + value(recipe, "suite"),
		Pedigree: &pedigree{Notes: "libgcc and libatomic of the cross compiler that the machine has; its exact version is not pinned"},
	}), nil
}

// goLibrary is Go's runtime and standard library.
func goLibrary(root string, flags []string) (component, error) {
	out, err := output(root, nil, "go", "env", "GOVERSION")
	if err != nil {
		return component{}, err
	}
	version := strings.TrimPrefix(strings.TrimSpace(string(out)), "go")
	c := component{
		Type: "library", Ref: "std", Name: "std", Version: version, Licenses: licence("BSD-3-Clause"), PURL: "pkg:golang/std@" + version,
		CPE: "cpe:2.3:a:golang:go:" + version + ":*:*:*:*:*:*:*",
	}
	for _, f := range flags {
		path, ok := strings.CutPrefix(f, "-overlay=")
		if !ok {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(root, path))
		var overlay struct{ Replace map[string]string }
		if err := errors.Join(err, json.Unmarshal(raw, &overlay)); err != nil {
			return c, err
		}
		if len(overlay.Replace) > 0 {
			c.Modified, c.Pedigree = true, &pedigree{Notes: fmt.Sprintf("%d files are replaced by those of scripts/_lean", len(overlay.Replace))}
		}
	}
	return c, nil
}

// binary is a file of the firmware; what it says of itself must be what the list says.
func binary(path string, modules []module) (component, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return component{}, err
	}
	info, err := buildinfo.Read(bytes.NewReader(raw))
	if err != nil {
		return component{}, fmt.Errorf("%s: %w", path, err)
	}
	listed := map[string]string{}
	for _, m := range modules {
		listed[m.Path] = m.Version
	}
	for _, d := range info.Deps {
		if listed[d.Path] != d.Version {
			return component{}, fmt.Errorf("%s has %s %s, and the list %q: build it anew", path, d.Path, d.Version, listed[d.Path])
		}
	}
	sum := sha256.Sum256(raw)
	return component{Type: "file", Ref: "file:" + filepath.Base(path), Name: filepath.Base(path), Hashes: []digest{{"SHA-256", hex.EncodeToString(sum[:])}}}, nil
}
