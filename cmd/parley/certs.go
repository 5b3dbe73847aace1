package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"

	"parley/cmd/parley/config"
)

// serverTLS is the TLS of a listener: the certificate of the settings, else one that the box made for itself and keeps in
// the data folder. With a CA, a client's certificate must be signed by it; whether there must be one says whoever calls.
func serverTLS(t config.TLS, d *data, setting string, client tls.ClientAuthType) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	var pair tls.Certificate
	var err error
	if t.Given() {
		if pair, err = tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
			return nil, fmt.Errorf("setting `%s`: %w", setting, err)
		}
	} else if pair, err = ownCertificate(d, time.Now()); err != nil {
		return nil, fmt.Errorf("the box's own certificate: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	if t.CA != "" {
		if c.ClientCAs, err = certPool(t.CA); err != nil {
			return nil, fmt.Errorf("setting `%s.ca`: %w", setting, err)
		}
		c.ClientAuth = client
	}
	return c, nil
}

// clientTLS is how we call others over TLS: with the certificate of the settings, if there is one, and trusting the CA of the
// settings, else those that the machine trusts.
func clientTLS(t config.TLS) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.Given() {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("setting `sip.tls`: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if t.CA != "" {
		pool, err := certPool(t.CA)
		if err != nil {
			return nil, fmt.Errorf("setting `sip.tls.ca`: %w", err)
		}
		c.RootCAs = pool
	}
	return c, nil
}

// certPool reads the certificates of a PEM file.
func certPool(path string) (*x509.CertPool, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return poolOf(raw, path)
}

func poolOf(raw []byte, where string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s has no certificate in PEM", where)
	}
	return pool, nil
}

// ownLife is how long a certificate of our own lasts; it is made anew when less than a tenth of that is left.
const ownLife = 10 * 365 * 24 * time.Hour

func ownCertificate(d *data, now time.Time) (tls.Certificate, error) {
	if pair, err := tls.LoadX509KeyPair(d.path("tls.pem"), d.path("tls.pem")); err == nil {
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		if err == nil && now.Before(leaf.NotAfter.Add(-ownLife/10)) {
			return pair, nil
		}
	}
	cert, key, err := signOwn(now)
	if err != nil {
		return tls.Certificate{}, err
	}
	// It is good for this run even if it cannot be kept.
	_ = d.write("tls.pem", string(cert)+string(key))
	return tls.X509KeyPair(cert, key)
}

// signOwn makes a certificate that vouches for nothing but itself. It is valid from long ago, since a box without a clock
// may think that it is 1970.
func signOwn(now time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "parley"},
		DNSNames:     []string{"localhost", hostname()},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     now.Add(ownLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}
