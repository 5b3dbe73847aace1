package watchdog

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Supervisor is who started the program and wants to hear from it, as systemd does (sd_notify(3)). The zero value is nobody, who hears
// nothing.
type Supervisor struct {
	socket string
	every  time.Duration
}

// TakeSupervisor reads who it is from the environment, and leaves it there: another program in the same process has the same one.
func TakeSupervisor() Supervisor {
	s := Supervisor{socket: os.Getenv("NOTIFY_SOCKET")}
	if strings.HasPrefix(s.socket, "@") { // an abstract one
		s.socket = "\x00" + s.socket[1:]
	}
	us, err := strconv.ParseUint(os.Getenv("WATCHDOG_USEC"), 10, 63)
	pid := os.Getenv("WATCHDOG_PID")
	if err == nil && us > 0 && s.socket != "" && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		s.every = time.Duration(us) * time.Microsecond / 2
	}
	return s
}

// Fed is how often it wants to be told that all is well; 0: never.
func (s Supervisor) Fed() time.Duration { return s.every }

// Tell sends a state, such as "READY=1", "WATCHDOG=1" or "STOPPING=1".
func (s Supervisor) Tell(state string) error {
	if s.socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	_, err = c.Write([]byte(state))
	return err
}
