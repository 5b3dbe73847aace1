package view

import (
	"strings"
	"unicode"
)

// maxMarks is how many combining marks one letter keeps: enough for every script, too few to climb over other lines.
const maxMarks = 2

// clean makes text from outside harmless and fits it into width cells: control characters, direction and format marks and
// what is no valid UTF-8 are taken out, and what is too long ends in an ellipsis. It returns the cells that are used.
func clean(s string, width int) (string, int) {
	var b strings.Builder
	used, marks := 0, 0
	cut, cutAt := 0, 0 // where an ellipsis would go
	for _, r := range s {
		w := cells(r)
		switch {
		case w < 0:
			continue
		case w == 0:
			if marks++; marks > maxMarks || used == 0 {
				continue
			}
		default:
			marks = 0
		}
		if used+w > width {
			if width <= 0 {
				return "", 0
			}
			return b.String()[:cut] + "…", cutAt + 1
		}
		b.WriteRune(r)
		if used += w; used < width {
			cut, cutAt = b.Len(), used
		}
	}
	return b.String(), used
}

// wide are the letters that take two cells: the East Asian scripts and the pictures.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115f, 1}, {0x231a, 0x231b, 1}, {0x2329, 0x232a, 1}, {0x23e9, 0x23f3, 1}, {0x25fd, 0x25fe, 1}, {0x2614, 0x2615, 1},
		{0x2648, 0x2653, 1}, {0x267f, 0x2693, 20}, {0x26a1, 0x26a1, 1}, {0x26aa, 0x26ab, 1}, {0x26bd, 0x26be, 1}, {0x26c4, 0x26c5, 1},
		{0x26ce, 0x26d4, 6}, {0x26ea, 0x26ea, 1}, {0x26f2, 0x26f5, 1}, {0x26fa, 0x26fd, 3}, {0x2705, 0x2705, 1}, {0x270a, 0x270b, 1},
		{0x2728, 0x274c, 36}, {0x274e, 0x274e, 1}, {0x2753, 0x2755, 1}, {0x2757, 0x2757, 1}, {0x2795, 0x2797, 1}, {0x27b0, 0x27bf, 15},
		{0x2b1b, 0x2b1c, 1}, {0x2b50, 0x2b55, 5}, {0x2e80, 0x303e, 1}, {0x3041, 0x33ff, 1}, {0x3400, 0x4dbf, 1}, {0x4e00, 0xa4cf, 1},
		{0xa960, 0xa97c, 1}, {0xac00, 0xd7a3, 1}, {0xf900, 0xfaff, 1}, {0xfe10, 0xfe19, 1}, {0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1},
	},
	R32: []unicode.Range32{{0x16fe0, 0x18aff, 1}, {0x1b000, 0x1b2fb, 1}, {0x1f004, 0x1f004, 1}, {0x1f0cf, 0x1f0cf, 1}, {0x1f18e, 0x1f19a, 1}, {0x1f200, 0x1f320, 1},
		{0x1f32d, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f7e0, 0x1f7f0, 1}, {0x1f900, 0x1faff, 1}, {0x20000, 0x3fffd, 1}},
}

// cells is how wide r is on the screen; -1 for what is not shown at all.
func cells(r rune) int {
	switch {
	case r >= ' ' && r < 0x7f:
		return 1
	case r == unicode.ReplacementChar, r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0100 && r <= 0xe01ef, r >= 0x1160 && r <= 0x11ff:
		return -1 // variation selectors and joining vowels change the width of their neighbours
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case !unicode.IsPrint(r): // control, format (direction marks), private use, unassigned, other spaces
		return -1
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}
