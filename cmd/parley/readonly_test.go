package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// With a data folder that cannot be written, from the very first start on or since the last one, the box starts, answers, mutes, and says
// what is wrong; written again, all is well.
func TestADiskThatIsReadOnly(t *testing.T) {
	t.Parallel()
	for _, used := range []bool{false, true} {
		name := map[bool]string{false: "from the first start on", true: "since the last one"}[used]
		t.Run(name, func(t *testing.T) {
			disk := fullDisk(t)
			broker := phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})
			settings := outside(t)
			settings["mqtt"] = boxtest.Settings{"broker": broker.URL()}
			box := boxtest.New(t, boxtest.Config{Data: filepath.Join(disk, "data"), Files: t.TempDir(), Settings: settings})
			mount := func(flags uintptr) {
				t.Helper()
				phonetest.Eventually(t, 10*time.Second, "the disk is mounted anew", func() bool { // what was just closed may be busy for a moment
					return unix.Mount("parley-test", disk, "tmpfs", unix.MS_REMOUNT|flags, "size=1m") == nil
				})
			}
			if used {
				box.Restart()
				box.StopCleanly()
			}
			mount(unix.MS_RDONLY)
			if err := os.WriteFile(filepath.Join(box.Data, "x"), nil, 0o600); err == nil {
				t.Fatal("the disk can be written")
			}
			watch := boxtest.NewWatch(t, broker.URL(), box.EID)
			box.Restart()
			pcmu := listen(t, box, "1000", "PCMU")
			pcmu.wantSilence(time.Now(), 0) // it cannot know how it stood
			pcmu.wantSound(pressMute(t, box, "off"))
			pcmu.wantSilence(pressMute(t, box, "on"), mostPCMU)
			watch.Wait("/alert/storage", "what is wrong", 20*time.Second, func(p map[string]any) bool {
				text, _ := p["text"].(string)
				return strings.Contains(text, "read-only")
			})
			if s := box.Must(200, "GET", "/healthz", "", nil); s.JSON["ok"] != true {
				t.Errorf("health: %s", s.Body)
			}
			mount(0)
			phonetest.Eventually(t, 20*time.Second, "the alert is over", func() bool {
				list := watch.Messages("/alert/storage")
				return len(list[len(list)-1].Payload) == 0
			})
			box.StopCleanly()
			box.Restart()
			if s := box.Must(200, "GET", "/metrics", "", nil); !strings.Contains(string(s.Body), "parley_muted 1") {
				t.Error("it ended muted and begins open")
			}
			box.StopCleanly()
		})
	}
}

// A reset that the disk does not let happen keeps no box from starting: it is told, and done as soon as the disk lets it.
func TestAResetOnAReadOnlyDisk(t *testing.T) {
	t.Parallel()
	disk := fullDisk(t)
	box := boxtest.Start(t, boxtest.Config{Data: filepath.Join(disk, "data"), Files: t.TempDir(), Settings: outside(t)})
	box.StopCleanly()
	mine := filepath.Join(box.Data, "box.key")
	if err := os.WriteFile(filepath.Join(box.Data, "reset"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mount := func(flags uintptr) {
		t.Helper()
		phonetest.Eventually(t, 10*time.Second, "the disk is mounted anew", func() bool {
			return unix.Mount("parley-test", disk, "tmpfs", unix.MS_REMOUNT|flags, "size=1m") == nil
		})
	}
	old, err := os.ReadFile(mine)
	if err != nil {
		t.Fatal(err)
	}
	mount(unix.MS_RDONLY)
	box.Restart()
	watch := box.Watch()
	watch.Wait("/alert/reset", "that it is not done", 20*time.Second, func(p map[string]any) bool { return p["text"] != "" })
	box.StopCleanly()
	mount(0)
	box.Restart()
	if now, err := os.ReadFile(mine); err != nil || string(now) == string(old) {
		t.Errorf("the old key is still there, or none: %v", err)
	}
	box.StopCleanly()
}
