package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// provisions are those of ETSI EN 303 645 V2.1.1: how many each chapter has.
var provisions = []struct {
	chapter string
	count   int
}{
	{"5.1", 5}, {"5.2", 3}, {"5.3", 16}, {"5.4", 4}, {"5.5", 8}, {"5.6", 9}, {"5.7", 2}, {"5.8", 3}, {"5.9", 3}, {"5.10", 1}, {"5.11", 4}, {"5.12", 3},
	{"5.13", 1}, {"6", 5},
}

// docs/security.md says of every provision whether it is met, with a proof that exists where it says so, and with a reason where not.
func TestSecurityPage(t *testing.T) {
	raw, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	proofs := proofs{}
	var got []string
	for _, line := range strings.Split(string(raw), "\n") {
		shown := proofs.in(t, line)
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !regexp.MustCompile(`^\| [56](\.\d+)?-\d+ \|`).MatchString(line) {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 5 {
			t.Errorf("%d cells: %s", len(cells), line)
			continue
		}
		got = append(got, cells[0])
		switch id, state, how := cells[0], cells[2], cells[3]; state {
		case "met", "in part":
			if shown == 0 && !strings.Contains(how, "](") && !strings.Contains(how, `"`) && id != "5.6-8" {
				t.Errorf("%s is said to be %s, and nothing shows it", id, state)
			}
		case "not met", "n/a":
			if how == "" {
				t.Errorf("%s is %s, and it is not said why", id, state)
			}
		case "maker":
		default:
			t.Errorf("%s is %q", id, state)
		}
	}
	var want []string
	for _, p := range provisions {
		for i := range p.count {
			want = append(want, fmt.Sprintf("%s-%d", p.chapter, i+1))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the page has %q\nwant %q", got, want)
	}
	for _, link := range regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`).FindAllStringSubmatch(string(raw), -1) {
		if _, err := os.Stat(filepath.Join("../../docs", link[1])); err != nil {
			t.Errorf("a link that leads nowhere: %s", link[1])
		}
	}
}
