package card

import (
	"math"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"parley/audio"
)

const (
	asoundCards = ` 0 [Headphones     ]: bcm2835_headpho - bcm2835 Headphones
                      bcm2835 Headphones
 1 [Device         ]: USB-Audio - USB PnP Sound Device
                      C-Media Electronics Inc. USB PnP Sound Device at usb-0000:01:00.0-1.3, full speed
`
	asoundPCM = `00-00: bcm2835 Headphones : bcm2835 Headphones : playback 8
01-00: USB Audio : USB Audio : playback 1 : capture 1
`
)

func TestProc(t *testing.T) {
	list, err := procDevices(fstest.MapFS{"cards": {Data: []byte(asoundCards)}, "pcm": {Data: []byte(asoundPCM)}})
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	want := []Device{
		{ID: "plughw:CARD=Headphones,DEV=0", Name: "bcm2835 Headphones", Card: 0, Playback: true},
		{ID: "plughw:CARD=Device,DEV=0", Name: "USB PnP Sound Device", Card: 1, Playback: true, Capture: true},
	}
	for i, d := range list {
		if d != want[i] {
			t.Errorf("%+v, want %+v", d, want[i])
		}
	}
	if d, err := choose("default", list); err != nil || d != want[1] {
		t.Error(d, err)
	}
	_, err = choose("jabra", list)
	if err == nil || !strings.Contains(err.Error(), "jabra") ||
		!strings.Contains(err.Error(), "plughw:CARD=Headphones,DEV=0 (bcm2835 Headphones, speaker only)") ||
		!strings.Contains(err.Error(), "plughw:CARD=Device,DEV=0 (USB PnP Sound Device, microphone and speaker)") {
		t.Error(err)
	}
	if list, err := procDevices(fstest.MapFS{}); len(list) != 0 || err != nil {
		t.Error("no sound at all:", list, err)
	}
}

// The names in these tables come from whatever is plugged in.
func FuzzProc(f *testing.F) {
	f.Add(asoundCards, asoundPCM, "hw:1,0")
	f.Add(" 1 [", "01-: : capture", "plughw:CARD=,DEV=")
	f.Fuzz(func(t *testing.T, cards, pcm, want string) {
		list, err := procDevices(fstest.MapFS{"cards": {Data: []byte(cards)}, "pcm": {Data: []byte(pcm)}})
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > strings.Count(pcm, "\n")+1 {
			t.Fatal("more devices than lines")
		}
		if d, err := choose(want, list); err == nil && d.ID == "" {
			t.Fatal("a device without a name")
		}
	})
}

func TestRing(t *testing.T) {
	var r ring
	var next, seen int16
	buf := make([]int16, 5000)
	for n := range 1000 {
		in := buf[:(n*37)%3000]
		for i := range in {
			in[i] = next + int16(i)
		}
		next += int16(r.put(in))
		out := buf[:(n*61)%3000]
		for _, s := range out[:r.take(out)] {
			if s != seen {
				t.Fatalf("round %d: %d, want %d", n, s, seen)
			}
			seen++
		}
		if n%100 == 50 {
			seen += int16(r.skip(1000))
		}
	}
	for r.put(buf) == len(buf) {
	}
	if held := r.written.Load() - r.read.Load(); held != ringSize {
		t.Errorf("a full ring holds %d", held)
	}
}

// At ratio 1 the resampler gives back exactly what it was given.
func TestResamplerIdentity(t *testing.T) {
	var r resampler
	r.reset()
	in, out := make([]int16, 4800), make([]int16, 0, 4800)
	for i := range in {
		in[i] = int16(i*7919 + 13)
	}
	var buf [480]int16
	for at := 0; at < len(in); at += 480 {
		r.feed(in[at : at+480])
		out = append(out, buf[:r.run(buf[:], 1)]...)
	}
	for i, s := range out {
		want := int16(0)
		if i >= taps/2 {
			want = in[i-taps/2]
		}
		if s != want {
			t.Fatalf("sample %d is %d, want %d", i, s, want)
		}
	}
}

// need is enough and not one too many.
func TestResamplerNeed(t *testing.T) {
	for _, ratio := range []float64{1, 0.9985, 1.0015, 1.0 / 6, 1.0 / 3} {
		var r resampler
		r.reset()
		var in [1024]int16
		var out [480]int16
		for range 1000 {
			n := r.need(len(out), ratio)
			r.feed(in[:n])
			if got := r.run(out[:], ratio); got != len(out) {
				t.Fatalf("ratio %v: %d of %d came out", ratio, got, len(out))
			}
		}
		if r.have > taps+1 {
			t.Errorf("ratio %v: %d samples are kept", ratio, r.have)
		}
	}
}

func TestVolume(t *testing.T) {
	var v volume
	frame, out := audio.Frame{}, audio.Frame{}
	for i := range frame {
		frame[i] = 20000
	}
	for _, c := range []struct {
		percent int
		want    float64
	}{{100, 20000}, {200, 20000}, {60, 2000}, {1, 20000 * math.Pow(10, -49.5/20)}, {0, 0}, {-5, 0}, {100, 20000}} {
		v.set(c.percent)
		before := out[audio.FrameSamples-1]
		v.apply(&out, &frame)
		for i, s := range out {
			if i > 0 {
				before = out[i-1]
			}
			if math.Abs(float64(s)-float64(before)) > 45 {
				t.Fatalf("%d %%: a step from %d to %d", c.percent, before, s)
			}
		}
		v.apply(&out, &frame)
		if math.Abs(float64(out[0])-c.want) > 1 || out[0] != out[479] {
			t.Errorf("%d %%: %d … %d, want %.0f", c.percent, out[0], out[479], c.want)
		}
	}
}

func tone(level float64) (f audio.Frame) {
	for i := range f {
		f[i] = int16(math.Sqrt2 * math.MaxInt16 * math.Pow(10, level/20) * math.Sin(2*math.Pi*float64(i)/48))
	}
	return f
}

func rms(f audio.Frame) float64 {
	return 10 * math.Log10(energy(&f)/audio.FrameSamples/math.MaxInt16/math.MaxInt16+1e-12)
}

func TestDuck(t *testing.T) {
	d := NewDuck(DuckConfig{})
	hear := func(far, near float64) float64 {
		f := tone(far)
		d.Speaker(&f)
		f = tone(near)
		d.Microphone(&f)
		return rms(f) - near
	}
	check := func(what string, got, from, to float64) {
		t.Helper()
		if got < from || got > to {
			t.Errorf("%s: %.1f dB, want %v … %v", what, got, from, to)
		}
	}
	check("speaker silent", hear(-90, -30), -0.1, 0.1)
	check("attack, one frame", hear(-20, -30), -10, -4)
	for range 10 {
		check("speaker plays", hear(-20, -30), -30.5, -29)
	}
	check("near talker clearly louder", hear(-35, -12), -30, 0)
	for range 35 {
		hear(-35, -12)
	}
	check("near talker clearly louder, released", hear(-35, -12), -0.1, 0.1)
	for range 20 {
		hear(-20, -30)
	}
	for range 24 {
		check("hold", hear(-90, -30), -30.5, -29)
	}
	quiet := 0
	for hear(-90, -30) < -0.1 {
		quiet++
	}
	if quiet < 8 || quiet > 13 {
		t.Errorf("released after %d frames", quiet)
	}
}

func TestDuckSteps(t *testing.T) {
	d := NewDuck(DuckConfig{Depth: 20, Release: 50 * time.Millisecond})
	var before int16
	for n := range 100 {
		far := tone(-90)
		if n%40 < 20 {
			far = tone(-20)
		}
		d.Speaker(&far)
		var near audio.Frame
		for i := range near {
			near[i] = 1000
		}
		d.Microphone(&near)
		for _, s := range near {
			if n > 0 && max(s-before, before-s) > 5 {
				t.Fatalf("frame %d: a step from %d to %d", n, before, s)
			}
			before = s
		}
	}
}
