package view

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Styles, as parameters of SGR (ECMA-48, 8.3.117). They are from the terminal's own sixteen colours.
const (
	plain   = ""
	bold    = "1"
	dim     = "2"
	red     = "31"
	green   = "32"
	yellow  = "33"
	cyan    = "36"
	title   = "1;7"
	alert   = "1;41;97"
	talking = "1;32"
)

// row is one line of the screen, filled from the left.
type row struct {
	b       strings.Builder
	used    int
	width   int
	colours bool
}

// add writes text in a style, as much as fits. Behind what is not ASCII the cursor is told its column: terminals do not
// agree on how wide every letter is, and what follows must stand in its place all the same.
func (r *row) add(style, text string) *row {
	s, n := clean(text, r.width-r.used)
	if n == 0 {
		return r
	}
	if style != "" && r.colours {
		r.b.WriteString("\x1b[" + style + "m" + s + "\x1b[0m")
	} else {
		r.b.WriteString(s)
	}
	r.used += n
	if len(s) != n && r.used < r.width {
		fmt.Fprintf(&r.b, "\x1b[%dG", r.used+1)
	}
	return r
}

// to fills up with spaces to a column, counted from 0.
func (r *row) to(column int) *row {
	if n := min(column, r.width) - r.used; n > 0 {
		r.b.WriteString(strings.Repeat(" ", n))
		r.used += n
	}
	return r
}

// right writes text so that it ends at the right edge, if there is room for all of it.
func (r *row) right(style, text string) *row {
	if _, n := clean(text, r.width); r.used+n+1 <= r.width {
		r.to(r.width-n).add(style, text)
	}
	return r
}

// page is the screen.
type page struct {
	rows    []*row
	width   int
	colours bool
}

func (p *page) row() *row {
	r := &row{width: p.width, colours: p.colours}
	p.rows = append(p.rows, r)
	return r
}

// rule is a line across, with a title in it.
func (p *page) rule(text string) {
	r := p.row()
	if text != "" {
		r.add(dim, "── ").add(bold, text).add(plain, " ")
	}
	r.add(dim, strings.Repeat("─", max(0, p.width-r.used)))
}

// Render draws s for a terminal of width × height cells: at most height lines of at most width cells, each ended so that
// nothing of the picture before it stays. The bytes hold no text of s that the terminal could take for a command.
func Render(s Snapshot, width, height int) []byte {
	if width < 1 || height < 1 {
		return nil
	}
	head := &page{width: width, colours: !s.NoColour}
	drawHead(head, s)
	foot := &page{width: width, colours: !s.NoColour}
	drawAddresses(foot, s)
	room := height - len(head.rows) - 1 // less the key line
	logRows := min(height/5, 8)
	switch { // the members come first
	case s.Help:
		foot.rows, logRows = nil, min(len(help), max(0, room-1))
	case room < 8:
		foot.rows, logRows = nil, 0
	case room < 16:
		foot.rows, logRows = nil, 2
	}
	people := &page{width: width, colours: !s.NoColour}
	drawMembers(people, s, max(0, room-len(foot.rows)-logRows-min(logRows, 1)))
	if logRows > 0 {
		rest := room - len(people.rows) - len(foot.rows) - 1
		drawLog(foot, s, rest)
	}

	var all []*row
	all = append(all, head.rows...)
	all = append(all, people.rows...)
	all = append(all, foot.rows...)
	if len(all) > height-1 {
		all = all[:height-1]
	}
	keys := &page{width: width, colours: !s.NoColour}
	drawKeys(keys)
	for len(all) < height-1 {
		all = append(all, &row{})
	}
	all = append(all, keys.rows...)
	return join(all)
}

func join(rows []*row) []byte {
	var b bytes.Buffer
	b.WriteString("\x1b[H")
	for i, r := range rows {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(r.b.String())
		if r.used < r.width || r.width == 0 { // in the last column it would take the last letter away
			b.WriteString("\x1b[K")
		}
	}
	b.WriteString("\x1b[J")
	return b.Bytes()
}

// drawHead is what the box itself would show: its state, lamps, and the place's sound.
func drawHead(p *page, s Snapshot) {
	state := green
	if s.State != "ready" {
		state = yellow
	}
	p.row().add(title, " parley ").add(plain, " ").add(bold, s.Box).add(plain, "  ").add(state, s.State).
		right(dim, s.Now.Format(time.TimeOnly)+"  up "+span(s.Uptime))
	for i, a := range s.Alerts {
		if i == 2 && len(s.Alerts) > 3 {
			p.row().add(alert, fmt.Sprintf(" ! and %d more ", len(s.Alerts)-2))
			break
		}
		p.row().add(alert, " ! ").add(plain, " ").add(bold, a)
	}

	r := p.row().add(plain, " ").add(onOff(s.MuteLamp, red), lampGlyph(s.MuteLamp)).add(plain, " ")
	if s.Muted {
		r.add(alert, " MUTED ")
		if len(s.Reason) > 0 {
			r.add(plain, " by ").add(red, strings.Join(s.Reason, ", "))
		}
	} else {
		r.add(green, "microphone open")
	}
	r.to(max(min(36, p.width/2), r.used+2))
	r.add(onOff(s.StatusLamp, green), lampGlyph(s.StatusLamp)).add(plain, " ").add(bold, s.Status)
	if s.Call != "" && s.Call != s.Status {
		r.add(plain, "  ").add(cyan, s.Call)
	}

	r = p.row().add(plain, " mic ")
	bar(r, s.Microphone, 12, s.Muted)
	if r.used+32 <= p.width {
		r.add(plain, "  speaker ")
		bar(r, s.Speaker, 12, false)
	}
	r.add(plain, fmt.Sprintf("  vol %d %%", s.Volume)).add(dim, "  card "+s.Card)
}

func lampGlyph(on bool) string {
	if on {
		return "●"
	}
	return "○"
}

func onOff(on bool, style string) string {
	if on {
		return style
	}
	return dim
}

// span is a duration as hours, minutes and seconds.
func span(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	return fmt.Sprintf("%d:%02d:%02d", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60)
}

// floorDB is the level at which a bar is empty, in dBFS.
const floorDB = -60

// bar draws a level as n cells and a figure of three letters.
func bar(r *row, m Measure, n int, quiet bool) {
	if !m.Known || math.IsNaN(m.Value) {
		r.add(dim, strings.Repeat("·", n)+"   –")
		return
	}
	lit := int(math.Round((m.Value - floorDB) / -floorDB * float64(n)))
	lit = max(0, min(n, lit))
	style := green
	switch {
	case quiet:
		style = dim
	case m.Value > -3:
		style = red
	case m.Value > -12:
		style = yellow
	}
	r.add(style, strings.Repeat("█", lit)).add(dim, strings.Repeat("·", n-lit))
	figure := "-∞"
	if m.Value > -100 {
		figure = strconv.Itoa(int(math.Round(min(m.Value, 0))))
	}
	r.add(plain, fmt.Sprintf("%4s", figure))
}

// number is a measure with a fixed number of places, or a dash.
func number(m Measure, places int) string {
	if !m.Known || math.IsNaN(m.Value) || math.IsInf(m.Value, 0) {
		return "–"
	}
	return strconv.FormatFloat(min(m.Value, 9999), 'f', places, 64)
}

func drawAddresses(p *page, s Snapshot) {
	if len(s.Addresses) == 0 {
		return
	}
	p.rule("reach")
	r := p.row().add(plain, " ")
	for _, a := range s.Addresses {
		_, n := clean(a.Name+" "+a.Value, p.width)
		if r.used > 1 && r.used+n+3 > p.width {
			r = p.row().add(plain, " ")
		} else if r.used > 1 {
			r.add(plain, "  ")
		}
		r.add(dim, a.Name+" ").add(plain, a.Value)
	}
}

// help says what the keys do.
var help = []string{
	"m  mute or open the microphone: closes at once, opens when the key has settled",
	"j  join the conference, answer a call, or leave",
	"+  louder      -  quieter",
	"R  held for ten seconds: factory reset",
	"?  this list   q  end the box (Ctrl-C too)",
	"▸ talking   level: dBFS   delay: ms in our buffers   –: not measured",
}

func drawLog(p *page, s Snapshot, rows int) {
	if rows < 1 {
		return
	}
	if s.Help {
		p.rule("help")
		for _, h := range help[:min(rows, len(help))] {
			p.row().add(plain, " "+h)
		}
		return
	}
	p.rule("log")
	for _, l := range s.Log[max(0, len(s.Log)-rows):] {
		style := plain
		if strings.Contains(l, "level=ERROR") {
			style = red
		} else if strings.Contains(l, "level=WARN") {
			style = yellow
		}
		p.row().add(style, " "+shorten(l))
	}
}

// shorten takes out of a line of slog's text handler what the picture tells otherwise: the date, and the level by colour.
func shorten(line string) string {
	rest, ok := strings.CutPrefix(line, "time=")
	if !ok {
		return line
	}
	stamp, rest, _ := strings.Cut(rest, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return line
	}
	for _, level := range []string{"level=INFO ", "level=WARN ", "level=ERROR ", "level=DEBUG "} {
		rest = strings.TrimPrefix(rest, level)
	}
	return at.Format(time.TimeOnly) + " " + strings.TrimPrefix(rest, "msg=")
}

func drawKeys(p *page) {
	r := p.row()
	for _, k := range [][2]string{{"m", "mute"}, {"j", "join/leave"}, {"+ -", "volume"}, {"?", "help"}, {"q", "quit"}} {
		if r.used+len(k[0])+len(k[1])+5 > p.width {
			break
		}
		r.add(plain, " ").add(title, " "+k[0]+" ").add(plain, " "+k[1])
	}
}
