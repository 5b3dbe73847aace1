package wire

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrKeyFile: a key file is not what it should be. The error that wraps it says what is wrong.
var ErrKeyFile = errors.New("key file")

// KeySet holds the public keys whose signatures count, by key id.
type KeySet map[string]ed25519.PublicKey

// NewKeySet makes a set of keys.
func NewKeySet(keys ...ed25519.PublicKey) KeySet {
	set := KeySet{}
	for _, k := range keys {
		if len(k) == ed25519.PublicKeySize {
			set[KeyID(k)] = k
		}
	}
	return set
}

// KeyID is the name of a public key: the first 16 hexadecimal digits of its SHA-256.
func KeyID(pub ed25519.PublicKey) string {
	sum := sha256.Sum256(pub)
	return hex.EncodeToString(sum[:8])
}

// EncodePublicKey gives a public key as it stands in settings: base64 of its 32 bytes.
func EncodePublicKey(pub ed25519.PublicKey) string { return b64.EncodeToString(pub) }

// ParsePublicKey reads what EncodePublicKey writes.
func ParsePublicKey(s string) (ed25519.PublicKey, error) {
	b, err := b64Bytes(s, "key")
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: a public key is base64 of %d bytes", ErrKeyFile, ed25519.PublicKeySize)
	}
	return b, nil
}

const (
	pemType    = "PRIVATE KEY"
	maxKeyFile = 4 << 10
)

// CreateKey makes a key and writes it to path: PKCS #8 in PEM, mode 0600, whole or not at all. A file that is there
// already is left alone; the error then wraps fs.ErrExist.
func CreateKey(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := writeNew(path, pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	return key, nil
}

// writeNew makes a file with that content, on disk before its name is.
func writeNew(path string, content []byte) error {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(content)
	if err == nil {
		err = temp.Sync()
	}
	if e := temp.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	// A link fails where a rename would replace.
	if err := os.Link(temp.Name(), path); err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// LoadKey reads what CreateKey wrote. A file that others may read is refused.
func LoadKey(path string) (ed25519.PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s must be a file that only its owner may read (chmod 600)", ErrKeyFile, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != pemType {
		return nil, fmt.Errorf("%w: %s holds no %q in PEM", ErrKeyFile, path, pemType)
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKeyFile, path, err)
	}
	key, ok := any.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: %s is not an Ed25519 key", ErrKeyFile, path)
	}
	return key, nil
}

// LoadOrCreateKey loads the key at path, and makes it if there is none.
func LoadOrCreateKey(path string) (ed25519.PrivateKey, error) {
	key, err := LoadKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = CreateKey(path); errors.Is(err, fs.ErrExist) {
			return LoadKey(path)
		}
	}
	return key, err
}
