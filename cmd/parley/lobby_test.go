package main_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/audio"
	"parley/audio/opus"
	"parley/audio/prompt"
	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
	"parley/mqtt/wire"
)

// The conference of these tests: its host is the room itself, which takes part at once.
const (
	placeNumber  = "100"
	hostPassword = "480913"
	userPassword = "115577"
)

// reception is a box with a conference made over HTTP, into which people call.
type reception struct {
	*assembly
	said     map[string]phonetest.Sound // prompts as they sound, by what is said
	language string
}

func newReception(t *testing.T, settings boxtest.Settings, more boxtest.Settings) *reception {
	t.Helper()
	all := boxtest.Settings{"place": boxtest.Settings{"auto_answer": "open", "join_at_start": false}}
	for k, v := range settings {
		all[k] = v
	}
	r := &reception{language: "en", said: map[string]phonetest.Sound{}, assembly: &assembly{
		t: t, Box: boxtest.Start(t, boxtest.Config{Settings: all}), phone: map[string]*phonetest.Baresip{},
	}}
	r.watch = r.Watch()
	r.token = r.Token("-role", "host", "-number", placeNumber, "-ttl", "1h")
	conf := boxtest.Settings{"creator": placeNumber, "moderatorPassword": hostPassword, "userPassword": userPassword}
	for k, v := range more {
		conf[k] = v
	}
	r.create(conf, "2999") // somebody who cannot be reached
	return r
}

// caller is a phone of nobody's that calls the conference.
func (r *reception) caller(name string) *phonetest.Baresip {
	r.t.Helper()
	p := phonetest.StartBaresip(r.t, phonetest.BaresipConfig{Name: name, Codecs: []string{phonetest.G722}})
	r.phone[name] = p
	p.Dial(r.URI(r.conf))
	p.Expect("CALL_ESTABLISHED", 15*time.Second)
	r.until("is in the lobby", name, is("room", "lobby"))
	return p
}

// prompt is how a prompt sounds.
func (r *reception) prompt(name string) phonetest.Sound {
	r.t.Helper()
	if s, ok := r.said[name]; ok {
		return s
	}
	s := spokenPrompt(r.t, r.language, name)
	r.said[name] = s
	return s
}

// spokenPrompt has the built-in prompts speak.
func spokenPrompt(t *testing.T, language string, names ...string) phonetest.Sound {
	t.Helper()
	library, err := prompt.New(prompt.Config{Codecs: []audio.Codec{opus.New(opus.Options{})}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, quit := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- library.Run(ctx) }()
	defer func() { quit(); <-done }()
	player, err := library.NewPlayer(language)
	if err != nil {
		t.Fatal(err)
	}
	player.Say(names...)
	s := phonetest.Sound{Rate: 16000}
	var f audio.Frame
	for !player.Idle() {
		if player.ReadFrame(s.Rate, &f) != audio.Silent {
			s.Samples = append(s.Samples, f[:s.Rate/100]...)
		} else {
			time.Sleep(time.Millisecond)
		}
	}
	return s
}

// hears waits until a prompt is in what somebody has heard.
func (r *reception) hears(who string, heard func() phonetest.Sound, name string) {
	r.t.Helper()
	want := r.prompt(name)
	phonetest.Eventually(r.t, 20*time.Second, fmt.Sprintf("%s hears %q", who, name), func() bool {
		share, _ := phonetest.Find(want, heard())
		return share >= 0.6
	})
}

func (r *reception) hearsNot(who string, heard phonetest.Sound, name string) {
	r.t.Helper()
	if share, at := phonetest.Find(r.prompt(name), heard); share >= 0.4 {
		r.t.Errorf("%s hears %q at %v (%.2f)", who, name, at, share)
	}
}

// Callers prove themselves by password: a right one makes a guest or a host, three wrong ones end the call, and more of them are
// held up. Each hears prompts that nobody else hears, and has a menu on his keys.
func TestCallersProveThemselves(t *testing.T) {
	t.Parallel()
	r := newReception(t, boxtest.Settings{"meetings": boxtest.Settings{"greet": true}}, boxtest.Settings{"maxSpeaker": 1})
	r.until("is in as host", placeNumber, func(m map[string]any) bool {
		return m != nil && m["state"] == "connected" && m["role"] == "host" && m["room"] == nil
	})

	anna := r.caller("2001")
	annaHears := func() phonetest.Sound { return anna.Heard(0) }
	r.hears("2001", annaHears, "ask-password")
	anna.Digits("999999#")
	r.hears("2001", annaHears, "wrong-password")
	anna.Digits(userPassword + "#")
	r.until("is in as a guest", "2001", func(m map[string]any) bool { return m["room"] == nil && m["role"] == "guest" })
	r.hears("2001", annaHears, "hall")
	phonetest.Eventually(t, 10*time.Second, "the room hears that somebody has come", func() bool {
		return r.Speaker().Tone(780).Max() > -40
	})

	ben := r.caller("2002")
	benHears := func() phonetest.Sound { return ben.Heard(0) }
	r.hears("2002", benHears, "ask-password")
	ben.Digits(hostPassword + "#")
	r.until("is in as a host", "2002", func(m map[string]any) bool { return m["room"] == nil && m["role"] == "host" })

	// The menu, and the floor: the host in the room has its one place until his key closes the microphone, and takes it back when it
	// opens it.
	r.until("has the floor", placeNumber, is("floor", "granted"))
	anna.Digits("*1")
	r.until("is queued", "2001", is("floor", "queued"))
	r.hears("2001", annaHears, "you-are-number")
	r.Press("m")
	r.until("has the floor", "2001", is("floor", "granted"))
	r.hears("2001", annaHears, "floor-granted")
	time.Sleep(time.Second) // two presses at once are one
	r.Press("m")
	r.until("has the floor back", placeNumber, is("floor", "granted"))
	r.until("is queued again", "2001", is("floor", "queued"))
	anna.Digits("*2")
	r.until("is queued no more", "2001", is("floor", nil))
	anna.Digits("*4")
	r.hears("2001", annaHears, "not-allowed")
	ben.Digits("*4")
	r.told("house_closed", "")
	r.hears("2001", annaHears, "house-closed")
	r.hears("2002", benHears, "house-closed")
	r.hears("the room", r.Speaker, "house-closed")

	// Three wrong ones end the call; the next one is held up.
	carl := r.caller("2003")
	carlHears := func() phonetest.Sound { return carl.Heard(0) }
	for range 3 {
		r.hears("2003", carlHears, "ask-password")
		carl.Digits("111111#")
	}
	r.hears("2003", carlHears, "goodbye")
	carl.Expect("CALL_CLOSED", 20*time.Second)
	r.until("is out of the roster", "2003", func(m map[string]any) bool { return m == nil })
	for _, name := range []string{"wrong-password", "goodbye"} {
		r.hearsNot("2002", benHears(), name)
		r.hearsNot("the room", r.Speaker(), name)
	}
	calls := 0
	phonetest.Eventually(t, 60*time.Second, "2003 is held up", func() bool {
		if calls == 0 || carl.Soon("CALL_CLOSED", 0) {
			if calls > 0 {
				carl.Expect("CALL_CLOSED", time.Second)
			}
			carl.Dial(r.URI(r.conf))
			carl.Expect("CALL_ESTABLISHED", 15*time.Second)
			calls++
		}
		carl.Digits("22#")
		time.Sleep(time.Second)
		share, _ := phonetest.Find(r.prompt("one-moment"), carl.Heard(calls))
		return share >= 0.6
	})
	carl.Hangup()
	for _, name := range []string{"not-allowed", "you-are-number", "hall"} {
		r.hearsNot("the room", r.Speaker(), name)
	}
	r.hearsNot("2002", benHears(), "not-allowed")
}

// soon is a minute at which a conference can be made to start, with time enough to start a box before, and to wait in its lobby.
func soon() time.Time { return time.Now().Add(105 * time.Second).Truncate(time.Minute) }

// C-7, X-5: nobody gets into a scheduled conference before its lobby opens; who comes early waits in the lobby and is in when it
// begins. The join key enters it as soon as the lobby is open, as what is booked. Prompts are in the language of the settings, or from a file.
func TestEarlyComersWait(t *testing.T) {
	t.Parallel()
	early := phonetest.StartBaresip(t, phonetest.BaresipConfig{Name: "2001"})
	boxtest.Program(t, "parley") // what takes long, before the time is looked at
	boxtest.Program(t, "parleyctl")
	morning := phonetest.Speech(t, "Good morning everybody, we are going to begin now.", 16000)
	start := soon()
	lobby := time.Until(start) - 15*time.Second // so that there is some time before it opens
	r := newReception(t, boxtest.Settings{
		"meetings": boxtest.Settings{"lobby": lobby.Truncate(time.Second).String(), "time_zone": "UTC", "language": "zh"},
		"place":    boxtest.Settings{"join_at_start": false},
	}, boxtest.Settings{
		"type": "appointment", "startTime": start.UTC().Format("2006-01-02 15:04"), "endTime": start.UTC().Add(time.Hour).Format("2006-01-02 15:04"),
	})
	r.language = "zh"
	r.said["begins"] = morning // in place of the built-in one
	folder := filepath.Join(r.Data, "prompts", r.language)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	phonetest.WriteWAV(t, filepath.Join(folder, "begins.wav"), r.said["begins"])
	early.Dial(r.URI(r.conf))
	if e := early.Expect("CALL_CLOSED", 15*time.Second); !strings.Contains(e.Param, "480") {
		t.Errorf("before the lobby opens: %+v", e)
	}
	phonetest.Eventually(t, 30*time.Second, "the lobby opens", func() bool { return r.state()["phase"] == "gathering" })
	anna := r.caller("2002")
	annaHears := func() phonetest.Sound { return anna.Heard(0) }
	r.hears("2002", annaHears, "ask-password")
	anna.Digits(userPassword + "#")
	r.hears("2002", annaHears, "wait-for-start")
	r.until("waits in the lobby", "2002", is("room", "lobby"))
	r.Press("j")
	r.until("waits in the lobby", placeNumber, func(m map[string]any) bool { return m != nil && m["room"] == "lobby" && m["state"] == "connected" })
	r.hears("the room", r.Speaker, "wait-for-start")

	phonetest.Eventually(t, 90*time.Second, "it begins", func() bool { return r.state()["phase"] == "open" })
	r.until("is in", "2002", func(m map[string]any) bool { return m != nil && m["room"] == nil && m["state"] == "connected" })
	r.until("is in", placeNumber, func(m map[string]any) bool { return m != nil && m["room"] == nil && m["state"] == "connected" })
	r.hears("2002", annaHears, "begins")
	r.hears("the room", r.Speaker, "begins")
}

// the join key enters what is booked for the place, by a list that is signed by a known key and outlives a restart.
func TestTheJoinKeyEntersWhatIsBooked(t *testing.T) {
	t.Parallel()
	b := newParlour(t, nearSays, boxtest.Settings{"conferences": []any{
		boxtest.Settings{"number": "1000"}, boxtest.Settings{"number": "1203"}, boxtest.Settings{"number": "1204"},
	}})
	key, err := wire.LoadOrCreateKey(filepath.Join(b.Data, "box.key"))
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	names, err := wire.NewBox(b.EID, b.Name)
	if err != nil {
		t.Fatal(err)
	}
	hub := phonetest.NewForeign(t, b.MQTT)
	book := func(version uint64, conf string, by ed25519.PrivateKey) {
		t.Helper()
		envelope, err := wire.SignBookings(wire.Bookings{EID: b.EID, Box: b.Name, Version: version, Bookings: []wire.Booking{
			{Conf: conf, Start: time.Now().Add(2 * time.Minute).UTC(), End: time.Now().Add(time.Hour).UTC()}, // begins within the five minutes
		}}, by)
		if err != nil {
			t.Fatal(err)
		}
		hub.Publish(names.Bookings(), envelope, "-r")
	}
	joins := func(conf string) {
		t.Helper()
		time.Sleep(200 * time.Millisecond) // two presses at once are one
		b.Press("j")
		b.watch.Wait("/conf/"+conf+"/state", "the room is in", 15*time.Second, func(p map[string]any) bool { return connected(p) == 1 })
		time.Sleep(200 * time.Millisecond)
		b.Press("j")
		b.watch.Wait("/conf/"+conf+"/state", "the room has left", 15*time.Second, func(p map[string]any) bool { return connected(p) == 0 })
		b.watch.Forget()
	}
	joins("1000")
	book(7, "1203", key)
	b.WaitLine("msg=bookings version=7", 15*time.Second)
	joins("1203")
	book(6, "1204", key)
	book(9, "1204", stranger)
	b.WaitLine("bookings are not taken", 15*time.Second)
	joins("1203")

	b.StopCleanly()
	b.Restart()
	b.watch = b.Watch()
	joins("1203")
	if kept := b.watch.Messages("/bookings"); len(kept) > 0 {
		t.Errorf("the broker has kept what the box is to keep itself: %d", len(kept))
	}
}
