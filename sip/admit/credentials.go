package admit

import (
	"errors"
	"strconv"
	"strings"
)

var (
	errOtherScheme = errors.New("admit: another scheme than Digest")
	errCredentials = errors.New("admit: malformed credentials")
)

// maxCredentials bounds an Authorization value, in octets; maxParams its parameters.
const (
	maxCredentials = 2048
	maxParams      = 24
)

// credentials is a Digest Authorization value (RFC 7616 §3.4).
type credentials struct {
	username, realm, nonce, uri, response string
	algorithm                             string // "MD5" or "SHA-256"; another one stays as it came
	cnonce, opaque, qop                   string
	nc                                    uint32
	ncText                                string // as it goes into the hash
}

// parseCredentials reads one value. Nothing may be missing that the hash needs, no parameter may come twice, and none may
// hold a control character.
func parseCredentials(s string) (credentials, error) {
	var c credentials
	if len(s) > maxCredentials {
		return c, errCredentials
	}
	scheme, rest, _ := strings.Cut(strings.TrimLeft(s, " \t"), " ")
	if !strings.EqualFold(scheme, "Digest") {
		return c, errOtherScheme
	}
	fields := map[string]*string{"username": &c.username, "realm": &c.realm, "nonce": &c.nonce, "uri": &c.uri, "response": &c.response,
		"algorithm": &c.algorithm, "cnonce": &c.cnonce, "opaque": &c.opaque, "qop": &c.qop, "nc": &c.ncText}
	seen := make(map[string]bool)
	for {
		rest = strings.TrimLeft(rest, " \t")
		name, value, after, ok := nextParam(rest)
		name = strings.ToLower(name)
		if !ok || seen[name] || len(seen) == maxParams {
			return c, errCredentials
		}
		seen[name] = true
		if field := fields[name]; field != nil {
			*field = value
		}
		after = strings.TrimLeft(after, " \t")
		if after == "" {
			break
		}
		if after[0] != ',' {
			return c, errCredentials
		}
		rest = after[1:]
	}
	for _, must := range []string{"username", "realm", "nonce", "uri", "response"} {
		if !seen[must] || *fields[must] == "" {
			return c, errCredentials
		}
	}
	return c, c.complete()
}

// complete fills in what has a default and checks that qop, nc and cnonce come together (RFC 7616 §3.4).
func (c *credentials) complete() error {
	switch {
	case c.algorithm == "" || strings.EqualFold(c.algorithm, "MD5"):
		c.algorithm = "MD5"
	case strings.EqualFold(c.algorithm, "SHA-256"):
		c.algorithm = "SHA-256"
	}
	if c.qop == "" {
		if c.ncText != "" || c.cnonce != "" {
			return errCredentials
		}
		return nil
	}
	n, err := strconv.ParseUint(c.ncText, 16, 32)
	if err != nil || len(c.ncText) != 8 || n == 0 || c.cnonce == "" {
		return errCredentials
	}
	c.nc = uint32(n)
	return nil
}

// nextParam takes name=value or name="value" off the front of s.
func nextParam(s string) (name, value, after string, ok bool) {
	i := 0
	for i < len(s) && tokenChar(s[i]) {
		i++
	}
	name, s = s[:i], strings.TrimLeft(s[i:], " \t")
	if name == "" || s == "" || s[0] != '=' {
		return "", "", "", false
	}
	s = strings.TrimLeft(s[1:], " \t")
	if s == "" {
		return "", "", "", false
	}
	if s[0] != '"' {
		i = 0
		for i < len(s) && tokenChar(s[i]) {
			i++
		}
		return name, s[:i], s[i:], i > 0
	}
	var b strings.Builder
	for i = 1; i < len(s); i++ {
		switch ch := s[i]; {
		case ch == '"':
			return name, b.String(), s[i+1:], true
		case ch == '\\':
			if i++; i == len(s) || s[i] < ' ' || s[i] == 0x7f {
				return "", "", "", false
			}
			b.WriteByte(s[i])
		case ch < ' ' && ch != '\t' || ch == 0x7f:
			return "", "", "", false
		default:
			b.WriteByte(ch)
		}
	}
	return "", "", "", false
}

func tokenChar(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("-.!%*_+`'~", c) >= 0
}
