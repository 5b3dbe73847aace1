package create

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// Bounds of what is read at all.
const (
	// MaxBody is the longest request, in bytes.
	MaxBody  = 64 << 10
	maxDepth = 6
	maxItems = 8192 // keys and values in all
)

// Object reads one JSON object of at most longest bytes, more strictly than encoding/json: a key twice, bytes that are not
// UTF-8, and anything after the end are errors, and depth and the number of values are bounded. Values are string,
// json.Number, bool, nil, []any and map[string]any. The error is a *FieldError.
func Object(b []byte, longest int) (map[string]any, error) {
	v, err := read(b, longest)
	if err != nil {
		return nil, err
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, &FieldError{Code: Malformed, Want: "want a JSON object"}
	}
	return o, nil
}

func read(b []byte, longest int) (any, error) {
	if len(b) > longest {
		return nil, &FieldError{Code: TooLarge, Want: fmt.Sprintf("%d bytes at most", longest)}
	}
	if !utf8.Valid(b) {
		return nil, &FieldError{Code: Malformed, Want: "must be UTF-8"}
	}
	r := reader{dec: json.NewDecoder(bytes.NewReader(b))}
	r.dec.UseNumber()
	v, err := r.value("", 0)
	if err != nil {
		return nil, err
	}
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, &FieldError{Code: Malformed, Want: "there is something after the end"}
	}
	return v, nil
}

type reader struct {
	dec   *json.Decoder
	items int
}

func (r *reader) value(path string, depth int) (any, error) {
	if r.items++; depth > maxDepth || r.items > maxItems {
		return nil, &FieldError{path, TooLarge, "too deep or too many values"}
	}
	tok, err := r.dec.Token()
	if err != nil {
		return nil, &FieldError{path, Malformed, "cut short or not JSON"}
	}
	switch tok {
	case json.Delim('{'):
		return r.object(path, depth)
	case json.Delim('['):
		return r.list(path, depth)
	}
	return tok, nil
}

func (r *reader) object(path string, depth int) (any, error) {
	o := map[string]any{}
	for r.dec.More() {
		tok, err := r.dec.Token()
		key, ok := tok.(string)
		if err != nil || !ok {
			return nil, &FieldError{path, Malformed, "cut short or not JSON"}
		}
		at := join(path, key)
		if _, twice := o[key]; twice {
			return nil, &FieldError{at, Malformed, "is there twice"}
		}
		if o[key], err = r.value(at, depth+1); err != nil {
			return nil, err
		}
	}
	return o, r.end(path)
}

func (r *reader) list(path string, depth int) (any, error) {
	l := []any{}
	for r.dec.More() {
		v, err := r.value(path+"["+strconv.Itoa(len(l))+"]", depth+1)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	return l, r.end(path)
}

func (r *reader) end(path string) error {
	if _, err := r.dec.Token(); err != nil {
		return &FieldError{path, Malformed, "cut short or not JSON"}
	}
	return nil
}

// join appends a key to a path. What the sender chose is quoted and cut before it can reach a log or an answer.
func join(path, key string) string {
	if q := strconv.QuoteToASCII(key); len(key) > 32 || q != `"`+key+`"` {
		key = fmt.Sprintf("%.40s", q)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
