package mixer

import (
	"testing"

	"parley/audio"
)

// Mute, deafness and listening only are matters of the matrix, and cost no sum and no encoder of their own.
func TestWhoHearsTheSameSharesASum(t *testing.T) {
	ids := []PortID{1, 2, 3, 4, 5, 6}
	less := func(out ...PortID) (rest []PortID) {
		for _, id := range ids {
			keep := true
			for _, o := range out {
				keep = keep && o != id
			}
			if keep {
				rest = append(rest, id)
			}
		}
		return rest
	}
	each := func(heard []PortID, but ...PortID) Hearing { // separate lists, without oneself, as a roster gives them
		h := Hearing{}
		for _, id := range ids {
			for _, o := range heard {
				if o != id {
					h[id] = append(h[id], o)
				}
			}
		}
		for _, id := range but {
			delete(h, id)
		}
		return h
	}
	for _, c := range []struct {
		name    string
		h       Hearing
		classes int
	}{
		{"one list for all", everyone(ids...), 1},
		{"a list for each", each(ids), 1},
		{"2 is muted", each(less(2)), 1},
		{"all but 1 are muted", each([]PortID{1}), 1},
		{"all are muted", Hearing{}, 1},
		{"2 is deaf", each(ids, 2), 2},
		{"2 is muted and deaf, as is 3", each(less(2, 3), 2, 3), 2},
		{"two private rooms", Hearing{1: {2, 3}, 2: {1, 3}, 3: {1, 2}, 4: {5, 6}, 5: {4, 6}, 6: {4, 5}}, 2},
		{"2 whispers to 1 and hears all", Hearing{1: ids, 2: less(2), 3: less(2), 4: less(2), 5: less(2), 6: less(2)}, 2},
		{"in a circle", Hearing{1: {2}, 2: {3}, 3: {4}, 4: {5}, 5: {6}, 6: {1}}, 6},
	} {
		m := New(Config{Codecs: []audio.Codec{anyL16()}})
		for _, id := range ids {
			add(t, m, Port{ID: id, Source: silent(), Packets: legOf(8000, 20)})
		}
		m.SetHearing(c.h)
		if n := len(m.plan.Load().classes); n != c.classes {
			t.Errorf("%s: %d classes, want %d", c.name, n, c.classes)
		}
	}
}

// A rate that nobody listens at for a while does not come back with the sound of then.
func TestARateWantedAgainIsSilentAtFirst(t *testing.T) {
	m := New(Config{Codecs: []audio.Codec{anyL16()}})
	sounding := true
	tone := tone(48000, 500, 8000)
	add(t, m, Port{ID: 1, Ungated: true, Source: &script{play: func(n int, pcm []int16) audio.Status {
		if !sounding {
			return audio.Silent
		}
		return tone.play(n, pcm)
	}}}, Port{ID: 2, Frames: &ear{}}, Port{ID: 3, Packets: legOf(8000, 10)})
	m.SetHearing(Hearing{2: {1}, 3: {1}})
	ticks(m, 5)
	m.Remove(3)
	ticks(m, 5)
	sounding = false
	ticks(m, 5)
	again := legOf(8000, 10)
	add(t, m, Port{ID: 3, Packets: again})
	ticks(m, 5)
	mustEqual(t, "the leg", again.pcm, make([]int16, len(again.pcm)))
	if len(again.pcm) == 0 {
		t.Error("no packets")
	}
}

// Six loud voices at once: nobody's sum wraps, is cut off flat or jumps, neither for those who listen nor for one who begins
// to speak in the midst of it.
func TestLoudRoom(t *testing.T) {
	m := New(Config{})
	var ids []PortID
	var ears []*ear
	for i := range 8 {
		var s Source = tone(48000, 60+7*float64(i), 12000)
		if i == 6 { // says words that are next to nothing, so that any jump is not its own
			s = &script{play: func(n int, pcm []int16) audio.Status {
				if n < 50 || n%5 > 2 {
					return audio.Silent
				}
				for j := range pcm {
					pcm[j] = int16(j % 2)
				}
				return audio.Active
			}}
		} else if i == 7 {
			s = nil
		}
		ids, ears = append(ids, PortID(i)), append(ears, &ear{})
		add(t, m, Port{ID: ids[i], Source: s, Frames: ears[i], Ungated: true})
	}
	m.SetHearing(everyone(ids...))
	ticks(m, 150)
	for i, e := range ears {
		flat, loud := 0, 0
		for j := 480; j < len(e.pcm); j++ {
			d := int(e.pcm[j]) - int(e.pcm[j-1])
			if d > 1200 || d < -1200 { // the six together move by no more than 800 a sample
				t.Fatalf("ear %d: a step of %d at sample %d of tick %d", i, d, j%480, j/480)
			}
			if e.pcm[j] > 32700 || e.pcm[j] < -32700 {
				flat++
			}
			if e.pcm[j] > 20000 || e.pcm[j] < -20000 {
				loud++
			}
		}
		if flat > 0 || loud == 0 {
			t.Errorf("ear %d: %d samples at full scale, %d loud ones", i, flat, loud)
		}
	}
}

// Who is muted or unmuted in the middle of a wave hears nothing of it himself; the others hear no click.
func TestMutedInTheMiddleOfAWave(t *testing.T) {
	m := New(Config{})
	self, other := &ear{}, &ear{}
	constant := &script{play: func(_ int, pcm []int16) audio.Status {
		for i := range pcm {
			pcm[i] = 5000
		}
		return audio.Active
	}}
	add(t, m, Port{ID: 1, Source: constant, Frames: self}, Port{ID: 2, Source: silent(), Frames: other}, Port{ID: 3, Frames: &ear{}})
	for i := range 6 {
		h := everyone(1, 2, 3)
		if i%2 == 1 {
			h = Hearing{1: {2}, 2: {}, 3: {2}}
		}
		m.SetHearing(h)
		ticks(m, 3)
	}
	mustEqual(t, "oneself", self.pcm, make([]int16, len(self.pcm)))
	for i := 1; i < len(other.pcm); i++ {
		if d := int(other.pcm[i]) - int(other.pcm[i-1]); d > 25 || d < -25 {
			t.Fatalf("a step of %d at sample %d of tick %d", d, i%480, i/480)
		}
	}
}
