package board

// orangePiPC is an Orange Pi PC (Allwinner H3) with its own microphone and its headphone jack. The chip counts 32 lines for each
// port: PA6 is 6, PC4 is 68. Keys are on port A, whose lines can interrupt; those of port C cannot, and carry the lamps. Keys
// connect the line with ground, lamps are LEDs with a resistor from the line to ground: lines float at reset.
func orangePiPC() Board {
	return Board{
		Name:  "orangepi-pc",
		Title: "Orange Pi PC with its own microphone and jack",
		Arch:  "armv7",
		Chip:  "1c20800.pinctrl",
		Keys: []KeyLine{
			{Key: "mute", Line: 6, Pin: "pin 7 (PA6)", ActiveLow: true, Pull: PullUp},
			{Key: "join", Line: 1, Pin: "pin 11 (PA1)", ActiveLow: true, Pull: PullUp},
			{Key: "volume-up", Line: 0, Pin: "pin 13 (PA0)", ActiveLow: true, Pull: PullUp},
			{Key: "volume-down", Line: 3, Pin: "pin 15 (PA3)", ActiveLow: true, Pull: PullUp},
			{Key: "reset", Line: 2, Pin: "pin 22 (PA2)", ActiveLow: true, Pull: PullUp},
		},
		Lamps: []LampLine{
			{Lamp: "mute", Line: 68, Pin: "pin 16 (PC4)"},
			{Lamp: "status", Line: 71, Pin: "pin 18 (PC7)"},
		},
		Card:     "plughw:CARD=Codec", // "H3 Audio Codec"
		Watchdog: "/dev/watchdog",     // sunxi-wdt, at most 16 s
		Disk:     "/dev/mmcblk0",
	}
}
