package main_test

import (
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// assembly is a box with the phones of people who are called into a conference, and what their host holds.
type assembly struct {
	*boxtest.Box
	t     *testing.T
	watch *boxtest.Watch
	token string // of the host
	conf  string // the conference's number
	uid   string
	phone map[string]*phonetest.Baresip // by number
	hz    map[string]float64            // what each of them says
}

// host is the number of who holds the meeting.
const host = "2001"

// assemble starts a box at which phones are registered: each has a number and says its tone. hand are those whose user takes
// calls himself; the others answer at once.
func assemble(t *testing.T, codec string, settings boxtest.Settings, hz map[string]float64, hand ...string) *assembly {
	t.Helper()
	var users []boxtest.Settings
	for number := range hz {
		users = append(users, boxtest.Settings{"name": number, "password": "secret-" + number})
	}
	all := boxtest.Settings{"sip": boxtest.Settings{"trust_loopback": false, "users": users}}
	for k, v := range settings {
		all[k] = v
	}
	a := &assembly{t: t, Box: boxtest.Start(t, boxtest.Config{Microphone: tone(placeHz), Settings: all}), hz: hz, phone: map[string]*phonetest.Baresip{}}
	a.watch = a.Watch()
	for number := range hz {
		answer := "auto"
		if slices.Contains(hand, number) {
			answer = "manual"
		}
		a.phone[number] = phonetest.StartBaresip(t, phonetest.BaresipConfig{
			Name: number, Password: "secret-" + number, Registrar: a.SIP + ";transport=udp", Codecs: []string{codec}, Says: tone(hz[number]), Answer: answer,
		})
	}
	for _, p := range a.phone {
		p.WaitLine("200 OK (Parley) [1 binding]", 30*time.Second) // its event may come before somebody listens
	}
	a.token = a.Token("-role", "host", "-number", host, "-ttl", "1h")
	return a
}

// create makes an immediate conference over HTTP. more are further fields of conferList.
func (a *assembly) create(more boxtest.Settings, members ...string) {
	a.t.Helper()
	conf := boxtest.Settings{
		"confName": 0, "type": "immediate", "theme": "Budget", "creator": host, "moderatorPassword": "480913",
		"userPassword": "115577", "maxNum": 12, "memo": "second floor", "eid": a.EID,
	}
	for k, v := range more {
		conf[k] = v
	}
	list := []boxtest.Settings{{"confName": 0, "userNum": strings.Join(members, ","), "isMute": 0, "isSlient": 0}}
	made := a.Must(200, "POST", "/api/v1/conferAndMembersAddJson", a.token, boxtest.Settings{"conferList": conf, "membersList": list})
	a.conf, _ = made.JSON["confName"].(string)
	a.uid, _ = made.JSON["uid"].(string)
	if made.JSON["code"] != "00" || a.conf == "" || a.uid == "" {
		a.t.Fatalf("created: %s", made.Body)
	}
}

// state is the newest snapshot that the box has told.
func (a *assembly) state() map[string]any {
	list := a.watch.Messages("/conf/" + a.conf + "/state")
	if len(list) == 0 {
		return nil
	}
	var s map[string]any
	json.Unmarshal(list[len(list)-1].Payload, &s)
	return s
}

// member is the line of a number in a snapshot; nil: it has none.
func memberIn(snapshot map[string]any, number string) map[string]any {
	members, _ := snapshot["members"].([]any)
	for _, m := range members {
		if m, _ := m.(map[string]any); m["number"] == number {
			return m
		}
	}
	return nil
}

func (a *assembly) id(number string) string {
	a.t.Helper()
	id, _ := memberIn(a.state(), number)["id"].(string)
	if id == "" {
		a.t.Fatalf("%s is not in the roster: %v", number, a.state())
	}
	return id
}

// until waits until the newest snapshot has a line for the number that is as wanted.
func (a *assembly) until(what, number string, ok func(m map[string]any) bool) {
	a.t.Helper()
	phonetest.Eventually(a.t, 20*time.Second, number+" "+what, func() bool { return ok(memberIn(a.state(), number)) })
}

func is(key string, value any) func(map[string]any) bool {
	return func(m map[string]any) bool { return m != nil && m[key] == value }
}

// in waits until these are connected.
func (a *assembly) in(numbers ...string) {
	a.t.Helper()
	for _, n := range numbers {
		a.until("is connected", n, is("state", "connected"))
	}
}

// do sends the host's command; more are pairs of a field and its value.
func (a *assembly) do(what string, more ...any) {
	a.t.Helper()
	a.as(a.token, 200, what, more...)
}

// as sends a command with anybody's token and wants this status.
func (a *assembly) as(token string, status int, what string, more ...any) boxtest.Answer {
	a.t.Helper()
	c := map[string]any{"do": what, "uid": a.uid}
	for i := 0; i < len(more); i += 2 {
		c[more[i].(string)] = more[i+1]
	}
	return a.Must(status, "POST", "/api/v1/conferences/"+a.conf+"/commands", token, c)
}

// begin has the host's phone take the call, and the others be connected, too.
func (a *assembly) begin(others ...string) {
	a.t.Helper()
	a.in(append([]string{host}, others...)...)
}

// heard is what a phone hears in its n-th call.
func (a *assembly) heard(number string, n int) func() phonetest.Sound {
	return func() phonetest.Sound { return a.phone[number].Heard(n) }
}

// told waits for a notice of the conference about a member.
func (a *assembly) told(event, number string) map[string]any {
	a.t.Helper()
	return a.watch.Wait("/conf/"+a.conf+"/notice", event+" of "+number, 20*time.Second, func(p map[string]any) bool {
		m, _ := p["member"].(map[string]any)
		return p["event"] == event && p["uid"] == a.uid && (number == "" || m["number"] == number)
	})
}

// sipSeen captures what goes over the box's SIP port.
func sipSeen(t *testing.T, box *boxtest.Box) *phonetest.Capture {
	t.Helper()
	_, text, _ := net.SplitHostPort(box.SIP)
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return phonetest.StartCapture(t, uint16(port), uint16(port))
}

// The whole of a conference, as the paper that began it tells: C-1 … C-6, C-10 … C-17, C-20, C-22.
func TestAWholeConference(t *testing.T) {
	t.Parallel()
	a := assemble(t, phonetest.G722, nil, map[string]float64{host: 500, "2002": 700, "2003": 1100, "2004": 1700, "2005": 2300},
		host, "2002", "2003", "2004")
	wire := sipSeen(t, a.Box)
	members := []string{"2002", "2003", "2004"}

	// C-1 … C-3: the host rings first and nobody else, and nobody else has been told of anything.
	a.create(nil, members...)
	a.phone[host].Expect("CALL_INCOMING", 20*time.Second)
	a.until("rings", host, is("state", "alerting"))
	for _, n := range members {
		if a.phone[n].Soon("CALL_INCOMING", 0) || len(a.watch.Messages("/u/"+n+"/notice")) > 0 {
			t.Errorf("%s knows of the conference before its host has answered", n)
		}
		a.until("is not called yet", n, is("state", "pending"))
	}
	a.announced(host, wire)

	// He answers: the three ring at once, before any of them has answered, and each has been told.
	a.phone[host].Answer()
	for _, n := range members {
		a.phone[n].Expect("CALL_INCOMING", 20*time.Second)
	}
	for _, n := range members {
		a.until("rings", n, is("state", "alerting"))
		a.announced(n, wire)
	}
	for _, n := range members {
		a.phone[n].Answer()
	}
	a.begin(members...)
	for _, n := range append([]string{host}, members...) {
		a.told("joined", n)
		for other := range a.hz {
			if other != n && other != "2005" {
				hears(t, n, a.hz[other], a.heard(n, 0))
			}
		}
	}
	a.controls()

	// C-15: who is invited comes in while it runs.
	a.do("invite", "number", "2005", "name", "Eve")
	a.in("2005")
	a.announced("2005", wire)
	hears(t, "2005", a.hz["2003"], a.heard("2005", 0))
	hears(t, "2003", a.hz["2005"], a.heard("2003", 0))

	// C-17, C-6: the end; everybody is hung up, and nothing is kept of it at the broker.
	a.do("end")
	a.told("ended", "")
	for _, n := range []string{host, "2002", "2003", "2005"} {
		a.phone[n].Expect("CALL_CLOSED", 20*time.Second)
	}
	a.Must(404, "GET", "/api/v1/conferences/"+a.conf, a.token, nil)
	late := a.Watch()
	late.Wait("/conf/1000/state", "what is kept of the standing conference", 10*time.Second, func(map[string]any) bool { return true })
	if kept := late.Messages("/conf/" + a.conf + "/state"); len(kept) != 0 {
		t.Errorf("kept at the broker after the end: %s", kept[0].Payload)
	}
	a.watch.Wait("/call", "no call", 10*time.Second, calls(0))
}

var joinToken = regexp.MustCompile(`X-Parley-Join: (\S+)`)

// announced holds that a number was told of the conference on its own topic, with the token that its call bears (C-3, C-4).
func (a *assembly) announced(number string, wire *phonetest.Capture) {
	a.t.Helper()
	notice := a.watch.Wait("/u/"+number+"/notice", "a notice of the call", 20*time.Second, func(p map[string]any) bool { return p["kind"] == "join" })
	if notice["conf"] != a.conf || notice["uid"] != a.uid || notice["theme"] != "Budget" || notice["number"] != a.conf ||
		notice["topic"] != fmt.Sprintf("/e/%s/conf/%s/notice", a.EID, a.conf) {
		a.t.Errorf("%s was told %v", number, notice)
	}
	for _, p := range wire.Packets() {
		if text := string(p.Payload); strings.HasPrefix(text, "INVITE sip:"+number) && p.Src.String() == a.SIP {
			if m := joinToken.FindStringSubmatch(text); m == nil || m[1] != notice["token"] {
				a.t.Errorf("the call to %s bears %v, and the notice %v", number, m, notice["token"])
			}
			return
		}
	}
	a.t.Errorf("no INVITE went to %s", number)
}

// controls are the host's, over members who are all in: each is told, seen in the roster and heard. A member has none of them.
func (a *assembly) controls() {
	t := a.t
	// C-11: nobody hears who is muted.
	a.do("mute", "member", a.id("2002"))
	a.told("muted", "2002")
	hearsNot(t, "2003", a.hz["2002"], a.heard("2003", 0))
	hears(t, "2003", a.hz["2004"], a.heard("2003", 0))
	hears(t, "2002", a.hz["2003"], a.heard("2002", 0))

	// C-12: who is silenced hears nobody, and is heard.
	a.do("deafen", "member", a.id("2003"))
	a.told("deafened", "2003")
	phonetest.Eventually(t, 20*time.Second, "2003 hears nothing", func() bool { // nothing at all is sent, so that the recording may stand still
		before := a.phone["2003"].Heard(0).Duration()
		time.Sleep(500 * time.Millisecond)
		s := a.phone["2003"].Heard(0)
		return s.Between(before, s.Duration()).Loudest() < -60
	})
	hears(t, "2004", a.hz["2003"], a.heard("2004", 0))
	a.do("hear", "member", a.id("2003"))
	hears(t, "2003", a.hz["2004"], a.heard("2003", 0))

	// C-13: nobody but the host is heard, until the house is opened; who was muted before stays so.
	a.do("close_house")
	a.told("house_closed", "")
	hearsNot(t, "2002", a.hz["2003"], a.heard("2002", 0))
	hearsNot(t, "2002", a.hz["2004"], a.heard("2002", 0))
	hears(t, "2002", a.hz[host], a.heard("2002", 0))
	a.do("open_house")
	hears(t, "2003", a.hz["2004"], a.heard("2003", 0))
	hearsNot(t, "2003", a.hz["2002"], a.heard("2003", 0))
	a.do("unmute", "member", a.id("2002"))
	hears(t, "2003", a.hz["2002"], a.heard("2003", 0))

	// C-10: a listener hears and may not speak.
	a.do("mute", "member", a.id("2002"), "reason", "listener")
	hearsNot(t, "2003", a.hz["2002"], a.heard("2003", 0))
	a.until("is a listener", "2002", func(m map[string]any) bool { return strings.Contains(fmt.Sprint(m["mute"]), "reason:listener") })
	a.do("unmute", "member", a.id("2002"), "reason", "listener")
	hears(t, "2003", a.hz["2002"], a.heard("2003", 0))

	// Only a host has these.
	guest := a.Token("-role", "guest", "-number", "2002", "-ttl", "1h")
	a.as(guest, 403, "mute", "member", a.id("2003"))
	a.as(guest, 403, "kick", "member", a.id("2003"))
	a.as(guest, 403, "end")
	can := a.Must(200, "GET", "/api/v1/conferences/"+a.conf+"/can", guest, nil)
	if strings.Contains(string(can.Body), "kick") || !strings.Contains(string(can.Body), "mute") {
		t.Errorf("a member may %s", can.Body)
	}

	// C-14: kicked out, and not let in again.
	a.do("kick", "member", a.id("2004"), "why", "off topic")
	a.phone["2004"].Expect("CALL_CLOSED", 20*time.Second)
	if e := a.told("kicked", "2004"); e["why"] != "off topic" {
		t.Errorf("told of the kick: %v", e)
	}
	hearsNot(t, "2003", a.hz["2004"], a.heard("2003", 0))
	a.phone["2004"].Dial(a.conf)
	if e := a.phone["2004"].Expect("CALL_CLOSED", 20*time.Second); strings.Contains(fmt.Sprint(a.phone["2004"].Events()), "CALL_ESTABLISHED "+e.Call) {
		t.Errorf("who was kicked out is in again: %+v", e)
	}
}
