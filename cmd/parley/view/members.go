package view

import (
	"fmt"
	"strings"
)

// column is a column of the roster. The ones with the lowest need are left out first on a narrow terminal.
type column struct {
	head  string
	width int // cells, without the space before it
	need  int
	draw  func(r *row, m Member, width int)
}

const minName = 12

// columns stand in the order in which they are shown, behind mark and name.
var columns = []column{
	{"state", 8, 7, func(r *row, m Member, w int) { drawState(r, m.State, w) }},
	{"codec", 5, 5, func(r *row, m Member, w int) { text(r, plain, m.Codec, w) }},
	{"via", 8, 1, func(r *row, m Member, w int) { text(r, viaStyle(m), via(m), w) }},
	{"level", 12, 8, func(r *row, m Member, w int) { bar(r, m.Level, w-4, len(m.Mute) > 0) }},
	{"delay", 5, 3, func(r *row, m Member, w int) { figure(r, m.Delay, 0, w, 150) }},
	{"jitter", 6, 2, func(r *row, m Member, w int) { figure(r, m.Jitter, 1, w, 50) }},
	{"loss%", 5, 4, func(r *row, m Member, w int) { figure(r, m.Loss, 1, w, 3) }},
	{"rtt", 4, 0, func(r *row, m Member, w int) { figure(r, m.RTT, 0, w, 300) }},
	{"mute", 10, 6, func(r *row, m Member, w int) { text(r, red, strings.Join(m.Mute, ","), w) }},
}

func text(r *row, style, s string, width int) {
	s, _ = clean(s, width)
	r.add(style, s)
}

// figure is right-aligned, and yellow above what one would notice.
func figure(r *row, m Measure, places, width int, notice float64) {
	s, style := number(m, places), plain
	switch {
	case !m.Known:
		style = dim
	case m.Value > notice:
		style = yellow
	}
	_, n := clean(s, width)
	r.to(r.used+width-n).add(style, s)
}

// states are RFC 4575's words for a member (5.7.2), as people say them.
var states = map[string]struct{ word, style string }{
	"connected":    {"in call", green},
	"dialing-out":  {"calling", yellow},
	"dialing-in":   {"ringing", yellow},
	"alerting":     {"ringing", yellow},
	"on-hold":      {"on hold", dim},
	"disconnected": {"gone", dim},
}

// drawState draws a word that is not known as it is.
func drawState(r *row, state string, width int) {
	if s, ok := states[state]; ok {
		text(r, s.style, s.word, width)
		return
	}
	text(r, plain, state, width)
}

func via(m Member) string {
	if m.SRTP {
		return m.Transport + "+srtp"
	}
	return m.Transport
}

func viaStyle(m Member) string {
	if m.SRTP {
		return green
	}
	return plain
}

// fitting are the columns that have room beside a name of minName cells.
func fitting(width int) []column {
	used := 2 + minName
	keep := make([]bool, len(columns))
	for need := len(columns) - 1; need >= 0; need-- {
		for i, c := range columns {
			if c.need == need && used+1+c.width <= width {
				keep[i] = true
				used += 1 + c.width
			}
		}
	}
	var list []column
	for i, c := range columns {
		if keep[i] {
			list = append(list, c)
		}
	}
	return list
}

// drawMembers draws the conferences into at most rows lines.
func drawMembers(p *page, s Snapshot, rows int) {
	cols := fitting(p.width)
	name := p.width - 2
	for _, c := range cols {
		name -= 1 + c.width
	}
	name = min(max(name, minName), 32)
	for i, c := range s.Conferences {
		left := rows - len(p.rows)
		if left < 2 || left < 4 && len(s.Conferences)-i > 1 {
			if left > 0 {
				p.row().add(dim, fmt.Sprintf(" and %d more conferences", len(s.Conferences)-i))
			}
			return
		}
		drawConference(p, c, cols, name, left)
	}
}

func drawConference(p *page, c Conference, cols []column, name, rows int) {
	label := c.Number
	if c.Name != "" && c.Name != c.Number {
		label += " " + c.Name
	}
	label, _ = clean(label, max(8, p.width-24))
	count := fmt.Sprintf(" (%d)", len(c.Members))
	if len(c.Members) == 0 {
		count = " nobody here"
	}
	p.rule("conference " + label + count)
	if len(c.Members) == 0 {
		return
	}
	rows--
	if rows > len(c.Members) || rows > 5 { // heads are worth less than people
		r := p.row().add(plain, "  ").add(dim, "name")
		at := 2 + name
		for _, c := range cols {
			head := c.head
			if isFigure(head) {
				head = fmt.Sprintf("%*s", c.width, head)
			}
			r.to(at+1).add(dim, head)
			at += 1 + c.width
		}
		rows--
	}
	for i, m := range c.Members {
		if i == rows-1 && len(c.Members) > rows {
			p.row().add(dim, fmt.Sprintf("  and %d more", len(c.Members)-i))
			return
		}
		drawMember(p.row(), m, cols, name)
	}
}

func isFigure(head string) bool {
	return head == "delay" || head == "jitter" || head == "loss%" || head == "rtt"
}

func drawMember(r *row, m Member, cols []column, name int) {
	style := plain
	if m.Talking {
		style = talking
		r.add(talking, "▸ ")
	} else {
		r.add(plain, "  ")
	}
	label := m.Name
	if m.Number != "" && m.Number != m.Name {
		label = strings.TrimSpace(m.Name + " " + m.Number)
	}
	text(r, style, label, name)
	at := 2 + name
	for _, c := range cols {
		r.to(at + 1)
		c.draw(r, m, c.width)
		at += 1 + c.width
	}
}
