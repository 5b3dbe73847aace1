package buildroot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"parley/board"
)

// commands says which of U-Boot's options a command of the boot script stands for.
var commands = map[string]string{
	"part": "CONFIG_CMD_PART", "setexpr": "CONFIG_CMD_SETEXPR", "itest": "CONFIG_CMD_ITEST", "env import": "CONFIG_CMD_IMPORTENV",
	"env export": "CONFIG_CMD_EXPORTENV", "cmp.b": "CONFIG_CMD_MEMORY", "fdt": "CONFIG_CMD_FDT", "bootm": "CONFIG_CMD_BOOTM", "run": "CONFIG_CMD_RUN",
}

// The boot loader is built with what its script uses, and obeys no key.
func TestBootLoaderHasTheCommands(t *testing.T) {
	set, used := settings(t, "image/uboot.fragment"), read(t, "image/boot.cmd")
	for command, option := range commands {
		if !regexp.MustCompile(`(?m)(^|[;&]|then|do|if)\s*` + regexp.QuoteMeta(command) + ` `).MatchString(used) {
			t.Errorf("boot.cmd does not use %s: is this still its table?", command)
		}
		if set[option] != "y" {
			t.Errorf("boot.cmd uses %s, and %s is %q", command, option, set[option])
		}
	}
	if set["CONFIG_BOOTDELAY"] != "-2" || set["CONFIG_ENV_IS_NOWHERE"] != "y" {
		t.Error("a key, or what is on the card, can change what is booted")
	}
}

// built is what Buildroot would have put into the folder of images, with other contents.
func built(t *testing.T, b board.Board) string {
	t.Helper()
	dir := t.TempDir()
	kernel := "zImage"
	if b.Arch == "arm64" {
		kernel = "Image"
	}
	files := []string{kernel, "rootfs.squashfs", "u-boot.bin"}
	switch {
	case raspberry(b):
		tree := regexp.MustCompile(`(?m)^device_tree=(\S+)$`).FindStringSubmatch(read(t, filepath.Join(folder(b), "config.txt")))
		if tree == nil {
			t.Fatal("config.txt names no device tree")
		}
		files = append(files, tree[1])
		for _, f := range []string{"start.elf", "fixup.dat", "start4.elf", "fixup4.dat", "bootcode.bin", "overlays/disable-bt.dtbo"} {
			files = append(files, "rpi-firmware/"+f)
		}
	case !virtual(b):
		files = append(files, "u-boot-sunxi-with-spl.bin")
		source := "/dts-v1/;\n/ { pio: a { }; codec: b { }; de: c { }; hdmi: d { }; uart2: e { }; };\n"
		c := exec.Command(tool(t, "dtc"), "-@", "-I", "dts", "-O", "dtb", "-o", dir+"/base.dtb", "-")
		c.Stdin = strings.NewReader(source)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, f := range files {
		write(t, filepath.Join(dir, f), strings.Repeat("this is "+f+"\n", 1000))
	}
	return dir
}

// partition is a line of a GPT.
type partition struct {
	label       string
	first, last uint64 // sectors of 512 bytes
}

// partitions reads the GPT of a disk's image.
func partitions(t *testing.T, f *os.File) (all []partition) {
	t.Helper()
	head := make([]byte, 512)
	if _, err := f.ReadAt(head, 512); err != nil || string(head[:8]) != "EFI PART" {
		t.Fatalf("no GPT: %v", err)
	}
	entries := make([]byte, 128*128)
	if _, err := f.ReadAt(entries, int64(binary.LittleEndian.Uint64(head[72:]))*512); err != nil {
		t.Fatal(err)
	}
	for e := range slices.Chunk(entries, 128) {
		if bytes.Equal(e[:16], make([]byte, 16)) {
			continue
		}
		var name []uint16
		for c := range slices.Chunk(e[56:], 2) {
			name = append(name, binary.LittleEndian.Uint16(c))
		}
		label, _, _ := strings.Cut(string(utf16.Decode(name)), "\x00")
		all = append(all, partition{label, binary.LittleEndian.Uint64(e[32:]), binary.LittleEndian.Uint64(e[40:])})
	}
	return all
}

// image runs post-image.sh as Buildroot does, with a data partition that is soon made.
func image(t *testing.T, b board.Board, dir string) *os.File {
	t.Helper()
	for _, name := range []string{"dtc", "fdtoverlay", "mkimage", "genimage", "mcopy", "mkdosfs", "mke2fs"} {
		tool(t, name)
	}
	path := "PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin"
	run(t, "image/post-image.sh", []string{path, "SOURCE_DATE_EPOCH=1700000000", "PARLEY_DATA=16M"}, dir, b.Name)
	f, err := os.Open(filepath.Join(dir, "parley-"+b.Name+".img"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// The image of each board is made of stand-ins for what Buildroot builds: its partitions are those of board.Layout and begin where a card
// can erase, slot a holds kernel and root file system, slot b nothing, and the boot state is empty, which says that slot a is good.
func TestImage(t *testing.T) {
	t.Parallel()
	for _, b := range flashed() {
		t.Run(b.Name, func(t *testing.T) {
			dir := built(t, b)
			f := image(t, b, dir)
			parts := partitions(t, f)
			for i, p := range board.Layout() {
				if i >= len(parts) || parts[i].label != p.Label || parts[i].first%2048 != 0 {
					t.Fatalf("partitions %v", parts)
				}
			}
			for label, want := range map[string]string{"kernel-a": "kernel.itb", "root-a": "rootfs.squashfs", "kernel-b": "", "root-b": "", "state": ""} {
				p := parts[slices.IndexFunc(parts, func(p partition) bool { return p.label == label })]
				size := int64(p.last-p.first+1) * 512
				content := make([]byte, 1<<20)
				if _, err := f.ReadAt(content, int64(p.first)*512); err != nil {
					t.Fatal(err)
				}
				expect := make([]byte, len(content))
				if want != "" {
					copy(expect, read(t, filepath.Join(dir, want)))
				}
				if !bytes.Equal(content, expect) || size < 8<<20 {
					t.Errorf("%s, %d bytes, holds something else than %q", label, size, want)
				}
			}
			bootFiles(t, b, dir, f, parts[0])
			mbr := make([]byte, 512)
			f.ReadAt(mbr, 0)
			if first := mbr[446+4]; raspberry(b) != (first == 0x0c) {
				t.Errorf("the first partition of the old table is of type %#x: the Raspberry Pi's boot ROM looks for a FAT there", first)
			}
			if b.Name == "orangepi-pc" {
				loader := make([]byte, 8)
				f.ReadAt(loader, 8<<10)
				if string(loader) != "this is " {
					t.Error("the boot loader is not where the boot ROM looks for it")
				}
			}
		})
	}
}

// bootFiles looks at the first partition.
func bootFiles(t *testing.T, b board.Board, dir string, f *os.File, p partition) {
	t.Helper()
	fat := filepath.Join(t.TempDir(), "boot")
	out, err := os.Create(fat)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, io.NewSectionReader(f, int64(p.first)*512, int64(p.last-p.first+1)*512)); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"boot.scr": "boot.scr", "parley/README.txt": "parley/README.txt"}
	if raspberry(b) {
		want["config.txt"], want["overlays/parley.dtbo"] = "config.txt", "parley.dtbo"
	}
	for name, file := range want {
		got, err := exec.Command(tool(t, "mtype"), "-i", fat, "::"+name).Output()
		if err != nil || string(got) != read(t, filepath.Join(dir, file)) {
			t.Errorf("boot: %s: %v, %d bytes", name, err, len(got))
		}
	}
}

// The same inputs make the same image, whatever the clock says.
func TestImageIsReproducible(t *testing.T) {
	t.Parallel()
	sum := func(b board.Board, later time.Duration) string {
		dir := built(t, b)
		err := filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
			if err == nil {
				err = os.Chtimes(name, time.Time{}, time.Now().Add(-later))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if _, err := io.Copy(h, image(t, b, dir)); err != nil {
			t.Fatal(err)
		}
		return string(h.Sum(nil))
	}
	for _, name := range []string{"rpi4", "orangepi-pc"} {
		b, err := board.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		if sum(b, 0) != sum(b, 48*time.Hour) {
			t.Errorf("%s: two images of the same inputs differ", name)
		}
	}
}
