package buildroot

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"parley/board"
)

// read is a file's text.
func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// flashed are the boards that an image is made for.
func flashed() []board.Board {
	return slices.DeleteFunc(board.List(), func(b board.Board) bool { return b.Terminal })
}

func virtual(b board.Board) bool   { return strings.HasPrefix(b.Name, "qemu-") }
func raspberry(b board.Board) bool { return strings.HasPrefix(b.Name, "rpi") }

// folder is where a board's other half stands.
func folder(b board.Board) string { return filepath.Join("..", "board", b.Name) }

func configOf(b board.Board) string {
	return filepath.Join("configs", "parley_"+b.Name+"_defconfig")
}

// tool is a program's path. `make test` brings all of them; where one is missing else, the test is skipped.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path
		}
	}
	if os.Getenv("PARLEY_TOOLS") == "all" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("needs %s: make test installs it", name)
	return ""
}

// settings are the options of a configuration, in which one that is not set has the value "n".
func settings(t *testing.T, name string) map[string]string {
	t.Helper()
	set := map[string]string{}
	line := regexp.MustCompile(`^(?:((?:BR2|CONFIG)_\w+)=(.+)|# ((?:BR2|CONFIG)_\w+) is not set|#.*|)$`)
	for _, l := range strings.Split(read(t, name), "\n") {
		m := line.FindStringSubmatch(l)
		if m == nil {
			t.Errorf("%s: %q is no line of a configuration", name, l)
			continue
		}
		option, value := m[1], strings.Trim(m[2], `"`)
		if m[3] != "" {
			option, value = m[3], "n"
		}
		if option == "" {
			continue
		}
		if _, twice := set[option]; twice {
			t.Errorf("%s: %s stands twice", name, option)
		}
		set[option] = value
	}
	return set
}

// Every option that is named is one that Buildroot has, as the list says, or our own; and the list names no others.
func TestOptionsExist(t *testing.T) {
	known := map[string]bool{}
	for _, l := range strings.Split(read(t, "options.txt"), "\n") {
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		option, where, _ := strings.Cut(l, " ")
		if strings.TrimSpace(where) == "" || known[option] {
			t.Errorf("options.txt: %q", l)
		}
		known[option] = false
	}
	own := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^config (BR2_\w+)$`).FindAllStringSubmatch(read(t, "package/parley/Config.in"), -1) {
		own[m[1]] = true
	}
	for _, b := range flashed() {
		for option := range settings(t, configOf(b)) {
			if _, ok := known[option]; !ok && !own[option] {
				t.Errorf("%s: %s is not known to be an option", b.Name, option)
			}
			known[option] = true
		}
	}
	for option, used := range known {
		if !used {
			t.Errorf("options.txt: no configuration names %s", option)
		}
	}
}

// There is a configuration for each board that is flashed and for no other, and it is for that board's machine.
func TestConfigurationsAreForBoards(t *testing.T) {
	var want []string
	cpus := map[string]string{"armv7": "BR2_arm", "arm64": "BR2_aarch64"}
	for _, b := range flashed() {
		want = append(want, configOf(b))
		s := settings(t, configOf(b))
		if s["BR2_PACKAGE_PARLEY_BOARD"] != b.Name || s["BR2_ROOTFS_POST_SCRIPT_ARGS"] != b.Name {
			t.Errorf("%s: its configuration names %q, %q", b.Name, s["BR2_PACKAGE_PARLEY_BOARD"], s["BR2_ROOTFS_POST_SCRIPT_ARGS"])
		}
		for arch, option := range cpus {
			if (s[option] == "y") != (arch == b.Arch) {
				t.Errorf("%s is %s, and its configuration says %s=%q", b.Name, b.Arch, option, s[option])
			}
		}
		if !strings.Contains(s["BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES"], "/board/"+b.Name+"/linux.fragment") {
			t.Errorf("%s: its kernel fragment is not used", b.Name)
		}
		for option, value := range map[string]string{
			"BR2_REPRODUCIBLE": "y", "BR2_DOWNLOAD_FORCE_CHECK_HASHES": "y", "BR2_TARGET_ROOTFS_SQUASHFS": "y",
			"BR2_TARGET_ENABLE_ROOT_LOGIN": "n", "BR2_TARGET_GENERIC_GETTY": "n", "BR2_TARGET_GENERIC_REMOUNT_ROOTFS_RW": "n",
		} {
			if s[option] != value {
				t.Errorf("%s: %s is %q, want %q", b.Name, option, s[option], value)
			}
		}
	}
	found, _ := filepath.Glob("configs/*")
	slices.Sort(want)
	if slices.Sort(found); !slices.Equal(found, want) {
		t.Errorf("configurations %v, boards want %v", found, want)
	}
	if !regexp.MustCompile(`^20\d\d\.02\.\d+$`).MatchString(Release) {
		t.Errorf("%s is no release of a long-term branch", Release)
	}
	if !strings.Contains(read(t, "../docs/install.md"), "git clone --depth 1 -b "+Release+" ") {
		t.Errorf("docs/install.md fetches another Buildroot than %s", Release)
	}
}

// What the tree names is there.
func TestFilesExist(t *testing.T) {
	here := regexp.MustCompile(`\$\(?BR2_EXTERNAL_PARLEY_PATH\)?/([^\s"$*]+)`)
	inPackage := regexp.MustCompile(`\$\(PARLEY_PKGDIR\)/([^\s"$]+)`)
	for _, file := range list(t, ".") {
		text := read(t, file)
		for _, m := range here.FindAllStringSubmatch(text, -1) {
			if strings.HasSuffix(m[1], "/dist") || strings.HasSuffix(m[1], "/board/") || m[1] == "package/" {
				continue // made by make firmware; continued by a variable
			}
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		for _, m := range inPackage.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat("package/parley/" + m[1]); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	for _, name := range []string{"external.desc", "external.mk", "Config.in"} { // what Buildroot demands of such a tree
		if read(t, name) == "" {
			t.Errorf("%s is empty", name)
		}
	}
	if !strings.Contains(read(t, "external.desc"), "name: PARLEY\n") {
		t.Error("external.desc: the name is not the one of BR2_EXTERNAL_PARLEY_PATH")
	}
}

// list is all files below a folder.
func list(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(name, ".go") {
			files = append(files, name)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	return files
}

// scripts are all shell scripts of the tree.
func scripts(t *testing.T) []string {
	return slices.DeleteFunc(list(t, "."), func(f string) bool { return !strings.HasPrefix(read(t, f), "#!/bin/sh\n") })
}

func TestScriptsAreSound(t *testing.T) {
	all := scripts(t)
	if len(all) < 8 {
		t.Fatalf("only %v", all)
	}
	for _, f := range all {
		if out, err := exec.Command("sh", "-n", f).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", f, err, out)
		}
		if info, err := os.Stat(f); err != nil || info.Mode()&0o111 != 0o111 {
			t.Errorf("%s cannot be executed", f)
		}
	}
	if out, err := exec.Command(tool(t, "shellcheck"), append([]string{"-s", "sh"}, all...)...).CombinedOutput(); err != nil {
		t.Errorf("shellcheck: %v\n%s", err, out)
	}
}

// The package takes the program as it was built and tested, and the user that it makes is the one whom the devices are given to.
func TestPackage(t *testing.T) {
	mk := read(t, "package/parley/parley.mk")
	if strings.Contains(mk, "golang-package") || strings.Contains(mk, "go build") {
		t.Error("parley.mk builds the program: then its flags have to be those of scripts/firmware.sh")
	}
	user := regexp.MustCompile(`(?m)^\tparley (\d+) parley (\d+) \* /data - (\S+) `).FindStringSubmatch(mk)
	if user == nil {
		t.Fatal("parley.mk makes no user")
	}
	groups := append(strings.Split(user[3], ","), "parley", "root")
	given := regexp.MustCompile(`root:(\w+) |GROUP="(\w+)"|chown root:(\w+) `)
	for _, f := range []string{"image/mdev.conf", "package/parley/60-parley.rules", "package/parley/storage"} {
		found := given.FindAllStringSubmatch(read(t, f), -1)
		if len(found) == 0 {
			t.Errorf("%s gives nothing to anybody", f)
		}
		for _, m := range found {
			if group := m[1] + m[2] + m[3]; !slices.Contains(groups, group) {
				t.Errorf("%s: group %s is none of the box's user, whose are %v", f, group, groups)
			}
		}
	}
	firmware := read(t, "../scripts/firmware.sh")
	for _, b := range flashed() {
		if !strings.Contains(firmware, b.Arch) || !strings.Contains(mk, b.Arch) {
			t.Errorf("%s: nobody builds or installs parley-%s", b.Name, b.Arch)
		}
	}
}
