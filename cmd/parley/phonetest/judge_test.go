package phonetest

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func mix(a, b Sound) Sound {
	out := Sound{Rate: a.Rate, Samples: make([]int16, len(a.Samples))}
	for i := range out.Samples {
		out.Samples[i] = a.Samples[i] + b.Samples[i]
	}
	return out
}

func TestToneLevels(t *testing.T) {
	for _, rate := range []int{8000, 16000, 22050, 48000} {
		s := mix(Tone(rate, 440, -12, 2*time.Second), Tone(rate, 1000, -30, 2*time.Second))
		for freq, want := range map[float64]float64{440: -12, 1000: -30} {
			if got := s.Tone(freq).Median(); math.Abs(got-want) > 0.1 {
				t.Errorf("%d Hz: tone of %.0f Hz: %.2f dBFS, want %.0f", rate, freq, got, want)
			}
		}
		if got := s.Tone(600).Max(); got > -75 {
			t.Errorf("%d Hz: no tone of 600 Hz is there, and it measures %.1f dBFS", rate, got)
		}
	}
	if got := (Sound{Rate: 8000}).Tone(440).Median(); got != Floor {
		t.Errorf("nothing measures %.1f dBFS", got)
	}
}

// A tone that is there for a tenth of the time only is not the median, and is the maximum.
func TestToneThatComesAndGoes(t *testing.T) {
	s := Silence(8000, 5*time.Second)
	copy(s.Samples[20000:], Tone(8000, 440, -20, 500*time.Millisecond).Samples)
	levels := s.Tone(440)
	if got := levels.Median(); got > -100 {
		t.Errorf("median %.1f dBFS", got)
	}
	if got := levels.Max(); math.Abs(got+20) > 0.1 {
		t.Errorf("maximum %.1f dBFS", got)
	}
}

func TestLevels(t *testing.T) {
	s := Tone(8000, 1000, 0, time.Second)
	if got := s.RMS(); math.Abs(got+3.01) > 0.01 {
		t.Errorf("RMS of a full sine: %.2f", got)
	}
	if got := s.Peak(); math.Abs(got) > 0.01 {
		t.Errorf("peak of a full sine: %.2f", got)
	}
	quiet := Silence(8000, time.Second)
	if quiet.RMS() != Floor || quiet.Peak() != Floor || quiet.Loudest() != Floor {
		t.Error("silence has a level")
	}
	quiet.Samples[4000] = 8000
	if got := quiet.Loudest(); got < -40 {
		t.Errorf("a click is not heard: %.1f", got)
	}
	padded := Silence(8000, time.Second)
	copy(padded.Samples[2000:], Tone(8000, 500, -6, 500*time.Millisecond).Samples)
	if got := padded.Active(-60).Duration(); math.Abs(float64(got-500*time.Millisecond)) > float64(25*time.Millisecond) {
		t.Errorf("half a second of sound lasts %v", got)
	}
}

// The envelope knows the same speech at another rate, level and delay, and does not take other speech for it.
func TestEnvelope(t *testing.T) {
	one := Speech(t, "The quick brown fox jumps over the lazy dog near the bank of the river.", 48000)
	other := Speech(t, "Seven wise sailors sold sweet cider on a cold and silent December evening.", 48000)
	const delay = 370 * time.Millisecond
	heard := Sound{Rate: 8000, Samples: append(Silence(8000, delay).Samples, one.Resample(8000).Samples...)}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range heard.Samples {
		heard.Samples[i] = heard.Samples[i]/4 + int16(rng.IntN(40)-20)
	}
	r, at := Envelope(one, heard, time.Second)
	if r < 0.98 || at < delay-20*time.Millisecond || at > delay+20*time.Millisecond {
		t.Errorf("same speech: %.3f at %v", r, at)
	}
	if r, _ := Envelope(one, other, time.Second); r > 0.7 {
		t.Errorf("other speech: %.3f", r)
	}
	cut := Sound{Rate: 48000, Samples: append([]int16(nil), one.Samples...)}
	for at := 0; at < len(cut.Samples); at += 9600 {
		clear(cut.Samples[at:min(at+3840, len(cut.Samples))])
	}
	if r, _ := Envelope(one, cut, time.Second); r > 0.9 {
		t.Errorf("speech with 80 ms of each 200 cut out: %.3f", r)
	}
	if r, _ := Envelope(one, Silence(48000, one.Duration()), time.Second); r != 0 {
		t.Errorf("silence: %.3f", r)
	}
}

func TestResampleKeepsTonesAndMakesNone(t *testing.T) {
	s := mix(Tone(48000, 1000, -12, time.Second), Tone(48000, 6000, -12, time.Second)).Resample(8000)
	if got := s.Tone(1000).Median(); math.Abs(got+12) > 0.1 {
		t.Errorf("1 kHz comes out at %.2f dBFS", got)
	}
	if got := s.Tone(2000).Max(); got > -60 { // where 6 kHz would fold to
		t.Errorf("an alias at %.1f dBFS", got)
	}
}

func TestWAVRoundTrip(t *testing.T) {
	path := t.TempDir() + "/a.wav"
	s := Tone(16000, 300, -3, 100*time.Millisecond)
	WriteWAV(t, path, s)
	got := ReadWAV(t, path)
	if got.Rate != s.Rate || len(got.Samples) != len(s.Samples) || got.Samples[777] != s.Samples[777] {
		t.Errorf("read back %d samples at %d Hz", len(got.Samples), got.Rate)
	}
}

func FuzzWAV(f *testing.F) {
	f.Add([]byte("RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x02\x00\x40\x1f\x00\x00\x00\x7d\x00\x00\x04\x00\x10\x00data\x04\x00\x00\x00abcd"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if s, err := parseWAV(raw); err == nil && s.Rate < 1000 {
			t.Errorf("a WAV file at %d Hz", s.Rate)
		}
	})
}
