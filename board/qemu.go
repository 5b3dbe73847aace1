package board

// qemu is QEMU's machine "virt" with its one PL061 of eight lines. Line 3 is the machine's power key. The chip has no bias; the
// machine pulls lines low that nobody drives, so that a key is pressed when it is high. Its sound card is snd-aloop or whatever
// else is loaded, its watchdog softdog.
func qemu(name, title, arch string) Board {
	return Board{
		Name:  name,
		Title: title,
		Arch:  arch,
		Chip:  "9030000.pl061",
		Keys: []KeyLine{
			{Key: "mute", Line: 0, Pin: "line 0"},
			{Key: "join", Line: 1, Pin: "line 1"},
			{Key: "volume-up", Line: 2, Pin: "line 2"},
			{Key: "volume-down", Line: 4, Pin: "line 4"},
			{Key: "reset", Line: 5, Pin: "line 5"},
		},
		Lamps: []LampLine{
			{Lamp: "mute", Line: 6, Pin: "line 6"},
			{Lamp: "status", Line: 7, Pin: "line 7"},
		},
		Card:     "auto",
		Watchdog: "/dev/watchdog",
		Disk:     "/dev/vda",
	}
}

func qemuArm() Board { return qemu("qemu-arm", "QEMU virt, 32 bits", "armv7") }

func qemuArm64() Board { return qemu("qemu-arm64", "QEMU virt, 64 bits", "arm64") }
