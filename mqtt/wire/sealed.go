package wire

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// ErrSealed: a sealed secret cannot be opened: it was sealed to another box, for another place in the settings, or was changed.
var ErrSealed = errors.New("the seal cannot be opened")

// MaxSecret is the longest secret that can be sealed, in bytes.
const MaxSecret = 4096

// Place is where a sealed secret belongs: it can be opened for nothing else.
type Place struct {
	EID, Box string
	Key      string // full name of the setting, such as sip.upstreams[0].password
}

func (p Place) data() []byte { return []byte("parley-sealed-1|" + p.EID + "|" + p.Box + "|" + p.Key) }

// Seal hides a secret from everybody but the box whose public X25519 key to is. The text is base64 of an ephemeral public key
// and what AES-256-GCM makes of the secret, under a key derived of both (HKDF-SHA256), with the place as associated data.
func Seal(to *ecdh.PublicKey, p Place, secret []byte) (string, error) {
	if to == nil || to.Curve() != ecdh.X25519() {
		return "", fmt.Errorf("%w: not an X25519 key", ErrKeyFile)
	}
	if len(secret) == 0 || len(secret) > MaxSecret {
		return "", invalid(p.Key, "a secret has 1 to %d bytes", MaxSecret)
	}
	once, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	shared, err := once.ECDH(to)
	if err != nil {
		return "", err
	}
	aead, err := sealing(shared, once.PublicKey(), to, p)
	if err != nil {
		return "", err
	}
	return b64.EncodeToString(aead.Seal(once.PublicKey().Bytes(), make([]byte, aead.NonceSize()), secret, p.data())), nil
}

// OpenSealed gives what was sealed to key for that place. The error wraps ErrSealed.
func OpenSealed(key *ecdh.PrivateKey, p Place, sealed string) ([]byte, error) {
	const head = 32 // of the ephemeral key
	if len(sealed) > b64.EncodedLen(head+MaxSecret+16) {
		return nil, fmt.Errorf("%w: too long", ErrSealed)
	}
	raw, err := b64Bytes(sealed, p.Key)
	if err != nil || len(raw) <= head {
		return nil, fmt.Errorf("%w: not base64, or too short", ErrSealed)
	}
	once, err := ecdh.X25519().NewPublicKey(raw[:head])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	shared, err := key.ECDH(once)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	aead, err := sealing(shared, once, key.PublicKey(), p)
	if err != nil {
		return nil, err
	}
	secret, err := aead.Open(nil, make([]byte, aead.NonceSize()), raw[head:], p.data())
	if err != nil {
		return nil, fmt.Errorf("%w: sealed to another box, for another place, or changed", ErrSealed)
	}
	return secret, nil
}

// sealing is the cipher of one secret. Its key is used once, so that its nonce may be zero.
func sealing(shared []byte, once, to *ecdh.PublicKey, p Place) (cipher.AEAD, error) {
	salt := append(append([]byte(nil), once.Bytes()...), to.Bytes()...)
	key, err := hkdf.Key(sha256.New, shared, salt, string(p.data()), 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// EncodeSealKey gives a public X25519 key as it travels: base64 of its 32 bytes.
func EncodeSealKey(pub *ecdh.PublicKey) string { return b64.EncodeToString(pub.Bytes()) }

// ParseSealKey reads what EncodeSealKey writes.
func ParseSealKey(s string) (*ecdh.PublicKey, error) {
	b, err := b64Bytes(s, "seal")
	if err != nil {
		return nil, fmt.Errorf("%w: a public X25519 key is base64 of 32 bytes", ErrKeyFile)
	}
	pub, err := ecdh.X25519().NewPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	return pub, nil
}
