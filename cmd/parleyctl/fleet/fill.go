package fleet

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Values are what one box's row of a table says: a value for each column.
type Values map[string]string

// maxRows is how many boxes a table may have.
const maxRows = 100000

var columnName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// ReadValues reads a table with commas (RFC 4180): the first row names the columns. Each row says whose it is by "box", or by "serial".
func ReadValues(r io.Reader) (rows []Values, err error) {
	table := csv.NewReader(r)
	table.TrimLeadingSpace = true
	table.Comment = '#'
	head, err := table.Read()
	if err != nil {
		return nil, fmt.Errorf("%w: a table begins with the names of its columns: %w", ErrInvalid, err)
	}
	for i, name := range head {
		if !columnName.MatchString(name) || slices.Contains(head[:i], name) {
			return nil, fmt.Errorf("%w: column %q: a name has small letters, digits and _, and is there once", ErrInvalid, name)
		}
	}
	whose := "box"
	if !slices.Contains(head, whose) {
		whose = "serial"
	}
	if !slices.Contains(head, whose) {
		return nil, fmt.Errorf("%w: the table has no column box and none serial, only %s", ErrInvalid, strings.Join(head, ", "))
	}
	seen := map[string]bool{}
	for {
		row, err := table.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		values := Values{}
		for i, name := range head {
			values[name] = row[i]
		}
		line, _ := table.FieldPos(0)
		if name := values[whose]; name == "" || seen[name] {
			return nil, fmt.Errorf("%w: line %d: %s %q is empty or there twice", ErrInvalid, line, whose, name)
		}
		if len(rows) == maxRows {
			return nil, fmt.Errorf("%w: more than %d rows", ErrInvalid, maxRows)
		}
		seen[values[whose]] = true
		rows = append(rows, values)
	}
}

var (
	placeholder = regexp.MustCompile(`\{\{ *([a-z][a-z0-9_]*) *\}\}`)
	plainValue  = regexp.MustCompile(`^[A-Za-z0-9._+@/-]+$`)
	typedValue  = regexp.MustCompile(`^(-?(0|[1-9][0-9]*)|true|false)$`)
)

// Fill puts values in place of {{column}}, line by line, so that errors in what comes out name the lines of what went in. In
// double quotes every value is right; outside of them only what YAML takes for one word. "{{column}}" alone is a number, or
// true or false, if the value is.
func Fill(text string, values Values) (string, error) {
	var out strings.Builder
	number := 0
	for line := range strings.Lines(text) {
		number++
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			out.WriteString(line)
			continue
		}
		filled, err := fillLine(line, values)
		if err != nil {
			return "", fmt.Errorf("line %d: %w", number, err)
		}
		out.WriteString(filled)
	}
	return out.String(), nil
}

func fillLine(line string, values Values) (string, error) {
	var out strings.Builder
	last := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(line, -1) {
		name := line[m[2]:m[3]]
		value, ok := values[name]
		if !ok {
			return "", fmt.Errorf("%w: there is no value for {{%s}}", ErrInvalid, name)
		}
		quoted, begin, end := quotes(line[:m[0]]), m[0], m[1]
		switch {
		case quoted && line[begin-1] == '"' && end < len(line) && line[end] == '"' && typedValue.MatchString(value):
			begin, end = begin-1, end+1
		case quoted:
			text, _ := json.Marshal(value) // YAML takes JSON's escapes
			value = string(text[1 : len(text)-1])
		case !plainValue.MatchString(value):
			return "", fmt.Errorf("%w: {{%s}} must stand in double quotes for such a value", ErrInvalid, name)
		}
		out.WriteString(line[last:begin])
		out.WriteString(value)
		last = end
	}
	out.WriteString(line[last:])
	return out.String(), nil
}

// quotes tells whether what follows stands in double quotes.
func quotes(before string) (in bool) {
	for i := 0; i < len(before); i++ {
		switch {
		case before[i] == '\\' && in:
			i++
		case before[i] == '"':
			in = !in
		}
	}
	return in
}
