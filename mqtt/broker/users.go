package broker

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// users holds who may come in. The zero set lets everybody in.
type users struct {
	byName map[string]secret
	nobody secret // is compared for names that are not there, so that the time tells nothing
}

// secret is a password as PBKDF2 with SHA-512 (RFC 8018) leaves it, mosquitto's form $7$.
type secret struct {
	salt, sum []byte
	rounds    int
}

const (
	hashPrefix = "$7$"
	rounds     = 2000 // of our own: about 2 ms on a small ARM core, since a box checks it with sound running
	maxRounds  = 200_000
	saltSize   = 16
)

// HashPassword gives a password in the form in which settings keep it; it is the form of mosquitto_passwd, too.
func HashPassword(password string) string {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	s := newSecret(password, salt, rounds, sha512.Size)
	return fmt.Sprintf("%s%d$%s$%s", hashPrefix, s.rounds, base64.StdEncoding.EncodeToString(s.salt), base64.StdEncoding.EncodeToString(s.sum))
}

func newSecret(password string, salt []byte, rounds, size int) secret {
	sum, err := pbkdf2.Key(sha512.New, password, salt, rounds, size)
	if err != nil { // only for sizes that are not used here
		sum = nil
	}
	return secret{salt: salt, sum: sum, rounds: rounds}
}

func (s secret) is(password string) bool {
	got := newSecret(password, s.salt, s.rounds, len(s.sum))
	return len(s.sum) > 0 && subtle.ConstantTimeCompare(got.sum, s.sum) == 1
}

func newUsers(list map[string]string) (*users, error) {
	u := &users{byName: map[string]secret{}, nobody: newSecret("", make([]byte, saltSize), rounds, sha512.Size)}
	for name, password := range list {
		if name == "" || len(name) > maxLogin || strings.ContainsAny(name, "/+#") {
			return nil, fmt.Errorf("%w: user %q must have 1 to %d characters, and none of / + #", ErrConfig, name, maxLogin)
		}
		if password == "" || len(password) > maxLogin {
			return nil, fmt.Errorf("%w: user %s: the password must have 1 to %d characters", ErrConfig, name, maxLogin)
		}
		if !strings.HasPrefix(password, hashPrefix) {
			password = HashPassword(password)
		}
		s, err := parseSecret(password)
		if err != nil {
			return nil, fmt.Errorf("%w: user %s: %w", ErrConfig, name, err)
		}
		u.byName[name] = s
	}
	return u, nil
}

func parseSecret(s string) (secret, error) {
	bad := fmt.Errorf("a password hash is %srounds$salt$sum, with at most %d rounds", hashPrefix, maxRounds)
	parts := strings.Split(strings.TrimPrefix(s, hashPrefix), "$")
	if len(parts) != 3 {
		return secret{}, bad
	}
	n, err := strconv.Atoi(parts[0])
	if err != nil || n < 1 || n > maxRounds {
		return secret{}, bad
	}
	salt, err1 := base64.StdEncoding.DecodeString(parts[1])
	sum, err2 := base64.StdEncoding.DecodeString(parts[2])
	if err1 != nil || err2 != nil || len(salt) == 0 || len(sum) != sha512.Size {
		return secret{}, bad
	}
	return secret{salt: salt, sum: sum, rounds: n}, nil
}

// admits tells whether somebody with that name and password may come in.
func (u *users) admits(name, password string) bool {
	if len(u.byName) == 0 {
		return true
	}
	s, known := u.byName[name]
	if !known {
		s = u.nobody
	}
	return s.is(password) && known
}
