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

// takes is which arguments a command must and may have, and the rights of which a token that narrows its holder's must have one.
type takes struct {
	must, may string
	rights    []conference.Right
}

// commands holds everything that can be asked of a conference: the same as over MQTT, with the same arguments.
var commands = map[conference.Do]takes{
	conference.Mute:   {may: "member reason", rights: []conference.Right{conference.RightMute, conference.RightSee}},
	conference.Unmute: {may: "member reason", rights: []conference.Right{conference.RightMute, conference.RightSee}},
	conference.Deafen: {may: "member reason", rights: []conference.Right{conference.RightMute}},
	conference.Hear:   {may: "member reason", rights: []conference.Right{conference.RightMute}},

	conference.Kick:        {must: "member", may: "why", rights: []conference.Right{conference.RightKick}},
	conference.Invite:      {must: "number", may: "name muted deaf", rights: []conference.Right{conference.RightInvite}},
	conference.CloseHouse:  {rights: []conference.Right{conference.RightHouse}},
	conference.OpenHouse:   {rights: []conference.Right{conference.RightHouse}},
	conference.Lock:        {rights: []conference.Right{conference.RightHouse}},
	conference.Unlock:      {rights: []conference.Right{conference.RightHouse}},
	conference.HandOver:    {must: "member", rights: []conference.Right{conference.RightHand}},
	conference.End:         {may: "why", rights: []conference.Right{conference.RightEnd}},
	conference.Prolong:     {must: "until", rights: []conference.Right{conference.RightEnd}},
	conference.AskFloor:    {may: "member", rights: []conference.Right{conference.RightGrant, conference.RightFloor}},
	conference.YieldFloor:  {may: "member", rights: []conference.Right{conference.RightGrant, conference.RightFloor}},
	conference.Grant:       {must: "member", may: "to", rights: []conference.Right{conference.RightGrant}},
	conference.Refuse:      {must: "member", may: "why", rights: []conference.Right{conference.RightGrant}},
	conference.TakeFloor:   {must: "member", may: "why", rights: []conference.Right{conference.RightGrant}},
	conference.PassFloor:   {must: "to", may: "member", rights: []conference.Right{conference.RightGrant}},
	conference.Pin:         {must: "member", rights: []conference.Right{conference.RightGrant}},
	conference.Reorder:     {must: "member position", rights: []conference.Right{conference.RightGrant}},
	conference.NextSpeaker: {rights: []conference.Right{conference.RightGrant}},

	conference.OpenRoom: {must: "members", may: "room unrecorded", rights: []conference.Right{conference.RightRooms}},
	conference.MoveTo:   {must: "member", may: "room", rights: []conference.Right{conference.RightRooms}},
	conference.Return:   {may: "member room", rights: []conference.Right{conference.RightRooms, conference.RightSee}},
	conference.AskRoom:  {must: "members", may: "room unrecorded", rights: []conference.Right{conference.RightPrivate}},
	conference.Accept:   {must: "member", rights: []conference.Right{conference.RightSee}},
	conference.Decline:  {must: "member", rights: []conference.Right{conference.RightSee}},
	conference.CallHost: {rights: []conference.Right{conference.RightPrivate}},

	conference.Record:      {rights: []conference.Right{conference.RightRecord}},
	conference.PauseRecord: {rights: []conference.Right{conference.RightRecord}},
	conference.StopRecord:  {rights: []conference.Right{conference.RightRecord}},
	conference.Note:        {must: "text", rights: []conference.Right{conference.RightNote}},

	conference.ToMessages:    {rights: []conference.Right{conference.RightMode}},
	conference.ToVoice:       {rights: []conference.Right{conference.RightMode}},
	conference.CloseMessages: {rights: []conference.Right{conference.RightMode}},
	conference.OpenMessages:  {rights: []conference.Right{conference.RightMode}},
}

// narrowed tells whether the token's own list of rights leaves none for that command, whatever else its holder may do.
func narrowed(who *token.Claims, do conference.Do) bool {
	return who.Limits != nil && !slices.ContainsFunc(commands[do].rights, who.Has)
}

// wished are the reasons that a command may name: of the others nobody can dispose, but an unmute of theirs can be asked for.
var wished = map[conference.Do][]conference.Reason{
	conference.Mute:   {conference.Self, conference.Host, conference.Listener},
	conference.Unmute: {conference.Self, conference.Host, conference.Listener, conference.Hardware, conference.System},
	conference.Deafen: {conference.Host},
	conference.Hear:   {conference.Host},
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
	t, known := commands[o.cmd.Do]
	if a.err == nil && !known {
		a.fail("do", create.Invalid, "there is no such command")
	}
	if !plain(o.id) {
		a.fail("id", create.Invalid, "want 1 to 64 of a-z, A-Z, 0-9 and -._")
	}
	a.only(t)
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
func (a *args) only(t takes) {
	must := strings.Fields(t.must)
	for _, key := range must {
		if v := a.values[key]; v == nil || v == "" {
			a.fail(key, create.Missing, "is required")
		}
	}
	all := slices.Concat([]string{"id", "uid", "do"}, must, strings.Fields(t.may))
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
	if c.Do == conference.Invite {
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
	words := wished[do]
	switch {
	case words == nil:
		return ""
	case r == "" && member == "" && slices.Contains(words, conference.Self):
		return conference.Self
	case r == "":
		return conference.Host
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
