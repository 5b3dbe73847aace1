package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"parley/audio"
	"parley/audio/g711"
	"parley/audio/opus"
	"parley/cmd/parley/config"
	"parley/conference"
	"parley/mixer"
)

// attendee is one of five without a network: he talks in spurts of noise, the same ones in every run, and keeps what he is sent.
type attendee struct {
	format  audio.Format
	random  *rand.Rand
	talks   bool
	packets [][]byte
	frames  []audio.Frame
}

func (a *attendee) Format() audio.Format { return a.format }

func (a *attendee) WritePacket(_ audio.Format, payload []byte) {
	a.packets = append(a.packets, bytes.Clone(payload))
}

func (a *attendee) WriteFrame(f *audio.Frame) { a.frames = append(a.frames, *f) }

func (a *attendee) ReadFrame(rate int, f *audio.Frame) audio.Status {
	if a.random.IntN(30) == 0 {
		a.talks = !a.talks
	}
	for i := range f[:rate/100] {
		f[i] = int16(3000 * a.random.NormFloat64())
	}
	if !a.talks {
		return audio.Silent
	}
	return audio.Active
}

// hall is the house with five in one conference: three by telephone, one with a wide-band one, one in the room.
type hall struct {
	t     *testing.T
	house *house
	conf  *meeting
	at    time.Time
	all   []*attendee
}

var hallCodecs = []audio.Codec{g711.PCMU(), opus.New(opus.Options{Bitrate: 32000, Complexity: 5})}

func newHall(t *testing.T) *hall {
	t.Helper()
	cfg := config.Default()
	cfg.Conferences = nil
	h := &hall{t: t, at: time.Unix(1e9, 0), house: newHouse(cfg, 1, slog.New(slog.DiscardHandler))}
	h.house.now = func() time.Time { return h.at }
	h.house.mixer = mixer.New(mixer.Config{Codecs: hallCodecs})
	newPlace(h.house, &microphone{}, true)
	h.conf = h.house.open(conference.Rules{Kind: conference.Standing, Number: "1000"})
	for i := range 5 {
		a := &attendee{random: rand.New(rand.NewPCG(1, uint64(i))), format: hallCodecs[0].Format()}
		if i == 1 || i == 4 {
			a.format = hallCodecs[1].Format()
		}
		h.house.ports++
		l := &leg{id: fmt.Sprintf("m%d", i), port: h.house.ports}
		port := mixer.Port{ID: l.port, Source: a, Packets: a, Ungated: true}
		if i == 2 {
			port.Packets, port.Frames = nil, a
		}
		if err := h.house.mixer.Add(port); err != nil {
			t.Fatal(err)
		}
		if err := h.house.enter(h.conf, l, conference.Member{Number: fmt.Sprint(2001 + i), State: conference.Connected}); err != nil {
			t.Fatal(err)
		}
		h.all = append(h.all, a)
	}
	return h
}

func (h *hall) do(c conference.Command) {
	h.t.Helper()
	c.By = conference.Actor{Role: conference.ByHost}
	if err := h.house.do(h.conf, c); err != nil {
		h.t.Fatal(err)
	}
}

// drop has somebody not be there any more.
func (h *hall) drop(who ...int) {
	for _, i := range who {
		l := h.conf.leg(fmt.Sprintf("m%d", i))
		h.house.mixer.Remove(l.port)
		h.house.leave(l, "")
	}
}

// run lets time pass, by ticks of 10 ms.
func (h *hall) run(ticks int) {
	h.house.settle()
	for range ticks {
		h.at = h.at.Add(audio.FrameDuration)
		h.house.mixer.Tick(h.at)
	}
}

// P-3: what is said in a private room, and what is said in the hall meanwhile, is on the other side not in a single bit: everybody is sent exactly
// what he is sent if the others leave where these went into the room.
func TestAPrivateRoomIsAsIfTheOthersWereNotThere(t *testing.T) {
	t.Parallel()
	const before, during, after = 200, 600, 200
	split := newHall(t)
	split.run(before)
	split.do(conference.Command{Do: conference.OpenRoom, IDs: []string{"m1", "m2", "m3"}, Room: "aside"})
	split.run(during)
	sides := [][]int{{1, 2, 3}, {0, 4}}
	for i, side := range sides {
		alone := newHall(t)
		alone.run(before)
		alone.drop(sides[1-i]...)
		alone.run(during)
		loud := 0
		for _, m := range side {
			got, want := split.all[m], alone.all[m]
			if len(got.packets) != len(want.packets) || len(got.frames) != len(want.frames) || len(got.packets)+len(got.frames) < (before+during)/2 {
				t.Fatalf("m%d: %d packets and %d frames, alone %d and %d", m, len(got.packets), len(got.frames), len(want.packets), len(want.frames))
			}
			for k := range got.packets {
				if !bytes.Equal(got.packets[k], want.packets[k]) {
					t.Fatalf("m%d: packet %d is another one than without the others", m, k)
				}
				loud += min(1, len(got.packets[k]))
			}
			for k := range got.frames {
				if got.frames[k] != want.frames[k] {
					t.Fatalf("m%d: frame %d is another one than without the others", m, k)
				}
			}
		}
		if loud == 0 {
			t.Error("nothing was to be heard")
		}
	}

	// Back again, everybody hears what is heard if nobody had ever been away, once the ramps and filters are through.
	split.do(conference.Command{Do: conference.Return, Room: "aside"})
	split.run(after)
	together := newHall(t)
	together.run(before + during + after)
	for m := range split.all {
		got, want := split.all[m], together.all[m]
		switch {
		case got.format.Codec != "PCMU": // an encoder that remembers what it sent before
		case m == 2 && got.frames[len(got.frames)-1] != want.frames[len(want.frames)-1]:
			t.Error("m2 hears something else after the return")
		case m != 2 && !bytes.Equal(got.packets[len(got.packets)-1], want.packets[len(want.packets)-1]):
			t.Errorf("m%d hears something else after the return", m)
		}
	}
}
