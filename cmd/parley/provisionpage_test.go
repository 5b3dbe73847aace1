package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/config"
	"parley/cmd/parley/phonetest"
)

const provisioningPage = "../../docs/provisioning.md"

// What is different each time on that page.
var provisioningShapes = []struct {
	what *regexp.Regexp
	is   string
}{
	{regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d `), "TIME "},
	{regexp.MustCompile(` dev[ 0-9a-f.go]* `), " 1.0.0 "},
	{regexp.MustCompile(` +`), " "},
	{regexp.MustCompile(`(?m) +$`), ""},
}

func provisioningShape(text string) string {
	for _, s := range provisioningShapes {
		text = s.what.ReplaceAllString(text, s.is)
	}
	return strings.TrimSpace(text)
}

// rollout is where the page is typed: a folder, a broker's address, and a hundred boxes.
type rollout struct {
	t     *testing.T
	dir   string
	words *strings.Replacer // of the page -> here
	back  *strings.Replacer
	off   func() error
}

// docs/provisioning.md: what the operator types is done, by a shell, and answered as the page shows, with a hundred boxes: one is a real
// one, and 99 take part with a real one's code of enrolment and settings and without sound and telephony. With -renew the page is made anew.
// It keeps the machine too busy for others beside it.
func TestProvisioningPage(t *testing.T) {
	raw, err := os.ReadFile(provisioningPage)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", phonetest.PortBlock(t))
	r := &rollout{t: t, dir: t.TempDir(), off: func() error { return nil }}
	card := t.TempDir()
	r.words = strings.NewReplacer("broker.example.com:8883", addr, "/media/card", card)
	r.back = strings.NewReplacer(addr, "broker.example.com:8883", card, "/media/card")
	r.rooms()
	var out strings.Builder
	commands := 0
	for i, part := range strings.Split(string(raw), "```") {
		if i > 0 {
			out.WriteString("```")
		}
		text, ok := strings.CutPrefix(part, "console\n")
		switch {
		case i%2 == 0:
			out.WriteString(part)
			if strings.Contains(part, "<!-- The hundred boxes are switched on. -->") {
				r.switchOn(card)
			}
		case strings.HasPrefix(part, "yaml\n# "):
			name, _, _ := strings.Cut(strings.TrimPrefix(part, "yaml\n# "), "\n")
			write(t, filepath.Join(r.dir, name), strings.TrimPrefix(part, "yaml\n"))
			out.WriteString(part)
		case !ok:
			out.WriteString(part)
		default:
			out.WriteString("console\n")
			for _, c := range strings.Split(strings.TrimPrefix(text, "$ "), "\n$ ") {
				commands++
				line, want, _ := strings.Cut(c, "\n")
				out.WriteString("$ " + line + "\n" + r.typed(line, want))
			}
		}
	}
	if commands < 20 {
		t.Errorf("%d commands", commands)
	}
	if err := r.off(); err != nil {
		t.Error(err)
	}
	if *renew && !t.Failed() {
		if err := os.WriteFile(provisioningPage, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// rooms writes the list that the page begins with: 99 boxes, of which one is real and has no serial number but its name.
func (r *rollout) rooms() {
	r.t.Helper()
	var text strings.Builder
	text.WriteString("serial,group,number,password,name\n")
	for i := 1; i < 100; i++ {
		group, name := "berlin", fmt.Sprintf("Berlin %d", i)
		if i > 60 {
			group, name = "hamburg", fmt.Sprintf("Hamburg %d, upstairs", i-60)
		}
		fmt.Fprintf(&text, "%s,%s,%d,pw-%04x,%q\n", serialOf(i), group, 8000+i, i*7919, name)
	}
	write(r.t, filepath.Join(r.dir, "rooms.csv"), text.String())
}

// realBox is the real box among the hundred.
const realBox = 42

func nameOf(i int) string { return fmt.Sprintf("room-%04d", i) }

// serialOf is a box's serial number. On a machine without one, as the real box is, it is the name.
func serialOf(i int) string {
	if i == realBox {
		return nameOf(realBox)
	}
	return fmt.Sprintf("10000000a1b2%04d", i)
}

// switchOn brings 100 boxes to life, with the boot file as it came onto the card.
func (r *rollout) switchOn(card string) {
	r.t.Helper()
	file := filepath.Join(card, "parley", "provision.yaml")
	boot, err := config.LoadBoot(file)
	if err != nil {
		r.t.Fatal(err)
	}
	var boxes []*lightBox
	for i := 1; i < 100; i++ {
		if i != realBox {
			boxes = append(boxes, newLightBox(r.t, nameOf(i), serialOf(i), boot))
		}
	}
	boxes = append(boxes, newLightBox(r.t, "parley-0c0ffee7", "10000000c0ffee07", boot))
	began := time.Now()
	r.off = switchOn(boxes)
	freshBox(r.t, nameOf(realBox), file, "").Begin()
	phonetest.Eventually(r.t, time.Minute, "99 boxes are ready and one waits", func() bool {
		return strings.Contains(r.shell("parleyctl provision boxes fleet | tail -1"), "100 boxes: 99 ready, 1 waits")
	})
	r.t.Logf("99 boxes have enrolled %v after they were switched on", time.Since(began).Round(100*time.Millisecond))
}

// shell runs a line as the page has it.
func (r *rollout) shell(line string) string {
	r.t.Helper()
	cmd := exec.Command("sh", "-c", r.words.Replace(line))
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(boxtest.Program(r.t, "parleyctl"))+":/usr/sbin:"+os.Getenv("PATH"))
	out, _ := cmd.CombinedOutput()
	return r.back.Replace(string(out))
}

// looksOnly are lines that change nothing, and may be typed until things are as the page shows.
var looksOnly = regexp.MustCompile(`^(parleyctl provision boxes|grep pending)`)

// typed runs a line of the page. One that ends in & goes on until the test's end.
func (r *rollout) typed(line, want string) string {
	r.t.Helper()
	began := time.Now()
	defer func() { r.t.Logf("%6v  %s", time.Since(began).Round(time.Millisecond), line) }()
	if background, ok := strings.CutSuffix(line, " &"); ok {
		r.background(background)
		return ""
	}
	got := r.shell(line)
	for end := time.Now().Add(30 * time.Second); looksOnly.MatchString(line) && time.Now().Before(end); got = r.shell(line) {
		if !*renew && provisioningShape(got) == provisioningShape(want) || *renew && time.Until(end) < 22*time.Second {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if !*renew && provisioningShape(got) != provisioningShape(want) {
		r.t.Fatalf("%s\nanswers\n%s\nthe page says\n%s", line, got, want)
	}
	return got
}

func (r *rollout) background(line string) {
	r.t.Helper()
	path := "PATH=" + filepath.Dir(boxtest.Program(r.t, "parleyctl")) + ":/usr/sbin:$PATH; "
	phonetest.Start(r.t, r.dir, "sh", "-c", path+"exec "+r.words.Replace(line))
	switch {
	case strings.HasPrefix(line, "mosquitto "):
		phonetest.TakesConnections(r.t, "mosquitto", r.words.Replace("broker.example.com:8883"))
	default:
		phonetest.Eventually(r.t, 20*time.Second, line+" runs", func() bool {
			b, _ := os.ReadFile(filepath.Join(r.dir, "serve.log"))
			return strings.Contains(string(b), "answering boxes")
		})
	}
}
