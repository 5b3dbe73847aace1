package fleet

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Names of users at the broker, from the certificates' common names. No box may have one of them.
const (
	operatorName = "operator"
	claimName    = "claim"
)

// Certificates are valid from long ago, since a box without a clock believes in the time at which its program was built, and for
// longer than devices last: there is no renewal.
var (
	validFrom = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	validTo   = time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte // of cert
}

// makeCertificates makes the authority and what it signs for all but the boxes.
func (f *Fleet) makeCertificates() error {
	key, err := f.newKey("ca/ca.key")
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: "Parley fleet " + f.EID}, NotBefore: validFrom, NotAfter: validTo,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	if err := f.write("ca/ca.pem", certPEM(der)); err != nil {
		return err
	}
	for name, file := range map[string]string{operatorName: "mqtt/operator", claimName: "claim/claim"} {
		if err := f.issueWithKey(file, clientTemplate(name)); err != nil {
			return err
		}
	}
	return f.makeServer()
}

// makeServer makes the broker's certificate.
func (f *Fleet) makeServer() error {
	server := &x509.Certificate{Subject: pkix.Name{CommonName: f.Hosts[0]}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, h := range f.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, h)
		}
	}
	return f.issueWithKey("broker/server", server)
}

// clientTemplate is a certificate that is good for clients only: a box of the fleet cannot play the broker with its own.
func clientTemplate(name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
}

// issueWithKey makes a key and a certificate for it: file.key and file.pem.
func (f *Fleet) issueWithKey(file string, template *x509.Certificate) error {
	key, err := f.newKey(file + ".key")
	if err != nil {
		return err
	}
	a, err := f.authority()
	if err != nil {
		return err
	}
	cert, err := a.issue(template, key.Public())
	if err != nil {
		return err
	}
	return f.write(file+".pem", cert)
}

// issue signs a certificate for a public key and gives it as PEM.
func (a *authority) issue(template *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
	template.SerialNumber, template.NotBefore, template.NotAfter = newSerial(), validFrom, validTo
	template.KeyUsage, template.BasicConstraintsValid = x509.KeyUsageDigitalSignature, true
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, pub, a.key)
	if err != nil {
		return nil, err
	}
	return certPEM(der), nil
}

func (f *Fleet) authority() (*authority, error) {
	raw, err := f.read("ca/ca.pem")
	if err != nil {
		return nil, err
	}
	cert, err := parseCert(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path("ca/ca.pem"), err)
	}
	secret, err := f.read("ca/ca.key")
	if err != nil {
		return nil, err
	}
	key, err := parseKey(secret)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path("ca/ca.key"), err)
	}
	return &authority{cert: cert, key: key, pem: raw}, nil
}

// revoke writes the list of certificates that count no more; the broker reads it.
func (f *Fleet) revoke(serials []*big.Int, now time.Time) error {
	a, err := f.authority()
	if err != nil {
		return err
	}
	list := &x509.RevocationList{Number: big.NewInt(now.UnixNano()), ThisUpdate: validFrom, NextUpdate: validTo}
	for _, s := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: s, RevocationTime: now})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		return err
	}
	return f.write("broker/crl.pem", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

func (f *Fleet) newKey(file string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, f.write(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func newSerial() *big.Int {
	serial := make([]byte, 16)
	rand.Read(serial) // never fails
	serial[0] &= 0x7f
	return new(big.Int).SetBytes(serial)
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func parseCert(raw []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%w: no certificate in PEM", ErrInvalid)
	}
	return x509.ParseCertificate(block.Bytes)
}

func parseKey(raw []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%w: no private key in PEM", ErrInvalid)
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := any.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: not a key that signs", ErrInvalid)
	}
	return key, nil
}
