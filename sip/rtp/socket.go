package rtp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	recvBatch  = 8 // packets in one recvmmsg
	perTick    = 64
	controlLen = 128
	recvBuffer = 128 << 10 // of the kernel, bytes: enough for 10 s of G.711 by one sender
)

// openSocket binds a UDP socket that does not block. Port 0 takes any.
func openSocket(addr netip.AddrPort) (int, error) {
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("RTP socket: %w", err)
	}
	// None of these is essential: without a stamp the tick's time serves, without TOS the network knows no better.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, recvBuffer)
	const expedited = 46 << 2 // DSCP EF (RFC 4594, 4.1)
	var sa unix.Sockaddr
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, expedited)
		dual := 0
		if !addr.Addr().IsUnspecified() {
			dual = 1
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, dual)
		sa = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	} else {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, expedited)
		sa = &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	if err := unix.Bind(fd, sa); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("RTP socket on %s: %w", addr, err)
	}
	return fd, nil
}

// boundPort asks which port a socket got.
func boundPort(fd int) int {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return a.Port
	case *unix.SockaddrInet6:
		return a.Port
	}
	return 0
}

// destination is an address as the kernel wants it, made once and used for every packet.
type destination struct {
	addr netip.AddrPort
	raw  unix.RawSockaddrInet6 // large enough for both families
	size uintptr
}

// makeDestination prepares addr for a socket of the given family. An address that the socket cannot reach gives size 0.
func makeDestination(addr netip.AddrPort, v6 bool) destination {
	d := destination{addr: addr}
	if !addr.IsValid() || addr.Port() == 0 {
		return destination{}
	}
	port := (*[2]byte)(unsafe.Pointer(&d.raw.Port))
	binary.BigEndian.PutUint16(port[:], addr.Port())
	switch a := addr.Addr().Unmap(); {
	case v6:
		d.raw.Family, d.raw.Addr, d.size = unix.AF_INET6, a.As16(), unix.SizeofSockaddrInet6
	case a.Is4():
		r := (*unix.RawSockaddrInet4)(unsafe.Pointer(&d.raw))
		r.Family, r.Addr, d.size = unix.AF_INET, a.As4(), unix.SizeofSockaddrInet4
	}
	return d
}

// send gives one packet to the kernel without blocking, allocating or telling the scheduler.
func (d *destination) send(fd int, b []byte) bool {
	if d.size == 0 || len(b) == 0 {
		return false
	}
	_, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&d.raw)), d.size)
	return e == 0
}

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// receiver is the memory for one recvmmsg; a Poller has one and uses it for all sockets.
type receiver struct {
	msg     [recvBatch]mmsghdr
	iov     [recvBatch]unix.Iovec
	name    [recvBatch]unix.RawSockaddrInet6
	control [recvBatch][controlLen]byte
	buf     [recvBatch][maxPacket]byte
	used    int // headers that the last receive has written to
}

// datagram is one received packet; data is good until the next receive.
type datagram struct {
	from    netip.AddrPort
	data    []byte
	stamp   time.Duration // of the kernel, wall clock since 1970; 0: none
	dropped uint32        // the socket's count of lost packets
	cut     bool          // longer than maxPacket
}

func newReceiver() *receiver {
	r := &receiver{used: recvBatch}
	for i := range r.msg {
		r.iov[i].Base = &r.buf[i][0]
		r.iov[i].SetLen(maxPacket)
		r.msg[i].hdr.Iov = &r.iov[i]
		r.msg[i].hdr.SetIovlen(1)
		r.msg[i].hdr.Name = (*byte)(unsafe.Pointer(&r.name[i]))
		r.msg[i].hdr.Control = &r.control[i][0]
	}
	return r
}

// receive reads up to recvBatch packets and returns how many there were, and whether there may be more.
func (r *receiver) receive(fd int) (n int, more bool) {
	for i := range r.used {
		h := &r.msg[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(controlLen)
		h.Flags = 0
	}
	got, _, e := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.msg[0])), recvBatch,
		unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		r.used = 1 // the kernel may have begun with it
		return 0, e != unix.EAGAIN
	}
	r.used = min(int(got)+1, recvBatch)
	return int(got), got == recvBatch
}

// at is the i-th packet of the last receive.
func (r *receiver) at(i int) (d datagram) {
	m := &r.msg[i]
	d.data = r.buf[i][:min(int(m.n), maxPacket)]
	d.cut = m.hdr.Flags&unix.MSG_TRUNC != 0
	name := &r.name[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&name.Port))[:])
	switch name.Family {
	case unix.AF_INET:
		d.from = netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr), port)
	case unix.AF_INET6:
		d.from = netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), port)
	}
	d.stamp, d.dropped = controls(r.control[i][:min(int(m.hdr.Controllen), controlLen)])
	return d
}

// controls finds the time stamp and the count of drops among the control messages.
func controls(b []byte) (stamp time.Duration, dropped uint32) {
	const head = unix.SizeofCmsghdr
	for len(b) >= head {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		size := int(h.Len)
		if size < head || size > len(b) {
			return stamp, dropped
		}
		data := b[head:size]
		if h.Level == unix.SOL_SOCKET {
			switch h.Type {
			case unix.SO_TIMESTAMPNS:
				if len(data) >= int(unsafe.Sizeof(unix.Timespec{})) {
					ts := (*unix.Timespec)(unsafe.Pointer(&data[0]))
					stamp = time.Duration(ts.Sec)*time.Second + time.Duration(ts.Nsec)
				}
			case unix.SO_RXQ_OVFL:
				if len(data) >= 4 {
					dropped = *(*uint32)(unsafe.Pointer(&data[0]))
				}
			}
		}
		next := (size + int(unsafe.Sizeof(uintptr(0))) - 1) &^ (int(unsafe.Sizeof(uintptr(0))) - 1)
		if next >= len(b) {
			return stamp, dropped
		}
		b = b[next:]
	}
	return stamp, dropped
}
