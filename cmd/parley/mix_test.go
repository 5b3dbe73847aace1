package main_test

import (
	"path/filepath"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// voice is somebody in the conference: what he says, and what he has heard.
type voice struct {
	name  string
	hz    float64
	heard func() phonetest.Sound
}

const toneLevel = -20.0

func tone(hz float64) phonetest.Sound { return phonetest.Tone(48000, hz, toneLevel, 2*time.Second) }

// X-6, C-20: everybody hears everybody else at his level, and nobody himself, whatever codec he has; somebody silent
// changes nothing.
func TestEveryoneHearsEveryoneElseAndNotHimself(t *testing.T) {
	t.Parallel()
	const length = 6 * time.Second
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: boxtest.Settings{
		"place": boxtest.Settings{"join_at_start": true},
	}})
	watch := box.Watch()
	voices := []voice{{"the place", 400, box.Speaker}}

	var phones []*phonetest.Baresip
	for i, codec := range []string{phonetest.G722, phonetest.PCMA} {
		phone := phonetest.StartBaresip(t, phonetest.BaresipConfig{
			Name: []string{"anna", "ben"}[i], Codecs: []string{codec}, Says: tone([]float64{700, 1100}[i]),
		})
		phone.Dial(box.URI("1000"))
		phone.Expect("CALL_ESTABLISHED", 10*time.Second)
		phones = append(phones, phone)
		voices = append(voices, voice{codec, []float64{700, 1100}[i], func() phonetest.Sound { return phone.Heard(0) }})
	}
	tool := filepath.Join(t.TempDir(), "tool.wav")
	opus := box.Call("1000", "-codec", "opus", "-tone", "1700", "-level", "-23", "-record", tool, "-for", (length + 4*time.Second).String())
	opus.WaitLine("answered", 10*time.Second)
	voices = append(voices, voice{"opus", 1700, func() phonetest.Sound { return phonetest.ReadWAV(t, tool) }})
	plain := filepath.Join(t.TempDir(), "plain.wav")
	pcmu := box.Call("1000", "-codec", "pcmu", "-tone", "2300", "-level", "-23", "-record", plain, "-for", length.String())
	pcmu.WaitLine("answered", 10*time.Second)
	voices = append(voices, voice{"PCMU", 2300, func() phonetest.Sound { return phonetest.ReadWAV(t, plain) }})
	silent := phonetest.StartSIPP(t, phonetest.SIPPConfig{
		Scenario: phonetest.CallScenario{Talk: 2 * time.Second}.Caller(), Remote: box.SIP, Service: "1000",
	})
	watch.Wait("/conf/1000/state", "six members", 10*time.Second, func(p map[string]any) bool { return connected(p) == 6 })

	silent.Succeed(20 * time.Second)
	pcmu.Wait(30 * time.Second)
	for _, phone := range phones {
		phone.Hangup()
		phone.Expect("CALL_CLOSED", 10*time.Second)
	}
	opus.Wait(30 * time.Second)
	box.StopCleanly()
	for _, listener := range voices {
		judge(t, listener, voices)
	}
}

// judge looks at the stretch in which the listener hears all the others at once: who comes or goes later bounds it.
func judge(t *testing.T, listener voice, voices []voice) {
	t.Helper()
	sound := listener.heard()
	levels := map[string]phonetest.ToneLevels{}
	together := make([]bool, len(sound.Tone(listener.hz)))
	for i := range together {
		together[i] = true
	}
	for _, v := range voices {
		levels[v.name] = sound.Tone(v.hz)
		for i, level := range levels[v.name] {
			together[i] = together[i] && (v.name == listener.name || level > toneLevel-10)
		}
	}
	if n := steady(together); n < 20 {
		t.Errorf("%s hears all the others for %d windows of 100 ms, want 20", listener.name, n)
		return
	}
	for _, v := range voices {
		during := pick(levels[v.name], together)
		switch {
		case v.name == listener.name && during.Quantile(0.95) > toneLevel-40:
			t.Errorf("%s hears itself at %.1f dBFS", v.name, during.Quantile(0.95))
		case v.name != listener.name && (during.Median() < toneLevel-3 || during.Median() > toneLevel+3):
			t.Errorf("%s hears %s at %.1f dBFS, which said it at %.0f", listener.name, v.name, during.Median(), toneLevel)
		}
	}
}

// steady takes the edges, where somebody comes or goes, out of a selection of windows, and counts what is left.
func steady(windows []bool) (n int) {
	was := append([]bool(nil), windows...)
	for i := range windows {
		for k := max(0, i-3); k <= min(len(was)-1, i+3); k++ {
			windows[i] = windows[i] && was[k]
		}
		if windows[i] {
			n++
		}
	}
	return n
}

func pick(levels phonetest.ToneLevels, windows []bool) (picked phonetest.ToneLevels) {
	for i, level := range levels {
		if windows[i] {
			picked = append(picked, level)
		}
	}
	return picked
}

// connected counts the members of a snapshot whose call is up.
func connected(snapshot map[string]any) (n int) {
	members, _ := snapshot["members"].([]any)
	for _, m := range members {
		if m.(map[string]any)["state"] == "connected" {
			n++
		}
	}
	return n
}

// speech comes through every codec as it was said. A telephone that is late once slips against it for good, so nothing runs beside this.
func TestSpeechComesThrough(t *testing.T) {
	speech := phonetest.Speech(t, "The quick brown fox jumps over the lazy dog, while five boxing wizards quickly jump again.", 48000)
	box := boxtest.Start(t, boxtest.Config{Microphone: speech, Settings: boxtest.Settings{
		"place": boxtest.Settings{"join_at_start": true},
	}})
	length := 2*speech.Duration() + time.Second
	codecs := map[string]string{"opus": "", "g722": "", "pcmu": "", "pcma": ""}
	calls := map[string]*phonetest.Process{}
	for codec := range codecs {
		codecs[codec] = filepath.Join(t.TempDir(), codec+".wav")
		calls[codec] = box.Call("1000", "-codec", codec, "-record", codecs[codec], "-for", length.String())
	}
	for codec, call := range calls {
		if code := call.Wait(length + 20*time.Second); code != 0 {
			t.Fatalf("%s: the call failed:\n%s", codec, call.Tail(5))
		}
		heard := phonetest.ReadWAV(t, codecs[codec])
		if r, _ := phonetest.Envelope(speech.Repeat(length), heard, speech.Duration()); r < 0.95 {
			t.Errorf("%s: envelope correlation %.3f, want 0.95", codec, r)
		}
	}
}
