package provision

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"parley/mqtt/wire"
)

// Identity is who a box is to its operator: its keys, and what its enrolment gave. It outlives a factory reset, since an operator lets no
// other key enrol under the same name.
type Identity struct {
	TLS      *ecdsa.PrivateKey
	Seal     *ecdh.PrivateKey
	Enrolled *Enrolled // nil: it is not

	dir string
	fs  FS
}

// Enrolled is what an enrolment gave.
type Enrolled struct {
	Answer wire.EnrolAnswer `json:"answer"`
	Keys   []string         `json:"keys"` // of operators, those included by which the answer was believed
}

// The files of an identity.
const (
	tlsKeyFile   = "tls.key"
	sealKeyFile  = "seal.key"
	sealPubFile  = "seal.pub"
	enrolledFile = "enrolled.json"
)

// ErrIdentity: a file of the identity is not what it should be.
var ErrIdentity = errors.New("identity")

// OpenIdentity reads the identity in a folder; with make, keys that are not there are made, and kept before they are given. Without, they
// are nil then. fs nil is the machine's own.
func OpenIdentity(dir string, make bool, fs FS) (*Identity, error) {
	if fs == nil {
		fs = OS{}
	}
	id := &Identity{dir: dir, fs: fs}
	key, err := id.key(tlsKeyFile, make, func() (any, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) })
	if err != nil {
		return nil, err
	}
	id.TLS, _ = key.(*ecdsa.PrivateKey)
	if key, err = id.key(sealKeyFile, make, func() (any, error) { return ecdh.X25519().GenerateKey(rand.Reader) }); err != nil {
		return nil, err
	}
	id.Seal, _ = key.(*ecdh.PrivateKey)
	if make && (id.TLS == nil || id.Seal == nil) {
		return nil, fmt.Errorf("%w: a key in %s is of the wrong kind", ErrIdentity, dir)
	}
	if make { // for whoever seals secrets by hand; nobody here reads it
		id.keep(sealPubFile, []byte(wire.EncodeSealKey(id.Seal.PublicKey())+"\n"))
	}
	id.Enrolled, err = id.enrolled()
	return id, err
}

// key reads a private key in PKCS #8, or makes it. One that cannot be read is never replaced: the box would not be itself any more.
func (id *Identity) key(name string, make bool, generate func() (any, error)) (any, error) {
	b, err := id.fs.Read(filepath.Join(id.dir, name), maxIdentity)
	if err == nil {
		block, _ := pem.Decode(b)
		if block == nil {
			return nil, fmt.Errorf("%w: %s is damaged", ErrIdentity, filepath.Join(id.dir, name))
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrIdentity, filepath.Join(id.dir, name), err)
		}
		if k, ok := key.(*ecdsa.PrivateKey); ok && k.Curve != elliptic.P256() {
			return nil, nil
		}
		return key, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	if !make {
		return nil, nil
	}
	key, err := generate()
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := id.keep(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	return key, nil
}

const maxIdentity = 64 << 10 // bytes of one file

func (id *Identity) keep(name string, content []byte) error {
	if old, err := id.fs.Read(filepath.Join(id.dir, name), maxIdentity); err == nil && bytes.Equal(old, content) {
		return nil
	}
	s := Store{dir: id.dir, fs: id.fs}
	return s.replace(name, content)
}

// enrolled reads what an enrolment gave. What cannot be used is as if it were not there: the box asks again, and gets the same.
func (id *Identity) enrolled() (*Enrolled, error) {
	b, err := id.fs.Read(filepath.Join(id.dir, enrolledFile), maxIdentity)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var e Enrolled
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	if err == nil {
		err = e.Answer.Check()
	}
	if err == nil && e.Answer.Status != wire.EnrolAccepted {
		err = errors.New("was not accepted")
	}
	if err == nil && id.TLS != nil {
		_, err = pair(id.TLS, &e.Answer)
	}
	if err != nil || id.TLS == nil {
		return nil, nil
	}
	return &e, nil
}

// Keep keeps what an enrolment gave, whole.
func (id *Identity) Keep(e Enrolled) error {
	b, err := json.MarshalIndent(e, "", " ")
	if err != nil {
		return err
	}
	if err := id.keep(enrolledFile, b); err != nil {
		return fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	id.Enrolled = &e
	return nil
}

// Certificate is what an enrolled box shows to the broker, and CA who may have signed the broker's.
func (id *Identity) Certificate() (own tls.Certificate, ca *x509.CertPool, err error) {
	ca = x509.NewCertPool()
	ca.AppendCertsFromPEM([]byte(id.Enrolled.Answer.CA))
	own, err = pair(id.TLS, &id.Enrolled.Answer)
	return own, ca, err
}

// pair puts a certificate and its key together; another key's is refused.
func pair(key *ecdsa.PrivateKey, a *wire.EnrolAnswer) (tls.Certificate, error) {
	own := tls.Certificate{PrivateKey: key}
	for rest := []byte(a.Certificate); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		own.Certificate = append(own.Certificate, block.Bytes)
	}
	if len(own.Certificate) == 0 {
		return own, fmt.Errorf("%w: there is no certificate", ErrIdentity)
	}
	leaf, err := x509.ParseCertificate(own.Certificate[0])
	if err != nil {
		return own, fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return own, fmt.Errorf("%w: the certificate is for another key", ErrIdentity)
	}
	own.Leaf = leaf
	return own, nil
}
