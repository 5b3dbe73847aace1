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
	"parley/cmd/parley/phonetest"
)

// guarded is a broker with users and the access rules of the page on the protocol, and how its users get in.
type guarded struct {
	t   *testing.T
	box *boxtest.Box
	url string
	pub func(user string) []string // arguments for mosquitto's tools
	ctl func(user string) []string // arguments for parleyctl
}

const guardedBox = "box-0a1b2c" // the one in the page's rules

// shippedRules are the access rules that PROTOCOL.md gives, letter by letter.
func shippedRules(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../mqtt/wire/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := regexp.MustCompile("(?s)```acl\n(.*?)```").FindSubmatch(page)
	if rules == nil {
		t.Fatal("PROTOCOL.md has no access rules")
	}
	return string(rules[1])
}

// watch subscribes as a user, and is at rest in the broker when it returns.
func (g *guarded) watch(user, topic string) *phonetest.Process {
	g.t.Helper()
	// Line by line: by itself mosquitto_sub keeps its own words back until a message comes.
	args := append([]string{"-oL", "mosquitto_sub", "-d", "-v", "-q", "1", "-t", topic}, g.pub(user)...)
	p := phonetest.Start(g.t, g.t.TempDir(), "stdbuf", args...)
	p.WaitLine("Subscribed", 20*time.Second)
	return p
}

func (g *guarded) publish(user, topic, payload string, more ...string) {
	g.t.Helper()
	args := append(append(g.pub(user), "-q", "1", "-t", topic, "-m", payload), more...)
	p := phonetest.Start(g.t, g.t.TempDir(), "mosquitto_pub", args...)
	if code := p.Wait(20 * time.Second); code != 0 {
		g.t.Fatalf("mosquitto_pub as %s: status %d: %s", user, code, p.Tail(3))
	}
}

// command sends one by parleyctl as a user.
func (g *guarded) command(user string, words ...string) (string, int) {
	g.t.Helper()
	args := append([]string{"cmd"}, words...)
	args = append(append(args, "-broker", g.url, "-data", g.box.Data, "-box", guardedBox), g.ctl(user)...)
	p := phonetest.Start(g.t, g.t.TempDir(), boxtest.Program(g.t, "parleyctl"), args...)
	code := p.Wait(60 * time.Second)
	return p.Tail(3), code
}

// X-7b, spec 6: with TLS, certificates or passwords, and the rules that PROTOCOL.md ships, the whole box does all that it
// promises on its topics, the operator commands, the watcher looks, and nobody does more; on mosquitto as on the box's own broker.
func TestAccessRules(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) *guarded{"mosquitto": guardedMosquitto, "embedded": guardedEmbedded} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t)
			g.promises()
			g.limits()
		})
	}
}

func guardedMosquitto(t *testing.T) *guarded {
	ca := phonetest.NewAuthority(t)
	ids := map[string]*phonetest.Identity{}
	for _, user := range []string{guardedBox, "box-other", "operator", "watcher"} {
		ids[user] = ca.Issue(t, user)
	}
	broker := phonetest.StartMosquitto(t, phonetest.MosquittoConfig{
		Identity: ca.Issue(t, "broker"), ClientCerts: true, ACL: shippedRules(t),
	})
	own := ids[guardedBox]
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: boxtest.Settings{
		"box": guardedBox, "place": boxtest.Settings{"join_at_start": true},
		"mqtt": boxtest.Settings{"broker": broker.URL(), "ca": own.CA, "cert": own.Cert, "key": own.Key},
	}})
	t.Cleanup(func() {
		for _, line := range broker.Lines() {
			if strings.Contains(line, "Denied PUBLISH from parley-"+guardedBox) {
				t.Errorf("the rules keep the box from its work: %s", line)
			}
		}
	})
	return &guarded{
		t: t, box: box, url: broker.URL(),
		pub: func(user string) []string {
			return append(broker.Client(user), "--cert", ids[user].Cert, "--key", ids[user].Key)
		},
		ctl: func(user string) []string {
			return []string{"-ca", ids[user].CA, "-cert", ids[user].Cert, "-key", ids[user].Key}
		},
	}
}

func guardedEmbedded(t *testing.T) *guarded {
	id := phonetest.NewAuthority(t).Issue(t, "broker")
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules")
	if err := os.WriteFile(rules, []byte(shippedRules(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	var users []boxtest.Settings
	for _, user := range []string{"box-other", "operator", "watcher"} {
		users = append(users, boxtest.Settings{"name": user, "password": "secret of " + user})
		if err := os.WriteFile(filepath.Join(dir, user), []byte("secret of "+user+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: boxtest.Settings{
		"box": guardedBox, "place": boxtest.Settings{"join_at_start": true},
		"mqtt": boxtest.Settings{"tls": boxtest.Settings{"cert": id.Cert, "key": id.Key}, "users": users, "acl": rules},
	}})
	host, port, _ := strings.Cut(box.MQTT, ":")
	return &guarded{
		t: t, box: box, url: "mqtts://" + box.MQTT,
		pub: func(user string) []string {
			return []string{"-h", host, "-p", port, "--cafile", id.CA, "-u", user, "-P", "secret of " + user}
		},
		ctl: func(user string) []string {
			return []string{"-ca", id.CA, "-user", user, "-password-file", filepath.Join(dir, user)}
		},
	}
}

// promises holds that every topic works under the rules.
func (g *guarded) promises() {
	t, root := g.t, "/e/local/box/"+guardedBox
	t.Helper()
	watcher := g.watch("watcher", "/e/local/#")
	g.publish("watcher", root+"/levels/lease", `{"id":"page-1","ttl_s":60}`)
	call := g.box.Call("1000", "-codec", "pcmu")
	call.WaitLine("answered", 20*time.Second)
	out, code := g.command("operator", "mute")
	if code != 0 || out != "done" {
		t.Errorf("the operator's command: %q, status %d", out, code)
	}
	for _, topic := range []string{root + "/state", root + "/info", root + "/mute", root + "/call", root + "/tele", root + "/levels",
		"/e/local/conf/1000/state", "/e/local/conf/1000/notice"} {
		phonetest.Eventually(t, 30*time.Second, "the watcher sees "+topic, func() bool { return len(told(watcher, topic)) > 0 })
	}
	phonetest.Eventually(t, 30*time.Second, "the watcher sees the gate close", func() bool {
		all := told(watcher, root+"/mute")
		return len(all) > 0 && payloadOf(t, all[len(all)-1])["gate"] == "closed"
	})
	g.box.Press("+")
	phonetest.Eventually(t, 30*time.Second, "the watcher sees a key", func() bool { return len(told(watcher, root+"/keys")) > 0 })
	// What anybody writes to a conference the box reads along, and says so to the writer alone.
	notices := g.watch("box-other", "/e/local/u/box-other/notice")
	group := "/e/local/im/u/c" + fmt.Sprint(payloadOf(t, told(watcher, "/e/local/conf/1000/state")[0])["uid"])
	g.publish("box-other", group, "\xf1"+`{"co":"hello","id":"m-1","from":"box-other"}`)
	phonetest.Eventually(t, 30*time.Second, "the writer is told", func() bool { return len(grep(notices, `"status":"done"`)) > 0 })
}

// limits holds that nobody does more than the rules say.
func (g *guarded) limits() {
	t, root := g.t, "/e/local/box/"+guardedBox
	t.Helper()
	spy := g.watch("watcher", "/e/local/#")
	other := g.watch("box-other", "/e/local/#")
	seen := g.watch("operator", "/e/local/#")
	g.publish("box-other", root+"/state", `{"state":"lost","sess":999}`, "-r")
	g.publish("box-other", "/e/local/conf/1000/state", "{}", "-r")
	g.publish("watcher", root+"/cmd/unmute", `{"from":"watcher"}`)
	g.publish("box-other", "/e/local/im/u/cbox-0a1b2c-1-1", "\xf1"+`{"co":"hello"}`)
	g.publish("operator", root+"/mute", `{"gate":"open","reasons":[]}`, "-r")
	// What came before this on the operator's connection to the box has been judged when the answer is there.
	if out, code := g.command("operator", "unmute"); code != 0 || out != "done" {
		t.Errorf("the operator's command: %q, status %d", out, code)
	}
	phonetest.Eventually(t, 30*time.Second, "the operator sees the answer", func() bool { return len(told(seen, root+"/res/unmute")) > 0 })
	for what, lines := range map[string][]string{
		"another box's word about this one":   grep(seen, `"sess":999`),
		"another box's word about conference": grep(seen, "/e/local/conf/1000/state {}"),
		"an answer to the watcher's command":  grep(seen, `"rejected"`),
		"the watcher reads commands":          grep(spy, root+"/cmd/"),
		"the watcher reads answers":           grep(spy, root+"/res/"),
		"another box reads this one's topics": grep(other, root+"/"),
		"another box reads the messages":      grep(other, "/e/local/im/"),
	} {
		if len(lines) > 0 {
			t.Errorf("%s: %q", what, lines)
		}
	}
	if out, code := g.command("watcher", "-timeout", "5s", "mute"); code == 0 {
		t.Errorf("the watcher's command: %q, status %d", out, code)
	}
}

// grep is the messages among a subscriber's lines that begin with a topic and contain text.
func grep(p *phonetest.Process, text string) (found []string) {
	for _, line := range p.Lines() {
		if strings.HasPrefix(line, "/e/") && strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// Rules that cannot be read stop the start, and say which setting and line.
func TestWrongAccessRules(t *testing.T) {
	t.Parallel()
	rules := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(rules, []byte("user operator\ntopics write /e/#\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	users := []boxtest.Settings{{"name": "operator", "password": "secret"}}
	for path, want := range map[string]string{
		rules:                         rules + ": broker settings: access rules, line 2: \"topics\" is none of user, topic, pattern",
		rules + "-that-are-not-there": "no such file",
		filepath.Dir(rules):           "is not a file of at most",
	} {
		box := boxtest.New(t, boxtest.Config{Settings: boxtest.Settings{"mqtt": boxtest.Settings{"users": users, "acl": path}}})
		check, err := exec.Command(boxtest.Program(t, "parley"), "check-config", box.ConfigFile()).CombinedOutput()
		if err == nil || !strings.Contains(string(check), "mqtt.acl: ") || !strings.Contains(string(check), want) {
			t.Errorf("check-config said %q, %v", check, err)
		}
		box.Begin()
		if code := box.Wait(20 * time.Second); code != 1 {
			t.Errorf("%s: exit status %d", path, code)
		}
		if text := box.Tail(3); !strings.Contains(text, "setting `mqtt.acl`: ") || !strings.Contains(text, want) {
			t.Errorf("%s: it said %q, want %q", path, text, want)
		}
	}
}

// On a machine without its GPIO chip a board is refused, with the chip and what to do.
func TestBoardWithoutItsChip(t *testing.T) {
	t.Parallel()
	if chips, _ := filepath.Glob("/dev/gpiochip*"); len(chips) > 0 {
		t.Skip("this machine has GPIO: ", chips)
	}
	box := boxtest.New(t, boxtest.Config{Settings: boxtest.Settings{"board": "rpi4"}})
	box.Begin()
	if code := box.Wait(20 * time.Second); code != 1 {
		t.Errorf("exit status %d", code)
	}
	for _, want := range []string{"setting `board`: rpi4", "pinctrl-bcm2711", "no such GPIO chip", "choose board desk"} {
		if !strings.Contains(box.Tail(3), want) {
			t.Errorf("it said %q, without %q", box.Tail(3), want)
		}
	}
}
