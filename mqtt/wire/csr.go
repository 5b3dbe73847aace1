package wire

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
)

// NewCSR makes EnrolRequest.CSR for a box's key. It names the key to which secrets are sealed, so that nobody who has caught a request can
// send it again with a sealing key of his own.
func NewCSR(key crypto.Signer, box, seal string) (string, error) {
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: box, OrganizationalUnit: []string{seal}}}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// OpenCSR takes the CSR of a request that has been decoded apart: it is signed by its own key, which is an ECDSA one on P-256, and
// is for this box and this sealing key.
func (r *EnrolRequest) OpenCSR() (*x509.CertificateRequest, error) {
	block, rest := pem.Decode([]byte(r.CSR))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, invalid("csr", "want one request")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, invalid("csr", "%s", printable(err.Error(), maxDetail))
	}
	pub, ok := csr.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok || pub.Curve != elliptic.P256():
		return nil, invalid("csr", "want an ECDSA key on P-256")
	case csr.CheckSignature() != nil:
		return nil, invalid("csr", "is not signed by its own key")
	case csr.Subject.CommonName != r.Box:
		return nil, invalid("csr", "its common name is not the box's")
	case !slices.Equal(csr.Subject.OrganizationalUnit, []string{r.Seal}):
		return nil, invalid("csr", "its organizational unit is not the sealing key")
	}
	return csr, nil
}
