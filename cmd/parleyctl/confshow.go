package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"parley/mqtt/wire"
)

// roster finds members by what people call them. It asks the box once.
type roster struct {
	desk  *desk
	conf  string
	state *wire.Snapshot
}

// id is the member's who has that id, number or name.
func (r *roster) id(ctx context.Context, who string) (string, error) {
	if r.state == nil {
		var s wire.Snapshot
		quiet := *r.desk
		quiet.raw = false
		if err := quiet.ask(ctx, "GET", "conferences/"+url.PathEscape(r.conf), nil, &s); err != nil {
			return "", err
		}
		r.state = &s
	}
	for _, fits := range []func(*wire.Member) bool{
		func(m *wire.Member) bool { return m.ID == who },
		func(m *wire.Member) bool { return m.Number == who },
		func(m *wire.Member) bool { return m.Place && who == "place" },
		func(m *wire.Member) bool { return strings.EqualFold(m.Name, who) },
	} {
		found := ""
		for i := range r.state.Members {
			if m := &r.state.Members[i]; fits(m) {
				if found != "" {
					return "", fmt.Errorf("several are called %s: take the id", who)
				}
				found = m.ID
			}
		}
		if found != "" {
			return found, nil
		}
	}
	return "", fmt.Errorf("nobody in %s is called %s", r.conf, who)
}

func (d *desk) list(ctx context.Context, words []string) error {
	if len(words) > 0 {
		return wrong("list takes nothing")
	}
	var answer struct{ Conferences []wire.Listed }
	if err := d.ask(ctx, "GET", "conferences", nil, &answer); err != nil || d.raw {
		return err
	}
	fmt.Fprintf(d.out, "%-6s %-11s %-9s %3s  %-10s %s\n", "CONF", "KIND", "PHASE", "IN", "HOST", "THEME")
	for _, c := range answer.Conferences {
		theme := harmless(c.Theme)
		if !c.Start.IsZero() && c.Phase != "open" {
			theme += c.Start.Local().Format(" (from 2006-01-02 15:04)")
		}
		fmt.Fprintf(d.out, "%-6s %-11s %-9s %3d  %-10s %s\n", c.Conf, c.Kind, c.Phase, c.Members, harmless(cmp.Or(c.Creator, "-")), theme)
	}
	return nil
}

// look prints what a conference is like, what may be asked there, or what was written.
func (d *desk) look(ctx context.Context, word string, words []string) error {
	if len(words) == 0 || len(words) > 1 && word != "messages" || len(words) > 2 {
		return wrong("usage: parleyctl conf %s CONF", word)
	}
	path := "conferences/" + url.PathEscape(words[0])
	switch word {
	case "can":
		var answer struct{ Can []string }
		if err := d.ask(ctx, "GET", path+"/can", nil, &answer); err != nil || d.raw {
			return err
		}
		for i := range orders {
			if slices.Contains(answer.Can, orders[i].do) && (orders[i].with == "" || slices.Contains(answer.Can, orders[i].with)) {
				fmt.Fprintf(d.out, "  %-33s %s\n", orders[i].usage(), orders[i].help)
			}
		}
		return nil
	case "messages":
		return d.messages(ctx, path+"/messages", words[1:])
	}
	var s wire.Snapshot
	if err := d.ask(ctx, "GET", path, nil, &s); err != nil || d.raw {
		return err
	}
	d.show(&s)
	return nil
}

// show prints a conference.
func (d *desk) show(s *wire.Snapshot) {
	fmt.Fprintf(d.out, "%s %s, %s", s.Conf, cmp.Or(harmless(s.Theme), "without a theme"), s.Phase)
	for _, w := range holds(s) {
		fmt.Fprint(d.out, ", ", w)
	}
	fmt.Fprintf(d.out, "\n%-8s %-12s %-16s %-5s %-12s %s\n", "ID", "NUMBER", "NAME", "ROLE", "STATE", "")
	for i := range s.Members {
		m := &s.Members[i]
		number := m.Number
		if m.Place {
			number = cmp.Or(number, "place")
		}
		fmt.Fprintf(d.out, "%-8s %-12s %-16s %-5s %-12s %s\n", harmless(m.ID), harmless(number), harmless(m.Name), m.Role, m.State, remarks(s, m))
	}
	if s.Omitted > 0 {
		fmt.Fprintf(d.out, "and %d more\n", s.Omitted)
	}
}

// holds says what holds for all in a conference.
func holds(s *wire.Snapshot) (list []string) {
	for _, h := range []struct {
		on   bool
		text string
	}{
		{s.Speakers > 0, "speakers at once: " + strconv.Itoa(s.Speakers)}, {s.HouseClosed, "microphones closed"}, {s.Locked, "locked"},
		{s.Recording != nil && !s.Recording.Paused, "recording"}, {s.Recording != nil && s.Recording.Paused, "recording paused"},
		{s.Mode == "messages", "messages only"}, {s.MessagesClosed, "messages closed"},
		{!s.End.IsZero(), "until " + s.End.Local().Format("2006-01-02 15:04")},
	} {
		if h.on {
			list = append(list, h.text)
		}
	}
	return list
}

// muteWords say why somebody is not heard.
var muteWords = map[string]string{"hardware": "muted by key", "self": "muted himself", "host": "muted by the host", "listener": "listens only",
	"hold": "on hold", "system": "muted since the start"}

// remarks says what is special about a member.
func remarks(s *wire.Snapshot, m *wire.Member) string {
	var list []string
	for _, r := range m.Mute {
		list = append(list, cmp.Or(muteWords[r.Reason], "muted: "+r.Reason))
	}
	if len(m.Deaf) > 0 {
		list = append(list, "hears nothing")
	}
	if m.Floor == "granted" {
		list = append(list, "has the floor")
	}
	if i := slices.Index(s.Queue, m.ID); i >= 0 {
		list = append(list, fmt.Sprintf("waits for the floor, place %d", i+1))
	}
	if m.Room != "" {
		list = append(list, "in room "+harmless(m.Room))
	}
	if m.Talks {
		list = append(list, "talks")
	}
	if m.Why != "" {
		list = append(list, harmless(m.Why))
	}
	return strings.Join(list, ", ")
}

func (d *desk) messages(ctx context.Context, path string, words []string) error {
	if len(words) == 1 {
		path += "?after=" + url.QueryEscape(words[0])
	}
	var answer struct {
		Messages []struct {
			Seq      uint64
			From     string
			At       time.Time
			Body     json.RawMessage
			Verified bool
		}
	}
	if err := d.ask(ctx, "GET", path, nil, &answer); err != nil || d.raw {
		return err
	}
	for _, m := range answer.Messages {
		sure := "?"
		if m.Verified {
			sure = " "
		}
		fmt.Fprintf(d.out, "%5d %s %s%s %s\n", m.Seq, m.At.Local().Format("15:04:05"), sure, harmless(m.From), harmless(string(m.Body)))
	}
	return nil
}

// newConf is a conference to be made.
type newConf struct {
	creator, number, theme, memo, host, guest, start, end string
	most, speakers                                        int
	muted, deaf                                           bool
}

func (c *newConf) add(flags *flag.FlagSet) {
	flags.StringVar(&c.creator, "creator", "", "create: the host's `number` (default: -as, if that is one)")
	flags.StringVar(&c.number, "number", "", "create: the conference's `number`, 1000 to 9999 (default: one that is free)")
	flags.StringVar(&c.theme, "theme", "", "create: what it is about")
	flags.StringVar(&c.memo, "memo", "", "create: a note of at most 25 characters")
	flags.StringVar(&c.host, "host-password", "", "create: 6 to 16 `digits` that let a host in by telephone (default: some, which are printed)")
	flags.StringVar(&c.guest, "guest-password", "", "create: the same for guests")
	flags.StringVar(&c.start, "start", "", "create: `time`, 2030-08-06 15:29 in the box's time zone; without it the conference begins at once")
	flags.StringVar(&c.end, "end", "", "create: `time` of its end")
	flags.IntVar(&c.most, "max", 0, "create: most participants, 3 to 30")
	flags.IntVar(&c.speakers, "speakers", 0, "create: most who speak at once, 1 to 12; without it everybody may")
	flags.BoolVar(&c.muted, "muted", false, "create: those who are called come in muted")
	flags.BoolVar(&c.deaf, "silent", false, "create: those who are called hear nothing at first")
}

// create makes a conference with whom it calls.
func (d *desk) create(ctx context.Context, c *newConf, invited []string) error {
	if c.creator == "" && d.as != "operator" {
		c.creator = d.as
	}
	if c.creator == "" {
		return wrong("say who its host is: -creator NUMBER")
	}
	host, guest := cmp.Or(c.host, someDigits()), cmp.Or(c.guest, someDigits())
	conf := map[string]any{"confName": cmp.Or(c.number, "0"), "type": "immediate", "theme": c.theme, "creator": c.creator,
		"moderatorPassword": host, "userPassword": guest, "eid": d.eid.of(d.data)}
	if c.start != "" {
		conf["type"], conf["startTime"] = "appointment", c.start
	}
	for key, v := range map[string]string{"endTime": c.end, "memo": c.memo} {
		if v != "" {
			conf[key] = v
		}
	}
	for key, v := range map[string]int{"maxNum": c.most, "maxSpeaker": c.speakers} {
		if v != 0 {
			conf[key] = v
		}
	}
	members := []map[string]any{}
	for _, number := range invited {
		members = append(members, map[string]any{"userNum": number, "isMute": bit(c.muted), "isSlient": bit(c.deaf)})
	}
	var made struct{ ConfName, UID string }
	if err := d.ask(ctx, "POST", "conferAndMembersAddJson", map[string]any{"conferList": conf, "membersList": members}, &made); err != nil || d.raw {
		return err
	}
	fmt.Fprintf(d.out, "conference %s (uid %s)\n", made.ConfName, made.UID)
	fmt.Fprintf(d.out, "by telephone: %s, then %s as a host or %s as a guest, and #\n", made.ConfName, host, guest)
	return nil
}

// someDigits is a password that nobody guesses soon.
func someDigits() string {
	n, err := rand.Int(rand.Reader, big.NewInt(90000000))
	if err != nil {
		panic(err) // there is no randomness: nothing can be kept secret
	}
	return strconv.Itoa(10000000 + int(n.Int64()))
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
