package qemutest

import (
	"bytes"
	"debug/elf"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// scripts are what runs in the guest.
//
//go:embed guest/init guest/lib.sh guest/run scenarios/*.sh
var scripts embed.FS

// supervisor is what keeps the box running in the image, seen from this package's folder.
const supervisor = "../../../buildroot/package/parley/supervise"

// modules are what a guest may load; each brings what it depends on.
var modules = []string{
	"virtio_mmio", "virtio_console", "virtio_blk", "virtio_net", "virtio-rng", "snd-aloop", "softdog", "ext4", "crc32c_generic", "squashfs", "vfat", "nls_cp437", "nls_ascii",
}

// file is one file of an initramfs.
type file struct {
	name string
	mode uint32
	body []byte
}

const (
	modeFile    = 0o100644
	modeProgram = 0o100755
	modeFolder  = 0o040755
	modeConsole = 0o020600 // the character device 5, 1
)

// Initramfs makes the guest's file system, with more files laid over it, by their paths. What a program's name begins with "sbin/" or
// "bin/" may be run.
func Initramfs(t testing.TB, a Arch, more map[string][]byte) []byte {
	t.Helper()
	kernels := filepath.Dir(Kernel(t, a))
	list := []file{{"dev", modeFolder, nil}, {"dev/console", modeConsole, nil}}
	for _, dir := range []string{"bin", "data", "etc", "lib", "lib/modules", "proc", "run", "sbin", "sys", "tmp", "scenarios", "var"} {
		list = append(list, file{dir, modeFolder, nil})
	}
	add := func(name string, body []byte) {
		list = append(list, file{name, modeProgram, body})
	}
	add("bin/busybox", read(t, filepath.Join(kernels, "busybox")))
	for _, program := range []string{"parley", "parleyctl", "guest"} {
		add("sbin/"+program, read(t, Binary(t, a, program)))
	}
	add("lib/supervise", read(t, supervisor))
	err := fs.WalkDir(scripts, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := scripts.ReadFile(path)
		name := path
		if in, ok := strings.CutPrefix(path, "guest/"); ok {
			name = map[bool]string{true: "init", false: "lib/" + in}[in == "init"]
		}
		add(name, body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	files, order, err := moduleFiles(filepath.Join(kernels, "modules"), modules)
	if err != nil {
		t.Fatal(err)
	}
	list = append(append(list, files...), file{"lib/modules/order", modeFile, []byte(order)})
	for name, body := range more {
		list = append(list, file{name, modeProgram, body})
	}
	return cpio(list)
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// moduleFiles reads the named modules and what they depend on. order has a line for each of the named: its files, in the order in which
// they are to be loaded.
func moduleFiles(dir string, names []string) (files []file, order string, err error) {
	have := map[string][]string{} // a module's files, the last is its own
	paths := map[string]string{}  // by name; names and files mix two signs, as in snd-seq_dummy
	all, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		return nil, "", err
	}
	plain := func(name string) string { return strings.ReplaceAll(name, "-", "_") }
	for _, path := range all {
		paths[plain(strings.TrimSuffix(filepath.Base(path), ".ko"))] = path
	}
	var load func(name string) ([]string, error)
	load = func(name string) ([]string, error) {
		name = plain(name)
		if line, ok := have[name]; ok {
			return line, nil
		}
		path, ok := paths[name]
		if !ok {
			return nil, fmt.Errorf("%s: no module %s", dir, name)
		}
		needs, err := dependencies(path)
		if err != nil {
			return nil, err
		}
		var line []string
		for _, n := range needs {
			below, err := load(n)
			if err != nil {
				return nil, err
			}
			for _, f := range below {
				if !slices.Contains(line, f) {
					line = append(line, f)
				}
			}
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		files = append(files, file{"lib/modules/" + filepath.Base(path), modeFile, body})
		line = append(line, filepath.Base(path))
		have[name] = line
		return line, nil
	}
	var text strings.Builder
	for _, name := range names {
		line, err := load(name)
		if err != nil {
			return nil, "", err
		}
		fmt.Fprintf(&text, "%s %s\n", name, strings.Join(line, " "))
	}
	return files, text.String(), nil
}

// dependencies reads which modules a module needs.
func dependencies(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("%s: is no kernel module", path)
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, entry := range strings.Split(string(info), "\x00") {
		if list, ok := strings.CutPrefix(entry, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}

// cpio is the archive that a kernel unpacks, in the "newc" format.
func cpio(list []file) []byte {
	var out bytes.Buffer
	pad := func() {
		for out.Len()%4 != 0 {
			out.WriteByte(0)
		}
	}
	entry := func(n int, f file) {
		major, minor := 0, 0
		if f.mode == modeConsole {
			major, minor = 5, 1
		}
		fmt.Fprintf(&out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
			n, f.mode, 0, 0, 1, 0, len(f.body), 0, 0, major, minor, len(f.name)+1, 0)
		out.WriteString(f.name + "\x00")
		pad()
		out.Write(f.body)
		pad()
	}
	for n, f := range list {
		entry(n+1, f)
	}
	entry(0, file{name: "TRAILER!!!"})
	return out.Bytes()
}
