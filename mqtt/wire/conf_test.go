package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"parley/conference"
	"parley/conference/create"
)

var ten = time.Date(2026, 11, 21, 10, 0, 0, 123456789, time.UTC)

// crowd is a conference with everything that it can have, and n members whose names are as bad as they can be.
func crowd(n int, name string) conference.Snapshot {
	actor := conference.Actor{Role: conference.ByHost, Name: name, Member: "m1"}
	s := conference.Snapshot{
		Rules: conference.Rules{Number: "1203", UID: "box-0a1b2c-41-3", Theme: name, Memo: "memo", Creator: "2001", Kind: conference.Appointment,
			Start: ten, End: ten.Add(time.Hour), Max: n, Speakers: 4},
		Phase: conference.Open, Seq: 9, Queue: []string{"m2", "m3"}, Pinned: "m2", House: true, Locked: true, Mode: conference.ByVoice,
		Kept:      []conference.Kept{{ID: "m0", Number: "2000", Name: name, Until: ten}},
		Rooms:     []conference.Room{{ID: "aside", By: "m3", Unrecorded: true}},
		Barred:    []string{"2666"},
		Recording: conference.Recording{On: true, Paused: true, Since: ten, By: name},
		Messages:  true,
	}
	for i := range n {
		s.Members = append(s.Members, conference.Member{ID: fmt.Sprint("m", i+1), Number: fmt.Sprint(2001 + i), Name: name,
			State: conference.Connected, Since: ten, Role: conference.Guest, Invited: true, Floor: conference.FloorQueue, FloorAt: ten,
			Spoken: 12345 * time.Millisecond, Mute: conference.Reasons{{Reason: conference.Host, By: actor, At: ten}}})
	}
	return s
}

// All that a conference is comes through, and nothing that is nobody's business.
func TestSnapshotIsWhole(t *testing.T) {
	in := crowd(3, "Ada")
	in.Members[1].Room, in.Members[1].Talks, in.Members[1].Asked = "aside", true, "m1"
	in.Members[2].State, in.Members[2].Why, in.Members[2].Role = conference.Disconnected, "busy", conference.Chair
	s := SnapshotOf(in)
	b, err := Encode(&s)
	if err != nil {
		t.Fatal(err)
	}
	var got Snapshot
	if err := Decode(b, &got); err != nil {
		t.Fatal(err)
	}
	mute := []Reason{{"host", "host", "Ada", ten}}
	member := func(id, number string) Member {
		return Member{ID: id, Number: number, Name: "Ada", State: "connected", Since: ten, Role: "guest", Invited: true, Mute: mute,
			Floor: "queued", FloorSince: ten, SpokenS: 12.3}
	}
	want := Snapshot{Conf: "1203", UID: "box-0a1b2c-41-3", Kind: "appointment", Phase: "open", Theme: "Ada", Memo: "memo", Creator: "2001",
		Start: ten, End: ten.Add(time.Hour), Max: 3, Speakers: 4, Seq: 9,
		Members: []Member{member("m1", "2001"), member("m2", "2002"), member("m3", "2003")}, Queue: []string{"m2", "m3"}, Pinned: "m2",
		Kept: []Kept{{"m0", "2000", "Ada", ten}}, Rooms: []Room{{"aside", "m3", true}}, HouseClosed: true, Locked: true,
		Recording: &Tape{true, ten, "Ada"}, Mode: "voice", MessagesClosed: true}
	want.Members[1].Room, want.Members[1].Talks, want.Members[1].Asked = "aside", true, "m1"
	want.Members[2].State, want.Members[2].Why, want.Members[2].Role = "disconnected", "busy", "host"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n%+v\nnot\n%+v", got, want)
	}
	if strings.Contains(string(b), "2666") {
		t.Errorf("who is barred is told: %s", b)
	}
}

// However many there are and whatever they call themselves, a roster is told, with as much as fits.
func TestRosterFits(t *testing.T) {
	for _, tt := range []struct {
		n       int
		name    string
		listed  int // at least
		longest int // bytes of a name, at least
	}{
		{30, strings.Repeat("ä", 200), 30, 128},
		{150, strings.Repeat("n", 128), 150, 32},
		{150, strings.Repeat("<", 128), 150, 0},
		{256, strings.Repeat("n", 128), 190, 16},
		{400, "Ada", 190, 3},
	} {
		s := SnapshotOf(crowd(tt.n, tt.name))
		b, err := Encode(&s)
		if err != nil || len(b) > MaxPayload {
			t.Errorf("%d: %d bytes, %v", tt.n, len(b), err)
			continue
		}
		var got Snapshot
		if err := Decode(b, &got); err != nil {
			t.Errorf("%d: %v", tt.n, err)
		}
		if len(got.Members) < tt.listed || len(got.Members)+got.Omitted != tt.n || len(got.Members[0].Name) < tt.longest {
			t.Errorf("%d: %d listed, %d omitted, names of %d bytes", tt.n, len(got.Members), got.Omitted, len(got.Members[0].Name))
		}
		t.Logf("%d members: %d listed, names of %d bytes, %d bytes", tt.n, len(got.Members), len(got.Members[0].Name), len(b))
	}
}

// Every event travels, about a member or not.
func TestEveryEventTravels(t *testing.T) {
	m := conference.Member{ID: "m2", Number: "2002", State: conference.Pending, Since: ten}
	for _, what := range eventWords {
		for _, e := range []conference.Event{
			{Member: m, Room: "aside", Position: 2, Until: ten, Text: "note\x00", By: conference.Actor{Role: conference.ByHost, Member: "m1"}, Why: "so"},
			{},
			{Member: conference.Member{ID: "nobody"}},
		} {
			e.Seq, e.At, e.Conference, e.UID, e.What = 7, ten, "1000", "c-1", conference.What(what)
			n := NoticeOf(e)
			b, err := Encode(&n)
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			var back Notice
			if err := Decode(b, &back); err != nil || back.Event != what || (back.Member != nil) != (e.Member.ID != "") ||
				back.Room != e.Room || back.Position != e.Position || !back.Until.Equal(e.Until) || back.Why != e.Why {
				t.Errorf("%s, %v", b, err)
			}
			if e.By.Role != "" && (back.By.Member != "m1" || back.Text != "note?") {
				t.Errorf("%s", b)
			}
		}
	}
}

func TestNoticeIsChecked(t *testing.T) {
	good := Notice{Conf: "1000", UID: "c-1", Seq: 1, At: ten, Event: "locked"}
	for path, spoil := range map[string]func(*Notice){
		"event": func(n *Notice) { n.Event = "danced" }, "seq": func(n *Notice) { n.Seq = 0 }, "position": func(n *Notice) { n.Position = -1 },
		"reason": func(n *Notice) { n.Reason = "mood" }, "by.role": func(n *Notice) { n.By = &By{} }, "room": func(n *Notice) { n.Room = "\n" },
		"member.role":  func(n *Notice) { n.Member = &Member{ID: "a", State: "pending", Since: ten, Role: "king"} },
		"member.state": func(n *Notice) { n.Member = &Member{ID: "a", Since: ten} }, "text": func(n *Notice) { n.Text = "\x00" },
	} {
		n := good
		spoil(&n)
		var field *FieldError
		if err := n.Check(); !errors.As(err, &field) || field.Path != path {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}

// Each refusal of a conference has its word.
func TestReasonFor(t *testing.T) {
	for _, r := range refusals {
		if got := ReasonFor(fmt.Errorf("m2: %w", r.err)); got != r.reason {
			t.Errorf("%v is %s", r.err, got)
		}
	}
	if got := ReasonFor(errors.New("x")); got != ReasonUnavailable {
		t.Error(got)
	}
	same(t, "sentinels", sentinels(t), refused())
	for _, m := range create.Codes() {
		if _, ok := codeReasons[m.Code]; ok == (m.Code == create.OK) {
			t.Errorf("%s has a reason: %v", m.Name, ok)
		}
	}
}

// What is wrong with a request is told in the words of its page.
func TestCreateIsAnswered(t *testing.T) {
	_, err := create.Parse([]byte(`{"conferList":{"type":"immediate","creator":"2001","moderatorPassword":"123456","userPassword":"654321","maxNum":99}}`),
		time.UTC, create.Limits{})
	n := Settled(NoticeAnswer, ten, "x1", fmt.Errorf("create: %w", err), true, nil)
	if _, err := Encode(&n); err != nil {
		t.Error(err)
	}
	if n.Status != Failed || n.Reason != ReasonInvalidValue || n.Result.Code != string(create.OutOfRange) || n.Result.Field != "conferList.maxNum" {
		t.Errorf("%+v, %+v", n, n.Result)
	}
}

func TestUserNotice(t *testing.T) {
	denied := fmt.Errorf("kick by %q: %w", "member", conference.ErrDenied)
	for _, tt := range []struct {
		in   UserNotice
		want string
	}{
		{Settled(NoticeAnswer, ten, "x1", nil, true, &Result{Seq: 9}),
			`{"kind":"answer","at":"2026-11-21T10:00:00.123456789Z","id":"x1","status":"done","result":{"seq":9}}`},
		{Settled(NoticeMessage, ten, "x1", nil, false, nil),
			`{"kind":"message","at":"2026-11-21T10:00:00.123456789Z","id":"x1","status":"done","durable":false}`},
		{Settled(NoticeAnswer, ten, "x1", denied, false, nil),
			`{"kind":"answer","at":"2026-11-21T10:00:00.123456789Z","id":"x1","status":"failed","reason":"forbidden","detail":"kick by \"member\": not allowed"}`},
	} {
		if b, err := Encode(&tt.in); err != nil || string(b) != tt.want {
			t.Errorf("%s, %v", b, err)
		}
	}
	for path, n := range map[string]UserNotice{
		"kind":     {Kind: "gossip", At: ten},
		"at":       {Kind: NoticeGranted, Conf: "1", UID: "u"},
		"conf":     {Kind: NoticeGranted, At: ten, UID: "u"},
		"uid":      {Kind: NoticeGranted, At: ten, Conf: "1"},
		"token":    {Kind: NoticeJoin, At: ten, Conf: "1", UID: "u", Number: "1", Topic: "/t"},
		"start":    {Kind: NoticeInvitation, At: ten, Conf: "1", UID: "u"},
		"position": {Kind: NoticeQueued, At: ten, Conf: "1", UID: "u"},
		"mute":     {Kind: NoticeUnmute, At: ten, Conf: "1", UID: "u", Mute: "mood"},
		"member":   {Kind: NoticeRoom, At: ten, Conf: "1", UID: "u"},
		"status":   {Kind: NoticeAnswer, At: ten, ID: "x"},
		"reason":   {Kind: NoticeAnswer, At: ten, ID: "x", Status: Failed},
	} {
		var field *FieldError
		if err := n.Check(); !errors.As(err, &field) || field.Path != path {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A list of conferences is cut so that it can be told.
func TestListFits(t *testing.T) {
	r := &Result{}
	for i := range 300 {
		r.Conferences = append(r.Conferences, Listed{Conf: fmt.Sprint(1000 + i), UID: fmt.Sprint("box-0a1b2c-41-", i),
			Theme: strings.Repeat("<\n", 100), Kind: "appointment", Phase: "scheduled", Creator: "2001", Start: ten, End: ten, Members: 30})
	}
	n := Settled(NoticeAnswer, ten, "x1", nil, true, r)
	b, err := Encode(&n)
	var got UserNotice
	if err != nil || len(b) > MaxPayload || Decode(b, &got) != nil || len(got.Result.Conferences) < 150 || len(r.Conferences) != 300 {
		t.Errorf("%d bytes, %v, %d", len(b), err, len(got.Result.Conferences))
	}
}

func TestBookings(t *testing.T) {
	box, _ := NewBox("local", "box-1")
	list := Bookings{EID: "local", Box: "box-1", Version: 7, Bookings: []Booking{
		{Conf: "1203", Dial: "sip:1203@192.0.2.9", Theme: "budget", Start: ten, End: ten.Add(2 * time.Hour)},
		{Conf: "1000", UID: "c-1", Start: ten.Add(time.Hour), End: ten.Add(3 * time.Hour)}}}
	with := func(f func(*Bookings)) []byte {
		b := list
		b.Bookings = append([]Booking(nil), list.Bookings...)
		f(&b)
		raw, _ := json.Marshal(b)
		return sign(t, string(raw))
	}
	keys := NewKeySet(public(keyA))
	signed, err := SignBookings(list, keyA)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenBookings(box, signed, keys, 6)
	if err != nil || !reflect.DeepEqual(got, list) {
		t.Errorf("%+v, %v", got, err)
	}
	other, _ := SignBookings(list, keyB)
	for name, tt := range map[string]struct {
		payload []byte
		known   uint64
		want    error
	}{
		"the same again":     {signed, 7, ErrStale},
		"older":              {signed, 8, ErrStale},
		"another key":        {other, 0, ErrUnknownKey},
		"nothing":            {nil, 0, ErrMalformed},
		"unsigned":           {[]byte(`{"payload":"e30=","signatures":[]}`), 0, ErrUnsigned},
		"another box":        {with(func(b *Bookings) { b.Box = "box-2" }), 0, ErrWrongBox},
		"another enterprise": {with(func(b *Bookings) { b.EID = "else" }), 0, ErrWrongBox},
		"no version":         {with(func(b *Bookings) { b.Version = 0 }), 0, ErrInvalidValue},
		"end before start":   {with(func(b *Bookings) { b.Bookings[0].End = ten }), 0, ErrInvalidValue},
		"no conference":      {with(func(b *Bookings) { b.Bookings[0].Conf = "" }), 0, ErrInvalidValue},
		"number to inject":   {with(func(b *Bookings) { b.Bookings[0].Dial = "1\r\nX: y" }), 0, ErrInvalidValue},
		"uid with a slash":   {with(func(b *Bookings) { b.Bookings[1].UID = "a/b" }), 0, ErrInvalidValue},
		"too many":           {with(func(b *Bookings) { b.Bookings = make([]Booking, 257) }), 0, ErrInvalidValue},
		"unknown field":      {sign(t, `{"eid":"local","box":"box-1","version":1,"bookings":[{"conf":"1","password":"1"}]}`), 0, ErrUnknownField},
	} {
		if _, err := OpenBookings(box, tt.payload, keys, tt.known); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for at, want := range map[time.Duration]string{-11 * time.Minute: "", -10 * time.Minute: "1203", 30 * time.Minute: "1203",
		50 * time.Minute: "1000", 90 * time.Minute: "1000", 150 * time.Minute: "1000", 3 * time.Hour: ""} {
		if k, ok := list.Now(ten.Add(at), 10*time.Minute); k.Conf != want || ok != (want != "") {
			t.Errorf("after %v: %q", at, k.Conf)
		}
	}
	if _, err := SignBookings(Bookings{}, keyA); err == nil {
		t.Error("an empty one is signed")
	}
}

// refused names the sentinels that have a word, as their texts; sentinels are those that conference has.
func refused() (texts []string) {
	for _, r := range refusals {
		texts = append(texts, r.err.Error())
	}
	return texts
}

func sentinels(t *testing.T) (texts []string) {
	t.Helper()
	files, err := filepath.Glob("../../conference/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range sentinel.FindAllStringSubmatch(string(b), -1) {
			texts = append(texts, m[1])
		}
	}
	return texts
}

var sentinel = regexp.MustCompile(`\bErr\w+ += errors\.New\("([^"]+)"\)`)
