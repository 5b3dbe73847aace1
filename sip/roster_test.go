package sip

import (
	"encoding/xml"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// view is a subscriber's table, kept as RFC 4575, 4.6 says.
type view struct {
	version uint32
	subject string
	count   int
	users   map[string]string // entity -> what the element holds
}

type infoXML struct {
	XMLName xml.Name `xml:"urn:ietf:params:xml:ns:conference-info conference-info"`
	Entity  string   `xml:"entity,attr"`
	State   string   `xml:"state,attr"`
	Version uint32   `xml:"version,attr"`
	Desc    *struct {
		Subject string `xml:"subject"`
	} `xml:"conference-description"`
	Conf *struct {
		Count int `xml:"user-count"`
	} `xml:"conference-state"`
	Users *struct {
		State string `xml:"state,attr"`
		User  []struct {
			Entity string `xml:"entity,attr"`
			State  string `xml:"state,attr"`
			Inner  string `xml:",innerxml"`
			Name   string `xml:"display-text"`
		} `xml:"user"`
	} `xml:"users"`
}

// take applies a document; false is a gap.
func (v *view) take(t *testing.T, doc string) bool {
	t.Helper()
	var x infoXML
	if err := xml.Unmarshal([]byte(doc), &x); err != nil {
		t.Fatalf("%v: %s", err, doc)
	}
	if x.State == "full" {
		*v = view{users: map[string]string{}}
	} else if x.Version != v.version+1 {
		return false
	}
	v.version = x.Version
	if x.Desc != nil {
		v.subject = x.Desc.Subject
	}
	if x.Conf != nil {
		v.count = x.Conf.Count
	}
	if x.Users != nil {
		if x.Users.State != x.State {
			t.Errorf("users are %q in a document that is %q", x.Users.State, x.State)
		}
		for _, u := range x.Users.User {
			if u.State == "deleted" {
				delete(v.users, u.Entity)
			} else {
				v.users[u.Entity] = u.Inner
			}
		}
	}
	return true
}

func user(n int, status string) ConferenceUser {
	return ConferenceUser{ID: fmt.Sprint(n), Entity: fmt.Sprintf("sip:20%d@box", n), Name: fmt.Sprint("user ", n), Status: status, Sends: true, Hears: true}
}

// Item 11: what a subscriber has after any sequence of partial documents is what a full one would have told it; and a partial
// document holds only what is different.
func TestPartialRoster(t *testing.T) {
	seed := maphash.MakeSeed()
	var one told
	var v view
	states := []ConferenceState{
		{Subject: "a"},
		{Subject: "a", Users: []ConferenceUser{user(1, "alerting")}},
		{Subject: "a", Users: []ConferenceUser{user(1, "connected"), user(2, "dialing-out")}},
		{Subject: "b", Users: []ConferenceUser{user(1, "connected"), user(2, "connected"), user(3, "pending")}},
		{Subject: "b", Users: []ConferenceUser{user(1, "connected"), user(2, "disconnected")}},
		{Subject: "b", Users: []ConferenceUser{user(2, "connected"), {ID: "9", Entity: "sip:202@box", Status: "connected"}}},
		{Subject: "b"},
	}
	for i, s := range states {
		s.Entity = "sip:1000@box"
		doc := one.document(seed, &s, false)
		if !v.take(t, string(doc)) {
			t.Fatalf("a gap at %d: %s", i, doc)
		}
		var fresh told
		var want view
		want.take(t, string(fresh.document(seed, &s, false)))
		want.version = v.version
		if fmt.Sprint(v) != fmt.Sprint(want) {
			t.Errorf("%d: has %v, want %v", i, v, want)
		}
		if again := one.document(seed, &s, false); again != nil {
			t.Errorf("%d: told twice: %s", i, again)
		}
		if i == 3 && (strings.Contains(string(doc), "sip:201@") || !strings.Contains(string(doc), "sip:203@")) {
			t.Errorf("not only what is different: %s", doc)
		}
		if i == 5 && (strings.Count(string(doc), "<endpoint") != 2 || !strings.Contains(string(doc), `<user entity="sip:201@box" state="deleted"/>`)) {
			t.Errorf("%s", doc)
		}
	}
	full := one.document(seed, &states[0], true)
	if !strings.Contains(string(full), `state="full" version="8"`) {
		t.Errorf("%s", full)
	}
}

// What a terminal does is told in the words of RFC 4575.
func TestRosterMedia(t *testing.T) {
	for want, u := range map[string]ConferenceUser{
		"sendrecv": {Status: "connected", Sends: true, Hears: true}, "recvonly": {Status: "connected", Hears: true},
		"sendonly": {Status: "on-hold", Sends: true}, "inactive": {Status: "connected"}, "": {Status: "alerting", Sends: true, Hears: true},
	} {
		if got := u.media(); got != want {
			t.Errorf("%+v: %q", u, got)
		}
	}
	s := ConferenceState{Users: []ConferenceUser{{ID: "1", Entity: "sip:1@x", Role: "host", Status: "connected", Outgoing: true, Hears: true,
		Joined: time.Unix(0, 0)}, {ID: "2", Entity: "sip:2@x", Status: "disconnected", Why: "486 Busy Here"}}}
	var v told
	doc := string(v.document(maphash.MakeSeed(), &s, true))
	for _, want := range []string{"<roles><entry>host</entry></roles>", "<joining-method>dialed-out</joining-method>", "<when>1970-01-01T00:00:00Z</when>",
		`<media id="1"><type>audio</type><status>recvonly</status></media>`, "<disconnection-info><reason>486 Busy Here</reason>"} {
		if !strings.Contains(doc, want) {
			t.Errorf("no %s in %s", want, doc)
		}
	}
}

// Whatever a caller names himself, the document is well-formed and holds no element that is not ours.
func FuzzRoster(f *testing.F) {
	f.Add("a", "b", "c")
	f.Add("<script>alert(1)</script>", "\"/><user entity='x", "a\r\nb\x00\u202e\ufffe]]>&amp;")
	f.Add(strings.Repeat("名", 5000), "sip:\xff@x", "")
	ours := " conference-info conference-description subject conference-state user-count active locked users user display-text roles entry " +
		"endpoint status joining-method media type disconnection-info reason "
	f.Fuzz(func(t *testing.T, subject, entity, name string) {
		s := ConferenceState{Entity: entity, Subject: subject, Users: []ConferenceUser{
			{ID: name, Entity: entity, Name: name, Role: subject, Status: "connected"}, {ID: "2", Entity: name, Name: entity, Status: "disconnected", Why: name}}}
		var v told
		doc := string(v.document(maphash.MakeSeed(), &s, false))
		if len(doc) > 64<<10 || strings.ContainsRune(doc, '\u202e') {
			t.Fatalf("%d bytes: %q", len(doc), doc)
		}
		dec := xml.NewDecoder(strings.NewReader(doc))
		for {
			tok, err := dec.Token()
			if err == io.EOF {
				return
			}
			if err != nil {
				t.Fatalf("%v: %q", err, doc)
			}
			if e, ok := tok.(xml.StartElement); ok && !strings.Contains(ours, " "+e.Name.Local+" ") {
				t.Fatalf("element %s in %q", e.Name.Local, doc)
			}
		}
	})
}

// A member subscribes within his call: the NOTIFYs are in its dialog, and end with it.
func TestSubscribeWithinCall(t *testing.T) {
	var members atomic.Int32
	e := newEnd(t, func(c *Config) {
		c.Timers.Stop, c.Timers.Second = 100*time.Millisecond, 20*time.Millisecond
		c.ConferenceInfo = func(n string) (*ConferenceState, bool) {
			s := &ConferenceState{Entity: "sip:1000@box"}
			for i := range members.Load() {
				s.Users = append(s.Users, user(int(i), "connected"))
			}
			return s, n == "1000"
		}
	})
	w := newWire(t, e)
	w.setUp(e)
	w.send(w.request("SUBSCRIBE", 2, "", "Event: conference"))
	w.wantCode(403, "SUBSCRIBE") // it is in no conference
	w.send(w.request("BYE", 3, ""))
	w.wantCode(200, "BYE")

	e.decide(func(c *Call) { c.SetFocus(true); c.Answer() })
	w = newWire(t, e)
	members.Store(1)
	w.setUp(e)
	w.send(w.request("SUBSCRIBE", 2, "", "Event: conference", "Expires: 600"))
	if p := w.wantCode(200, "SUBSCRIBE"); p.header("Expires") != "600" || !strings.Contains(p.header("Contact"), "isfocus") {
		t.Errorf("%s", p.text)
	}
	n := w.wantRequest("NOTIFY")
	if tagOf(n.header("From")) != w.tag || tagOf(n.header("To")) != "wire" || n.header("Call-ID") != w.id || !strings.Contains(n.header("Contact"), "isfocus") ||
		!strings.Contains(n.body(), `state="full"`) || !strings.Contains(n.body(), "sip:200@box") {
		t.Errorf("%s", n.text)
	}
	w.answer(n, 200, "", "")
	members.Store(2)
	e.agent.NotifyConference("1000")
	n = w.wantRequest("NOTIFY")
	if !strings.Contains(n.body(), `state="partial"`) || strings.Contains(n.body(), "sip:200@box") || !strings.Contains(n.body(), "sip:201@box") {
		t.Errorf("%s", n.text)
	}
	w.answer(n, 200, "", "")
	w.send(w.request("SUBSCRIBE", 3, "", "Event: conference;id=2"))
	w.wantCode(403, "SUBSCRIBE") // one is enough
	w.send(w.request("SUBSCRIBE", 4, "", "Event: conference"))
	w.wantCode(200, "SUBSCRIBE")
	n = w.wantRequest("NOTIFY")
	if !strings.Contains(n.body(), `state="full"`) {
		t.Errorf("%s", n.text)
	}
	w.answer(n, 200, "", "")
	w.send(w.request("BYE", 5, ""))
	w.wantCode(200, "BYE")
	until(t, "forgotten", func() bool { return e.subscribers() == 0 })
}
