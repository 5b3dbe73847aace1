// Answers to challenges (RFC 3261, 22; RFC 8760).

package sip

import (
	"fmt"
	"strings"

	gosip "github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// Auth is what we answer a challenge with.
type Auth struct {
	User     string
	Password string
}

// credentials are an Auth that remembers whether it was refused.
type credentials struct {
	Auth
	tries int
	realm map[string]bool // those answered: to be asked again there means that the password is wrong
}

// maxChallenges bounds how often one request is sent again with an answer.
const maxChallenges = 3

func newCredentials(a Auth) *credentials {
	if a.User == "" {
		return nil
	}
	return &credentials{Auth: a}
}

// challenged reports whether res asks for credentials.
func challenged(res *gosip.Response) bool {
	return res != nil && (res.StatusCode == 401 || res.StatusCode == 407)
}

// answer puts into req what res asks for. An error means that there is nothing more to try.
func (c *credentials) answer(req *gosip.Request, res *gosip.Response) error {
	ask, reply := "WWW-Authenticate", "Authorization"
	if res.StatusCode == 407 {
		ask, reply = "Proxy-Authenticate", "Proxy-Authorization"
	}
	if c == nil {
		return fmt.Errorf("%w: no credentials", ErrState)
	}
	if c.tries++; c.tries > maxChallenges {
		return fmt.Errorf("%w: credentials refused", ErrState)
	}
	chal := strongest(res.GetHeaders(ask))
	if chal == nil {
		return fmt.Errorf("%w: no challenge that we can answer", ErrState)
	}
	if c.realm[chal.Realm] && !chal.Stale {
		return fmt.Errorf("%w: credentials refused", ErrState)
	}
	if c.realm == nil {
		c.realm = make(map[string]bool)
	}
	c.realm[chal.Realm] = true
	cred, err := digest.Digest(chal, digest.Options{
		Method: string(req.Method), URI: req.Recipient.String(), Username: c.User, Password: c.Password,
	})
	if err != nil {
		return fmt.Errorf("sip: digest: %w", err)
	}
	for req.RemoveHeader(reply) {
	}
	req.AppendHeader(gosip.NewHeader(reply, cred.String()))
	return nil
}

// strongest is the best of several challenges that we can answer: SHA before MD5 (RFC 8760, 2.4).
func strongest(headers []gosip.Header) *digest.Challenge {
	var best *digest.Challenge
	for i, h := range headers {
		if i == 8 || len(h.Value()) > maxHeader {
			break
		}
		c, err := digest.ParseChallenge(h.Value())
		if err != nil || !digest.CanDigest(c) || (len(c.QOP) > 0 && !c.SupportsQOP("auth")) {
			continue
		}
		c.Algorithm = strings.ToUpper(c.Algorithm)
		if best == nil || strings.HasPrefix(c.Algorithm, "SHA") && !strings.HasPrefix(best.Algorithm, "SHA") {
			best = c
		}
	}
	return best
}

// again is the same credentials for another request, nil if there are none.
func (c *credentials) again() *credentials {
	if c == nil {
		return nil
	}
	return &credentials{Auth: c.Auth}
}
