package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// proofs holds, of each folder, what its test files are.
type proofs map[string]string

// namedTest is how a page names a test: its folder and its function.
var namedTest = regexp.MustCompile("`([a-z0-9/]+)\\.(Test[A-Za-z0-9]+)`")

// in counts the tests that a line of a page names, each of which must be there.
func (p proofs) in(t *testing.T, line string) int {
	t.Helper()
	named := namedTest.FindAllStringSubmatch(line, -1)
	if loose := strings.Count(line, ".Test"); loose != len(named) {
		t.Errorf("%d tests are named in other words than `folder.TestName`: %s", loose-len(named), line)
	}
	for _, n := range named {
		folder, name := n[1], n[2]
		if _, ok := p[folder]; !ok {
			files, _ := filepath.Glob(filepath.Join("../..", folder, "*_test.go"))
			for _, f := range files {
				text, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				p[folder] += string(text)
			}
		}
		if !strings.Contains(p[folder], "\nfunc "+name+"(t ") {
			t.Errorf("there is no test %s in %s", name, folder)
		}
	}
	return len(named)
}

// Every test that docs/spec.md names is there, and every requirement of the box, the conference and private rooms has a line with one.
func TestSpecTable(t *testing.T) {
	raw, err := os.ReadFile("../../docs/spec.md")
	if err != nil {
		t.Fatal(err)
	}
	proofs := proofs{}
	lines := map[string]int{}
	for _, line := range strings.Split(string(raw), "\n") {
		named := proofs.in(t, line)
		if m := regexp.MustCompile(`^\| ([CPX]-\d+[ab]?) \|`).FindStringSubmatch(line); m != nil {
			lines[m[1]] += min(1, named)
		}
	}
	want := []string{"X-7a", "X-7b"}
	for _, r := range []struct {
		kind        string
		first, last int
	}{{"C", 1, 8}, {"C", 10, 18}, {"C", 20, 22}, {"C", 30, 33}, {"P", 1, 6}, {"X", 1, 12}} {
		for i := r.first; i <= r.last; i++ {
			want = append(want, fmt.Sprintf("%s-%d", r.kind, i))
		}
	}
	for _, id := range want {
		if lines[id] != 1 {
			t.Errorf("%s has %d lines with a test, want 1", id, lines[id])
		}
	}
	if len(lines) != len(want) {
		t.Errorf("%d requirements, want %d", len(lines), len(want))
	}
}
