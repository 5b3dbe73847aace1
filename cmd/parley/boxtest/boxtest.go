// Package boxtest runs the real box, as its own process, for tests from the outside: a settings file, free ports, keys by
// its standard input, its topics by MQTT, its tool beside it.
//
// It is for tests only. It knows the box by its command line, files and sockets, as a user does, and nothing of its inside.
package boxtest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"parley/cmd/parley/phonetest"
)

// built holds the programs under test, made once per test process.
type built struct {
	once sync.Once
	dir  string
	err  error
}

var programs built

// Program returns the path of "parley" or "parleyctl", built from the tree under test, with the race detector if the test has
// it.
func Program(t testing.TB, name string) string {
	t.Helper()
	programs.once.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "parley-test-"); programs.err != nil {
			return
		}
		args := []string{"build", "-o", programs.dir + "/"}
		if raceDetector {
			args = append(args, "-race")
		}
		out, err := exec.Command("go", append(args, "parley/cmd/parley", "parley/cmd/parleyctl")...).CombinedOutput()
		if err != nil {
			programs.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return filepath.Join(programs.dir, name)
}

// Clean removes what Program has built; for TestMain, after the tests.
func Clean() {
	if programs.dir != "" {
		os.RemoveAll(programs.dir)
	}
}

// Settings is a settings file as nested maps: Settings{"place": Settings{"join": "1000"}}.
type Settings = map[string]any

// Config says how a box is started. The zero value is a box on free loopback ports with the file card, which says nothing,
// and whose place is in no conference.
type Config struct {
	Settings   Settings        // laid over the defaults of this package
	Microphone phonetest.Sound // what the file card says; none: silence
	Data       string          // data folder; a new one if empty
	Files      string          // folder of the settings file and the microphone; Data if empty
	Program    []string        // what to run in place of the program built here, such as an emulator and a binary
	Namespace  string          // network namespace to run in
	Env        []string
}

// Box is a box that runs.
type Box struct {
	*phonetest.Process
	t   testing.TB
	cfg Config

	Data                         string // folder
	SIP, SIPTLS, MQTT, HTTP      string // host:port; SIP is UDP and TCP
	Name, EID                    string // in topics
	FirstRTP, LastRTP            int
	Place, Conference, SpeakerAt string // the place's number, a standing conference, the file with what the room hears
}

// startTimeout is how long a start may take on a machine that does ten other things, with the race detector.
const startTimeout = 30 * time.Second

// New lays out a box without starting it.
func New(t testing.TB, cfg Config) *Box {
	t.Helper()
	port := phonetest.PortBlock(t)
	at := func(n int) string { return fmt.Sprintf("127.0.0.1:%d", port+n) }
	b := &Box{
		t: t, cfg: cfg, Data: cfg.Data, SIP: at(0), SIPTLS: at(1), MQTT: at(2), HTTP: at(3),
		Name: "box-1", EID: "local", FirstRTP: port + 4, LastRTP: port + 39, Place: "100", Conference: "1000",
	}
	if b.Data == "" {
		b.Data = filepath.Join(t.TempDir(), "data")
	}
	b.SpeakerAt = filepath.Join(b.Data, "speaker.wav")
	if err := os.MkdirAll(b.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	if b.cfg.Files == "" {
		b.cfg.Files = b.Data
	}
	microphone := filepath.Join(b.cfg.Files, "microphone.wav")
	sound := cfg.Microphone
	if sound.Rate == 0 {
		sound = phonetest.Silence(48000, time.Second)
	}
	phonetest.WriteWAV(t, microphone, sound)
	settings := Settings{
		"box": b.Name, "board": "desk",
		"card":   Settings{"device": "file", "microphone": microphone, "volume": 100},
		"place":  Settings{"join_at_start": false},
		"listen": Settings{"sip_udp": []string{b.SIP}, "sip_tcp": []string{b.SIP}, "sip_tls": []string{b.SIPTLS}},
		"rtp":    Settings{"first": b.FirstRTP, "last": b.LastRTP, "rest": "200ms"},
		"mqtt":   Settings{"listen": b.MQTT},
		"http":   Settings{"listen": b.HTTP},
		// A tone whenever somebody comes or goes would be in the way of whoever judges sound.
		"meetings": Settings{"greet": false},
		// At the default bitrate Opus takes a mixture of tones for speech now and then, and then keeps their pitch better than
		// their levels, by which recordings are judged.
		"recording": Settings{"bitrate": 64000},
	}
	merge(settings, cfg.Settings)
	text, err := yaml.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.ConfigFile(), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// ConfigFile is the settings file that it is started with.
func (b *Box) ConfigFile() string { return filepath.Join(b.cfg.Files, "parley.yaml") }

// merge lays from over into; nil takes a key out.
func merge(into, from Settings) {
	for key, value := range from {
		if value == nil {
			delete(into, key)
			continue
		}
		below, ok := value.(Settings)
		if old, both := into[key].(Settings); ok && both {
			merge(old, below)
			continue
		}
		if ok {
			value = maps.Clone(below)
		}
		into[key] = value
	}
}

// Start lays out a box, starts it, and waits until it is ready. It is stopped at the test's end, which fails if the box did
// not stop cleanly or the race detector has found something.
func Start(t testing.TB, cfg Config) *Box {
	t.Helper()
	b := New(t, cfg)
	b.Begin()
	b.WaitLine("parley is ready", startTimeout)
	return b
}

// Begin starts the process (again) and does not wait.
func (b *Box) Begin() {
	b.t.Helper()
	command := b.cfg.Program
	if len(command) == 0 {
		command = []string{Program(b.t, "parley")}
	}
	command = append(append([]string(nil), command...), "run", "-config", b.ConfigFile(), "-data", b.Data, "-plain", "-keys")
	if b.cfg.Namespace != "" {
		command = append([]string{"ip", "netns", "exec", b.cfg.Namespace}, command...)
	}
	if len(b.cfg.Env) > 0 {
		command = append(append([]string{"env"}, b.cfg.Env...), command...)
	}
	b.Process = phonetest.Start(b.t, b.Data, command[0], command[1:]...)
	process := b.Process
	b.t.Cleanup(func() {
		if b.t.Failed() {
			b.t.Log(b.counters())
		}
		if text := strings.Join(process.Lines(), "\n"); strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic:") {
			b.t.Errorf("the box said:\n%s", text)
		}
	})
}

// Restart starts it again after it has ended, and waits until it is ready.
func (b *Box) Restart() {
	b.t.Helper()
	b.Begin()
	b.WaitLine("parley is ready", startTimeout)
}

// StopCleanly sends SIGTERM and fails the test unless the box ends with exit status 0.
func (b *Box) StopCleanly() {
	b.t.Helper()
	b.Signal(syscall.SIGTERM)
	if code := b.Wait(10 * time.Second); code != 0 {
		b.t.Fatalf("exit status %d after SIGTERM; it said:\n%s", code, b.Tail(20))
	}
}

// Press presses keys: m mute, j join, + and - volume, R reset, which is held as long as it comes again within a second.
func (b *Box) Press(keys string) {
	b.t.Helper()
	b.Type(keys)
}

// Speaker is what the room has heard so far.
func (b *Box) Speaker() phonetest.Sound { return phonetest.ReadWAV(b.t, b.SpeakerAt) }

// URI is a number at the box.
func (b *Box) URI(number string) string { return "sip:" + number + "@" + b.SIP }

// Ctl runs parleyctl with the box's own key and broker, and returns what it printed and its exit status.
func (b *Box) Ctl(args ...string) (output string, status int) {
	b.t.Helper()
	cmd := exec.Command(Program(b.t, "parleyctl"), b.CtlArgs(args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.ProcessState == nil {
		b.t.Fatalf("parleyctl: %v", err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// CtlArgs adds to parleyctl's arguments where this box is; flags among the arguments have the last word.
func (b *Box) CtlArgs(args ...string) []string {
	all := []string{args[0], "-data", b.Data}
	switch args[0] {
	case "cmd", "watch":
		all = append(all, "-broker", "mqtt://"+b.MQTT, "-box", b.Name)
	case "conf":
		all = append(all, "-http", "http://"+b.HTTP)
	}
	return append(all, args[1:]...)
}

// Call starts parleyctl's telephone, which calls a number of the box. flags are those of `parleyctl call`.
func (b *Box) Call(number string, flags ...string) *phonetest.Process {
	b.t.Helper()
	at := b.SIP
	for i, f := range flags {
		if f == "-transport" && flags[i+1] == "tls" {
			at = b.SIPTLS
		}
	}
	args := append([]string{"call", number, "-box", at}, flags...)
	return phonetest.Start(b.t, b.Data, Program(b.t, "parleyctl"), b.CtlArgs(args...)...)
}
