package card

// steer makes a ring's fill stay where it should by changing the rate a little: a loop of second order, so slow that nobody
// hears it and that the jitter of ticks and callbacks does not reach it. Its integral is the difference of the two clocks.
type steer struct {
	smooth float64 // the error, averaged over about a second, samples
	drift  float64 // what the clocks differ by: 1e-6 is 1 ppm
}

// Of the loop: natural frequency 0.05 rad/s, critically damped, at 100 steps a second and 48,000 samples. A difference of
// 100 ppm moves the fill by 35 samples before the loop has it.
const (
	loopGain     = 2 * 0.05 / 48000.0
	loopIntegral = 0.05 * 0.05 / 48000.0 / 100
	loopSmooth   = 1.0 / 100
	maxDrift     = 800e-6  // worse clocks than any card's
	maxSteer     = 1500e-6 // 2.6 cents
)

// step takes the error of the fill (samples too many) and returns the ratio of input to output for the next 10 ms.
func (s *steer) step(err float64) float64 {
	s.smooth += (err - s.smooth) * loopSmooth
	s.drift = clamp(s.drift+s.smooth*loopIntegral, maxDrift)
	return 1 + clamp(s.drift+s.smooth*loopGain, maxSteer)
}

// hold is the ratio for 10 ms whose error is not known.
func (s *steer) hold() float64 { return 1 + s.drift }

// again starts with a fill that is right, and what is known of the clocks.
func (s *steer) again() { s.smooth = 0 }

func clamp(v, limit float64) float64 { return max(-limit, min(limit, v)) }
