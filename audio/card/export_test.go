package card

import "time"

// Tend is what Run does each time that it looks, for tests with a clock of their own.
func (c *Card) Tend(now time.Time) time.Duration { return c.tend(now) }

// End is what Run does at its end.
func (c *Card) End() error { return c.end() }
