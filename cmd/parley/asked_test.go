package main_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
	"parley/conference"
	"parley/mqtt/wire"
)

// person asks a box for things over MQTT, with a token that is bound to a key of his own.
type person struct {
	t          *testing.T
	box        *boxtest.Box
	watch      *boxtest.Watch
	client     *phonetest.Foreign
	number     string
	token, key string
	sign       ed25519.PrivateKey
	asked      int
}

func newPerson(t *testing.T, box *boxtest.Box, watch *boxtest.Watch, number, role string, more ...string) *person {
	t.Helper()
	p := &person{t: t, box: box, watch: watch, client: phonetest.NewForeign(t, box.MQTT), number: number}
	p.key = filepath.Join(t.TempDir(), "holder.key")
	p.token = box.Token(append([]string{"-role", role, "-number", number, "-bind", p.key}, more...)...)
	var err error
	if p.sign, err = wire.LoadKey(p.key); err != nil {
		t.Fatal(err)
	}
	return p
}

// command is one of this person's for a conference, or for none.
func (p *person) command(conf, uid string, do conference.Do) wire.ConfCommand {
	p.asked++
	topic := "/e/" + p.box.EID + "/u/" + p.number + "/cmd"
	if conf != "" {
		topic = "/e/" + p.box.EID + "/conf/" + conf + "/cmd"
	}
	return wire.ConfCommand{ID: fmt.Sprintf("%s-%d", p.number, p.asked), Exp: time.Now().Add(time.Minute).Unix(), Topic: topic, UID: uid,
		By: p.number, Token: p.token, Do: do}
}

// send publishes a command, signed, and returns the answer.
func (p *person) send(c wire.ConfCommand) map[string]any {
	p.t.Helper()
	envelope, err := wire.SignConfCommand(c, p.sign)
	if err != nil {
		p.t.Fatalf("%s: %v", c.Do, err)
	}
	p.client.Publish(c.Topic, envelope)
	return p.answer(c.By, c.ID)
}

// answer waits for the last word on a command.
func (p *person) answer(who, id string) map[string]any {
	p.t.Helper()
	return p.watch.Wait("/u/"+who+"/notice", "the answer to "+id, 20*time.Second, func(n map[string]any) bool {
		return n["kind"] == "answer" && n["id"] == id && n["status"] != "accepted"
	})
}

// do sends a command that is to be done. args are as on the wire.
func (p *person) do(conf, uid string, do conference.Do, args map[string]any) map[string]any {
	p.t.Helper()
	c := p.command(conf, uid, do)
	text, _ := json.Marshal(args)
	if err := json.Unmarshal(text, &c); err != nil {
		p.t.Fatal(err)
	}
	answer := p.send(c)
	if answer["status"] != "done" {
		p.t.Fatalf("%s by %s: %v", do, p.number, answer)
	}
	result, _ := answer["result"].(map[string]any)
	return result
}

// C-11 … C-15, C-18 and the create call, asked over MQTT and over HTTP in turn: both have one meaning.
func TestControlsThroughBothDoors(t *testing.T) {
	t.Parallel()
	a := assemble(t, phonetest.G722, nil, map[string]float64{host: 500, "2002": 700, "2003": 1100})
	chair, guest := newPerson(t, a.Box, a.watch, host, "host"), newPerson(t, a.Box, a.watch, "2002", "guest")

	request := map[string]any{"conferList": map[string]any{"confName": "1500", "type": "immediate", "theme": "Two doors", "creator": host,
		"moderatorPassword": "480913", "userPassword": "115577", "eid": a.EID},
		"membersList": []any{map[string]any{"userNum": "2002,2003", "isMute": 0, "isSlient": 0}}}
	made := chair.do("", "", wire.DoCreate, map[string]any{"request": request})
	a.conf, a.uid = "1500", fmt.Sprint(made["uid"])
	if made["conf"] != "1500" || made["code"] != "00" || a.uid == "" {
		t.Fatalf("made: %v", made)
	}
	a.in(host, "2002", "2003")
	listed := guest.do("", "", wire.DoList, nil)
	if list, _ := listed["conferences"].([]any); len(list) != 1 || list[0].(map[string]any)["uid"] != a.uid {
		t.Errorf("2002 sees %v", listed) // and not the standing one, in which he is not
	}
	can := fmt.Sprint(guest.do("1500", a.uid, wire.DoCan, nil)["can"])
	if strings.Contains(can, "kick") || !strings.Contains(can, "unmute") {
		t.Errorf("a guest can %s", can)
	}
	if can := fmt.Sprint(chair.do("1500", a.uid, wire.DoCan, nil)["can"]); !strings.Contains(can, "kick") {
		t.Errorf("the host can %s", can)
	}

	one := func(number string) map[string]any { return map[string]any{"member": a.id(number)} }
	asks := func(do conference.Do, args map[string]any) { t.Helper(); chair.do("1500", a.uid, do, args) }
	hears(t, "2003", 700, a.heard("2003", 0))
	asks(conference.Mute, one("2002")) // C-11
	hearsNot(t, "2003", 700, a.heard("2003", 0))
	a.do("unmute", "member", a.id("2002"))
	hears(t, "2003", 700, a.heard("2003", 0))

	a.do("deafen", "member", a.id("2003")) // C-12
	a.until("hears nothing", "2003", func(m map[string]any) bool { return m["deaf"] != nil })
	hearsNot(t, "2003", 700, a.heard("2003", 0))
	asks(conference.Hear, one("2003"))
	hears(t, "2003", 700, a.heard("2003", 0))

	asks(conference.CloseHouse, nil) // C-13
	hearsNot(t, "2003", 700, a.heard("2003", 0))
	hears(t, "2003", 500, a.heard("2003", 0))
	a.do("open_house")
	hears(t, "2003", 700, a.heard("2003", 0))

	asks(conference.Kick, one("2003")) // C-14
	a.phone["2003"].Expect("CALL_CLOSED", 20*time.Second)
	a.told("kicked", "2003")
	a.do("invite", "number", "2003") // C-15
	a.in("2003")
	hears(t, "2003", 700, a.heard("2003", 1))
	asks(conference.Kick, one("2003"))
	a.phone["2003"].Expect("CALL_CLOSED", 20*time.Second)
	asks(conference.Invite, map[string]any{"number": "2003"})
	a.in("2003")

	asks(conference.HandOver, one("2002")) // C-18: what the roster says counts beside the token
	a.until("is the host", "2002", is("role", "host"))
	a.until("is the host no more", host, is("role", "guest"))
	guest.do("1500", a.uid, conference.Lock, nil)
	a.as(a.Token("-role", "guest", "-number", "2002"), 200, "unlock")
	guest.do("1500", a.uid, conference.End, nil)
	a.told("ended", "")
	for _, n := range []string{host, "2002", "2003"} {
		a.phone[n].Expect("CALL_CLOSED", 20*time.Second)
	}
}

// jws is a token with any header and signature.
func jws(header, claims string, sign func(string) []byte) string {
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(header)) + "." + b64([]byte(claims))
	return text + "." + b64(sign(text))
}

// What is forged, late, repeated or meant for another conference is refused at either door with a name for it, and is in the log
// once, however often it comes.
func TestForgedAndStaleCommands(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{})
	watch := box.Watch()
	state := watch.Wait("/conf/1000/state", "the standing conference", 10*time.Second, func(map[string]any) bool { return true })
	uid := fmt.Sprint(state["uid"])
	ada, bo := newPerson(t, box, watch, "2001", "host"), newPerson(t, box, watch, "2002", "guest")
	only := newPerson(t, box, watch, "2003", "host", "-conf", "1999")
	other := newPerson(t, box, watch, "2004", "host")
	foreign := ed25519.NewKeyFromSeed([]byte(strings.Repeat("f", 32)))
	body := func(sub string) string {
		return fmt.Sprintf(`{"iss":"parley","aud":["%s"],"sub":"%s","jti":"x","role":"host","iat":%d,"exp":%d}`,
			box.EID, sub, time.Now().Unix(), time.Now().Add(time.Hour).Unix())
	}
	none := jws(`{"alg":"none","typ":"JWT"}`, body("2005"), func(string) []byte { return nil })
	ours := strings.SplitN(ada.token, ".", 2)[0]
	header, _ := base64.RawURLEncoding.DecodeString(ours)
	hs256 := jws(strings.Replace(string(header), "EdDSA", "HS256", 1), body("2006"), func(s string) []byte { return []byte(strings.Repeat("s", 32)) })
	forged := jws(string(header), body("2007"), func(s string) []byte { return ed25519.Sign(foreign, []byte(s)) })

	lock := func(p *person, change func(*wire.ConfCommand)) wire.ConfCommand {
		c := p.command("1000", uid, conference.Lock)
		if change != nil {
			change(&c)
		}
		return c
	}
	as := func(by, token string) func(*wire.ConfCommand) {
		return func(c *wire.ConfCommand) { c.By, c.Token = by, token }
	}
	for _, c := range []struct {
		name   string
		from   *person
		what   wire.ConfCommand
		reason string
	}{
		{"in another's name", ada, lock(ada, func(c *wire.ConfCommand) { c.By = "2099" }), "wrong_sender"},
		{"with another's token", other, lock(other, as("2001", ada.token)), "unknown_key"},
		{"expired", ada, lock(ada, func(c *wire.ConfCommand) { c.Exp = time.Now().Add(-time.Second).Unix() }), "expired"},
		{"for ever", ada, lock(ada, func(c *wire.ConfCommand) { c.Exp = time.Now().Add(24 * time.Hour).Unix() }), "exp_too_far"},
		{"for another topic", ada, lock(ada, func(c *wire.ConfCommand) { c.Topic = "/e/" + box.EID + "/conf/1001/cmd" }), "wrong_topic"},
		{"for an old conference", ada, lock(ada, func(c *wire.ConfCommand) { c.UID = "long-over-1" }), "wrong_uid"},
		{"with the right for another conference", only, lock(only, nil), "wrong_conference"},
		{"without the right", bo, lock(bo, nil), "no_conference"},
		{"token without algorithm", ada, lock(ada, as("2005", none)), "bad_token"},
		{"token with a shared secret", ada, lock(ada, as("2006", hs256)), "bad_token"},
		{"token signed by a stranger", ada, lock(ada, as("2007", forged)), "bad_token"},
	} {
		envelope, err := wire.SignConfCommand(c.what, c.from.sign)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for range 3 {
			c.from.client.Publish("/e/"+box.EID+"/conf/1000/cmd", envelope)
		}
		to := c.what.By
		if c.name == "in another's name" || c.reason == "wrong_sender" {
			to = "2001" // who has proved that he is
		}
		if a := c.from.answer(to, c.what.ID); a["reason"] != c.reason || a["status"] == "done" {
			t.Errorf("%s: %v", c.name, a)
		}
		logged := func() (n int) {
			for _, line := range box.Lines() {
				if strings.Contains(line, "a member's command is refused") && strings.Contains(line, "/u/"+to+"/notice") &&
					strings.Contains(line, "reason="+c.reason) {
					n++
				}
			}
			return n
		}
		phonetest.Eventually(t, 5*time.Second, c.name+" in the log", func() bool { return logged() > 0 })
		if n := logged(); n != 1 {
			t.Errorf("%s is in the log %d times", c.name, n)
		}
	}

	// The same again has one effect and the same answer; its id for something else is refused.
	first := lock(ada, nil)
	if a := ada.send(first); a["status"] != "done" {
		t.Fatalf("lock: %v", a)
	}
	before := box.Must(200, "GET", "/api/v1/conferences/1000", ada.token, nil).JSON["seq"]
	watch.Forget()
	if a := ada.send(first); a["status"] != "done" || box.Must(200, "GET", "/api/v1/conferences/1000", ada.token, nil).JSON["seq"] != before {
		t.Errorf("the same again: %v", a)
	}
	second := ada.command("1000", uid, conference.Unlock)
	second.ID = first.ID
	watch.Forget()
	if a := ada.send(second); a["reason"] != "id_reused" {
		t.Errorf("another with its id: %v", a)
	}

	// Nobody makes conferences for others, or any by a guest's token or one for another conference.
	request := json.RawMessage(`{"conferList":{"confName":0,"type":"immediate","theme":"x","creator":"2099","moderatorPassword":"480913","userPassword":"115577"},"membersList":[]}`)
	for _, c := range []struct {
		from         *person
		reason, code string
	}{{other, "forbidden", "21"}, {bo, "forbidden", ""}, {only, "wrong_conference", ""}} {
		make := c.from.command("", "", wire.DoCreate)
		make.Request = request
		a := c.from.send(make)
		result, _ := a["result"].(map[string]any)
		if a["reason"] != c.reason || c.code != "" && (result["code"] != c.code || result["field"] != "conferList.creator") {
			t.Errorf("%s makes a conference for 2099: %v", c.from.number, a)
		}
	}
	if a := box.API("POST", "/api/v1/conferAndMembersAddJson", other.token, []byte(request)); a.Status != 403 || a.JSON["code"] != "21" {
		t.Errorf("and over HTTP: %d %s", a.Status, a.Body)
	}

	// The same over HTTP.
	command := func(more string) string { return `{"do":"unlock"` + more + `}` }
	for _, c := range []struct {
		name, token, body, code string
		status                  int
	}{
		{"for an old conference", ada.token, command(`,"uid":"long-over-1"`), "wrong_uid", 409},
		{"with the right for another conference", only.token, command(""), "wrong_conference", 403},
		{"without the right", bo.token, command(""), "no_conference", 404},
		{"token without algorithm", none, command(""), "bad_token", 401},
		{"token with a shared secret", hs256, command(""), "bad_token", 401},
		{"token signed by a stranger", forged, command(""), "bad_token", 401},
		{"in another's name", ada.token, command(`,"by":"2099"`), "unknown_field", 422},
	} {
		for range 2 {
			a := box.API("POST", "/api/v1/conferences/1000/commands", c.token, c.body)
			if a.Status != c.status || a.JSON["code"] != c.code {
				t.Errorf("%s: %d %s", c.name, a.Status, a.Body)
			}
		}
	}
}
