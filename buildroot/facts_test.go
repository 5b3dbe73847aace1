package buildroot

import (
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"parley/board"
)

func TestBoardsAreComplete(t *testing.T) {
	for _, b := range flashed() {
		for _, f := range BoardFiles(virtual(b), raspberry(b)) {
			if info, err := os.Stat(filepath.Join(folder(b), f)); err != nil || info.Size() == 0 {
				t.Errorf("%s: %s: %v", b.Name, f, err)
			}
		}
		if !regexp.MustCompile(`^0x[0-9a-f]{8}\n$`).MatchString(read(t, filepath.Join(folder(b), "kernel.load"))) {
			t.Errorf("%s: kernel.load is no address", b.Name)
		}
	}
	// And there is no folder of a board that Go does not know.
	entries, _ := os.ReadDir("../board")
	for _, e := range entries {
		if _, err := board.Find(e.Name()); e.IsDir() && err != nil {
			t.Errorf("board/%s: %v", e.Name(), err)
		}
	}
}

// drivers says which of the kernel's options a fact of a board stands for: a GPIO chip by its label, a card by its name.
var drivers = map[string][]string{
	"9030000.pl061":      {"CONFIG_GPIO_PL061"},
	"pinctrl-bcm2711":    {"CONFIG_PINCTRL_BCM2835"},
	"pinctrl-bcm2835":    {"CONFIG_PINCTRL_BCM2835"},
	"1c20800.pinctrl":    {"CONFIG_PINCTRL_SUN8I_H3"},
	"auto":               {"CONFIG_SND_ALOOP"},
	"plughw:CARD=Device": {"CONFIG_SND_USB_AUDIO"},
	"plughw:CARD=Codec":  {"CONFIG_SND_SUN4I_CODEC", "CONFIG_SND_SUN8I_CODEC_ANALOG"},
}

// watchdogs are the drivers of which a board with a watchdog has one.
var watchdogs = []string{"CONFIG_SOFT_WATCHDOG", "CONFIG_BCM2835_WDT", "CONFIG_SUNXI_WATCHDOG"}

// The kernel is told of the chip, card and watchdog that the box will look for.
func TestKernelHasTheDrivers(t *testing.T) {
	common := settings(t, "image/linux.fragment")
	for _, option := range []string{"CONFIG_GPIO_CDEV", "CONFIG_WATCHDOG", "CONFIG_SQUASHFS", "CONFIG_SQUASHFS_ZSTD", "CONFIG_EXT4_FS",
		"CONFIG_VFAT_FS", "CONFIG_EFI_PARTITION", "CONFIG_DEVTMPFS_MOUNT", "CONFIG_SND_USB_AUDIO"} {
		if common[option] != "y" {
			t.Errorf("linux.fragment: %s is %q", option, common[option])
		}
	}
	for _, b := range flashed() {
		own := settings(t, filepath.Join(folder(b), "linux.fragment"))
		has := func(option string) bool { return own[option] == "y" || own[option] == "" && common[option] == "y" }
		for _, fact := range []string{b.Chip, b.Card} {
			if len(drivers[fact]) == 0 {
				t.Errorf("%s: which driver is for %q?", b.Name, fact)
			}
			for _, option := range drivers[fact] {
				if !has(option) {
					t.Errorf("%s: %q needs %s=y", b.Name, fact, option)
				}
			}
		}
		if n := len(slices.DeleteFunc(slices.Clone(watchdogs), func(o string) bool { return !has(o) })); (n == 1) != (b.Watchdog != "") {
			t.Errorf("%s: watchdog %q, and %d drivers of one", b.Name, b.Watchdog, n)
		}
	}
}

// byName are a board's lines as its device tree calls them.
func byName(b board.Board) map[string]int {
	lines := map[string]int{}
	for _, k := range b.Keys {
		lines["key-"+k.Key] = k.Line
	}
	for _, l := range b.Lamps {
		lines["lamp-"+l.Lamp] = l.Line
	}
	return lines
}

// The overlay compiles, and the lines have in it the names of the keys and lamps that Go says are on them.
func TestOverlayNamesTheLines(t *testing.T) {
	dtc := tool(t, "dtc")
	for _, b := range flashed() {
		if virtual(b) {
			continue
		}
		binary := filepath.Join(t.TempDir(), "parley.dtbo")
		source := filepath.Join(folder(b), "parley.dtso")
		if out, err := exec.Command(dtc, "-@", "-I", "dts", "-O", "dtb", "-o", binary, source).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v %s", source, err, out)
			continue
		}
		back, err := exec.Command(dtc, "-q", "-I", "dtb", "-O", "dts", binary).Output()
		if err != nil {
			t.Fatal(err)
		}
		names := lineNames(t, string(back))
		want := byName(b)
		for line, name := range names {
			if at, ours := want[name]; ours && at == line {
				delete(want, name)
			} else if ours || strings.HasPrefix(name, "key-") || strings.HasPrefix(name, "lamp-") {
				t.Errorf("%s: line %d is called %s", source, line, name)
			}
		}
		if len(want) > 0 {
			t.Errorf("%s: of %d names there are not: %v", source, len(names), want)
		}
	}
}

// lineNames is the value of the property gpio-line-names. dtc writes it as texts, or as bytes if there are empty ones in it.
func lineNames(t *testing.T, tree string) []string {
	t.Helper()
	m := regexp.MustCompile(`(?s)gpio-line-names = (.*?);\n`).FindStringSubmatch(tree)
	if m == nil {
		t.Fatal("no gpio-line-names")
	}
	if bytes, ok := strings.CutPrefix(m[1], "["); ok {
		b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSuffix(bytes, "]"), " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	}
	var names []string
	for _, q := range regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`).FindAllStringSubmatch(m[1], -1) {
		// "a\0b" are two.
		names = append(names, strings.Split(q[1], `\0`)...)
	}
	return names
}

// The Raspberry Pi's firmware pulls the keys up and keeps the lamps dark until the box takes the lines.
func TestRaspberryLinesBeforeTheBox(t *testing.T) {
	gpio := regexp.MustCompile(`(?m)^gpio=([0-9,]+)=(\S+)$`)
	for _, b := range flashed() {
		if !raspberry(b) {
			continue
		}
		got, want := map[string][]int{}, map[string][]int{}
		for _, m := range gpio.FindAllStringSubmatch(read(t, filepath.Join(folder(b), "config.txt")), -1) {
			for _, n := range strings.Split(m[1], ",") {
				line, _ := strconv.Atoi(n)
				got[m[2]] = append(got[m[2]], line)
			}
		}
		for _, k := range b.Keys {
			if !k.ActiveLow || k.Pull != board.PullUp {
				t.Errorf("%s: %+v", b.Name, k)
			}
			want["ip,pu"] = append(want["ip,pu"], k.Line)
		}
		for _, l := range b.Lamps {
			dark := map[bool]string{false: "op,dl", true: "op,dh"}[l.ActiveLow]
			want[dark] = append(want[dark], l.Line)
		}
		for how, lines := range want {
			slices.Sort(lines)
			if slices.Sort(got[how]); !slices.Equal(got[how], lines) {
				t.Errorf("%s: config.txt has %v as %s, want %v", b.Name, got[how], how, lines)
			}
			delete(got, how)
		}
		if len(got) > 0 {
			t.Errorf("%s: config.txt has more: %v", b.Name, got)
		}
	}
}

// The settings of the card that a board names are there under its name, or for all cards.
func TestMixerSettings(t *testing.T) {
	line := regexp.MustCompile(`^(?:#.*|'[A-Za-z0-9 ]+'|[A-Za-z0-9]+)(?: .*)?$`)
	for _, b := range flashed() {
		files, _ := filepath.Glob(filepath.Join(folder(b), "mixer", "*"))
		for _, f := range files {
			for _, l := range strings.Split(strings.TrimSpace(read(t, f)), "\n") {
				if !line.MatchString(l) || strings.ContainsAny(strings.SplitN(l, "#", 2)[0], "`$;&|<>\"\\") {
					t.Errorf("%s: %q", f, l)
				}
			}
		}
		if card, ok := strings.CutPrefix(b.Card, "plughw:CARD="); ok && card != "Device" {
			if _, err := os.Stat(filepath.Join(folder(b), "mixer", card)); err != nil {
				t.Errorf("%s: %v", b.Name, err)
			}
		}
	}
}

// The disk has the partitions that board.Layout names, in that order.
func TestDiskLayout(t *testing.T) {
	part := regexp.MustCompile(`(?m)^\tpartition (\S+) \{\n((?:\t\t.*\n)+)`)
	var layout []string
	for _, p := range board.Layout() {
		layout = append(layout, p.Label)
	}
	for _, b := range flashed() {
		text := read(t, filepath.Join(folder(b), "genimage.cfg"))
		var labels []string
		sizes := map[string]string{}
		for _, m := range part.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[2], "in-partition-table = false") {
				continue
			}
			labels = append(labels, m[1])
			if s := regexp.MustCompile(`size = (\S+)`).FindStringSubmatch(m[2]); s != nil {
				sizes[m[1]] = s[1]
			}
		}
		if !slices.Equal(labels, layout) {
			t.Errorf("%s: partitions %v, want %v", b.Name, labels, layout)
		}
		if sizes["kernel-a"] != sizes["kernel-b"] || sizes["root-a"] != sizes["root-b"] || sizes["state"] != "8M" {
			t.Errorf("%s: slots are not alike, or the boot state has no room for its second copy: %v", b.Name, sizes)
		}
		if strings.Count(text, "@DATA@") != 1 {
			t.Errorf("%s: the size of its data partition cannot be chosen", b.Name)
		}
		if !strings.Contains(text, "image parley-"+b.Name+".img {") {
			t.Errorf("%s: its image is called something else", b.Name)
		}
	}
}
