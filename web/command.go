package web

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"parley/conference"
	"parley/conference/create"
	"parley/web/token"
)

// Narrowed tells whether there is no such command, or the token's own list of rights has none for it, whatever else its holder may do.
func Narrowed(who *token.Claims, do conference.Do) bool {
	t, ok := conference.TakesOf(do)
	return !ok || who.Limits != nil && !who.Has(t.Right) && !who.Has(t.Own)
}

const (
	maxCommand = 16 << 10 // bytes
	maxListed  = 256      // members in one command
)

// order is a command as it came.
type order struct {
	id, uid string // to tell it from a repetition, and the conference for which it is meant; either may be empty
	cmd     conference.Command
}

// decodeCommand reads {"do": …} with its arguments. The error is a *create.FieldError.
func decodeCommand(body []byte) (order, error) {
	values, err := create.Object(body, maxCommand)
	if err != nil {
		return order{}, err
	}
	a := args{values: values}
	o := order{id: a.text("id", 64), uid: a.text("uid", 64)}
	o.cmd.Do = conference.Do(a.text("do", 32))
	t, ok := conference.TakesOf(o.cmd.Do)
	if !ok {
		a.fail("do", create.Invalid, "there is no such command")
		return o, a.err
	}
	if !plain(o.id) {
		a.fail("id", create.Invalid, "want 1 to 64 of a-z, A-Z, 0-9 and -._")
	}
	a.only(&t)
	a.fill(&o.cmd)
	return o, a.err
}

// args are the fields of a command. It keeps the first fault.
type args struct {
	values map[string]any
	err    error
}

func (a *args) fail(key string, code create.Code, want string) {
	if a.err == nil {
		a.err = &create.FieldError{Field: key, Code: code, Want: want}
	}
}

// only checks that what must be there is, and nothing that must not.
func (a *args) only(t *conference.Takes) {
	for _, key := range t.Must {
		if v := a.values[key]; v == nil || v == "" {
			a.fail(key, create.Missing, "is required")
		}
	}
	all := slices.Concat([]string{"id", "uid", "do"}, t.Must, t.May)
	keys := make([]string, 0, len(a.values))
	for key := range a.values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if !slices.Contains(all, key) {
			a.fail(harmless(fmt.Sprintf("%.40q", key)), create.Unknown, "this command has no such field")
		}
	}
}

func (a *args) fill(c *conference.Command) {
	c.ID, c.To, c.Room = a.text("member", 64), a.text("to", 64), a.text("room", 64)
	c.Text, c.Why = a.text("text", 64), a.text("why", 256)
	c.IDs, c.Position, c.Until = a.members(), a.position(), a.until()
	c.Unrecorded = a.flag("unrecorded")
	c.Reason = a.reason(c.Do, c.ID)
	if c.Do == conference.Invite || c.Do == conference.Transfer {
		c.Member = a.invitee()
	}
}

// text reads a text of at most longest characters, all of them printable.
func (a *args) text(key string, longest int) string {
	switch v := a.values[key].(type) {
	case nil:
		return ""
	case string:
		if create.Printable(v, longest) {
			return v
		}
	}
	a.fail(key, create.Invalid, fmt.Sprintf("want a text of at most %d characters, without control characters and marks of direction", longest))
	return ""
}

func (a *args) flag(key string) bool {
	switch v := a.values[key].(type) {
	case nil:
		return false
	case bool:
		return v
	}
	a.fail(key, create.Invalid, "want true or false")
	return false
}

func (a *args) members() []string {
	v := a.values["members"]
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 || len(list) > maxListed {
		a.fail("members", create.Invalid, fmt.Sprintf("want a list of 1 to %d ids", maxListed))
		return nil
	}
	ids := make([]string, 0, len(list))
	for i, x := range list {
		id, _ := x.(string)
		switch at := "members[" + strconv.Itoa(i) + "]"; {
		case id == "" || !create.Printable(id, 64):
			a.fail(at, create.Invalid, "want a member's id")
		case slices.Contains(ids, id):
			a.fail(at, create.Duplicate, "is there twice")
		}
		ids = append(ids, id)
	}
	return ids
}

func (a *args) position() int {
	v := a.values["position"]
	if v == nil {
		return 0
	}
	number, _ := v.(json.Number)
	n, err := strconv.Atoi(string(number))
	if err != nil || n < 0 || n >= maxListed {
		a.fail("position", create.OutOfRange, fmt.Sprintf("want 0 to %d", maxListed-1))
	}
	return n
}

func (a *args) until() time.Time {
	s := a.text("until", 40)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		a.fail("until", create.Invalid, "want a time such as 2026-11-21T10:30:00Z")
	}
	return t
}

// reason gives the one that is meant where none is named: the host's for another member, one's own for oneself.
func (a *args) reason(do conference.Do, member string) conference.Reason {
	r := conference.Reason(a.text("reason", 32))
	words := conference.Wished(do)
	switch {
	case words == nil:
		return ""
	case r == "":
		return conference.Meant(do, member)
	case !slices.Contains(words, r):
		a.fail("reason", create.Invalid, fmt.Sprintf("want one of %v", words))
	}
	return r
}

func (a *args) invitee() conference.Member {
	m := conference.Member{Number: a.text("number", 128), Name: a.text("name", 128), Role: conference.Guest}
	if strings.Trim(m.Number, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+*#:;=@.[]_-") != "" {
		a.fail("number", create.Invalid, "want digits, letters and +*#:;=@.[]_-")
	}
	if a.flag("muted") {
		m.Mute = conference.Reasons{{Reason: conference.Host}}
	}
	if a.flag("deaf") {
		m.Deaf = conference.Reasons{{Reason: conference.Host}}
	}
	return m
}

// plain tells whether s is fit for an id: at most 64 of a-z, A-Z, 0-9 and -._
func plain(s string) bool {
	return len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("-._", r)
	}) < 0
}
