package create

// Code is the result of a create call, as it stands in the answer's `code`.
type Code string

// The codes. Parse gives those up to Duplicate; the others come from whoever makes the conference.
const (
	OK           Code = "00"
	Malformed    Code = "01"
	TooLarge     Code = "02"
	Unknown      Code = "03"
	Missing      Code = "04"
	Invalid      Code = "05"
	OutOfRange   Code = "06"
	Duplicate    Code = "07"
	Taken        Code = "10"
	NoneFree     Code = "11"
	NoConference Code = "12"
	Unauthorized Code = "20"
	Denied       Code = "21"
	Limited      Code = "22"
	Reused       Code = "23"
	NotKept      Code = "30"
	Unavailable  Code = "31"
)

// Meaning is what a code says.
type Meaning struct {
	Code Code
	Name string // one word, for programs' logs
	Text string
}

// Codes lists every code of this version, in order.
func Codes() []Meaning {
	return []Meaning{
		{OK, "ok", "the conference is made"},
		{Malformed, "malformed", "not JSON, not UTF-8, a key twice, or something after the end"},
		{TooLarge, "too_large", "longer, deeper or with more members than is looked at"},
		{Unknown, "unknown_field", "a field that the call does not have"},
		{Missing, "missing", "a field that is required is missing or empty"},
		{Invalid, "invalid", "a value of the wrong form"},
		{OutOfRange, "out_of_range", "a number outside its range, or an end that is not after the start"},
		{Duplicate, "duplicate", "a member is named twice"},
		{Taken, "taken", "another conference has this number"},
		{NoneFree, "none_free", "no number is free, or as many conferences stand as the box takes"},
		{NoConference, "no_conference", "members are for a conference that does not exist"},
		{Unauthorized, "unauthorized", "no token, or one that does not count"},
		{Denied, "denied", "the token does not give the right"},
		{Limited, "limited", "too many requests; try again later"},
		{Reused, "reused", "another request had the same requestId"},
		{NotKept, "not_kept", "the conference cannot be written to disk, so it is not made"},
		{Unavailable, "unavailable", "the box cannot make it now"},
	}
}

// Name is the word for c, or c itself if it is none of Codes.
func (c Code) Name() string {
	for _, m := range Codes() {
		if m.Code == c {
			return m.Name
		}
	}
	return string(c)
}

// FieldError says which field is wrong and what would be right. It carries nothing that the sender wrote but the name of an
// unknown field, which is cut and free of control characters.
type FieldError struct {
	Field string // such as "conferList.creator" or "membersList[2].userNum"; empty for the whole
	Code  Code
	Want  string
}

// Error puts field and fault in one line.
func (e *FieldError) Error() string {
	s := e.Code.Name()
	if e.Field != "" {
		s = e.Field + ": " + s
	}
	if e.Want != "" {
		s += ": " + e.Want
	}
	return s
}
