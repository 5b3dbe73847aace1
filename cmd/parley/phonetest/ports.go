package phonetest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Ports are handed out in blocks, below what the kernel gives to those who ask for any port (32768 and up) and above
// what the box uses by default (20000 to 20999).
const (
	firstPort = 22000
	lastPort  = 32000
	blockSize = 40
)

// PortBlock reserves 40 consecutive ports on the loopback addresses, UDP and TCP, for the time of the test, and returns
// the first, which is even. Two test binaries at the same time do not get the same block.
func PortBlock(t testing.TB) int {
	t.Helper()
	dir := filepath.Join(os.TempDir(), "parley-ports-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	blocks := (lastPort - firstPort) / blockSize
	for i, start := 0, rand.IntN(blocks); i < blocks; i++ {
		first := firstPort + (start+i)%blocks*blockSize
		lock, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(first)), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		// The lock goes with the process however that ends.
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !free(first) {
			lock.Close()
			continue
		}
		t.Cleanup(func() { lock.Close() })
		return first
	}
	t.Fatalf("no free block of %d ports between %d and %d", blockSize, firstPort, lastPort)
	return 0
}

// free tells whether all ports of a block can be bound.
func free(first int) bool {
	for port := first; port < first+blockSize; port++ {
		addr := fmt.Sprintf(":%d", port)
		c, err := net.ListenPacket("udp", addr)
		if err != nil {
			return false
		}
		c.Close()
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// TakesConnections waits until a server listens at an address for TCP.
func TakesConnections(t testing.TB, server, addr string) {
	t.Helper()
	Eventually(t, 20*time.Second, server+" takes connections", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}
