package phonetest

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestFind(t *testing.T) {
	t.Parallel()
	prompt := Speech(t, "Please enter the number of the conference, then the hash key.", 16000)
	other := Speech(t, "Please enter your password. You are muted by the host of this meeting.", 8000)
	heard := prompt.Resample(8000)
	noise := rand.New(rand.NewPCG(1, 2))
	line := Silence(8000, 12*time.Second)
	const start = 8000*3 + 11
	for i, v := range heard.Samples {
		line.Samples[start+i] = v / 4
	}
	for i := range line.Samples { // as coarse as a telephone
		line.Samples[i] = (line.Samples[i] + int16(noise.IntN(200)-100)) / 64 * 64
	}
	share, at := Find(prompt, line)
	if share < 0.9 || (at-3*time.Second).Abs() > 20*time.Millisecond {
		t.Errorf("the prompt: %.2f of it, at %v", share, at)
	}
	// A jitter buffer that lets 40 ms out in the prompt's middle.
	gap := start + len(heard.Samples)/2
	jumped := Sound{Rate: 8000, Samples: append(append([]int16(nil), line.Samples[:gap]...), line.Samples[gap+320:]...)}
	for _, c := range []struct {
		name          string
		prompt, heard Sound
		least, most   float64
	}{
		{"with 40 ms missing", prompt, jumped, 0.7, 1},
		{"its first half", prompt, Sound{Rate: 8000, Samples: line.Samples[:gap]}, 0.3, 0.7},
		{"in other words", prompt, other, 0, 0.3},
		{"other words", other, line, 0, 0.3},
		{"in a tone", prompt, Tone(8000, 440, -20, 10*time.Second), 0, 0.1},
		{"in silence", prompt, Silence(8000, 10*time.Second), 0, 0},
		{"in nothing", prompt, Sound{Rate: 8000}, 0, 0},
		{"nothing", Sound{Rate: 8000}, line, 0, 0},
	} {
		share, _ := Find(c.prompt, c.heard)
		t.Logf("%s: %.2f", c.name, share)
		if share < c.least || share > c.most {
			t.Errorf("%s: %.2f of it", c.name, share)
		}
	}
}
