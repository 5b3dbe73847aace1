package config

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// boxName is a name that stays the same on one machine and differs between machines. What it is made of is hashed: a
// machine's id is not to be published.
func boxName() string {
	for _, file := range []string{"/sys/firmware/devicetree/base/serial-number", "/etc/machine-id", "/var/lib/dbus/machine-id"} {
		data, err := readBounded(file, 256)
		id := strings.Trim(string(data), "\x00 \r\n")
		if err == nil && len(id) >= 8 && strings.Trim(id, "0") != "" {
			return nameFrom(id)
		}
	}
	if list, err := net.Interfaces(); err == nil {
		for _, i := range list {
			if i.Flags&net.FlagLoopback == 0 && len(i.HardwareAddr) >= 6 {
				return nameFrom(i.HardwareAddr.String())
			}
		}
	}
	if host, err := os.Hostname(); err == nil && host != "" {
		return nameFrom(host)
	}
	return "parley"
}

// Serial is the number that the maker has given the board; empty if it says none.
func Serial() string {
	data, _ := readBounded("/sys/firmware/devicetree/base/serial-number", 256)
	id := strings.Trim(string(data), "\x00 \r\n")
	if len(id) > 64 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return id
}

func nameFrom(id string) string {
	mac := hmac.New(sha256.New, []byte("parley box name"))
	mac.Write([]byte(id))
	return "parley-" + hex.EncodeToString(mac.Sum(nil)[:4])
}

// dataFolder is where the system wants state to be kept.
func dataFolder(env func(string) string) string {
	if os.Geteuid() == 0 {
		return "/var/lib/parley"
	}
	if dir := env("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "parley")
	}
	if home := env("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "parley")
	}
	return "data"
}

// everywhere is the address that stands for all of the machine's: IPv4 ones are in :: too, but a kernel without IPv6 does
// not know it.
func everywhere() string {
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		return "0.0.0.0"
	}
	return "::"
}
