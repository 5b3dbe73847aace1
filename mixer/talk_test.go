package mixer

import (
	"math"
	"testing"

	"parley/audio"
)

// hiss is even noise of so many dBFS RMS.
func hiss(db float64) func(n int, pcm []int16) audio.Status {
	amplitude := math.Sqrt(3 * audio.DBPower(db))
	state := uint32(1)
	return func(_ int, pcm []int16) audio.Status {
		for i := range pcm {
			state = state*1664525 + 1013904223
			pcm[i] = int16(math.Round(float64(int32(state)) / (1 << 31) * amplitude))
		}
		return audio.Active
	}
}

// amplitudeOf is the amplitude of a tone of so many dBFS RMS.
func amplitudeOf(db float64) float64 { return math.Sqrt(2 * audio.DBPower(db)) }

// contributes plays for n ticks and tells in which of them the source contributed.
func contributes(t *testing.T, s Source, rate, n int, ungated bool) []bool {
	t.Helper()
	m := New(Config{Codecs: []audio.Codec{anyL16()}})
	add(t, m, Port{ID: 1, Source: s, Packets: legOf(rate, 10), Ungated: ungated}, Port{ID: 2, Frames: &ear{}})
	m.SetHearing(Hearing{2: {1}})
	out := make([]bool, n)
	for i := range out {
		ticks(m, 1)
		st, _ := m.State(1)
		out[i] = st.Contributes
	}
	return out
}

func share(x []bool) float64 {
	n := 0
	for _, v := range x {
		if v {
			n++
		}
	}
	return float64(n) / float64(len(x))
}

func TestTalkGate(t *testing.T) {
	for _, rate := range []int{8000, 48000} {
		for _, c := range []struct {
			name    string
			play    func(n int, pcm []int16) audio.Status
			least   float64 // of the ticks from 3 s on in which it contributes
			most    float64
			ungated bool
			atOnce  bool // it contributes from the first tick on
		}{
			{name: "noise of -70 dBFS", play: hiss(-70), most: 0},
			{name: "noise of -60 dBFS", play: hiss(-60), most: 0},
			{name: "noise of -54 dBFS", play: hiss(-54), most: 0},
			{name: "noise of -60 dBFS, ungated", play: hiss(-60), least: 1, most: 1, ungated: true, atOnce: true},
			{name: "tone of -45 dBFS", play: tone(rate, 1000, amplitudeOf(-45)).play, least: 1, most: 1, atOnce: true},
			{name: "low tone of -45 dBFS", play: tone(rate, 60, amplitudeOf(-45)).play, least: 1, most: 1, atOnce: true},
			{name: "tone of -10 dBFS", play: tone(rate, 440, amplitudeOf(-10)).play, least: 1, most: 1, atOnce: true},
			{name: "tone as high as a stride", play: tone(rate, float64(min(12000, rate/4)), amplitudeOf(-40)).play, least: 1, most: 1, atOnce: true},
			{name: "digital silence", play: hiss(-200), most: 0},
			{name: "digital silence, ungated", play: hiss(-200), most: 0, ungated: true},
			{name: "speech of -45 dBFS with pauses", play: babble(rate, 120, 3.6*32768*math.Pow(10, -45.0/20), 300), least: 1, most: 1},
			{name: "steady speech of -45 dBFS", play: babble(rate, 120, 2.6*32768*math.Pow(10, -45.0/20), 0), least: 1, most: 1},
		} {
			got := contributes(t, &script{play: c.play}, rate, 500, c.ungated)
			if s := share(got[300:]); s < c.least || s > c.most {
				t.Errorf("%d Hz, %s: contributes in %.3f of the ticks, want %g to %g", rate, c.name, s, c.least, c.most)
			}
			if c.atOnce && !got[0] {
				t.Errorf("%d Hz, %s: does not contribute from its first tick on", rate, c.name)
			}
		}
	}
}

// Speech in noise: the gate opens with the very frame in which it begins, and closes half a second after its end.
func TestTalkGateOpensAtOnceAndHangs(t *testing.T) {
	for _, rate := range rates {
		background := hiss(-62)
		voice := tone(rate, 300, amplitudeOf(-40))
		s := &script{play: func(n int, pcm []int16) audio.Status {
			background(n, pcm)
			if n >= 400 && n < 420 {
				var v audio.Frame
				voice.play(n, v[:len(pcm)])
				for i := range pcm {
					pcm[i] += v[i]
				}
			}
			return audio.Active
		}}
		got := contributes(t, s, rate, 600, false)
		if share(got[250:400]) != 0 {
			t.Errorf("%d Hz: background contributes", rate)
		}
		if !got[400] {
			t.Errorf("%d Hz: the onset is cut", rate)
		}
		if share(got[400:469]) != 1 || share(got[472:]) != 0 {
			t.Errorf("%d Hz: the hang-over is wrong: %v", rate, got[400:480])
		}
	}
}

// A leg with gaps (lost packets, a phone that sends zeros) does not count as talking when its noise comes back.
func TestGapsDoNotMakeNoiseTalk(t *testing.T) {
	background := hiss(-60)
	got := contributes(t, &script{play: func(n int, pcm []int16) audio.Status {
		switch {
		case n > 300 && n%100 < 10:
			clear(pcm)
			return audio.Late
		case n > 300 && n%100 < 20:
			clear(pcm)
			return audio.Active
		case n > 300 && n%100 < 30:
			return audio.Silent
		}
		return background(n, pcm)
	}}, 8000, 1000, false)
	if share(got[300:]) != 0 {
		t.Errorf("noise with gaps contributes in %.3f of the ticks", share(got[300:]))
	}
}

func TestGateDoesNotClick(t *testing.T) {
	// A loud low tone starts and stops in the middle of its wave, and the source stops answering in another.
	const amplitude = 10000
	wave := tone(48000, 75, amplitude)
	e := &ear{}
	m := New(Config{})
	add(t, m, Port{ID: 2, Frames: e}, Port{ID: 1, Ungated: true, Source: &script{play: func(n int, pcm []int16) audio.Status {
		if n%10 < 4 || n%7 == 0 {
			return audio.Silent
		}
		return wave.play(n, pcm)
	}}})
	m.SetHearing(Hearing{2: {1}})
	ticks(m, 100)
	for i := 1; i < len(e.pcm); i++ {
		if d := int(e.pcm[i]) - int(e.pcm[i-1]); d > 200 || d < -200 {
			t.Fatalf("a step of %d at sample %d of tick %d", d, i%480, i/480)
		}
	}
}

func TestLateCountsAsSound(t *testing.T) {
	got := contributes(t, &script{play: func(n int, pcm []int16) audio.Status {
		tone(8000, 440, 5000).play(n, pcm)
		return audio.Late
	}}, 8000, 10, false)
	if share(got) != 1 {
		t.Errorf("concealment is not heard: %v", got)
	}
}

func TestStateTellsTheLevel(t *testing.T) {
	m := New(Config{})
	add(t, m, Port{ID: 7, Source: tone(48000, 1000, 16384)}, Port{ID: 3, Source: silent()})
	ticks(m, 60)
	all := m.States(nil)
	if len(all) != 2 || all[0].ID != 3 || all[1].ID != 7 {
		t.Fatalf("states: %+v", all)
	}
	if s := all[1]; math.Abs(s.RMS+9.03) > 0.1 || math.Abs(s.Peak+6.02) > 0.1 || !s.Contributes || s.Gone {
		t.Errorf("a sine at half scale: %+v", s)
	}
	if s := all[0]; s.RMS != audio.SilenceDB || s.Peak != audio.SilenceDB || s.Contributes {
		t.Errorf("silence: %+v", s)
	}
	if _, ok := m.State(99); ok {
		t.Error("an unknown port has a state")
	}
}
