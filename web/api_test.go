package web_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/conference"
	"parley/conference/create"
	"parley/conference/store"
	"parley/web"
	"parley/web/token"
)

const request = `{"requestId":"r1","conferList":{"confName":%q,"type":"immediate","creator":%q,"moderatorPassword":"111111","userPassword":"222222"},
"membersList":[{"userNum":"2002","isMute":0,"isSlient":0}]}`

// C-1, C-2: a conference is made over HTTP, and an error names its field.
func TestCreate(t *testing.T) {
	g := newRig(t, nil)
	host := g.token(nil)
	const path = "conferAndMembersAddJson"
	a := g.want(200, "00", "POST", path, host, fmt.Sprintf(request, "1234", "2001"))
	if a.body["confName"] != "1234" || a.body["uid"] != "uid-1234" {
		t.Error(a.text)
	}
	if b := g.want(200, "00", "POST", path, host, fmt.Sprintf(request, "1234", "2001")); b.text != a.text || len(g.house.all) != 3 {
		t.Errorf("the same request again: %s", b.text)
	}
	a = g.want(409, "10", "POST", path, g.admin(), strings.Replace(fmt.Sprintf(request, "1000", "2001"), "r1", "r2", 1))
	if a.body["field"] != "conferList.confName" {
		t.Error(a.text)
	}
	for body, want := range map[string]struct {
		status int
		code   string
		field  any
	}{
		"":                                     {400, "01", nil},
		"{":                                    {400, "01", nil},
		`{"a":1}`:                              {422, "03", "a"},
		fmt.Sprintf(request, "99", "2001"):     {422, "06", "conferList.confName"},
		fmt.Sprintf(request, "0", "2009"):      {403, "21", "conferList.creator"},
		strings.Repeat(" ", 70<<10):            {413, "02", nil},
		fmt.Sprintf(request, "0", "2001\r\nX"): {422, "05", "conferList.creator"},
	} {
		if a := g.want(want.status, want.code, "POST", path, host, body); a.body["field"] != want.field || a.body["message"] == "" {
			t.Errorf("%.40q: %s", body, a.text)
		}
	}
	g.want(200, "00", "POST", path, g.admin(), strings.Replace(fmt.Sprintf(request, "0", "2009"), "r1", "r3", 1))
	g.want(401, "20", "POST", path, "", fmt.Sprintf(request, "0", "2001"))
	g.want(403, "21", "POST", path, g.guest("2001"), fmt.Sprintf(request, "0", "2001"))
	g.want(403, "21", "POST", path, g.token(func(c *token.Claims) { c.Conference = "1000" }), fmt.Sprintf(request, "0", "2001"))
	g.want(405, "31", "GET", path, host, "")

	g.house.failure = web.ErrNotDurable
	g.want(503, "30", "POST", path, host, fmt.Sprintf(request, "0", "2001"))
	g.house.failure = errors.New("secret things")
	if a := g.want(500, "31", "POST", path, host, fmt.Sprintf(request, "0", "2001")); strings.Contains(a.text, "secret") {
		t.Errorf("the box's own trouble is told: %s", a.text)
	}
}

// No door opens without a token that counts, and none is told what is behind it.
func TestTokenAlways(t *testing.T) {
	g := newRig(t, nil)
	for _, path := range []string{"", "x", "conferences", "conferences/1000", "conferences/1000/can", "conferences/1000/commands", "conferences/1000/files",
		"conferences/1000/files/x", "conferences/1000/messages", "recordings", "recordings/x", "recordings/x/index", "conferAndMembersAddJson"} {
		for _, method := range []string{"GET", "POST", "PATCH", "DELETE", "OPTIONS", "PUT"} {
			if a := g.ask(method, path, "", ""); a.status != 401 || !strings.HasPrefix(a.head.Get("WWW-Authenticate"), "Bearer ") {
				// Strangers who go on get to hear it less often.
				if a.status != 429 {
					t.Errorf("%s %s: %d %s", method, path, a.status, a.text)
				}
			}
		}
	}
}

func TestTokensRefused(t *testing.T) {
	g := newRig(t, nil)
	old := g.token(func(c *token.Claims) {
		c.IssuedAt, c.Expires = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	gone := g.token(func(c *token.Claims) { c.ID = "gone" })
	g.revoke.Revoke("gone", time.Now().Add(time.Hour), time.Now())
	good := g.token(nil)
	for token, code := range map[string]string{
		old: "token_expired", gone: "token_revoked", "x": "bad_token", good + "x": "bad_token",
		"eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4ifQ.":                     "bad_token",
		g.token(func(c *token.Claims) { c.Audience = []string{"other"} }): "bad_token",
	} {
		if a := g.want(401, code, "GET", "conferences", token, ""); !strings.Contains(a.head.Get("WWW-Authenticate"), "invalid_token") {
			t.Error(a.head)
		}
	}
	// In the address it does not count, nor twice, nor as a name and password.
	if a := g.ask("GET", "conferences?access_token="+good, "", ""); a.status != 401 {
		t.Error("a token in the address")
	}
	if a := g.ask("GET", "conferences", "", "", "Authorization", "Basic "+good); a.status != 401 {
		t.Error("a token as a password")
	}
	if a := g.ask("GET", "conferences", "", "", "Authorization", "bearer "+good); a.status != 200 {
		t.Errorf("the scheme's case does not matter: %s", a.text)
	}
}

// Who sees what: a guest only where he is, a token for one conference only that one.
func TestWhoSeesWhat(t *testing.T) {
	g := newRig(t, nil)
	list := func(token string) (numbers []string) {
		a := g.want(200, nil, "GET", "conferences", token, "")
		for _, c := range a.body["conferences"].([]any) {
			numbers = append(numbers, c.(map[string]any)["conf"].(string))
		}
		return numbers
	}
	one := g.token(func(c *token.Claims) { c.Conference = "1001" })
	uid := g.token(func(c *token.Claims) { c.Conference = "uid-1001"; c.Role = token.Guest; c.Subject = "7" })
	blind := g.token(func(c *token.Claims) { c.Limits = []conference.Right{conference.RightMute} })
	for token, want := range map[string][]string{
		g.token(nil): {"1000", "1001"}, g.guest("2003"): {"1000"}, g.guest("2002"): {"1000", "1001"}, g.guest("9"): nil,
		one: {"1001"}, uid: {"1001"}, blind: nil,
	} {
		if got := list(token); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if a := g.want(200, nil, "GET", "conferences/1000", g.guest("2003"), ""); a.body["uid"] != "uid-1000" {
		t.Error(a.text)
	}
	g.want(200, nil, "GET", "conferences/uid-1000", g.guest("2003"), "")
	g.want(404, "no_conference", "GET", "conferences/1001", g.guest("2003"), "")
	g.want(404, "no_conference", "GET", "conferences/7777", g.token(nil), "")
	g.want(404, "no_conference", "GET", "conferences/..%2f..", g.token(nil), "")
	g.want(403, "wrong_conference", "GET", "conferences/1000", one, "")
	g.want(403, "wrong_conference", "GET", "conferences/7777", one, "")
	g.want(403, "forbidden", "GET", "conferences/1000", blind, "")
	g.want(404, "not_found", "GET", "nothing", g.token(nil), "")
	if a := g.want(405, "method", "DELETE", "conferences", g.token(nil), ""); a.head.Get("Allow") != "GET" {
		t.Error(a.head)
	}
}

// Everybody can ask what he may do, and gets only that.
func TestCan(t *testing.T) {
	g := newRig(t, nil)
	can := func(token string) []string {
		a := g.want(200, nil, "GET", "conferences/1001/can", token, "")
		var list []string
		for _, d := range a.body["can"].([]any) {
			list = append(list, d.(string))
		}
		return list
	}
	host, guest := can(g.token(nil)), can(g.guest("2002"))
	if !slices.Contains(host, "kick") || slices.Contains(guest, "kick") || !slices.Contains(guest, "ask_floor") || slices.Contains(host, "add") {
		t.Errorf("host %v\nguest %v", host, guest)
	}
	if got := can(g.token(func(c *token.Claims) { c.Limits = []conference.Right{conference.RightSee, conference.RightFloor} })); slices.Contains(got, "kick") || !slices.Contains(got, "ask_floor") {
		t.Errorf("a token that narrows what its holder may: %v", got)
	}
}

// C-10 to C-16 over HTTP, with the same meaning as at the other doors.
func TestCommands(t *testing.T) {
	g := newRig(t, nil)
	host, guest := g.token(nil), g.guest("2002")
	member := func(id string) conference.Member { m, _ := g.house.all[0].Member(id); return m }
	const path = "conferences/1000/commands"
	a := g.want(200, nil, "POST", path, host, `{"do":"mute","member":"m2"}`)
	m2 := member("m2")
	if !m2.Mute.Has(conference.Host) || a.body["status"] != "done" || a.body["durable"] != true || a.body["seq"] != float64(g.house.all[0].Seq()) {
		t.Error(a.text)
	}
	g.want(200, nil, "POST", path, host, `{"do":"unmute","member":"m2"}`)
	g.want(200, nil, "POST", path, host, `{"do":"deafen","member":"m2","uid":"uid-1000"}`)
	g.want(200, nil, "POST", path, host, `{"do":"mute","member":"m2","reason":"listener"}`)
	if m := member("m2"); !m.Mute.Has(conference.Listener) || m.Mute.Has(conference.Host) || !m.Deaf.Has(conference.Host) {
		t.Errorf("%+v", m)
	}
	g.want(200, nil, "POST", path, guest, `{"do":"mute"}`)
	if m := member("m2"); !m.Mute.Has(conference.Self) {
		t.Errorf("oneself: %+v", m)
	}
	g.want(200, nil, "POST", path, host, `{"do":"invite","number":"2009","name":"Nine","muted":true}`)
	if s := g.house.all[0].Snapshot(); s.Members[3].Number != "2009" || !s.Members[3].Mute.Has(conference.Host) {
		t.Errorf("%+v", s.Members)
	}
	g.want(200, nil, "POST", path, host, `{"do":"close_house"}`)
	g.want(200, nil, "POST", path, host, `{"do":"lock"}`)

	g.want(403, "forbidden", "POST", path, guest, `{"do":"kick","member":"m3"}`)
	g.want(403, "forbidden", "POST", path, guest, `{"do":"unmute","member":"m2","reason":"listener"}`)
	g.want(404, "no_conference", "POST", path, g.guest("9"), `{"do":"mute"}`)
	g.want(404, "no_member", "POST", path, host, `{"do":"kick","member":"m77"}`)
	g.want(409, "wrong_uid", "POST", path, host, `{"do":"mute","member":"m2","uid":"uid-0999"}`)
	g.want(409, "no_queue", "POST", path, guest, `{"do":"ask_floor"}`)
	g.want(409, "not_recording", "POST", path, host, `{"do":"note","text":"budget"}`)
	g.want(413, "too_large", "POST", path, host, strings.Repeat(" ", 20<<10))
	narrow := g.token(func(c *token.Claims) { c.Limits = []conference.Right{conference.RightSee, conference.RightMute} })
	g.want(403, "forbidden", "POST", "conferences/1001/commands", narrow, `{"do":"kick","member":"m2"}`) // although 2001 is host there
	g.want(200, nil, "POST", "conferences/1001/commands", narrow, `{"do":"mute","member":"m2"}`)
	g.want(403, "wrong_conference", "POST", path, g.token(func(c *token.Claims) { c.Conference = "1001" }), `{"do":"mute","member":"m2"}`)

	g.house.durable = false
	if a := g.want(200, nil, "POST", path, host, `{"do":"kick","member":"m3","why":"late"}`); a.body["durable"] != false {
		t.Errorf("what a power cut would undo is told so: %s", a.text)
	}
}

// What makes no sense is refused by name, before the house hears of it.
func TestCommandsRefused(t *testing.T) {
	g := newRig(t, nil)
	long := strings.Repeat("x", 300)
	for body, want := range map[string][2]any{
		``:                                      {"invalid_json", nil},
		`[]`:                                    {"invalid_json", nil},
		`{"do":"mute","do":"kick"}`:             {"invalid_json", "do"},
		`{}`:                                    {"invalid_value", "do"},
		`{"do":"add"}`:                          {"invalid_value", "do"},
		`{"do":"state","member":"m1"}`:          {"invalid_value", "do"},
		`{"do":"pass"}`:                         {"invalid_value", "do"},
		`{"do":7}`:                              {"invalid_value", "do"},
		`{"do":"kick"}`:                         {"invalid_value", "member"},
		`{"do":"kick","member":""}`:             {"invalid_value", "member"},
		`{"do":"kick","member":7}`:              {"invalid_value", "member"},
		`{"do":"kick","member":"m\u0000"}`:      {"invalid_value", "member"},
		`{"do":"kick","member":"m1","to":"m2"}`: {"unknown_field", `"to"`},
		`{"do":"mute","x\r\ny":1}`:              {"unknown_field", `"x\r\ny"`},
		`{"do":"mute","Member":"m1"}`:           {"unknown_field", `"Member"`},
		`{"do":"mute","member":"m1","reason":"hold"}`:            {"invalid_value", "reason"},
		`{"do":"mute","member":"` + long + `"}`:                  {"invalid_value", "member"},
		`{"do":"prolong"}`:                                       {"invalid_value", "until"},
		`{"do":"prolong","until":"tomorrow"}`:                    {"invalid_value", "until"},
		`{"do":"reorder","member":"m1","position":-1}`:           {"invalid_value", "position"},
		`{"do":"reorder","member":"m1","position":1.5}`:          {"invalid_value", "position"},
		`{"do":"reorder","member":"m1","position":"1"}`:          {"invalid_value", "position"},
		`{"do":"open_room","members":[]}`:                        {"invalid_value", "members"},
		`{"do":"open_room","members":"m1"}`:                      {"invalid_value", "members"},
		`{"do":"open_room","members":["m1","m1"]}`:               {"invalid_value", "members[1]"},
		`{"do":"open_room","members":["m1",7]}`:                  {"invalid_value", "members[1]"},
		`{"do":"open_room","members":["m1"],"unrecorded":1}`:     {"invalid_value", "unrecorded"},
		`{"do":"open_room","members":["m1"],"room":"a\u202eb"}`:  {"invalid_value", "room"},
		`{"do":"note","text":"` + strings.Repeat("x", 65) + `"}`: {"invalid_value", "text"},
		`{"do":"note","text":"a\nb"}`:                            {"invalid_value", "text"},
		`{"do":"invite","number":"20 09"}`:                       {"invalid_value", "number"},
		`{"do":"invite","number":"2009\r\n"}`:                    {"invalid_value", "number"},
		`{"do":"mute","id":"a b"}`:                               {"invalid_value", "id"},
	} {
		a := g.ask("POST", "conferences/1000/commands", g.token(nil), body)
		if (a.status != 422 && a.status != 400) || a.body["code"] != want[0] || a.body["field"] != want[1] {
			t.Errorf("%s: %d %s, want %v", body, a.status, a.text, want)
		}
	}
	if g.house.done != 0 {
		t.Errorf("%d of them reached the house", g.house.done)
	}
}

// The same id twice has one effect and the same answer, also when the second comes while the first is on its way.
func TestOnce(t *testing.T) {
	g := newRig(t, nil)
	host := g.token(nil)
	const path = "conferences/1000/commands"
	g.house.stuck = make(chan struct{})
	answers := make([]answer, 5)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = g.ask("POST", path, host, `{"do":"invite","number":"2009","id":"i-1"}`) })
	}
	close(g.house.stuck)
	all.Wait()
	for _, a := range answers {
		if a.status != 200 || a.text != answers[0].text {
			t.Errorf("%d %s, and %s", a.status, a.text, answers[0].text)
		}
	}
	if g.house.done != 1 {
		t.Errorf("carried out %d times", g.house.done)
	}
	g.want(409, "id_reused", "POST", path, host, `{"do":"invite","number":"2010","id":"i-1"}`)
	g.want(200, nil, "POST", path, g.admin(), `{"do":"invite","number":"2009","id":"i-1"}`)
	g.want(200, nil, "POST", path, g.token(func(c *token.Claims) { c.Subject = "2002" }), `{"do":"lock","id":"i-1"}`) // another's id is another
	// What was refused is refused again, without asking.
	for range 2 {
		g.want(404, "no_member", "POST", path, host, `{"do":"kick","member":"m77","id":"i-2"}`)
	}
	if g.house.done != 3 {
		t.Errorf("carried out %d times", g.house.done)
	}
}

func TestRate(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	g := newRig(t, func(a *web.API) {
		a.Rate = 1
		a.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	host, other := g.token(nil), g.token(nil)
	for range 10 {
		g.want(200, nil, "GET", "conferences", host, "")
	}
	if a := g.want(429, "busy", "GET", "conferences", host, ""); a.head.Get("Retry-After") != "1" {
		t.Error(a.head)
	}
	g.want(429, "22", "POST", "conferAndMembersAddJson", host, "")
	g.want(200, nil, "GET", "conferences", other, "")
	mu.Lock()
	now = now.Add(2 * time.Second)
	mu.Unlock()
	g.want(200, nil, "GET", "conferences", host, "")

	// Who guesses tokens is slowed down, and all from his address with him.
	status := 0
	for i := 0; i < 60 && status != 429; i++ {
		status = g.ask("GET", "conferences", "guess", "").status
	}
	if status != 429 {
		t.Error("somebody may guess without end")
	}
}

func TestMessages(t *testing.T) {
	at := time.Unix(1_900_000_000, 0).UTC()
	var l log
	for i := range 300 {
		l = append(l, store.Entry{Seq: uint64(i + 1), ID: fmt.Sprint(i), From: "2002", At: at, Kind: 0xf1, Body: []byte(`{"co":"hi <script>"}`), Verified: i%2 == 0})
	}
	l[299].Body = []byte("not json\x00")
	g := newRig(t, func(a *web.API) { a.Messages = l })
	const path = "conferences/1000/messages"
	a := g.want(200, nil, "GET", path+"?after=10&limit=2", g.guest("2003"), "")
	list := a.body["messages"].([]any)
	want := map[string]any{"seq": 11.0, "id": "10", "from": "2002", "at": at.Format(time.RFC3339), "type": 241.0, "body": map[string]any{"co": "hi <script>"}, "verified": true}
	if len(list) != 2 || !reflect.DeepEqual(list[0], want) || a.body["after"] != 12.0 || strings.Contains(a.text, "<script>") {
		t.Error(a.text)
	}
	if a := g.want(200, nil, "GET", path+"?limit=9999", g.token(nil), ""); len(a.body["messages"].([]any)) != 200 {
		t.Error("an answer has no bound")
	}
	if a := g.want(200, nil, "GET", path+"?after=299", g.token(nil), ""); a.body["messages"].([]any)[0].(map[string]any)["raw"] != "bm90IGpzb24A" {
		t.Error(a.text)
	}
	if a := g.want(200, nil, "GET", path+"?after=300", g.token(nil), ""); len(a.body["messages"].([]any)) != 0 || a.body["after"] != 300.0 {
		t.Error(a.text)
	}
	g.want(422, "invalid_value", "GET", path+"?after=x", g.token(nil), "")
	g.want(403, "forbidden", "GET", path, g.token(func(c *token.Claims) { c.Limits = []conference.Right{conference.RightSee} }), "")
	g.want(404, "no_conference", "GET", path, g.guest("9"), "")
}

// The pages stay as they are beside the API, and the API has its own bounds.
func TestBesidePages(t *testing.T) {
	g := newRig(t, nil)
	if code, _, body := ask(t, g.client, "GET", g.base+"/healthz"); code != 200 || !strings.Contains(body, `"ok":true`) {
		t.Errorf("%d %s", code, body)
	}
	if code, _, _ := ask(t, g.client, "POST", g.base+"/healthz"); code != 405 {
		t.Error(code)
	}
	a := g.want(200, nil, "GET", "conferences", g.token(nil), "")
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Content-Type": "application/json"} {
		if a.head.Get(name) != want {
			t.Errorf("%s: %q", name, a.head.Get(name))
		}
	}
	if !strings.Contains(a.head.Get("Content-Security-Policy"), "sandbox") || strings.Contains(a.text, "<b>") {
		t.Errorf("%v %s", a.head, a.text)
	}
}

// Every error that a conference can answer with has a name of its own and no 500.
func TestEveryErrorHasAName(t *testing.T) {
	g := newRig(t, nil)
	for err, want := range map[error]struct {
		status int
		code   string
	}{
		conference.ErrDenied: {403, "forbidden"}, conference.ErrFull: {409, "full"}, conference.ErrLocked: {409, "locked"}, conference.ErrBarred: {409, "barred"},
		conference.ErrNotYet: {409, "not_yet"}, conference.ErrOver: {409, "over"}, conference.ErrAbsent: {409, "absent"}, conference.ErrNoRoom: {404, "no_room"},
		conference.ErrNoPlace: {409, "no_place"}, conference.ErrTaken: {409, "conflict"}, conference.ErrInvalid: {422, "invalid_value"},
		conference.ErrNotYours: {403, "forbidden"}, conference.ErrLocalOnly: {409, "local_only"}, web.ErrUnavailable: {503, "unavailable"},
		&create.FieldError{Field: "f", Code: create.NoneFree}: {409, "none_free"}, store.ErrQuota: {507, "quota"},
	} {
		g.house.failure = fmt.Errorf("about \r\n it: %w", err)
		if a := g.want(want.status, want.code, "GET", "conferences", g.token(nil), ""); strings.Contains(a.body["message"].(string), "\n") {
			t.Error(a.text)
		}
	}
}

func FuzzCommand(f *testing.F) {
	f.Add([]byte(`{"do":"mute","member":"m2","reason":"host","id":"1","uid":"u"}`))
	f.Add([]byte(`{"do":"open_room","members":["m1","m2"],"room":"r","unrecorded":true}`))
	f.Add([]byte(`{"do":"reorder","member":"m1","position":3}`))
	f.Add([]byte(`{"do":"prolong","until":"2030-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"do":"invite","number":"2009","name":"x","muted":true,"deaf":true}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := web.DecodeCommand(b)
		if err != nil {
			var wrong *create.FieldError
			if !errors.As(err, &wrong) || !create.Printable(wrong.Error(), 512) {
				t.Fatalf("%q", err)
			}
			return
		}
		for _, s := range append(c.IDs, c.ID, c.To, c.Room, c.Text, c.Why, c.Member.Number, c.Member.Name) {
			if !create.Printable(s, 256) {
				t.Fatalf("%q", s)
			}
		}
		if c.By != (conference.Actor{}) || c.May != nil || c.State != "" || len(c.IDs) > 256 || c.Position < 0 || c.Member.ID != "" || c.Member.Role == conference.Chair {
			t.Fatalf("%+v", c)
		}
	})
}

// What a client would send is what the decoder takes: each command with all its fields.
func TestEveryCommand(t *testing.T) {
	values := map[string]any{"member": "m1", "members": []string{"m1", "m2"}, "to": "m2", "room": "r", "position": 1, "until": "2030-01-01T00:00:00Z",
		"unrecorded": true, "text": "t", "reason": "host", "number": "2009", "name": "n", "muted": true, "deaf": true, "why": "w"}
	for do, fields := range web.Commands() {
		body := map[string]any{"do": do, "id": "1", "uid": "u"}
		for _, f := range fields {
			body[f] = values[f]
		}
		b, _ := json.Marshal(body)
		c, err := web.DecodeCommand(b)
		if err != nil || c.Do != do {
			t.Errorf("%s: %v", b, err)
		}
		for _, f := range fields {
			if values[f] == nil {
				t.Errorf("%s takes %s, of which no test knows", do, f)
			}
		}
	}
	// Everything that the vocabulary has can be asked, but what only the box reports.
	source, err := os.ReadFile("../conference/command.go")
	if err != nil {
		t.Fatal(err)
	}
	var missing []string
	for _, m := range regexp.MustCompile(`(?m)^\t\w+ +Do = "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		if _, ok := conference.TakesOf(conference.Do(m[1])); !ok {
			missing = append(missing, m[1])
		}
	}
	if want := []string{"add", "state", "remove", "talk", "rest", "pass", "admit", "roam"}; !slices.Equal(missing, want) {
		t.Errorf("cannot be asked: %v, want %v", missing, want)
	}
}

// The right that the table names for a command is the one that conferences ask for.
func TestRightsAgree(t *testing.T) {
	c := (&house{}).open(conference.Rules{Number: "1", UID: "u", Kind: conference.Standing, Speakers: 1}, "2001")
	if _, err := c.Apply(time.Now(), conference.Command{Do: conference.Record, By: conference.Actor{Role: conference.ByHost}}); err != nil {
		t.Fatal(err)
	}
	// They make no sense in a standing conference, or are for oneself alone.
	aside := []conference.Do{conference.End, conference.Prolong, conference.AskRoom, conference.Accept, conference.Decline, conference.CallHost}
	for do := range web.Commands() {
		for _, right := range conference.Chair.Rights() {
			can := slices.Contains(c.Can(conference.Actor{Role: conference.ByMember}, []conference.Right{right}), do)
			if want := right == web.RightFor(do); can != want && !slices.Contains(aside, do) {
				t.Errorf("%s with the right %s: the conference says %v, the table %v", do, right, can, want)
			}
		}
	}
}
