package wire

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
)

// What an envelope can be refused for.
var (
	// ErrUnsigned: there is no signature.
	ErrUnsigned = errors.New("unsigned")
	// ErrUnknownKey: none of the signatures is of a key that is known.
	ErrUnknownKey = errors.New("unknown key")
	// ErrBadSignature: a signature names a key that is known, and is not its.
	ErrBadSignature = errors.New("bad signature")
)

// maxSignatures is how many signatures of an envelope are looked at; one more is an error.
const maxSignatures = 4

// Envelope carries exact bytes and the signatures over them.
type Envelope struct {
	Payload    string      `json:"payload"` // base64 (RFC 4648, section 4, with padding) of the bytes that were signed
	Signatures []Signature `json:"signatures"`
}

// Signature is one Ed25519 signature (RFC 8032).
type Signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"` // base64, 64 bytes
}

// base64 with padding, refusing bits that do not belong: one text for one value.
var b64 = base64.StdEncoding.Strict()

// Check tells what is wrong with the values, short of the signatures' truth.
func (e *Envelope) Check() error {
	if len(e.Signatures) > maxSignatures {
		return invalid("signatures", "%d at most", maxSignatures)
	}
	if _, err := b64Bytes(e.Payload, "payload"); err != nil {
		return err
	}
	for i, s := range e.Signatures {
		at := fmt.Sprintf("signatures[%d].", i)
		if err := text(at+"keyid", s.KeyID, 1, 64); err != nil {
			return err
		}
		sig, err := b64Bytes(s.Sig, at+"sig")
		if err != nil {
			return err
		}
		if len(sig) != ed25519.SignatureSize {
			return invalid(at+"sig", "want base64 of %d bytes", ed25519.SignatureSize)
		}
	}
	return nil
}

func (e *Envelope) fill() {
	if e.Signatures == nil {
		e.Signatures = []Signature{}
	}
}

// b64Bytes also refuses the line breaks that the standard decoder passes over.
func b64Bytes(s, path string) ([]byte, error) {
	b, err := b64.DecodeString(s)
	if err != nil || s == "" || b64.EncodedLen(len(b)) != len(s) {
		return nil, invalid(path, "want base64 with padding, without breaks")
	}
	return b, nil
}

// Sign puts payload into an envelope with one signature for each key.
func Sign(payload []byte, keys ...ed25519.PrivateKey) ([]byte, error) {
	e := Envelope{Payload: b64.EncodeToString(payload)}
	for _, k := range keys {
		if len(k) != ed25519.PrivateKeySize {
			return nil, fmt.Errorf("%w: not an Ed25519 key", ErrUnknownKey)
		}
		e.Signatures = append(e.Signatures, Signature{
			KeyID: KeyID(k.Public().(ed25519.PublicKey)),
			Sig:   b64.EncodeToString(ed25519.Sign(k, payload)),
		})
	}
	if len(e.Signatures) == 0 {
		return nil, ErrUnsigned
	}
	return Encode(&e)
}

// SignCommand checks a command and puts it into an envelope.
func SignCommand(c Command, keys ...ed25519.PrivateKey) ([]byte, error) {
	payload, err := Encode(&c)
	if err != nil {
		return nil, err
	}
	return Sign(payload, keys...)
}

// Verify takes an envelope apart and gives the bytes that were signed, and by which key. Every signature of a key that is
// known must be right; one such is enough. Errors wrap ErrUnsigned, ErrUnknownKey or ErrBadSignature, or are a *FieldError.
func Verify(b []byte, keys KeySet) (payload []byte, keyID string, err error) {
	var e Envelope
	if err := Decode(b, &e); err != nil {
		return nil, "", err
	}
	if payload, err = b64Bytes(e.Payload, "payload"); err != nil {
		return nil, "", err
	}
	if len(e.Signatures) == 0 {
		return payload, "", ErrUnsigned
	}
	for _, s := range e.Signatures {
		pub, ok := keys[s.KeyID]
		if !ok {
			continue
		}
		sig, _ := b64Bytes(s.Sig, "sig")
		if !ed25519.Verify(pub, payload, sig) {
			return payload, "", fmt.Errorf("%w: key %s", ErrBadSignature, s.KeyID)
		}
		keyID = s.KeyID
	}
	if keyID == "" {
		return payload, "", ErrUnknownKey
	}
	return payload, keyID, nil
}
