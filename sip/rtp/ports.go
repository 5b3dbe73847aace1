package rtp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultRest is how long a pair of ports is left alone after a call, so that its late packets do not meet the next one.
const DefaultRest = 30 * time.Second

// PortsConfig is the range that legs take their ports from.
type PortsConfig struct {
	Bind        netip.Addr // local address to bind to; :: takes IPv4 too; not valid: 127.0.0.1
	First, Last int        // ports, both included; 0 and 0: whatever the system gives, for tests
	Rest        time.Duration
	Now         func() time.Time // nil: time.Now
	Setting     string           // the range's name in the configuration, for error texts; empty: rtp.ports
}

// Ports gives out pairs of ports: an even one for RTP and the odd one above it for RTCP (RFC 3550, 11).
type Ports struct {
	conf PortsConfig
	even int // first even port
	n    int // pairs

	mu    sync.Mutex
	busy  map[int]bool      // pairs in use
	until map[int]time.Time // pairs that rest
	next  int
}

// Sockets is a bound pair, with the ports' lease. A Leg that takes it also closes it.
type Sockets struct {
	rtp, rtcp         int // file descriptors
	rtpPort, rtcpPort int
	v6                bool
	once              sync.Once
	release           func()
}

// NewPorts makes the range. A range without any pair only shows in Open.
func NewPorts(c PortsConfig) *Ports {
	if c.Bind = c.Bind.Unmap(); !c.Bind.IsValid() {
		c.Bind = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Setting == "" {
		c.Setting = "rtp.ports"
	}
	if c.Rest == 0 {
		c.Rest = DefaultRest
	}
	p := &Ports{conf: c, even: (c.First + 1) &^ 1, busy: map[int]bool{}, until: map[int]time.Time{}}
	if p.n = (c.Last - p.even + 1) / 2; p.n > 0 {
		p.next = rand.IntN(p.n)
	}
	return p
}

// Open binds a free pair. When there is none the error is ErrPortsExhausted and names the setting.
func (p *Ports) Open() (*Sockets, error) {
	if p.conf.First == 0 && p.conf.Last == 0 {
		return p.any()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.conf.Now()
	taken, resting := 0, 0
	for range p.n {
		i := p.next
		p.next = (p.next + 1) % p.n
		if p.busy[i] {
			continue
		}
		if now.Before(p.until[i]) {
			resting++
			continue
		}
		delete(p.until, i)
		s, err := p.pair(p.even + 2*i)
		if errors.Is(err, unix.EADDRINUSE) {
			taken++
			continue
		}
		if err != nil {
			return nil, err
		}
		p.busy[i] = true
		s.release = func() { p.release(i) }
		return s, nil
	}
	return nil, fmt.Errorf("%w: of the %d pairs in %d-%d, %d are in calls, %d rest after one and %d belong to other programs; widen %s",
		ErrPortsExhausted, max(p.n, 0), p.conf.First, p.conf.Last, len(p.busy), resting, taken, p.conf.Setting)
}

// OpenAt binds the pair with that even RTP port, for a call that had it before the program was started again. When it is out of the
// range or taken the error is ErrPortsExhausted.
func (p *Ports) OpenAt(port int) (*Sockets, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	free, i := p.conf.First == 0 && p.conf.Last == 0, (port-p.even)/2
	if port%2 != 0 || port <= 0 || port > 65534 || !free && (port < p.even || i >= p.n || p.busy[i]) {
		return nil, fmt.Errorf("%w: not port %d", ErrPortsExhausted, port)
	}
	s, err := p.pair(port)
	if errors.Is(err, unix.EADDRINUSE) {
		err = fmt.Errorf("%w: port %d belongs to another program", ErrPortsExhausted, port)
	}
	if err != nil || free {
		return s, err
	}
	delete(p.until, i)
	p.busy[i] = true
	s.release = func() { p.release(i) }
	return s, nil
}

// InUse is the number of pairs in calls.
func (p *Ports) InUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.busy)
}

func (p *Ports) release(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.busy, i)
	p.until[i] = p.conf.Now().Add(p.conf.Rest)
}

// any lets the system choose until it happens on a free pair.
func (p *Ports) any() (*Sockets, error) {
	var last error
	for range 64 {
		fd, err := openSocket(netip.AddrPortFrom(p.conf.Bind, 0))
		if err != nil {
			return nil, err
		}
		port := boundPort(fd) &^ 1
		unix.Close(fd)
		s, err := p.pair(port)
		if err == nil {
			return s, nil
		}
		last = err
	}
	return nil, last
}

func (p *Ports) pair(port int) (*Sockets, error) {
	a, err := openSocket(netip.AddrPortFrom(p.conf.Bind, uint16(port)))
	if err != nil {
		return nil, err
	}
	b, err := openSocket(netip.AddrPortFrom(p.conf.Bind, uint16(port+1)))
	if err != nil {
		unix.Close(a)
		return nil, err
	}
	return &Sockets{rtp: a, rtcp: b, rtpPort: port, rtcpPort: port + 1, v6: p.conf.Bind.Is6()}, nil
}

// Port is the RTP port; RTCP has the next one.
func (s *Sockets) Port() int { return s.rtpPort }

// Close closes both sockets and lets the ports rest. A Leg does it for the sockets that it was given.
func (s *Sockets) Close() {
	s.once.Do(func() {
		unix.Close(s.rtp)
		unix.Close(s.rtcp)
		if s.release != nil {
			s.release()
		}
	})
}
