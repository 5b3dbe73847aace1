package main_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// procStatus is what the kernel says of a process.
func procStatus(t *testing.T, pid int) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		key, value, _ := strings.Cut(line, ":")
		m[key] = strings.Join(strings.Fields(value), " ")
	}
	return m
}

// openFolder is a folder that everybody may look into, as tests' own are not.
func openFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// started as root, the box is another user's before it opens anything, can do what it needs and no more, and stays so when it begins anew.
func TestNotRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	t.Parallel()
	dir := openFolder(t)
	box := boxtest.New(t, boxtest.Config{Data: filepath.Join(dir, "data"), Files: dir, Settings: boxtest.Settings{
		"user": "nobody", "keys": boxtest.Settings{"reset_hold": "3s"},
	}})
	for _, file := range []string{"parley.yaml", "microphone.wav"} {
		if err := os.Chmod(filepath.Join(dir, file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(box.Data, "messages"), 0o700); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(dir, "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(box.Data, "messages", "link")); err != nil {
		t.Fatal(err)
	}
	box.Begin()
	box.WaitLine("parley is ready", time.Minute)

	look := func() {
		t.Helper()
		s := procStatus(t, box.PID())
		for key, want := range map[string]string{
			"Uid": "65534 65534 65534 65534", "Gid": "65534 65534 65534 65534", "NoNewPrivs": "1",
			// CAP_NET_BIND_SERVICE, CAP_IPC_LOCK, CAP_SYS_NICE
			"CapEff": "0000000000804400", "CapPrm": "0000000000804400", "CapBnd": "0000000000804400", "CapAmb": "0000000000804400",
		} {
			if s[key] != want {
				t.Errorf("%s: %s, want %s", key, s[key], want)
			}
		}
		if s["VmLck"] == "0 kB" {
			t.Error("its memory is not locked")
		}
		if policy := mixerPolicy(t, box.PID()); policy != unix.SCHED_FIFO {
			t.Errorf("the mixer's scheduling policy is %d", policy)
		}
	}
	look()
	owner := func(path string) uint32 {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Uid
	}
	if owner(box.Data) != 65534 || owner(filepath.Join(box.Data, "messages", "link")) != 65534 || owner(outside) != 0 {
		t.Error("the data folder is not the user's, or what it links to is")
	}

	phonetest.Eventually(t, 40*time.Second, "it begins anew", func() bool { // with the reset key
		box.Press("R")
		time.Sleep(200 * time.Millisecond) // between the repetitions of a key that is held
		return strings.Contains(strings.Join(box.Lines(), "\n"), "begins anew")
	})
	lives(t, box, 2)
	look()
	if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", box.PID())); string(name) != "parley\n" {
		t.Errorf("it is called %q", name)
	}
	box.StopCleanly()
}

// mixerPolicy is how the mixer's thread is scheduled.
func mixerPolicy(t *testing.T, pid int) uint32 {
	t.Helper()
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/comm", pid, task.Name()))
		var tid int
		fmt.Sscan(task.Name(), &tid)
		if string(comm) == "parley-mixer\n" {
			attr, err := unix.SchedGetAttr(tid, 0)
			if err != nil {
				t.Fatal(err)
			}
			return attr.Policy
		}
	}
	t.Fatal("there is no mixer")
	return 0
}

// A port below 1024 is opened by a box that is not root.
func TestALowPortWithoutRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	port := 0
	for p := 600; p < 1024 && port == 0; p++ { // one that is free
		if c, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", p)); err == nil {
			c.Close()
			port = p
		}
	}
	box := boxtest.New(t, boxtest.Config{Data: filepath.Join(openFolder(t), "data"), Settings: boxtest.Settings{
		"user": "nobody", "listen": boxtest.Settings{"sip_udp": []string{fmt.Sprintf("127.0.0.1:%d", port)}},
	}})
	box.Begin()
	box.WaitLine("parley is ready", time.Minute)
	if uid := procStatus(t, box.PID())["Uid"]; !strings.HasPrefix(uid, "65534 ") {
		t.Errorf("Uid: %s", uid)
	}
	box.StopCleanly()
}

// A user that the machine does not have: the box does not go on as root instead.
func TestNoSuchUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	t.Parallel()
	box := boxtest.New(t, boxtest.Config{Settings: boxtest.Settings{"user": "nobody-here"}})
	box.Begin()
	if code := box.Wait(20 * time.Second); code != 1 || !strings.Contains(box.Tail(5), "no such user") {
		t.Errorf("exit status %d: %s", code, box.Tail(5))
	}
}

// While the clock lies before what the box knows to have passed, commands and tokens are refused for that reason, unless the machine says that it is in step.
func TestAClockThatIsNotSet(t *testing.T) {
	t.Parallel()
	box := boxtest.New(t, boxtest.Config{})
	if err := os.WriteFile(filepath.Join(box.Data, "clock"), []byte("2090-01-01T00:00:00Z\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	box.Begin()
	box.WaitLine("parley is ready", time.Minute)
	var now unix.Timex
	state, err := unix.Adjtimex(&now)
	inStep := err == nil && state != unix.TIME_ERROR && now.Status&unix.STA_UNSYNC == 0
	t.Logf("the machine's clock is in step: %v", inStep)

	out, code := box.Ctl("cmd", "unmute")
	if refused := strings.Contains(out, "clock_unset"); refused == inStep || refused && code == 0 {
		t.Errorf("a command: %d, %s", code, out)
	}
	a := box.API("GET", "/api/v1/conferences", box.Token("-role", "admin", "-ttl", "1h"), nil)
	if refused := a.Status == 503 && strings.Contains(string(a.Body), "clock_unset"); refused == inStep {
		t.Errorf("a token: %d %s", a.Status, a.Body)
	}
	box.StopCleanly()
	kept, _ := os.ReadFile(filepath.Join(box.Data, "clock"))
	if inStep == strings.HasPrefix(string(kept), "2090-") {
		t.Errorf("kept: %s", kept)
	}
	phonetest.Eventually(t, time.Second, "the file is there", func() bool { return len(kept) > 0 })
}
