package qemutest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"parley/cmd/parley/phonetest"
)

// Config says what guest is booted.
type Config struct {
	Arch     Arch
	Scenario string            // one of scenarios/, without ".sh"
	RealTime bool              // in the host's time; otherwise time is that of the guest's own instructions, and nothing is late
	Words    []string          // what the scenario finds in $words
	Files    map[string][]byte // laid over the initramfs
	Disk     string            // raw image that is the guest's /dev/vda
	Forward  []string          // "udp:5060" or "tcp:8080": host's loopback to the guest, the same port at both ends; nil is without network
	Extra    []string          // more of QEMU's arguments
	Cmdline  string            // more of the kernel's
}

// Guest is a machine that runs.
type Guest struct {
	t       testing.TB
	cfg     Config
	dir     string // its sockets
	Console string // file with what its kernel and programs said
	Files   string // folder with what the guest has sent
	Began   time.Time

	*phonetest.Process
	qmp, qtest *wire
	pl061      string // the chip's path among QEMU's objects
	asked      *asked
}

// PL061's data register, through the address window that masks nothing.
const pl061Data = 0x09030000 + 0xff<<2

// lines are the PL061's lines, as the boards qemu-arm and qemu-arm64 have them.
var lines = map[string]uint{"mute": 0, "join": 1, "volume-up": 2, "volume-down": 4, "reset": 5}

// lampLines are those of the lamps.
var lampLines = map[string]uint{"mute": 6, "status": 7}

// Boot starts a guest. It is ended with the test; its console is told if the test has failed.
func Boot(t testing.TB, cfg Config) *Guest {
	t.Helper()
	g := &Guest{t: t, cfg: cfg, Files: t.TempDir()}
	var err error
	if g.dir, err = os.MkdirTemp("", "pq"); err != nil { // t.TempDir may be too long for a socket's name
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(g.dir) })
	g.Console = filepath.Join(g.dir, "console")
	if keep := os.Getenv("PARLEY_QEMU_CONSOLE"); keep != "" {
		g.Console = filepath.Join(keep, strings.NewReplacer("/", "_").Replace(t.Name())+".console")
	}
	initrd := filepath.Join(g.dir, "initrd")
	if err := os.WriteFile(initrd, Initramfs(t, cfg.Arch, cfg.Files), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Began = time.Now()
	g.Process = phonetest.Start(t, g.dir, "nice", append([]string{"-n", "5", phonetest.Need(t, cfg.Arch.qemu)}, g.arguments(initrd)...)...)
	t.Cleanup(func() {
		g.Process.Kill()
		if t.Failed() {
			t.Logf("the guest's console:\n%s", g.Tail(60))
		}
	})
	g.qmp, g.qtest = g.connect("qmp"), g.connect("qtest")
	g.findChip()
	g.asked = g.answer(g.connect("host"))
	return g
}

func (g *Guest) arguments(initrd string) []string {
	socket := func(name string) string { return "unix:" + filepath.Join(g.dir, name) + ",server=on,wait=off" }
	args := []string{
		"-M", "virt", "-cpu", g.cfg.Arch.cpu, "-m", "256", "-display", "none", "-nodefaults",
		"-serial", "file:" + g.Console, "-qmp", socket("qmp"), "-qtest", socket("qtest"), "-qtest-log", "none",
		"-kernel", Kernel(g.t, g.cfg.Arch), "-initrd", initrd,
		"-append", strings.Join([]string{
			"console=ttyAMA0 quiet loglevel=4 panic=-1 rdinit=/init parley.board=" + g.cfg.Arch.Board, "parley.scenario=" + g.cfg.Scenario,
			"parley.words=" + strings.Join(g.cfg.Words, ","), g.cfg.Cmdline,
		}, " "),
		"-device", "virtio-serial-device", "-chardev", "socket,id=host,path=" + filepath.Join(g.dir, "host") + ",server=on,wait=off",
		"-device", "virtserialport,chardev=host,name=parley.host",
	}
	if !g.cfg.RealTime {
		args = append(args, "-icount", "shift=1,sleep=off")
	}
	if g.cfg.Disk != "" {
		args = append(args, "-drive", "if=none,id=disk,format=raw,file="+g.cfg.Disk, "-device", "virtio-blk-device,drive=disk")
	}
	if g.cfg.Forward != nil {
		netdev := "user,id=net,restrict=off"
		for _, f := range g.cfg.Forward {
			kind, port, _ := strings.Cut(f, ":")
			netdev += fmt.Sprintf(",hostfwd=%s:127.0.0.1:%s-:%s", kind, port, port)
		}
		args = append(args, "-netdev", netdev, "-device", "virtio-net-device,netdev=net")
	}
	return append(args, g.cfg.Extra...)
}

// Tail is the last lines of the guest's console.
func (g *Guest) Tail(n int) string {
	text, err := os.ReadFile(g.Console)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(strings.ReplaceAll(string(text), "\r", "")), "\n")
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

// wire is a connection to one of QEMU's sockets, on which each line is answered by one.
type wire struct {
	net.Conn
	in *bufio.Reader
}

func (g *Guest) connect(name string) *wire {
	g.t.Helper()
	var conn net.Conn
	phonetest.Eventually(g.t, 20*time.Second, "QEMU listens on "+name, func() (ok bool) {
		var err error
		conn, err = net.Dial("unix", filepath.Join(g.dir, name))
		return err == nil
	})
	g.t.Cleanup(func() { conn.Close() })
	return &wire{conn, bufio.NewReader(conn)}
}

var errEnded = errors.New("QEMU has ended")

func (w *wire) ask(line string) (string, error) {
	if _, err := fmt.Fprintln(w, line); err != nil {
		return "", errEnded
	}
	answer, err := w.in.ReadString('\n')
	if err != nil {
		return "", errEnded
	}
	return strings.TrimSpace(answer), nil
}

// command gives an order to QEMU itself.
func (g *Guest) command(order string, arguments map[string]any) json.RawMessage {
	g.t.Helper()
	request := map[string]any{"execute": order}
	if arguments != nil {
		request["arguments"] = arguments
	}
	text, err := json.Marshal(request)
	if err != nil {
		g.t.Fatal(err)
	}
	answer, err := g.qmp.ask(string(text))
	for err == nil {
		var a struct {
			Return json.RawMessage `json:"return"`
			Error  *struct{ Desc string }
		}
		if err = json.Unmarshal([]byte(answer), &a); err != nil {
			break
		}
		if a.Error != nil {
			g.t.Fatalf("QEMU: %s: %s", order, a.Error.Desc)
		}
		if a.Return != nil {
			return a.Return
		}
		answer, err = g.qmp.in.ReadString('\n') // an event, or the greeting
	}
	g.t.Fatalf("QEMU: %s: %v", order, err)
	return nil
}

// findChip looks for the PL061 among QEMU's objects: to name a wrong one would end the machine.
func (g *Guest) findChip() {
	g.t.Helper()
	if greeting, err := g.qmp.in.ReadString('\n'); err != nil {
		g.t.Fatalf("QEMU's monitor: %q, %v", greeting, err)
	}
	g.command("qmp_capabilities", nil)
	const parent = "/machine/unattached"
	var list []struct{ Name, Type string }
	if err := json.Unmarshal(g.command("qom-list", map[string]any{"path": parent}), &list); err != nil {
		g.t.Fatal(err)
	}
	for _, x := range list {
		if x.Type == "child<pl061>" {
			g.pl061 = parent + "/" + x.Name
			return
		}
	}
	g.t.Fatal("the machine has no PL061")
}

// Key presses a key or lets it go.
func (g *Guest) Key(name string, down bool) error {
	line, ok := lines[name]
	if !ok {
		return fmt.Errorf("there is no key %q", name)
	}
	level := map[bool]int{true: 1}[down]
	answer, err := g.qtest.ask(fmt.Sprintf("set_irq_in %s unnamed-gpio-in %d %d", g.pl061, line, level))
	if err == nil && answer != "OK" {
		err = fmt.Errorf("QEMU: %s", answer)
	}
	return err
}

// Lamp reads a lamp off the chip's lines.
func (g *Guest) Lamp(name string) (lit bool, err error) {
	line, ok := lampLines[name]
	if !ok {
		return false, fmt.Errorf("there is no lamp %q", name)
	}
	answer, err := g.qtest.ask(fmt.Sprintf("readl 0x%x", pl061Data))
	if err != nil {
		return false, err
	}
	var value uint64
	if _, err := fmt.Sscanf(answer, "OK 0x%x", &value); err != nil {
		return false, fmt.Errorf("QEMU: %s", answer)
	}
	return value&(1<<line) != 0, nil
}

// Cut takes the guest's power away.
func (g *Guest) Cut() { g.Process.Kill() }

// NewDisk makes an empty disk with an ext4 file system, the data folder's.
func NewDisk(t testing.TB, megabytes int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(f.Truncate(int64(megabytes)<<20), f.Close())
	if err != nil {
		t.Fatal(err)
	}
	mkfs := exec.Command(phonetest.Need(t, "mkfs.ext4"), "-q", "-F", "-L", "data", path)
	mkfs.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if out, err := mkfs.CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	return path
}
