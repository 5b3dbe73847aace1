package web

import (
	"fmt"
	"slices"
	"strings"

	"parley/conference"
)

// DecodeCommand is what a body asks of a conference.
func DecodeCommand(b []byte) (conference.Command, error) {
	o, err := decodeCommand(b)
	return o.cmd, err
}

// Commands gives each command's fields.
func Commands() map[conference.Do][]string {
	all := map[conference.Do][]string{}
	for _, t := range conference.Asked() {
		all[t.Do] = slices.Concat([]string{}, t.Must, t.May)
	}
	return all
}

// CommandRows and ErrorRows are tables of API.md.
func CommandRows() (rows []string) {
	for _, t := range conference.Asked() {
		var rights []string
		if t.Right != "" {
			rights = append(rights, "`"+string(t.Right)+"`")
		}
		if t.Own != "" {
			rights = append(rights, "`"+string(t.Own)+"` for oneself")
		}
		rows = append(rows, "| "+string(t.Do)+" | "+strings.Join(t.Must, ", ")+" | "+strings.Join(t.May, ", ")+" | "+strings.Join(rights, "; ")+" |")
	}
	return rows
}

func ErrorRows() (rows []string) {
	for status := 400; status < 600; status++ {
		var codes []string
		for _, k := range faults {
			if k.status == status && !slices.Contains(codes, k.code) {
				codes = append(codes, k.code)
			}
		}
		for _, k := range fieldFaults {
			if k.status == status && !slices.Contains(codes, k.code) {
				codes = append(codes, k.code)
			}
		}
		if len(codes) > 0 {
			rows = append(rows, fmt.Sprintf("| %d | %s |", status, strings.Join(codes, ", ")))
		}
	}
	return rows
}

// RightFor is the right that a command about others takes.
func RightFor(do conference.Do) conference.Right {
	t, _ := conference.TakesOf(do)
	return t.Right
}
