package main_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// forgetful is a telephone that takes every call, and then knows none of them any more, or says nothing.
type forgetful struct {
	conn  *net.UDPConn
	media *phonetest.Tap

	mu      sync.Mutex
	forgets bool
	silent  bool
	invites []string // Call-ID of each call that began
	renewed []string // of each re-INVITE
}

var sipField = regexp.MustCompile(`(?mi)^(Via|From|To|Call-ID|CSeq|Record-Route):.*\r\n`)

func newForgetful(t *testing.T) *forgetful {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	f := &forgetful{conn: conn, media: phonetest.NewTap(t, "127.0.0.1")}
	go f.run()
	return f
}

func (f *forgetful) run() {
	b := make([]byte, 65536)
	for {
		n, from, err := f.conn.ReadFromUDP(b)
		if err != nil {
			return
		}
		if answer := f.answer(string(b[:n])); answer != "" {
			f.conn.WriteToUDP([]byte(answer), from)
		}
	}
}

// answer says what comes back for a request. A call is counted once, however often its INVITE is repeated.
func (f *forgetful) answer(request string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	method, _, _ := strings.Cut(request, " ")
	fields, id := strings.Join(sipField.FindAllString(request, -1), ""), header(request, "Call-ID")
	known := strings.Contains(header(request, "To"), "tag=")
	reply := func(status, body string) string {
		if !known {
			fields = strings.Replace(fields, header(request, "To"), header(request, "To")+";tag=phone", 1)
		}
		return fmt.Sprintf("SIP/2.0 %s\r\n%sContact: <sip:phone@%s>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
			status, fields, f.conn.LocalAddr(), len(body), body)
	}
	switch {
	case method == "ACK" || strings.HasPrefix(method, "SIP/"):
		return ""
	case method != "INVITE":
		return reply("200 OK", "")
	case !known:
		f.invites = once(f.invites, id)
	default:
		f.renewed = once(f.renewed, id)
	}
	switch {
	case f.silent:
		return ""
	case known && f.forgets:
		return reply("481 Call/Transaction Does Not Exist", "")
	}
	return reply("200 OK", phonetest.SDP(f.media.Addr()))
}

func once(list []string, id string) []string {
	for _, old := range list {
		if old == id {
			return list
		}
	}
	return append(list, id)
}

func header(text, name string) string {
	for _, line := range strings.Split(text, "\r\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (f *forgetful) set(forgets, silent bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgets, f.silent = forgets, silent
}

// seen is how many calls and how many re-INVITEs there were.
func (f *forgetful) seen() (calls, renewed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.invites), len(f.renewed)
}

// A far end that knows its call no more after a crash is called once more if the conference had called it; one that says nothing, too.
// A caller who is gone has left.
func TestWhoIsGoneAfterACrash(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name            string
		forgets, silent bool
	}{{"it answers 481", true, false}, {"it says nothing", false, true}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			phone := newForgetful(t)
			box := boxtest.Start(t, boxtest.Config{Settings: boxtest.Settings{"sip": boxtest.Settings{
				"routes": []any{boxtest.Settings{"prefix": "7", "gateways": []string{"sip:" + phone.conn.LocalAddr().String()}}},
			}}})
			token := box.Token("-role", "admin", "-number", "7001", "-ttl", "1h")
			get := func(conf string) map[string]any {
				return box.Must(200, "GET", "/api/v1/conferences/"+conf, token, nil).JSON
			}
			line := func(conf, number string) string {
				m := rosterLine(get(conf), number)
				return fmt.Sprint(m["id"], " ", m["state"])
			}
			made := box.Must(200, "POST", "/api/v1/conferAndMembersAddJson", token, boxtest.Settings{"conferList": boxtest.Settings{
				"confName": 0, "type": "immediate", "theme": "Budget", "creator": "7001", "moderatorPassword": "480913",
				"userPassword": "115577", "maxNum": 12, "eid": box.EID}})
			uid := fmt.Sprint(made.JSON["uid"])
			caller := phonetest.StartBaresip(t, phonetest.BaresipConfig{Name: "2003", Codecs: []string{phonetest.PCMU}})
			caller.Dial(box.URI("1000"))
			caller.Expect("CALL_ESTABLISHED", 20*time.Second)
			phonetest.Eventually(t, 20*time.Second, "the host is in", func() bool {
				time.Sleep(100 * time.Millisecond)
				return strings.HasSuffix(line(uid, "7001"), " connected")
			})
			before := line(uid, "7001")
			if calls, renewed := phone.seen(); calls != 1 || renewed != 0 {
				t.Fatalf("%d calls, %d re-INVITEs", calls, renewed)
			}

			box.Kill()
			caller.Kill()
			phone.set(tc.forgets, tc.silent)
			box.Restart()
			phonetest.Eventually(t, 20*time.Second, "the host is called again", func() bool {
				calls, renewed := phone.seen()
				return calls == 2 && renewed == 1
			})
			phone.set(tc.forgets, false)
			phonetest.Eventually(t, 20*time.Second, "the host is in again, the caller is not", func() bool {
				time.Sleep(100 * time.Millisecond)
				return line(uid, "7001") == before && connected(get("1000")) == 0
			})
			time.Sleep(time.Second) // in which nothing more may come
			if calls, renewed := phone.seen(); calls != 2 || renewed != 1 {
				t.Errorf("%d calls, %d re-INVITEs", calls, renewed)
			}
			box.StopCleanly()
		})
	}
}

// A real box on a full disk: commands are carried out and said not to last, what must last is refused, an alert tells; with room again all is well.
func TestAFullDiskKeepsNothing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := unix.Mount("parley-test", folder, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("a small disk needs root: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(folder, unix.MNT_DETACH) })
	ballast := filepath.Join(folder, "ballast")
	box := boxtest.Start(t, boxtest.Config{Data: filepath.Join(folder, "data"), Files: t.TempDir(), Settings: boxtest.Settings{
		"card": boxtest.Settings{"device": "hw:NoSuchCard"}, // the file of the other one would fill the disk
	}})
	watch := box.Watch()
	token := box.Token("-role", "host", "-number", "2001", "-ttl", "1h")
	order := func(do string) boxtest.Answer {
		return box.Must(200, "POST", "/api/v1/conferences/1000/commands", token, boxtest.Settings{"do": do})
	}
	booking := boxtest.Settings{"conferList": boxtest.Settings{
		"confName": 0, "type": "immediate", "theme": "Budget", "creator": "2001", "moderatorPassword": "480913", "userPassword": "115577",
		"maxNum": 12, "eid": box.EID}}
	if a := order("close_house"); a.JSON["durable"] != true {
		t.Fatalf("with room: %s", a.Body)
	}
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err == nil {
		t.Fatal("the disk is larger than it should be")
	}
	for n := 0; ; n++ { // the last page of a file that there is has room for a few
		if a := order([]string{"open_house", "close_house"}[n%2]); a.JSON["durable"] == false {
			break
		}
		if n > 100 {
			t.Fatal("without room everything is said to last")
		}
	}
	if a := box.API("POST", "/api/v1/conferAndMembersAddJson", token, booking); a.Status != 503 || a.JSON["code"] != "30" {
		t.Errorf("what must last: %d %s", a.Status, a.Body)
	}
	watch.Wait("/alert/journal", "an alert", 10*time.Second, func(p map[string]any) bool {
		text, _ := p["text"].(string)
		return strings.Contains(text, "no space left")
	})
	os.Remove(ballast)
	phonetest.Eventually(t, 20*time.Second, "the alert is over", func() bool {
		list := watch.Messages("/alert/journal")
		return len(list[len(list)-1].Payload) == 0
	})
	order("open_house")
	if a := order("close_house"); a.JSON["durable"] != true {
		t.Errorf("with room again: %s", a.Body)
	}
	box.Must(200, "POST", "/api/v1/conferAndMembersAddJson", token, booking)
	box.Kill()
	box.Restart()
	if s := box.Must(200, "GET", "/api/v1/conferences/1000", token, nil).JSON; s["house_closed"] != true {
		t.Errorf("after a crash: %v", s)
	}
	box.StopCleanly()
}
