package wire

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func protocol(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// payloads makes an empty one of each payload type.
var payloads = map[string]func() checker{
	"BoxState": func() checker { return new(BoxState) }, "BoxInfo": func() checker { return new(BoxInfo) },
	"KeyPress": func() checker { return new(KeyPress) }, "Gate": func() checker { return new(Gate) },
	"Calls": func() checker { return new(Calls) }, "Alert": func() checker { return new(Alert) },
	"Tele": func() checker { return new(Tele) }, "Levels": func() checker { return new(Levels) },
	"Lease": func() checker { return new(Lease) }, "Notice": func() checker { return new(Notice) },
	"Snapshot": func() checker { return new(Snapshot) }, "Envelope": func() checker { return new(Envelope) },
	"Command": func() checker { return new(Command) }, "Answer": func() checker { return new(Answer) },
	"ConfCommand": func() checker { return new(ConfCommand) }, "UserNotice": func() checker { return new(UserNotice) },
	"Bookings": func() checker { return new(Bookings) }, "Desired": func() checker { return new(Desired) },
	"Reported": func() checker { return new(Reported) }, "EnrolRequest": func() checker { return new(EnrolRequest) },
	"EnrolAnswer": func() checker { return new(EnrolAnswer) },
	"FwDesired":   func() checker { return new(FwDesired) }, "FwReported": func() checker { return new(FwReported) },
}

var example = regexp.MustCompile("(?s)```json (\\w+)\n(.*?)\n```")

func examples(t testing.TB) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, m := range example.FindAllStringSubmatch(string(b), -1) {
		found[m[1]] = append(found[m[1]], m[2])
	}
	return found
}

// Every example is what the code reads and writes, and every payload has one.
func TestExamples(t *testing.T) {
	all := examples(t)
	for kind, list := range all {
		if payloads[kind] == nil {
			t.Errorf("%s is no payload", kind)
			continue
		}
		for _, text := range list {
			v := payloads[kind]()
			if err := Decode([]byte(text), v); err != nil {
				t.Errorf("%s: %v\n%s", kind, err, text)
				continue
			}
			b, err := Encode(v)
			if err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			var want, got any
			json.Unmarshal([]byte(text), &want)
			json.Unmarshal(b, &got)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s comes back as\n%s\nnot\n%s", kind, b, text)
			}
		}
	}
	for kind := range payloads {
		if len(all[kind]) == 0 {
			t.Errorf("%s has no example", kind)
		}
	}
}

// The signed example is genuine and holds the command below it.
func TestSignedExample(t *testing.T) {
	all := examples(t)
	m := regexp.MustCompile("public half is `([^`]+)`").FindStringSubmatch(protocol(t))
	if m == nil {
		t.Fatal("no public key")
	}
	pub, err := ParsePublicKey(m[1])
	if err != nil {
		t.Fatal(err)
	}
	box, _ := NewBox("local", "box-0a1b2c")
	d := NewDoor(DoorConfig{Box: box, Keys: NewKeySet(pub), Sess: 41, Now: func() time.Time { return time.Unix(1795255200, 0) }})
	v := d.Receive(box.Cmd(VerbDial), []byte(all["Envelope"][0]), false)
	var want Command
	Decode([]byte(all["Command"][0]), &want)
	if !v.Fresh || v.Command != want {
		t.Errorf("%+v", v)
	}
	if b, _ := Encode(&want); !bytes.Equal(b, []byte(all["Command"][0])) {
		t.Errorf("the command is written as %s", b)
	}
}

// rows gives the cells, without their backquotes, of the table under a heading row that begins so.
func rows(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	_, rest, ok := strings.Cut(protocol(t), "\n| "+heading+" |")
	if !ok {
		t.Fatalf("no table %q", heading)
	}
	for i, line := range strings.Split(rest, "\n") {
		if i < 2 {
			continue
		}
		if !strings.HasPrefix(line, "|") {
			return rows
		}
		var row []string
		for _, cell := range strings.Split(strings.Trim(line, "|"), "|") {
			row = append(row, strings.TrimSpace(strings.ReplaceAll(cell, "`", "")))
		}
		rows = append(rows, row)
	}
	return rows
}

// column gives the first cells of a table.
func column(t *testing.T, heading string) (cells []string) {
	t.Helper()
	for _, row := range rows(t, heading) {
		cells = append(cells, row[0])
	}
	return cells
}

func same(t *testing.T, what string, page, code []string) {
	t.Helper()
	page, code = slices.Sorted(slices.Values(page)), slices.Sorted(slices.Values(code))
	if !slices.Equal(page, code) {
		t.Errorf("%s: the page has\n%v\nthe code has\n%v", what, page, code)
	}
}

func TestTables(t *testing.T) {
	same(t, "reasons", append(column(t, "reason"), column(t, "reason of a member's")...), Reasons())
	var verbs []string
	for _, v := range Verbs() {
		verbs = append(verbs, string(v))
	}
	same(t, "verbs", column(t, "verb"), verbs)
	same(t, "verbs", verbs, mapKeys(verbArgs))
	b := Box{eid: "{eid}", box: "{box}"}
	c, p := Conf{eid: "{eid}", name: "{confName}"}, Prov{client: "{clientid}"}
	u, g := User{eid: "{eid}", uid: "{uid}"}, User{eid: "{eid}", uid: "{gid}"}
	same(t, "topics", column(t, "topic"), []string{b.State(), b.Info(), b.Cmd("{verb}"), b.Res("{verb}"), b.Keys(), b.Mute(),
		b.Call(), b.topic("alert/{id}"), b.Tele(), b.Levels(), b.LevelsLease(), b.Bookings(), b.Support(), c.Notice(), c.State(), c.Cmd(),
		u.Cmd(), u.Notice(), u.IM(), g.IM(), b.Desired(), b.Reported(), b.FwDesired(), b.FwReported(),
		p.CSR(), p.Answer(EnrolAccepted), p.Answer(EnrolPending), p.Answer(EnrolRejected)})
	same(t, "reasons of an update", column(t, "reason of an update"), FwReasons())
	same(t, "reasons of an order", column(t, "reason of an order"), FwRefusals())
	same(t, "reasons of settings", column(t, "reason of settings"), SettingsReasons())
	same(t, "reasons of enrolment", column(t, "reason of enrolment"), EnrolReasons())
}

func mapKeys[K ~string, V any](m map[K]V) (keys []string) {
	for k := range maps.Keys(m) {
		keys = append(keys, string(k))
	}
	return keys
}

// The words that the page lists for each field are those that the code takes.
func TestWords(t *testing.T) {
	page := protocol(t)
	words := append([]string{}, memberStates...)
	for _, w := range stateWords {
		words = append(words, string(w))
	}
	for _, list := range [][]string{eventWords, reasonWords, roleWords, chairWords, floorWords, kindWords[1:], phaseWords, modeWords} {
		words = append(words, list...)
	}
	for _, w := range words {
		if !strings.Contains(page, "`"+w+"`") {
			t.Errorf("the page does not have %q", w)
		}
	}
}
