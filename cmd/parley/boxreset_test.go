package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
	"parley/mqtt/wire"
)

// lives waits until the box has been ready so many times: a reset ends one life of the process and begins the next.
func lives(t *testing.T, box *boxtest.Box, n int) {
	t.Helper()
	phonetest.Eventually(t, 60*time.Second, "the box is ready again", func() bool {
		return strings.Count(strings.Join(box.Lines(), "\n"), "parley is ready") == n
	})
}

// furnish makes the data folder of a box one that has been used for long, and gives what must be gone after a reset.
func furnish(t *testing.T, box *boxtest.Box) map[string][]byte {
	t.Helper()
	for path, text := range map[string]string{
		"identity/tls.key": "mine", "recordings/r1/index": "{}", "messages/c1/log": "x", "local.yaml": "place: {name: Attic}\n", "bookings": "{}",
	} {
		path = filepath.Join(box.Data, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := map[string][]byte{}
	for _, name := range []string{"box.key", "token.key"} {
		raw, err := os.ReadFile(filepath.Join(box.Data, name))
		if err != nil {
			t.Fatal(err)
		}
		before[name] = raw
	}
	return before
}

// fresh fails the test unless only the identity is left of what there was.
func fresh(t *testing.T, box *boxtest.Box, before map[string][]byte) {
	t.Helper()
	for _, gone := range []string{"reset", "recordings/r1", "messages/c1", "local.yaml", "bookings"} {
		if _, err := os.Lstat(filepath.Join(box.Data, gone)); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
	for name, old := range before {
		if now, err := os.ReadFile(filepath.Join(box.Data, name)); err == nil && bytes.Equal(now, old) {
			t.Errorf("%s is the old one", name)
		}
	}
	if raw, err := os.ReadFile(filepath.Join(box.Data, "identity/tls.key")); err != nil || string(raw) != "mine" {
		t.Errorf("the identity: %q, %v", raw, err)
	}
}

// the reset key, held, makes the box what it was when it left the factory, in the same process, and muted; tapped it does nothing.
func TestFactoryResetByKey(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Files: t.TempDir()})
	before, pid := furnish(t, box), box.PID()
	watch := box.Watch()
	box.Press("R")
	watch.Wait("/keys", "a tap", 20*time.Second, func(p map[string]any) bool { return p["key"] == "reset" && p["event"] == "released" })
	if text := strings.Join(box.Lines(), "\n"); strings.Contains(text, "factory reset") {
		t.Fatalf("a tap of the key:\n%s", text)
	}
	phonetest.Eventually(t, 40*time.Second, "the reset begins", func() bool {
		if strings.Contains(strings.Join(box.Lines(), "\n"), "factory reset") {
			return true
		}
		box.Press("R") // the keyboard's repetition
		time.Sleep(100 * time.Millisecond)
		return false
	})
	lives(t, box, 2)
	fresh(t, box, before)
	if box.PID() != pid {
		t.Error("another process")
	}
	if s := box.Must(200, "GET", "/metrics", "", nil); !strings.Contains(string(s.Body), "parley_muted 1") {
		t.Error("after a reset the place is open")
	}
	box.StopCleanly()
}

// The signed command does the same: it must name the box once more and this session, it is answered before the box goes, and caught and
// sent again it is void.
func TestFactoryResetByCommand(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Files: t.TempDir()})
	before := furnish(t, box)
	if out, code := box.Ctl("cmd", "factory-reset", "box-2"); code == 0 || !strings.Contains(out, "the box's name") {
		t.Errorf("under another name: %d %s", code, out)
	}
	if out, code := box.Ctl("cmd", "factory-reset"); code == 0 {
		t.Errorf("without the name: %s", out)
	}
	watch := box.Watch()
	names, err := wire.NewBox(box.EID, box.Name)
	if err != nil {
		t.Fatal(err)
	}
	key, err := wire.LoadKey(filepath.Join(box.Data, "box.key"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := wire.SignCommand(wire.Command{ID: "r1", Exp: time.Now().Add(5 * time.Minute).Unix(), EID: box.EID, Box: box.Name,
		Verb: wire.VerbFactoryReset, Sess: 1, Args: wire.Args{Confirm: box.Name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	s := &siege{box: box, watch: watch}
	s.publish(t, names.Cmd(wire.VerbFactoryReset), raw)
	s.answer(wire.VerbFactoryReset, "accepted", func(status, _, _ string) bool { return status == "accepted" })
	lives(t, box, 2)
	fresh(t, box, before)

	// Whoever had the old key, as after a box was sold, has nothing more to say to it.
	again := &siege{box: box, watch: box.Watch()}
	again.publish(t, names.Cmd(wire.VerbFactoryReset), raw)
	again.answer(wire.VerbFactoryReset, "a refusal", func(status, _, _ string) bool { return status == "rejected" })
	if n := strings.Count(strings.Join(box.Lines(), "\n"), "msg=\"factory reset\""); n != 1 {
		t.Errorf("%d resets", n)
	}
	box.StopCleanly()
}

// `parley reset` ends the box that runs, and wipes its folder; it touches no folder that is not a box's.
func TestFactoryResetBesideTheBox(t *testing.T) {
	t.Parallel()
	box := boxtest.Start(t, boxtest.Config{Files: t.TempDir()})
	before := furnish(t, box)
	run := func(args ...string) (string, int) {
		cmd := exec.Command(boxtest.Program(t, "parley"), append([]string{"reset"}, args...)...)
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "thesis.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := run("-data", other); code != 1 || !strings.Contains(out, "no box's data folder") {
		t.Errorf("a folder that is none: %d %s", code, out)
	}
	if _, code := run(); code != 2 {
		t.Errorf("no folder: %d", code)
	}
	if entries, _ := os.ReadDir(other); len(entries) != 1 {
		t.Errorf("a folder that is no box's has %v", entries)
	}
	if out, code := run("-data", box.Data); code != 0 || !strings.Contains(out, "is gone") {
		t.Errorf("%d %s", code, out)
	}
	if code := box.Wait(10 * time.Second); code != 0 {
		t.Errorf("the box ended with %d", code)
	}
	fresh(t, box, before)
	box.Restart()
	box.StopCleanly()
	if out, code := run("-data", box.Data); code != 0 {
		t.Errorf("with no box running: %d %s", code, out)
	}
}

// Settings that keep the box from starting are gone before anybody reads them.
func TestAResetComesBeforeTheSettings(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	for path, text := range map[string]string{"session": "4\n", "parley.yaml": "card: [", "reset": ""} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	namespace := phonetest.NewLAN(t).Host("10.9.0.1")
	p := phonetest.Start(t, t.TempDir(), "ip", "netns", "exec", namespace.Name, boxtest.Program(t, "parley"), "run", "-data", dir, "-plain")
	p.WaitLine("parley is ready", 30*time.Second)
	if _, err := os.Lstat(filepath.Join(dir, "parley.yaml")); err == nil {
		t.Error("the settings are still there")
	}
	if raw, _ := os.ReadFile(filepath.Join(dir, "session")); string(raw) != "5\n" {
		t.Errorf("session %q", raw)
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(20 * time.Second); code != 0 {
		t.Errorf("ended with %d", code)
	}
}
