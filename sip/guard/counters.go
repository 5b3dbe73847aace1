package guard

import "sync/atomic"

// Reason says why a message did not get through.
type Reason int

// The reasons. Answered comprises every request that got an answer from the guard.
const (
	None          Reason = iota
	Answered             // a request that the guard answered itself
	Garbage              // not a SIP message, or without a Via to answer by
	BadResponse          // a response that is malformed or not for one hop
	BadAck               // a malformed ACK; nobody answers an ACK
	StrayAck             // an ACK to an answer of the guard's own
	NoReach              // from an address that nothing may be sent to
	BrokenFraming        // a stream on which no message's end could be known: closed
	TooSlow              // a stream on which a message took too long: closed
	TooMany              // a connection beyond MaxConns or MaxConnsPerIP: closed
	Screened             // stopped by Options.Screen
	reasons
)

var reasonNames = [reasons]string{"none", "answered", "garbage", "bad response", "bad ACK", "stray ACK", "unreachable source",
	"broken framing", "too slow", "too many connections", "screened"}

func (r Reason) String() string { return reasonNames[r] }

// Counters counts refusals by reason. The zero value is ready; any goroutine may use it.
type Counters struct{ n [reasons]atomic.Uint64 }

// Get is how often r was the reason.
func (c *Counters) Get(r Reason) uint64 { return c.n[r].Load() }

// Each calls f for every reason, in order, those that never were included.
func (c *Counters) Each(f func(r Reason, n uint64)) {
	for r := Answered; r < reasons; r++ {
		f(r, c.n[r].Load())
	}
}

func (c *Counters) add(r Reason) {
	if r != None {
		c.n[r].Add(1)
	}
}
