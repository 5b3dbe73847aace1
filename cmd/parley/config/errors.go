package config

import (
	"fmt"
	"strings"
)

// Error is one thing that is wrong in a settings file.
type Error struct {
	File         string // the layer's name; empty for the defaults
	Line, Column int    // from 1; 0 where the file has no such place
	Key          string // full name, such as "card.volume"
	Problem      string // what is wrong
	Remedy       string // what would be right
	Kind         error  // ErrUnknownSetting, ErrNoSecret, or nil: a wrong value
}

// Unwrap gives the kind.
func (e *Error) Unwrap() error { return e.Kind }

// Error is one line: file:line:column: key: problem; remedy.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ":")
		if e.Line > 0 {
			fmt.Fprintf(&b, "%d:%d:", e.Line, e.Column)
		}
		b.WriteByte(' ')
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Problem)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// Errors is everything that is wrong in a file, in the file's order, at most 20.
type Errors []*Error

// Error is one line per problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// nearest is the candidate that word was most likely meant to be, or "".
func nearest(word string, candidates []string) string {
	best, least := "", 1+len(word)/3 // a third of the letters may be wrong
	if least > 4 {
		least = 4
	}
	for _, c := range candidates {
		if len(c) > len(word)+least || len(word) > len(c)+least {
			continue
		}
		if d := distance(word, c); d <= least && (best == "" || d < least) {
			best, least = c, d
		}
	}
	return best
}

// distance counts the letters that must be put in, taken out, changed or swapped with their neighbour to make b of a.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
