// Conference information documents (RFC 4575): a roster as XML, whole for a new subscriber, and then what is different.

package sip

import (
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// maxRoster bounds the users in a document. The count tells all.
const maxRoster = 256

// ConferenceState is a conference as its subscribers see it. The agent makes the documents, so that each is told what it does not
// know yet.
type ConferenceState struct {
	Entity  string // the conference's URI
	Subject string
	Max     int // 0: not told
	Locked  bool
	Private bool             // only who is in a call with it may subscribe
	Users   []ConferenceUser // in roster order
}

// ConferenceUser is one member's terminal. Several with the same Entity are one user with as many endpoints.
type ConferenceUser struct {
	ID       string // of the terminal, unique in the conference
	Entity   string // the user's URI
	Name     string
	Role     string    // "host", "guest", …; empty: not told
	Status   string    // RFC 4575, 5.7.4: "pending", "dialing-out", "alerting", "connected", "on-hold", "disconnected"
	Outgoing bool      // was called, and did not call
	Joined   time.Time // zero: not told
	Why      string    // Status disconnected: why
	Sends    bool      // is not muted
	Hears    bool
}

// present reports whether the user counts as taking part.
func (u *ConferenceUser) present() bool { return u.Status == "connected" || u.Status == "on-hold" }

// media is RFC 4575, 5.8.5, as the user sees it.
func (u *ConferenceUser) media() string {
	switch {
	case !u.present():
		return ""
	case u.Sends && u.Hears:
		return "sendrecv"
	case u.Sends:
		return "sendonly"
	case u.Hears:
		return "recvonly"
	}
	return "inactive"
}

// told is what one subscriber knows, by hash.
type told struct {
	version uint32 // of the last document; 0: none was sent
	head    uint64
	state   uint64
	users   map[string]uint64 // by entity
}

// document is what the subscriber does not know yet, everything if full. With nothing to tell it is nil. What it holds counts as told.
func (t *told) document(seed maphash.Seed, s *ConferenceState, full bool) []byte {
	full = full || t.version == 0
	head, state, users := s.description(), s.state(), s.users()
	now := told{version: t.version + 1, head: maphash.String(seed, head), state: maphash.String(seed, state), users: make(map[string]uint64, len(users))}
	var b strings.Builder
	if full || now.head != t.head {
		b.WriteString(head)
	}
	if full || now.state != t.state {
		b.WriteString(state)
	}
	var list strings.Builder
	for _, u := range users {
		h := maphash.String(seed, u.text)
		if old, known := t.users[u.entity]; full || !known || old != h {
			list.WriteString(u.text)
		}
		now.users[u.entity] = h
	}
	kind := "full"
	if !full {
		kind = "partial"
		for entity := range t.users {
			if _, there := now.users[entity]; !there {
				fmt.Fprintf(&list, `<user entity="%s" state="deleted"/>`, escape(entity))
			}
		}
	}
	if full || list.Len() > 0 {
		b.WriteString(`<users state="` + kind + `">` + list.String() + "</users>")
	}
	if b.Len() == 0 {
		return nil
	}
	*t = now
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+
		`<conference-info xmlns="urn:ietf:params:xml:ns:conference-info" entity="%s" state="%s" version="%d">%s</conference-info>`+"\n",
		escape(s.Entity), kind, now.version, b.String())
}

func (s *ConferenceState) description() string {
	var b strings.Builder
	b.WriteString("<conference-description>")
	element(&b, "subject", s.Subject)
	if s.Max > 0 {
		element(&b, "maximum-user-count", strconv.Itoa(s.Max))
	}
	b.WriteString("</conference-description>")
	return b.String()
}

func (s *ConferenceState) state() string {
	n := 0
	for i := range s.Users {
		if s.Users[i].present() {
			n++
		}
	}
	return fmt.Sprintf("<conference-state><user-count>%d</user-count><active>%t</active><locked>%t</locked></conference-state>", n, n > 0, s.Locked)
}

// userText is one user's element.
type userText struct{ entity, text string }

func (s *ConferenceState) users() []userText {
	var order []string
	ends := make(map[string][]*ConferenceUser)
	for i := range s.Users[:min(len(s.Users), maxRoster)] {
		u := &s.Users[i]
		if ends[u.Entity] == nil {
			order = append(order, u.Entity)
		}
		ends[u.Entity] = append(ends[u.Entity], u)
	}
	list := make([]userText, 0, len(order))
	for _, entity := range order {
		var b strings.Builder
		first := ends[entity][0]
		fmt.Fprintf(&b, `<user entity="%s" state="full">`, escape(entity))
		element(&b, "display-text", first.Name)
		if first.Role != "" {
			b.WriteString("<roles>")
			element(&b, "entry", first.Role)
			b.WriteString("</roles>")
		}
		for _, u := range ends[entity] {
			u.endpoint(&b)
		}
		b.WriteString("</user>")
		list = append(list, userText{entity, b.String()})
	}
	return list
}

// endpoint writes one terminal, its elements in the order of the schema (RFC 4575, 8).
func (u *ConferenceUser) endpoint(b *strings.Builder) {
	fmt.Fprintf(b, `<endpoint entity="%s">`, escape(u.Entity+";id="+u.ID))
	element(b, "status", u.Status)
	method := "dialed-in"
	if u.Outgoing {
		method = "dialed-out"
	}
	if u.present() {
		element(b, "joining-method", method)
		if !u.Joined.IsZero() {
			b.WriteString("<joining-info>")
			element(b, "when", u.Joined.UTC().Format(time.RFC3339))
			b.WriteString("</joining-info>")
		}
	}
	if u.Status == "disconnected" && u.Why != "" {
		b.WriteString("<disconnection-info>")
		element(b, "reason", u.Why)
		b.WriteString("</disconnection-info>")
	}
	if m := u.media(); m != "" {
		b.WriteString(`<media id="1"><type>audio</type>`)
		element(b, "status", m)
		b.WriteString("</media>")
	}
	b.WriteString("</endpoint>")
}

// element writes text as an element, none if it is empty.
func element(b *strings.Builder, name, text string) {
	if text = escape(text); text != "" {
		b.WriteString("<" + name + ">" + text + "</" + name + ">")
	}
}

// escape makes foreign text the content of an element or attribute: at most maxURI bytes of it. What XML cannot hold is dropped;
// marks that nobody sees, such as those that turn the direction of writing round, are written as numbers.
func escape(s string) string {
	var b strings.Builder
	for _, r := range clean(s, maxURI) {
		switch {
		case strings.ContainsRune(`<>&"'`, r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029':
			fmt.Fprintf(&b, "&#%d;", r)
		case r == 0xFFFE || r == 0xFFFF:
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
