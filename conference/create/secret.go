package create

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// rounds is the cost of a password: chosen so that one look takes less than 100 ms on a small ARM.
// Digits are guessed fast once a hash is stolen, whatever the cost; what protects them first is that the file is closed.
const (
	rounds    = 8192
	maxRounds = 1 << 20
	saltLen   = 16
	scheme    = "pbkdf2-sha256"
)

// ErrSecret: a text is no secret that MarshalText wrote.
var ErrSecret = errors.New("not a hashed password")

// Secret is a password that can be compared and not read. The zero value matches nothing. It prints as "[hidden]";
// MarshalText alone gives the hash, for the journal.
type Secret struct {
	rounds    int
	salt, sum []byte
}

// Hash makes a secret of a password, with a salt of its own. It takes tens of milliseconds on a small ARM: not to be called
// where others wait.
func Hash(password string) Secret {
	salt := make([]byte, saltLen)
	rand.Read(salt) // never fails: the program ends instead
	return Secret{rounds, salt, derive(password, salt, rounds)}
}

func derive(password string, salt []byte, rounds int) []byte {
	sum, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil { // only in FIPS mode, for a short salt
		return nil
	}
	return sum
}

// Given tells whether there is a password at all.
func (s Secret) Given() bool { return len(s.sum) > 0 }

// Matches tells whether password is the one, in a time that does not tell how near it was. It costs as much as Hash.
func (s Secret) Matches(password string) bool {
	return s.Given() && len(password) <= 64 && subtle.ConstantTimeCompare(derive(password, s.salt, s.rounds), s.sum) == 1
}

// MarshalText gives the hash in the form scheme$rounds$salt$sum, or nothing for the zero value.
func (s Secret) MarshalText() ([]byte, error) {
	if !s.Given() {
		return []byte{}, nil
	}
	b64 := base64.RawStdEncoding.EncodeToString
	return []byte(strings.Join([]string{scheme, strconv.Itoa(s.rounds), b64(s.salt), b64(s.sum)}, "$")), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *Secret) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*s = Secret{}
		return nil
	}
	parts := bytes.Split(text[:min(len(text), 128)], []byte("$"))
	if len(parts) != 4 || string(parts[0]) != scheme {
		return ErrSecret
	}
	n, err := strconv.Atoi(string(parts[1]))
	if err != nil || n < 1 || n > maxRounds {
		return fmt.Errorf("%w: rounds", ErrSecret)
	}
	salt, err1 := base64.RawStdEncoding.Strict().DecodeString(string(parts[2]))
	sum, err2 := base64.RawStdEncoding.Strict().DecodeString(string(parts[3]))
	if err1 != nil || err2 != nil || len(salt) != saltLen || len(sum) != sha256.Size {
		return fmt.Errorf("%w: salt or sum", ErrSecret)
	}
	*s = Secret{n, salt, sum}
	return nil
}

// String hides the secret.
func (Secret) String() string { return "[hidden]" }

// Format hides it from every verb of fmt, %#v and %x among them.
func (Secret) Format(f fmt.State, _ rune) { f.Write([]byte("[hidden]")) }
