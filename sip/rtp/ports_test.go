package rtp

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// freeRange finds ports in a row that nobody has, starting at an even one.
func freeRange(t *testing.T, n int) int {
	t.Helper()
	for first := 34000; first < 60000; first += n + 2 {
		ok := true
		var open []net.PacketConn
		for p := first; p < first+n && ok; p++ {
			c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p})
			if ok = err == nil; ok {
				open = append(open, c)
			}
		}
		for _, c := range open {
			c.Close()
		}
		if ok {
			return first
		}
	}
	t.Skip("no ports free in a row")
	return 0
}

func TestPorts(t *testing.T) {
	first := freeRange(t, 6)
	now := time.Unix(1_750_000_000, 0)
	p := NewPorts(PortsConfig{Bind: loopback, First: first - 1, Last: first + 5, Rest: 10 * time.Second, Now: func() time.Time { return now }})
	seen := map[int]*Sockets{}
	for range 3 {
		s, err := p.Open()
		if err != nil {
			t.Fatal(err)
		}
		if s.Port()%2 != 0 || s.Port() < first || s.Port()+1 > first+5 || seen[s.Port()] != nil {
			t.Fatalf("port %d of %d-%d", s.Port(), first-1, first+5)
		}
		seen[s.Port()] = s
	}
	_, err := p.Open()
	if !errors.Is(err, ErrPortsExhausted) || !strings.Contains(err.Error(), "rtp.ports") || !strings.Contains(err.Error(), "3 are in calls") {
		t.Fatalf("the fourth of three pairs: %v", err)
	}
	seen[first].Close()
	seen[first].Close()
	if _, err = p.Open(); !errors.Is(err, ErrPortsExhausted) || !strings.Contains(err.Error(), "1 rest") {
		t.Fatalf("right after a call: %v", err)
	}
	now = now.Add(9 * time.Second)
	if _, err = p.Open(); !errors.Is(err, ErrPortsExhausted) {
		t.Fatalf("before the rest is over: %v", err)
	}
	now = now.Add(time.Second)
	again, err := p.Open()
	if err != nil || again.Port() != first {
		t.Fatalf("after the rest: %v", err)
	}
	if p.InUse() != 3 {
		t.Errorf("%d pairs in use", p.InUse())
	}
	seen[first] = again
	for _, s := range seen {
		s.Close()
	}
	if p.InUse() != 0 {
		t.Errorf("%d pairs in use after all", p.InUse())
	}
}

// A port that another program has is passed over; if all are taken, that is said.
func TestPortsOfOthers(t *testing.T) {
	first := freeRange(t, 4)
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: first + 1})
	if err != nil {
		t.Skip(err)
	}
	defer c.Close()
	p := NewPorts(PortsConfig{Bind: loopback, First: first, Last: first + 3, Setting: "rtp.range"})
	s, err := p.Open()
	if err != nil || s.Port() != first+2 {
		t.Fatalf("%v", err)
	}
	defer s.Close()
	_, err = p.Open()
	if !errors.Is(err, ErrPortsExhausted) || !strings.Contains(err.Error(), "1 belong to other programs; widen rtp.range") {
		t.Fatalf("%v", err)
	}
}

func TestNoPorts(t *testing.T) {
	for _, r := range [][2]int{{20001, 20001}, {20001, 20002}, {30, 20}} {
		if _, err := NewPorts(PortsConfig{Bind: loopback, First: r[0], Last: r[1]}).Open(); !errors.Is(err, ErrPortsExhausted) {
			t.Errorf("%v: %v", r, err)
		}
	}
}

// Different processes do not begin at the same port.
func TestPortsBeginAnywhere(t *testing.T) {
	seen := map[int]bool{}
	for range 50 {
		seen[NewPorts(PortsConfig{First: 20000, Last: 20999}).next] = true
	}
	if len(seen) < 20 {
		t.Errorf("50 ranges begin at %d different places", len(seen))
	}
}

// A call that had a port before the program was started again gets it back, or learns that it cannot.
func TestOpenAt(t *testing.T) {
	first := freeRange(t, 6)
	p := NewPorts(PortsConfig{Bind: loopback, First: first, Last: first + 3})
	s, err := p.OpenAt(first + 2)
	if err != nil || s.Port() != first+2 || p.InUse() != 1 {
		t.Fatalf("%v, %v", s, err)
	}
	for _, port := range []int{first + 2, first + 1, first + 4, first - 2, 0, -2, 65536} {
		if _, err := p.OpenAt(port); !errors.Is(err, ErrPortsExhausted) {
			t.Errorf("port %d: %v", port, err)
		}
	}
	other, err := p.Open()
	if err != nil || other.Port() != first {
		t.Fatalf("%v, %v", other, err)
	}
	other.Close()
	s.Close()
	if s, err = p.OpenAt(first + 2); err != nil { // its own rest does not keep a call from it
		t.Fatal(err)
	}
	s.Close()
	taken, err := NewPorts(PortsConfig{Bind: loopback}).OpenAt(first + 4)
	if err != nil || taken.Port() != first+4 {
		t.Fatalf("%v, %v", taken, err)
	}
	defer taken.Close()
	if _, err := NewPorts(PortsConfig{Bind: loopback}).OpenAt(first + 4); !errors.Is(err, ErrPortsExhausted) {
		t.Errorf("another program's: %v", err)
	}
}
