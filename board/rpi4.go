package board

// raspberry is what Raspberry Pis with a header of 40 pins have in common: keys and lamps on the header. The lines leave I2C, SPI,
// UART and I2S (a sound HAT) free. Keys connect the line with ground. Lamps are LEDs with a resistor from the line to ground;
// theirs are lines that the chip pulls down at reset, so that they are dark until the box says otherwise.
func raspberry(b Board) Board {
	b.Keys = []KeyLine{
		{Key: "mute", Line: 17, Pin: "pin 11", ActiveLow: true, Pull: PullUp},
		{Key: "join", Line: 27, Pin: "pin 13", ActiveLow: true, Pull: PullUp},
		{Key: "volume-up", Line: 22, Pin: "pin 15", ActiveLow: true, Pull: PullUp},
		{Key: "volume-down", Line: 23, Pin: "pin 16", ActiveLow: true, Pull: PullUp},
		{Key: "reset", Line: 24, Pin: "pin 18", ActiveLow: true, Pull: PullUp},
	}
	b.Lamps = []LampLine{
		{Lamp: "mute", Line: 12, Pin: "pin 32"},
		{Lamp: "status", Line: 13, Pin: "pin 33"},
	}
	b.Card = "plughw:CARD=Device" // what most USB sound chips are called; the Pi itself has no microphone
	b.Watchdog = "/dev/watchdog"  // bcm2835_wdt, at most 15 s
	b.Disk = "/dev/mmcblk0"
	return b
}

// rpi4 is a Raspberry Pi 4 in 64 bits.
func rpi4() Board {
	return raspberry(Board{
		Name:  "rpi4",
		Title: "Raspberry Pi 4 with a USB speakerphone",
		Arch:  "arm64",
		Chip:  "pinctrl-bcm2711",
	})
}
