package main

import (
	"crypto/ed25519"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"parley/conference"
	"parley/mqtt/wire"
	"parley/web/token"
)

func TestToken(t *testing.T) {
	data := t.TempDir()
	if _, err := newToken([]string{"-role", "host", "-data", data}, time.Now()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a token without a key: %v", err)
	}
	key, err := wire.CreateKey(filepath.Join(data, "token.key"))
	if err != nil {
		t.Fatal(err)
	}
	v := token.NewVerifier(token.Config{Keys: []token.Key{{Public: key.Public().(ed25519.PublicKey), Issuer: token.LocalIssuer}}, Audience: []string{"local"}})

	signed, err := newToken([]string{"--role", "host", "--ttl", "1h", "--data", data}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := v.Verify(signed)
	if err != nil || c.Role != token.Host || c.Subject != "operator" || c.Conference != "" || c.Expires.Sub(c.IssuedAt) != time.Hour ||
		!c.Has(conference.RightCreate) || c.Key != nil {
		t.Errorf("%v %+v", err, c)
	}

	member := filepath.Join(data, "2001.key")
	signed, err = newToken([]string{"-role", "guest", "-number", "2001", "-name", "Ann", "-conf", "1000", "-rights", "see, floor", "-key",
		filepath.Join(data, "token.key"), "-bind", member}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	holder, err := wire.LoadKey(member)
	if err != nil {
		t.Fatal(err)
	}
	c, err = v.Verify(signed)
	if err != nil || c.Subject != "2001" || c.Name != "Ann" || c.Conference != "1000" || len(c.Limits) != 2 || !c.Has(conference.RightFloor) ||
		!c.Key.Equal(holder.Public()) {
		t.Errorf("%v %+v", err, c)
	}

	for _, args := range [][]string{{}, {"-role", "host", "-ttl", "25h"}, {"-role", "host", "-ttl", "-1h"}, {"-role", "host", "more"}} {
		if _, err := newToken(append(args, "-data", data), time.Now()); !errors.Is(err, errUsage) {
			t.Errorf("%v: %v", args, err)
		}
	}
	for _, args := range [][]string{{"-role", "root"}, {"-role", "host", "-number", "a b"}, {"-role", "host", "-rights", "fly"}} {
		if s, err := newToken(append(args, "-data", data), time.Now()); err == nil {
			t.Errorf("%v: %s", args, s)
		}
	}
}
