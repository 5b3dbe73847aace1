package board

// rpi4 is a Raspberry Pi 4 with keys and lamps on its header. The lines leave I2C, SPI, UART and I2S (a sound HAT) free.
// Keys connect the line with ground. Lamps are LEDs with a resistor from the line to ground; theirs are lines that the
// chip pulls down at reset, so that they are dark until the box says otherwise.
func rpi4() Board {
	return Board{
		Name:  "rpi4",
		Title: "Raspberry Pi 4, keys and lamps on the header, USB speakerphone",
		Chip:  "pinctrl-bcm2711",
		Keys: []KeyLine{
			{Key: "mute", Line: 17, ActiveLow: true, Pull: PullUp},        // pin 11
			{Key: "join", Line: 27, ActiveLow: true, Pull: PullUp},        // pin 13
			{Key: "volume-up", Line: 22, ActiveLow: true, Pull: PullUp},   // pin 15
			{Key: "volume-down", Line: 23, ActiveLow: true, Pull: PullUp}, // pin 16
			{Key: "reset", Line: 24, ActiveLow: true, Pull: PullUp},       // pin 18
		},
		Lamps: []LampLine{
			{Lamp: "mute", Line: 12},   // pin 32
			{Lamp: "status", Line: 13}, // pin 33
		},
		Card: "plughw:CARD=Device", // what most USB sound chips are called; the Pi itself has no microphone
	}
}
