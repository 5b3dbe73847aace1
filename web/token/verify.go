package token

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Revoked tells which tokens have been withdrawn. It is asked from several goroutines and must not block.
type Revoked interface {
	// Revoked tells whether the token with that id does not count any more.
	Revoked(id string) bool
}

// Key is a public key that signs tokens, and whose it is.
type Key struct {
	Public ed25519.PublicKey
	Issuer string // the only one that may stand in its tokens
}

// Config is what a Verifier stands on.
type Config struct {
	Keys     []Key            // several at once while one follows another
	Audience []string         // a token must name one of them: the enterprise, the box
	Revoked  Revoked          // nil: none ever
	Now      func() time.Time // nil: time.Now
	ClockSet func() bool      // nil: it always is
}

// Verifier verifies tokens, from any goroutine.
type Verifier struct {
	config Config
	keys   map[string]Key
	parser *jwt.Parser
}

// NewVerifier is a verifier. Without keys it refuses every token.
func NewVerifier(c Config) *Verifier {
	if c.Now == nil {
		c.Now = time.Now
	}
	v := &Verifier{config: c, keys: map[string]Key{}}
	for _, k := range c.Keys {
		if len(k.Public) == ed25519.PublicKeySize {
			v.keys[KeyID(k.Public)] = k
		}
	}
	v.parser = jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithAudience(c.Audience...),
		jwt.WithLeeway(leeway), jwt.WithTimeFunc(c.Now), jwt.WithIssuedAt(), jwt.WithExpirationRequired(), jwt.WithStrictDecoding())
	return v
}

// Verify reads a token and believes it only if a key that is known has signed it, for this audience and this time. The
// error wraps one of this package's.
func (v *Verifier) Verify(token string) (Claims, error) {
	if len(token) == 0 || len(token) > MaxLength || len(v.config.Audience) == 0 {
		return Claims{}, ErrMalformed
	}
	if v.config.ClockSet != nil && !v.config.ClockSet() {
		return Claims{}, ErrClockUnset
	}
	var b body
	var signer Key
	_, err := v.parser.ParseWithClaims(token, &b, func(t *jwt.Token) (any, error) {
		var err error
		signer, err = v.keyFor(t.Header)
		return signer.Public, err
	})
	switch {
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing) && len(b.Audience) == 0:
		return Claims{}, ErrAudience
	case err != nil:
		return Claims{}, named(err)
	}
	if b.Issuer != signer.Issuer {
		return Claims{}, ErrIssuer
	}
	c, err := b.claims()
	if err != nil {
		return Claims{}, err
	}
	if v.config.Revoked != nil && v.config.Revoked.Revoked(c.ID) {
		return Claims{}, ErrRevoked
	}
	return c, nil
}

// keyFor finds the key by its id. A header that names anything else, such as a key of its own or an extension that must be
// understood (RFC 7515, section 4.1.11), is none that Sign writes.
func (v *Verifier) keyFor(header map[string]any) (Key, error) {
	for name, value := range header {
		if name != "alg" && name != "kid" && (name != "typ" || value != "JWT") {
			return Key{}, ErrAlgorithm
		}
	}
	id, _ := header["kid"].(string)
	key, ok := v.keys[id]
	if !ok {
		return Key{}, ErrUnknownKey
	}
	return key, nil
}

// named finds our name for what the library found.
func named(err error) error {
	for _, n := range []struct{ theirs, ours error }{
		{ErrUnknownKey, ErrUnknownKey},
		{ErrAlgorithm, ErrAlgorithm},
		{jwt.ErrTokenMalformed, ErrMalformed},
		{jwt.ErrTokenExpired, ErrExpired},
		{jwt.ErrTokenRequiredClaimMissing, ErrLifetime},
		{jwt.ErrTokenNotValidYet, ErrNotYet},
		{jwt.ErrTokenUsedBeforeIssued, ErrNotYet},
		{jwt.ErrTokenInvalidAudience, ErrAudience},
		{jwt.ErrEd25519Verification, ErrSignature},
		{jwt.ErrTokenSignatureInvalid, ErrAlgorithm}, // without the one before: the method is not in the list
		{jwt.ErrTokenUnverifiable, ErrAlgorithm},
	} {
		if errors.Is(err, n.theirs) {
			return n.ours
		}
	}
	return ErrMalformed
}

func (b *body) claims() (Claims, error) {
	c := Claims{ID: b.ID, Issuer: b.Issuer, Audience: b.Audience, Subject: b.Subject, Name: b.Name, Role: b.Role,
		Limits: b.Rights, Conference: b.Conference, Expires: b.ExpiresAt.Time}
	if b.IssuedAt != nil {
		c.IssuedAt = b.IssuedAt.Time
	}
	if b.NotBefore != nil {
		c.NotBefore = b.NotBefore.Time
	}
	if b.Confirm != nil {
		x, err := base64.RawURLEncoding.Strict().DecodeString(b.Confirm.JWK.X)
		if err != nil || len(x) != ed25519.PublicKeySize || b.Confirm.JWK.Type != "OKP" || b.Confirm.JWK.Curve != "Ed25519" {
			return c, fmt.Errorf("%w: cnf", ErrMalformed)
		}
		c.Key = x
	}
	return c, c.check()
}

// Revocations is a Revoked that is kept in memory. The zero value has none.
type Revocations struct {
	mu    sync.Mutex // holds until
	until map[string]time.Time
}

// maxRevoked bounds Revocations; beyond it those go first whose tokens end soonest.
const maxRevoked = 4096

// Revoke withdraws the token with that id; until is when it would have ended.
func (r *Revocations) Revoke(id string, until, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = map[string]time.Time{}
	}
	soonest := ""
	for old, end := range r.until {
		if now.After(end.Add(leeway)) {
			delete(r.until, old)
		} else if soonest == "" || end.Before(r.until[soonest]) {
			soonest = old
		}
	}
	if len(r.until) >= maxRevoked {
		delete(r.until, soonest)
	}
	r.until[id] = until
}

// Revoked tells whether the token with that id was withdrawn.
func (r *Revocations) Revoked(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, gone := r.until[id]
	return gone
}
