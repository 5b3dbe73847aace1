package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// house is the module's root, seen from here; module is its name.
const (
	house  = "../.."
	module = "parley"
)

// rooms are the only folders at the top; the second list is what building and running leaves there.
var (
	rooms = []string{
		"cmd", "audio", "mixer", "conference", "hal", "board", "sip", "mqtt", "web", "hub", "buildroot", "docs", "scripts",
	}
	leavings = []string{"bin", "dist", "data", "build"}
)

// vague are names that say nothing about what is inside, and so end up holding everything.
var vague = []string{"pkg", "internal", "util", "utils", "common", "types", "core", "helpers", "misc", "shared", "lib"}

// mayImport says which packages of ours a package may import; the first line that fits it holds. "x/*" is everything below x, "x" x
// alone. Test files may also import their own top folder's packages and all of audio.
var mayImport = []struct {
	who  string
	whom []string
}{
	{"audio", nil},
	{"conference", nil},
	{"hal", nil},
	{"board", nil},
	{"buildroot", []string{"board"}},
	{"audio/*", []string{"audio"}},
	{"mixer", []string{"audio"}},
	{"mixer/*", []string{"audio", "mixer"}},
	{"conference/*", []string{"conference"}},
	{"hal/*", []string{"hal"}},
	{"sip/rtp", []string{"audio", "sip/jitter"}},
	{"sip", []string{"audio", "sip/*"}},
	{"sip/*", nil},
	{"mqtt/wire", []string{"conference", "conference/create"}},
	{"mqtt", []string{"mqtt/*"}},
	{"mqtt/provision", []string{"mqtt/wire"}}, // signed settings are a payload, and what it may hold stands there
	{"mqtt/*", nil},
	{"web", []string{"conference", "conference/*", "web/*"}},
	{"web/*", []string{"conference"}},
	{"hub", []string{"conference", "mqtt/wire"}},
	{"hub/*", []string{"conference", "mqtt/wire"}},
	{"cmd/*", []string{"*"}},
}

// pure packages know the standard library and nothing else.
var pure = []string{"audio", "conference", "hal", "board"}

// never holds for test files too.
var never = []struct {
	who  string
	whom []string
}{
	{"conference", []string{"mixer", "sip", "mqtt", "hal", "audio"}},
	{"mixer", []string{"sip", "hal", "conference"}},
	{"sip", []string{"mqtt"}},
	{"hal", []string{"board"}},
}

// homes says where an outside library may be spoken to; its types go no further. Tests may use what they like.
var homes = []struct {
	library string
	where   []string
}{
	{"periph.io/", []string{"hal/gpio"}},
	{"github.com/gen2brain/malgo", []string{"audio/card"}},
	{"github.com/hraban/opus", []string{"audio/opus"}},
	{"github.com/gotranspile/g722", []string{"audio/g722"}},
	{"github.com/emiago/sipgo", []string{"sip", "sip/*"}},
	{"github.com/pion/", []string{"sip", "sip/*", "cmd/*"}},
	{"github.com/eclipse/paho.mqtt.golang", []string{"mqtt", "cmd/parleyctl"}},
	{"github.com/mochi-mqtt/", []string{"mqtt/broker"}},
	{"github.com/golang-jwt/", []string{"web/token"}},
	{"go.uber.org/goleak", nil},
	{"pgregory.net/rapid", nil},
}

// source is one parsed Go file.
type source struct {
	folder string // slash-separated, from the root
	file   string
	test   bool
	ast    *ast.File
	ours   []string // imports of ours, without the module's name
	others []string // imports from outside the standard library
}

// sources parses all Go files of the module.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	fset := token.NewFileSet()
	err := filepath.WalkDir(house, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(house, name)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if base := d.Name(); name != house && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || slices.Contains(leavings, rel)) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		s := source{folder: path.Dir(rel), file: rel, test: strings.HasSuffix(rel, "_test.go"), ast: f}
		for _, i := range f.Imports {
			p := strings.Trim(i.Path.Value, `"`)
			if own, ok := strings.CutPrefix(p, module+"/"); ok {
				s.ours = append(s.ours, own)
			} else if first, _, _ := strings.Cut(p, "/"); strings.Contains(first, ".") {
				s.others = append(s.others, p)
			}
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// fits tells whether a folder is meant by one of the patterns.
func fits(folder string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		below, ok := strings.CutSuffix(p, "*")
		return p == folder || ok && strings.HasPrefix(folder, below)
	})
}

func top(folder string) string {
	first, _, _ := strings.Cut(folder, "/")
	return first
}

// isFake tells whether a package is one of the fakes that ship beside an interface.
func isFake(folder string) bool { return strings.HasSuffix(folder, "test") }

// allowed tells whether s may import our package whom.
func allowed(s source, whom string) bool {
	if top(whom) == "cmd" {
		// A command's own parts and no other's, but settings are checked by whoever sends them, too; tests of one command may use
		// another's helpers.
		mine, theirs := strings.Split(s.folder, "/"), strings.Split(whom, "/")
		return len(mine) > 1 && mine[0] == "cmd" && (mine[1] == theirs[1] || s.test || whom == "cmd/parley/config")
	}
	for _, n := range never {
		if top(s.folder) == n.who && slices.Contains(n.whom, top(whom)) {
			return false
		}
	}
	if s.test && (top(whom) == top(s.folder) || top(whom) == "audio") {
		return true
	}
	if isFake(whom) {
		return false // for tests only
	}
	if isFake(s.folder) && whom == path.Dir(s.folder) {
		return true
	}
	for _, rule := range mayImport {
		if fits(s.folder, []string{rule.who}) {
			return fits(whom, rule.whom)
		}
	}
	return false
}

func TestLayoutImports(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, whom := range s.ours {
			if !allowed(s, whom) {
				t.Errorf("%s imports %s: %s may not", s.file, whom, s.folder)
			}
		}
		if s.test {
			continue
		}
		for _, library := range s.others {
			if slices.Contains(pure, s.folder) {
				t.Errorf("%s imports %s: %s knows the standard library only", s.file, library, s.folder)
			}
			for _, h := range homes {
				if strings.HasPrefix(library, h.library) && !fits(s.folder, h.where) && !isFake(s.folder) {
					t.Errorf("%s imports %s, which is for %v", s.file, library, h.where)
				}
			}
		}
	}
}

// The rules themselves are tried, so that a slip in the table shows.
func TestLayoutRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		who, whom string
		test, ok  bool
	}{
		{"mixer", "audio", false, true},
		{"mixer", "audio/opus", false, false},
		{"mixer", "audio/opus", true, true},
		{"mixer", "conference", true, false},
		{"audio", "audio/tone", false, false},
		{"audio/card", "audio", false, true},
		{"audio/record", "audio/opus", false, false},
		{"conference", "audio", true, false},
		{"conference/menu", "conference", false, true},
		{"hal/gpio", "hal", false, true},
		{"audio/card/cardtest", "audio/card", false, true},
		{"hal/haltest", "hal", false, true},
		{"hal/gpio", "hal/haltest", false, false},
		{"hal/gpio", "hal/haltest", true, true},
		{"hal", "board", true, false},
		{"sip", "sip/rtp", false, true},
		{"sip", "mqtt", true, false},
		{"sip/sdp", "audio", false, false},
		{"sip/rtp", "sip/jitter", false, true},
		{"sip/rtp", "sip/sdp", false, false},
		{"sip/rtp", "audio/g722", true, true},
		{"mqtt", "mqtt/wire", false, true},
		{"mqtt", "conference", false, false},
		{"mqtt/broker", "mqtt/wire", false, false},
		{"web", "mixer", false, false},
		{"web", "cmd/parley/config", true, false},
		{"cmd/parley", "cmd/parley/config", false, true},
		{"cmd/parley", "mixer", false, true},
		{"cmd/parleyctl", "cmd/parley/view", false, false},
		{"cmd/parleyctl", "cmd/parley/config", false, true},
		{"somewhere", "audio", false, false},
	} {
		if got := allowed(source{folder: c.who, test: c.test}, c.whom); got != c.ok {
			t.Errorf("%s imports %s (test file: %v): %v, want %v", c.who, c.whom, c.test, got, c.ok)
		}
	}
}

func TestLayoutFolders(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(house)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() && !strings.HasPrefix(name, ".") && !slices.Contains(rooms, name) && !slices.Contains(leavings, name) {
			t.Errorf("%s: no other folder at the top than %v", name, rooms)
		}
	}
	for _, s := range sources(t) {
		for part := range strings.SplitSeq(s.folder, "/") {
			if slices.Contains(vague, part) {
				t.Errorf("%s: a folder named %s says nothing", s.file, part)
			}
		}
	}
}

// Each package has something in it, and a comment that says what it is; none does things when it is merely imported.
func TestLayoutPackages(t *testing.T) {
	t.Parallel()
	type facts struct{ code, comment bool }
	packages := map[string]*facts{}
	for _, s := range sources(t) {
		p := packages[s.folder]
		if p == nil {
			p = &facts{}
			packages[s.folder] = p
		}
		if s.test {
			continue
		}
		p.comment = p.comment || s.ast.Doc != nil
		for _, d := range s.ast.Decls {
			if g, ok := d.(*ast.GenDecl); !ok || g.Tok != token.IMPORT {
				p.code = true
			}
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function", s.file)
			}
		}
	}
	for folder, p := range packages {
		if !p.code {
			t.Errorf("%s: a package without code", folder)
		}
		if !p.comment {
			t.Errorf("%s: no comment says what the package is and what it must not know", folder)
		}
	}
}
