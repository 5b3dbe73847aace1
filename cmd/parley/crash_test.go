package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"parley/audio/record"
	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
	"parley/mqtt/wire"
)

// What is said in a crash's conferences, Hz: 2001 and 2002 are called into one that somebody made, 2003 calls into the place's.
var crashHz = map[string]float64{"2001": 700, "2002": 1100, "2003": 1700}

// crash is a box that is killed again and again, with two conferences: three calls, and the place.
type crash struct {
	*boxtest.Box
	t       *testing.T
	random  *rand.Rand
	token   string
	phones  map[string]*phonetest.Baresip
	capture *phonetest.Capture
	uid     string // of the conference that somebody made
	hall    string // and of the place's
	muted   string // member who is muted and unmuted: 2002's

	may    map[string][]string // what may be found after a crash, by what it is about: what was answered last, and what was asked since
	booked []booking
	seq    float64 // the highest that was told
	asked  int

	chat    *chat
	written []string // ids of messages
	killed  []time.Time
}

type booking struct{ theme, uid string }

// Killed at any moment, with commands going on: the same conferences, rules, bookings and mutes as were answered; no number of an event
// comes twice; calls go on, both ways, without the phones having seen another.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	rounds, seed := 20, uint64(time.Now().UnixNano())
	if n, err := strconv.Atoi(os.Getenv("PARLEY_SOAK")); err == nil {
		rounds = n
	}
	if n, err := strconv.ParseUint(os.Getenv("PARLEY_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("PARLEY_SEED=%d", seed)
	var downs, sounds []time.Duration
	asked := 0
	for first := 0; first < rounds; first += perCall {
		ok := t.Run(fmt.Sprintf("from round %d", first), func(t *testing.T) {
			c := newCrash(t, seed+uint64(first))
			for range min(perCall, rounds-first) {
				down, sound := c.round()
				downs, sounds = append(downs, down), append(sounds, sound)
			}
			c.finish()
			asked += c.asked
		})
		if !ok {
			break
		}
	}
	if n := len(downs); n > 0 {
		slices.Sort(downs)
		slices.Sort(sounds)
		t.Logf("%d rounds, %d commands; ready again after %v (at most %v), everybody heard again after %v (at most %v)", n, asked,
			downs[n/2], downs[n-1], sounds[n/2], sounds[n-1])
	}
}

// perCall is how many rounds the phones' calls are made for: they hang up after two minutes.
const perCall = 10

// round kills the box once, and gives how long it was down, and how long until everybody was heard again.
func (c *crash) round() (down, sound time.Duration) {
	c.t.Helper()
	at := time.Duration(c.random.Int64N(int64(1500 * time.Millisecond)))
	stop := c.steer()
	time.Sleep(at)
	killed := time.Now()
	c.Kill()
	c.killed = append(c.killed, killed)
	stop()
	c.Restart()
	down = time.Since(killed)
	c.capture = phonetest.StartCapture(c.t, uint16(c.FirstRTP), uint16(c.LastRTP))
	defer c.capture.Stop()
	c.compare()
	c.messages(false)
	c.sound()
	if c.t.Failed() {
		c.t.Fatalf("killed after %v", at)
	}
	return down, time.Since(killed)
}

// finish looks whether the phones have seen one call throughout, and ends it.
func (c *crash) finish() {
	c.t.Helper()
	for number, p := range c.phones {
		calls := 0
		for _, e := range p.Events() {
			if e.Type == "CALL_ESTABLISHED" {
				calls++
			}
			if e.Type == "CALL_CLOSED" {
				c.t.Errorf("%s: %+v", number, e)
			}
		}
		if calls != 1 {
			c.t.Errorf("%s has seen %d calls", number, calls)
		}
	}
	for _, id := range c.written {
		if len(c.chat.answers(id)) == 0 { // as senders do who are not told
			c.write(id)
			c.chat.answer(id, 1)
		}
	}
	c.messages(true)
	c.StopCleanly()
	for _, p := range c.phones {
		p.Expect("CALL_CLOSED", 10*time.Second)
	}
	c.recordings()
}

func (c *crash) write(id string) {
	c.chat.write("\xf1" + `{"co":"so far","id":"` + id + `","from":"2001"}`)
}

// messages holds the log against what was acknowledged, or, at the end, against all that was written: each once.
func (c *crash) messages(all bool) {
	c.t.Helper()
	logged := map[string]int{}
	for after, more := 0.0, true; more; {
		a := c.Must(200, "GET", fmt.Sprintf("/api/v1/conferences/%s/messages?limit=200&after=%.0f", c.uid, after), c.token, nil).JSON
		list, _ := a["messages"].([]any)
		for _, e := range list {
			e, _ := e.(map[string]any)
			logged[fmt.Sprint(e["id"])]++
		}
		after, _ = a["after"].(float64)
		more = len(list) == 200
	}
	for _, id := range c.written {
		if n := logged[id]; n > 1 || n == 0 && (all || len(c.chat.answers(id)) > 0) {
			c.t.Errorf("message %s is in the log %d times", id, n)
		}
	}
	if !all {
		return
	}
	seen := map[string]bool{}
	for _, m := range c.chat.group.Messages() {
		if msg, err := wire.DecodeMessage(m.Payload); err == nil {
			seen[msg.ID] = true
		}
	}
	for _, id := range c.written {
		if !seen[id] {
			c.t.Errorf("message %s has not reached 2002", id)
		}
	}
}

// recordings looks whether each life of the box has a recording of its own, whole and up to a second before its end.
func (c *crash) recordings() {
	c.t.Helper()
	folder := filepath.Join(c.Data, "recordings")
	list, err := record.NewLibrary(folder, record.Limits{}).List()
	if err != nil || len(list) != len(c.killed)+1 {
		c.t.Fatalf("%d recordings of %d lives: %v", len(list), len(c.killed)+1, err)
	}
	slices.SortFunc(list, func(a, b record.Info) int { return a.Started.Compare(b.Started) })
	for i, r := range list {
		if err := record.Verify(filepath.Join(folder, r.ID)); err != nil {
			c.t.Errorf("recording %s: %v", r.ID, err)
		}
		if i < len(c.killed) {
			if lost := c.killed[i].Sub(r.Started.Add(r.Length)); lost > time.Second {
				c.t.Errorf("recording %s: the last %v are lost", r.ID, lost)
			}
		}
	}
}

func newCrash(t *testing.T, seed uint64) *crash {
	t.Helper()
	var users []boxtest.Settings
	for number := range crashHz {
		users = append(users, boxtest.Settings{"name": number, "password": "secret-" + number})
	}
	broker := phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(placeHz), Settings: boxtest.Settings{
		"mqtt": boxtest.Settings{"broker": broker.URL()}, "place": boxtest.Settings{"join_at_start": true}, "sip": boxtest.Settings{"trust_loopback": false, "users": users},
	}})
	c := &crash{
		Box: box, t: t, random: rand.New(rand.NewPCG(seed, 0)), phones: map[string]*phonetest.Baresip{},
	}
	for number, hz := range crashHz {
		c.phones[number] = phonetest.StartBaresip(t, phonetest.BaresipConfig{
			Name: number, Password: "secret-" + number, Registrar: box.SIP + ";transport=udp", Codecs: []string{phonetest.PCMU}, Says: tone(hz),
		})
	}
	for _, p := range c.phones {
		p.WaitLine("200 OK (Parley) [1 binding]", 15*time.Second)
	}
	c.token = box.Token("-role", "host", "-number", "2001", "-ttl", "8h")
	c.phones["2003"].Dial("1000")
	made := box.Must(200, "POST", "/api/v1/conferAndMembersAddJson", c.token, c.conference("immediate", "Budget", "2002"))
	c.uid, _ = made.JSON["uid"].(string)
	for _, p := range c.phones {
		p.Expect("CALL_ESTABLISHED", 20*time.Second)
	}
	get := func(conf string) map[string]any {
		return box.Must(200, "GET", "/api/v1/conferences/"+conf, c.token, nil).JSON
	}
	phonetest.Eventually(t, 20*time.Second, "everybody is in", func() bool { return connected(get(c.uid)) == 2 && connected(get("1000")) == 2 })
	c.hall, c.muted = fmt.Sprint(get("1000")["uid"]), fmt.Sprint(rosterLine(get(c.uid), "2002")["id"])
	c.capture = phonetest.StartCapture(t, uint16(box.FirstRTP), uint16(box.LastRTP))
	c.hears("2003", placeHz)
	c.capture.Stop()
	c.chat = &chat{t: t, Box: box, token: c.token, uid: c.uid, broker: broker.Foreign}
	c.chat.group = broker.Foreign("2002").Subscribe(c.chat.topic())
	c.chat.notices = broker.Foreign("2001").Subscribe("/e/" + box.EID + "/u/2001/notice")
	box.Must(200, "POST", "/api/v1/conferences/"+c.uid+"/commands", c.token, map[string]any{"do": "record"})
	return c
}

func (c *crash) conference(kind, theme string, members ...string) boxtest.Settings {
	conf := boxtest.Settings{
		"confName": 0, "type": kind, "theme": theme, "creator": "2001", "moderatorPassword": "480913", "userPassword": "115577",
		"maxNum": 12, "eid": c.EID,
	}
	if kind == "appointment" {
		conf["startTime"], conf["endTime"] = time.Now().Add(24*time.Hour).Format("2006-01-02 15:04"), time.Now().Add(25*time.Hour).Format("2006-01-02 15:04")
	}
	s := boxtest.Settings{"requestId": strings.ReplaceAll(theme, " ", "-"), "conferList": conf}
	if len(members) > 0 {
		s["membersList"] = []boxtest.Settings{{"confName": 0, "userNum": strings.Join(members, ","), "isMute": 0, "isSlient": 0}}
	}
	return s
}

// ask is a request that may meet the end of the box; status 0: it did.
func (c *crash) ask(method, path string, body any) (status int, answer map[string]any) {
	text, _ := json.Marshal(body)
	req, _ := http.NewRequest(method, "http://"+c.HTTP+path, bytes.NewReader(text))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.token)
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil || json.Unmarshal(raw, &answer) != nil {
		return 0, nil
	}
	return res.StatusCode, answer
}

// facts are what is compared: all that commands here change. An appointment is found by its theme.
func (c *crash) facts() map[string]string {
	c.t.Helper()
	f := map[string]string{}
	list, _ := c.Must(200, "GET", "/api/v1/conferences", c.token, nil).JSON["conferences"].([]any)
	for _, s := range list {
		if s, ok := s.(map[string]any); ok && s["kind"] == "appointment" {
			f[fmt.Sprint(s["theme"])] = fmt.Sprint(s["uid"], " ", s["conf"], " ", s["start"], " ", s["end"])
		}
	}
	s := c.Must(200, "GET", "/api/v1/conferences/"+c.uid, c.token, nil).JSON
	mute, _ := json.Marshal(rosterLine(s, "2002")["mute"])
	f["lock"], f["mute"] = fmt.Sprint(s["locked"] == true), fmt.Sprint(strings.Contains(string(mute), `"host"`))
	return f
}

// steer gives commands, one after the other, until the box is gone and stop is called.
func (c *crash) steer() (stop func()) {
	c.may = map[string][]string{}
	for key, v := range c.facts() {
		c.may[key] = []string{v}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-time.After(20 * time.Millisecond):
				c.step()
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// step gives one command. What may be found afterwards is what was, or what was asked for; once that is answered, it alone.
func (c *crash) step() {
	conf := "/api/v1/conferences/" + c.uid + "/commands"
	switch n := c.random.IntN(6); {
	case n == 5:
		c.asked++
		c.written = append(c.written, fmt.Sprint("w-", c.asked))
		c.write(c.written[len(c.written)-1])
	case n == 0:
		on := c.random.IntN(2) == 0
		c.command("lock", fmt.Sprint(on), conf, map[string]any{"do": map[bool]string{true: "lock", false: "unlock"}[on]})
	case n == 1:
		on := c.random.IntN(2) == 0
		c.command("mute", fmt.Sprint(on), conf, map[string]any{
			"do": map[bool]string{true: "mute", false: "unmute"}[on], "reason": "host", "member": c.muted})
	case n == 2 || len(c.booked) < 2:
		theme := fmt.Sprintf("appointment %d", c.asked)
		c.may[theme] = []string{"", "*"}
		status, a := c.ask("POST", "/api/v1/conferAndMembersAddJson", c.conference("appointment", theme))
		if c.fine("create", status, a) {
			uid := fmt.Sprint(a["uid"])
			c.booked = append(c.booked, booking{theme, uid})
			c.may[theme] = []string{"*" + uid + " " + fmt.Sprint(a["confName"])}
		}
	default:
		i := c.random.IntN(len(c.booked))
		b := c.booked[i]
		path := "/api/v1/conferences/" + b.uid + "/commands"
		if n == 3 {
			c.command(b.theme, "", path, map[string]any{"do": "end"})
			c.booked = slices.Delete(c.booked, i, i+1)
			return
		}
		until := time.Now().Add(25*time.Hour + time.Duration(c.asked)*time.Minute).UTC().Truncate(time.Second)
		c.command(b.theme, "*"+b.uid+" "+until.Format(time.RFC3339), path, map[string]any{"do": "prolong", "until": until})
	}
}

func (c *crash) command(about, then, path string, body map[string]any) {
	before := c.may[about]
	c.may[about] = append(slices.Clone(before), then)
	status, a := c.ask("POST", path, body)
	if c.fine(fmt.Sprint(body), status, a) {
		if a["durable"] == true {
			c.may[about] = []string{then}
		}
		if seq, _ := a["seq"].(float64); strings.Contains(path, c.uid) {
			c.seq = max(c.seq, seq)
		}
	}
}

// fine tells whether a request was answered, and complains about one that was refused.
func (c *crash) fine(what string, status int, a map[string]any) bool {
	c.asked++
	if status != 0 && status != 200 {
		c.t.Errorf("%s: %d %v", what, status, a)
	}
	return status == 200
}

// compare holds what is there after the crash against what may be.
func (c *crash) compare() {
	c.t.Helper()
	found := c.facts()
	for key := range c.may {
		if _, ok := found[key]; !ok {
			found[key] = ""
		}
	}
	for key, is := range found {
		if !slices.ContainsFunc(c.may[key], func(may string) bool { return meets(is, may) }) {
			c.t.Errorf("%s is %q, want one of %q", key, is, c.may[key])
		}
	}
	c.booked = slices.DeleteFunc(c.booked, func(b booking) bool { return found[b.theme] == "" })
	s := c.Must(200, "GET", "/api/v1/conferences/"+c.uid, c.token, nil).JSON
	if seq, _ := s["seq"].(float64); seq < c.seq {
		c.t.Errorf("event %v after %v", seq, c.seq)
	}
	for _, number := range []string{"2001", "2002"} {
		if m := rosterLine(s, number); m["state"] != "connected" || number == "2002" && m["id"] != c.muted {
			c.t.Errorf("%s: %v", number, m)
		}
	}
	hall := c.Must(200, "GET", "/api/v1/conferences/1000", c.token, nil).JSON
	if connected(hall) != 2 || hall["uid"] != c.hall {
		c.t.Errorf("the place's conference: %v", hall)
	}
}

// meets tells whether what is found is what may be, or has all the words of one that begins with *.
func meets(is, may string) bool {
	words, some := strings.CutPrefix(may, "*")
	if !some || is == "" {
		return is == may
	}
	for _, w := range strings.Fields(words) {
		if !slices.Contains(strings.Fields(is), w) {
			return false
		}
	}
	return true
}

// sound waits until everybody hears who is to be heard again.
func (c *crash) sound() {
	c.t.Helper()
	if c.facts()["mute"] == "true" {
		c.Must(200, "POST", "/api/v1/conferences/"+c.uid+"/commands", c.token, map[string]any{"do": "unmute", "reason": "host", "member": c.muted})
	}
	c.Press("m") // the place is muted since the crash
	c.hears("2001", crashHz["2002"])
	c.hears("2002", crashHz["2001"])
	c.hears("2003", placeHz)
	phonetest.Eventually(c.t, 15*time.Second, "the room hears 2003", func() bool { return c.Speaker().Tone(crashHz["2003"]).Above(-40) >= 2 })
}

// hears waits until a phone is sent a tone that nobody else is. The phone's own recording would not do: it ends at a re-INVITE.
func (c *crash) hears(number string, hz float64) {
	c.t.Helper()
	phonetest.Eventually(c.t, 15*time.Second, fmt.Sprintf("%s is sent %v Hz", number, hz), func() bool {
		streams := map[uint16][]phonetest.Packet{}
		for _, p := range c.capture.Packets() {
			if from := int(p.Src.Port()); from >= c.FirstRTP && from <= c.LastRTP && from%2 == 0 {
				streams[p.Dst.Port()] = append(streams[p.Dst.Port()], p)
			}
		}
		for _, s := range streams {
			if phonetest.G711(s).Tone(hz).Above(-40) >= 2 {
				return true
			}
		}
		return false
	})
}

// rosterLine is the line of a number in a conference as the box tells it; nil: it has none.
func rosterLine(conf map[string]any, number string) map[string]any {
	members, _ := conf["members"].([]any)
	for _, m := range members {
		if m, _ := m.(map[string]any); m["number"] == number {
			return m
		}
	}
	return nil
}
