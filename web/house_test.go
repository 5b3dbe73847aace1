package web_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// house is a web.House over real conferences, without calls, sound and disk.
type house struct {
	mu      sync.Mutex
	all     []*conference.Conference
	done    int // commands carried out
	stuck   chan struct{}
	durable bool
	failure error
	made    map[string]web.Created
}

func (h *house) open(r conference.Rules, numbers ...string) *conference.Conference {
	c := conference.New(r)
	for i, n := range numbers {
		id := fmt.Sprintf("m%d", i+1)
		role := conference.Guest
		if n == r.Creator {
			role = conference.Chair
		}
		_, err := c.Apply(time.Now(), conference.Command{Do: conference.Add, Member: conference.Member{ID: id, Number: n, State: conference.Connected, Role: role},
			By: conference.Actor{Role: conference.BySystem}})
		if err != nil {
			panic(err)
		}
	}
	h.all = append(h.all, c)
	return c
}

func (h *house) Look(_ context.Context, who token.Claims, conf string) ([]web.View, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failure != nil {
		return nil, h.failure
	}
	var views []web.View
	for _, c := range h.all {
		if conf == "" || conf == c.Number() || conf == c.UID() {
			s := c.Snapshot()
			state, _ := json.Marshal(map[string]any{"conf": s.Number, "uid": s.UID, "seq": s.Seq})
			views = append(views, web.View{Snapshot: s, State: state, Can: c.Can(h.actor(c, conference.Actor{Role: conference.ByMember, Name: who.Subject}), who.Rights())})
		}
	}
	return views, nil
}

func (h *house) actor(c *conference.Conference, by conference.Actor) conference.Actor {
	for _, m := range c.Snapshot().Members {
		if m.Number == by.Name {
			by.Member = m.ID
		}
	}
	return by
}

func (h *house) Do(ctx context.Context, _ token.Claims, uid string, cmd conference.Command) (web.Outcome, error) {
	if h.stuck != nil {
		select {
		case <-h.stuck:
		case <-ctx.Done():
			return web.Outcome{}, ctx.Err()
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.all {
		if c.UID() == uid {
			h.done++
			cmd.By = h.actor(c, cmd.By)
			if cmd.Do == conference.Invite {
				cmd.Member.ID = fmt.Sprintf("i%d", h.done)
			}
			_, err := c.Apply(time.Now(), cmd)
			return web.Outcome{Seq: c.Seq(), Durable: h.durable}, err
		}
	}
	return web.Outcome{}, web.ErrNoConference
}

func (h *house) Create(_ context.Context, who token.Claims, r create.Request) (web.Created, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failure != nil {
		return web.Created{}, h.failure
	}
	if c, ok := h.made[who.Subject+r.ID]; ok && r.ID != "" {
		return c, nil
	}
	rules := r.Rules()
	for _, c := range h.all {
		if c.Number() == rules.Number {
			return web.Created{}, &create.FieldError{Field: "conferList.confName", Code: create.Taken, Want: "a number that is free"}
		}
	}
	if rules.Number == "" {
		rules.Number = fmt.Sprint(create.FirstNumber + 498 + len(h.all))
	}
	rules.UID = "uid-" + rules.Number
	h.all = append(h.all, conference.New(rules))
	c := web.Created{ConfName: rules.Number, UID: rules.UID}
	h.made[who.Subject+r.ID] = c
	return c, nil
}

// tapes is a web.Recordings in memory.
type tapes struct {
	list    []web.Recording
	content string
	broken  error
}

func (t *tapes) List() ([]web.Recording, error) { return t.list, t.broken }

func (t *tapes) Open(id string) (io.ReadSeeker, web.Recording, error) {
	for _, r := range t.list {
		if r.ID == id {
			return strings.NewReader(t.content), r, t.broken
		}
	}
	return nil, web.Recording{}, web.ErrNotFound
}

func (t *tapes) Delete(id string) error {
	for i, r := range t.list {
		if r.ID == id && r.Running {
			return fmt.Errorf("it runs: %w", web.ErrConflict)
		} else if r.ID == id {
			t.list = append(t.list[:i:i], t.list[i+1:]...)
			return nil
		}
	}
	return web.ErrNotFound
}

// log is a web.Messages in memory.
type log []store.Entry

func (l log) Since(uid string, after uint64, limit int) (list []store.Entry, err error) {
	if uid != "uid-1000" {
		return nil, nil
	}
	for _, e := range l {
		if e.Seq > after && len(list) < limit {
			list = append(list, e)
		}
	}
	return list, nil
}

// rig is a server with everything that the API can have.
type rig struct {
	t      *testing.T
	house  *house
	tapes  *tapes
	files  *store.Files
	base   string
	client *http.Client
	key    ed25519.PrivateKey
	revoke token.Revocations
}

// newRig has a standing conference 1000 and a queued one of 2001's, 1001.
func newRig(t *testing.T, change func(*web.API)) *rig {
	t.Helper()
	g := &rig{t: t, house: &house{durable: true, made: map[string]web.Created{}}, tapes: &tapes{}}
	g.house.open(conference.Rules{Number: "1000", UID: "uid-1000", Kind: conference.Standing, Theme: "<b>hall</b>"}, "2001", "2002", "2003")
	g.house.open(conference.Rules{Number: "1001", UID: "uid-1001", Kind: conference.Standing, Creator: "2001", Speakers: 1}, "2001", "2002")
	g.key = ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", ed25519.SeedSize)))
	v := token.NewVerifier(token.Config{Keys: []token.Key{{Public: g.key.Public().(ed25519.PublicKey), Issuer: token.LocalIssuer}},
		Audience: []string{"local"}, Revoked: &g.revoke})
	var err error
	if g.files, err = store.OpenFiles(store.FilesConfig{Dir: t.TempDir() + "/files"}); err != nil {
		t.Fatal(err)
	}
	c := web.API{Tokens: v, House: g.house, Recordings: g.tapes, Files: g.files, Rate: 1000, Zone: time.UTC,
		Index: func(id string) (any, error) { return []string{"line of " + id}, nil }}
	if change != nil {
		change(&c)
	}
	g.base, g.client = start(t, web.Config{API: &c})
	return g
}

// token signs one; change is for what is not a host's, 2001's, for any conference.
func (g *rig) token(change func(*token.Claims)) string {
	g.t.Helper()
	now := time.Now().Truncate(time.Second)
	c := token.Claims{Issuer: token.LocalIssuer, Audience: []string{"local"}, Subject: "2001", Role: token.Host, IssuedAt: now, Expires: now.Add(time.Hour)}
	if change != nil {
		change(&c)
	}
	s, err := token.Sign(c, g.key)
	if err != nil {
		g.t.Fatal(err)
	}
	return s
}

func (g *rig) guest(number string) string {
	return g.token(func(c *token.Claims) { c.Role, c.Subject = token.Guest, number })
}

func (g *rig) admin() string { return g.token(func(c *token.Claims) { c.Role = token.Admin }) }

// answer is what came back; JSON in body if it was JSON.
type answer struct {
	status int
	head   http.Header
	text   string
	body   map[string]any
}

func (g *rig) ask(method, path, token, body string, head ...string) answer {
	g.t.Helper()
	r, err := http.NewRequest(method, g.base+"/api/v1/"+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	res, err := g.client.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		g.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, head: res.Header, text: string(text)}
	if res.Header.Get("Content-Type") == "application/json" && method != "HEAD" {
		if err := json.Unmarshal(text, &a.body); err != nil {
			g.t.Errorf("%s %s: %v: %q", method, path, err, text)
		}
	}
	return a
}

// want asks, and looks at status and code.
func (g *rig) want(status int, code any, method, path, token, body string, head ...string) answer {
	g.t.Helper()
	a := g.ask(method, path, token, body, head...)
	if a.status != status || a.body["code"] != code && code != "" {
		g.t.Errorf("%s %s %.80s: %d %s; want %d %v", method, path, body, a.status, a.text, status, code)
	}
	return a
}
