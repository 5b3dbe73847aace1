package qemutest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/boxtest"
	"parley/cmd/parley/phonetest"
)

// slotInit is the kernel's own file system of a slot. Debian's kernel has nothing built in: it loads what is needed, and goes on in the
// slot's root file system.
const slotInit = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
. /lib/lib.sh
for m in virtio_mmio virtio_blk virtio_net crc32c_generic ext4 vfat nls_cp437 nls_ascii squashfs snd-aloop softdog; do load $m; done
until [ -b /dev/vda7 ]; do sleep 0.1; done
slot=$(word slot)
for facts in /sys/class/block/vda?/uevent; do
	if grep -q "^PARTNAME=root-$slot$" "$facts"; then part=$(sed -n 's/^DEVNAME=//p' "$facts"); fi
done
mount -t squashfs -o ro "/dev/$part" /root
mount -t devtmpfs devtmpfs /root/dev
umount /proc /sys
exec switch_root /root /sbin/init
`

// network is QEMU's own, which needs no DHCP.
const network = `#!/bin/sh
[ "$1" = start ] || exit 0
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
(until grep -q 'parley is ready' /var/log/messages; do sleep 1; done; grep -h parley /var/log/messages | tail -n 12 >/dev/ttyAMA0) &
`

// flashed is a machine with U-Boot and a disk as it is flashed, its broker, and who orders its firmware.
type flashed struct {
	t      *testing.T
	arch   Arch
	dir    string // images, and the disk
	disk   string
	kernel string // of a slot
	site   *httptest.Server
	broker *phonetest.Mosquitto
	watch  *boxtest.Watch
	guest  *phonetest.Process
}

// the box in a real image, started by U-Boot, runs other firmware on order: tried once, kept if healthy, rolled back by itself if not.
// What is truncated, tampered with, older or for other machines never boots; nor does a power cut at any moment leave it without firmware.
func TestUpdate(t *testing.T) {
	for _, a := range Archs() {
		t.Run(a.Name, func(t *testing.T) {
			f := newFlashed(t, a)
			f.boot()
			began := time.Now()
			f.runs("a", "1.0.0")
			t.Logf("%s: from power to told in %.0f s", a.Name, time.Since(began).Seconds())

			began = time.Now()
			f.order("1.1.0", 0, "VERIFIED", "UPDATED, 1.1.0 runs in slot b")
			f.runs("b", "1.1.0")
			t.Logf("%s: updated in %.0f s", a.Name, time.Since(began).Seconds())
			f.refused()
			began = time.Now()
			f.order("1.2.0", 1, "FAILED: rolled_back", "the sound card did not open")
			f.runs("b", "1.1.0")
			t.Logf("%s: tried and rolled back in %.0f s", a.Name, time.Since(began).Seconds())
			f.cuts(rounds(t, "PARLEY_UPDATE_CUTS", 3))
		})
	}
}

func newFlashed(t *testing.T, a Arch) *flashed {
	Kernel(t, a) // or the test is skipped
	f := &flashed{t: t, arch: a, dir: t.TempDir()}
	f.broker = phonetest.StartMosquitto(t, phonetest.MosquittoConfig{})
	f.watch = boxtest.NewWatch(t, f.broker.URL(), "local")
	f.site = httptest.NewServer(http.FileServer(http.Dir(f.dir)))
	t.Cleanup(f.site.Close)
	f.makeKernel()
	key := f.ctl(0, "firmware", "key", f.path("key"))
	f.firmware("1.0.0", key, "")
	f.firmware("0.9.0", key, "")
	f.firmware("1.1.0", key, "")
	f.firmware("1.2.0", key, "card: {device: \"hw:7\"}\n") // a card that there is not
	f.firmware("1.3.0", key, "")
	f.firmware("1.4.0", key, "")
	f.flash()
	return f
}

func (f *flashed) path(name string) string { return filepath.Join(f.dir, name) }

func (f *flashed) run(name string, args ...string) string {
	f.t.Helper()
	c := exec.Command(name, args...)
	c.Dir = f.dir
	c.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "PARLEY_DATA=64M")
	out, err := c.CombinedOutput()
	if err != nil {
		f.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

// ctl runs parleyctl, and gives what it has said.
func (f *flashed) ctl(code int, args ...string) string {
	f.t.Helper()
	p := phonetest.Start(f.t, f.t.TempDir(), boxtest.Program(f.t, "parleyctl"), args...)
	got := p.Wait(10 * time.Minute)
	said := strings.Join(p.Lines(), "\n")
	if got != code {
		f.t.Fatalf("parleyctl %v: %d, want %d:\n%s\nthe guest:\n%s", args, got, code, said, f.tail())
	}
	return strings.TrimSpace(said)
}

func (f *flashed) tail() string {
	if f.guest == nil {
		return ""
	}
	return f.guest.Tail(25)
}

// makeKernel makes the kernel of a slot: Debian's, with what it has to load.
func (f *flashed) makeKernel() {
	f.t.Helper()
	kernels := filepath.Dir(Kernel(f.t, f.arch))
	list := []file{{"dev", modeFolder, nil}, {"dev/console", modeConsole, nil}}
	for _, dir := range []string{"bin", "sbin", "lib", "lib/modules", "proc", "sys", "root", "etc"} {
		list = append(list, file{dir, modeFolder, nil})
	}
	lib, err := scripts.ReadFile("guest/lib.sh")
	if err != nil {
		f.t.Fatal(err)
	}
	files, order, err := moduleFiles(filepath.Join(kernels, "modules"), modules)
	if err != nil {
		f.t.Fatal(err)
	}
	list = append(append(list, files...), file{"lib/modules/order", modeFile, []byte(order)}, file{"lib/lib.sh", modeProgram, lib},
		file{"init", modeProgram, []byte(slotInit)}, file{"bin/busybox", modeProgram, read(f.t, filepath.Join(kernels, "busybox"))})
	f.write("ramdisk", cpio(list))
	f.write("vmlinuz", read(f.t, filepath.Join(kernels, "vmlinuz")))
	f.run("gzip", "-1", "-f", "ramdisk")
	facts := map[string][3]string{"armv7": {"arm", "none", "vmlinuz"}, "arm64": {"arm64", "gzip", "vmlinuz.gz"}}[f.arch.Name]
	if facts[1] == "gzip" {
		f.run("gzip", "-1", "-f", "vmlinuz")
	}
	load := strings.TrimSpace(string(read(f.t, filepath.Join("..", "..", "..", "board", f.arch.Board, "kernel.load"))))
	f.write("kernel.its", fmt.Appendf(nil, `/dts-v1/;
/ { description = "parley"; #address-cells = <1>;
  images {
    kernel { description = "kernel"; data = /incbin/("%s"); type = "kernel"; arch = "%s"; os = "linux"; compression = "%s"; load = <%s>; entry = <%s>;
      hash { algo = "sha256"; }; };
    ramdisk { description = "modules"; data = /incbin/("ramdisk.gz"); type = "ramdisk"; arch = "%[2]s"; os = "linux"; compression = "none";
      hash { algo = "sha256"; }; };
  };
  configurations { default = "slot"; slot { kernel = "kernel"; ramdisk = "ramdisk"; }; };
};
`, facts[2], facts[0], facts[1], load, load))
	f.run(phonetest.Need(f.t, "mkimage"), "-f", "kernel.its", "slot.itb")
	f.kernel = f.path("slot.itb")
}

func (f *flashed) write(name string, b []byte) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), b, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// firmware makes an image of a version, with settings of its own.
func (f *flashed) firmware(version, key, settings string) {
	f.t.Helper()
	root, confirm := userland(f.t, f.arch), "3m"
	if settings != "" { // is not to prove healthy
		confirm = "30s"
	}
	port := f.broker.Addr()[strings.LastIndex(f.broker.Addr(), ":"):]
	for name, text := range map[string]string{
		"etc/parley/version":  version + "\n",
		"etc/init.d/S99check": network,
		"etc/parley/parley.yaml": string(read(f.t, filepath.Join(root, "etc/parley/parley.yaml"))) + "box: box-1\nmqtt: {broker: \"mqtt://10.0.2.2" + port +
			"\"}\nprovision: {keys: [\"" + key + "\"]}\nupdate: {confirm: " + confirm + "}\n" + settings,
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
			f.t.Fatal(err)
		}
	}
	f.run(phonetest.Need(f.t, "mksquashfs"), root, version+".squashfs", "-all-root", "-comp", "gzip", "-no-progress")
	f.pack(version, f.arch.Board, f.arch.Name)
}

func (f *flashed) pack(version, board, arch string) {
	f.t.Helper()
	f.ctl(0, "firmware", "pack", f.path(version+".img"), "--version", version, "--board", board, "--arch", arch, "--kernel", f.kernel,
		"--root", f.path(version+".squashfs"), "--key", f.path("key"))
}

// flash makes the disk as it is made for flashing, with version 1.0.0.
func (f *flashed) flash() {
	f.t.Helper()
	kernel := map[string]string{"armv7": "zImage", "arm64": "Image"}[f.arch.Name]
	f.run("mkdir", "images")
	f.write("images/"+kernel, []byte("another is put in its place"))
	f.run("cp", "1.0.0.squashfs", "images/rootfs.squashfs")
	script, err := filepath.Abs("../../../buildroot/image/post-image.sh")
	if err != nil {
		f.t.Fatal(err)
	}
	f.run(script, f.path("images"), f.arch.Board)
	f.disk = f.path("images/parley-" + f.arch.Board + ".img")
	f.run("sh", "-euc", "first=$(sgdisk -i 3 "+f.disk+" | sed -n 's/^First sector: \\([0-9]*\\) .*/\\1/p'); dd if=slot.itb of="+f.disk+" bs=512 seek=$first conv=notrunc status=none")
}

// uBoots are Debian's boot loaders for the machine.
var uBoots = map[string]string{"armv7": "/usr/lib/u-boot/qemu_arm/u-boot.bin", "arm64": "/usr/lib/u-boot/qemu_arm64/u-boot.bin"}

// boot gives the machine its power.
func (f *flashed) boot() {
	f.t.Helper()
	if _, err := os.Stat(uBoots[f.arch.Name]); err != nil {
		f.t.Fatalf("%v: make qemu-test installs it; by hand: apt-get install u-boot-qemu", err)
	}
	f.guest = phonetest.Start(f.t, f.t.TempDir(), "nice", "-n", "5", phonetest.Need(f.t, f.arch.qemu),
		"-M", "virt,acpi=off", // else a boot loader costs the 64-bit machine its GPIO
		"-cpu", f.arch.cpu, "-m", "256",
		"-display", "none", "-nodefaults", "-serial", "stdio", "-bios", uBoots[f.arch.Name],
		// What QEMU has written is on the disk for us, also when it is killed: a flush can cost nothing.
		"-drive", "if=none,id=disk,format=raw,cache=unsafe,file="+f.disk, "-device", "virtio-blk-device,drive=disk",
		"-netdev", "user,id=net", "-device", "virtio-net-device,netdev=net")
}

// runs waits until the box tells what runs.
func (f *flashed) runs(slot, version string) {
	f.t.Helper()
	defer func() {
		if f.t.Failed() {
			f.t.Logf("the guest:\n%s", f.tail())
		}
	}()
	f.watch.Wait("/info", version+" in slot "+slot, 5*time.Minute, func(m map[string]any) bool { return m["slot"] == slot && m["firmware"] == version })
}

// orderOf is the command line that orders a version.
func (f *flashed) orderOf(version string, more ...string) []string {
	return append([]string{"firmware", "order", f.path(version + ".img.manifest"), "--url", f.site.URL + "/" + version + ".img", "--broker", f.broker.URL(),
		"--box", "box-1", "--signing-key", f.path("key"), "--timeout", "8m"}, more...)
}

// order orders a version and waits for what becomes of it. The guest knows this machine by another address.
func (f *flashed) order(version string, code int, want ...string) {
	f.t.Helper()
	f.watch.Forget()
	said := f.ctl(code, f.orderOf(version, "--url", f.seen(version))...)
	f.t.Log(said)
	for _, text := range want {
		if !strings.Contains(said, text) {
			f.t.Fatalf("%q is not said:\n%s", text, said)
		}
	}
}

func (f *flashed) seen(version string) string {
	return strings.Replace(f.site.URL, "127.0.0.1", "10.0.2.2", 1) + "/" + version + ".img"
}

// refused orders what must not be taken.
func (f *flashed) refused() {
	f.t.Helper()
	image := read(f.t, f.path("1.3.0.img"))
	f.write("1.3.0.img", image[:len(image)-1])
	f.order("1.3.0", 1, "FAILED: wrong_size")
	image[len(image)/2] ^= 1
	f.write("1.3.0.img", image)
	f.order("1.3.0", 1, "FAILED: bad_hash")
	f.order("0.9.0", 1, "FAILED: downgrade")
	f.run("cp", "1.4.0.squashfs", "1.9.0.squashfs")
	f.pack("1.9.0", "rpi4", "arm64")
	f.order("1.9.0", 1, "FAILED: wrong_board")
	image[len(image)/2] ^= 1
	f.write("1.3.0.img", image)
	f.watch.Forget()
	f.guest.Kill()
	f.boot()
	f.runs("b", "1.1.0")
}

// cuts orders newer firmware, cuts the power at a random moment, and looks that the box comes up, again and again.
func (f *flashed) cuts(n int) {
	f.t.Helper()
	began := time.Now()
	length := 60 * time.Second // about how long an update takes
	runs := "1.1.0"
	for i := range n {
		version := map[bool]string{true: "1.3.0", false: "1.4.0"}[runs != "1.3.0"]
		f.watch.Forget()
		p := phonetest.Start(f.t, f.t.TempDir(), boxtest.Program(f.t, "parleyctl"), f.orderOf(version, "--url", f.seen(version), "--downgrade")...)
		p.WaitLine("DOWNLOADING", 60*time.Second)
		moment := rand.N(length)
		cut := time.NewTimer(moment)
		select {
		case <-cut.C:
		case <-p.Done():
		}
		f.guest.Kill()
		f.boot()
		p.Wait(8 * time.Minute)
		last := p.Lines()
		end := ""
		for _, line := range last {
			if strings.Contains(line, "UPDATED") || strings.Contains(line, "FAILED") {
				end = line
			}
		}
		switch {
		case strings.Contains(end, "UPDATED"):
			runs = version
		case strings.Contains(end, "rolled_back"):
		default:
			f.t.Fatalf("cut after %v: no end:\n%s\nthe guest:\n%s", moment, strings.Join(last, "\n"), f.tail())
		}
		f.watch.Wait("/fw/reported", "that "+runs+" runs", 3*time.Minute, func(m map[string]any) bool {
			running, _ := m["running"].(map[string]any)
			return running["version"] == runs && (m["state"] == "UPDATED" || m["state"] == "FAILED")
		})
		f.t.Logf("cut %d of %d after %.1f s: %s", i+1, n, moment.Seconds(), end)
	}
	f.t.Logf("%d cuts in %.0f s", n, time.Since(began).Seconds())
}
