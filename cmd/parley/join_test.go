package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// What each place says, Hz. Neither is near a tone of the box's own.
const (
	nearSays = 1200.0
	farSays  = 2300.0
)

// parlour is a box with a watch on its topics and a hand on its keys.
type parlour struct {
	*boxtest.Box
	t     testing.TB
	watch *boxtest.Watch
}

func newParlour(t testing.TB, says float64, settings boxtest.Settings) *parlour {
	t.Helper()
	cfg := boxtest.Settings{"keys": boxtest.Settings{"double_press": "100ms"}}
	for k, v := range settings {
		cfg[k] = v
	}
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(says), Settings: cfg})
	return &parlour{Box: box, t: t, watch: box.Watch()}
}

// headquarters is a box that lets nobody in without a digest.
func headquarters(t testing.TB, place boxtest.Settings) *parlour {
	t.Helper()
	return newParlour(t, farSays, boxtest.Settings{
		"sip": boxtest.Settings{
			"trust_loopback": false,
			"users":          []any{boxtest.Settings{"name": "branch", "password": "let me in"}},
		},
		"place":       place,
		"conferences": []any{boxtest.Settings{"number": "1000"}, boxtest.Settings{"number": "2000", "max": 2}},
	})
}

// branchOf is a box that is registered at hq, and whose join key calls join there.
func branchOf(t testing.TB, hq *parlour, password string, place boxtest.Settings) *parlour {
	t.Helper()
	b := newParlour(t, nearSays, boxtest.Settings{
		"sip": boxtest.Settings{
			"upstreams": []any{boxtest.Settings{"name": "hq", "registrar": hq.SIP, "user": "branch", "password": password}},
			"routes":    []any{boxtest.Settings{"prefix": "9", "strip": 1, "gateways": []string{"hq"}}},
		},
		"place": place,
	})
	return b
}

func secret(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("let me in\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// join presses the join key once, and returns when the box has told of it. It can be called again at once: that is no double
// press.
func (p *parlour) join() {
	p.t.Helper()
	p.pressJoin("pressed")
}

// pressJoin presses the key and tells whether the box has taken it for this event.
func (p *parlour) pressJoin(want string) bool {
	p.t.Helper()
	told := func() (events []string) {
		for _, m := range p.watch.Messages("/keys") {
			for _, e := range []string{"pressed", "double"} {
				if strings.Contains(string(m.Payload), `"join"`) && strings.Contains(string(m.Payload), `"`+e+`"`) {
					events = append(events, e)
				}
			}
		}
		return events
	}
	n := len(told())
	p.Press("j")
	phonetest.Eventually(p.t, 20*time.Second, "the key is told of", func() bool { return len(told()) > n })
	time.Sleep(150 * time.Millisecond) // sooner it would be the terminal's repetition of the same press
	return told()[n] == want
}

// call waits until the call topic's newest message shows one call, in this direction and state; "" for none at all.
func (p *parlour) call(direction, state string) {
	p.t.Helper()
	phonetest.Eventually(p.t, 20*time.Second, "the call is "+direction+" "+state, func() bool {
		list := p.watch.Messages("/call")
		if len(list) == 0 {
			return false
		}
		text := string(list[len(list)-1].Payload)
		if state == "" {
			return strings.Contains(text, `"calls":[]`)
		}
		return strings.Count(text, `"id"`) == 1 && strings.Contains(text, `"direction":"`+direction+`"`) &&
			strings.Contains(text, `"state":"`+state+`"`)
	})
}

// sounds waits until the room has heard a tone of hz at n or more windows of 100 ms since the recording was from long.
func (p *parlour) sounds(what string, hz float64, from time.Duration, n int) {
	p.t.Helper()
	phonetest.Eventually(p.t, 20*time.Second, "the room hears "+what, func() bool {
		s := p.Speaker()
		return s.Between(from, s.Duration()).Tone(hz).Above(-40) >= n
	})
}

// now is how long the recording of the speaker is.
func (p *parlour) now() time.Duration { return p.Speaker().Duration() }

// beats are how long, in ms, the sound is there each time; the last one, which may go on, is left out.
func beats(s phonetest.Sound) (list []int) {
	const step = 20 * time.Millisecond
	n := 0
	for at := time.Duration(0); at+step <= s.Duration(); at += step {
		if s.Between(at, at+step).RMS() > -50 {
			n++
		} else if n > 0 {
			list = append(list, n*20)
			n = 0
		}
	}
	return list
}

// rhythm waits until the room has heard two beats of ms at hz since from.
func (p *parlour) rhythm(what string, hz float64, ms int, from time.Duration) {
	p.t.Helper()
	var got []int
	phonetest.Eventually(p.t, 20*time.Second, "the room hears "+what, func() bool {
		s := p.Speaker()
		s = s.Between(from, s.Duration())
		got = beats(s)
		good := 0
		for _, b := range got {
			if b >= ms-40 && b <= ms+40 {
				good++
			}
		}
		return good >= 2 && s.Tone(hz).Max() > -40
	})
}

// silent holds that the room has never heard hz.
func (p *parlour) silent(who string, hz float64) {
	p.t.Helper()
	if got := p.Speaker().Tone(hz).Max(); got > -60 {
		p.t.Errorf("the room has heard %s at %.1f dBFS", who, got)
	}
}

// the join key calls; the far end rings, with its digest passed, and nobody hears anybody before the far end's key is
// pressed; then both do; either side hangs up with its key.
func TestJoinKeyCallsAndTheFarKeyAnswers(t *testing.T) {
	t.Parallel()
	hq := headquarters(t, nil)
	near := branchOf(t, hq, "let me in", boxtest.Settings{"join": "9100"})
	for _, hangsUp := range []string{"near", "far"} {
		from, farFrom := near.now(), hq.now()
		before := near.Speaker().Tone(farSays).Above(-40)
		farBefore := hq.Speaker().Tone(nearSays).Above(-40)
		near.join()
		near.call("out", "alerting")
		hq.call("in", "alerting")
		near.sounds("the far end ring", 425, from, 5)
		hq.sounds("the bell", 880, farFrom, 2)
		if n, m := near.Speaker().Tone(farSays).Above(-40), hq.Speaker().Tone(nearSays).Above(-40); n != before || m != farBefore {
			t.Errorf("heard before the key was pressed: %d windows here, %d there", n-before, m-farBefore)
		}
		hq.join()
		near.call("out", "connected")
		hq.call("in", "connected")
		hears(t, "the near room", farSays, near.Speaker)
		hears(t, "the far room", nearSays, hq.Speaker)
		if hangsUp == "near" {
			near.join()
		} else {
			hq.join()
		}
		near.call("", "")
		hq.call("", "")
		hearsNot(t, "the near room", farSays, near.Speaker)
		hearsNot(t, "the far room", nearSays, hq.Speaker)
	}
}

// how a call that comes to nothing ends is heard, and the place is free afterwards.
func TestJoinKeyIsToldHowItEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, join, password string
		hz                   float64
		beat                 int
		why                  string
		others               int // calls at the far end
	}{
		{"busy", "92000", "let me in", 425, 480, "486", 2},
		{"refused: no such number", "9555", "let me in", 425, 240, "404", 0},
		{"refused: wrong password", "9100", "wrong", 425, 240, "401", 0},
		{"no answer", "9100", "let me in", 1400, 1000, "no answer", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hq := headquarters(t, nil)
			for range c.others { // conference 2000 takes no more
				hq.Call("2000", "-user", "branch", "-password-file", secret(t)).WaitLine("answered", 20*time.Second)
			}
			near := branchOf(t, hq, c.password, boxtest.Settings{"join": c.join, "no_answer": "5s"})
			near.join()
			near.call("", "")
			from := near.now()
			near.rhythm(c.name, c.hz, c.beat, from)
			near.WaitLine(c.why, 20*time.Second)
			// It ends by itself, and the key calls again.
			phonetest.Eventually(t, 20*time.Second, "the tone ends", func() bool {
				s := lately(near.Speaker(), time.Second)
				return s.Duration() >= time.Second && s.Loudest() < -60
			})
			from = near.now()
			near.join()
			near.rhythm(c.name, c.hz, c.beat, from)
			near.silent("the far room", farSays)
			hq.silent("the near room", nearSays)
			hq.calls(c.others)
		})
	}
}

// calls waits until there are n calls.
func (p *parlour) calls(n int) {
	p.t.Helper()
	phonetest.Eventually(p.t, 20*time.Second, fmt.Sprint(n, " calls"), func() bool {
		list := p.watch.Messages("/call")
		return len(list) > 0 && strings.Count(string(list[len(list)-1].Payload), `"id"`) == n
	})
}

// pressed twice quickly the key does what one press does: it calls once, and takes nothing back.
func TestJoinKeyPressedTwice(t *testing.T) {
	t.Parallel()
	hq := headquarters(t, nil)
	near := newParlour(t, nearSays, boxtest.Settings{
		"keys": boxtest.Settings{"double_press": "2s"},
		"sip": boxtest.Settings{
			"upstreams": []any{boxtest.Settings{"name": "hq", "registrar": hq.SIP, "user": "branch", "password": "let me in"}},
			"routes":    []any{boxtest.Settings{"prefix": "9", "strip": 1, "gateways": []string{"hq"}}},
		},
		"place": boxtest.Settings{"join": "9100"},
	})
	if !near.pressJoin("pressed") || !near.pressJoin("double") {
		t.Skip("this machine is too busy to press a key twice within 2 s")
	}
	near.call("out", "alerting")
	hq.call("in", "alerting")
	hq.join()
	hears(t, "the near room", farSays, near.Speaker)
	hears(t, "the far room", nearSays, hq.Speaker)
	near.call("out", "connected")

	// And when it leaves.
	time.Sleep(2100 * time.Millisecond)
	if !near.pressJoin("pressed") || !near.pressJoin("double") {
		t.Skip("this machine is too busy to press a key twice within 2 s")
	}
	near.call("", "")
	hq.call("", "")
	from := near.now()
	phonetest.Eventually(t, 20*time.Second, "three seconds", func() bool { return near.now() > from+3*time.Second })
	if s := near.Speaker(); s.Between(from+time.Second, s.Duration()).Loudest() > -60 { // the file lags behind the room
		t.Error("the second press has called again")
	}
	near.call("", "")
}

// pressed again before the far end has answered, the key takes the call back.
func TestJoinKeyTakesBackACallThatRings(t *testing.T) {
	t.Parallel()
	hq := headquarters(t, nil)
	near := branchOf(t, hq, "let me in", boxtest.Settings{"join": "9100"})
	near.join()
	near.sounds("the far end ring", 425, 0, 5)
	hq.sounds("the bell", 880, 0, 2)
	near.join()
	near.call("", "")
	hq.call("", "")
	for _, p := range []*parlour{near, hq} {
		phonetest.Eventually(t, 20*time.Second, "quiet", func() bool {
			s := lately(p.Speaker(), time.Second)
			return s.Duration() >= time.Second && s.Loudest() < -60
		})
	}
	near.silent("the far room", farSays)
	hq.silent("the near room", nearSays)
}

// a call to the room rings until the key is pressed, and nobody is let in before; if nobody comes, the caller is told.
func TestIncomingCallIsTakenByKey(t *testing.T) {
	t.Parallel()
	hq := headquarters(t, boxtest.Settings{"join": "branch"})
	near := branchOf(t, hq, "let me in", boxtest.Settings{"no_answer": "15s"})
	near.WaitLine("sip: registered", 20*time.Second)
	from := near.now()
	hq.join()
	near.call("in", "alerting")
	near.sounds("the bell", 880, from, 3)
	near.silent("the far room", farSays)
	hq.silent("the near room", nearSays)
	near.join()
	near.call("in", "connected")
	hears(t, "the near room", farSays, near.Speaker)
	hears(t, "the far room", nearSays, hq.Speaker)
	near.join()
	hq.call("", "")

	hq.join()
	near.call("in", "alerting")
	hq.rhythm("that nobody answers", 1400, 1000, hq.now())
	near.call("", "")
}

// a second call while in one knocks; the key takes it into the same conference. Who is not taken is told 486, and was not
// heard.
func TestSecondCallKnocks(t *testing.T) {
	t.Parallel()
	hq := headquarters(t, nil)
	near := branchOf(t, hq, "let me in", boxtest.Settings{"join": "9100", "no_answer": "6s"})
	near.join()
	hq.call("in", "alerting")
	hq.join()
	hears(t, "the near room", farSays, near.Speaker)

	record := filepath.Join(t.TempDir(), "second.wav")
	dial := func() *phonetest.Process {
		return near.Call("100", "-codec", "pcmu", "-tone", "3000", "-level", "-23", "-record", record)
	}
	from := near.now()
	second := dial()
	near.sounds("the knock", 425, from, 2)
	if code := second.Wait(30 * time.Second); code == 0 || !strings.Contains(second.Tail(3), "486") {
		t.Errorf("who was not taken: exit status %d: %s", code, second.Tail(3))
	}
	near.silent("who was not taken", 3000)
	hq.silent("who was not taken", 3000)
	near.call("out", "connected")

	from = near.now()
	third := dial()
	near.sounds("the knock", 425, from, 2)
	near.join()
	third.WaitLine("answered", 20*time.Second)
	heard := func() phonetest.Sound { return phonetest.ReadWAV(t, record) }
	hears(t, "the near room", 3000, near.Speaker)
	hears(t, "the far room", 3000, hq.Speaker)
	hears(t, "the third", nearSays, heard)
	hears(t, "the third", farSays, heard)
	near.join() // leaves; the two go on without the room
	near.calls(2)
	hearsNot(t, "the third", nearSays, heard)
	hears(t, "the third", farSays, heard)
}

// with auto_answer a call to the room is taken without a key: muted, nobody hears the room until the mute key is pressed;
// open, they do.
func TestAutoAnswer(t *testing.T) {
	t.Parallel()
	for answer, muted := range map[string]bool{"muted": true, "open": false} {
		room := newParlour(t, nearSays, boxtest.Settings{"place": boxtest.Settings{"auto_answer": answer}})
		record := filepath.Join(t.TempDir(), "caller.wav")
		caller := room.Call("100", "-codec", "pcmu", "-tone", fmt.Sprint(farSays), "-level", "-23", "-record", record)
		caller.WaitLine("answered", 20*time.Second)
		heard := func() phonetest.Sound { return phonetest.ReadWAV(t, record) }
		hears(t, "the room", farSays, room.Speaker)
		if muted {
			gate(room.watch, "closed", "system")
			if got := lamp(room.Box); !slices.Equal(got, []string{"on"}) {
				t.Errorf("the lamp: %v", got)
			}
			phonetest.Eventually(t, 20*time.Second, "two seconds", func() bool { return heard().Duration() > 2*time.Second })
			if got := heard().Tone(nearSays).Max(); got > -60 {
				t.Errorf("the muted room is heard at %.1f dBFS", got)
			}
			pressMute(t, room.Box, "off")
		}
		hears(t, "the caller", nearSays, heard)
		room.join()
		caller.Wait(20 * time.Second)
	}
}

// what the far end says before it answers is heard in the room, which is not heard there.
func TestEarlySoundIsHeardInTheRoom(t *testing.T) {
	t.Parallel()
	port := phonetest.PortBlock(t)
	at := fmt.Sprintf("127.0.0.1:%d", port)
	room := newParlour(t, nearSays, boxtest.Settings{"place": boxtest.Settings{"join": "sip:far@" + at}})
	record := filepath.Join(t.TempDir(), "early.wav")
	far := phonetest.Start(t, t.TempDir(), boxtest.Program(t, "parleyctl"), "call", "-answer", "-early", "-port", fmt.Sprint(port),
		"-codec", "pcmu", "-tone", fmt.Sprint(farSays), "-level", "-23", "-record", record, "-for", "4s")
	far.WaitLine("waiting for a call", 20*time.Second)
	room.join()
	hears(t, "the room", farSays, room.Speaker)
	far.Wait(30 * time.Second)
	room.call("", "")
	room.rhythm("busy", 425, 480, room.now())
	if got := phonetest.ReadWAV(t, record).Tone(nearSays).Max(); got > -60 {
		t.Errorf("the room was heard at %.1f dBFS before the call was answered", got)
	}
}
