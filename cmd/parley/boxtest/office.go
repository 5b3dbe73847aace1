package boxtest

import (
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/phonetest"
)

// Office is a fleet's central side as an operator makes it: with parleyctl provision, and mosquitto with the settings that come out of it.
// Its enterprise is "acme".
type Office struct {
	t      testing.TB
	Dir    string             // the fleet's folder
	Addr   string             // of the broker
	Broker *phonetest.Process // mosquitto, with TLS and its access rules
}

// NewOffice makes a fleet's folder and starts its broker.
func NewOffice(t testing.TB) *Office {
	t.Helper()
	o := &Office{t: t, Dir: filepath.Join(t.TempDir(), "fleet"), Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(phonetest.PortBlock(t)))}
	o.Run("init", o.Dir, "--eid", "acme", "--broker", "mqtts://"+o.Addr)
	o.Broker = phonetest.Start(t, o.Dir, "mosquitto", "-c", filepath.Join(o.Dir, "broker", "mosquitto.conf"))
	phonetest.TakesConnections(t, "mosquitto", o.Addr)
	return o
}

// Ctl runs parleyctl provision, and returns what it printed and its exit status.
func (o *Office) Ctl(args ...string) (output string, status int) {
	o.t.Helper()
	cmd := exec.Command(Program(o.t, "parleyctl"), append([]string{"provision"}, args...)...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		o.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Run is Ctl for what must succeed.
func (o *Office) Run(args ...string) string {
	o.t.Helper()
	out, status := o.Ctl(args...)
	if status != 0 {
		o.t.Fatalf("parleyctl provision %s: exit status %d:\n%s", strings.Join(args, " "), status, out)
	}
	return out
}

// Serve answers boxes, as the operator's program does.
func (o *Office) Serve() *phonetest.Process {
	o.t.Helper()
	p := phonetest.Start(o.t, o.Dir, Program(o.t, "parleyctl"), "provision", "serve", o.Dir, "--retry", "1s")
	p.WaitLine("answering boxes", 20*time.Second)
	return p
}

// BootFile is the path of the fleet's boot file, as it is put onto a card before a box is switched on.
func (o *Office) BootFile() string {
	o.t.Helper()
	card := o.t.TempDir()
	o.Run("boot", o.Dir, card)
	return filepath.Join(card, "parley", "provision.yaml")
}
