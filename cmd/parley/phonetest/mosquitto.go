package phonetest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// MosquittoConfig says what broker a Mosquitto is. The zero value is open to everybody on 127.0.0.1 and forgets all when it ends.
type MosquittoConfig struct {
	Users       map[string]string // name -> password; none: anonymous
	ACL         string            // an acl_file's text
	Identity    *Identity         // TLS with this certificate
	ClientCerts bool              // clients must show a certificate of the same CA, whose common name is their user name
	Extra       []string          // more lines of its configuration
}

// Mosquitto is Debian's broker on a port of its own, which it keeps through Stop, Kill and Start.
type Mosquitto struct {
	t       testing.TB
	cfg     MosquittoConfig
	dir     string
	port    int
	process *Process

	subscribers int
}

// StartMosquitto starts a broker and waits until it takes connections.
func StartMosquitto(t testing.TB, cfg MosquittoConfig) *Mosquitto {
	t.Helper()
	m := &Mosquitto{t: t, cfg: cfg, dir: t.TempDir(), port: PortBlock(t)}
	m.configure()
	m.Start()
	return m
}

func (m *Mosquitto) configure() {
	m.t.Helper()
	lines := []string{
		"log_dest stderr", "log_type all", "persistence false", "max_queued_messages 10000",
		fmt.Sprintf("listener %d 127.0.0.1", m.port),
	}
	// As root it would become user mosquitto and could no longer read its files.
	if os.Getuid() == 0 {
		lines = append([]string{"user root"}, lines...)
	}
	if len(m.cfg.Users) == 0 {
		lines = append(lines, "allow_anonymous true")
	} else {
		lines = append(lines, "allow_anonymous false", "password_file "+m.passwords())
	}
	if m.cfg.ACL != "" {
		path := filepath.Join(m.dir, "acl")
		m.write(path, m.cfg.ACL)
		lines = append(lines, "acl_file "+path)
	}
	if id := m.cfg.Identity; id != nil {
		lines = append(lines, "cafile "+id.CA, "certfile "+id.Cert, "keyfile "+id.Key)
		if m.cfg.ClientCerts {
			lines = append(lines, "require_certificate true", "use_identity_as_username true")
		}
	}
	lines = append(lines, m.cfg.Extra...)
	m.write(filepath.Join(m.dir, "conf"), strings.Join(lines, "\n")+"\n")
}

// passwords makes the password file with mosquitto's own tool.
func (m *Mosquitto) passwords() string {
	m.t.Helper()
	path := filepath.Join(m.dir, "passwords")
	var text strings.Builder
	for name, password := range m.cfg.Users {
		fmt.Fprintf(&text, "%s:%s\n", name, password)
	}
	m.write(path, text.String())
	if out, err := exec.Command(Need(m.t, "mosquitto_passwd"), "-U", path).CombinedOutput(); err != nil {
		m.t.Fatalf("mosquitto_passwd: %v: %s", err, out)
	}
	return path
}

func (m *Mosquitto) write(path, text string) {
	m.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// Start starts it (again), on the same port, and waits until it takes connections.
func (m *Mosquitto) Start() {
	m.t.Helper()
	m.process = Start(m.t, m.dir, "mosquitto", "-c", filepath.Join(m.dir, "conf"))
	m.process.WaitLine("mosquitto version", 30*time.Second)
	TakesConnections(m.t, "mosquitto", m.Addr())
}

// Stop ends it in order: clients see their connections close.
func (m *Mosquitto) Stop() { m.process.Stop() }

// Kill ends it as kill −9 does.
func (m *Mosquitto) Kill() { m.process.Kill() }

// Addr is its host and port.
func (m *Mosquitto) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(m.port)) }

// URL is its address, with mqtt:// or mqtts://.
func (m *Mosquitto) URL() string {
	if m.cfg.Identity != nil {
		return "mqtts://" + m.Addr()
	}
	return "mqtt://" + m.Addr()
}

// Lines is its log so far: every connection, packet and refusal.
func (m *Mosquitto) Lines() []string { return m.process.Lines() }

// WaitLine waits for a line of its log.
func (m *Mosquitto) WaitLine(text string, timeout time.Duration) string {
	m.t.Helper()
	return m.process.WaitLine(text, timeout)
}

// Client returns the arguments that mosquitto_pub and mosquitto_sub need to get in, as this user.
func (m *Mosquitto) Client(user string) []string {
	args := []string{"-h", "127.0.0.1", "-p", strconv.Itoa(m.port)}
	if password, ok := m.cfg.Users[user]; ok {
		args = append(args, "-u", user, "-P", password)
	}
	if m.cfg.Identity != nil {
		args = append(args, "--cafile", m.cfg.Identity.CA)
	}
	return args
}

// Publish publishes with mosquitto_pub and waits until it has ended.
func (m *Mosquitto) Publish(user, topic, payload string, more ...string) {
	m.t.Helper()
	args := append(m.Client(user), "-q", "1", "-t", topic, "-m", payload)
	if out, err := exec.Command(Need(m.t, "mosquitto_pub"), append(args, more...)...).CombinedOutput(); err != nil {
		m.t.Fatalf("mosquitto_pub %s: %v: %s", topic, err, out)
	}
}

// Subscribe runs mosquitto_sub, which prints "topic payload" for each message; it is at rest in the broker when this returns.
func (m *Mosquitto) Subscribe(user, topic string, more ...string) *Process {
	m.t.Helper()
	m.subscribers++
	id := fmt.Sprintf("subscriber-%d", m.subscribers)
	args := append(m.Client(user), "-i", id, "-q", "1", "-v", "-t", topic)
	p := Start(m.t, m.dir, "mosquitto_sub", append(args, more...)...)
	m.WaitLine("Sending SUBACK to "+id, 10*time.Second)
	return p
}
