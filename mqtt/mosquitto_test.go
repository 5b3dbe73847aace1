package mqtt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/mqtt/broker"
)

// mosquitto is a real broker of another maker, without memory.
type mosquitto struct {
	t    *testing.T
	addr string
	conf string
	cmd  *exec.Cmd
	log  bytes.Buffer
}

func findMosquitto(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("mosquitto is missing: apt-get install mosquitto")
	return ""
}

// startMosquitto runs one until the test's end. settings are lines for its configuration.
func startMosquitto(t *testing.T, settings ...string) *mosquitto {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mosquitto{t: t, addr: l.Addr().String(), conf: filepath.Join(t.TempDir(), "mosquitto.conf")}
	l.Close()
	_, port, _ := net.SplitHostPort(m.addr)
	lines := append([]string{"user " + userName(), "persistence false", "listener " + port + " 127.0.0.1"}, settings...)
	if err := os.WriteFile(m.conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(m.kill)
	return m
}

// userName keeps a mosquitto that root starts from changing to a user who cannot read the test's files.
func userName() string {
	if os.Geteuid() == 0 {
		return "root"
	}
	return "nobody" // without effect for who is not root
}

func (m *mosquitto) start() {
	m.t.Helper()
	m.cmd = exec.Command(findMosquitto(m.t), "-c", m.conf)
	m.cmd.Stdout, m.cmd.Stderr = &m.log, &m.log
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	eventually(m.t, "mosquitto", func() error {
		c, err := net.Dial("tcp", m.addr)
		if err == nil {
			c.Close()
		}
		return err
	})
}

func (m *mosquitto) kill() {
	if m.cmd != nil {
		m.cmd.Process.Kill()
		m.cmd.Wait()
		m.cmd = nil
	}
	if m.t.Failed() {
		m.t.Logf("mosquitto says:\n%s", &m.log)
	}
}

func (m *mosquitto) url() string { return "mqtt://" + m.addr }

func TestMosquittoWill(t *testing.T) {
	testWill(t, startMosquitto(t, "allow_anonymous true").url())
}

// mosquitto is killed, away for 5 s, and starts without its memory: the client is back within 10 s after the port opens,
// and every retained topic is told again.
func TestMosquittoRestarts(t *testing.T) {
	t.Parallel()
	m := startMosquitto(t, "allow_anonymous true")
	c, _ := run(t, Config{URL: m.url()})
	const topics = 50
	for i := range topics {
		c.Publish(fmt.Sprint("/r/", i), fmt.Append(nil, i), 1, true)
	}
	eventually(t, "told", func() error {
		if s := c.Stats(); s.Queued > 0 || !s.Connected {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	m.kill()
	killed := time.Now()
	eventually(t, "noticed", func() error {
		if c.Stats().Connected {
			return errors.New("still connected")
		}
		return nil
	})
	c.Publish("/r/0", []byte("changed"), 1, true)
	time.Sleep(time.Until(killed.Add(5 * time.Second)))
	m.start()
	opened := time.Now()
	connected(t, c)
	back := time.Since(opened)
	t.Logf("back %v after the port opened", back.Round(time.Millisecond))
	if back > 10*time.Second {
		t.Error("that is more than 10 s")
	}
	h := watch(t, m.url(), "/r/#")
	told := map[string]string{}
	for timeout := time.After(10 * time.Second); len(told) < topics || told["/r/0"] != "changed"; {
		select {
		case msg := <-h.ch:
			told[msg.Topic] = string(msg.Payload)
		case <-timeout:
			t.Fatalf("%d topics were told again, /r/0 is %q", len(told), told["/r/0"])
		}
	}
}

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.pool.AddCert(a.cert)
	return a
}

// issue makes a certificate with its key, also as PEM files in dir.
func (a *authority) issue(name, dir string) (tls.Certificate, string, string) {
	a.t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, _ := x509.MarshalPKCS8PrivateKey(key)
	certFile, keyFile := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	writePEM(a.t, certFile, "CERTIFICATE", der)
	writePEM(a.t, keyFile, "PRIVATE KEY", keyDER)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		a.t.Fatal(err)
	}
	return pair, certFile, keyFile
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// outcome runs a client until it is connected or has been told why not.
func outcome(t *testing.T, cfg Config) error {
	t.Helper()
	states := make(chan State, 100)
	_, stop := run(t, cfg, func(c *Client) { c.OnState(func(s State) { states <- s }) })
	defer stop()
	for timeout := time.After(15 * time.Second); ; {
		select {
		case s := <-states:
			if s.Connected || s.Err != nil {
				return s.Err
			}
		case <-timeout:
			t.Fatal("neither connected nor refused")
		}
	}
}

func TestMosquittoTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	caFile := filepath.Join(dir, "ca.crt")
	writePEM(t, caFile, "CERTIFICATE", ca.cert.Raw)
	_, cert, key := ca.issue("server", dir)
	box, _, _ := ca.issue("box-7", dir)
	stranger, _, _ := other.issue("stranger", dir)
	acl := filepath.Join(dir, "acl")
	os.WriteFile(acl, []byte("pattern readwrite /box/%u\n"), 0o600)
	m := startMosquitto(t, "cafile "+caFile, "certfile "+cert, "keyfile "+key, "require_certificate true",
		"use_identity_as_username true", "acl_file "+acl)
	url := "mqtts://" + m.addr
	if err := outcome(t, Config{URL: url, CA: ca.pool, Certificate: &box}); err != nil {
		t.Errorf("the right certificates: %v", err)
	}
	for name, cfg := range map[string]Config{
		"no certificate":          {URL: url, CA: ca.pool},
		"certificate of another":  {URL: url, CA: ca.pool, Certificate: &stranger},
		"server's CA not trusted": {URL: url, CA: other.pool, Certificate: &box},
		"the system's CAs":        {URL: url, Certificate: &box},
		"another name":            {URL: "mqtts://localhost:" + url[strings.LastIndex(url, ":")+1:], CA: ca.pool, Certificate: &box},
		"plain":                   {URL: "mqtt://" + m.addr},
	} {
		if err := outcome(t, cfg); err == nil {
			t.Errorf("%s: connected", name)
		}
	}
	// The certificate's name is the user's.
	got := make(chan Message, 10)
	c, _ := run(t, Config{URL: url, CA: ca.pool, Certificate: &box, ClientID: "any"}, func(c *Client) {
		c.Subscribe("/box/#", func(m Message) { got <- m })
	})
	c.Publish("/box/other", []byte("denied"), 1, false)
	c.Publish("/box/box-7", []byte("allowed"), 1, false)
	select {
	case msg := <-got:
		if string(msg.Payload) != "allowed" {
			t.Errorf("got %s", msg.Payload)
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing came")
	}
}

// Our own broker beyond loopback's rules: TLS, users, and a client with a password.
func TestOwnBrokerTLS(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, "ca")
	server, _, _ := ca.issue("server", dir)
	l, err := broker.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveConfig(t, broker.Config{
		Listeners: []broker.Listener{{Listener: l, TLS: &tls.Config{Certificates: []tls.Certificate{server}}}},
		Users:     map[string]string{"box": broker.HashPassword("secret")},
		Limits:    broker.Limits{FailedLoginPause: time.Millisecond},
	})
	url := "mqtts://" + l.Addr().String()
	if err := outcome(t, Config{URL: url, CA: ca.pool, User: "box", Password: "secret"}); err != nil {
		t.Error(err)
	}
	for name, cfg := range map[string]Config{
		"wrong password": {URL: url, CA: ca.pool, User: "box", Password: "x"},
		"no user":        {URL: url, CA: ca.pool},
		"not trusted":    {URL: url, User: "box", Password: "secret"},
		"plain":          {URL: "mqtt://" + l.Addr().String(), User: "box", Password: "secret"},
	} {
		if err := outcome(t, cfg); err == nil {
			t.Errorf("%s: connected", name)
		}
	}
}
