package create_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/conference"
	"parley/conference/create"
)

// good is a request in which every field is right; with gives one that differs.
const good = `{"requestId":"r-1","conferList":{"confName":1234,"type":"appointment","theme":"预算 <script>","creator":"2001",
"moderatorPassword":"111111","userPassword":"222222","startTime":"2030-01-02 09:00","endTime":"2030-01-02 10:30","maxNum":12,
"maxSpeaker":3,"memo":"memo","eid":"acme"},"membersList":[
{"confName":0,"userNum":"2002,13800138000:2003","isMute":1,"isSlient":0,"memo":"Ann,Bob"},
{"confName":"1234","userNum":"2004","isMute":"0","isSilent":"1"},
{"confName":"4321","userNum":"2002","isMute":0,"isSlient":0}]}`

var shanghai = time.FixedZone("CST", 8*3600)

// with replaces one field of good's conferList or of its first member (m.key); nil takes it out.
func with(t testing.TB, changes map[string]any) []byte {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(good), &all); err != nil {
		t.Fatal(err)
	}
	for key, v := range changes {
		at := all["conferList"].(map[string]any)
		if k, member := strings.CutPrefix(key, "m."); member {
			key, at = k, all["membersList"].([]any)[0].(map[string]any)
		} else if k, top := strings.CutPrefix(key, "top."); top {
			key, at = k, all
		}
		if at[key] = v; v == nil {
			delete(at, key)
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParse(t *testing.T) {
	r, err := create.Parse([]byte(good), shanghai, create.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2030, 1, 2, 1, 0, 0, 0, time.UTC)
	rules := r.Rules()
	if rules.Number != "1234" || rules.Kind != conference.Appointment || rules.Theme != "预算 <script>" || rules.Creator != "2001" ||
		!rules.Start.Equal(start) || !rules.End.Equal(start.Add(90*time.Minute)) || rules.Max != 12 || rules.Speakers != 3 ||
		rules.Memo != "memo" || rules.EID != "acme" || r.ID != "r-1" || !rules.Queued() {
		t.Errorf("%+v", rules)
	}
	if !r.Moderator.Matches("111111") || r.Moderator.Matches("222222") || !r.User.Matches("222222") || r.User.Matches("") {
		t.Error("passwords")
	}
	now := time.Unix(1, 0)
	got := r.Members(now)
	if len(got) != 4 || got[0].Number != "2001" || got[0].Role != conference.Chair || got[1].Number != "2002" || got[1].Name != "Ann" ||
		!got[1].Mute.Has(conference.Host) || got[1].Deaf.Has(conference.Host) || got[1].Role != conference.Guest || !got[1].Invited ||
		got[1].State != conference.Pending || got[2].Number != "13800138000:2003" || got[2].Name != "Bob" ||
		len(got[3].Mute) != 0 || !got[3].Deaf.Has(conference.Host) || !got[3].Deaf[0].At.Equal(now) || got[3].Deaf[0].By.Name != "2001" {
		t.Errorf("%+v", got)
	}
	if len(r.Elsewhere) != 1 || r.Elsewhere[0].Conference != "4321" || r.Elsewhere[0].Number != "2002" || r.Elsewhere[0].Field != "membersList[2]" {
		t.Errorf("%+v", r.Elsewhere)
	}
}

// What may be left out, and the other ways to write the same.
func TestParseLenient(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]any
		ok     func(create.Request) bool
	}{
		"any number, by 0":     {map[string]any{"confName": 0, "m.confName": nil}, func(r create.Request) bool { return r.Number == "" }},
		"any number, by empty": {map[string]any{"confName": ""}, func(r create.Request) bool { return r.Number == "" && len(r.Elsewhere) == 2 }},
		"no limit on speakers": {map[string]any{"maxSpeaker": nil}, func(r create.Request) bool { return r.Speakers == 0 }},
		"four speakers":        {map[string]any{"maxSpeaker": ""}, func(r create.Request) bool { return r.Speakers == 4 }},
		"maxNum unsaid":        {map[string]any{"maxNum": nil}, func(r create.Request) bool { return r.Max == 30 }},
		"no texts":             {map[string]any{"theme": "", "memo": nil, "eid": "", "m.memo": ""}, func(r create.Request) bool { return r.Theme == "" && r.Invited[0].Name == "" }},
		"immediate, no times":  {map[string]any{"type": "immediate", "startTime": "", "endTime": nil}, func(r create.Request) bool { return r.Rules().Start.IsZero() && r.End.IsZero() }},
		"immediate, with end":  {map[string]any{"type": "immediate"}, func(r create.Request) bool { return r.Rules().Start.IsZero() && !r.Rules().End.IsZero() }},
		"nobody invited":       {map[string]any{"top.membersList": nil}, func(r create.Request) bool { return len(r.Members(time.Time{})) == 1 }},
		"one member, no list":  {map[string]any{"top.membersList": map[string]any{"userNum": 2002, "isMute": 0, "isSlient": 0}}, func(r create.Request) bool { return len(r.Invited) == 1 }},
		"a list within a text": {map[string]any{"top.membersList": `[{"userNum":"2002","isMute":0,"isSlient":0}]`}, func(r create.Request) bool { return len(r.Invited) == 1 }},
		"creator among members": {map[string]any{"m.userNum": "2001,2002"}, func(r create.Request) bool {
			m := r.Members(time.Time{})
			return len(m) == 3 && m[0].Name == "Ann" && m[0].Role == conference.Chair
		}},
		"outside creator": {map[string]any{"creator": "13800138000:2001"}, func(r create.Request) bool {
			return r.MadeFor("2001") && r.MadeFor("13800138000") && !r.MadeFor("2") && !r.MadeFor("")
		}},
		"spaces after commas": {map[string]any{"m.userNum": "2005, 2006"}, func(r create.Request) bool { return r.Invited[1].Number == "2006" }},
		"emoji and joiners":   {map[string]any{"theme": "👩‍💻 क्‍ष ✈️"}, func(r create.Request) bool { return r.Theme == "👩‍💻 क्‍ष ✈️" }},
		"no request id":       {map[string]any{"top.requestId": nil}, func(r create.Request) bool { return r.ID == "" }},
	} {
		r, err := create.Parse(with(t, c.change), shanghai, create.Limits{})
		if err != nil || !c.ok(r) {
			t.Errorf("%s: %v %+v", name, err, r)
		}
	}
}

// C-2, and the rules of "Creating": each wrong value is refused, by the field's name.
func TestParseNamesTheField(t *testing.T) {
	const c, m = "conferList.", "membersList[0]."
	numbers := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprint(3000 + i)
		}
		return strings.Join(all, ",")
	}
	for _, x := range []struct {
		key   string
		value any
		field string
		code  create.Code
	}{
		{"confName", 999, c + "confName", create.OutOfRange},
		{"confName", 10000, c + "confName", create.OutOfRange},
		{"confName", "01234", c + "confName", create.OutOfRange},
		{"confName", "12x4", c + "confName", create.OutOfRange},
		{"confName", "+123", c + "confName", create.OutOfRange},
		{"confName", -1, c + "confName", create.Invalid},
		{"confName", true, c + "confName", create.Invalid},
		{"type", nil, c + "type", create.Missing},
		{"type", "", c + "type", create.Missing},
		{"type", "Immediate", c + "type", create.Invalid},
		{"type", "standing", c + "type", create.Invalid},
		{"theme", strings.Repeat("x", 129), c + "theme", create.Invalid},
		{"theme", strings.Repeat("預", 10<<10/3), c + "theme", create.Invalid},
		{"theme", "a\r\nb", c + "theme", create.Invalid},
		{"theme", "a\x00b", c + "theme", create.Invalid},
		{"theme", "a\u202eb", c + "theme", create.Invalid},
		{"theme", "a\u2066b", c + "theme", create.Invalid},
		{"theme", "a\u2028b", c + "theme", create.Invalid},
		{"theme", "a\ufeffb", c + "theme", create.Invalid},
		{"theme", []string{"x"}, c + "theme", create.Invalid},
		{"creator", nil, c + "creator", create.Missing},
		{"creator", "ann", c + "creator", create.Invalid},
		{"creator", "+4930", c + "creator", create.Invalid},
		{"creator", ":2001", c + "creator", create.Invalid},
		{"creator", "138:", c + "creator", create.Invalid},
		{"creator", "1:2:3", c + "creator", create.Invalid},
		{"creator", strings.Repeat("1", 21), c + "creator", create.Invalid},
		{"creator", "2001\n", c + "creator", create.Invalid},
		{"creator", "２００１", c + "creator", create.Invalid},
		{"moderatorPassword", nil, c + "moderatorPassword", create.Missing},
		{"moderatorPassword", "12345", c + "moderatorPassword", create.Invalid},
		{"moderatorPassword", strings.Repeat("1", 17), c + "moderatorPassword", create.Invalid},
		{"moderatorPassword", "12345a", c + "moderatorPassword", create.Invalid},
		{"userPassword", "", c + "userPassword", create.Missing},
		{"userPassword", "111111", c + "userPassword", create.Invalid},
		{"startTime", nil, c + "startTime", create.Missing},
		{"startTime", "2030-01-02T09:00", c + "startTime", create.Invalid},
		{"startTime", "2030-02-30 09:00", c + "startTime", create.Invalid},
		{"startTime", "2030-01-02 9:00", c + "startTime", create.Invalid},
		{"endTime", nil, c + "endTime", create.Missing},
		{"endTime", "2030-01-02 09:00", c + "endTime", create.OutOfRange},
		{"endTime", "2029-01-02 09:00", c + "endTime", create.OutOfRange},
		{"maxNum", 2, c + "maxNum", create.OutOfRange},
		{"maxNum", 31, c + "maxNum", create.OutOfRange},
		{"maxNum", "99999999999999999999", c + "maxNum", create.OutOfRange},
		{"maxNum", 3, "membersList", create.OutOfRange},
		{"maxSpeaker", 0, c + "maxSpeaker", create.OutOfRange},
		{"maxSpeaker", 13, c + "maxSpeaker", create.OutOfRange},
		{"maxSpeaker", 1.5, c + "maxSpeaker", create.Invalid},
		{"memo", strings.Repeat("x", 26), c + "memo", create.Invalid},
		{"eid", "a/b", c + "eid", create.Invalid},
		{"eid", "a+", c + "eid", create.Invalid},
		{"thema", "x", c + "thema", create.Unknown},
		{"x\r\ny", "x", c + `"x\r\ny"`, create.Unknown},
		{"", "x", c, create.Unknown},
		{"m.confName", 12, m + "confName", create.OutOfRange},
		{"m.userNum", nil, m + "userNum", create.Missing},
		{"m.userNum", "", m + "userNum", create.Missing},
		{"m.userNum", "2002,", m + "userNum", create.Invalid},
		{"m.userNum", "2002,,2003", m + "userNum", create.Invalid},
		{"m.userNum", "2002;2003", m + "userNum", create.Invalid},
		{"m.userNum", "2002，2003", m + "userNum", create.Invalid},
		{"m.userNum", "2002,2002", m + "userNum", create.Duplicate},
		{"m.userNum", "2005,2004", "membersList[1].userNum", create.Duplicate},
		{"m.userNum", numbers(301), m + "userNum", create.TooLarge},
		{"m.isMute", nil, m + "isMute", create.Missing},
		{"m.isMute", 2, m + "isMute", create.Invalid},
		{"m.isMute", true, m + "isMute", create.Invalid},
		{"m.isSlient", nil, m + "isSlient", create.Missing},
		{"m.isSilent", 0, m + "isSilent", create.Duplicate},
		{"m.memo", "Ann", m + "memo", create.Invalid},
		{"m.memo", "Ann,Bob,Cid", m + "memo", create.Invalid},
		{"m.memo", "Ann," + strings.Repeat("x", 26), m + "memo", create.Invalid},
		{"m.memo", "Ann,B\u202eob", m + "memo", create.Invalid},
		{"m.role", "host", m + "role", create.Unknown},
		{"top.requestId", "a b", "requestId", create.Invalid},
		{"top.requestId", strings.Repeat("x", 65), "requestId", create.Invalid},
		{"top.conferList", nil, "conferList", create.Missing},
		{"top.conferList", []any{}, "conferList", create.Invalid},
		{"top.conferList", "{", "conferList", create.Malformed},
		{"top.membersList", []any{1}, "membersList[0]", create.Invalid},
		{"top.membersList", 7, "membersList", create.Invalid},
		{"top.token", "x", "token", create.Unknown},
	} {
		// The memos of the first member fit two numbers only.
		changes := map[string]any{x.key: x.value}
		if x.key == "m.userNum" {
			changes["m.memo"] = nil
		}
		_, err := create.Parse(with(t, changes), shanghai, create.Limits{})
		var f *create.FieldError
		if !errors.As(err, &f) || f.Field != x.field || f.Code != x.code || f.Want == "" {
			t.Errorf("%s = %.40v: %v, want %s %s", x.key, x.value, err, x.field, x.code)
		}
	}
}

func TestParseMalformed(t *testing.T) {
	for body, code := range map[string]create.Code{
		``:                                create.Malformed,
		`[]`:                              create.Malformed,
		`null`:                            create.Malformed,
		good[:len(good)-1]:                create.Malformed,
		good + `{}`:                       create.Malformed,
		`{"a":1,"a":2}`:                   create.Malformed,
		"{\"a\":\"\xff\"}":                create.Malformed,
		strings.Repeat(`{"a":`, 10):       create.TooLarge,
		strings.Repeat(" ", 64<<10) + "{": create.TooLarge,
		`{"a":[` + strings.Repeat("1,", 9000) + "1]}": create.TooLarge,
	} {
		_, err := create.Parse([]byte(body), shanghai, create.Limits{})
		var f *create.FieldError
		if !errors.As(err, &f) || f.Code != code {
			t.Errorf("%.40q: %v, want %s", body, err, code)
		}
	}
}

func TestLimits(t *testing.T) {
	wide := create.Limits{MaxNum: 200, MaxSpeaker: 20, Members: 3}
	r, err := create.Parse(with(t, map[string]any{"maxNum": 200, "maxSpeaker": 20, "top.membersList": nil}), shanghai, wide)
	if err != nil || r.Max != 200 || r.Speakers != 20 {
		t.Errorf("%v %+v", err, r)
	}
	_, err = create.Parse([]byte(good), shanghai, wide)
	var f *create.FieldError
	if !errors.As(err, &f) || f.Code != create.TooLarge || f.Field != "membersList" {
		t.Errorf("four where three are the most: %v", err)
	}
	_, err = create.Parse([]byte(good), shanghai, create.Limits{Now: time.Date(2030, 1, 2, 2, 30, 0, 0, time.UTC)})
	if !errors.As(err, &f) || f.Field != "conferList.endTime" {
		t.Errorf("over before it is made: %v", err)
	}
	// 02:30 does not exist on that day where clocks go forward at 02:00.
	if berlin, err := time.LoadLocation("Europe/Berlin"); err == nil {
		_, err = create.Parse(with(t, map[string]any{"startTime": "2030-03-31 02:30", "endTime": "2030-03-31 04:00"}), berlin, create.Limits{})
		if !errors.As(err, &f) || f.Field != "conferList.startTime" {
			t.Errorf("an hour that is skipped: %v", err)
		}
	}
}

func TestCodes(t *testing.T) {
	codes := create.Codes()
	if codes[0].Code != "00" || codes[0].Name != "ok" || create.OK.Name() != "ok" || create.Code("77").Name() != "77" {
		t.Error("00 is success")
	}
	names := map[string]bool{}
	for i, c := range codes {
		if len(c.Code) != 2 || c.Name == "" || c.Text == "" || names[c.Name] || i > 0 && c.Code <= codes[i-1].Code {
			t.Errorf("%+v", c)
		}
		names[c.Name] = true
	}
}

func TestSecret(t *testing.T) {
	s := create.Hash("123456")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		if got := fmt.Sprintf(verb, struct{ S create.Secret }{s}); strings.Contains(got, "123456") || !strings.Contains(got, "[hidden]") {
			t.Errorf("%s: %s", verb, got)
		}
	}
	text, _ := s.MarshalText()
	var again create.Secret
	if err := again.UnmarshalText(text); err != nil || !again.Matches("123456") || again.Matches("123457") || again.Matches("") {
		t.Errorf("%s: %v", text, err)
	}
	if strings.Contains(string(text), "123456") || slices.Equal(text, must(create.Hash("123456").MarshalText())) {
		t.Error("no salt")
	}
	var none create.Secret
	if none.Matches("") || none.Given() || len(must(none.MarshalText())) != 0 || none.UnmarshalText(nil) != nil {
		t.Error("the zero value")
	}
	for _, bad := range []string{"x", "pbkdf2-sha256$$$", "pbkdf2-sha256$0$AAAAAAAAAAAAAAAAAAAAAA$x", "md5$1$a$b",
		strings.Replace(string(text), "$8192$", "$99999999$", 1), string(text) + "A", string(text) + "$", string(text[:60])} {
		if err := again.UnmarshalText([]byte(bad)); !errors.Is(err, create.ErrSecret) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// Whatever comes, what is let through keeps the rules.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add(with(f, map[string]any{"top.membersList": `[{"userNum":"2002","isMute":0,"isSlient":0}]`}))
	f.Add([]byte(`{"conferList":{"a":1,"a":2}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := create.ParseQuick(b, shanghai, create.Limits{})
		if err != nil {
			var wrong *create.FieldError
			if !errors.As(err, &wrong) || wrong.Code == "" || !create.Printable(wrong.Error(), 512) {
				t.Fatalf("%q", err)
			}
			return
		}
		members := r.Members(time.Unix(0, 0))
		if len(members) > r.Max || r.Max < 3 || r.Max > 30 || r.Speakers < 0 || r.Speakers > 12 || members[0].Role != conference.Chair {
			t.Fatalf("%+v", r)
		}
		seen := map[string]bool{}
		for _, m := range members {
			if seen[m.Number] || !create.IsNumber(m.Number) || !create.Printable(m.Name, 25) {
				t.Fatalf("%+v", m)
			}
			seen[m.Number] = true
		}
	})
}

func BenchmarkHash(b *testing.B) {
	for b.Loop() {
		create.Hash("123456")
	}
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := create.ParseQuick([]byte(good), shanghai, create.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
