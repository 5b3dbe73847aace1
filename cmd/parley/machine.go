package main

import (
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"parley/cmd/parley/config"
)

// maxPiece is how much of one file stands in a support bundle.
const maxPiece = 32 << 10

// hider takes the settings' secrets out of a text. Short ones are left: they are words of ordinary lines, too.
func hider(cfg config.Config) *strings.Replacer {
	var pairs []string
	for _, s := range cfg.Hidden() {
		if len(s) >= 6 {
			pairs = append(pairs, s, "(secret)")
		}
	}
	return strings.NewReplacer(pairs...)
}

// aboutFolder are the sections about a data folder: what is in it by name and size, and what is there of the last misfortune.
func aboutFolder(dir string, hide *strings.Replacer) []section {
	list := []section{{"data folder", func(w io.Writer) { tellFolder(w, dir) }}}
	for _, name := range []string{lastStall, lastStall + toldName, lastCrash, lastCrash + toldName} {
		list = append(list, section{name, func(w io.Writer) {
			var text strings.Builder
			copyPiece(&text, filepath.Join(dir, name))
			hide.WriteString(w, text.String())
		}})
	}
	return list
}

// tellFolder lists a folder's entries, with how much is below each, and how full its disk is.
func tellFolder(w io.Writer, dir string) {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintf(w, "disk: %d of %d kB free, %d of %d files, read-only %v\n", disk.Bavail*uint64(disk.Bsize)/1000, disk.Blocks*uint64(disk.Bsize)/1000,
		disk.Ffree, disk.Files, disk.Flags&unix.ST_RDONLY != 0)
	entries, err := os.ReadDir(dir)
	if err != nil {
		fmt.Fprintln(w, err)
	}
	for _, e := range entries {
		var files int
		var bytes int64
		filepath.WalkDir(filepath.Join(dir, e.Name()), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if info, err := d.Info(); err == nil {
					files, bytes = files+1, bytes+info.Size()
				}
			}
			if files > 10000 {
				return fs.SkipAll
			}
			return nil
		})
		fmt.Fprintf(w, "%s: %d files, %d bytes\n", e.Name(), files, bytes)
	}
}

// aboutMachine are the sections about what the box runs on, as far as it is let know.
func aboutMachine() []section {
	return []section{
		{"machine", tellMachine},
		{"network", tellNetwork},
		{"kernel's log", tellKernelLog},
	}
}

func tellMachine(w io.Writer) {
	for _, path := range []string{"/proc/version", "/proc/cmdline", "/proc/uptime", "/proc/loadavg", "/proc/meminfo", "/proc/self/status",
		"/proc/mounts", "/proc/asound/cards", "/proc/pressure/cpu", "/proc/pressure/io", "/sys/class/thermal/thermal_zone0/temp"} {
		fmt.Fprintf(w, "-- %s\n", path)
		copyPiece(w, path)
	}
}

func tellNetwork(w io.Writer) {
	list, err := net.Interfaces()
	if err != nil {
		fmt.Fprintln(w, err)
	}
	for _, i := range list {
		addrs, _ := i.Addrs()
		fmt.Fprintf(w, "%s: %s, mtu %d, %s, %v\n", i.Name, i.HardwareAddr, i.MTU, i.Flags, addrs)
	}
	for _, path := range []string{"/proc/net/dev", "/proc/net/snmp", "/etc/resolv.conf"} {
		fmt.Fprintf(w, "-- %s\n", path)
		copyPiece(w, path)
	}
}

// copyPiece writes the beginning of a file, or why there is none.
func copyPiece(w io.Writer, path string) {
	f, err := os.Open(path)
	if err != nil {
		fmt.Fprintln(w, err)
		return
	}
	defer f.Close()
	io.Copy(w, io.LimitReader(f, maxPiece))
}

// tellKernelLog writes the latest messages of the kernel, where it shows them to us.
func tellKernelLog(w io.Writer) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		fmt.Fprintln(w, "/dev/kmsg:", err)
		return
	}
	defer unix.Close(fd)
	var kept []byte
	record := make([]byte, 8<<10)
	for range 100_000 { // a kernel that talks without end is not waited for
		n, err := unix.Read(fd, record)
		if err == unix.EPIPE || err == unix.EINTR {
			continue // some were overwritten meanwhile
		}
		if err != nil || n <= 0 {
			break
		}
		kept = append(kept, record[:n]...)
		if len(kept) > 2*maxPiece {
			kept = append(kept[:0], kept[len(kept)-maxPiece:]...)
		}
	}
	w.Write(kept[max(0, len(kept)-maxPiece):])
}
