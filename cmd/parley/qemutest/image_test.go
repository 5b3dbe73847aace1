package qemutest

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/phonetest"
)

// rootInit is the first program of Debian's kernel, which needs modules for what Buildroot's has built in: it brings them, and goes on with
// the image's own root file system.
const rootInit = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
mkdir /run /root 2>/dev/null
. /lib/lib.sh
for m in virtio_mmio virtio_blk crc32c_generic ext4 vfat nls_cp437 nls_ascii squashfs snd-aloop softdog; do load $m; done
until [ -b /dev/vda4 ]; do sleep 0.1; done
mount -t squashfs -o ro /dev/vda4 /root
mount -t devtmpfs devtmpfs /root/dev
umount /proc /sys
exec switch_root /root /sbin/init
`

// check runs in the image, on its way up, and tells what has become of it. It is the only thing in there that is not in a real one.
const check = `#!/bin/sh
[ "$1" = start ] || exit 0
(
exec >/dev/ttyAMA0 2>&1
ready() { [ "$(grep -c 'parley is ready' /var/log/messages)" -ge "$1" ]; }
n=0
until ready 1; do
	sleep 1
	n=$((n + 1))
	[ $n -ne 30 ] || cat /var/log/messages
done
echo "image: ready at $(cut -d' ' -f1 /proc/uptime) s"
set -- $(mount | sed -n 's|^\(/dev/[a-z0-9]*\) on \(/[a-z]*\) type \([a-z0-9]*\) (\(r[ow]\),.*|\1 \2 \3 \4|p')
echo "image: mounted $*"
for f in /dev/vda1 /dev/vda2 /dev/vda3 /dev/vda4 /dev/vda5 /dev/vda6 /dev/vda7 /dev/gpiochip0 /dev/watchdog /dev/snd/controlC0 /data/parley; do
	echo "image: $(ls -ld $f | awk '{ print $1, $3, $4 }') $f"
done
echo "image: mixer $(sort -u /tmp/amixer)"
pid=$(pidof parley)
echo "image: runs as $(ls -ld /proc/$pid | awk '{ print $3 }')"
kill -9 $pid
until new=$(pidof parley) && [ "$new" != $pid ]; do :; done
until ready 2; do sleep 0.1; done
echo "image: again"
echo "image: said $(grep -c 'supervise: the box ended with status 137' /var/log/messages)"
poweroff
) &
`

// applets are BusyBox's programs that the image uses: init, the scripts, and check.
var applets = strings.Fields(`bin/sh bin/mount bin/umount bin/mkdir bin/hostname bin/sed bin/grep bin/ls bin/cat bin/echo bin/sleep bin/kill bin/mv
	bin/chown bin/chmod bin/pidof bin/touch sbin/init sbin/poweroff sbin/reboot sbin/syslogd sbin/mdev sbin/ifup sbin/ip bin/run-parts usr/bin/logger
	usr/bin/mkfifo usr/bin/awk usr/bin/readlink usr/bin/basename usr/bin/dirname usr/bin/cut usr/bin/sort usr/bin/tr usr/bin/seq`)

// fromBuildroot is what Buildroot's skeleton, BusyBox package and other packages put into the image, as far as it is needed.
var fromBuildroot = map[string]string{
	"etc/passwd":              "root:x:0:0:root:/root:/bin/sh\nparley:x:990:990:Parley:/data:/bin/false\n",
	"etc/group":               "root:x:0:\ntty:x:5:\naudio:x:29:parley\ngpio:x:100:parley\nwatchdog:x:101:parley\nparley:x:990:\n",
	"etc/hostname":            "parley\n",
	"etc/mdev.conf":           "snd/.* root:audio 660\n",
	"etc/init.d/rcS":          "#!/bin/sh\nfor i in /etc/init.d/S??*; do $i start; done\n",
	"etc/init.d/rcK":          "#!/bin/sh\nfor i in $(ls -r /etc/init.d/S??*); do $i stop; done\n",
	"etc/init.d/S01syslogd":   "#!/bin/sh\n[ $1 != start ] || syslogd\n",
	"etc/init.d/S10mdev":      "#!/bin/sh\n[ $1 != start ] || { mdev -d; mdev -s; }\n",
	"etc/init.d/S99check":     check,
	"etc/network/interfaces":  "auto lo\niface lo inet loopback\n",
	"usr/sbin/ntpd":           "#!/bin/sh\nexec sleep 100000\n",
	"sbin/e2fsck":             "#!/bin/sh\nexit 0\n",
	"usr/bin/amixer":          "#!/bin/sh\necho \"$@\" >>/tmp/amixer\n",
	"etc/network/if-up.d/.in": "",
}

// userland makes the image's root file system: the tree's own files as the package installs them, the real program, and BusyBox.
func userland(t *testing.T, a Arch) string {
	t.Helper()
	root := t.TempDir()
	tree := filepath.Join("..", "..", "..", "buildroot")
	sh := func(line string) {
		t.Helper()
		if out, err := exec.Command("sh", "-euc", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	for _, dir := range strings.Fields("bin sbin usr/bin usr/sbin usr/libexec/parley etc/parley proc sys dev run tmp var") {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sh("cp -r " + tree + "/image/rootfs/. " + root + "; ln -s ../tmp " + root + "/var/log")
	sh("cp " + filepath.Join(filepath.Dir(Kernel(t, a)), "busybox") + " " + root + "/bin/busybox; chmod 755 " + root + "/bin/busybox")
	for _, name := range applets {
		if err := os.Symlink("/bin/busybox", filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range fromBuildroot {
		path := filepath.Join(root, name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sh("cp " + Binary(t, a, "parley") + " " + root + "/usr/bin/parley; cp " + tree + "/package/parley/supervise " + tree + "/package/parley/storage " +
		tree + "/package/parley/mixer " + root + "/usr/libexec/parley; cp -r ../../../board/" + a.Board + "/mixer " + root + "/etc/parley/mixer; " +
		"sed s/@BOARD@/" + a.Board + "/ " + tree + "/package/parley/parley.yaml >" + root + "/etc/parley/parley.yaml; " +
		tree + "/image/post-build.sh " + root + " " + a.Board)
	return root
}

// a disk as post-image.sh makes it comes up with the image's own init and scripts: root read-only, the slots the box's user's, data
// in its partition; the box, which is not root, is back when it is killed; and a machine that is switched off in order leaves a clean disk and a box that has ended in
// order. U-Boot starts it with the image's boot script. Only U-Boot, kernel and BusyBox are not Buildroot's, but Debian's.
func TestImage(t *testing.T) {
	for _, a := range Archs() {
		t.Run(a.Name, func(t *testing.T) { bootImage(t, a) })
	}
}

func bootImage(t *testing.T, a Arch) {
	Kernel(t, a) // or the test is skipped
	root, images, dir := userland(t, a), t.TempDir(), t.TempDir()
	kernel := map[string]string{"armv7": "zImage", "arm64": "Image"}[a.Name]
	if err := os.WriteFile(filepath.Join(images, kernel), read(t, Kernel(t, a)), 0o644); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(Initramfs(t, a, map[string][]byte{"init": []byte(rootInit)}))
	z.Close()
	if err := os.WriteFile(filepath.Join(images, "initrd"), packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	tools := "PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin"
	for _, c := range []*exec.Cmd{
		exec.Command(phonetest.Need(t, "mksquashfs"), root, filepath.Join(images, "rootfs.squashfs"), "-all-root", "-comp", "gzip", "-no-progress"),
		exec.Command("../../../buildroot/image/post-image.sh", images, a.Board),
	} {
		c.Env = append(os.Environ(), tools, "PARLEY_DATA=64M")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", c.Path, err, out)
		}
	}
	disk, loader := filepath.Join(images, "parley-"+a.Board+".img"), "/usr/lib/u-boot/"+strings.ReplaceAll(a.Board, "-", "_")+"/u-boot.bin"
	if _, err := os.Stat(loader); err != nil {
		t.Fatalf("%v: make qemu-test installs it (package u-boot-qemu)", err)
	}
	// With ACPI, and a boot loader of its own, the 64-bit machine has no PL061.
	p := phonetest.Start(t, dir, "nice", "-n", "5", phonetest.Need(t, a.qemu), "-M", "virt,acpi=off", "-cpu", a.cpu, "-m", "512", "-display", "none", "-nodefaults",
		"-serial", "stdio", "-bios", loader, "-drive", "if=none,id=disk,format=raw,file="+disk, "-device", "virtio-blk-device,drive=disk", "-no-reboot")
	t.Logf("%s", p.WaitLine("image: ready at", 8*time.Minute))
	for _, want := range []string{
		"image: mounted /dev/vda4 / squashfs ro /dev/vda1 /boot vfat ro /dev/vda7 /data ext4 rw",
		"image: brw-rw---- root root /dev/vda1", "image: brw-rw---- root parley /dev/vda2", "image: brw-rw---- root parley /dev/vda3",
		"image: brw-rw---- root parley /dev/vda4", "image: brw-rw---- root parley /dev/vda5", "image: brw-rw---- root parley /dev/vda6",
		"image: brw-rw---- root root /dev/vda7", "image: crw-rw---- root gpio /dev/gpiochip0", "image: crw-rw---- root watchdog /dev/watchdog",
		"image: crw-rw---- root audio /dev/snd/controlC0", "image: drwx------ parley parley /data/parley",
		"image: mixer -q -c 0 sset PCM 100% unmute", "image: runs as parley",
		"image: again", "image: said 1",
	} {
		if got := strings.TrimSpace(p.WaitLine(want, 4*time.Minute)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	p.Wait(2 * time.Minute)
	inOrder(t, disk, filepath.Join(dir, "data"))
}

// inOrder looks at the data partition of a disk after the machine has been switched off.
func inOrder(t *testing.T, disk, data string) {
	t.Helper()
	cut := "first=$(partx -g -o START -n 7 " + disk + "); dd if=" + disk + " of=" + data + " bs=512 skip=$((first)) count=131072 status=none"
	c := exec.Command("sh", "-euc", cut)
	c.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for want, line := range map[string][]string{
		"Filesystem state:         clean": {"dumpe2fs", "-h", data},
		"Type: regular":                   {"debugfs", "-R", "stat /parley/stopped", data},
	} {
		out, _ := exec.Command(phonetest.Need(t, line[0]), line[1:]...).CombinedOutput()
		if !strings.Contains(string(out), want) || strings.Contains(string(out), "needs_recovery") {
			t.Errorf("%v: no %q in\n%s", line, want, out)
		}
	}
}
