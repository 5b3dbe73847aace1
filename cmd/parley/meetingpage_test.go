package main_test

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/phonetest"
)

var renew = flag.Bool("renew", false, "write what the box answers into docs/meeting.md")

const meetingPage = "../../docs/meeting.md"

// What is different each time.
var shapes = []struct {
	what *regexp.Regexp
	is   string
}{
	{regexp.MustCompile(`uid [a-z0-9-]+`), "uid UID"},
	{regexp.MustCompile(`(?m)^([a-z]+\d+) +(\d+|place) `), "ID $2 "},
	{regexp.MustCompile(`room r\d+`), "room ROOM"},
	{regexp.MustCompile(`, talks\b|\btalks\b`), ""}, // phones speak, and pause
	{regexp.MustCompile(` +`), " "},
	{regexp.MustCompile(`(?m) +$`), ""},
}

func shape(text string) string {
	for _, s := range shapes {
		text = s.what.ReplaceAllString(text, s.is)
	}
	return strings.TrimSpace(text)
}

// docs/meeting.md: what its host types is done, and answered as the page shows. With -renew the page is made anew.
func TestMeetingPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(meetingPage)
	if err != nil {
		t.Fatal(err)
	}
	a := assemble(t, phonetest.PCMU, nil, map[string]float64{host: 500, "2002": 700, "2003": 1100, "2004": 1700})
	var out strings.Builder
	var blocks, commands int
	for i, part := range strings.Split(string(page), "```") {
		if i > 0 {
			out.WriteString("```")
		}
		text, ok := strings.CutPrefix(part, "console\n")
		if i%2 == 0 || !ok {
			out.WriteString(part)
			continue
		}
		blocks++
		out.WriteString("console\n")
		for _, c := range strings.Split(strings.TrimPrefix(text, "$ "), "\n$ ") {
			commands++
			line, want, _ := strings.Cut(c, "\n")
			got := a.typed(line, want)
			out.WriteString("$ " + line + "\n" + got)
		}
	}
	if blocks < 8 || commands < 25 {
		t.Errorf("%d blocks with %d commands", blocks, commands)
	}
	if *renew {
		if err := os.WriteFile(meetingPage, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// typed runs a line of the page. What only looks is looked at until it is as the page says, since phones take a moment.
func (a *assembly) typed(line, want string) (got string) {
	a.t.Helper()
	words := strings.Fields(line)
	run := func() string {
		text, _ := a.Ctl(a.withoutProgram(words)...)
		return text
	}
	looks := words[2] == "show" || words[2] == "list"
	if *renew && looks {
		time.Sleep(2 * time.Second) // as long as phones take to ring and answer
	}
	got = run()
	for end := time.Now().Add(20 * time.Second); !*renew && looks && shape(got) != shape(want) && time.Now().Before(end); got = run() {
		time.Sleep(100 * time.Millisecond)
	}
	if !*renew && shape(got) != shape(want) {
		a.t.Fatalf("%s\nanswers\n%s\nthe page says\n%s", line, got, want)
	}
	return got
}

func (a *assembly) withoutProgram(words []string) []string {
	a.t.Helper()
	if words[0] != "parleyctl" || words[1] != "conf" {
		a.t.Fatalf("the page runs %v", words)
	}
	return words[1:]
}
