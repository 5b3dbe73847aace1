package main_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
	"parley/mqtt/wire"
)

// chat is a conference of tomorrow, to which people write already: nobody is called for it.
type chat struct {
	*boxtest.Box
	t         *testing.T
	token     string // of the host
	conf, uid string
	broker    func(user string) *phonetest.Foreign
	group     *phonetest.Inbox
	notices   *phonetest.Inbox // of 2001
}

// newChat makes one at the box's own broker, or at another one.
func newChat(t *testing.T, settings boxtest.Settings, at *phonetest.Mosquitto) *chat {
	t.Helper()
	if at != nil {
		settings["mqtt"] = boxtest.Settings{"broker": at.URL()}
	}
	return newChatAt(t, boxtest.Start(t, boxtest.Config{Settings: settings}), at)
}

func newChatAt(t *testing.T, box *boxtest.Box, at *phonetest.Mosquitto) *chat {
	t.Helper()
	c := &chat{t: t, Box: box}
	c.broker = func(user string) *phonetest.Foreign { return phonetest.NewForeign(t, c.MQTT) }
	if at != nil {
		c.broker = at.Foreign
	}
	c.token = c.Token("-role", "host", "-number", "2001", "-ttl", "1h")
	begins := time.Now().Add(24 * time.Hour)
	made := c.Must(200, "POST", "/api/v1/conferAndMembersAddJson", c.token, boxtest.Settings{
		"conferList": boxtest.Settings{
			"confName": 0, "type": "appointment", "theme": "Budget", "creator": "2001", "moderatorPassword": "480913", "userPassword": "115577",
			"startTime": begins.Format("2006-01-02 15:04"), "endTime": begins.Add(time.Hour).Format("2006-01-02 15:04"), "eid": c.EID,
		},
		"membersList": []boxtest.Settings{{"confName": 0, "userNum": "2002,2003", "isMute": 0, "isSlient": 0}},
	})
	c.conf, _ = made.JSON["confName"].(string)
	c.uid, _ = made.JSON["uid"].(string)
	c.group = c.broker("2002").Subscribe(c.topic())
	c.notices = c.broker("2001").Subscribe("/e/" + c.EID + "/u/2001/notice")
	return c
}

func (c *chat) topic() string { return "/e/" + c.EID + "/im/u/c" + c.uid }

// write publishes a message to the conference.
func (c *chat) write(payload string) {
	c.t.Helper()
	c.broker("2001").Publish(c.topic(), []byte(payload))
}

// answer waits for the n-th answer, from 1, to the message with that id.
func (c *chat) answer(id string, n int) map[string]any {
	c.t.Helper()
	var found map[string]any
	phonetest.Eventually(c.t, 15*time.Second, fmt.Sprintf("answer %d to message %s", n, id), func() bool {
		list := c.answers(id)
		if len(list) >= n {
			found = list[n-1]
		}
		return len(list) >= n
	})
	return found
}

func (c *chat) answers(id string) (list []map[string]any) {
	for _, m := range c.notices.Messages() {
		var notice map[string]any
		if json.Unmarshal(m.Payload, &notice) == nil && notice["kind"] == "message" && notice["id"] == id {
			list = append(list, notice)
		}
	}
	return list
}

// done waits for the n-th answer and returns the message's place in the log.
func (c *chat) done(id string, n int) float64 {
	c.t.Helper()
	a := c.answer(id, n)
	result, _ := a["result"].(map[string]any)
	seq, _ := result["seq"].(float64)
	if a["status"] != "done" || seq < 1 || result["uid"] != c.uid {
		c.t.Fatalf("message %s: %v", id, a)
	}
	return seq
}

func (c *chat) failed(id string, n int, reason string) {
	c.t.Helper()
	if a := c.answer(id, n); a["status"] != "failed" || a["reason"] != reason {
		c.t.Errorf("message %s: %v, want %s", id, a, reason)
	}
}

// history is the log as somebody fetches it who comes late.
func (c *chat) history(token string, after float64) (list []map[string]any) {
	c.t.Helper()
	a := c.Must(200, "GET", fmt.Sprintf("/api/v1/conferences/%s/messages?after=%.0f", c.uid, after), token, nil)
	entries, _ := a.JSON["messages"].([]any)
	for _, e := range entries {
		list = append(list, e.(map[string]any))
	}
	return list
}

// logged lists the ids in the log, in order.
func (c *chat) logged() (ids []string) {
	c.t.Helper()
	for _, e := range c.history(c.token, 0) {
		id, _ := e["id"].(string)
		ids = append(ids, id)
	}
	return ids
}

func (c *chat) command(do string) {
	c.t.Helper()
	c.Must(200, "POST", "/api/v1/conferences/"+c.uid+"/commands", c.token, boxtest.Settings{"do": do})
}

// kinds are messages of every kind, as a foreign terminal writes them: TYPE, the JSON's media, and more members of the first one.
var kinds = []struct {
	id, payload string
}{
	{"m-text", "\xf1" + `{"co":"ten o'clock?","id":"m-text","from":"2001","ts":1795255201500}`},
	{"m-chinese", "\xf1" + `{"co":"预算会议改到十点，行吗？","id":"m-chinese","from":"2001"}`},
	{"m-picture", "\xf1" + `{"co":"https://192.0.2.7/p/1","fn":"白板.png","si":"52311","id":"m-picture","from":"2001"}`},
	{"m-file", "\xf1" + `{"co":"https://192.0.2.7/f/1","fn":"plan.pdf","si":500,"id":"m-file","from":"2001","style":{"bold":true}}`},
	{"m-several", "\xf3" + `[{"co":"look","id":"m-several","from":"2001"},{"co":"https://192.0.2.7/f/1","fn":"a.mp4","si":"1"},{"co":"https://192.0.2.7/"}]`},
}

// C-30, C-32: what is written to a conference reaches its members as it is, is on the box's disk when the sender is told so, once
// however often it comes, and can be fetched by who comes late; on the box's own broker as on mosquitto.
func TestMessages(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"embedded", "mosquitto"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var at *phonetest.Mosquitto
			if name == "mosquitto" {
				at = phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})
			}
			c := newChat(t, boxtest.Settings{}, at)
			c.everyKind()
			c.oneToOne()
			c.doubles()
			c.nonsense()
			c.closing()
		})
	}
}

func (c *chat) everyKind() {
	c.t.Helper()
	last := 0.0
	for _, k := range kinds {
		c.write(k.payload)
		seq := c.done(k.id, 1)
		if seq != last+1 {
			c.t.Errorf("%s is number %v, after %v", k.id, seq, last)
		}
		last = seq
		c.group.Wait(k.id, 10*time.Second, func(m phonetest.Message) bool { return string(m.Payload) == k.payload })
	}
	guest := c.Token("-role", "guest", "-number", "2003", "-conf", c.uid)
	for i, e := range c.history(guest, 0) {
		body, _ := json.Marshal(e["body"])
		if e["id"] != kinds[i].id || e["from"] != "2001" || e["verified"] != false || e["type"] != float64(kinds[i].payload[0]) || !sameJSON(string(body), kinds[i].payload[1:]) {
			c.t.Errorf("late comers find %v for %s", e, kinds[i].payload)
		}
	}
	if late := c.history(guest, 3); len(late) != 2 || late[0]["id"] != "m-file" {
		c.t.Errorf("after the third: %v", late)
	}
	c.Must(403, "GET", "/api/v1/conferences/"+c.uid+"/messages", c.Token("-role", "guest", "-number", "2009", "-conf", "9999"), nil)
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && fmt.Sprint(x) == fmt.Sprint(y)
}

// oneToOne: what one writes to another is theirs alone.
func (c *chat) oneToOne() {
	c.t.Helper()
	inbox := c.broker("2002").Subscribe("/e/" + c.EID + "/im/u/2002")
	const payload = "\x01" + `{"co":"you, only","id":"o-1","from":"2001"}`
	c.broker("2001").Publish("/e/"+c.EID+"/im/u/2002", []byte(payload))
	inbox.Wait("one to one", 10*time.Second, func(m phonetest.Message) bool { return string(m.Payload) == payload })
	c.write("\xf1" + `{"co":"you, all","id":"o-2","from":"2001"}`)
	c.done("o-2", 1)
	if len(c.answers("o-1")) > 0 || slices.Contains(c.logged(), "o-1") {
		c.t.Error("the box has read what one wrote to another")
	}
}

// doubles are acknowledged again and logged once.
func (c *chat) doubles() {
	c.t.Helper()
	c.write(kinds[1].payload)
	if seq := c.done("m-chinese", 2); seq != 2 {
		c.t.Errorf("sent again, it is number %v", seq)
	}
	// Of another sender the same id is another message; without an id there are no doubles, and without a sender nobody is told.
	notices := c.broker("2002").Subscribe("/e/" + c.EID + "/u/2002/notice")
	c.write("\xf1" + `{"co":"mine","id":"m-chinese","from":"2002"}`)
	notices.Wait("an answer to 2002", 10*time.Second, func(m phonetest.Message) bool { return strings.Contains(string(m.Payload), `"done"`) })
	before := len(c.logged())
	for range 2 {
		c.write("\xf1" + `{"co":"whoever","from":"2001"}`)
		c.write("\xf1" + `{"co":"whoever","id":"nobody"}`)
	}
	c.write("\xf1" + `{"co":"last","id":"d-1","from":"2001"}`)
	c.done("d-1", 1)
	if n := len(c.logged()) - before; n != 4 && n != 5 { // a double can be known by its id alone, or not
		c.t.Errorf("%d messages more", n)
	}
}

// nonsense is counted, logged once, and harms nobody.
func (c *chat) nonsense() {
	c.t.Helper()
	before, was := c.Metric("parley_messages_malformed_total"), len(c.logged())
	for _, payload := range []string{
		"\x31" + `{"co":"a kind that there is not","id":"n-1","from":"2001"}`, "\xf2" + `{"co":"one, not two","id":"n-2","from":"2001"}`,
		"\xf1" + `{"co":"cut o`, "\xf1" + `{"fn":"no content","id":"n-4","from":"2001"}`, "\xf1" + `{"co":"` + "\xff\xfe" + `","id":"n-5","from":"2001"}`,
		"\xf1" + `{"co":"x","fn":"../../etc/passwd","id":"n-6","from":"2001"}`, "plain text",
	} {
		c.write(payload)
	}
	c.write("\xf1" + `{"co":"still here","id":"n-8","from":"2001"}`)
	c.done("n-8", 1)
	if n := c.Metric("parley_messages_malformed_total") - before; n != 7 {
		c.t.Errorf("%v malformed messages are counted, want 7", n)
	}
	if n := len(c.logged()) - was; n != 1 {
		c.t.Errorf("%d messages more", n)
	}
	said := 0
	for _, line := range c.Lines() {
		if strings.Contains(line, "a message cannot be read") {
			said++
		}
	}
	if said != 1 {
		c.t.Errorf("the log tells %d times of messages that cannot be read", said)
	}
}

// closing: C-33, the host closes the messages and opens them again; what is over takes none.
func (c *chat) closing() {
	c.t.Helper()
	const payload = "\xf1" + `{"co":"may I?","id":"c-1","from":"2001"}`
	c.command("close_messages")
	c.write(payload)
	c.failed("c-1", 1, "messages_closed")
	c.command("open_messages")
	c.write(payload)
	c.done("c-1", 2)
	c.command("end")
	c.write("\xf1" + `{"co":"too late","id":"c-2","from":"2001"}`)
	c.failed("c-2", 1, "no_conference")
	if ids := c.logged(); !slices.Contains(ids, "c-1") || slices.Contains(ids, "c-2") {
		c.t.Errorf("after the end: %v", ids)
	}
}

// A message that is signed with the key of a token that the box has seen is known to be from whom it says.
func TestMessagesSigned(t *testing.T) {
	t.Parallel()
	c := newChat(t, boxtest.Settings{}, nil)
	file := filepath.Join(t.TempDir(), "mine.key")
	mine := c.Token("-role", "guest", "-number", "2001", "-conf", c.uid, "-bind", file)
	key, err := wire.LoadOrCreateKey(file)
	if err != nil {
		t.Fatal(err)
	}
	_, strangers, _ := ed25519.GenerateKey(nil)
	signed := func(id, from string, key ed25519.PrivateKey) string {
		m := wire.Message{Kind: wire.IMGroup, ID: id, From: from, TS: time.Now().UnixMilli(), Media: []wire.Medium{{Content: "it is me"}}}
		if err := m.Sign(c.topic(), key); err != nil {
			t.Fatal(err)
		}
		payload, err := wire.EncodeMessage(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(payload)
	}
	c.write(signed("s-1", "2001", key)) // the box has not seen the token yet
	c.done("s-1", 1)
	c.Must(200, "GET", "/api/v1/conferences/"+c.uid, mine, nil)
	c.write(signed("s-2", "2001", key))
	c.done("s-2", 1)
	c.write(signed("s-3", "2001", strangers))
	c.done("s-3", 1)
	c.write(strings.Replace(signed("s-4", "2001", key), "it is me", "it is I!", 1))
	c.done("s-4", 1)
	c.write(signed("s-5", c.Name, strangers)) // in the box's name
	c.write(signed("s-6", "2002", key))       // 2001's key is not 2002's
	c.write(signed("s-7", "2001", key))
	c.done("s-7", 1)
	want := "[s-1 false s-2 true s-3 false s-4 false s-6 false s-7 true]"
	var got []any
	for _, e := range c.history(c.token, 0) {
		got = append(got, e["id"], e["verified"])
	}
	if fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// kill −9 between a message and its acknowledgement: the sender sends it again until it is told, and it is in the log once;
// what was acknowledged is there. A message that the broker keeps is of another day, and not taken for a new one.
func TestMessagesAfterACrash(t *testing.T) {
	t.Parallel()
	broker := phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})
	c := newChat(t, boxtest.Settings{}, broker)
	c.broker("2001").Publish(c.topic(), []byte("\xf1"+`{"co":"kept by the broker","from":"2001"}`), "-r")
	want := []string{""}
	standing := func() any { return c.Must(200, "GET", "/api/v1/conferences/1000", c.token, nil).JSON["uid"] }
	always := standing()
	for round := range 4 {
		told := fmt.Sprintf("told-%d", round)
		c.write("\xf1" + `{"co":"x","id":"` + told + `","from":"2001"}`)
		c.done(told, 1)
		cut := fmt.Sprintf("cut-%d", round)
		payload := "\xf1" + `{"co":"y","id":"` + cut + `","from":"2001"}`
		c.write(payload)
		c.Kill()
		before := len(c.answers(cut))
		c.Restart()
		for len(c.answers(cut)) == before { // as senders do who are not told; the box may not read along yet
			c.write(payload)
			time.Sleep(time.Second)
		}
		c.done(cut, before+1)
		want = append(want, told, cut)
	}
	if now := standing(); now != always {
		t.Errorf("the group of a standing conference is another one: %v, was %v", now, always)
	}
	if got := c.logged(); !slices.Equal(got, want) {
		t.Errorf("the log has %q, want %q", got, want)
	}
	seen := map[string]bool{}
	for _, m := range c.group.Messages() {
		msg, err := wire.DecodeMessage(m.Payload)
		if err != nil {
			t.Fatal(err)
		}
		seen[msg.ID] = true
	}
	if len(seen) != len(want) {
		t.Errorf("by their ids, members have seen %d messages, want %d", len(seen), len(want))
	}
}

// A full disk takes no message and says so, to the sender and by an alert; the conference goes on, and once there is room so
// do its messages.
func TestMessagesOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "24m")
	c := newChatAt(t, boxtest.Start(t, boxtest.Config{Data: dir}), nil)
	watch := c.Watch()
	c.write("\xf1" + `{"co":"room","id":"f-1","from":"2001"}`)
	c.done("f-1", 1)
	free := fillUp(t, dir)
	c.write("\xf1" + `{"co":"no room","id":"f-2","from":"2001"}`)
	c.failed("f-2", 1, "storage_full")
	watch.Wait("/alert/messages", "an alert", 10*time.Second, func(p map[string]any) bool { return p["sev"] == "warning" })
	c.Must(507, "POST", "/api/v1/conferences/"+c.uid+"/files", c.token, announce("a", []byte("x")))
	c.command("lock")
	free()
	c.write("\xf1" + `{"co":"no room","id":"f-2","from":"2001"}`)
	c.done("f-2", 2)
	phonetest.Eventually(t, 10*time.Second, "no alert", func() bool {
		list := watch.Messages("/alert/messages")
		return len(list[len(list)-1].Payload) == 0
	})
	if ids := c.logged(); !slices.Equal(ids, []string{"f-1", "f-2"}) {
		t.Errorf("logged: %v", ids)
	}
}

// C-30: a conference that goes on in messages alone hears nobody, takes messages, and comes back by voice.
func TestMessagesAlone(t *testing.T) {
	t.Parallel()
	box := startTalking(t, nil)
	c := &chat{Box: box, t: t, conf: "1000", token: box.Token("-role", "admin", "-number", "2001", "-ttl", "1h")}
	c.broker = func(string) *phonetest.Foreign { return phonetest.NewForeign(t, c.MQTT) }
	c.uid, _ = c.Must(200, "GET", "/api/v1/conferences/1000", c.token, nil).JSON["uid"].(string)
	c.notices = c.broker("2001").Subscribe("/e/" + c.EID + "/u/2001/notice")
	phone := phonetest.StartBaresip(t, phonetest.BaresipConfig{Codecs: []string{phonetest.G722}, Says: tone(1100)})
	phone.Dial(box.URI("1000"))
	phone.Expect("CALL_ESTABLISHED", 10*time.Second)
	sides := map[string]struct {
		heard func() phonetest.Sound
		hz    float64
	}{"the phone": {func() phonetest.Sound { return phone.Heard(0) }, 400}, "the room": {box.Speaker, 1100}}
	byVoice := func(yes bool) {
		t.Helper()
		for name, side := range sides {
			from := side.heard().Duration()
			phonetest.Eventually(t, 20*time.Second, fmt.Sprintf("%s hears the other: %v", name, yes), func() bool {
				sound := side.heard()
				last := sound.Duration() - time.Second // once what was under way is over, all of it
				if last < from {
					return false
				}
				now := sound.Between(last, last+time.Second).Tone(side.hz)
				return yes && slices.Min(now) > toneLevel-10 || !yes && slices.Max(now) < toneLevel-60
			})
		}
	}
	byVoice(true)
	c.command("to_messages")
	byVoice(false)
	c.write("\xf1" + `{"co":"in writing, then","id":"a-1","from":"2001"}`)
	c.done("a-1", 1)
	c.command("to_voice")
	byVoice(true)
}
