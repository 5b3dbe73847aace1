package main

import (
	"testing"

	"parley/audio"
	"parley/mixer"
)

// steadySource says the same value all the time, once it has begun.
type steadySource struct {
	silent int // ticks before
	status audio.Status
}

func (s *steadySource) ReadFrame(rate int, f *audio.Frame) audio.Status {
	if s.silent--; s.silent >= 0 {
		return audio.Silent
	}
	for i := range f[:rate/100] {
		f[i] = 1000
	}
	return s.status
}

// C-8: the new terminal grows from its first sound on and the old one dies away over the same time; where the two say the same, it is as
// loud as one, to a step. What has died away is silent, what is gone is gone, and nothing is allocated.
func TestTwoTerminalsFadeIntoEachOther(t *testing.T) {
	for _, rate := range []int{8000, 16000, 48000} {
		first := make(chan struct{})
		grows := &fade{source: &steadySource{silent: 7, status: audio.Active}, first: first}
		var f, g audio.Frame
		for tick := range 7 {
			if grows.ReadFrame(rate, &f) != audio.Silent {
				t.Fatalf("%d Hz: sound at tick %d", rate, tick)
			}
		}
		select {
		case <-first:
			t.Fatal("its first sound is told before it came")
		default:
		}
		dies := &fade{source: &steadySource{status: audio.Late}, out: true}
		last := int16(-1)
		for tick := range 6 {
			if a, b := grows.ReadFrame(rate, &f), dies.ReadFrame(rate, &g); a != audio.Active || b != audio.Late {
				t.Fatalf("%d Hz: status %v and %v at tick %d", rate, a, b, tick)
			}
			for i := range f[:rate/100] {
				if sum := f[i] + g[i]; sum < 998 || sum > 1000 {
					t.Fatalf("%d Hz: %d and %d at tick %d", rate, f[i], g[i], tick)
				}
				if f[i] < last {
					t.Fatalf("%d Hz: %d after %d", rate, f[i], last)
				}
				last = f[i]
			}
		}
		<-first
		if grows.ReadFrame(rate, &f) != audio.Active || f[0] != 1000 || dies.ReadFrame(rate, &g) != audio.Silent {
			t.Errorf("%d Hz: after the fade: %d and %v", rate, f[0], dies.ReadFrame(rate, &g))
		}
		if n := testing.AllocsPerRun(10, func() { grows.ReadFrame(rate, &f); dies.ReadFrame(rate, &g) }); n != 0 {
			t.Errorf("%v allocations per tick", n)
		}
		gone := &fade{source: &steadySource{status: audio.Gone}, out: true}
		if gone.ReadFrame(rate, &f) != audio.Gone {
			t.Error("what is gone is not told to be gone")
		}
	}
}

// Nobody hears himself, from none of his terminals.
func TestTwoTerminalsOfOneDoNotHearEachOther(t *testing.T) {
	all := []mixer.PortID{3, 4, 5, 6}
	if got := others(all, 4, []mixer.PortID{4, 5}); len(got) != 3 || got[0] != 3 || got[1] != 4 || got[2] != 6 {
		t.Errorf("%v", got)
	}
	if got := others(all, 4, []mixer.PortID{4}); &got[0] != &all[0] {
		t.Error("who has one terminal has a list of his own, which costs an encoder")
	}
}
