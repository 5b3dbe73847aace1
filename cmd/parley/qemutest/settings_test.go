package qemutest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// cutOff are settings that cut a box off, by what is missing then.
var cutOff = []struct{ missing, settings string }{
	{"mqtt", `
mqtt: {broker: "mqtts://127.0.0.1:9"}
`},
	{"sound", `
card: {device: "plughw:CARD=None"}
`},
	{"sip pbx", `
sip: {upstreams: [{name: pbx, registrar: "{registrar}", user: "300", password: wrong}]}
`},
}

// trial is for how long settings are tried that are to fail: long enough to be seen on an emulated machine.
const trial = 15 * time.Second

// a box fresh from the flash enrols at a fleet's broker and gets its settings there. Those that cut it off undo themselves, by the clock,
// and also when the power is cut while they are on trial.
func TestSettings(t *testing.T) {
	for _, a := range Archs() {
		t.Run(a.Name, func(t *testing.T) {
			folder(t, "PARLEY_QEMU_KERNELS")
			f := newFleet(t, a)
			for _, s := range cutOff {
				for _, cut := range []bool{false, true} {
					f.good()
					f.undone(s.missing, s.settings, cut)
				}
			}
			f.good()
		})
	}
}

// fleet is a box in a guest, and who tells it its settings from the host.
type fleet struct {
	t         *testing.T
	office    *boxtest.Office
	registrar *boxtest.Box
	cfg       Config
	guest     *Guest
	version   int    // of the settings that were told last
	name      string // the place's, in the last good ones
}

// newFleet has a box enrol.
func newFleet(t *testing.T, a Arch) *fleet {
	t.Helper()
	f := &fleet{t: t, office: boxtest.NewOffice(t)}
	f.registrar = boxtest.Start(t, boxtest.Config{Settings: boxtest.Settings{
		"box": "pbx", "sip": boxtest.Settings{"trust_loopback": false, "users": []any{boxtest.Settings{"name": "300", "password": "right"}}},
	}})
	boot, err := os.ReadFile(f.office.BootFile())
	if err != nil {
		t.Fatal(err)
	}
	f.cfg = Config{
		Arch: a, Scenario: "settings", RealTime: true, Forward: []string{}, Disk: NewDisk(t, 64) + ",cache=unsafe",
		Words: []string{portOf(t, f.office.Addr), portOf(t, f.registrar.SIP)}, Files: map[string][]byte{"etc/provision.yaml": boot},
	}
	serve := f.office.Serve()
	f.guest = Boot(t, f.cfg)
	serve.WaitLine("box-1 pending", 4*time.Minute)
	f.log("the box asks to be let in")
	f.office.Run("allow", f.office.Dir, "box-1")
	serve.WaitLine("box-1 accepted", time.Minute)
	f.log("and is")
	return f
}

func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (f *fleet) log(format string, args ...any) {
	f.t.Helper()
	f.t.Logf("%s, %6.1f s after power: %s", f.cfg.Arch.Name, time.Since(f.guest.Began).Seconds(), fmt.Sprintf(format, args...))
}

// tell begins to tell the box settings, with a place's name by which they are known when they are in force. The operator's program ends when it
// knows what has become of them.
func (f *fleet) tell(name, settings string, confirm time.Duration) *phonetest.Process {
	f.t.Helper()
	dir := f.t.TempDir()
	file := filepath.Join(dir, "box.yaml")
	text := "place: {name: " + name + "}\n" + strings.ReplaceAll(settings, "{registrar}", f.registrar.SIP)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.version++
	return phonetest.Start(f.t, dir, boxtest.Program(f.t, "parleyctl"), "provision", "set", f.office.Dir, "box-1", file,
		"--confirm", confirm.String(), "--wait", "--timeout", "4m")
}

// said waits for what has become of them.
func (f *fleet) said(p *phonetest.Process, status int, want string) {
	f.t.Helper()
	got := p.Wait(5 * time.Minute)
	want = fmt.Sprintf("version %d %s", f.version, want)
	if said := strings.Join(p.Lines(), "\n"); got != status || !strings.Contains(said, want) {
		f.t.Fatalf("%d, want %d and %q:\n%s", got, status, want, said)
	}
}

// good tells the box settings that it can live with.
func (f *fleet) good() {
	f.t.Helper()
	f.name = fmt.Sprintf("good-%d", f.version+1)
	f.said(f.tell(f.name, `
sip: {upstreams: [{name: pbx, registrar: "{registrar}", user: "300", password: right}]}
`, 90*time.Second), 0, "applied")
	f.lives()
	f.log("version %d is in force: registered, and all is well", f.version)
}

// lives waits until the good settings are in force, and the box has all that it should: sound, the broker, the registrar.
func (f *fleet) lives() {
	f.t.Helper()
	f.guest.Tells("name", f.name, 2*time.Minute)
	f.guest.Tells("ready", "yes", 2*time.Minute)
	f.guest.Tells("card", "1", time.Minute)
}

// undone tells the box settings that cut it off, and waits until it is back, with its power cut in between or not.
func (f *fleet) undone(missing, settings string, cut bool) {
	f.t.Helper()
	p := f.tell("bad", settings, trial)
	f.guest.Tells("name", "bad", time.Minute)
	began := time.Now()
	how := "by the clock"
	if cut {
		how = "its power cut"
		f.guest.Cut()
		f.guest = Boot(f.t, f.cfg)
	}
	f.said(p, 1, "undone: confirm_timeout (without "+missing)
	f.lives()
	f.log("without %s, %s: version %d undone after %.0f s, all is well again", missing, how, f.version, time.Since(began).Seconds())
}
