package mqtt

import (
	"bytes"
	"errors"
)

// A broker may answer a message by closing the connection: one that is too long for it, or a topic that this client may not write
// to. Told again on every connection, it would keep everything else from being told. So, when connections go on ending with
// something unacknowledged, messages are sent one at a time, and one over which they then still end is given up.
const (
	carefulAfter = 2 // connections in a row that ended so
	refusedAfter = 3 // of those with one message at a time
)

// errSilent: the broker keeps the connection and does not acknowledge. That is no word against the message.
var errSilent = errors.New("the broker does not acknowledge")

// suspicion is what the ends of the last connections tell. It belongs to Run's goroutine.
type suspicion struct {
	lost  int  // connections in a row that ended with something unacknowledged
	first item // over which the last careful one ended
	times int  // and how many have
}

// window is how many messages may be on their way at once.
func (s *suspicion) window() int {
	if s.lost >= carefulAfter {
		return 1
	}
	return window
}

// ended takes note of a connection that was lost with first as its oldest unacknowledged message, and tells whether that
// one is refused.
func (s *suspicion) ended(first *item) bool {
	careful := s.lost >= carefulAfter
	s.lost++
	if !careful {
		return false
	}
	if s.first.Topic != first.Topic || s.first.seq != first.seq || !bytes.Equal(s.first.Payload, first.Payload) {
		s.first, s.times = *first, 0
	}
	s.times++
	return s.times >= refusedAfter
}

// suspect judges how a connection has ended.
func (c *Client) suspect(sent []sent, err error) {
	if len(sent) == 0 || errors.Is(err, errSilent) || !c.doubt.ended(sent[0].item) {
		return
	}
	it := sent[0].item
	c.doubt.first, c.doubt.times = item{}, 0
	c.log.Error("mqtt: the broker closes the connection over a message, which is given up", "topic", it.Topic, "bytes", len(it.Payload), "error", err)
	if it.seq > 0 {
		c.cfg.Outbox.Ack(it.seq)
	} else {
		c.mu.Lock()
		c.out.forget(it)
		c.mu.Unlock()
	}
	c.stats.refused.Add(1)
	if c.cfg.OnRefused != nil {
		c.cfg.OnRefused(it.Message)
	}
}
