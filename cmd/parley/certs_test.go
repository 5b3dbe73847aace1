package main

import (
	"crypto/tls"
	"maps"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"parley/cmd/parley/config"
)

// X-7b: with a CA in the settings, nobody without a certificate of it reaches broker or HTTP; a phone may still prove itself by
// its password.
func TestClientCertificates(t *testing.T) {
	server, client := ownPEM(t), ownPEM(t)
	stranger := ownPEM(t)
	for _, x := range []struct {
		name   string
		policy tls.ClientAuthType
		shown  string // file of the client's certificate
		want   bool
	}{
		{"broker or HTTP, the right one", tls.RequireAndVerifyClientCert, client, true},
		{"broker or HTTP, none", tls.RequireAndVerifyClientCert, "", false},
		{"broker or HTTP, a stranger's", tls.RequireAndVerifyClientCert, stranger, false},
		{"SIP, the right one", tls.VerifyClientCertIfGiven, client, true},
		{"SIP, none", tls.VerifyClientCertIfGiven, "", true},
		{"SIP, a stranger's", tls.VerifyClientCertIfGiven, stranger, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			conf, err := serverTLS(config.TLS{Cert: server, Key: server, CA: client}, nil, "x.tls", x.policy)
			if err != nil {
				t.Fatal(err)
			}
			if got := shakesHands(t, conf, x.shown); got != x.want {
				t.Errorf("let in: %v, want %v", got, x.want)
			}
		})
	}
}

// ownPEM makes a certificate that signed itself, with its key, and returns the file.
func ownPEM(t *testing.T) string {
	t.Helper()
	cert, key, err := signOwn(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.pem")
	if err := os.WriteFile(file, append(cert, key...), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// shakesHands tells whether a server lets in a client that shows the certificate in a file, or none.
func shakesHands(t *testing.T, conf *tls.Config, shown string) bool {
	t.Helper()
	theirs := &tls.Config{InsecureSkipVerify: true}
	if shown != "" {
		pair, err := tls.LoadX509KeyPair(shown, shown)
		if err != nil {
			t.Fatal(err)
		}
		// It is shown whatever the server asks for.
		theirs.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	a, b := net.Pipe()
	defer a.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer b.Close()
		client := tls.Client(b, theirs)
		if client.Handshake() == nil {
			client.Read(make([]byte, 1)) // the server's judgement comes after the client's
		}
	}()
	err := tls.Server(a, conf).Handshake()
	a.Close()
	<-done
	return err == nil
}

// X-7b: servers that we know may come in by certificate, phones and strangers not.
func TestPeers(t *testing.T) {
	got := peers(config.SIP{
		Users:     []config.User{{Name: "201"}},
		Upstreams: []config.Upstream{{Name: "pbx", Registrar: "PBX.example.com:5061", Proxy: "sip:edge.example.com;transport=tls"}},
		Routes:    []config.Route{{Gateways: []string{"pbx", "sip:gw.example.com"}}},
	})
	want := map[string]string{"pbx.example.com": "pbx", "edge.example.com": "pbx", "gw.example.com": "sip:gw.example.com"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
