package create

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"parley/conference"
)

const (
	maxNumber  = 20 // characters, the colon among them
	maxMemo    = 25
	timeLayout = "2006-01-02 15:04"
	digits     = "0123456789"
	letters    = digits + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// form is one object of the request. It keeps the first fault that is found and passes over what comes after it.
type form struct {
	path   string
	values map[string]any
	err    error
}

func (f *form) fail(key string, code Code, want string) {
	if f.err == nil {
		f.err = &FieldError{join(f.path, key), code, want}
	}
}

func (f *form) required(key string, there bool) {
	if !there {
		f.fail(key, Missing, "is required")
	}
}

// only refuses every key that is not one of those.
func (f *form) only(keys ...string) {
	unknown := ""
	for key := range f.values {
		if !slices.Contains(keys, key) && (unknown == "" || key < unknown) {
			unknown = key
		}
	}
	if _, empty := f.values[""]; unknown != "" || empty {
		f.fail(unknown, Unknown, "there is no such field")
	}
}

// text gives a value as it is written: a text, or a number for which only a whole one without sign or exponent will do.
// null is the same as a missing field.
func (f *form) text(key string) string {
	switch v := f.values[key].(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		if only(string(v), digits) {
			return string(v)
		}
	}
	f.fail(key, Invalid, "want a text or a whole number")
	return ""
}

// only tells whether s consists of nothing but those characters.
func only(s, of string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(of, r) }) < 0
}

// inside reads a value that is given as JSON within a text, as SOAP has it.
func (f *form) inside(key string) any {
	v := f.values[key]
	text, ok := v.(string)
	if !ok || text == "" {
		return v
	}
	v, err := read([]byte(text), MaxBody)
	var wrong *FieldError
	if errors.As(err, &wrong) {
		f.fail(key, wrong.Code, wrong.Want)
		return nil
	}
	return v
}

func (f *form) object(key string) *form {
	o, ok := f.inside(key).(map[string]any)
	f.required(key, f.values[key] != nil && f.values[key] != "")
	if !ok {
		f.fail(key, Invalid, "want an object")
	}
	return &form{path: join(f.path, key), values: o}
}

// list reads a list of objects; one object alone is a list of one, and none is an empty one.
func (f *form) list(key string) []*form {
	switch v := f.inside(key).(type) {
	case nil:
		return nil
	case map[string]any:
		return []*form{{path: key, values: v}}
	case []any:
		list := make([]*form, 0, len(v))
		for i, x := range v {
			at := key + "[" + strconv.Itoa(i) + "]"
			o, ok := x.(map[string]any)
			if !ok {
				f.fail(at, Invalid, "want an object")
			}
			list = append(list, &form{path: at, values: o})
		}
		return list
	case string:
		if v == "" {
			return nil
		}
	}
	f.fail(key, Invalid, "want a list of objects")
	return nil
}

func (f *form) requestID() string {
	id := f.text("requestId")
	if len(id) > 64 || !only(id, letters+"-._") {
		f.fail("requestId", Invalid, "want 1 to 64 of a-z, A-Z, 0-9 and -._")
	}
	return id
}

// confName gives the number, or "" where any will do.
func (f *form) confName() string {
	s := f.text("confName")
	if s == "" || s == "0" {
		return ""
	}
	n, err := strconv.Atoi(s)
	if err != nil || !only(s, digits) || len(s) != 4 || n < FirstNumber || n > LastNumber {
		f.fail("confName", OutOfRange, fmt.Sprintf("want %d to %d, or 0 or nothing for any", FirstNumber, LastNumber))
	}
	return s
}

func (f *form) kind() conference.Kind {
	s := f.text("type")
	f.required("type", s != "")
	k := conference.Kind(s)
	if k != conference.Immediate && k != conference.Appointment {
		f.fail("type", Invalid, "want immediate or appointment")
	}
	return k
}

// label reads a text that people see. Nothing that could end a line or a string, or turn the writing around, gets in; what
// remains, such as <script>, is harmless to whoever escapes what he shows.
func (f *form) label(key string, longest int) string {
	s := f.text(key)
	if !Printable(s, longest) {
		f.fail(key, Invalid, fmt.Sprintf("want at most %d characters, without control characters and marks of direction", longest))
	}
	return s
}

// Printable tells whether s has at most longest characters, and none that controls: line ends, NUL, other control and
// format characters (the marks of direction among them), separators of lines and paragraphs, unassigned ones.
func Printable(s string, longest int) bool {
	if len(s) > longest*utf8.UTFMax || utf8.RuneCountInString(s) > longest {
		return false
	}
	for _, r := range s {
		// The joiners are format characters, too, and belong to emoji and several scripts.
		if r == utf8.RuneError || !unicode.IsGraphic(r) && r != '\u200c' && r != '\u200d' || r == '\u2028' || r == '\u2029' {
			return false
		}
	}
	return true
}

// IsNumber tells whether s is a user's number: 1 to 20 characters, digits or XXX:YYY.
func IsNumber(s string) bool {
	outside, extension, two := strings.Cut(s, ":")
	return len(s) <= maxNumber && outside != "" && only(outside, digits) && only(extension, digits) && two == (extension != "")
}

func (f *form) number(key string) string {
	s := f.text(key)
	f.required(key, s != "")
	f.checkNumber(key, s)
	return s
}

func (f *form) checkNumber(key, s string) {
	if !IsNumber(s) {
		f.fail(key, Invalid, fmt.Sprintf("want 1 to %d digits, or XXX:YYY for an outside number and its extension", maxNumber))
	}
}

func (f *form) password(key string) string {
	s := f.text(key)
	f.required(key, s != "")
	if len(s) < 6 || len(s) > 16 || !only(s, digits) {
		f.fail(key, Invalid, "want 6 to 16 digits")
	}
	return s
}

// time reads a local time. One that the zone's clocks skip is refused: nobody can tell which was meant.
func (f *form) time(key string, zone *time.Location) time.Time {
	s := f.text(key)
	if s == "" {
		return time.Time{}
	}
	t, err := time.ParseInLocation(timeLayout, s, zone)
	if err != nil || t.Format(timeLayout) != s {
		f.fail(key, Invalid, "want a time that exists, such as 2014-08-06 15:29")
		return time.Time{}
	}
	return t
}

// between reads a whole number in a range. One that is missing is unset, one that is there and empty is unsaid.
func (f *form) between(key string, least, most, unset, unsaid int) int {
	if f.values[key] == nil {
		return unset
	}
	s := f.text(key)
	if s == "" {
		return unsaid
	}
	n, err := strconv.Atoi(s)
	if err != nil || !only(s, digits) || n < least || n > most {
		f.fail(key, OutOfRange, fmt.Sprintf("want %d to %d", least, most))
	}
	return n
}

func (f *form) eid() string {
	s := f.text("eid")
	if len(s) > 32 || !only(s, letters+"-") {
		f.fail("eid", Invalid, "want at most 32 of a-z, A-Z, 0-9 and -")
	}
	return s
}

func (f *form) flag(keys ...string) bool {
	given := ""
	for _, key := range keys {
		if f.values[key] == nil {
			continue
		}
		if given != "" {
			f.fail(key, Duplicate, "is there as "+given+" already")
		}
		given = key
	}
	f.required(keys[0], given != "")
	s := f.text(given)
	if s != "0" && s != "1" {
		f.fail(given, Invalid, "want 0 or 1")
	}
	return s == "1"
}

// members reads one entry of membersList, which may name several numbers. own is the number of the conference being made.
func (f *form) members(own string, most int) []Invitee {
	f.only("confName", "userNum", "isMute", "isSlient", "isSilent", "memo")
	conf := f.confName()
	if conf == own {
		conf = ""
	}
	all := f.text("userNum")
	f.required("userNum", all != "")
	if strings.Count(all, ",") >= most {
		f.fail("userNum", TooLarge, fmt.Sprintf("%d numbers at most", most))
		return nil
	}
	numbers := strings.Split(all, ",")
	mute, deaf := f.flag("isMute"), f.flag("isSlient", "isSilent")
	memos := f.memos(len(numbers))
	list := make([]Invitee, 0, len(numbers))
	for i, n := range numbers {
		n = strings.Trim(n, " ")
		f.checkNumber("userNum", n)
		list = append(list, Invitee{Field: f.path, Conference: conf, Number: n, Name: memos[i], Mute: mute, Deaf: deaf})
	}
	return list
}

// memos reads n memos, or none at all.
func (f *form) memos(n int) []string {
	all := f.text("memo")
	if all == "" {
		return make([]string, n)
	}
	memos := []string{all}
	if n > 1 {
		memos = strings.Split(all, ",")
	}
	if len(memos) != n {
		f.fail("memo", Invalid, "want as many memos as there are numbers, separated by commas")
		return make([]string, n)
	}
	for _, m := range memos {
		if !Printable(m, maxMemo) {
			f.fail("memo", Invalid, fmt.Sprintf("want at most %d characters each, without control characters and marks of direction", maxMemo))
		}
	}
	return memos
}
