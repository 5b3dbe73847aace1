package config

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// shape is how a short text may look: min to max bytes of a class, with the first and the last of another if that is given. Classes are
// written as between the brackets of a regular expression, a - of their own at the end. Regular expressions themselves would bring
// Unicode's tables and 0.2 MB into the image.
type shape struct {
	min, max           int
	class, first, last string
}

const (
	small  = "a-z0-9"
	letter = "0-9A-Za-z"
)

var (
	slugShape    = shape{1, 32, small + "-", small, small}
	numberShape  = shape{1, 32, letter + "._-", letter, ""}
	starShape    = shape{0, 32, "0-9*", "", ""}
	userIDShape  = shape{1, 64, letter + "._+-", letter, ""}
	eidShape     = shape{1, 32, letter + "-", "", ""}
	realmShape   = shape{1, 64, letter + "._-", letter, ""}
	roomShape    = shape{1, 8, "0-9", "", ""}
	hex32Shape   = shape{32, 32, "0-9a-f", "", ""}
	deviceShape  = shape{1, 64, letter + "_:=,.-", letter, ""} // auto and file, too
	dnsNameShape = shape{1, 253, letter + "._-", letter, letter}
	sipUserShape = shape{1, 128, letter + "._~*+!$&=,/:%-", "", ""}
	sipWordShape = shape{1, 512, letter + "._-", "", ""}
)

// fits tells whether s has the shape.
func (f shape) fits(s string) bool {
	if len(s) < f.min || len(s) > f.max {
		return false
	}
	for i := range len(s) {
		if !among(f.class, s[i]) || i == 0 && f.first != "" && !among(f.first, s[i]) ||
			i == len(s)-1 && f.last != "" && !among(f.last, s[i]) {
			return false
		}
	}
	return true
}

// among tells whether c is of class.
func among(class string, c byte) bool {
	for i := 0; i < len(class); i++ {
		if i+2 < len(class) && class[i+1] == '-' {
			if class[i] <= c && c <= class[i+2] {
				return true
			}
			i += 2
		} else if class[i] == c {
			return true
		}
	}
	return false
}

// dialled tells whether s is digits and *, with or without a + in front.
func dialled(s string) bool { return starShape.fits(strings.TrimPrefix(s, "+")) }

// oneLine tells whether s is 1 to 128 characters without a line break.
func oneLine(s string) bool {
	return s != "" && utf8.RuneCountInString(s) <= 128 && !strings.Contains(s, "\n")
}

// sipTail tells whether s is parameters of a SIP URI: ;name or ;name=value, any number of them.
func sipTail(s string) bool {
	for s != "" {
		rest, ok := strings.CutPrefix(s, ";")
		if !ok {
			return false
		}
		end := strings.IndexByte(rest, ';')
		if end < 0 {
			end = len(rest)
		}
		name, value, given := strings.Cut(rest[:end], "=")
		if !sipWordShape.fits(name) || given && !sipWordShape.fits(value) {
			return false
		}
		s = rest[end:]
	}
	return true
}

// isOffset tells whether s is written as +08:00.
func isOffset(s string) bool {
	const form = "+00:00"
	if len(s) != len(form) || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return false
	}
	return s[1] <= '1' && s[4] <= '5' && shape{4, 4, "0-9", "", ""}.fits(s[1:3]+s[4:])
}

// yamlLine takes the line out of what the YAML library says, as in "yaml: line 7: could not find expected ':'".
func yamlLine(s string) (line int, problem string, ok bool) {
	rest, ok := strings.CutPrefix(s, "yaml: line ")
	number, problem, found := strings.Cut(rest, ": ")
	line, err := strconv.Atoi(number)
	return line, problem, ok && found && err == nil && line > 0
}
