package web_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"parley/conference"
	"parley/conference/create"
	"parley/web"
	"parley/web/token"
)

// page reads API.md.
func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("API.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// example gives the fenced block with that name.
func example(t *testing.T, page, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, "```json "+name+"\n")
	block, _, end := strings.Cut(rest, "```")
	if !ok || !end {
		t.Fatalf("API.md has no example %s", name)
	}
	return block
}

// What API.md shows is what the API does.
func TestAPIExamples(t *testing.T) {
	doc, g := page(t), newRig(t, nil)
	same := func(name string, a answer) {
		var want map[string]any
		if err := json.Unmarshal([]byte(example(t, doc, name)), &want); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if fmt.Sprint(want) != fmt.Sprint(a.body) {
			t.Errorf("%s: the page says %v, the API %s", name, want, a.text)
		}
	}
	call := example(t, doc, "create")
	same("created", g.ask("POST", "conferAndMembersAddJson", g.token(nil), call))
	same("refused", g.ask("POST", "conferAndMembersAddJson", g.token(nil), strings.Replace(call, `"maxNum": 12`, `"maxNum": 31`, 1)))
	same("done", g.ask("POST", "conferences/1000/commands", g.token(nil), example(t, doc, "command")))
}

// Each path of the page is there, and asks for the right that the page names.
func TestAPIPaths(t *testing.T) {
	g := newRig(t, nil)
	rows := regexp.MustCompile(`(?m)^\| (\w+) /api/v1/(\S+) \| ([\w ]+) \|`).FindAllStringSubmatch(page(t), -1)
	if len(rows) != 15 {
		t.Errorf("%d paths", len(rows))
	}
	none := g.token(func(c *token.Claims) { c.Limits = []conference.Right{} })
	for _, r := range rows {
		path := strings.NewReplacer("{conf}", "1000", "{id}", "x").Replace(r[2])
		if a := g.ask(r[1], path, g.admin(), ""); a.status == 405 || a.body["message"] == "there is nothing here" {
			t.Errorf("%s %s: %d %s", r[1], path, a.status, a.text)
		}
		body := ""
		if strings.HasSuffix(path, "commands") {
			body = `{"do":"lock"}`
		}
		if path == "conferences" { // the list is an empty one
			continue
		}
		if a := g.ask(r[1], path, none, body); a.status != 403 {
			t.Errorf("%s %s without any right: %d %s", r[1], path, a.status, a.text)
		}
	}
}

// The tables of the page are those of the code.
func TestAPITables(t *testing.T) {
	doc := page(t)
	for _, row := range slices.Concat(web.CommandRows(), web.ErrorRows()) {
		if !strings.Contains(doc, row+"\n") {
			t.Errorf("API.md lacks: %s", row)
		}
	}
	for _, m := range create.Codes() {
		row := regexp.MustCompile(`(?m)^\| ` + string(m.Code) + ` \| ` + m.Name + ` \| (\d+) \| ` + regexp.QuoteMeta(m.Text) + ` \|$`)
		if !row.MatchString(doc) {
			t.Errorf("API.md lacks: %+v", m)
		}
	}
	if n := len(regexp.MustCompile(`(?m)^\| \d\d \| `).FindAllString(doc, -1)); n != len(create.Codes()) {
		t.Errorf("%d codes on the page, %d in the code", n, len(create.Codes()))
	}
}
