package prompt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"parley/audio"
	"parley/audio/opus"

	lib "github.com/hraban/opus"
)

var makes = flag.Bool("make", false, "make prompts.bin of texts.txt anew, with espeak-ng")

// How prompts are made. A change here, as one of the texts, makes the pack stale.
const (
	packFile  = "prompts.bin"
	textFile  = "texts.txt"
	speechDB  = -20  // RMS of the speech, dBFS
	ceilingDB = -1.5 // highest peak, dBFS
	lowest    = 5000 // bit/s, at which the first attempt is made
	likeness  = 0.91 // of the envelopes, as correlation
	packetMs  = 60
	espeakHz  = 22050
	edgeMs    = 10 // of silence kept at both ends
)

// voices are espeak-ng's, and its words per minute: brisk, and no faster than people speak.
var voices = map[string]struct{ name, speed string }{"en": {"en-us", "190"}, "zh": {"cmn-latn-pinyin", "215"}}

// text is one line of the table for one language.
type text struct{ language, name, spoken string }

// readTexts reads the table and the fingerprint of what the pack is to be made of.
func readTexts(t testing.TB) (texts []text, made [sha256.Size]byte) {
	t.Helper()
	table, err := os.ReadFile(textFile)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	fmt.Fprintln(sum, voices, speechDB, ceilingDB, lowest, likeness, packetMs, edgeMs)
	seen := map[string]bool{}
	for n, line := range strings.Split(string(table), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		cells := strings.Split(line, "|")
		if len(cells) != 4 {
			t.Fatalf("%s:%d: %d cells, want name | English | Chinese | pinyin", textFile, n+1, len(cells))
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		name := cells[0]
		if seen[name] || !validName(name) {
			t.Fatalf("%s:%d: the name %q is there twice or is none", textFile, n+1, name)
		}
		if seen[name] = true; (cells[2] == "") != (cells[3] == "") || cells[1] == "" {
			t.Fatalf("%s:%d: %s lacks a language", textFile, n+1, name)
		}
		for _, c := range []text{{"en", name, cells[1]}, {"zh", name, cells[3]}} {
			if c.spoken != "" {
				texts = append(texts, c)
				fmt.Fprintln(sum, c.language, c.name, c.spoken)
			}
		}
	}
	return texts, [sha256.Size]byte(sum.Sum(nil))
}

// TestMake makes the pack anew when it is asked to; `make prompts` does.
func TestMake(t *testing.T) {
	if !*makes {
		t.Skip("only with -make")
	}
	texts, made := readTexts(t)
	out := append([]byte(magic), made[:]...)
	millis := 0
	for _, c := range texts {
		pcm := speak(t, c)
		entry, err := packEntry(c, pcm)
		if err != nil {
			t.Fatalf("%s/%s: %v", c.language, c.name, err)
		}
		out = append(out, entry...)
		millis += len(pcm) / 48
	}
	if _, _, err := readPack(out); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(packFile, out, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d prompts, %.1f s of speech, %d bytes", len(texts), float64(millis)/1000, len(out))
}

// speak is what espeak-ng says, at 48 kHz, without the silence around it and at the wanted level.
func speak(t testing.TB, c text) []int16 {
	t.Helper()
	wav, err := exec.Command("espeak-ng", "-v", voices[c.language].name, "-s", voices[c.language].speed, "--stdout", c.spoken).Output()
	if err != nil {
		t.Fatalf("espeak-ng: %v", err)
	}
	at := bytes.Index(wav, []byte("data"))
	if at < 0 || binary.LittleEndian.Uint32(wav[24:]) != espeakHz {
		t.Fatal("espeak-ng wrote another kind of WAV file")
	}
	raw := wav[at+8:]
	in := make([]float64, len(raw)/2)
	for i := range in {
		in[i] = float64(int16(binary.LittleEndian.Uint16(raw[2*i:])))
	}
	return level(highPass(convert(trim(in))))
}

// trim takes the silence from both ends, but for edgeMs of it.
func trim(in []float64) []float64 {
	const floor = 200.0
	from, to := 0, len(in)
	for from < to && math.Abs(in[from]) < floor {
		from++
	}
	for to > from && math.Abs(in[to-1]) < floor {
		to--
	}
	edge := espeakHz * edgeMs / 1000
	return in[max(0, from-edge):min(len(in), to+edge)]
}

// convert brings espeak-ng's rate to 48 kHz with a windowed sinc, and the length to whole milliseconds. It shares nothing, and the race detector
// would make the tests take half a minute longer.
//
//go:norace
func convert(in []float64) []float64 {
	const half, up, down = 32, 320, 147 // 48000 to 22050
	var phases [up][2 * half]float64
	for p := range phases {
		for k := range phases[p] {
			x := float64(p)/up + half - 1 - float64(k)
			phases[p][k] = 0.5 + 0.5*math.Cos(math.Pi*x/half)
			if x != 0 {
				phases[p][k] *= math.Sin(math.Pi*x) / (math.Pi * x)
			}
		}
	}
	padded := append(append(make([]float64, half-1), in...), make([]float64, half+1)...)
	out := make([]float64, len(in)*up/down/48*48)
	for i := range out {
		at := i * down
		for k, h := range phases[at%up] {
			out[i] += padded[at/up+k] * h
		}
	}
	return out
}

// level brings speech to speechDB, or as near as its peaks let it come.
func level(in []float64) []int16 {
	out := make([]int16, len(in))
	highest := 0.0
	for _, s := range in {
		highest = max(highest, math.Abs(s))
	}
	for i, s := range in {
		out[i] = int16(math.Round(s / highest * math.MaxInt16 / 2))
	}
	gain := levelGain(out)
	for i, s := range out {
		out[i] = int16(math.Round(float64(s) * gain))
	}
	return out
}

// levelGain is by what a sound has to be multiplied.
func levelGain(pcm []int16) float64 {
	gain := math.Sqrt(audio.DBPower(speechDB) / speechPower(pcm))
	return min(gain, math.Sqrt(audio.DBPower(ceilingDB))/float64(audio.Measure(pcm).Peak))
}

// speechPower is the mean square of those stretches of 320 samples that are no pauses: within 25 dB of the loudest.
func speechPower(pcm []int16) float64 {
	const n = 320
	var powers []float64
	most := 0.0
	for ; len(pcm) >= n; pcm = pcm[n:] {
		p := audio.Measure(pcm[:n]).Power
		powers, most = append(powers, p), max(most, p)
	}
	sum, count := 0.0, 0
	for _, p := range powers {
		if p > most*math.Pow(10, -2.5) {
			sum, count = sum+p, count+1
		}
	}
	return sum / float64(max(1, count))
}

// packEntry is a prompt as it stands in the pack: at the lowest rate at which it still sounds like the original.
func packEntry(c text, pcm []int16) ([]byte, error) {
	want := envelope(narrow(pcm), 8000)
	l := Library{codec: opus.New(opus.Options{})}
	for bitrate := lowest; bitrate <= 4*lowest; bitrate += 250 {
		for _, complexity := range []int{10, 6, 2} { // at such rates more thought is not always better
			e, err := compress(pcm, bitrate, complexity)
			if err != nil {
				return nil, err
			}
			got, err := l.decode(e)
			if err != nil {
				return nil, err
			}
			if correlation(want, envelope(got, clipRate)) < likeness {
				continue
			}
			gain := min(unity*levelGain(got), 255)
			b := append([]byte{byte(len(c.language))}, c.language...)
			b = append(append(b, byte(len(c.name))), c.name...)
			b = binary.BigEndian.AppendUint16(b, uint16(e.millis))
			b = binary.BigEndian.AppendUint16(b, uint16((len(pcm)+lead+packetSamples-1)/packetSamples))
			b = append(b, byte(gain))
			return append(b, e.packets...), nil
		}
	}
	return nil, errors.New("no rate makes it sound like the original")
}

const packetSamples = audio.SampleRate / 1000 * packetMs

// compress makes Opus packets of a whole prompt, until the last of it has come out of the decoder.
func compress(pcm []int16, bitrate, complexity int) (packed, error) {
	e, err := lib.NewEncoder(audio.SampleRate, 1, lib.AppVoIP)
	if err != nil {
		return packed{}, err
	}
	err = errors.Join(e.SetBitrate(bitrate), e.SetComplexity(complexity), e.SetMaxBandwidth(lib.Narrowband),
		e.SetInBandFEC(false), e.SetDTX(false), e.SetVBR(true))
	if err != nil {
		return packed{}, err
	}
	p := packed{millis: len(pcm) / 48, gain: unity}
	for at := 0; at < len(pcm)+lead; at += packetSamples {
		frame, packet := make([]int16, packetSamples), make([]byte, 255)
		if at < len(pcm) {
			copy(frame, pcm[at:])
		}
		size, err := e.Encode(frame, packet)
		if err != nil {
			return packed{}, err
		}
		p.packets = append(append(p.packets, byte(size)), packet[:size]...)
	}
	return p, nil
}

// narrow is what a telephone carries of a sound: at 8 kHz, without the filter's delay.
func narrow(pcm []int16) (out []int16) {
	r, err := audio.NewResampler(audio.SampleRate, 8000)
	if err != nil {
		panic(err)
	}
	for ; len(pcm) >= audio.FrameSamples; pcm = pcm[audio.FrameSamples:] {
		var frame [80]int16
		r.Convert16(pcm[:audio.FrameSamples], frame[:])
		out = append(out, frame[:]...)
	}
	return out[24:]
}

// highPass takes away what is below 200 Hz, gently: a telephone carries nothing there, and Opus would cut it off, so that the
// level would not be what was set.
func highPass(in []float64) []float64 {
	out := make([]float64, len(in))
	keep := math.Exp(-2 * math.Pi * 200 / audio.SampleRate)
	var x, y, z float64
	for i, s := range in {
		was := y
		y, x = keep*(y+s-x), s
		z = keep * (z + y - was)
		out[i] = z
	}
	return out
}

// envelope is the level of each 20 ms, as a magnitude.
func envelope(pcm []int16, rate int) (e []float64) {
	for n := rate / 50; len(pcm) >= n; pcm = pcm[n:] {
		e = append(e, math.Sqrt(audio.Measure(pcm[:n]).Power))
	}
	return e
}

// correlation is 1 for two envelopes of the same form, whatever their levels.
func correlation(a, b []float64) float64 {
	n := min(len(a), len(b))
	var ma, mb float64
	for i := range n {
		ma, mb = ma+a[i]/float64(n), mb+b[i]/float64(n)
	}
	var ab, aa, bb float64
	for i := range n {
		x, y := a[i]-ma, b[i]-mb
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}
