package main

import (
	"math"
	"slices"
	"testing"
	"time"

	"parley/audio"
	"parley/audio/card"
	"parley/audio/g711"
	"parley/conference"
	"parley/hal"
	"parley/mixer"
)

// stuckLamps never get done with lighting.
type stuckLamps struct{ asked, let chan struct{} }

func (l stuckLamps) Light(hal.Lamp, bool) error {
	l.asked <- struct{}{}
	<-l.let
	return nil
}

// stuckBroker never gets done with publishing.
type stuckBroker struct{ asked, let chan struct{} }

func (b stuckBroker) Publish(string, []byte, byte, bool) error {
	b.asked <- struct{}{}
	<-b.let
	return nil
}

// the key closes the gate on its leading edge before it asks anybody for anything: the lamp hangs, then the house, whose
// inbox nobody reads, then the broker, and the gate is closed all along.
func TestTheKeyClosesTheGateBeforeItTellsAnybody(t *testing.T) {
	mic := &microphone{}
	mic.Open()
	lamp := stuckLamps{make(chan struct{}), make(chan struct{})}
	broker := stuckBroker{make(chan struct{}), make(chan struct{})}
	house := &house{inbox: make(chan func()), done: make(chan struct{})}
	k := &keys{house: house, mic: mic, out: broker, lamps: &lamps{blinker: hal.NewBlinker(lamp, nil), mic: mic, house: house}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		now := time.Now()
		k.handle(hal.Event{Key: hal.KeyMute, Kind: hal.Leading, At: now})
		k.handle(hal.Event{Key: hal.KeyMute, Kind: hal.Pressed, At: now})
	}()
	closed := func(while string) {
		t.Helper()
		if !mic.Closed() {
			t.Errorf("the gate is open while %s", while)
		}
	}
	<-lamp.asked
	closed("the lamp hangs")
	close(lamp.let)
	go func() {
		for range lamp.asked { // what else is to be lit
		}
	}()
	defer close(lamp.asked)
	<-house.inbox
	closed("the house has not heard of it")
	<-broker.asked
	closed("the broker hangs")
	close(broker.let)
	<-done
	closed("nothing more is to be done")
}

// packetEar and frameEar keep what a mixer gives them.
type packetEar struct {
	format  audio.Format
	packets [][]byte
}

func (e *packetEar) Format() audio.Format { return e.format }

func (e *packetEar) WritePacket(_ audio.Format, payload []byte) {
	e.packets = append(e.packets, slices.Clone(payload))
}

type frameEar struct{ frames []audio.Frame }

func (e *frameEar) WriteFrame(f *audio.Frame) { e.frames = append(e.frames, *f) }

// a tick that begins after the key's edge carries none of the room's sound: the frame fades out from its last sample, which
// has been sent already, and from then on every sample is zero. On the wire that is the packet in the making and no other.
func TestNoTickAfterTheEdgeCarriesSound(t *testing.T) {
	sound := make([]int16, audio.SampleRate)
	for i := range sound {
		sound[i] = int16(12000 * math.Sin(2*math.Pi*(400*float64(i)/audio.SampleRate)))
	}
	for edge := 20; edge < 24; edge++ { // in both halves of a packet
		mic := &microphone{}
		mic.Open()
		files, err := card.NewFiles(card.FilesConfig{Microphone: sound, Rate: audio.SampleRate, Gate: &mic.Gate, Volume: 100})
		if err != nil {
			t.Fatal(err)
		}
		pcmu := g711.PCMU()
		wire, air := &packetEar{format: pcmu.Format()}, &frameEar{}
		m := mixer.New(mixer.Config{Codecs: []audio.Codec{pcmu}})
		for _, p := range []mixer.Port{
			{ID: 1, Source: files, Ungated: true}, {ID: 2, Packets: wire}, {ID: 3, Frames: air},
		} {
			if err := m.Add(p); err != nil {
				t.Fatal(err)
			}
		}
		m.SetHearing(mixer.Hearing{2: {1}, 3: {1}})
		now, sent := time.Now(), 0
		for tick := range 100 {
			if tick == edge {
				k := &keys{house: &house{inbox: make(chan func(), 1)}, mic: mic, lamps: &lamps{blinker: hal.NewBlinker(noLamps{}, nil), mic: mic}}
				k.muteDown(hal.Event{})
				sent = len(wire.packets)
			}
			m.Tick(now.Add(time.Duration(tick) * audio.FrameDuration))
		}
		last := air.frames[edge-1][audio.FrameSamples-1]
		for i, s := range air.frames[edge] {
			if abs(s) > abs(last) || i >= 120 && s != 0 {
				t.Fatalf("edge before tick %d: sample %d of it is %d, the last one before it %d", edge, i, s, last)
			}
			last = s
		}
		for i, f := range air.frames[edge+1:] {
			if f != (audio.Frame{}) {
				t.Fatalf("edge before tick %d: tick %d bears sound", edge, edge+1+i)
			}
		}
		for i, p := range wire.packets {
			loud := slices.ContainsFunc(p, func(b byte) bool { return b|0x80 != 0xff })
			if i > sent && loud || i > 2 && i < sent && !loud {
				t.Errorf("edge before tick %d, when %d packets were sent: packet %d, sound %v", edge, sent, i, loud)
			}
		}
		if len(wire.packets) < 45 {
			t.Errorf("%d packets", len(wire.packets))
		}
	}
}

type noLamps struct{}

func (noLamps) Light(hal.Lamp, bool) error { return nil }

func abs(s int16) int { return max(int(s), -int(s)) }

// a call that waits for the key is what the status lamp shows, also while in another one; the mute lamp does not care.
func TestAWaitingCallIsOnTheStatusLamp(t *testing.T) {
	mic := &microphone{}
	for _, c := range []struct {
		state placeState
		want  hal.State
	}{
		{placeState{}, hal.StateIdle},
		{placeState{Meeting: &meeting{}}, hal.StateInCall},
		{placeState{Ringing: true}, hal.StateRinging},
		{placeState{Meeting: &meeting{}, Ringing: true}, hal.StateRinging},
		{placeState{Meeting: &meeting{}, Calling: true}, hal.StateRinging},
		{placeState{Booked: true}, hal.StateJoinable},
		{placeState{Meeting: &meeting{}, Booked: true}, hal.StateInCall},
		{placeState{Meeting: &meeting{}, Ringing: true, Floor: conference.FloorQueue}, hal.StateQueued},
		{placeState{Meeting: &meeting{}, Floor: conference.FloorHeld}, hal.StateFloorGranted},
		{placeState{Meeting: &meeting{}, Floor: conference.FloorHeld, Private: true}, hal.StatePrivateRoom},
		{placeState{Meeting: &meeting{}, Recorded: true, Private: true}, hal.StateRecording},
	} {
		lit := map[hal.Lamp]bool{}
		l := &lamps{blinker: hal.NewBlinker(litLamps(lit), nil), mic: mic, house: &house{}}
		l.placed(c.state)
		if got := l.shown(); got != c.want {
			t.Errorf("%+v: the status lamp shows %v, want %v", c.state, got, c.want)
		}
		if !lit[hal.LampMute] {
			t.Errorf("%+v: the mute lamp is off and the gate closed", c.state)
		}
	}
}

type litLamps map[hal.Lamp]bool

func (l litLamps) Light(lamp hal.Lamp, on bool) error {
	l[lamp] = on
	return nil
}
