package buildroot

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// write makes a file, with its folders; a script can be executed.
func write(t *testing.T, name, text string) {
	t.Helper()
	mode := os.FileMode(0o644)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// script is a script of the tree with an environment of its own.
func script(t *testing.T, name string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, args...)
	c.Env = append(os.Environ(), env...)
	return c
}

func run(t *testing.T, name string, env []string, args ...string) string {
	t.Helper()
	out, err := script(t, name, env, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// until waits for something to be so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// supervised starts supervise with a box that is a script; every start of the box adds a line to the file "starts".
func supervised(t *testing.T, dir, box string, env ...string) (c *exec.Cmd, starts func() []string) {
	t.Helper()
	write(t, dir+"/parley", "#!/bin/sh\n"+box)
	write(t, dir+"/image.yaml", "")
	env = append([]string{"PARLEY=" + dir + "/parley", "PARLEY_CONFIG=" + dir + "/image.yaml", "PARLEY_OWN_CONFIG=" + dir + "/own.yaml",
		"PARLEY_LOG=" + dir + "/log", "PARLEY_PAUSE=0", "PARLEY_REBOOT=" + dir + "/reboot", "DIR=" + dir}, env...)
	write(t, dir+"/reboot", "#!/bin/sh\necho >>$DIR/rebooted\n")
	c = script(t, "package/parley/supervise", env)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	return c, func() []string {
		b, _ := os.ReadFile(dir + "/starts")
		return strings.Fields(string(b))
	}
}

const started = `[ "$1" = check-config ] && { grep -q good "$2"; exit; }
echo "$4" >>$DIR/starts
`

// A box that dies is back, whatever its status; what ends supervise ends the box in order first.
func TestSuperviseBringsTheBoxBack(t *testing.T) {
	dir := t.TempDir()
	c, starts := supervised(t, dir, started+`trap 'echo >>$DIR/ended; exit 0' TERM
[ $(wc -l <$DIR/starts) -ge 3 ] || exit 70
echo $$ >$DIR/pid
while :; do sleep 0.05; done
`)
	until(t, "two deaths, and the third life", func() bool { return len(starts()) == 3 })
	until(t, "the third life goes on", func() bool { _, err := os.Stat(dir + "/pid"); return err == nil })
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir + "/ended"); err != nil {
		t.Error("supervise ended before the box had ended in order")
	}
	if n := len(starts()); n != 3 {
		t.Errorf("started %d times", n)
	}
}

// A box that cannot live has the machine restarted after ten deaths, so that the boot loader gives a bad slot up.
func TestSuperviseGivesABadSlotUp(t *testing.T) {
	dir := t.TempDir()
	_, starts := supervised(t, dir, started+"exit 2\n")
	until(t, "the machine is restarted", func() bool { _, err := os.Stat(dir + "/rebooted"); return err == nil })
	if n := len(starts()); n != 10 {
		t.Errorf("after %d deaths", n)
	}
}

// The settings on the card are used if they are good, else the image's.
func TestSuperviseTakesTheSettingsOnTheCard(t *testing.T) {
	for own, want := range map[string]string{"": "image.yaml", "good: true\n": "own.yaml", "bad: true\n": "image.yaml"} {
		dir := t.TempDir()
		if own != "" {
			write(t, dir+"/own.yaml", own)
		}
		_, starts := supervised(t, dir, started+"exec sleep 60\n")
		until(t, "it starts", func() bool { return len(starts()) == 1 })
		if got := starts()[0]; got != dir+"/"+want {
			t.Errorf("with %q on the card: started with %s, want %s", own, got, want)
		}
	}
}

// What the box says goes through the pipe, and it is never told that nobody reads it.
func TestSuperviseKeepsTheLogOpen(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(dir+"/log", 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(dir+"/log", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	supervised(t, dir, started+"echo said; echo also >&2; exec sleep 60\n")
	b := make([]byte, 64)
	got := ""
	reader.SetReadDeadline(time.Now().Add(20 * time.Second))
	for !strings.Contains(got, "said\nalso\n") {
		n, err := reader.Read(b)
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
		got += string(b[:n])
	}
	reader.Close()
}

// disk is a machine with a disk of the image's layout, from which it was started, and a stick with the same labels.
func disk(t *testing.T, dir string, labels ...string) (env []string, done func() string) {
	t.Helper()
	for i, label := range labels {
		part := fmt.Sprintf("mmcblk0p%d", i+1)
		write(t, dir+"/sys/class/block/"+part+"/uevent", "MAJOR=179\nMINOR="+fmt.Sprint(i+1)+"\nDEVNAME="+part+"\nPARTNAME="+label+"\n")
		write(t, fmt.Sprintf("%s/sys/class/block/aaa%d/uevent", dir, i+1), fmt.Sprintf("DEVNAME=aaa%d\nPARTNAME=%s\n", i+1, label))
	}
	os.MkdirAll(dir+"/sys/dev/block", 0o755)
	os.Symlink("../../devices/platform/mmc/mmcblk0/mmcblk0p4", dir+"/sys/dev/block/179:4")
	write(t, dir+"/mountinfo", "15 1 179:4 / / ro,relatime - squashfs /dev/root ro\n16 15 0:14 / /proc rw - proc proc rw\n")
	for _, name := range []string{"mount", "e2fsck", "chown", "chmod", "mkdir"} {
		write(t, dir+"/bin/"+name, "#!/bin/sh\necho "+name+" \"$@\" >>"+dir+"/done\ncase \" $FAILS \" in *\" "+name+":$4 \"*) exit 8;; esac\nexit 0\n")
	}
	env = []string{"SYS=" + dir + "/sys", "DEV=/dev", "MOUNTINFO=" + dir + "/mountinfo", "NODATA=" + dir + "/nodata", "PATH=" + dir + "/bin:" + os.Getenv("PATH")}
	return env, func() string { return read(t, dir+"/done") }
}

var allLabels = []string{"boot", "state", "kernel-a", "root-a", "kernel-b", "root-b", "data"}

// Partitions are those of the disk that was started from; the slots are given to the box's user, data and boot are not.
func TestStorage(t *testing.T) {
	dir := t.TempDir()
	env, done := disk(t, dir, allLabels...)
	run(t, "package/parley/storage", env)
	want := `chown root:parley /dev/mmcblk0p2
chmod 660 /dev/mmcblk0p2
chown root:parley /dev/mmcblk0p3
chmod 660 /dev/mmcblk0p3
chown root:parley /dev/mmcblk0p4
chmod 660 /dev/mmcblk0p4
chown root:parley /dev/mmcblk0p5
chmod 660 /dev/mmcblk0p5
chown root:parley /dev/mmcblk0p6
chmod 660 /dev/mmcblk0p6
mount -t vfat -o ro,nosuid,nodev,noexec,umask=022 /dev/mmcblk0p1 /boot
e2fsck -p /dev/mmcblk0p7
mount -t ext4 -o nosuid,nodev,noexec,noatime /dev/mmcblk0p7 /data
mkdir -p /data/parley
chown parley:parley /data/parley
chmod 700 /data/parley
`
	if got := done(); got != want {
		t.Errorf("did\n%swant\n%s", got, want)
	}
}

// A data partition that is missing or cannot be mounted costs what is in it, and not the box.
func TestStorageWithoutData(t *testing.T) {
	for name, labels := range map[string][]string{"broken": allLabels, "missing": allLabels[:6]} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			env, done := disk(t, dir, labels...)
			run(t, "package/parley/storage", append(env, "FAILS=mount:nosuid,nodev,noexec,noatime"))
			if !strings.HasSuffix(done(), "mount -t tmpfs -o nosuid,nodev,noexec,size=25%,mode=0755 tmpfs /data\nmkdir -p /data/parley\nchown parley:parley /data/parley\nchmod 700 /data/parley\n") {
				t.Errorf("did\n%s", done())
			}
			if _, err := os.Stat(dir + "/nodata"); err != nil {
				t.Error("nobody is told that /data is in memory")
			}
		})
	}
}

// A card gets the settings of its name, else those for all; what has no settings, or goes, is left alone.
func TestMixer(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/amixer", "#!/bin/sh\nfor a; do printf '<%s>' \"$a\" >>"+dir+"/done; done; echo >>"+dir+"/done\nexit 1\n")
	write(t, dir+"/mixer/Codec", "# a remark\n'Line Out' 80% unmute\nMic1 cap\n")
	write(t, dir+"/mixer/default", "PCM 90%\n")
	write(t, dir+"/cards/card0/id", "Codec\n")
	write(t, dir+"/cards/card11/id", "Device\n")
	env := []string{"MIXER=" + dir + "/mixer", "CARDS=" + dir + "/cards", "AMIXER=" + dir + "/amixer"}
	for _, device := range []string{"snd/controlC0", "snd/controlC11", "snd/controlC7", "snd/pcmC0D0p"} {
		run(t, "package/parley/mixer", env, device)
	}
	run(t, "package/parley/mixer", append(env, "ACTION=remove"), "snd/controlC0")
	want := "<-q><-c><0><sset><Line Out><80%><unmute>\n<-q><-c><0><sset><Mic1><cap>\n<-q><-c><11><sset><PCM><90%>\n"
	if got := read(t, dir+"/done"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// Ours stand before BusyBox's own rules, once, however often the script runs, and nothing mounts /boot for writing.
func TestPostBuild(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/etc/mdev.conf", "snd/.* root:audio 660\n")
	write(t, dir+"/etc/fstab", "/dev/root / auto ro 0 0\n/dev/mmcblk0p1 /boot vfat defaults 0 0\n")
	for range 2 {
		run(t, "image/post-build.sh", nil, dir, "rpi4")
	}
	conf := read(t, dir+"/etc/mdev.conf")
	if !regexp.MustCompile(`(?s)^# .*\ngpiochip.*\nsnd/controlC.*\nsnd/\.\* root:audio 660\n$`).MatchString(conf) || strings.Count(conf, "gpiochip") != 1 {
		t.Errorf("mdev.conf:\n%s", conf)
	}
	if fstab := read(t, dir+"/etc/fstab"); fstab != "/dev/root / auto ro 0 0\n" {
		t.Errorf("fstab:\n%s", fstab)
	}
	for _, name := range []string{"boot", "data"} {
		if info, err := os.Stat(dir + "/" + name); err != nil || !info.IsDir() {
			t.Errorf("there is nothing to mount /%s on", name)
		}
	}
}

// What the network says of itself is kept for the box, as printable text, and is what it said last.
func TestDHCP(t *testing.T) {
	dir := t.TempDir()
	script := "image/rootfs/usr/share/udhcpc/default.script.d/parley"
	file := dir + "/dhcp"
	env := []string{"PARLEY_DHCP=" + file}
	url := "mqtts://broker.example.com:8883"
	run(t, script, append(env, fmt.Sprintf("opt224=%X", url), "domain=example.com"), "bound")
	want := "broker=" + url + "\ndomain=example.com\n"
	if got := read(t, file); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	run(t, script, env, "deconfig")
	if got := read(t, file); got != want {
		t.Errorf("after deconfig: %q", got)
	}
	run(t, script, append(env, fmt.Sprintf("opt224=%X", "x\ndomain=evil\x00$(id)`id`"), "domain=a.b;c\nd"), "renew")
	if got := read(t, file); got != "broker=xdomain=evil$(id)`id`\ndomain=a.bcd\n" {
		t.Errorf("what is not printable is not left out: %q", got)
	}
	run(t, script, env, "bound")
	if got := read(t, file); got != "" {
		t.Errorf("what the network no longer says stays: %q", got)
	}
}
