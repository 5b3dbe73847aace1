package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"parley/mqtt/wire"
)

// boxTable draws what is known of boxes, as wide as the terminal is: at 80 columns what one needs every day, and with more room what one
// looks for now and then.
type boxTable struct {
	width  int
	now    time.Time
	colour bool
	dir    string
}

// tableColumn is one column; those with the smallest rank are shown first.
type tableColumn struct {
	head string
	rank int
	most int // widest
	text func(*boxTable, *boxFacts) string
}

var tableColumns = []tableColumn{
	{"BOX", 0, 32, func(_ *boxTable, b *boxFacts) string { return b.name }},
	{"STATE", 0, 12, func(_ *boxTable, b *boxFacts) string { s, _ := b.standing(); return s }},
	{"SETTINGS", 0, 16, func(_ *boxTable, b *boxFacts) string { s, _ := b.settings(); return s }},
	{"DRIFT", 1, 5, func(_ *boxTable, b *boxFacts) string { return counted(driftOf(b)) }},
	{"ALERTS", 1, 6, func(_ *boxTable, b *boxFacts) string { return counted(len(b.alerts)) }},
	{"FIRMWARE", 1, 14, func(_ *boxTable, b *boxFacts) string { return b.version() }},
	{"SLOT", 1, 4, func(_ *boxTable, b *boxFacts) string {
		if b.info == nil {
			return ""
		}
		return b.info.Slot
	}},
	{"SEEN", 1, 10, func(t *boxTable, b *boxFacts) string { return t.lastSeen(b) }},
	{"MODEL", 3, 12, func(_ *boxTable, b *boxFacts) string { return b.model() }},
	{"SERIAL", 4, 24, func(_ *boxTable, b *boxFacts) string { return b.serial() }},
	{"ADDRESS", 5, 39, func(_ *boxTable, b *boxFacts) string { return b.address() }},
	{"NOTE", 2, 1 << 10, func(t *boxTable, b *boxFacts) string { return b.note(t.dir) }},
}

const leastRank = 5 // of columns

func (t *boxTable) show(facts []*boxFacts, onlyBad bool) string {
	if len(facts) == 0 {
		return "no box has asked to be taken in\n"
	}
	rows := facts
	if onlyBad {
		rows = slices.DeleteFunc(slices.Clone(facts), (*boxFacts).allRight)
	}
	cells, widths := t.cells(rows)
	shown, beneath := t.fit(widths)
	var out strings.Builder
	if len(rows) > 0 {
		heads := make([]string, len(tableColumns))
		for i, c := range tableColumns {
			heads[i] = c.head
		}
		t.line(&out, heads, widths, shown, nil)
	}
	for r, b := range rows {
		t.line(&out, cells[r], widths, shown, b)
		if note := cells[r][len(tableColumns)-1]; beneath && note != "" {
			out.WriteString(clipped("  "+note, t.width) + "\n")
		}
	}
	out.WriteString(summary(facts))
	return out.String()
}

// cells gives what stands in each row, and how wide each column is: 0 if there is nothing in it.
func (t *boxTable) cells(rows []*boxFacts) (cells [][]string, widths []int) {
	cells, widths = make([][]string, len(rows)), make([]int, len(tableColumns))
	for r, b := range rows {
		cells[r] = make([]string, len(tableColumns))
		for i, c := range tableColumns {
			cells[r][i] = clipped(harmless(c.text(t, b)), c.most)
			if cells[r][i] != "" {
				widths[i] = max(widths[i], len(c.head), utf8.RuneCountInString(cells[r][i]))
			}
		}
	}
	return cells, widths
}

// fit chooses the columns for which there is room, by rank. Notes have a column if they are whole in it, else they stand beneath.
func (t *boxTable) fit(widths []int) (shown []bool, beneath bool) {
	shown = make([]bool, len(tableColumns))
	left := t.width
	for rank := 0; rank <= leastRank; rank++ {
		for i, c := range tableColumns {
			if c.rank == rank && widths[i] > 0 && (rank == 0 || left >= widths[i]) {
				shown[i] = true
				left -= widths[i] + 2
			}
		}
	}
	return shown, !shown[len(tableColumns)-1]
}

const (
	red, yellow, dim, plainColour = "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
)

func (t *boxTable) line(out *strings.Builder, cells []string, widths []int, shown []bool, b *boxFacts) {
	var line strings.Builder
	for i, c := range cells {
		if !shown[i] {
			continue
		}
		c = clipped(c, widths[i])
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)+2)
		line.WriteString(t.painted(tableColumns[i].head, c, b) + pad)
	}
	out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// painted gives what should be seen its colour.
func (t *boxTable) painted(head, text string, b *boxFacts) string {
	if !t.colour || text == "" {
		return text
	}
	colour := ""
	switch {
	case b == nil:
		colour = dim
	case head == "STATE":
		switch word, good := b.standing(); {
		case word == string(wire.Lost) || word == stateRefused:
			colour = red
		case !good:
			colour = yellow
		}
	case head == "SETTINGS":
		if _, good := b.settings(); !good {
			colour = yellow
		}
		if r := b.reported; r != nil && r.Rejected != nil && b.record != nil && r.Rejected.Version == b.record.Version {
			colour = red
		}
	case head == "DRIFT" || head == "ALERTS":
		colour = yellow
	}
	if colour == "" {
		return text
	}
	return colour + text + plainColour
}

// clipped cuts a text that is too long, and shows that it did.
func clipped(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

func counted(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func driftOf(b *boxFacts) int {
	if b.reported == nil {
		return 0
	}
	return len(b.reported.Drift)
}

func (b *boxFacts) allRight() bool {
	_, state := b.standing()
	_, settings := b.settings()
	if b.reported != nil && b.reported.Rejected != nil {
		return false
	}
	return state && settings && driftOf(b) == 0 && len(b.alerts) == 0 && b.waiting == nil && b.updating() == ""
}

func (b *boxFacts) version() string {
	switch {
	case b.info != nil:
		return b.info.Firmware
	case b.record != nil:
		return b.record.Firmware
	}
	return ""
}

func (b *boxFacts) model() string {
	switch {
	case b.info != nil:
		return b.info.Model
	case b.record != nil:
		return b.record.Model
	case b.waiting != nil:
		return b.waiting.Model
	}
	return ""
}

func (b *boxFacts) serial() string {
	switch {
	case b.record != nil:
		return b.record.Serial
	case b.waiting != nil:
		return b.waiting.Serial
	case b.info != nil:
		return b.info.Serial
	}
	return ""
}

func (b *boxFacts) address() string {
	if b.info == nil || len(b.info.Addresses) == 0 {
		return ""
	}
	return b.info.Addresses[0]
}

// lastSeen tells when the box was there last: it is now, while the broker has not told otherwise.
func (t *boxTable) lastSeen(b *boxFacts) string {
	if b.state != nil && b.state.State != wire.Lost && b.state.State != wire.Disconnected && (b.record == nil || !b.record.Released) {
		return "now"
	}
	if b.seen.IsZero() {
		return ""
	}
	switch ago := t.now.Sub(b.seen); {
	case ago < time.Minute:
		return "now"
	case ago < time.Hour:
		return fmt.Sprintf("%d min", int(ago/time.Minute))
	case ago < 24*time.Hour:
		return fmt.Sprintf("%d h", int(ago/time.Hour))
	}
	return b.seen.Local().Format("2006-01-02")
}

// summary counts boxes by what is with them.
func summary(facts []*boxFacts) string {
	states := map[string]int{}
	behind := 0
	for _, b := range facts {
		word, _ := b.standing()
		states[word]++
		if _, good := b.settings(); !good {
			behind++
		}
	}
	var parts []string
	for _, word := range sortedKeys(states) {
		parts = append(parts, fmt.Sprintf("%d %s", states[word], word))
	}
	text := count(len(facts), "box", "boxes") + ": " + strings.Join(parts, ", ") + "\n"
	if behind > 0 {
		text += count(behind, "box is", "boxes are") + " without the settings that were told\n"
	}
	return text
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

// terminalWidth is that of the terminal; without one, what COLUMNS says, or 80.
func terminalWidth() int {
	if size, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
		return int(size.Col)
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	return 80
}
