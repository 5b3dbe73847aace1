package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what is decoded at all.
const (
	// MaxPayload is the longest payload, in bytes, that is looked at.
	MaxPayload = 64 << 10
	// maxDepth is how deep objects and lists may lie in each other.
	maxDepth = 8
	// maxItems is how many keys and values a payload may have in all.
	maxItems = 8192
)

// What a payload can be refused for. The error that wraps them names the field.
var (
	// ErrTooLarge: longer, deeper or with more values than is looked at.
	ErrTooLarge = errors.New("too large")
	// ErrMalformed: not JSON, or not UTF-8, or something after the end, or a key twice.
	ErrMalformed = errors.New("invalid JSON")
	// ErrUnknownField: a key that the payload does not have.
	ErrUnknownField = errors.New("unknown field")
	// ErrInvalidValue: a value of the wrong type, out of its range, or missing.
	ErrInvalidValue = errors.New("invalid value")
)

// FieldError says which field is wrong, and how. It wraps one of the four errors above.
type FieldError struct {
	Path string // such as "args.number" or "signatures[1].sig"; empty for the whole
	Kind error
	Want string // what would be right, in a few words
}

// Error puts field and fault in one line.
func (e *FieldError) Error() string {
	s := e.Kind.Error()
	if e.Path != "" {
		s = e.Path + ": " + s
	}
	if e.Want != "" {
		s += ": " + e.Want
	}
	return s
}

// Unwrap gives the kind of fault.
func (e *FieldError) Unwrap() error { return e.Kind }

func invalid(path, want string, args ...any) error {
	return &FieldError{Path: path, Kind: ErrInvalidValue, Want: fmt.Sprintf(want, args...)}
}

// checker is what every payload can do: look at its own values. The error is a *FieldError.
type checker interface{ Check() error }

// Decode reads a payload into v, a pointer to one of this package's payload types, strictly: a key that the type does not
// have, a key twice, a missing or wrong value, null, bytes that are not UTF-8 and anything after the end are errors. Keys
// are told apart by case. The error is a *FieldError. What v holds after an error is undefined.
func Decode(b []byte, v checker) error { return decode(b, v, true) }

// DecodeKnown is Decode for who watches a box that may be newer: keys that the type does not have are passed over.
func DecodeKnown(b []byte, v checker) error { return decode(b, v, false) }

func decode(b []byte, v checker, strict bool) error {
	if len(b) > MaxPayload {
		return &FieldError{Kind: ErrTooLarge, Want: fmt.Sprintf("%d bytes, %d at most", len(b), MaxPayload)}
	}
	if !utf8.Valid(b) {
		return &FieldError{Kind: ErrMalformed, Want: "must be UTF-8"}
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	w := walker{dec: d, strict: strict}
	if err := w.value(reflect.TypeOf(v).Elem(), "", 0); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return &FieldError{Kind: ErrMalformed, Want: "there is something after the end"}
	}
	if err := json.Unmarshal(b, v); err != nil {
		// Everything but a number out of its type's range has been seen by the walk.
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return invalid(wrong.Field, "%s does not fit", wrong.Value)
		}
		return &FieldError{Kind: ErrInvalidValue, Want: err.Error()}
	}
	return v.Check()
}

// walker compares the tokens of a payload with the Go type that it is for, so that each fault has a path.
type walker struct {
	dec    *json.Decoder
	strict bool
	items  int
}

var (
	timeType = reflect.TypeFor[time.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
)

func (w *walker) value(t reflect.Type, path string, depth int) error {
	tok, err := w.dec.Token()
	if err != nil {
		return &FieldError{Path: path, Kind: ErrMalformed, Want: "cut short or not JSON"}
	}
	if w.items++; depth > maxDepth || w.items > maxItems {
		return &FieldError{Path: path, Kind: ErrTooLarge, Want: "too deep or too many values"}
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch tok := tok.(type) {
	case json.Delim:
		if tok == '{' {
			return w.object(t, path, depth)
		}
		return w.list(t, path, depth)
	case string:
		return w.text(t, tok, path)
	case json.Number:
		return kindIs(t, path, "a number", reflect.Int, reflect.Int64, reflect.Uint8, reflect.Uint64, reflect.Float64)
	case bool:
		return kindIs(t, path, "true or false", reflect.Bool)
	}
	if t == nil || t == rawType {
		return nil
	}
	return invalid(path, "null is not allowed")
}

func (w *walker) text(t reflect.Type, s, path string) error {
	if strings.ContainsRune(s, utf8.RuneError) {
		return &FieldError{Path: path, Kind: ErrMalformed, Want: "must be UTF-8"}
	}
	if t == timeType {
		if _, err := time.Parse(time.RFC3339, s); err != nil {
			return invalid(path, "want a time such as 2026-11-21T10:30:00.25Z")
		}
		return nil
	}
	return kindIs(t, path, "a text", reflect.String)
}

func kindIs(t reflect.Type, path, got string, kinds ...reflect.Kind) error {
	if t == nil || t == rawType {
		return nil
	}
	for _, k := range kinds {
		if t != timeType && t.Kind() == k {
			return nil
		}
	}
	return invalid(path, "want %s, not %s", describeType(t), got)
}

func describeType(t reflect.Type) string {
	switch {
	case t == timeType:
		return "a time"
	case t.Kind() == reflect.String:
		return "a text"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Struct:
		return "an object"
	case t.Kind() == reflect.Slice:
		return "a list"
	}
	return "a number"
}

func (w *walker) object(t reflect.Type, path string, depth int) error {
	if t != nil && t != rawType && (t.Kind() != reflect.Struct || t == timeType) {
		return invalid(path, "want %s, not an object", describeType(t))
	}
	seen := map[string]bool{}
	for w.dec.More() {
		tok, err := w.dec.Token()
		key, ok := tok.(string)
		if err != nil || !ok {
			return &FieldError{Path: path, Kind: ErrMalformed, Want: "cut short or not JSON"}
		}
		at := join(path, key)
		if seen[key] {
			return &FieldError{Path: at, Kind: ErrMalformed, Want: "is there twice"}
		}
		seen[key] = true
		var field reflect.Type
		if t != nil && t != rawType {
			f, known := fieldOf(t, key)
			if !known && (w.strict || caseOf(t, key)) {
				return &FieldError{Path: at, Kind: ErrUnknownField}
			}
			field = f
		}
		if err := w.value(field, at, depth+1); err != nil {
			return err
		}
	}
	return w.end(path)
}

func (w *walker) list(t reflect.Type, path string, depth int) error {
	var elem reflect.Type
	if t != nil && t != rawType {
		if t.Kind() != reflect.Slice {
			return invalid(path, "want %s, not a list", describeType(t))
		}
		elem = t.Elem()
	}
	for i := 0; w.dec.More(); i++ {
		if err := w.value(elem, path+"["+strconv.Itoa(i)+"]", depth+1); err != nil {
			return err
		}
	}
	return w.end(path)
}

func (w *walker) end(path string) error {
	if _, err := w.dec.Token(); err != nil {
		return &FieldError{Path: path, Kind: ErrMalformed, Want: "cut short or not JSON"}
	}
	return nil
}

// join appends a key to a path. What the sender chose is cut and quoted before it can reach a log or an answer.
func join(path, key string) string {
	if q := strconv.QuoteToASCII(key); len(key) > maxName || q != `"`+key+`"` {
		key = fmt.Sprintf("%.40s", q)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func fieldOf(t reflect.Type, key string) (reflect.Type, bool) {
	for i := range t.NumField() {
		if tagOf(t.Field(i)) == key {
			return t.Field(i).Type, true
		}
	}
	return nil, false
}

// caseOf tells whether encoding/json would take key for a field in spite of its case.
func caseOf(t reflect.Type, key string) bool {
	for i := range t.NumField() {
		if strings.EqualFold(tagOf(t.Field(i)), key) {
			return true
		}
	}
	return false
}

func tagOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// filler makes empty lists of those that are nil, which would travel as null.
type filler interface{ fill() }

// shrinker can be made shorter, one step after the other, until it returns false.
type shrinker interface{ shrink(step int) bool }

// Encode writes a payload, after its own check: what this side would refuse to read it does not send. Texts and lists of v
// that do not fit are cut.
func Encode(v checker) ([]byte, error) {
	if f, ok := v.(filler); ok {
		f.fill()
	}
	if err := v.Check(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	if s, ok := v.(shrinker); ok {
		for step := 0; err == nil && len(b) > MaxPayload && s.shrink(step); step++ {
			b, err = json.Marshal(v)
		}
	}
	if err != nil {
		return nil, &FieldError{Kind: ErrInvalidValue, Want: err.Error()}
	}
	if len(b) > MaxPayload {
		return nil, &FieldError{Kind: ErrTooLarge, Want: fmt.Sprintf("%d bytes, %d at most", len(b), MaxPayload)}
	}
	return b, nil
}
