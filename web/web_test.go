package web_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"go.uber.org/goleak"

	"parley/web"
)

// start runs a server on a free port, and ends it with the test.
func start(t *testing.T, c web.Config) (base string, client *http.Client) {
	t.Helper()
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	s := web.New(c)
	if s.Addr() != nil || s.URL() != "" {
		t.Error("a server at rest has an address")
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		goleak.VerifyNone(t)
	})
	if scheme, _, _ := strings.Cut(s.URL(), ":"); (scheme == "https") != (c.TLS != nil) {
		t.Errorf("URL %s", s.URL())
	}
	return s.URL(), &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func ask(t *testing.T, client *http.Client, method, url string, head ...string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(head) == 2 {
		r.SetBasicAuth(head[0], head[1])
	}
	a, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, a.Header, string(body)
}

func TestHealthAndReadiness(t *testing.T) {
	var down atomic.Bool
	broker := web.Check{Name: "broker", Probe: func() error {
		if down.Load() {
			return errors.New("no connection to <mqtt>")
		}
		return nil
	}}
	base, client := start(t, web.Config{Box: "hq<12>", Version: "1.2", Ready: []web.Check{{Name: "sip", Probe: func() error { return nil }}, broker}})
	check := func(path string, code int, ok bool, reason string) {
		t.Helper()
		got, head, body := ask(t, client, "GET", base+path)
		var r web.Report
		if err := json.Unmarshal([]byte(body), &r); err != nil || got != code || r.OK != ok || !strings.HasPrefix(head.Get("Content-Type"), "application/json") {
			t.Errorf("%s: %d %s (%v)", path, got, body, err)
		}
		for _, c := range r.Checks {
			if c.Name == "broker" && (c.OK != ok || c.Reason != reason) {
				t.Errorf("%s: %+v", path, c)
			}
		}
	}
	check("/healthz", 200, true, "")
	check("/readyz", 200, true, "")
	down.Store(true)
	check("/healthz", 200, true, "")
	check("/readyz", 503, false, "no connection to <mqtt>")
	_, head, page := ask(t, client, "GET", base+"/")
	if !strings.Contains(page, "hq&lt;12&gt;") || !strings.Contains(page, "not ready") || !strings.Contains(page, "no connection to &lt;mqtt&gt;") || head.Get("Content-Security-Policy") == "" {
		t.Errorf("index: %s", page)
	}
}

func TestNotAlive(t *testing.T) {
	base, client := start(t, web.Config{Live: []web.Check{{Name: "mixer", Probe: func() error { return errors.New("no tick for 3 s") }}}})
	if code, _, body := ask(t, client, "GET", base+"/healthz"); code != 503 || !strings.Contains(body, "no tick for 3 s") {
		t.Errorf("%d %s", code, body)
	}
}

func TestMetrics(t *testing.T) {
	set := metrics.NewSet()
	set.NewCounter(`parley_calls_total{dir="in"}`).Add(7)
	base, client := start(t, web.Config{Set: set})
	code, head, body := ask(t, client, "GET", base+"/metrics")
	if code != 200 || !strings.Contains(body, "parley_calls_total{dir=\"in\"} 7\n") || !strings.Contains(body, "go_goroutines ") || !strings.HasPrefix(head.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("%d %v\n%s", code, head, body)
	}
}

// It only answers: nothing but GET and HEAD, nothing but its pages.
func TestMethodsAndPaths(t *testing.T) {
	base, client := start(t, web.Config{})
	for _, path := range []string{"/", "/healthz", "/readyz", "/metrics"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
			if code, head, _ := ask(t, client, method, base+path); code != 405 || head.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d", method, path, code)
			}
		}
		if code, head, body := ask(t, client, "HEAD", base+path); code != 200 || body != "" || head.Get("Content-Length") == "0" {
			t.Errorf("HEAD %s: %d %q", path, code, body)
		}
	}
	for _, path := range []string{"/x", "/metrics/", "/debug/pprof/", "/..%2fetc/passwd"} {
		if code, _, _ := ask(t, client, "GET", base+path); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestUsersAndTLS(t *testing.T) {
	base, client := start(t, web.Config{TLS: certificate(t), Users: []web.User{{"ann", "pw"}, {"bob", "other"}}})
	for _, x := range []struct {
		user, password string
		code           int
	}{{"ann", "pw", 200}, {"bob", "other", 200}, {"ann", "other", 401}, {"ann", "", 401}, {"", "", 401}, {"eve", "pw", 401}} {
		code, head, body := ask(t, client, "GET", base+"/metrics", x.user, x.password)
		if code != x.code || (code == 401) != strings.HasPrefix(head.Get("WWW-Authenticate"), "Basic ") || code == 401 && strings.Contains(body, "go_") {
			t.Errorf("%s:%s: %d", x.user, x.password, code)
		}
	}
	if code, _, _ := ask(t, client, "GET", base+"/readyz"); code != 401 {
		t.Errorf("without a name: %d", code)
	}
}

// X-7b: beyond loopback only with TLS and users.
func TestExposed(t *testing.T) {
	users := []web.User{{"a", "b"}}
	for _, c := range []web.Config{{}, {TLS: certificate(t)}, {Users: users}} {
		for _, c.Listen = range []string{"0.0.0.0:0", ":0"} {
			if err := web.New(c).Run(context.Background()); !errors.Is(err, web.ErrExposed) {
				t.Errorf("%s, TLS %v, users %v: %v", c.Listen, c.TLS != nil, c.Users, err)
			}
		}
	}
	s := web.New(web.Config{Listen: "127.0.0.1:0"})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	taken := s.Addr().String()
	if err := web.New(web.Config{Listen: taken}).Listen(); err == nil || !strings.Contains(err.Error(), taken) {
		t.Errorf("a port that is taken: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	s.Run(ctx)
}

// Strangers' requests are bounded.
func TestBounds(t *testing.T) {
	base, client := start(t, web.Config{})
	r, _ := http.NewRequest("GET", base+"/healthz", nil)
	r.Header.Set("X", strings.Repeat("x", 64<<10))
	a, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if a.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 64 kB: %d", a.StatusCode)
	}

	// Connections beyond the bound wait, and are served when others go.
	addr := strings.TrimPrefix(base, "http://")
	var idle []net.Conn
	for range 64 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		idle = append(idle, c)
	}
	for i, c := range idle[:60] { // at most one of the 64 slots is the client's own idle connection
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
			t.Fatalf("connection %d: %q %v", i, line, err)
		}
	}
	late, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	fmt.Fprint(late, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	for _, c := range idle {
		c.Close()
	}
	client.CloseIdleConnections()
	late.SetDeadline(time.Now().Add(10 * time.Second))
	if line, err := bufio.NewReader(late).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Errorf("the one that waited: %q %v", line, err)
	}
}

func certificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
