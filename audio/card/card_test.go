package card_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley/audio"
	"parley/audio/card"
	"parley/audio/card/cardtest"
)

func loud(pcm []int16, _ uint64) {
	for i := range pcm {
		pcm[i] = 10000
	}
}

func peak(pcm []int16) (most int) {
	for _, s := range pcm {
		most = max(most, int(s), -int(s))
	}
	return most
}

// a card that is unplugged is seen, looked for again at growing intervals, and taken back as soon as it is there.
func TestUnplugged(t *testing.T) {
	d := newDesk(t, card.Config{})
	d.driver.Microphone = loud
	if got := d.run(time.Second); got != audio.Active {
		t.Fatalf("status %v", got)
	}
	d.driver.Plug(card.Device{ID: "plughw:CARD=HDMI,DEV=3", Name: "HDMI 0", Playback: true})
	d.driver.Plug()
	d.driver.Plug(card.Device{ID: "plughw:CARD=HDMI,DEV=3", Name: "HDMI 0", Playback: true})
	var statuses []audio.Status
	for range 20 {
		s := d.tick()
		statuses = append(statuses, s)
		if s == audio.Late && d.in[audio.FrameSamples-1] != 0 {
			t.Error("the frame that conceals does not end in silence")
		}
	}
	if n := slices.Index(statuses, audio.Late); n < 0 || slices.Contains(statuses[n+1:], audio.Active) || slices.Contains(statuses[n+1:], audio.Late) {
		t.Errorf("statuses %v: want Active …, Late once, Silent", statuses)
	}
	d.run(20 * time.Second)
	last := d.states[len(d.states)-1]
	if last.State != card.Absent || !strings.Contains(last.Reason, "plughw:CARD=HDMI,DEV=3 (HDMI 0, speaker only)") {
		t.Errorf("%+v", last)
	}
	d.driver.Replug()
	before := d.now
	for d.tick() != audio.Active {
		if d.now.Sub(before) > 6*time.Second {
			t.Fatal("not taken back within 6 s")
		}
	}
	if s := d.card.Status(); s.State != card.Open || s.Opened != 2 {
		t.Errorf("%+v", s)
	}
	var states []card.State
	for _, s := range d.states {
		states = append(states, s.State)
	}
	if want := []card.State{card.Open, card.Lost, card.Absent, card.Open}; !slices.Equal(states, want) {
		t.Errorf("states %v, want %v", states, want)
	}
}

// The pauses between attempts: the first at once, then 0.5 s doubling to 5 s.
func TestBackOff(t *testing.T) {
	d := newDesk(t, card.Config{})
	d.driver.Refuse(true)
	var pauses []time.Duration
	for range 6 {
		pauses = append(pauses, d.card.Tend(d.now))
	}
	want := []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second}
	if !slices.Equal(pauses, want) {
		t.Errorf("pauses %v", pauses)
	}
	if s := d.card.Status(); s.State != card.Lost || !strings.Contains(s.Reason, cardtest.ErrBusy.Error()) || !strings.Contains(s.Reason, "CARD=Fake") {
		t.Errorf("%+v", s)
	}
}

// A card that stops calling without a word is opened anew within 300 ms, and the mixer never waits for it.
func TestStalled(t *testing.T) {
	d := newDesk(t, card.Config{})
	d.driver.Microphone = loud
	loud(d.out[:], 0)
	d.run(time.Second)
	d.driver.Stall(true)
	d.run(300 * time.Millisecond)
	if len(d.states) < 3 || d.states[1].State != card.Stalled {
		t.Fatalf("%+v", d.states)
	}
	d.run(2 * time.Second)
	d.driver.Stall(false)
	d.run(6 * time.Second)
	if got := d.run(time.Second); got != audio.Active {
		t.Errorf("status %v", got)
	}
	s := d.card.Status()
	if s.State != card.Open || s.Opened > 5 {
		t.Errorf("%+v", s)
	}
}

// A short stall is bridged: the card is not opened again, what was missed is counted, and the fill is right afterwards.
func TestHiccups(t *testing.T) {
	d := newDesk(t, card.Config{})
	d.driver.Microphone = loud
	d.run(2 * time.Second)
	fill := d.card.Status()
	for range 5 {
		d.driver.Stall(true)
		d.run(120 * time.Millisecond)
		d.driver.Stall(false)
		d.run(time.Second)
	}
	// And the mixer standing still, which the card does not care about.
	d.now = d.now.Add(150 * time.Millisecond)
	d.run(time.Second)
	s := d.card.Status()
	if s.Opened != 1 || s.Repeated < 5 || s.Dropped < 10 || s.Xruns != 5 {
		t.Errorf("%+v", s)
	}
	if diff := s.MicrophoneFill - fill.MicrophoneFill; diff.Abs() > 5*time.Millisecond {
		t.Errorf("microphone's fill %v, before %v", s.MicrophoneFill, fill.MicrophoneFill)
	}
	if diff := s.SpeakerFill - fill.SpeakerFill; diff.Abs() > 5*time.Millisecond {
		t.Errorf("speaker's fill %v, before %v", s.SpeakerFill, fill.SpeakerFill)
	}
}

// A driver that does not come back from closing keeps the card from being opened twice.
func TestCloseHangs(t *testing.T) {
	d := newDesk(t, card.Config{})
	release := d.driver.Hang()
	defer release()
	d.run(time.Second)
	d.driver.Stall(true)
	d.run(2 * time.Second)
	if n := d.driver.Opened(); n != 1 {
		t.Fatalf("opened %d times", n)
	}
	d.driver.Stall(false)
	release()
	deadline := time.Now().Add(10 * time.Second)
	for d.driver.Opened() < 2 {
		d.tick()
		if time.Now().After(deadline) {
			t.Fatal("not opened again")
		}
	}
}

// what was in the ring when the gate closed never gets out, even if the gate opens again at once.
func TestGateHidesTheRing(t *testing.T) {
	for _, open := range []int{0, 1, 2, 3, 5, 20} { // ticks until it opens again
		d := newDesk(t, card.Config{})
		level := int16(10000)
		d.driver.Microphone = func(pcm []int16, _ uint64) {
			for i := range pcm {
				pcm[i] = level
			}
		}
		d.run(time.Second)
		if peak(d.in[:]) < 9900 {
			t.Fatalf("not heard while open: %d", peak(d.in[:]))
		}
		d.gate.Close()
		level = 0 // from here on the room is quiet: whatever comes out was heard before
		if open == 0 {
			d.gate.Open()
		}
		for n := 1; n < 30; n++ {
			status := d.tick()
			from := 0
			if n == 1 {
				from = audio.SampleRate / 400 // the ramp, which is no sound of the room
			}
			if p := peak(d.in[from:]); p != 0 {
				t.Fatalf("opened after %d ticks: tick %d holds %d", open, n, p)
			}
			if n > 1 && status != audio.Silent {
				t.Fatalf("tick %d: status %v", n, status)
			}
			if n == open {
				d.gate.Open()
			}
		}
		level = 10000
		d.run(time.Second)
		if peak(d.in[:]) < 9900 {
			t.Errorf("not heard after it was opened again: %d", peak(d.in[:]))
		}
	}
}

// while the gate is closed every frame is exact zeros, whatever the card does.
func TestGateClosed(t *testing.T) {
	d := newDesk(t, card.Config{})
	d.gate.Close()
	d.driver.Microphone = loud
	for n := range 1000 {
		switch n {
		case 200:
			d.driver.Plug()
		case 400:
			d.driver.Replug()
		case 600:
			d.driver.Stall(true)
		case 650:
			d.driver.Stall(false)
		}
		if d.tick() == audio.Active || peak(d.in[:]) != 0 {
			t.Fatalf("tick %d: sound through the closed gate", n)
		}
	}
}

// Neither side of the ring allocates, in the mixer or in the callback.
func TestNoAllocation(t *testing.T) {
	d := newDesk(t, card.Config{Duck: &card.DuckConfig{}})
	d.driver.Microphone = loud
	loud(d.out[:], 0)
	d.run(time.Second)
	if n := testing.AllocsPerRun(1000, func() {
		d.now = d.now.Add(audio.FrameDuration)
		d.driver.Advance(d.now)
		d.card.ReadFrame(audio.SampleRate, &d.in)
		d.card.WriteFrame(&d.out)
	}); n != 0 {
		t.Errorf("%v allocations per tick", n)
	}
}

// The card answers at 48 kHz only, and before Run it is silent.
func TestAtRest(t *testing.T) {
	d := newDesk(t, card.Config{Device: "Fake"})
	if got := d.card.ReadFrame(audio.SampleRate, &d.in); got != audio.Silent {
		t.Errorf("%v before Run", got)
	}
	d.card.WriteFrame(&d.out)
	d.driver.Microphone = loud
	d.run(time.Second)
	if got := d.card.ReadFrame(8000, &d.in); got != audio.Silent {
		t.Errorf("%v at 8 kHz", got)
	}
	if err := d.card.End(); err != nil {
		t.Error(err)
	}
	if s := d.card.Status(); s.State != card.Closed || s.Device != "plughw:CARD=Fake,DEV=0" {
		t.Errorf("%+v", s)
	}
}

// An unknown card is named together with the cards that there are, and is not opened.
func TestUnknownCard(t *testing.T) {
	for _, name := range []string{"Blaster", "hw:7", "plughw:CARD=Blaster,DEV=0", "hw:1,3"} {
		d := newDesk(t, card.Config{Device: name})
		d.run(time.Second)
		s := d.card.Status()
		if s.State != card.Absent || !strings.Contains(s.Reason, name) || !strings.Contains(s.Reason, "plughw:CARD=Fake,DEV=0") {
			t.Errorf("%s: %+v", name, s)
		}
		if d.driver.Opened() != 0 {
			t.Errorf("%s was opened", name)
		}
	}
	for _, name := range []string{"", "default", "fake", "hw:1", "hw:1,0", "plughw:Fake", "hw:CARD=Fake", "dsnoop:1", "null"} {
		d := newDesk(t, card.Config{Device: name})
		d.run(100 * time.Millisecond)
		if s := d.card.Status(); s.State != card.Open {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestNoCardAtAll(t *testing.T) {
	d := newDesk(t, card.Config{})
	d.driver.Plug()
	d.run(time.Second)
	if s := d.card.Status(); s.State != card.Absent || !strings.Contains(s.Reason, "this machine has no sound card") {
		t.Errorf("%+v", s)
	}
	if list, err := d.card.Devices(); len(list) != 0 || err != nil {
		t.Error(list, err)
	}
}

// Run on a machine without a card is quiet and ends at once when it shall.
func TestRunWithoutCard(t *testing.T) {
	defer goleak.VerifyNone(t)
	driver := cardtest.NewDriver(cardtest.NewClock(time.Unix(1e9, 0)))
	driver.Plug()
	states := make(chan card.Status, 10)
	c := card.New(card.Config{Driver: driver, OnState: func(s card.Status) { states <- s }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	if s := <-states; s.State != card.Absent {
		t.Errorf("%+v", s)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := <-states; s.State != card.Closed {
		t.Errorf("%+v", s)
	}
}

func BenchmarkTick(b *testing.B) {
	clock := cardtest.NewClock(time.Unix(1e9, 0))
	driver := cardtest.NewDriver(clock)
	c := card.New(card.Config{Driver: driver, Now: clock.Now, Volume: 80, Duck: &card.DuckConfig{}})
	now := clock.Now()
	c.Tend(now)
	var in, out audio.Frame
	loud(out[:], 0)
	driver.Microphone = loud
	for b.Loop() {
		now = now.Add(audio.FrameDuration)
		driver.Advance(now)
		c.ReadFrame(audio.SampleRate, &in)
		c.WriteFrame(&out)
	}
}
