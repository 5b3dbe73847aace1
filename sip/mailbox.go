// A call's mailbox: what others want done on the call's goroutine, in order.

package sip

import "sync"

// maxMail bounds what may wait for one call. A dialog that is behind by so much is being flooded.
const maxMail = 128

// mailbox is a queue of work for one goroutine. Putting never blocks, so that the goroutine can also write to itself.
type mailbox struct {
	wake chan struct{} // one token: something may be there

	mu     sync.Mutex
	queue  []func()
	closed bool
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

// put adds f. It reports false when the box is full or closed; urgent work is taken even when it is full.
func (m *mailbox) put(f func(), urgent bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || (!urgent && len(m.queue) >= maxMail) {
		return false
	}
	m.queue = append(m.queue, f)
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return true
}

// take removes the first piece of work, nil if there is none.
func (m *mailbox) take() func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		return nil
	}
	f := m.queue[0]
	m.queue[0] = nil
	m.queue = m.queue[1:]
	return f
}

// close refuses everything from now on and returns what was still waiting.
func (m *mailbox) close() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	rest := m.queue
	m.queue = nil
	return rest
}
