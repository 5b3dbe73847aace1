package view

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// screen is a terminal small enough to be trusted: it knows what Render may send, and fails on everything else.
func screen(t *testing.T, frame []byte, width, height int) []string {
	t.Helper()
	cells := make([][]string, height)
	for y := range cells {
		cells[y] = make([]string, width)
	}
	x, y := 0, 0
	for s := string(frame); s != ""; {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == 0x1b:
			end := strings.IndexAny(s, "HGKJm")
			if end < 2 || s[1] != '[' || strings.Trim(s[2:end], "0123456789;") != "" {
				t.Fatalf("a sequence that the picture has no need of: %q", s[:min(len(s), 20)])
			}
			switch args := s[2:end]; s[end] {
			case 'H':
				x, y = 0, 0
			case 'G':
				column, _ := strconv.Atoi(args)
				if column-1 != x {
					t.Fatalf("column %d is told at column %d", column-1, x)
				}
			case 'K':
				for i := x; i < width; i++ {
					cells[y][i] = ""
				}
			case 'J':
				if y != height-1 {
					t.Fatalf("the picture ends in line %d of %d", y, height)
				}
			}
			s = s[end+1:]
			continue
		case r == '\r':
			x = 0
		case r == '\n':
			if y++; y == height {
				t.Fatal("too many lines")
			}
		case cellsOf(t, r) == 0:
			if x > 0 {
				cells[y][x-1] += string(r)
			}
		default:
			w := cellsOf(t, r)
			if x+w > width {
				t.Fatalf("line %d is too long at %q", y, s[:min(len(s), 20)])
			}
			cells[y][x] = string(r)
			if w == 2 {
				cells[y][x+1] = ""
			}
			x += w
		}
		s = s[n:]
	}
	lines := make([]string, height)
	for y, line := range cells {
		for i, c := range line {
			if c == "" && (i == 0 || cellsOf(t, firstRune(line[i-1])) != 2) {
				c = " "
			}
			lines[y] += c
		}
		lines[y] = strings.TrimRight(lines[y], " ")
	}
	return lines
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

func cellsOf(t *testing.T, r rune) int {
	n := cells(r)
	if n < 0 && r != utf8.RuneError {
		t.Fatalf("%U reaches the screen", r)
	}
	return max(n, 0)
}

func sample() Snapshot {
	m := Measured
	return Snapshot{
		Box: "hq-12", State: "ready", Now: time.Date(2026, 1, 1, 12, 34, 56, 0, time.UTC), Uptime: 3*time.Hour + 2*time.Second,
		Muted: true, Reason: []string{"hardware"}, Call: "in 1000", Status: "in call", MuteLamp: true, Volume: 70, Card: "file",
		Microphone: m(-23), Speaker: m(-40.4),
		Conferences: []Conference{{Number: "1000", Members: []Member{
			{Name: "Room", Number: "100", State: "connected", Mute: []string{"hardware"}, Level: m(-120)},
			{Name: "alice", Number: "2001", State: "connected", Codec: "opus", Transport: "tls", SRTP: true, Talking: true, Level: m(-18), Delay: m(60), Jitter: m(2.34), Loss: m(0), RTT: m(14)},
			{Name: "李小龙", Number: "2002", State: "on-hold", Codec: "g722", Transport: "udp", Level: m(-54), Mute: []string{"self", "host"}},
		}}},
		Addresses: []Address{{"SIP", "127.0.0.1:5060"}, {"HTTP", "http://127.0.0.1:8080"}},
		Log:       []string{"level=WARN msg=x"},
	}
}

func TestPicture(t *testing.T) {
	want := ` parley  hq-12  ready                                       12:34:56  up 3:00:02
 ●  MUTED  by hardware              ○ in call  in 1000
 mic ███████····· -23  speaker ████········ -40  vol 70 %  card file
── conference 1000 (3) ─────────────────────────────────────────────────────────
  name            state    codec level        delay jitter loss%  rtt mute
  Room 100        in call        ········  -∞     –      –     –    – hardware
▸ alice 2001      in call  opus  ██████·· -18    60    2.3   0.0   14
  李小龙 2002     on hold  g722  █······· -54     –      –     –    – self,host
── reach ───────────────────────────────────────────────────────────────────────
 SIP 127.0.0.1:5060  HTTP http://127.0.0.1:8080
── log ─────────────────────────────────────────────────────────────────────────
 level=WARN msg=x`
	lines := screen(t, Render(sample(), 80, 24), 80, 24)
	if got := strings.Join(lines[:12], "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := lines[23]; got != "  m  mute  j  join/leave  + -  volume  ?  help  q  quit" {
		t.Errorf("keys: %q", got)
	}
	wide := strings.Join(screen(t, Render(sample(), 120, 30), 120, 30), "\n")
	if !strings.Contains(wide, "▸ alice 2001                       in call  opus  tls+srtp ██████·· -18    60    2.3   0.0   14") {
		t.Errorf("wide:\n%s", wide)
	}
}

// On every terminal the picture keeps inside its edges, and what matters most is the last to go.
func TestEverySize(t *testing.T) {
	s := sample()
	s.Alerts = []string{"card unplugged", "broker gone", "disk full", "clock unset"}
	for i := range 300 {
		s.Conferences[0].Members = append(s.Conferences[0].Members, Member{Name: fmt.Sprint("phone ", i)})
		s.Log = append(s.Log, "line")
	}
	s.Conferences = append(s.Conferences, Conference{Number: "2000", Name: "Second"}, Conference{Number: "3000"})
	for _, s.Help = range []bool{false, true} {
		for width := 1; width < 180; width += 1 + width/6 {
			for height := 1; height < 70; height += 1 + height/6 {
				screen(t, Render(s, width, height), width, height)
			}
		}
	}
	small := strings.Join(screen(t, Render(sample(), 40, 8), 40, 8), "\n")
	for _, want := range []string{"MUTED", "Room", "alice", " m "} {
		if !strings.Contains(small, want) {
			t.Errorf("40×8 has no %s:\n%s", want, small)
		}
	}
	help := strings.Join(screen(t, Render(s, 80, 24), 80, 24), "\n")
	if !strings.Contains(help, "j  join the conference") || !strings.Contains(help, "q  end the box") {
		t.Errorf("help:\n%s", help)
	}
	if len(Render(s, 0, 5)) != 0 || len(Render(s, 5, 0)) != 0 {
		t.Error("a terminal without cells is drawn on")
	}
}

// The gate is told by word, not by colour alone.
func TestGateIsShown(t *testing.T) {
	s := sample()
	s.NoColour = true
	if f := string(Render(s, 80, 24)); strings.Contains(f, "m ") && strings.Contains(f, "\x1b[1m") || !strings.Contains(f, "MUTED  by hardware") {
		t.Error("not told, or in colours")
	}
	s.Muted, s.MuteLamp = false, false
	if f := string(Render(s, 80, 24)); strings.Contains(f, "MUTED") || !strings.Contains(f, "microphone open") {
		t.Error("the open gate is not shown")
	}
}

// Texts from outside are made harmless.
func TestClean(t *testing.T) {
	for _, x := range []struct {
		in    string
		width int
		want  string
		cells int
	}{
		{"plain", 10, "plain", 5},
		{"a\x1b[2J\x07b\r\nc\x00\u009bd", 20, "a[2Jbcd", 7},
		{"\u202eevil\u2066\u200f\u061c", 20, "evil", 4},
		{"\xff\xfea\xc3", 20, "a", 1},
		{"zero\u200bwidth\ufeff", 20, "zerowidth", 9},
		{"李小龙", 6, "李小龙", 6},
		{"李小龙", 5, "李小…", 5},
		{"李小龙", 4, "李…", 3},
		{"e\u0301a", 2, "e\u0301a", 2},
		{"z\u0301\u0302\u0303\u0304a", 5, "z\u0301\u0302a", 2},
		{"\u0301a", 5, "a", 1},
		{"toolong", 4, "too…", 4},
		{"ab", 1, "…", 1},
		{"ab", 0, "", 0},
		{"👍 ok", 10, "👍 ok", 5},
		{"a\u00a0b\u2028c", 10, "abc", 3},
	} {
		got, n := clean(x.in, x.width)
		if got != x.want || n != x.cells {
			t.Errorf("clean(%q, %d) = %q, %d; want %q, %d", x.in, x.width, got, n, x.want, x.cells)
		}
	}
}

func TestShorten(t *testing.T) {
	for _, x := range [][2]string{
		{`time=2026-11-21T21:43:27.213Z level=WARN msg="broker gone" broker=x`, `21:43:27 "broker gone" broker=x`},
		{`time=noon level=INFO msg=x`, `time=noon level=INFO msg=x`},
		{`time=`, `time=`},
		{`parley is ready`, `parley is ready`},
	} {
		if got := shorten(x[0]); got != x[1] {
			t.Errorf("%q, want %q", got, x[1])
		}
	}
}

func FuzzRender(f *testing.F) {
	f.Add("alice", "in call", "level=INFO x", 80, 24, -20.0)
	f.Add("\x1b]0;x\x07\u202e", "李", "\x9b31m", 31, 9, 1e300)
	f.Fuzz(func(t *testing.T, name, state, log string, width, height int, level float64) {
		width, height = 1+(width&0xff), 1+(height&0x7f)
		m := Measured(level)
		s := Snapshot{Box: name, State: state, Alerts: []string{name}, Reason: []string{state}, Muted: true, Call: name, Status: state, Card: name,
			Microphone: m, Speaker: m, Volume: width, Log: []string{log, log}, Addresses: []Address{{name, state}},
			Conferences: []Conference{{Number: name, Name: state, Members: []Member{{Name: name, Number: state, State: state, Codec: name, Transport: name,
				SRTP: true, Talking: true, Mute: []string{name, state}, Level: m, Delay: m, Jitter: m, Loss: m, RTT: m}}}}}
		screen(t, Render(s, width, height), width, height)
	})
}
