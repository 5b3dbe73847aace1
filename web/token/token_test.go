package token_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"parley/conference"
	"parley/web/token"
)

var now = time.Unix(1_900_000_000, 0).UTC()

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune('a'+n)), ed25519.SeedSize)))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func claims() token.Claims {
	return token.Claims{ID: "t-1", Issuer: token.LocalIssuer, Audience: []string{"local"}, Subject: "2001", Name: "Ann",
		Role: token.Host, IssuedAt: now, Expires: now.Add(time.Hour)}
}

func verifier(change func(*token.Config)) *token.Verifier {
	c := token.Config{Keys: []token.Key{{public(key(0)), token.LocalIssuer}}, Audience: []string{"local", "box-1"}, Now: func() time.Time { return now }}
	if change != nil {
		change(&c)
	}
	return token.NewVerifier(c)
}

func sign(t testing.TB, c token.Claims, k ed25519.PrivateKey) string {
	t.Helper()
	s, err := token.Sign(c, k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRoundTrip(t *testing.T) {
	c := claims()
	c.Limits = []conference.Right{conference.RightSee, conference.RightMute}
	c.Conference, c.Key, c.NotBefore = "1000", public(key(5)), now
	got, err := verifier(nil).Verify(sign(t, c, key(0)))
	got.IssuedAt, got.NotBefore, got.Expires = got.IssuedAt.UTC(), got.NotBefore.UTC(), got.Expires.UTC()
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("%v\n%+v\n%+v", err, got, c)
	}
	if len(got.Rights()) != 2 || got.Has(conference.RightKick) || !got.Has(conference.RightMute) {
		t.Error("the list narrows the role")
	}
	if !got.Covers("1000", "u") || !got.Covers("1", "1000") || got.Covers("1001", "u") || got.May("1001", "u") != nil || len(got.May("1000", "u")) != 2 {
		t.Error("another conference's right")
	}
}

func TestRoles(t *testing.T) {
	for role, rights := range map[token.Role]map[conference.Right]bool{
		token.Guest: {conference.RightFloor: true, conference.RightKick: false, conference.RightCreate: false},
		token.Host:  {conference.RightFloor: true, conference.RightKick: true, conference.RightCreate: true},
		token.Admin: {conference.RightFloor: true, conference.RightKick: true, conference.RightCreate: true},
	} {
		c := token.Claims{Role: role}
		for r, want := range rights {
			if c.Has(r) != want {
				t.Errorf("%s %s: %v", role, r, !want)
			}
		}
	}
	none := token.Claims{Role: token.Admin, Limits: []conference.Right{}}
	if len(none.Rights()) != 0 {
		t.Error("an empty list is no right at all")
	}
}

// Several keys count at once, so that one can follow another; an issuer has only its own.
func TestRotation(t *testing.T) {
	v := verifier(func(c *token.Config) {
		c.Keys = append(c.Keys, token.Key{public(key(1)), "hub"}, token.Key{Public: nil, Issuer: "hub"})
	})
	if _, err := v.Verify(sign(t, claims(), key(0))); err != nil {
		t.Error(err)
	}
	c := claims()
	if _, err := v.Verify(sign(t, c, key(1))); !errors.Is(err, token.ErrIssuer) {
		t.Errorf("the hub's key for the box's tokens: %v", err)
	}
	c.Issuer = "hub"
	if _, err := v.Verify(sign(t, c, key(1))); err != nil {
		t.Error(err)
	}
	if _, err := verifier(nil).Verify(sign(t, c, key(1))); !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("a key that was taken away: %v", err)
	}
}

// raw makes a token of any header and claims, signed by what is given.
func raw(header, body map[string]any, signer func(text []byte) []byte) string {
	b64 := base64.RawURLEncoding.EncodeToString
	h, _ := json.Marshal(header)
	b, _ := json.Marshal(body)
	text := b64(h) + "." + b64(b)
	return text + "." + b64(signer([]byte(text)))
}

func TestForged(t *testing.T) {
	kid := token.KeyID(public(key(0)))
	good := map[string]any{"iss": "parley", "aud": "local", "sub": "2001", "jti": "x", "role": "host", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	right := func(text []byte) []byte { return ed25519.Sign(key(0), text) }
	hs256 := func(text []byte) []byte { m := hmac.New(sha256.New, public(key(0))); m.Write(text); return m.Sum(nil) }
	none := func([]byte) []byte { return nil }
	type object = map[string]any
	for name, c := range map[string]struct {
		header object
		signer func([]byte) []byte
		want   error
	}{
		"as it should be":          {object{"alg": "EdDSA", "kid": kid, "typ": "JWT"}, right, nil},
		"alg none":                 {object{"alg": "none", "kid": kid}, none, token.ErrAlgorithm},
		"alg None":                 {object{"alg": "None", "kid": kid}, none, token.ErrAlgorithm},
		"no alg":                   {object{"kid": kid}, right, token.ErrAlgorithm},
		"HS256, the public key":    {object{"alg": "HS256", "kid": kid}, hs256, token.ErrAlgorithm},
		"RS256":                    {object{"alg": "RS256", "kid": kid}, right, token.ErrAlgorithm},
		"no signature":             {object{"alg": "EdDSA", "kid": kid}, none, token.ErrSignature},
		"another's key, that kid":  {object{"alg": "EdDSA", "kid": kid}, func(b []byte) []byte { return ed25519.Sign(key(1), b) }, token.ErrSignature},
		"another kid":              {object{"alg": "EdDSA", "kid": token.KeyID(public(key(1)))}, right, token.ErrUnknownKey},
		"no kid":                   {object{"alg": "EdDSA"}, right, token.ErrUnknownKey},
		"kid is a list":            {object{"alg": "EdDSA", "kid": []string{kid}}, right, token.ErrUnknownKey},
		"brings its key":           {object{"alg": "EdDSA", "kid": kid, "jwk": object{"kty": "OKP"}}, right, token.ErrAlgorithm},
		"wants to be understood":   {object{"alg": "EdDSA", "kid": kid, "crit": []string{"b64"}, "b64": false}, right, token.ErrAlgorithm},
		"is something else by typ": {object{"alg": "EdDSA", "kid": kid, "typ": "dpop+jwt"}, right, token.ErrAlgorithm},
	} {
		if _, err := verifier(nil).Verify(raw(c.header, good, c.signer)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}

	header := object{"alg": "EdDSA", "kid": kid}
	for _, c := range []struct {
		claim string
		value any
		want  error
	}{
		{"exp", nil, token.ErrLifetime},
		{"iat", nil, token.ErrLifetime},
		{"aud", nil, token.ErrAudience},
		{"exp", now.Add(-31 * time.Second).Unix(), token.ErrExpired},
		{"exp", now.Add(25 * time.Hour).Unix(), token.ErrLifetime},
		{"exp", 1e300, nil},
		{"exp", -1e300, nil},
		{"exp", "tomorrow", token.ErrMalformed},
		{"iat", now.Add(31 * time.Second).Unix(), token.ErrNotYet},
		{"iat", now.Add(-25 * time.Hour).Unix(), token.ErrLifetime},
		{"nbf", now.Add(time.Minute).Unix(), token.ErrNotYet},
		{"aud", "other", token.ErrAudience},
		{"aud", []string{"other", "another"}, token.ErrAudience},
		{"iss", "hub", token.ErrIssuer},
		{"iss", nil, token.ErrIssuer},
		{"sub", nil, token.ErrMalformed},
		{"sub", "a\r\nb", token.ErrMalformed},
		{"sub", "a/+/#", token.ErrMalformed},
		{"jti", nil, token.ErrMalformed},
		{"role", nil, token.ErrMalformed},
		{"role", "root", token.ErrMalformed},
		{"rights", []string{"see", "everything"}, token.ErrMalformed},
		{"rights", "see", token.ErrMalformed},
		{"conf", "1/2", token.ErrMalformed},
		{"name", strings.Repeat("x", 129), token.ErrMalformed},
		{"name", "a\nb", token.ErrMalformed},
		{"cnf", object{"jwk": object{"kty": "OKP", "crv": "Ed25519", "x": "AA"}}, token.ErrMalformed},
		{"cnf", object{"jwk": object{"kty": "EC", "crv": "Ed25519", "x": strings.Repeat("A", 43)}}, token.ErrMalformed},
		{"cnf", object{"jkt": "x"}, token.ErrMalformed},
	} {
		body := object{}
		for k, v := range good {
			body[k] = v
		}
		if body[c.claim] = c.value; c.value == nil {
			delete(body, c.claim)
		}
		_, err := verifier(nil).Verify(raw(header, body, right))
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s %v: %v, want %v", c.claim, c.value, err, c.want)
		}
	}
}

func TestTimes(t *testing.T) {
	s := sign(t, claims(), key(0))
	for at, want := range map[time.Duration]error{
		-31 * time.Second: token.ErrNotYet, -29 * time.Second: nil, 0: nil, time.Hour + 29*time.Second: nil, time.Hour + 30*time.Second: token.ErrExpired,
	} {
		v := verifier(func(c *token.Config) { c.Now = func() time.Time { return now.Add(at) } })
		if _, err := v.Verify(s); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", at, err, want)
		}
	}
	v := verifier(func(c *token.Config) { c.ClockSet = func() bool { return false } })
	if _, err := v.Verify(s); !errors.Is(err, token.ErrClockUnset) {
		t.Error(err)
	}
}

func TestRevoked(t *testing.T) {
	var list token.Revocations
	v := verifier(func(c *token.Config) { c.Revoked = &list })
	s := sign(t, claims(), key(0))
	if _, err := v.Verify(s); err != nil {
		t.Fatal(err)
	}
	list.Revoke("t-1", now.Add(time.Hour), now)
	if _, err := v.Verify(s); !errors.Is(err, token.ErrRevoked) {
		t.Error(err)
	}
	// What has ended is forgotten, and nothing else.
	list.Revoke("t-2", now.Add(3*time.Hour), now.Add(time.Hour+29*time.Second))
	if !list.Revoked("t-1") {
		t.Error("forgotten while it still holds")
	}
	list.Revoke("t-3", now.Add(3*time.Hour), now.Add(2*time.Hour))
	if list.Revoked("t-1") || !list.Revoked("t-2") || !list.Revoked("t-3") {
		t.Error("what has ended is forgotten")
	}
	for i := range 4100 {
		list.Revoke(fmt.Sprint(i), now.Add(4*time.Hour+time.Duration(i)*time.Second), now.Add(2*time.Hour))
	}
	if list.Revoked("t-2") || list.Revoked("0") || !list.Revoked("4099") || !list.Revoked("4") {
		t.Error("of too many, those go first that end first")
	}
}

func TestMalformed(t *testing.T) {
	s := sign(t, claims(), key(0))
	for _, bad := range []string{"", ".", "..", "...", "a.b.c", s + ".", s + "=", " " + s, s[:len(s)-10], strings.Repeat("a", 1<<20), s[1:], "null.null.null"} {
		if _, err := verifier(nil).Verify(bad); err == nil {
			t.Errorf("%.40q counts", bad)
		}
	}
	v := verifier(func(c *token.Config) { c.Audience = nil })
	if _, err := v.Verify(s); err == nil {
		t.Error("a verifier without an audience takes any")
	}
}

// Sign does not write what Verify would not read.
func TestSignRefuses(t *testing.T) {
	for name, change := range map[string]func(*token.Claims){
		"too long":                  func(c *token.Claims) { c.Expires = now.Add(25 * time.Hour) },
		"no end":                    func(c *token.Claims) { c.Expires = time.Time{} },
		"no subject":                func(c *token.Claims) { c.Subject = "" },
		"no role":                   func(c *token.Claims) { c.Role = "" },
		"a right that there is not": func(c *token.Claims) { c.Limits = []conference.Right{"fly"} },
	} {
		c := claims()
		change(&c)
		if s, err := token.Sign(c, key(0)); err == nil {
			t.Errorf("%s: %s", name, s)
		}
	}
	if _, err := token.Sign(claims(), nil); err == nil {
		t.Error("signed without a key")
	}
	c := claims()
	c.ID = ""
	a, _ := verifier(nil).Verify(sign(t, c, key(0)))
	b, _ := verifier(nil).Verify(sign(t, c, key(0)))
	if a.ID == "" || a.ID == b.ID {
		t.Error("each token has an id of its own")
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(sign(f, claims(), key(0)))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	v := verifier(nil)
	genuine := sign(f, claims(), key(0))
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := v.Verify(s); err == nil && s != genuine {
			// The fuzzer does not have the key.
			t.Fatalf("%q counts", s)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	v, s := verifier(nil), sign(b, claims(), key(0))
	for b.Loop() {
		if _, err := v.Verify(s); err != nil {
			b.Fatal(err)
		}
	}
}
