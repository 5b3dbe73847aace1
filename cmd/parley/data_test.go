package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"parley/cmd/parley/config"
)

// start opens the folder as a new run does.
func start(t *testing.T, dir string) (*data, bool) {
	t.Helper()
	d, err := openData(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, open, err := d.begin()
	if err != nil {
		t.Fatal(err)
	}
	return d, open
}

// the place starts muted unless it is known that it was open.
func TestThePlaceStartsMutedUnlessItStoppedOpen(t *testing.T) {
	dir := t.TempDir()
	d, open := start(t, dir)
	if !open {
		t.Error("the very first start is muted")
	}
	d.close() // as a crash does: no end
	d, open = start(t, dir)
	if open {
		t.Error("open after a crash")
	}
	d.end(true)
	d.close()
	d, open = start(t, dir)
	if !open {
		t.Error("muted after a clean stop with the gate open")
	}
	d.end(false)
	d.close()
	d, open = start(t, dir)
	if open {
		t.Error("open after a clean stop with the gate closed")
	}
	d.close()
}

// a box that cannot start for a port that is taken has not crashed.
func TestAStartThatFailsLeavesTheGateAsItWas(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	cfg, err := config.Parse("", fmt.Appendf(nil, "data: %s\ncard: {device: file}\nmqtt: {listen: %q}\nlog: {level: error}\n", dir, taken.Addr()), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if err := run(t.Context(), cfg, options{plain: true}, io.Discard); err == nil || !strings.Contains(err.Error(), "mqtt.listen") {
			t.Fatalf("error %v, want it to name the setting", err)
		}
		d, open := start(t, dir)
		if open != want {
			t.Errorf("open %v after a start that failed, want %v as before it", open, want)
		}
		d.end(false)
		d.close()
	}
}

func TestSessionsCount(t *testing.T) {
	dir := t.TempDir()
	for want := 1; want <= 3; want++ {
		d, err := openData(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, _ := d.begin(); got != want {
			t.Errorf("session %d, want %d", got, want)
		}
		d.close()
	}
}

func TestASecondRunNamesTheFirst(t *testing.T) {
	dir := t.TempDir()
	d, err := openData(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	_, err = openData(dir)
	if want := fmt.Sprintf("PID %d)", os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("error %v, want it to have %q", err, want)
	}
}

func TestTheDataFolderIsOursAlone(t *testing.T) {
	dir := t.TempDir()
	os.Chmod(dir, 0o755)
	d, err := openData(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Fatalf("mode %v, want 0700", info.Mode())
	}
}

func TestATakenPortNamesItsProcess(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	want := fmt.Sprintf("(PID %d)", os.Getpid())
	for network, addr := range map[string]string{"tcp": tcp.Addr().String(), "udp": udp.LocalAddr().String()} {
		if got := holderOf(network, netip.MustParseAddrPort(addr)); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %q, want it to end in %q", network, got, want)
		}
	}
}
