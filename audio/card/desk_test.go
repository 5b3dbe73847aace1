package card_test

import (
	"math"
	"testing"
	"time"

	"parley/audio"
	"parley/audio/card"
	"parley/audio/card/cardtest"
)

// desk is a card on a fake driver and a mixer that ticks, in one goroutine and in nobody's time.
type desk struct {
	t      *testing.T
	clock  *cardtest.Clock
	driver *cardtest.Driver
	gate   audio.Gate
	card   *card.Card
	states []card.Status

	now  time.Time
	look time.Time // when the card wants to be looked after
	in   audio.Frame
	out  audio.Frame
	// Jitter is how late the mixer's n-th tick is.
	jitter func(n int) time.Duration
	ticks  int
}

func newDesk(t *testing.T, cfg card.Config) *desk {
	d := &desk{t: t, now: time.Unix(1e9, 0)}
	d.clock = cardtest.NewClock(d.now)
	d.driver = cardtest.NewDriver(d.clock)
	d.gate.Open()
	cfg.Driver, cfg.Now, cfg.Gate = d.driver, d.clock.Now, &d.gate
	if cfg.Volume == 0 {
		cfg.Volume = 100
	}
	cfg.OnState = func(s card.Status) { d.states = append(d.states, s) }
	d.card = card.New(cfg)
	d.look = d.now
	return d
}

// tick is 10 ms: the card's calls, Run's look, and the mixer's reading and writing.
func (d *desk) tick() audio.Status {
	d.now = d.now.Add(audio.FrameDuration)
	d.ticks++
	at := d.now
	if d.jitter != nil {
		at = at.Add(d.jitter(d.ticks))
	}
	d.driver.Advance(at)
	for n := 0; !d.look.After(at); n++ {
		if n > 10 {
			d.t.Fatal("the card is looked after without end")
		}
		d.look = max2(d.look, at).Add(d.card.Tend(at))
	}
	status := d.card.ReadFrame(audio.SampleRate, &d.in)
	d.card.WriteFrame(&d.out)
	return status
}

func max2(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// run ticks for a while and returns the last status.
func (d *desk) run(for_ time.Duration) (status audio.Status) {
	for range int(for_ / audio.FrameDuration) {
		status = d.tick()
	}
	return status
}

// sine is a tone that goes on from call to call.
type sine struct {
	hz, level float64
	at        complex128
}

func (s *sine) fill(pcm []int16) {
	if s.at == 0 {
		s.at = 1
	}
	sin, cos := math.Sincos(2 * math.Pi * s.hz / audio.SampleRate)
	turn := complex(cos, sin)
	for i := range pcm {
		pcm[i] = int16(math.Round(s.level * imag(s.at)))
		s.at *= turn
	}
	s.at *= complex(1/math.Hypot(real(s.at), imag(s.at)), 0)
}

// judge is the ratio of a tone to all the rest in pcm, dB, for a tone near hz whose frequency is looked for.
func judge(pcm []int16, hz float64) float64 {
	half := len(pcm) / 2
	for range 3 {
		a, b, _ := fit(pcm[:half], hz)
		c, d, _ := fit(pcm[half:2*half], hz)
		// From one half to the next the phase grows by what the frequency makes of the time between.
		turns := (math.Atan2(b, a)-math.Atan2(d, c))/(2*math.Pi) - hz*float64(half)/audio.SampleRate
		hz += (turns - math.Round(turns)) * audio.SampleRate / float64(half)
	}
	_, _, ratio := fit(pcm, hz)
	return ratio
}

// fit is the least-squares fit of a tone of hz, and the ratio of tone to rest in dB.
func fit(pcm []int16, hz float64) (a, b, ratio float64) {
	var cc, ss, cs, xc, xs, xx float64
	w := 2 * math.Pi * hz / audio.SampleRate
	for i, v := range pcm {
		s, c := math.Sincos(w * float64(i))
		x := float64(v)
		cc, ss, cs = cc+c*c, ss+s*s, cs+c*s
		xc, xs, xx = xc+x*c, xs+x*s, xx+x*x
	}
	det := cc*ss - cs*cs
	a, b = (xc*ss-xs*cs)/det, (xs*cc-xc*cs)/det
	tone := a*xc + b*xs
	return a, b, 10 * math.Log10(tone/max(xx-tone, 1e-9))
}
