package main_test

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
	"parley/hal/update"
)

// slots is a machine's disk as a folder of files, and its boot loader.
type slots struct {
	t    testing.TB
	dir  string
	site *httptest.Server // where images are
	web  string           // its folder
	box  *boxtest.Box
}

func newSlots(t testing.TB, settings boxtest.Settings) *slots {
	t.Helper()
	s := &slots{t: t, dir: t.TempDir(), web: t.TempDir()}
	for name, size := range map[string]int64{"state": 8 << 20, "kernel-a": 1 << 20, "root-a": 2 << 20, "kernel-b": 1 << 20, "root-b": 2 << 20} {
		f, err := os.Create(filepath.Join(s.dir, name))
		if err == nil {
			err = f.Truncate(size)
			f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.runs(update.A)
	s.site = httptest.NewServer(http.FileServer(http.Dir(s.web)))
	t.Cleanup(s.site.Close)
	all := boxtest.Settings{"update": boxtest.Settings{"slots": s.dir, "confirm": "30s"}}
	for k, v := range settings {
		all[k] = v
	}
	s.box = boxtest.Start(t, boxtest.Config{Settings: all})
	return s
}

func (s *slots) runs(slot update.Slot) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "running"), []byte(slot), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// boot waits until the box asks for a restart of the machine, does what the boot loader does, and starts the box.
func (s *slots) boot() update.Slot {
	s.t.Helper()
	slot := s.choose()
	s.runs(slot)
	s.box.Restart()
	return slot
}

func (s *slots) choose() update.Slot {
	s.t.Helper()
	if code := s.box.Wait(60 * time.Second); code != 75 {
		s.t.Fatalf("exit status %d, want 75:\n%s", code, s.box.Tail(20))
	}
	m, err := update.InFolder(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	state, err := m.State()
	if err != nil {
		s.t.Fatal(err)
	}
	choice := state.Choose()
	if choice.Save != nil {
		d, err := m.Disk.Open("state")
		if err != nil {
			s.t.Fatal(err)
		}
		defer d.Close()
		if err := update.SaveState(d, *choice.Save); err != nil {
			s.t.Fatal(err)
		}
	}
	return choice.Slot
}

// pack makes an image of a version; it returns the manifest's path and the image's address.
func (s *slots) pack(version string) (manifest, url string) {
	s.t.Helper()
	kernel, root := make([]byte, 200<<10), make([]byte, 900<<10)
	rand.Read(kernel)
	rand.Read(root)
	dir := s.t.TempDir()
	for name, b := range map[string][]byte{"kernel": kernel, "root": root} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	image := filepath.Join(s.web, version+".img")
	out, status := s.ctl("firmware", "pack", image, "--version", version, "--board", "desk", "--arch", "arm64",
		"--kernel", filepath.Join(dir, "kernel"), "--root", filepath.Join(dir, "root"), "--key", filepath.Join(s.box.Data, "box.key"))
	if status != 0 {
		s.t.Fatal(out)
	}
	return image + ".manifest", s.site.URL + "/" + version + ".img"
}

// ctl runs parleyctl as it is.
func (s *slots) ctl(args ...string) (string, int) {
	p := phonetest.Start(s.t, s.t.TempDir(), boxtest.Program(s.t, "parleyctl"), args...)
	code := p.Wait(60 * time.Second)
	return strings.Join(p.Lines(), "\n"), code
}

// order has the box run an image; the process waits for what becomes of it.
func (s *slots) order(manifest, url string, flags ...string) *phonetest.Process {
	s.t.Helper()
	args := append([]string{"firmware", "order", manifest, "--url", url, "--broker", "mqtt://" + s.box.MQTT, "--box", s.box.Name,
		"--signing-key", filepath.Join(s.box.Data, "box.key"), "--timeout", "2m"}, flags...)
	return phonetest.Start(s.t, s.t.TempDir(), boxtest.Program(s.t, "parleyctl"), args...)
}

func (s *slots) finish(p *phonetest.Process, code int, texts ...string) {
	s.t.Helper()
	got := p.Wait(90 * time.Second)
	said := strings.Join(p.Lines(), "\n")
	for _, text := range texts {
		if !strings.Contains(said, text) {
			s.t.Errorf("parleyctl does not say %q", text)
		}
	}
	if got != code || s.t.Failed() {
		s.t.Fatalf("exit status %d, want %d:\n%s\nthe box:\n%s", got, code, said, s.box.Tail(15))
	}
}

// a box takes an order, fetches the image into the other slot, restarts into it, and stays there once it has proved healthy. What
// runs is told.
func TestUpdateOfABox(t *testing.T) {
	t.Parallel()
	s := newSlots(t, nil)
	manifest, url := s.pack("7.0.0")
	p := s.order(manifest, url)
	if slot := s.boot(); slot != update.B {
		t.Fatalf("slot %s", slot)
	}
	w := s.box.Watch()
	w.Wait("/fw/reported", "UPDATED in slot b", 40*time.Second, func(m map[string]any) bool {
		running, _ := m["running"].(map[string]any)
		return m["state"] == "UPDATED" && running["slot"] == "b"
	})
	w.Wait("/info", "slot b", 10*time.Second, func(m map[string]any) bool { return m["slot"] == "b" })
	s.finish(p, 0, "UPDATED, 7.0.0 runs in slot b")
	out, code := s.parley("slots", "-config", s.box.ConfigFile(), "-data", s.box.Data)
	if code != 0 || !strings.Contains(out, "running slot b") || !strings.Contains(out, "good b, to be tried -, tries left 0") {
		t.Errorf("%d: %s", code, out)
	}
}

func (s *slots) parley(args ...string) (string, int) {
	p := phonetest.Start(s.t, s.t.TempDir(), boxtest.Program(s.t, "parley"), args...)
	code := p.Wait(30 * time.Second)
	return strings.Join(p.Lines(), "\n"), code
}

// firmware that was tried and did not come up is told as rolled back, with an alert that stays over restarts until the next order.
func TestUpdateRolledBack(t *testing.T) {
	t.Parallel()
	s := newSlots(t, nil)
	manifest, url := s.pack("7.0.0")
	p := s.order(manifest, url)
	if slot := s.choose(); slot != update.B {
		t.Fatalf("slot %s", slot)
	}
	// It hangs, and somebody pulls the plug: no tries are left.
	s.runs(update.A)
	s.box.Restart()
	s.finish(p, 1, "FAILED: rolled_back")
	s.box.StopCleanly()
	s.box.Restart()
	w := s.box.Watch()
	w.Wait("/fw/reported", "rolled_back", 20*time.Second, func(m map[string]any) bool {
		return m["state"] == "FAILED" && m["reason"] == "rolled_back" && m["version"] == "7.0.0"
	})
	w.Wait("/alert/update", "text", 20*time.Second, func(m map[string]any) bool {
		text, _ := m["text"].(string)
		return strings.Contains(text, "firmware 7.0.0 is not installed")
	})
	w.Wait("/state", "ready", 20*time.Second, func(m map[string]any) bool { return m["state"] == "ready" })
}

// what is tampered with, or ordered by nobody who may, changes nothing, and that is told; nor does a restart come into a call.
func TestUpdateRefused(t *testing.T) {
	t.Parallel()
	s := newSlots(t, nil)
	w := s.box.Watch()
	manifest, url := s.pack("7.0.0")
	image := filepath.Join(s.web, "7.0.0.img")
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	b[300<<10] ^= 1
	if err := os.WriteFile(image, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s.finish(s.order(manifest, url), 1, "FAILED: bad_hash")
	stranger := filepath.Join(t.TempDir(), "key")
	if out, code := s.ctl("firmware", "key", stranger); code != 0 {
		t.Fatal(out)
	}
	s.finish(s.order(manifest, url, "--signing-key", stranger), 1, "refused: unknown_key")
	w.Wait("/fw/reported", "both", 10*time.Second, func(m map[string]any) bool {
		rejected, _ := m["rejected"].(map[string]any)
		return m["state"] == "FAILED" && rejected["reason"] == "unknown_key"
	})
	// Whole again, with a call on: all waits for its end.
	b[300<<10] ^= 1
	if err := os.WriteFile(image, b, 0o600); err != nil {
		t.Fatal(err)
	}
	call := s.box.Call(s.box.Conference, "-for", "4s")
	call.WaitLine("answered", 20*time.Second)
	p := s.order(manifest, url)
	w.Wait("/fw/reported", "that it waits", 10*time.Second, func(m map[string]any) bool { return m["detail"] == "until no call is on" })
	if code := call.Wait(30 * time.Second); code != 0 {
		t.Errorf("the call: %d\n%s", code, call.Tail(10))
	}
	s.boot()
	s.finish(p, 0, "UPDATED")
}

// A machine without slots says so.
func TestNoSlots(t *testing.T) {
	t.Parallel()
	s := &slots{t: t, web: t.TempDir(), box: boxtest.Start(t, boxtest.Config{})}
	s.site = httptest.NewServer(http.FileServer(http.Dir(s.web)))
	defer s.site.Close()
	manifest, url := s.pack("7.0.0")
	s.finish(s.order(manifest, url), 1, "FAILED: no_slots")
	if out, code := s.parley("slots"); code != 0 || !strings.Contains(out, "no slots") {
		t.Errorf("%d: %s", code, out)
	}
}
