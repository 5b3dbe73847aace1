package rtp

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// visits is how many ticks it takes until every leg was looked after (timers, published figures), with or without packets.
const visits = 8

// maxAge bounds how long a packet is believed to have waited in the kernel: more than this is a clock that was set.
const maxAge = time.Second

// Poller receives for all its legs. Drain belongs to the tick; legs come and go from any goroutine, through a table that
// is copied for each change.
type Poller struct {
	fd    int
	table atomic.Pointer[table]
	mu    sync.Mutex // orders changes of the table

	drain  sync.Mutex // the tick is inside, or Close; the tick never waits for it
	closed bool       // written under both locks

	// Of the tick alone.
	now    time.Time
	seen   *table // of the last Drain
	recv   *receiver
	cursor int
	stamps bool
}

// table is what one version of the Poller knows. Only events is ever written to, by the tick.
type table struct {
	legs   []*Leg // nil: free
	events []unix.EpollEvent
}

// NewPoller makes a Poller without legs.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	p := &Poller{fd: fd, recv: newReceiver(), stamps: true}
	p.table.Store(&table{})
	p.seen = p.table.Load()
	return p, nil
}

// IgnoreKernelTime makes the time given to Drain the arrival time of all that it receives. For clocks that do not run as the
// system's does, before the first Drain.
func (p *Poller) IgnoreKernelTime() { p.stamps = false }

// add takes a leg in. Its place in the table stands in the epoll entries, which tell once that something has come (EPOLLET): a
// socket that was emptied is not looked at again. An event for a leg that has just gone may reach its successor, who then
// looks at his own socket for nothing; one that comes before its leg is in the table is made up for by Drain.
func (p *Poller) add(l *Leg) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	old := p.table.Load()
	t := &table{legs: slices.Clone(old.legs)}
	at := slices.Index(t.legs, nil)
	if at < 0 {
		at = len(t.legs)
		t.legs = append(t.legs, nil)
	}
	t.legs[at] = l
	t.events = make([]unix.EpollEvent, 2*len(t.legs))
	for i, fd := range []int{l.sock.rtp, l.sock.rtcp} {
		ev := ready(at, i == 1)
		if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			p.forget(l)
			return fmt.Errorf("epoll: %w", err)
		}
	}
	p.table.Store(t)
	return nil
}

// ready is the epoll entry of a socket of the leg in place at.
func ready(at int, rtcp bool) unix.EpollEvent {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(2 * at)}
	if rtcp {
		ev.Fd++
	}
	return ev
}

// remove forgets a leg whose sockets are still open.
func (p *Poller) remove(l *Leg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.table.Load()
	at := slices.Index(old.legs, l)
	if at < 0 {
		return
	}
	if !p.closed {
		p.forget(l)
	}
	t := &table{legs: slices.Clone(old.legs), events: make([]unix.EpollEvent, len(old.events))}
	t.legs[at] = nil
	p.table.Store(t)
}

func (p *Poller) forget(l *Leg) {
	_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, l.sock.rtp, nil)
	_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, l.sock.rtcp, nil)
}

// Drain receives what has arrived on all legs: one look at epoll, then every ready socket until it is empty or has given
// its share, so that a flood on one leg takes nothing from the others. now is the tick's time.
func (p *Poller) Drain(now time.Time) {
	if !p.drain.TryLock() {
		return
	}
	defer p.drain.Unlock()
	if p.closed {
		return
	}
	p.now = now
	t := p.table.Load()
	if len(t.events) == 0 {
		return
	}
	var wall time.Duration
	if p.stamps {
		wall = time.Duration(time.Now().UnixNano())
	}
	if t != p.seen {
		p.welcome(t)
	}
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&t.events[0])),
		uintptr(len(t.events)), 0, 0, 0)
	if e == 0 {
		for i := range t.events[:n] {
			fd := t.events[i].Fd
			if at := int(fd) / 2; at < len(t.legs) && t.legs[at] != nil {
				if l, rtcp := t.legs[at], fd&1 == 1; l.receive(p, rtcp, wall) {
					p.again(l, at, rtcp)
				}
			}
		}
	}
	p.visit(t)
}

// again has epoll tell once more if there is something.
func (p *Poller) again(l *Leg, at int, rtcp bool) {
	fd, ev := l.sock.rtp, ready(at, rtcp)
	if rtcp {
		fd = l.sock.rtcp
	}
	// The raw call, as this is in the tick. It can fail only if the leg is being closed.
	unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), unix.EPOLL_CTL_MOD, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
}

// welcome has epoll tell again of the legs that are new in t: it may have done so before they were in the table.
func (p *Poller) welcome(t *table) {
	for at, l := range t.legs {
		if l != nil && (at >= len(p.seen.legs) || p.seen.legs[at] != l) {
			p.again(l, at, false)
			p.again(l, at, true)
		}
	}
	p.seen = t
}

// visit looks after a share of the legs.
func (p *Poller) visit(t *table) {
	for range (len(t.legs) + visits - 1) / visits {
		if p.cursor++; p.cursor >= len(t.legs) {
			p.cursor = 0
		}
		if l := t.legs[p.cursor]; l != nil {
			l.keep(p.now)
		}
	}
}

// arrival is when a packet arrived, on the tick's clock: the kernel's stamp is on the wall clock, so it serves as an age.
func (p *Poller) arrival(d *datagram, wall time.Duration) time.Time {
	if d.stamp == 0 || wall == 0 {
		return p.now
	}
	return p.now.Add(-min(max(wall-d.stamp, 0), maxAge))
}

// Close ends the Poller. Its legs stay open, and hear nothing any more.
func (p *Poller) Close() {
	p.drain.Lock()
	defer p.drain.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		unix.Close(p.fd)
	}
}
