package phonetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Sound is mono sound, signed 16 bit, at Rate Hz.
type Sound struct {
	Rate    int
	Samples []int16
}

// Duration is how long s lasts.
func (s Sound) Duration() time.Duration {
	if s.Rate == 0 {
		return 0
	}
	return time.Duration(len(s.Samples)) * time.Second / time.Duration(s.Rate)
}

// Between returns the part of s from one time to another, as far as there is one.
func (s Sound) Between(from, to time.Duration) Sound {
	index := func(d time.Duration) int {
		return max(0, min(len(s.Samples), int(d*time.Duration(s.Rate)/time.Second)))
	}
	a, b := index(from), index(to)
	return Sound{Rate: s.Rate, Samples: s.Samples[a:max(a, b)]}
}

// Repeat returns s again and again until it lasts d.
func (s Sound) Repeat(d time.Duration) Sound {
	n := int(d * time.Duration(s.Rate) / time.Second)
	out := make([]int16, 0, n)
	for len(s.Samples) > 0 && len(out) < n {
		out = append(out, s.Samples[:min(len(s.Samples), n-len(out))]...)
	}
	return Sound{Rate: s.Rate, Samples: out}
}

// Tone makes a sine of freq Hz, at level dBFS (0 dBFS: a sine whose peaks are at full scale).
func Tone(rate int, freq, level float64, d time.Duration) Sound {
	s := Sound{Rate: rate, Samples: make([]int16, int(d*time.Duration(rate)/time.Second))}
	amplitude := math.Pow(10, level/20) * 32767
	for i := range s.Samples {
		s.Samples[i] = int16(math.Round(amplitude * math.Sin(2*math.Pi*freq*float64(i)/float64(rate))))
	}
	return s
}

// Silence makes d of digital silence.
func Silence(rate int, d time.Duration) Sound {
	return Sound{Rate: rate, Samples: make([]int16, int(d*time.Duration(rate)/time.Second))}
}

// Speech lets espeak-ng say a text, in English, at rate Hz.
func Speech(t testing.TB, text string, rate int) Sound {
	t.Helper()
	path := filepath.Join(t.TempDir(), "speech.wav")
	out, err := exec.Command(Need(t, "espeak-ng"), "-v", "en", "-w", path, text).CombinedOutput()
	if err != nil {
		t.Fatalf("espeak-ng: %v: %s", err, out)
	}
	return ReadWAV(t, path).Resample(rate)
}

// Resample converts s to another rate by windowed-sinc interpolation. It is for tests: exact enough and slow.
func (s Sound) Resample(rate int) Sound {
	if rate == s.Rate {
		return s
	}
	const half = 24 // zero crossings on either side
	ratio := float64(rate) / float64(s.Rate)
	cut := min(1, ratio) * 0.95
	n := int(float64(len(s.Samples)) * ratio)
	out := Sound{Rate: rate, Samples: make([]int16, n)}
	reach := half / cut
	for i := range out.Samples {
		at := float64(i) / ratio
		first, last := max(0, int(math.Ceil(at-reach))), min(len(s.Samples)-1, int(at+reach))
		var sum float64
		for k := first; k <= last; k++ {
			x := (float64(k) - at) * cut
			w := 0.5 + 0.5*math.Cos(math.Pi*x/half)
			sum += float64(s.Samples[k]) * sinc(x) * w * cut
		}
		out.Samples[i] = int16(max(-32768, min(32767, math.Round(sum))))
	}
	return out
}

func sinc(x float64) float64 {
	if math.Abs(x) < 1e-9 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// WriteWAV writes s as a mono WAV file.
func WriteWAV(t testing.TB, path string, s Sound) {
	t.Helper()
	var b bytes.Buffer
	n := uint32(2 * len(s.Samples))
	b.WriteString("RIFF")
	binary.Write(&b, binary.LittleEndian, 36+n)
	b.WriteString("WAVEfmt ")
	binary.Write(&b, binary.LittleEndian, []uint32{16, 1 | 1<<16, uint32(s.Rate), uint32(2 * s.Rate), 2 | 16<<16})
	b.WriteString("data")
	binary.Write(&b, binary.LittleEndian, n)
	b.Write(littleEndian(s.Samples))
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// littleEndian lays samples out as a WAV file has them. It and its inverse share nothing, which the race detector needn't look at sample by
// sample.
//
//go:norace
func littleEndian(samples []int16) []byte {
	raw := make([]byte, 2*len(samples))
	for i, v := range samples {
		raw[2*i], raw[2*i+1] = byte(v), byte(uint16(v)>>8)
	}
	return raw
}

// channel is every step-th sample of a WAV file's data.
//
//go:norace
func channel(raw []byte, step int) []int16 {
	samples := make([]int16, 0, len(raw)/(2*step))
	for i := 0; i+2*step <= len(raw); i += 2 * step {
		samples = append(samples, int16(uint16(raw[i])|uint16(raw[i+1])<<8))
	}
	return samples
}

// ReadWAV reads a WAV file of 16-bit PCM; of several channels it takes the first. A file whose lengths were not filled in, as of
// a recording that still goes on or was cut off, is read as far as it goes.
func ReadWAV(t testing.TB, path string) Sound {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseWAV(raw)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return s
}

var errWAV = errors.New("not a WAV file of 16-bit PCM")

func parseWAV(raw []byte) (Sound, error) {
	if len(raw) < 12 || string(raw[:4]) != "RIFF" || string(raw[8:12]) != "WAVE" {
		return Sound{}, errWAV
	}
	var s Sound
	channels := 0
	for rest := raw[12:]; len(rest) >= 8; {
		id, size := string(rest[:4]), int64(binary.LittleEndian.Uint32(rest[4:]))
		body := rest[8:]
		if id == "data" && channels > 0 {
			if size == 0 || size > int64(len(body)) {
				size = int64(len(body))
			}
			s.Samples = channel(body[:size], channels)
			return s, nil
		}
		if size > int64(len(body)) {
			break
		}
		if id == "fmt " {
			if size < 16 || binary.LittleEndian.Uint16(body[14:]) != 16 {
				return Sound{}, errWAV
			}
			channels = int(binary.LittleEndian.Uint16(body[2:]))
			s.Rate = int(binary.LittleEndian.Uint32(body[4:]))
			if channels < 1 || channels > 8 || s.Rate < 1000 {
				return Sound{}, fmt.Errorf("%w: %d channels at %d Hz", errWAV, channels, s.Rate)
			}
		}
		rest = body[min(int64(len(body)), size+size&1):]
	}
	return Sound{}, fmt.Errorf("%w: no sound in it", errWAV)
}
