package card_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"parley/audio"
	"parley/audio/card"
)

// GOALS of the card: ±100 ppm between card and mixer for an hour, and nothing is dropped or repeated; a tone comes through both
// ways with more than 50 dB, also when callbacks and ticks come late by some milliseconds.
func TestDrift(t *testing.T) {
	cases := []struct {
		ppm    float64
		late   time.Duration // at most, of callbacks and of ticks
		period time.Duration
		length time.Duration
	}{
		{ppm: 100, late: time.Millisecond, length: time.Hour},
		{ppm: -100, late: 2 * time.Millisecond, length: time.Hour},
		{ppm: 400, period: 20 * time.Millisecond, length: 10 * time.Minute},
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%+.0fppm,late=%v", c.ppm, c.late), func(t *testing.T) {
			t.Parallel()
			length := c.length
			if slow {
				length = 30 * time.Second
			} else if testing.Short() {
				length = 5 * time.Minute
			}
			drift(t, c.ppm, c.late, c.period, length)
		})
	}
}

func drift(t *testing.T, ppm float64, late, period, length time.Duration) {
	const window = 10 // frames that a tone is judged over
	random := rand.New(rand.NewPCG(1, 2))
	by := func(int) time.Duration {
		if late == 0 {
			return 0
		}
		return time.Duration(random.Int64N(int64(late)))
	}
	d := newDesk(t, card.Config{Period: period})
	d.driver.PPM, d.driver.Late, d.jitter = ppm, by, by
	room, far := sine{hz: 1000, level: 12000}, sine{hz: 2500, level: 12000}
	d.driver.Microphone = func(pcm []int16, _ uint64) { room.fill(pcm) }
	var played, heard []int16
	collect := false
	d.driver.Speaker = func(pcm []int16) {
		if collect {
			played = append(played, pcm...)
		}
	}
	step := func() {
		far.fill(d.out[:])
		if status := d.tick(); collect {
			if status != audio.Active {
				t.Fatalf("tick %d: status %v", d.ticks, status)
			}
			heard = append(heard, d.in[:]...)
		}
	}
	for range 100 {
		step()
	}
	worst := [2]float64{math.Inf(1), math.Inf(1)}
	for d.now.Sub(time.Unix(1e9, 0)) < length {
		played, heard, collect = played[:0], heard[:0], true
		for range window + 1 {
			step()
		}
		worst[0] = min(worst[0], judge(heard, 1000*(1+ppm/1e6)))
		worst[1] = min(worst[1], judge(played, 2500/(1+ppm/1e6)))
		collect = false
		for range 290 {
			step()
		}
		if s := d.card.Status(); s.Dropped+s.Repeated != 0 {
			t.Fatalf("after %v: %+v", d.now.Sub(time.Unix(1e9, 0)), s)
		}
	}
	d.card.Tend(d.now)
	s := d.card.Status()
	t.Logf("tone to rest: microphone %.1f dB, speaker %.1f dB; %+v", worst[0], worst[1], s)
	if worst[0] < 50 || worst[1] < 50 {
		t.Errorf("tone to rest: microphone %.1f dB, speaker %.1f dB, want 50", worst[0], worst[1])
	}
	if !slow && math.Abs(s.PPM-ppm) > 5+math.Abs(ppm)/20 { // it takes minutes to be known so well
		t.Errorf("the card's clock is measured as %+.1f ppm", s.PPM)
	}
	if s.Opened != 1 || s.Xruns != 0 {
		t.Errorf("%+v", s)
	}
}
