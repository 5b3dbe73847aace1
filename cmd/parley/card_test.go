package main_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"parley/audio"
	"parley/audio/card"
	"parley/audio/card/cardtest"
	"parley/audio/g711"
	"parley/audio/opus"
	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
	"parley/mixer"
)

// caller is a far end without a network: he talks in spurts, the same ones every time, and keeps every packet.
type caller struct {
	codec   audio.Codec
	hz      float64
	random  *rand.Rand
	at      int // samples said
	talks   bool
	packets [][]byte
}

func newCaller(c audio.Codec, hz float64) *caller {
	return &caller{codec: c, hz: hz, random: rand.New(rand.NewPCG(1, uint64(hz)))}
}

func (c *caller) Format() audio.Format { return c.codec.Format() }

func (c *caller) WritePacket(_ audio.Format, payload []byte) {
	c.packets = append(c.packets, bytes.Clone(payload))
}

func (c *caller) ReadFrame(rate int, f *audio.Frame) audio.Status {
	n := rate / 100
	if c.random.IntN(100) == 0 {
		c.talks = !c.talks
	}
	defer func() { c.at += n }()
	if !c.talks {
		clear(f[:n])
		return audio.Silent
	}
	for i := range n {
		tone := 8000 * math.Sin(2*math.Pi*c.hz*float64(c.at+i)/float64(rate))
		f[i] = int16(tone + 200*c.random.NormFloat64())
	}
	return audio.Active
}

// desk is a mixer with two callers, and a card if there is one.
type desk struct {
	mixer   *mixer.Mixer
	callers [2]*caller
}

func newDesk(t *testing.T, room *card.Card) *desk {
	t.Helper()
	pcmu, wide := g711.PCMU(), opus.New(opus.Options{Bitrate: 32000, Complexity: 5})
	b := &desk{
		mixer:   mixer.New(mixer.Config{Codecs: []audio.Codec{pcmu, wide}}),
		callers: [2]*caller{newCaller(pcmu, 700), newCaller(wide, 1100)},
	}
	add := func(p mixer.Port) {
		if err := b.mixer.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	all := []mixer.PortID{2, 3}
	if room != nil {
		add(mixer.Port{ID: 1, Source: room, Frames: room, Ungated: true})
		all = append(all, 1)
	}
	add(mixer.Port{ID: 2, Source: b.callers[0], Packets: b.callers[0]})
	add(mixer.Port{ID: 3, Source: b.callers[1], Packets: b.callers[1]})
	b.mixer.SetHearing(mixer.Hearing{1: all, 2: all, 3: all})
	return b
}

// the sound card is unplugged, given back, stalls and comes back: bit by bit the callers are sent what they are sent by a box
// that has no card. The room is silent, so that all that differs is the card.
func TestCardThatComesAndGoesIsNotHeardByCallers(t *testing.T) {
	t.Parallel()
	clock := cardtest.NewClock(time.Unix(1e9, 0))
	driver := cardtest.NewDriver(clock)
	driver.PPM = 70
	heard := 0.0 // by the room
	driver.Speaker = func(pcm []int16) {
		for _, s := range pcm {
			heard = max(heard, math.Abs(float64(s)))
		}
	}
	gate := &audio.Gate{}
	gate.Open()
	room := card.New(card.Config{Driver: driver, Gate: gate, Volume: 100, Now: clock.Now})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- room.Run(ctx) }()
	defer func() { cancel(); <-done }()
	with, without := newDesk(t, room), newDesk(t, nil)

	now, ticks := clock.Now(), 0
	tick := func() {
		now = now.Add(audio.FrameDuration)
		driver.Advance(now)
		with.mixer.Tick(now)
		without.mixer.Tick(now)
		ticks++
	}
	// The card is looked after by the real clock and runs by the fake one: ticks go on until it is seen.
	until := func(state card.State) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); room.Status().State != state; time.Sleep(time.Millisecond) {
			if tick(); time.Now().After(deadline) {
				t.Fatalf("the card is %v, want %v", room.Status().State, state)
			}
		}
		heard = 0
		for range 200 {
			tick()
		}
		if plays := heard > 1000; plays != (state == card.Open) {
			t.Errorf("card %v: the loudest sample in the room is %.0f", state, heard)
		}
	}
	until(card.Open)
	driver.Plug()
	until(card.Absent)
	driver.Replug()
	until(card.Open)
	driver.Stall(true)
	until(card.Stalled)
	driver.Stall(false)
	until(card.Open)
	if s := room.Status(); s.Opened < 3 {
		t.Errorf("the card was opened %d times", s.Opened)
	}
	for i, c := range with.callers {
		other, sound := without.callers[i], 0
		if len(c.packets) != ticks/2 || len(other.packets) != len(c.packets) {
			t.Fatalf("%s: %d and %d packets in %d ticks", c.Format().Codec, len(c.packets), len(other.packets), ticks)
		}
		for n := range c.packets {
			if !bytes.Equal(c.packets[n], other.packets[n]) {
				t.Fatalf("%s: packet %d of %d differs from a box without a card", c.Format().Codec, n, len(c.packets))
			}
			if n > 0 && !bytes.Equal(c.packets[n], c.packets[n-1]) {
				sound++
			}
		}
		if sound < len(c.packets)/4 {
			t.Errorf("%s: only %d of %d packets have sound", c.Format().Codec, sound, len(c.packets))
		}
	}
}

// standIn makes the sound library that testdata/sound.c is, and returns its folder.
func standIn(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command(phonetest.Need(t, "gcc"), "-O2", "-shared", "-fPIC", "-o", filepath.Join(dir, "libasound.so.2"),
		"testdata/sound.c", "-lm").CombinedOutput()
	if err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return dir
}

// while the card goes and comes back, no caller misses a packet, and each goes on hearing the other. The box is the real one,
// with everything down to miniaudio; below that a stand-in for libasound plays the card.
func TestCardTakenAwayTouchesNoCall(t *testing.T) {
	t.Parallel()
	dir := standIn(t)
	plugged, speaker := filepath.Join(dir, "plugged"), filepath.Join(dir, "speaker.pcm")
	plug := func() {
		if err := os.WriteFile(plugged, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plug()
	box := boxtest.Start(t, boxtest.Config{
		Settings: boxtest.Settings{
			"card": boxtest.Settings{"device": "standin:0", "ducking": false}, "place": boxtest.Settings{"join_at_start": true},
		},
		Env: []string{"LD_LIBRARY_PATH=" + dir, "CARD_THERE=" + plugged, "CARD_SPEAKER=" + speaker},
	})
	watch := box.Watch()
	capture := phonetest.StartCapture(t, uint16(box.FirstRTP), uint16(box.LastRTP))
	tones := []string{"700", "1100"}
	var calls []*phonetest.Process
	for i, codec := range []string{"pcmu", "pcma"} {
		call := box.Call("1000", "-codec", codec, "-tone", tones[i], "-level", "-23")
		call.WaitLine("answered", 20*time.Second)
		calls = append(calls, call)
	}
	watch.Wait("/conf/1000/state", "three members", 20*time.Second, func(p map[string]any) bool { return connected(p) == 3 })
	// What passes meanwhile is for the judge to see: as many packets of the wire, however long they take.
	passes := func(n int) {
		t.Helper()
		seen := len(fromBox(capture, box))
		phonetest.Eventually(t, 60*time.Second, "the calls go on", func() bool { return len(fromBox(capture, box)) >= seen+n })
	}
	const two = 200 // packets of two calls in two seconds
	passes(two)
	if err := os.Remove(plugged); err != nil {
		t.Fatal(err)
	}
	watch.Wait("/alert/card", "the card's fault", 20*time.Second, func(p map[string]any) bool { return p["text"] != "" })
	passes(2 * two)
	watch.Forget()
	played := size(speaker)
	plug()
	phonetest.Eventually(t, 30*time.Second, "the alert is over", func() bool {
		all := watch.Messages("/alert/card")
		return len(all) > 0 && len(all[len(all)-1].Payload) == 0
	})
	passes(two)
	phonetest.Eventually(t, 30*time.Second, "the room hears the callers again", func() bool { return size(speaker) > played+2*48000 })
	for _, call := range calls {
		call.Signal(syscall.SIGINT)
		call.Wait(20 * time.Second)
	}
	box.StopCleanly()
	capture.Stop()

	streams := map[uint8][]phonetest.Packet{}
	for _, p := range fromBox(capture, box) {
		r, _ := p.RTP()
		streams[r.PayloadType] = append(streams[r.PayloadType], p)
	}
	for i, payloadType := range []uint8{0, 8} {
		sound := unbroken(t, streams[payloadType])
		// How well the card's thread and the callers keep time is the machine's matter; what is there and what is not is ours.
		other := sound.Tone([]float64{1100, 700}[i])
		if n := other.Above(toneLevel - 20); n < max(70, len(other)*2/3) {
			t.Errorf("payload type %d: the other caller is heard in %d of %d windows: %.0f", payloadType, n, len(other), other)
		}
		place := sound.Tone(400)
		from, to := longestQuiet(place, toneLevel-30)
		first, last := place[:from].Above(toneLevel-20), place[to:].Above(toneLevel-20)
		t.Logf("payload type %d: of %d windows the place is heard in %d, then not in %d, and at the end in %d", payloadType, len(place), first, to-from, last)
		if first < 5 || to-from < 20 || last < 5 {
			t.Errorf("payload type %d: the card was not there, gone, and there again: %.0f", payloadType, place)
		}
	}
	raw, err := os.ReadFile(speaker)
	if err != nil {
		t.Fatal(err)
	}
	again := phonetest.Sound{Rate: 48000}
	for at := int(played) / 2 * 2; at+1 < len(raw); at += 2 {
		again.Samples = append(again.Samples, int16(binary.LittleEndian.Uint16(raw[at:])))
	}
	if n := again.Tone(700).Above(toneLevel - 10); n < 5 {
		t.Errorf("after it came back the room hears the caller in %d windows", n)
	}
}

// longestQuiet is where a tone is away for longest.
func longestQuiet(levels phonetest.ToneLevels, below float64) (from, to int) {
	start := 0
	for i, level := range levels {
		if level >= below {
			start = i + 1
		} else if i+1-start > to-from {
			from, to = start, i+1
		}
	}
	return from, to
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
