package phonetest

import (
	"encoding/csv"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// SIPPConfig says what sipp does. The zero value is not usable: Scenario must be given.
type SIPPConfig struct {
	Scenario  string // XML; Caller and Answerer make the usual ones
	Remote    string // "host:port" to call; "" waits for calls
	Host      string // its own address; 127.0.0.1
	Transport string // "udp" (default), or "tcp" on one connection
	Service   string // the number that it calls, [service] in the scenario; "service"
	Calls     int    // it ends after so many; 1
	User      string // for [authentication]
	Password  string
	Keys      map[string]string // [name] in the scenario becomes the value
	Timeout   time.Duration     // after which it gives up; 60 s
	Args      []string          // more arguments
}

// SIPP is Debian's sipp 3.6.1 running one scenario. It cannot record, and it knows no TLS.
type SIPP struct {
	*Process
	cfg  SIPPConfig
	dir  string
	port int
}

// StartSIPP starts sipp; one that waits for calls is ready when this returns.
func StartSIPP(t testing.TB, cfg SIPPConfig) *SIPP {
	t.Helper()
	setDefault(&cfg.Host, "127.0.0.1")
	setDefault(&cfg.Transport, "udp")
	setDefault(&cfg.Service, "service")
	if cfg.Calls == 0 {
		cfg.Calls = 1
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	s := &SIPP{cfg: cfg, dir: t.TempDir(), port: PortBlock(t)}
	scenario := filepath.Join(s.dir, "scenario.xml")
	if err := os.WriteFile(scenario, []byte(cfg.Scenario), 0o600); err != nil {
		t.Fatal(err)
	}
	mode, ok := map[string]string{"udp": "u1", "tcp": "t1"}[cfg.Transport]
	if !ok {
		t.Fatalf("sipp cannot do %q", cfg.Transport)
	}
	args := []string{
		"-sf", scenario, "-t", mode, "-i", cfg.Host, "-p", strconv.Itoa(s.port), "-mi", cfg.Host, "-mp", strconv.Itoa(s.MediaPort()),
		"-ci", "127.0.0.1", "-cp", strconv.Itoa(s.port + 2), "-s", cfg.Service, "-m", strconv.Itoa(cfg.Calls), "-nostdin",
		"-timeout", fmt.Sprintf("%ds", int(cfg.Timeout.Seconds())), "-timeout_error",
		"-trace_err", "-error_file", filepath.Join(s.dir, "errors"), "-trace_msg", "-message_file", filepath.Join(s.dir, "messages"),
		"-trace_stat", "-stf", filepath.Join(s.dir, "stat.csv"), "-fd", "1",
	}
	if cfg.User != "" {
		// By itself sipp puts a URI without the user into its digest, which is then one for something else (RFC 7616, 3.4.6).
		args = append(args, "-au", cfg.User, "-ap", cfg.Password, "-auth_uri", cfg.Service+"@"+cfg.Remote)
	}
	for name, value := range cfg.Keys {
		args = append(args, "-key", name, value)
	}
	args = append(args, cfg.Args...)
	if cfg.Remote != "" {
		args = append(args, cfg.Remote)
	}
	t.Cleanup(func() { // runs after the process has been stopped
		if t.Failed() {
			t.Logf("sipp's errors:\n%s", s.Errors())
		}
	})
	s.Process = Start(t, s.dir, "sipp", args...)
	if cfg.Remote == "" {
		Eventually(t, 30*time.Second, "sipp listens", s.listens)
	}
	return s
}

// listens tells whether the port is taken: sipp says nowhere that it is ready. To try the port would keep sipp from having it.
func (s *SIPP) listens() bool {
	const listening = "0A"
	port := fmt.Sprintf(":%04X", s.port)
	for _, table := range []string{"/proc/net/" + s.cfg.Transport, "/proc/net/" + s.cfg.Transport + "6"} {
		raw, _ := os.ReadFile(table)
		for _, line := range strings.Split(string(raw), "\n") {
			fields := strings.Fields(line)
			if len(fields) > 3 && strings.HasSuffix(fields[1], port) && (s.cfg.Transport == "udp" || fields[3] == listening) {
				return true
			}
		}
	}
	return false
}

// Addr is where it sends SIP from and takes it.
func (s *SIPP) Addr() string { return net.JoinHostPort(s.cfg.Host, strconv.Itoa(s.port)) }

// MediaPort is [media_port] in the scenario. sipp binds it only if the scenario or -rtp_echo plays media.
func (s *SIPP) MediaPort() int { return s.port + 10 }

// Succeed waits until sipp has ended and fails the test unless all its calls went as the scenario says.
func (s *SIPP) Succeed(timeout time.Duration) {
	s.t.Helper()
	if code := s.Wait(timeout); code != 0 {
		s.t.Fatalf("sipp ended with %d (%d calls went well, %d did not):\n%s",
			code, s.Stat("SuccessfulCall(C)"), s.Stat("FailedCall(C)"), s.Errors())
	}
}

// Errors is what it did not expect.
func (s *SIPP) Errors() string { return s.read("errors") }

// Messages is all SIP that it sent and received.
func (s *SIPP) Messages() string { return s.read("messages") }

func (s *SIPP) read(name string) string {
	raw, _ := os.ReadFile(filepath.Join(s.dir, name))
	return string(raw)
}

// Stat is a counter of sipp's statistics, such as "SuccessfulCall(C)" or "Retransmissions(C)", as of its last second; −1 if
// there is none.
func (s *SIPP) Stat(name string) int {
	r := csv.NewReader(strings.NewReader(s.read("stat.csv")))
	r.Comma, r.FieldsPerRecord, r.LazyQuotes = ';', -1, true
	rows, err := r.ReadAll()
	if err != nil || len(rows) < 2 {
		return -1
	}
	for i, column := range rows[0] {
		last := rows[len(rows)-1]
		if column == name && i < len(last) {
			if n, err := strconv.Atoi(last[i]); err == nil {
				return n
			}
		}
	}
	return -1
}
