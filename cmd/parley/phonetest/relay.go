package phonetest

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Relay is a TCP connection's way that a test can break: it passes on what comes, from both sides, until told otherwise.
type Relay struct {
	listener net.Listener
	target   string
	closed   chan struct{}
	all      sync.WaitGroup

	mu    sync.Mutex
	pairs map[*pair]bool
	down  bool
}

// pair is one connection's two halves.
type pair struct {
	near, far net.Conn
	frozen    atomic.Bool
	over      sync.Once
}

// StartRelay starts a relay to target, host:port, on a port of its own.
func StartRelay(t testing.TB, target string) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{listener: l, target: target, closed: make(chan struct{}), pairs: map[*pair]bool{}}
	r.all.Add(1)
	go r.accept()
	t.Cleanup(func() {
		close(r.closed)
		l.Close()
		r.Cut()
		r.all.Wait()
	})
	return r
}

// Addr is where it listens.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Cut resets every connection, and every new one until Restore: the near side and the far side both see it.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = true
	for p := range r.pairs {
		p.reset()
		delete(r.pairs, p)
	}
}

// Restore lets connections through again.
func (r *Relay) Restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = false
}

// Freeze lets nothing more through the connections that there are, not even their end, as a network that is gone does. New ones
// work.
func (r *Relay) Freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.pairs {
		p.frozen.Store(true)
	}
}

func (r *Relay) accept() {
	defer r.all.Done()
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", r.target)
		if err != nil {
			near.Close()
			continue
		}
		p := &pair{near: near, far: far}
		r.mu.Lock()
		if r.down {
			p.reset()
		} else {
			r.pairs[p] = true
			r.all.Add(2)
			go r.pump(p, near, far)
			go r.pump(p, far, near)
		}
		r.mu.Unlock()
	}
}

// pump passes on what comes from one side.
func (r *Relay) pump(p *pair, from, to net.Conn) {
	defer r.all.Done()
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if p.frozen.Load() {
			if err == nil {
				continue
			}
			return
		}
		if n > 0 {
			_, werr := to.Write(buf[:n])
			if err == nil {
				err = werr
			}
		}
		if err != nil {
			p.near.Close()
			p.far.Close()
			r.mu.Lock()
			delete(r.pairs, p)
			r.mu.Unlock()
			return
		}
	}
}

// reset closes both sides so that they see it at once.
func (p *pair) reset() {
	p.over.Do(func() {
		for _, c := range []net.Conn{p.near, p.far} {
			if tcp, ok := c.(*net.TCPConn); ok {
				tcp.SetLinger(0)
			}
			c.Close()
		}
	})
}
