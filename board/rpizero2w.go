package board

// rpiZero2W is a Raspberry Pi Zero 2 W in 32 bits, since it has 512 MB. Its one USB port is for the speakerphone, through an adapter;
// its network is wireless.
func rpiZero2W() Board {
	return raspberry(Board{
		Name:  "rpi-zero2w",
		Title: "Raspberry Pi Zero 2 W with a USB speakerphone",
		Arch:  "armv7",
		Chip:  "pinctrl-bcm2835", // a BCM2710: the driver's first generation
	})
}
