package phonetest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// LAN is a network of its own: a switch, and hosts in network namespaces. Nothing of it can reach the machine's own network.
type LAN struct {
	t     testing.TB
	hub   string // the switch's namespace
	ports int
}

// Namespace is a host on a LAN.
type Namespace struct {
	Name  string       // for ip netns exec, and boxtest.Config
	Addrs []netip.Addr // on the LAN
	t     testing.TB
}

// serial numbers namespaces: several tests of a process may have some at once.
var serial atomic.Int64

// NewLAN makes a network without hosts. It needs root; without it the test is skipped, with that reason.
func NewLAN(t testing.TB) *LAN {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	l := &LAN{t: t}
	l.hub = l.namespace()
	l.ip("-n", l.hub, "link", "add", "switch", "type", "bridge")
	l.ip("-n", l.hub, "link", "set", "switch", "up")
	return l
}

// Host puts a host with these addresses ("10.9.0.1", all of one /24 each) on the network.
func (l *LAN) Host(addrs ...string) *Namespace {
	l.t.Helper()
	n := &Namespace{Name: l.namespace(), t: l.t}
	l.ports++
	port := fmt.Sprint("port", l.ports)
	l.ip("-n", l.hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", n.Name)
	l.ip("-n", l.hub, "link", "set", port, "master", "switch", "up")
	for _, a := range addrs {
		n.Addrs = append(n.Addrs, netip.MustParseAddr(a))
		l.ip("-n", n.Name, "addr", "add", a+"/24", "dev", "eth0")
	}
	l.ip("-n", n.Name, "link", "set", "eth0", "up")
	return n
}

// namespace makes one with its loopback up, which goes with the test.
func (l *LAN) namespace() string {
	l.t.Helper()
	name := fmt.Sprintf("parley-%d-%d", os.Getpid(), serial.Add(1))
	l.ip("netns", "add", name)
	l.t.Cleanup(func() { l.ip("netns", "del", name) })
	l.ip("-n", name, "link", "set", "lo", "up")
	return name
}

func (l *LAN) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command(Need(l.t, "ip"), args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Route makes via the way to everywhere else.
func (n *Namespace) Route(via string) {
	n.t.Helper()
	(&LAN{t: n.t}).ip("-n", n.Name, "route", "add", "default", "via", via)
}

// Start runs a program on the host.
func (n *Namespace) Start(dir, program string, args ...string) *Process {
	n.t.Helper()
	return Start(n.t, dir, "ip", append([]string{"netns", "exec", n.Name, Need(n.t, program)}, args...)...)
}

// Output runs a program on the host to its end and returns what it printed.
func (n *Namespace) Output(program string, args ...string) (string, error) {
	n.t.Helper()
	out, err := exec.Command(Need(n.t, "ip"), append([]string{"netns", "exec", n.Name, Need(n.t, program)}, args...)...).CombinedOutput()
	return string(out), err
}

// Do runs f on the host: the sockets that it makes itself, not through other goroutines, are the host's for good.
func (n *Namespace) Do(f func() error) error {
	// The thread comes back rather than end with its goroutine: programs that it has started would be killed with it
	// (Pdeathsig in Start).
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(fmt.Sprintf("the way back from a network namespace: %v", err))
		}
		runtime.UnlockOSThread()
	}()
	there, err := os.Open("/run/netns/" + n.Name)
	if err != nil {
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	return f()
}

// UDP opens a socket on one of the host's addresses; port 0 is any. The test's end closes it.
func (n *Namespace) UDP(addr netip.AddrPort) *net.UDPConn {
	n.t.Helper()
	var conn *net.UDPConn
	if err := n.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		return err
	}); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { conn.Close() })
	return conn
}

// Dial connects by TCP, from an address of the host's.
func (n *Namespace) Dial(from netip.Addr, to string) (net.Conn, error) {
	var conn net.Conn
	err := n.Do(func() (err error) {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: 10 * time.Second}
		conn, err = d.Dial("tcp", to)
		return err
	})
	return conn, err
}

// Sighting is a packet that was seen on a host.
type Sighting struct {
	Src, Dst netip.Addr
	Protocol uint8
}

// Sniffer sees every IP packet of a host, those that go out included.
type Sniffer struct {
	fd   int
	stop atomic.Bool
	done chan struct{}
	mu   sync.Mutex
	seen map[Sighting]int
}

// Sniff begins to look. The test's end ends it.
func (n *Namespace) Sniff() *Sniffer {
	n.t.Helper()
	s := &Sniffer{done: make(chan struct{}), seen: map[Sighting]int{}}
	if err := n.Do(func() (err error) {
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(swap16(unix.ETH_P_ALL)))
		if err == nil {
			err = unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20_000})
		}
		return err
	}); err != nil {
		n.t.Fatal(err)
	}
	go s.run()
	n.t.Cleanup(s.Stop)
	return s
}

func (s *Sniffer) run() {
	defer close(s.done)
	buf := make([]byte, 65536)
	for {
		stopped := s.stop.Load()
		n, _, err := unix.Recvfrom(s.fd, buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN) && stopped:
			return
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return
		}
		var p Sighting
		switch b := buf[:n]; {
		case n >= 20 && b[0]>>4 == 4:
			p = Sighting{netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[9]}
		case n >= 40 && b[0]>>4 == 6:
			p = Sighting{netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[6]}
		default:
			continue
		}
		s.mu.Lock()
		s.seen[p]++
		s.mu.Unlock()
	}
}

// Stop ends it; what was on the wire before has been seen.
func (s *Sniffer) Stop() {
	if s.stop.Swap(true) {
		return
	}
	<-s.done
	unix.Close(s.fd)
}

// Seen returns how often each kind of packet has been seen so far.
func (s *Sniffer) Seen() map[Sighting]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[Sighting]int, len(s.seen))
	for k, v := range s.seen {
		out[k] = v
	}
	return out
}
