// Package token signs and verifies the tokens that say who somebody is and what he may do: JWT (RFC 7519), signed with
// EdDSA (RFC 8037) and nothing else.
//
// It must not know where keys are kept, nor what a right allows.
package token

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"parley/conference"
)

// LocalIssuer is the issuer of tokens that are signed with a box's own key.
const LocalIssuer = "parley"

const (
	// MaxLifetime is the longest that a token may hold.
	MaxLifetime = 24 * time.Hour
	// MaxLength is the longest token that is looked at, in bytes.
	MaxLength = 4096

	leeway    = 30 * time.Second // between our clock and the signer's
	maxRights = 64
)

// What a token can be refused for.
var (
	// ErrMalformed: no token, or one with claims that make no sense.
	ErrMalformed = errors.New("not a token")
	// ErrAlgorithm: signed with something else than EdDSA, or with a header that asks for more than that.
	ErrAlgorithm = errors.New("only tokens signed with EdDSA count")
	// ErrUnknownKey: no key that is known here has its key id.
	ErrUnknownKey = errors.New("signed with a key that is not known here")
	// ErrSignature: its key did not make its signature.
	ErrSignature = errors.New("the signature is wrong")
	// ErrExpired: its time is over.
	ErrExpired = errors.New("has expired")
	// ErrNotYet: its time has not begun.
	ErrNotYet = errors.New("does not hold yet")
	// ErrLifetime: it says not when it ends and was issued, or lasts for longer than MaxLifetime.
	ErrLifetime = errors.New("holds for too long")
	// ErrIssuer: issued by somebody who does not have that key.
	ErrIssuer = errors.New("issued by somebody else than the key's owner")
	// ErrAudience: meant for others.
	ErrAudience = errors.New("meant for another audience")
	// ErrRevoked: it was withdrawn.
	ErrRevoked = errors.New("has been revoked")
	// ErrClockUnset: the box does not know the time, so it cannot be judged.
	ErrClockUnset = errors.New("cannot be judged while the clock is not set")
)

// Role is in what capacity somebody holds a token.
type Role string

// The roles, each with the rights of the one before it and more.
const (
	Guest Role = "guest" // a participant
	Host  Role = "host"  // runs conferences, and makes them
	Admin Role = "admin" // a host in whose name conferences are made for others, and who cleans up
)

// Rights lists what a role may do.
func (r Role) Rights() []conference.Right {
	switch r {
	case Guest:
		return conference.Guest.Rights()
	case Host, Admin:
		return append(conference.Chair.Rights(), conference.RightCreate)
	}
	return nil
}

// Claims are what a token says.
type Claims struct {
	ID         string   // jti: names this token; Sign makes one if it is empty
	Issuer     string   // iss
	Audience   []string // aud: an enterprise's id or a box's name
	Subject    string   // sub: whose it is, a number as a rule
	Name       string   // for people; to be escaped wherever it is shown
	Role       Role
	Limits     []conference.Right // rights: if not nil, these and no others, whatever the role has
	Conference string             // conf: number or uid of the only conference for which it counts; empty: any
	Key        ed25519.PublicKey  // cnf (RFC 7800): whose signature goes with it where one is asked for; may be nil
	IssuedAt   time.Time
	NotBefore  time.Time // zero: from IssuedAt on
	Expires    time.Time
}

// Rights is what the token allows in the conferences that it Covers.
func (c *Claims) Rights() []conference.Right {
	if c.Limits != nil {
		return slices.Clone(c.Limits)
	}
	return c.Role.Rights()
}

// Has tells whether r is among Rights.
func (c *Claims) Has(r conference.Right) bool { return slices.Contains(c.Rights(), r) }

// Covers tells whether the token counts for the conference with that number and uid. One that names a number counts for
// whatever conference has it: for one that is not standing, the uid is the better name.
func (c *Claims) Covers(number, uid string) bool {
	return c.Conference == "" || c.Conference == uid || c.Conference == number
}

// May lists the rights that a token gives in a conference: none in one that it does not cover.
func (c *Claims) May(number, uid string) []conference.Right {
	if !c.Covers(number, uid) {
		return nil
	}
	return c.Rights()
}

// body is how claims travel.
type body struct {
	jwt.RegisteredClaims
	Name       string             `json:"name,omitempty"`
	Role       Role               `json:"role"`
	Rights     []conference.Right `json:"rights,omitzero"`
	Conference string             `json:"conf,omitempty"`
	Confirm    *confirm           `json:"cnf,omitempty"`
}

type confirm struct {
	JWK jwk `json:"jwk"`
}

type jwk struct {
	Type  string `json:"kty"`
	Curve string `json:"crv"`
	X     string `json:"x"`
}

// KeyID is the name of a key, `kid` in a token's header: the first 16 hexadecimal digits of its SHA-256.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// Sign makes a token. The error says which claim would be refused by Verify.
func Sign(c Claims, key ed25519.PrivateKey) (string, error) {
	if c.ID == "" {
		c.ID = rand.Text()
	}
	if len(key) != ed25519.PrivateKeySize {
		return "", fmt.Errorf("%w: no key to sign with", ErrMalformed)
	}
	if err := c.check(); err != nil {
		return "", err
	}
	b := body{
		RegisteredClaims: jwt.RegisteredClaims{ID: c.ID, Issuer: c.Issuer, Audience: c.Audience, Subject: c.Subject,
			IssuedAt: jwt.NewNumericDate(c.IssuedAt), ExpiresAt: jwt.NewNumericDate(c.Expires)},
		Name: c.Name, Role: c.Role, Rights: c.Limits, Conference: c.Conference,
	}
	if !c.NotBefore.IsZero() {
		b.NotBefore = jwt.NewNumericDate(c.NotBefore)
	}
	if c.Key != nil {
		b.Confirm = &confirm{jwk{"OKP", "Ed25519", base64.RawURLEncoding.EncodeToString(c.Key)}}
	}
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, &b)
	t.Header["kid"] = KeyID(key.Public().(ed25519.PublicKey))
	s, err := t.SignedString(key)
	if err == nil && len(s) > MaxLength {
		err = fmt.Errorf("%w: %d bytes, %d at most", ErrMalformed, len(s), MaxLength)
	}
	return s, err
}

// check tells which claim makes no sense, whatever the time.
func (c *Claims) check() error {
	lifetime := c.Expires.Sub(c.IssuedAt)
	switch {
	case !plain(c.ID, 1, 64, "-._"):
		return fmt.Errorf("%w: jti", ErrMalformed)
	case !plain(c.Subject, 1, 64, "-._:"):
		return fmt.Errorf("%w: sub: want 1 to 64 of a-z, A-Z, 0-9 and -._:", ErrMalformed)
	case !plain(c.Conference, 0, 64, "-._"):
		return fmt.Errorf("%w: conf", ErrMalformed)
	case c.Role.Rights() == nil:
		return fmt.Errorf("%w: role: want guest, host or admin", ErrMalformed)
	case len(c.Limits) > maxRights || slices.ContainsFunc(c.Limits, func(r conference.Right) bool { return !Admin.has(r) }):
		return fmt.Errorf("%w: rights: names one that there is not", ErrMalformed)
	case len(c.Name) > 128 || strings.ContainsFunc(c.Name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%w: name", ErrMalformed)
	case c.IssuedAt.IsZero() || c.Expires.IsZero() || lifetime <= 0 || lifetime > MaxLifetime:
		return fmt.Errorf("%w: %s at most, and iat and exp are required", ErrLifetime, MaxLifetime)
	case c.Key != nil && len(c.Key) != ed25519.PublicKeySize:
		return fmt.Errorf("%w: cnf", ErrMalformed)
	}
	return nil
}

func (r Role) has(right conference.Right) bool { return slices.Contains(r.Rights(), right) }

// plain tells whether s has least to most characters, all of them letters and digits of ASCII or among others.
func plain(s string, least, most int, others string) bool {
	return len(s) >= least && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune(others, r)
	})
}
