package main_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// the box says itself how long it took until it was ready, and where it can be reached. Under load a start may take long:
// the best of three counts, with nothing beside it.
func TestReadyInTwoSeconds(t *testing.T) {
	said := regexp.MustCompile(`^parley is ready after (\d+) ms$`)
	best := 1 << 30
	for range 3 {
		began := time.Now()
		box := boxtest.Start(t, boxtest.Config{})
		wall := time.Since(began)
		m := said.FindStringSubmatch(box.WaitLine("parley is ready", time.Second))
		if m == nil {
			t.Fatalf("it says %q", box.Tail(20))
		}
		ms, _ := strconv.Atoi(m[1])
		if ms < 1 || time.Duration(ms)*time.Millisecond > wall {
			t.Errorf("it says %d ms and took %v", ms, wall)
		}
		best = min(best, ms)
		for _, where := range []string{box.SIP, box.SIPTLS, box.MQTT, box.HTTP, box.Data} {
			box.WaitLine(where, 5*time.Second)
		}
		box.StopCleanly()
	}
	t.Logf("ready after %d ms", best)
	if best > 2000 {
		t.Errorf("ready after %d ms, want at most 2000", best)
	}
}

// a port that is taken: the process that has it and the setting that changes it are named, whichever port it is.
func TestATakenPortIsExplained(t *testing.T) {
	t.Parallel()
	for setting, at := range map[string]func(*boxtest.Box) (network, addr string){
		"listen.sip_udp": func(b *boxtest.Box) (string, string) { return "udp", b.SIP },
		"listen.sip_tcp": func(b *boxtest.Box) (string, string) { return "tcp", b.SIP },
		"listen.sip_tls": func(b *boxtest.Box) (string, string) { return "tcp", b.SIPTLS },
		"mqtt.listen":    func(b *boxtest.Box) (string, string) { return "tcp", b.MQTT },
		"http.listen":    func(b *boxtest.Box) (string, string) { return "tcp", b.HTTP },
	} {
		t.Run(setting, func(t *testing.T) {
			box := boxtest.New(t, boxtest.Config{})
			network, addr := at(box)
			if network == "udp" {
				c, err := net.ListenPacket("udp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
			} else {
				l, err := net.Listen("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
			}
			box.Begin()
			code := box.Wait(30 * time.Second)
			text := box.Tail(50)
			if code != 1 {
				t.Errorf("exit status %d, want 1", code)
			}
			for _, want := range []string{"(PID " + strconv.Itoa(os.Getpid()) + ")", "`" + setting + "`", addr} {
				if !strings.Contains(text, want) {
					t.Errorf("%s is not in what it says:\n%s", want, text)
				}
			}
			if strings.Contains(text, "parley is ready") {
				t.Error("it called itself ready")
			}
		})
	}
}

// a second run on the same data names the first one's PID and leaves it alone.
func TestASecondRunIsRefused(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{})
	out, err := exec.Command(boxtest.Program(t, "parley"), "run", "-config", box.ConfigFile(), "-data", box.Data, "-plain").CombinedOutput()
	if e, ok := err.(*exec.ExitError); !ok || e.ExitCode() != 1 {
		t.Errorf("%v, want exit status 1", err)
	}
	if want := fmt.Sprintf("PID %d", box.PID()); !strings.Contains(string(out), want) || !strings.Contains(string(out), box.Data) {
		t.Errorf("%s and the folder are not in what it says:\n%s", want, out)
	}
	if out, status := box.Ctl("cmd", "mute"); status != 0 {
		t.Errorf("the first one does not answer any more: %s", out)
	}
	box.StopCleanly()
	box.Restart() // nothing is left behind that would keep the next one from starting
}

// SIGTERM ends calls with BYE, the topics say disconnected, and what was recorded is whole.
func TestTheEndIsInOrder(t *testing.T) {
	t.Parallel()
	broker := phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})
	box := boxtest.Start(t, boxtest.Config{Microphone: tone(400), Settings: boxtest.Settings{
		"place": boxtest.Settings{"join_at_start": true}, "mqtt": boxtest.Settings{"broker": broker.URL()},
	}})
	watch := boxtest.NewWatch(t, broker.URL(), box.EID)
	called := phonetest.StartSIPP(t, phonetest.SIPPConfig{Scenario: phonetest.CallScenario{}.Answerer()})
	caller := phonetest.StartSIPP(t, phonetest.SIPPConfig{
		Scenario: phonetest.CallScenario{TheyHangUp: true}.Caller(), Remote: box.SIP, Service: "1000",
	})
	talker := box.Call("1000", "-codec", "opus", "-tone", "700", "-level", "-23")
	talker.WaitLine("answered", 20*time.Second)
	watch.Wait("/conf/1000/state", "three members", 20*time.Second, func(p map[string]any) bool { return connected(p) == 3 })
	if out, err := exec.Command(boxtest.Program(t, "parleyctl"), "cmd", "dial", "sip:900@"+called.Addr(),
		"-broker", broker.URL(), "-data", box.Data, "-box", box.Name).CombinedOutput(); err != nil {
		t.Fatalf("dial: %v\n%s", err, out)
	}
	watch.Wait("/conf/1000/state", "four members", 20*time.Second, func(p map[string]any) bool { return connected(p) == 4 })
	phonetest.Eventually(t, 20*time.Second, "the room hears the caller for two seconds", func() bool {
		return box.Speaker().Tone(700).Above(toneLevel-3) >= 20
	})
	box.Signal(syscall.SIGTERM)
	if code := box.Wait(15 * time.Second); code != 0 {
		t.Errorf("exit status %d:\n%s", code, box.Tail(20))
	}
	caller.Succeed(20 * time.Second) // they expect the BYE
	called.Succeed(20 * time.Second)
	if code := talker.Wait(20 * time.Second); code != 0 {
		t.Errorf("the third call ended with %d:\n%s", code, talker.Tail(5))
	}
	watch.Wait("/state", "disconnected", 20*time.Second, func(p map[string]any) bool { return p["state"] == "disconnected" })
	for _, m := range watch.Messages("/box/" + box.Name + "/state") {
		if strings.Contains(string(m.Payload), `"lost"`) {
			t.Errorf("the last will was published: %s", m.Payload)
		}
	}
	wholeWAV(t, box.SpeakerAt)
}

// wholeWAV fails the test unless the lengths in a WAV file's header are those of the file.
func wholeWAV(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) < 44 || string(raw[:4]) != "RIFF" || string(raw[8:12]) != "WAVE" {
		t.Fatalf("%s is no WAV file", path)
	}
	little := func(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 | int(b[3])<<24 }
	if n := little(raw[4:]); n != len(raw)-8 {
		t.Errorf("%s: RIFF says %d bytes, there are %d", path, n, len(raw)-8)
	}
	if string(raw[36:40]) != "data" || little(raw[40:]) != len(raw)-44 {
		t.Errorf("%s: the data chunk says %q %d, there are %d", path, raw[36:40], little(raw[40:]), len(raw)-44)
	}
}

// A bad settings file: file, line, key and what would be right, and exit status 2; it is the same for run.
func TestBadSettingsAreExplained(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"unknown key":       {"card:\n  volumee: 3\n", []string{":2:", "card.volumee", "volume"}},
		"wrong type":        {"rtp:\n  first: many\n", []string{":2:", "rtp.first", "1024"}},
		"out of range":      {"card:\n  volume: 150\n", []string{":2:", "card.volume", "100"}},
		"wrong choice":      {"sip:\n  srtp: always\n", []string{":2:", "sip.srtp", "require"}},
		"beyond loopback":   {"mqtt:\n  listen: 0.0.0.0:1883\n", []string{":2:", "mqtt.listen", "mqtt.tls.cert", "mqtt.users", "127.0.0.1"}},
		"HTTP in the open":  {"http:\n  listen: \"[::]:8080\"\n", []string{":2:", "http.listen", "http.tls.cert", "http.users"}},
		"SIP without lan":   {"listen:\n  sip_udp: [\"0.0.0.0:5060\"]\n", []string{":2:", "listen.sip_udp", "listen.lan: true"}},
		"no YAML":           {"card: [\n", []string{":", "YAML"}},
		"a user without":    {"sip:\n  users:\n    - name: ann\n", []string{":3:", "sip.users[0]", "password"}},
		"a board that none": {"board: toaster\n", []string{":1:", "board", "desk"}},
		"two at once":       {"card:\n  volume: 150\nrtp:\n  first: many\n", []string{":2:", "card.volume", ":4:", "rtp.first"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "bad.yaml")
			if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{{"check-config", file}, {"run", "-config", file, "-data", filepath.Join(dir, "data"), "-plain"}} {
				out, err := exec.Command(boxtest.Program(t, "parley"), args...).CombinedOutput()
				if e, ok := err.(*exec.ExitError); !ok || e.ExitCode() != 2 {
					t.Errorf("%s: %v, want exit status 2", args[0], err)
				}
				for _, want := range append(tc.want, file) {
					if !strings.Contains(string(out), want) {
						t.Errorf("%s: %q is not in what it says:\n%s", args[0], want, out)
					}
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
				t.Error("a data folder was made all the same")
			}
		})
	}
	good := filepath.Join(t.TempDir(), "good.yaml")
	if err := os.WriteFile(good, []byte("card:\n  volume: 50\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(boxtest.Program(t, "parley"), "check-config", good).CombinedOutput(); err != nil || !strings.Contains(string(out), "good") {
		t.Errorf("a good file: %v\n%s", err, out)
	}
}
