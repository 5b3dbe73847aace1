package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A meeting is run from a terminal through the box's HTTP API: `parleyctl conf WORD CONFERENCE …`. What the words do and take stands in
// one table; whom they are about is named by number, name or id, and found in the roster.

// argument is one word after the conference's number.
type argument struct {
	key  string // in the command, as the API has it
	show string // in the help
	kind byte   // 'm' a member, 'l' members until the end, 't' the rest as text, 'n' a whole number, 'd' a time, 0 a word
	may  bool   // can be left out
}

// order is one thing that can be asked of a conference.
type order struct {
	words string // what is typed
	do    string // what the API calls it
	args  []argument
	fixed map[string]any // sent with it
	with  string         // is asked by whoever may do that, too; may be empty
	help  string
}

var (
	whom   = argument{key: "member", show: "WHO", kind: 'm'}
	who    = argument{key: "member", show: "WHO", kind: 'm', may: true}
	why    = argument{key: "why", show: "WHY", kind: 't', may: true}
	whose  = argument{key: "to", show: "TO", kind: 'm'}
	people = argument{key: "members", show: "WHO …", kind: 'l'}
)

// orders stand in the order in which help shows them. A longer one comes before one that it begins with.
var orders = []order{
	{words: "invite", do: "invite", args: []argument{{key: "number", show: "NUMBER"}, {key: "name", show: "NAME", kind: 't', may: true}}, help: "calls somebody in"},
	{words: "mute", do: "mute", args: []argument{who}, help: "nobody hears WHO; without WHO, oneself"},
	{words: "unmute", do: "unmute", args: []argument{who}, help: "takes that back, or asks WHO to"},
	{words: "listener", do: "mute", args: []argument{whom}, fixed: map[string]any{"reason": "listener"}, with: "deafen", help: "WHO is in to listen only"},
	{words: "speaker", do: "unmute", args: []argument{whom}, fixed: map[string]any{"reason": "listener"}, with: "deafen", help: "and may speak again"},
	{words: "silence", do: "deafen", args: []argument{whom}, help: "WHO hears nothing"},
	{words: "hear", do: "hear", args: []argument{whom}, help: "and hears again"},
	{words: "close", do: "close_house", help: "only hosts are heard, whoever else is in or comes"},
	{words: "open", do: "open_house", help: "and everybody is again who is not muted"},
	{words: "kick", do: "kick", args: []argument{whom, why}, help: "puts WHO out, until invited again"},
	{words: "lock", do: "lock", help: "nobody comes in who is not invited"},
	{words: "unlock", do: "unlock", help: "takes that back"},
	{words: "transfer", do: "transfer", args: []argument{{key: "number", show: "NUMBER"}, who}, help: "calls NUMBER, where WHO goes on"},
	{words: "hand-over", do: "hand_over", args: []argument{whom}, help: "makes WHO the host"},
	{words: "prolong", do: "prolong", args: []argument{{key: "until", show: "TIME", kind: 'd'}}, help: "ends later: 16:30, 2030-08-06T16:30, or +15m from now"},
	{words: "end", do: "end", args: []argument{why}, help: "hangs everybody up"},

	{words: "floor ask", do: "ask_floor", args: []argument{who}, help: "WHO wants to speak: stands in the queue, or speaks at once"},
	{words: "floor yield", do: "yield_floor", args: []argument{who}, help: "WHO has spoken, or does not want to any more"},
	{words: "floor grant", do: "grant", args: []argument{whom, {key: "to", show: "INSTEAD", kind: 'm', may: true}}, help: "WHO speaks now, INSTEAD of a speaker where all places are taken"},
	{words: "floor refuse", do: "refuse", args: []argument{whom, why}, help: "takes WHO out of the queue"},
	{words: "floor take", do: "take_floor", args: []argument{whom, why}, help: "WHO speaks no more"},
	{words: "floor pass", do: "pass_floor", args: []argument{whom, whose}, help: "WHO's place goes to TO"},
	{words: "floor pin", do: "pin", args: []argument{whom}, help: "WHO is the next one"},
	{words: "floor move", do: "reorder", args: []argument{whom, {key: "position", show: "PLACE", kind: 'n'}}, help: "WHO goes to that place in the queue, from 0"},
	{words: "floor next", do: "next_speaker", help: "the next one speaks, in place of who has had it for the longest"},

	{words: "room open", do: "open_room", args: []argument{people}, help: "takes them into a private room"},
	{words: "room ask", do: "ask_room", args: []argument{people}, help: "asks them into a private room with oneself"},
	{words: "room accept", do: "accept", args: []argument{whom}, help: "goes where WHO has asked one to"},
	{words: "room decline", do: "decline", args: []argument{whom}, help: "and this stays where one is"},
	{words: "room call-host", do: "call_host", help: "asks the host into the private room that one is in"},
	{words: "room move", do: "move_to", args: []argument{whom, {key: "room", show: "ROOM", may: true}}, help: "WHO goes into that room; without ROOM, back"},
	{words: "room back", do: "return", args: []argument{who}, help: "WHO comes back to all"},
	{words: "room empty", do: "return", with: "open_room", args: []argument{{key: "room", show: "ROOM"}}, help: "all in that room come back"},

	{words: "record start", do: "record", help: "records, or goes on after a pause"},
	{words: "record pause", do: "pause_record", help: "records silence, so that time stays true"},
	{words: "record stop", do: "stop_record", help: "ends the recording, which can be fetched then"},
	{words: "note", do: "note", args: []argument{{key: "text", show: "TEXT", kind: 't'}}, help: "a keyword at this moment of the recording"},

	{words: "messages only", do: "to_messages", help: "nobody is heard; messages go on"},
	{words: "messages voice", do: "to_voice", help: "and by voice again"},
	{words: "messages close", do: "close_messages", help: "no more messages"},
	{words: "messages open", do: "open_messages", help: "takes that back"},
}

// usage is how an order is typed.
func (o *order) usage() string {
	line := strings.Fields(o.words)
	line = slices.Insert(line, 1, "CONF")
	for _, a := range o.args {
		if a.may {
			line = append(line, "["+a.show+"]")
		} else {
			line = append(line, a.show)
		}
	}
	return strings.Join(line, " ")
}

const confHead = `parleyctl conf: run a meeting at the box beside which this runs

  list                              the conferences that there are
  show CONF                         one of them: who is in, who waits, what holds
  can CONF                          what may be asked there
  create -creator NUMBER [flags] [NUMBER …]
                                    makes one and calls its host, then the others; create -h lists the flags
  messages CONF [AFTER]             what was written

`

const confTail = `
CONF is a conference's number or uid. WHO is a member's number, name, or id as show lists them. Flags come anywhere:

  -as NUMBER   who asks (default: the operator, an admin)    -role ROLE   guest, host or admin
  -http URL    the box's HTTP (default http://127.0.0.1:8080)  -data FOLDER the box's data, which holds the key that signs
  -token FILE  a token to ask with, instead of signing one    -json        answers as they come
`

func confHelp() string {
	var b strings.Builder
	b.WriteString(confHead)
	for i := range orders {
		fmt.Fprintf(&b, "  %-33s %s\n", orders[i].usage(), orders[i].help)
	}
	b.WriteString(confTail)
	return b.String()
}

// desk is where a meeting is run from.
type desk struct {
	http, data, as, role, tokenFile string
	eid                             enterprise
	raw                             bool
	token                           string
	client                          http.Client
	out                             io.Writer
}

func (d *desk) flags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.StringVar(&d.http, "http", "http://127.0.0.1:8080", "`URL` of the box's HTTP")
	flags.StringVar(&d.data, "data", "data", "the box's data `folder`, which holds the key that signs tokens")
	d.eid.add(flags)
	flags.StringVar(&d.as, "as", "operator", "who asks: a `number`")
	flags.StringVar(&d.role, "role", "", "`guest`, host or admin (default: host for a number, admin for the operator)")
	flags.StringVar(&d.tokenFile, "token", "", "`file` with a token to ask with, instead of signing one")
	flags.BoolVar(&d.raw, "json", false, "print answers as they come")
	return flags
}

// cmdConf runs a meeting.
func cmdConf(ctx context.Context, args []string) error {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "--help", "-help"}, args[0]) {
		fmt.Print(confHelp())
		return nil
	}
	d := &desk{out: os.Stdout, client: http.Client{Timeout: 15 * time.Second}}
	create := newConf{}
	flags := d.flags("conf")
	create.add(flags)
	words, err := arguments(flags, args, "conf WORD CONF … [flags]; parleyctl conf help lists the words", 1, 300)
	if err != nil {
		return err
	}
	if d.token, err = d.sign(); err != nil {
		return err
	}
	more := words[1:]
	switch words[0] {
	case "list":
		return d.list(ctx, more)
	case "create":
		return d.create(ctx, &create, more)
	case "show", "can", "messages":
		if o, _ := find(words); o == nil {
			return d.look(ctx, words[0], more)
		}
	}
	o, more := find(words)
	if o == nil {
		return wrong("conf has no word %q; parleyctl conf help lists them", strings.Join(words[:1], " "))
	}
	return d.do(ctx, o, more)
}

// find gives the order that is typed, and what comes after its words. The conference may stand behind the first of two words or
// behind both.
func find(words []string) (*order, []string) {
	for i := range orders {
		parts := strings.Fields(orders[i].words)
		switch {
		case words[0] != parts[0]:
		case len(parts) == 1:
			return &orders[i], words[1:]
		case len(words) > 1 && words[1] == parts[1]:
			return &orders[i], words[2:]
		case len(words) > 2 && words[2] == parts[1]:
			return &orders[i], slices.Concat(words[1:2], words[3:])
		}
	}
	return nil, nil
}

// sign gives the token to ask with.
func (d *desk) sign() (string, error) {
	if d.tokenFile != "" {
		return readSecret(d.tokenFile)
	}
	role := d.role
	if role == "" {
		role = "host"
		if d.as == "operator" {
			role = "admin"
		}
	}
	return newToken([]string{"-role", role, "-number", d.as, "-data", d.data, "-eid", d.eid.of(d.data), "-ttl", "1m"}, time.Now())
}

// do asks for an order.
func (d *desk) do(ctx context.Context, o *order, words []string) error {
	if len(words) == 0 {
		return wrong("usage: parleyctl conf %s", o.usage())
	}
	conf, words := words[0], words[1:]
	body := map[string]any{"do": o.do}
	for k, v := range o.fixed {
		body[k] = v
	}
	roster := &roster{desk: d, conf: conf}
	for _, a := range o.args {
		if len(words) == 0 && !a.may {
			return wrong("%s is missing: parleyctl conf %s", a.show, o.usage())
		}
		if len(words) == 0 {
			continue
		}
		value, used, err := a.read(ctx, words, roster)
		if err != nil {
			return err
		}
		body[a.key], words = value, words[used:]
	}
	if len(words) > 0 {
		return wrong("%q is too much: parleyctl conf %s", words[0], o.usage())
	}
	var done struct {
		Seq     uint64
		Durable bool
	}
	if err := d.ask(ctx, "POST", "conferences/"+url.PathEscape(conf)+"/commands", body, &done); err != nil || d.raw {
		return err
	}
	fmt.Fprintf(d.out, "done: %s", o.do)
	if !done.Durable {
		fmt.Fprint(d.out, ", and a power cut now would undo it")
	}
	fmt.Fprintln(d.out)
	return nil
}

// read takes an argument from the words, and tells how many of them it was.
func (a *argument) read(ctx context.Context, words []string, r *roster) (value any, used int, err error) {
	switch a.kind {
	case 'm':
		value, err = r.id(ctx, words[0])
	case 'l':
		ids := []string{}
		for _, w := range words {
			id, err := r.id(ctx, w)
			if err != nil {
				return nil, 0, err
			}
			ids = append(ids, id)
		}
		return ids, len(words), nil
	case 't':
		return strings.Join(words, " "), len(words), nil
	case 'n':
		if value, err = strconv.Atoi(words[0]); err != nil {
			err = wrong("%s is a whole number", a.show)
		}
	case 'd':
		value, err = moment(words[0], time.Now())
	default:
		value = words[0]
	}
	return value, 1, err
}

// moment reads a time of day, a date and time, or how long from now.
func moment(s string, now time.Time) (string, error) {
	if rest, ok := strings.CutPrefix(s, "+"); ok {
		if d, err := time.ParseDuration(rest); err == nil && d > 0 {
			return now.Add(d).UTC().Format(time.RFC3339), nil
		}
	}
	if t, err := time.ParseInLocation("15:04", s, now.Location()); err == nil {
		t = time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, now.Location())
		if !t.After(now) {
			t = t.AddDate(0, 0, 1)
		}
		return t.UTC().Format(time.RFC3339), nil
	}
	for _, form := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(form, s, now.Location()); err == nil {
			return t.UTC().Format(time.RFC3339), nil
		}
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC().Format(time.RFC3339), nil
	}
	return "", wrong("%q is no time: want 16:30, 2030-08-06T16:30, or +15m from now", s)
}

// ask asks the API, and reads the answer into result. What the box refuses is told as it says it.
func (d *desk) ask(ctx context.Context, method, path string, body, result any) error {
	var send io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(d.http, "/")+"/api/v1/"+path, send)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+d.token)
	resp, err := d.client.Do(req)
	if err != nil {
		return fmt.Errorf("no box answers at %s: %w (choose one with -http)", d.http, errors.Unwrap(err))
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		var refused struct{ Code, Message string }
		if json.Unmarshal(text, &refused) != nil || refused.Message == "" {
			return fmt.Errorf("the box answers %s", resp.Status)
		}
		return fmt.Errorf("refused: %s (%s)", harmless(refused.Message), harmless(refused.Code))
	}
	if d.raw {
		fmt.Fprintln(d.out, strings.TrimSpace(harmlessLines(string(text))))
	}
	return json.Unmarshal(text, result)
}

// harmlessLines is harmless, and leaves lines alone.
func harmlessLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = harmless(lines[i])
	}
	return strings.Join(lines, "\n")
}
