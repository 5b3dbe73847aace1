package mixer

import "parley/audio"

// The talk gate decides which ports contribute. Sound opens it when it is well above the port's own noise floor, which is the
// least smoothed power of the last two seconds; but whatever is above -48 dBFS counts as sound, so that steady tones and
// quiet speech pass, and nothing below -66 does.
const (
	gateHang   = 50 // ticks that the gate stays open after the last sound: 500 ms
	gateWindow = 50 // ticks in a part of the window of the noise floor
	gateParts  = 4
	gateSmooth = 0.25
	gateMargin = 8.0 // 9 dB above the floor
)

var (
	gateLow   = audio.DBPower(-66)
	gateHigh  = audio.DBPower(-48)
	gateStart = audio.DBPower(-63) // the floor until there is a better one
	gateDead  = audio.DBPower(-80)
)

// talk is the talk gate of one source.
type talk struct {
	smooth float64
	least  float64 // in this part of the window
	parts  [gateParts]float64
	part   int
	ticks  int
	hang   int
	bar    float64 // the power that opens
}

func newTalk() talk {
	t := talk{smooth: gateStart, least: gateStart}
	for i := range t.parts {
		t.parts[i] = gateStart
	}
	t.setBar()
	return t
}

// learn takes the frame's power into the noise floor. Digital silence tells nothing about the noise that comes after it.
func (t *talk) learn(power float64) {
	if power < gateDead {
		return
	}
	t.smooth += (power - t.smooth) * gateSmooth
	t.least = min(t.least, t.smooth)
	if t.ticks++; t.ticks < gateWindow {
		return
	}
	t.ticks = 0
	t.parts[t.part] = t.least
	t.part = (t.part + 1) % gateParts
	t.least = t.smooth
	t.setBar()
}

func (t *talk) setBar() {
	floor := t.least
	for _, p := range t.parts {
		floor = min(floor, p)
	}
	t.bar = min(max(floor*gateMargin, gateLow), gateHigh)
}

// open decides on a frame by its own power, so that no onset is lost.
func (t *talk) open(power float64) bool {
	if power > t.bar {
		t.hang = gateHang
		return true
	}
	if t.hang > 0 {
		t.hang--
		return true
	}
	return false
}

// measure is the frame's level: exact where it matters, from a part of the samples where there is but low noise.
func (t *talk) measure(pcm []int16) audio.Level {
	if len(pcm) < audio.FrameSamples || t.hang > 0 {
		return audio.Measure(pcm)
	}
	if l := audio.MeasureSome(pcm); l.Power*4 < t.bar {
		return l
	}
	return audio.Measure(pcm)
}
