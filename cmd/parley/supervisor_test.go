package main_test

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
)

// A supervisor hears that the box is ready, and again and again that all goes on; while the audio loop stands it hears nothing more.
// Nothing runs beside it: no thread but the audio loop's is to be late.
func TestTheSupervisorHears(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	box := boxtest.Start(t, boxtest.Config{Env: []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=10000000"}})
	hear := func() string {
		t.Helper()
		socket.SetReadDeadline(time.Now().Add(20 * time.Second))
		text := make([]byte, 100)
		n, err := socket.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(text[:n])
	}
	for i, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := hear(); got != want {
			t.Fatalf("%d: %q, want %q", i, got, want)
		}
	}
	freeze(t, box.PID(), "parley-mixer")
	if code := box.Wait(20 * time.Second); code != 70 {
		t.Fatalf("exit status %d", code)
	}
	more := 0
	for socket.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); ; more++ {
		if _, err := socket.Read(make([]byte, 100)); err != nil {
			break
		}
	}
	if more > 1 { // one may have been on its way before the loop was seen to stand
		t.Errorf("while the audio loop stood the supervisor was told %d times that all was well", more)
	}
}
