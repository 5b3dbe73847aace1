package broker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func mustACL(t testing.TB, text string) *ACL {
	t.Helper()
	a, err := ParseACL(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const rules = `
# without a name
topic read /open/#

user hub
topic /all/#
topic deny /all/secret
topic write /w
user empty
pattern write /box/%u/state
pattern read /id/%c
topic read $SYS/#
`

func TestACL(t *testing.T) {
	a := mustACL(t, rules)
	tests := []struct {
		user, client, topic string
		read, write         bool
	}{
		{"", "c", "/open/x/y", true, false},
		{"", "c", "/all/x", false, false},
		{"hub", "c", "/open/x", false, false},
		{"hub", "c", "/all/x", true, true},
		{"hub", "c", "/all", true, true}, // a/# means a too
		{"hub", "c", "/all/secret", false, false},
		{"hub", "c", "/w", false, true},
		{"hub", "c", "/box/hub/state", false, true},
		{"hub", "c", "/box/other/state", false, false},
		{"hub", "c", "/id/c", true, false},
		{"hub", "d", "/id/c", false, false},
		{"hub", "+", "/id/c", false, false},
		{"", "c", "/box//state", false, false},
		{"empty", "c", "$SYS/broker/uptime", true, false},
		{"stranger", "c", "/anything", false, false},
	}
	for _, tt := range tests {
		if got := a.mayRead(tt.user, tt.client, tt.topic); got != tt.read {
			t.Errorf("%q reads %s: %v", tt.user, tt.topic, got)
		}
		if got := a.mayWrite(tt.user, tt.client, tt.topic); got != tt.write {
			t.Errorf("%q writes %s: %v", tt.user, tt.topic, got)
		}
	}
	for filter, want := range map[string]bool{"/all/+": true, "/#": true, "#": true, "/w": false, "/open/+": false, "/id/+": true} {
		if got := a.maySubscribe("hub", "c", filter); got != want {
			t.Errorf("hub subscribes to %s: %v", filter, got)
		}
	}
	var none *ACL
	if !none.mayRead("x", "y", "/z") || !none.mayWrite("x", "y", "/z") || !none.maySubscribe("x", "y", "#") {
		t.Error("without rules everything is allowed")
	}
}

func TestACLErrors(t *testing.T) {
	for text, line := range map[string]string{
		"\nallow x":                             "line 2",
		"user":                                  "line 1",
		"topic":                                 "line 1",
		"topic read":                            "", // a topic called read
		"topic read a#":                         "line 1",
		"\n\npattern write #/a":                 "line 3",
		"topic /" + strings.Repeat("x", 2000):   "line 1",
		strings.Repeat("topic read /a\n", 5000): "line 4097",
		"user a\ntopic readwrite /" + "\x00\xff" + "": "",
	} {
		_, err := ParseACL(strings.NewReader(text))
		if line == "" && err != nil || line != "" && (!errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), line)) {
			t.Errorf("%.30q: %v, want %q", text, err, line)
		}
	}
}

// Two filters overlap exactly when some topic made of their own words matches both.
func TestOverlap(t *testing.T) {
	level := rapid.SampledFrom([]string{"a", "b", "", "+"})
	filter := rapid.Custom(func(t *rapid.T) string {
		ls := rapid.SliceOfN(level, 1, 3).Draw(t, "levels")
		if rapid.Bool().Draw(t, "hash") {
			ls = append(ls, "#")
		}
		return strings.Join(ls, "/")
	})
	var topics []string
	words := []string{"a", "b", ""}
	for _, x := range words {
		topics = append(topics, x)
		for _, y := range words {
			topics = append(topics, x+"/"+y)
			for _, z := range words {
				topics = append(topics, x+"/"+y+"/"+z)
				for _, q := range words {
					topics = append(topics, x+"/"+y+"/"+z+"/"+q)
				}
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := filter.Draw(t, "a"), filter.Draw(t, "b")
		want := false
		for _, topic := range topics {
			want = want || matches(a, topic) && matches(b, topic)
		}
		if got := overlap(a, b); got != want && a != "" && b != "" {
			t.Fatalf("overlap(%q, %q) = %v, want %v", a, b, got, want)
		}
	})
}

func TestUsers(t *testing.T) {
	u, err := newUsers(map[string]string{"plain": "open sesame", "hashed": HashPassword("wer da?")})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, password string
		want           bool
	}{
		{"plain", "open sesame", true}, {"plain", "open", false}, {"plain", "", false},
		{"hashed", "wer da?", true}, {"hashed", "plain", false},
		{"nobody", "", false}, {"", "", false},
	} {
		if got := u.admits(tt.name, tt.password); got != tt.want {
			t.Errorf("%q with %q: %v", tt.name, tt.password, got)
		}
	}
	if HashPassword("x") == HashPassword("x") {
		t.Error("two hashes of a password are the same")
	}
}

// What mosquitto's own tool writes is taken.
func TestMosquittoPasswd(t *testing.T) {
	tool, err := exec.LookPath("mosquitto_passwd")
	if err != nil {
		t.Fatal("mosquitto_passwd is missing: apt-get install mosquitto")
	}
	file := filepath.Join(t.TempDir(), "passwd")
	if out, err := exec.Command(tool, "-b", "-c", file, "box", "a password").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, hash, _ := strings.Cut(strings.TrimSpace(string(b)), ":")
	u, err := newUsers(map[string]string{"box": hash})
	if err != nil {
		t.Fatal(err)
	}
	if !u.admits("box", "a password") || u.admits("box", "another") {
		t.Error("the hash is not understood")
	}
}

func TestLogin(t *testing.T) {
	b := start(t, func(c *Config) {
		c.Users = map[string]string{"hub": "secret", "box": "other"}
		c.ACL = mustACL(t, "user hub\ntopic /#\npattern write /box/%u\npattern read /box/%u")
		c.Limits.FailedLoginPause = 100 * time.Millisecond
	})
	for name, more := range map[string][][]byte{
		"wrong password": {field("hub"), field("x")},
		"unknown user":   {field("who"), field("secret")},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			r := dial(t, b)
			r.say(connectPacket("x", 0xc2, more...)...)
			if got := r.gone(); !bytes.Equal(got, []byte{0x20, 2, 0, 5}) {
				t.Errorf("got % x", got)
			}
			if d := time.Since(began); d < 100*time.Millisecond {
				t.Errorf("answered after %v", d)
			}
		})
	}
	t.Run("no name", func(t *testing.T) {
		r := dial(t, b)
		r.say(connectPacket("x", 2)...)
		if got := r.gone(); !bytes.Equal(got, []byte{0x20, 2, 0, 5}) {
			t.Errorf("got % x", got)
		}
	})
	hub := join(t, b, "hub", 0xc2, field("hub"), field("secret"))
	t.Run("client id of another user", func(t *testing.T) {
		r := dial(t, b)
		r.say(connectPacket("hub", 0xc2, field("box"), field("other"))...)
		r.gone()
		hub.say(0xc0, 0)
		if first, _ := hub.hear(); first != 0xd0 {
			t.Errorf("the first one got %#x", first)
		}
	})
	t.Run("will against the rules", func(t *testing.T) {
		r := dial(t, b)
		r.say(connectPacket("box", 0xc6, field("/box/hub"), field("lost"), field("box"), field("other"))...)
		if got := r.gone(); !bytes.Equal(got, []byte{0x20, 2, 0, 5}) {
			t.Errorf("got % x", got)
		}
	})
	t.Run("message against the rules", func(t *testing.T) {
		hub.say(subscribePacket("/#")...)
		hub.hear()
		box := join(t, b, "box", 0xc2, field("box"), field("other"))
		box.say(publishPacket("/box/hub", "forged", 3)...)
		if first, _ := box.hear(); first != 0x40 {
			t.Fatalf("got %#x, want an acknowledgement", first)
		}
		box.say(publishPacket("/box/box", "own", 3)...)
		if first, body := hub.hear(); first&0xf0 != 0x30 || !bytes.HasSuffix(body, []byte("own")) {
			t.Errorf("got %#x %q", first, body)
		}
		late := join(t, b, "late", 0xc2, field("hub"), field("secret"))
		late.say(subscribePacket("/#")...)
		late.hear()
		if _, body := late.hear(); !bytes.HasSuffix(body, []byte("own")) {
			t.Errorf("retained: %q", body)
		}
	})
	t.Run("subscription against the rules", func(t *testing.T) {
		box := join(t, b, "box2", 0xc2, field("box"), field("other"))
		box.say(subscribePacket("/box/hub", "/box/box", "#", "$share/g/x", "$SYS/#")...)
		if _, body := box.hear(); !bytes.Equal(body[2:], []byte{0x80, 1, 1, 0x80, 0x80}) {
			t.Errorf("granted: % x", body[2:])
		}
		hub.say(publishPacket("/box/hub", "not for you", 0)...)
		hub.say(publishPacket("/box/box", "for you", 0)...)
		for {
			first, body := box.hear()
			if first&1 == 0 { // not the retained one
				if !bytes.HasSuffix(body, []byte("for you")) || bytes.Contains(body, []byte("not")) {
					t.Errorf("got %q", body)
				}
				break
			}
		}
	})
}

func TestRetainedIsBounded(t *testing.T) {
	b := start(t, func(c *Config) { c.Limits.Retained, c.Limits.RetainedBytes = 3, 1000 })
	w := join(t, b, "writer", 2)
	retain := func(topic string, n int) {
		t.Helper()
		w.say(publishPacket(topic, strings.Repeat("x", n), 3)...)
		if first, _ := w.hear(); first != 0x40 {
			t.Fatalf("got %#x", first)
		}
	}
	kept := func() (topics []string) {
		r := join(t, b, "reader", 2)
		defer r.Close()
		r.say(subscribePacket("/r/#")...)
		r.hear()
		r.say(0xc0, 0)
		// mochi sends what waits after what it answers, so ask until nothing more comes.
		r.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		for {
			head := make([]byte, 2)
			if _, err := io.ReadFull(r, head); err != nil {
				return topics
			}
			n := int(head[1] & 0x7f)
			if head[1]&0x80 != 0 {
				more := make([]byte, 1)
				io.ReadFull(r, more)
				n += int(more[0]) << 7
			}
			body := make([]byte, n)
			io.ReadFull(r, body)
			if head[0]>>4 == publish && head[0]&1 == 1 { // and not one that has only just been told
				topics = append(topics, string(body[2:2+int(body[1])]))
			}
		}
	}
	retain("/r/1", 100)
	retain("/r/2", 100)
	retain("/r/3", 100)
	retain("/r/4", 100) // a fourth topic
	if got := kept(); len(got) != 3 {
		t.Fatalf("kept %v", got)
	}
	retain("/r/1", 0) // makes room
	retain("/r/5", 900)
	if got := kept(); len(got) != 2 {
		t.Fatalf("kept %v, want /r/2 and /r/3: the fifth is too many bytes", got)
	}
	retain("/r/5", 500)
	if got := kept(); len(got) != 3 {
		t.Fatalf("kept %v", got)
	}
}

func TestNoSessionIsKept(t *testing.T) {
	b := start(t, nil)
	r := join(t, b, "keeper", 0) // asks for a session that is kept
	r.say(subscribePacket("/s")...)
	r.hear()
	r.say(0xe0, 0)
	r.gone()
	r = join(t, b, "keeper", 0) // join wants "no session present"
	w := join(t, b, "writer", 2)
	w.say(publishPacket("/s", "x", 2)...)
	w.hear()
	r.say(0xc0, 0)
	if first, _ := r.hear(); first != 0xd0 {
		t.Errorf("got %#x: the old subscription lives on", first)
	}
}

func TestSubscriptionLimit(t *testing.T) {
	b := start(t, func(c *Config) { c.Limits.Subscriptions = 2 })
	r := join(t, b, "r", 2)
	r.say(subscribePacket("/a", "/b", "/c")...)
	if _, body := r.hear(); !bytes.Equal(body[2:], []byte{1, 1, 0x80}) {
		t.Errorf("granted % x", body[2:])
	}
	r.say(subscribePacket("/a")...) // again
	if _, body := r.hear(); !bytes.Equal(body[2:], []byte{1}) {
		t.Errorf("granted % x", body[2:])
	}
}

// A client that takes messages and never acknowledges them is let go before they fill the memory.
func TestUnacknowledged(t *testing.T) {
	b := start(t, func(c *Config) { c.Limits.InflightBytes, c.Limits.ByteRate = 100_000, 1<<30 })
	r := join(t, b, "hoarder", 2)
	r.say(subscribePacket("/h")...)
	r.hear()
	w := join(t, b, "writer", 2)
	go io.Copy(io.Discard, w)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		io.Copy(io.Discard, r)
	}()
	payload := strings.Repeat("x", 10_000)
	for range 100 {
		w.say(publishPacket("/h", payload, 2)...)
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("it is still there")
	}
}

// A client that does not read is closed, and disturbs no other.
func TestDoesNotRead(t *testing.T) {
	b := start(t, func(c *Config) { c.Limits.Write, c.Limits.ByteRate = 200*time.Millisecond, 1<<30 })
	deaf := join(t, b, "deaf", 2)
	deaf.Conn.(*net.TCPConn).SetReadBuffer(4096)
	deaf.say(subscribePacket("/d")...)
	deaf.hear()
	w, r := join(t, b, "writer", 2), join(t, b, "reader", 2)
	r.say(subscribePacket("/done")...)
	r.hear()
	payload := strings.Repeat("x", 60_000)
	for i := range 400 {
		big := append([]byte{0x30, 0xe4 | 0x80, 0xd4 | 0x80, 3}, append(field("/d"), payload...)...)
		n := len(field("/d")) + len(payload)
		big[1], big[2], big[3] = byte(n&0x7f)|0x80, byte(n>>7&0x7f)|0x80, byte(n>>14)
		if _, err := w.Write(big); err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
	}
	w.say(publishPacket("/done", "x", 0)...)
	if first, _ := r.hear(); first != 0x30 {
		t.Errorf("got %#x", first)
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := deaf.Write([]byte{0xc0, 0}); err != nil {
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("the broker kept the connection")
		}
	}
}

func TestTakeOver(t *testing.T) {
	b := start(t, nil)
	watch := join(t, b, "watch", 2)
	watch.say(subscribePacket("/will")...)
	watch.hear()
	old := join(t, b, "box", 6, field("/will"), field("lost"))
	join(t, b, "box", 2)
	old.gone()
	if _, body := watch.hear(); !bytes.HasSuffix(body, []byte("lost")) {
		t.Errorf("got %q", body)
	}
}

func TestWillOnLostConnection(t *testing.T) {
	b := start(t, nil)
	watch := join(t, b, "watch", 2)
	watch.say(subscribePacket("/will")...)
	watch.hear()
	for i, end := range []func(raw){
		func(r raw) { r.Close() },
		func(r raw) { r.say(0xff, 0) },
	} {
		r := join(t, b, fmt.Sprint("box", i), 6, field("/will"), field(fmt.Sprint("lost", i)))
		end(r)
		if _, body := watch.hear(); !bytes.HasSuffix(body, []byte(fmt.Sprint("lost", i))) {
			t.Errorf("got %q", body)
		}
	}
	r := join(t, b, "box", 6, field("/will"), field("never"))
	r.say(0xe0, 0)
	r.gone()
	w := join(t, b, "w", 2)
	w.say(publishPacket("/will", "mark", 0)...)
	if _, body := watch.hear(); !bytes.HasSuffix(body, []byte("mark")) {
		t.Errorf("a clean end told the will: %q", body)
	}
}
