package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"parley/board"
	"parley/cmd/parley/config"
)

// Started as root with the setting `user`, the box does as root only what nobody else can, and begins anew as that user:
//
//	clock set forward (clock.go) → data folder given to the user → groups, capabilities, user → exec of itself
//
// What a thread may do is a matter of that thread; of the new program all threads have what the one had that began it. The
// user is that of the image's settings or of the file on the machine: whoever sets the box from outside cannot make it root.

// kept are the capabilities that stay: ports below 1024, the mixer's priority, memory that is not swapped out, and to restart the machine
// for other firmware.
func kept(b board.Board) []int {
	list := []int{unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_NICE, unix.CAP_IPC_LOCK}
	if b.Disk != "" {
		list = append(list, unix.CAP_SYS_BOOT)
	}
	return list
}

// useful are groups that open what a box needs, where the machine has them; devices, what to look at for others.
var (
	useful  = []string{"audio", "gpio", "watchdog"}
	devices = []string{"/dev/snd/pcm*", "/dev/gpiochip*", "/dev/watchdog*"}
)

// asRoot does what takes root before the box begins, and then goes on as another user if the settings name one. It returns nil where there is nothing to
// do, and where the settings cannot be read: whoever reads them for good says what is wrong with them.
func asRoot(file, folder string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	_, cfg, err := loadBase(file, folder)
	if err != nil {
		return nil
	}
	// A machine that people work on has a clock, or whoever looks after it.
	if b, err := board.Find(cfg.Board); err == nil && b.Disk != "" {
		did, err := setForward(time.Now(), readSmall(filepath.Join(cfg.Data, clockFile)))
		if err != nil {
			fmt.Fprintln(os.Stderr, "parley: the clock cannot be set forward:", err)
		} else if name, value, _ := strings.Cut(clockGuessed, "="); did {
			os.Setenv(name, value)
		}
	}
	args := os.Args
	if folder == "" { // the default is another one for another user
		args = append(slices.Clone(args), "-data", cfg.Data)
	}
	return shed(cfg, args, os.Environ())
}

// shed gives up what the box does not need. It returns nil if there is nothing to give up, and otherwise only if that failed; args and environ are
// those of the program that goes on.
func shed(cfg config.Config, args, environ []string) error {
	if os.Geteuid() != 0 || cfg.User == "" || cfg.User == "root" {
		return nil
	}
	who, err := findUser(cfg.User)
	if err == nil {
		err = giveFolder(cfg.Data, who)
	}
	if err == nil {
		var b board.Board
		if b, err = board.Find(cfg.Board); err == nil {
			err = become(who, kept(b))
		}
	}
	if err == nil {
		err = syscall.Exec("/proc/self/exe", args, environ)
	}
	return fmt.Errorf("setting `user`: the box cannot go on as %s: %w", cfg.User, err)
}

// user is whom the box becomes.
type user struct {
	uid, gid int
	groups   []int
}

var errNoUser = errors.New("there is no such user on this machine")

// findUser reads what the machine knows of a user.
func findUser(name string) (user, error) {
	lines, err := columns("/etc/passwd", 4)
	if err != nil {
		return user{}, err
	}
	for _, f := range lines {
		uid, e1 := strconv.Atoi(f[2])
		gid, e2 := strconv.Atoi(f[3])
		if f[0] != name || e1 != nil || e2 != nil || uid <= 0 || gid <= 0 {
			continue
		}
		return user{uid, gid, groupsOf(name, gid)}, nil
	}
	return user{}, errNoUser
}

// groupsOf lists the user's groups, and those that open the box's devices.
func groupsOf(name string, gid int) []int {
	list := []int{gid}
	lines, _ := columns("/etc/group", 4)
	for _, f := range lines {
		if slices.Contains(useful, f[0]) || slices.Contains(strings.Split(f[3], ","), name) {
			if id, err := strconv.Atoi(f[2]); err == nil {
				list = append(list, id)
			}
		}
	}
	for _, pattern := range devices {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o060 == 0o060 {
				list = append(list, int(info.Sys().(*syscall.Stat_t).Gid))
			}
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return slices.DeleteFunc(list, func(id int) bool { return id <= 0 })
}

// columns reads a file of lines with at least n fields between colons.
func columns(path string, n int) (list [][]string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Split(lines.Text(), ":"); len(fields) >= n {
			list = append(list, fields)
		}
	}
	return list, nil
}

// giveFolder makes the data folder the user's. What is somebody else's than root's already is left as it is: whoever owns it could have put
// anything there.
func giveFolder(dir string, who user) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Sys().(*syscall.Stat_t).Uid != 0 {
		return err
	}
	// The folder comes last: when something fails on the way, the next start finds it to be root's and tries again.
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		return os.Lchown(path, who.uid, who.gid)
	})
	if err == nil {
		err = os.Lchown(dir, who.uid, who.gid)
	}
	if errors.Is(err, syscall.EROFS) {
		return nil // the box tells that itself, and works all the same
	}
	return err
}

// become makes the calling thread the user's, with these capabilities and the promise never to have more. The thread stays locked to the goroutine.
func become(who user, caps []int) error {
	runtime.LockOSThread()
	prctl := func(option int, arg2, arg3 uintptr) error { return unix.Prctl(option, arg2, arg3, 0, 0) }
	for c := uintptr(0); c < 64; c++ {
		if !slices.Contains(caps, int(c)) {
			if err := prctl(unix.PR_CAPBSET_DROP, c, 0); err != nil && err != unix.EINVAL { // EINVAL: this kernel has no such capability
				return fmt.Errorf("capabilities: %w", err)
			}
		}
	}
	if err := prctl(unix.PR_SET_KEEPCAPS, 1, 0); err != nil {
		return err
	}
	if err := syscall.Setgroups(who.groups); err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	if err := syscall.Setresgid(who.gid, who.gid, who.gid); err != nil {
		return fmt.Errorf("group: %w", err)
	}
	if err := syscall.Setresuid(who.uid, who.uid, who.uid); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	if err := keepCapabilities(caps); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	return prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0)
}

// keepCapabilities has the calling thread hold these, as far as it has them, and no others; and so does the program that it begins.
func keepCapabilities(caps []int) error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have, want [2]unix.CapUserData
	if err := unix.Capget(&head, &have[0]); err != nil {
		return err
	}
	for _, c := range caps {
		want[c/32].Permitted |= have[c/32].Permitted & (1 << (c % 32))
	}
	for i := range want {
		want[i].Effective, want[i].Inheritable = want[i].Permitted, want[i].Permitted
	}
	if err := unix.Capset(&head, &want[0]); err != nil {
		return err
	}
	for _, c := range caps {
		if want[c/32].Permitted&(1<<(c%32)) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
			return err
		}
	}
	return nil
}
