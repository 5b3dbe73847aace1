package main

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// holderOf names the process that listens on a port, such as "mosquitto (PID 4711)", or says that it cannot be told.
// network is "tcp" or "udp".
func holderOf(network string, addr netip.AddrPort) string {
	inodes := listeners(network, addr.Port())
	if len(inodes) == 0 {
		return "a process that cannot be named"
	}
	sockets, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range sockets {
		target, err := os.Readlink(fd)
		if err != nil || !inodes[target] {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		return fmt.Sprintf("%s (PID %s)", strings.TrimSpace(string(name)), pid)
	}
	return "a process of another user"
}

// listeners finds the sockets bound to a local port, as /proc/PID/fd shows them: "socket:[12345]".
func listeners(network string, port uint16) map[string]bool {
	const listening = "0A" // TCP_LISTEN; a UDP socket has no such state
	found := map[string]bool{}
	for _, table := range []string{"/proc/net/" + network, "/proc/net/" + network + "6"} {
		file, err := os.Open(table)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			field := strings.Fields(lines.Text())
			if len(field) < 10 || !strings.HasSuffix(field[1], fmt.Sprintf(":%04X", port)) {
				continue
			}
			if network == "udp" || field[3] == listening {
				found["socket:["+field[9]+"]"] = true
			}
		}
		file.Close()
	}
	return found
}
