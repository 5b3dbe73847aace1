package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"parley/conference"
	"parley/mqtt/wire"
	"parley/web/token"
)

// cmdToken prints a token, signed with the key that the box beside which it runs has made at its first start.
func cmdToken(_ context.Context, args []string) error {
	signed, err := newToken(args, time.Now())
	if err == nil {
		fmt.Println(signed)
	}
	return err
}

func newToken(args []string, now time.Time) (string, error) {
	flags := flag.NewFlagSet("token", flag.ContinueOnError)
	role := flags.String("role", "", "`guest`, host or admin")
	ttl := flags.Duration("ttl", time.Hour, "how long it holds, 24h at most")
	number := flags.String("number", "operator", "whose it is: a `number` as a rule")
	name := flags.String("name", "", "the holder's `name`, for people")
	conf := flags.String("conf", "", "the only conference for which it counts: `number or uid`")
	rights := flags.String("rights", "", "these rights and no others, whatever the role has: a `list` with commas")
	var eid enterprise
	eid.add(flags)
	data := flags.String("data", "data", "the box's data `folder`, which holds its key")
	keyFile := flags.String("key", "", "`file` with the key to sign with (default: token.key in -data)")
	bind := flags.String("bind", "", "`file` with the key that the holder signs commands over MQTT with; made if it is not there")
	if _, err := arguments(flags, args, "token -role ROLE [flags]", 0, 0); err != nil {
		return "", err
	}
	c := token.Claims{Issuer: token.LocalIssuer, Audience: []string{eid.of(*data)}, Subject: *number, Name: *name, Role: token.Role(*role),
		Conference: *conf, IssuedAt: now.Truncate(time.Second), Expires: now.Truncate(time.Second).Add(*ttl)}
	if *rights != "" {
		for r := range strings.SplitSeq(*rights, ",") {
			c.Limits = append(c.Limits, conference.Right(strings.TrimSpace(r)))
		}
	}
	switch {
	case *role == "":
		return "", wrong("say for whom: -role guest, host or admin")
	case *ttl < time.Second || *ttl > token.MaxLifetime:
		return "", wrong("-ttl is from 1s to %s", token.MaxLifetime)
	}
	if *keyFile == "" {
		*keyFile = filepath.Join(*data, "token.key")
	}
	key, err := wire.LoadKey(*keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w (the box makes it when it starts: choose its data folder with -data, or a key with -key)", err)
	}
	if err != nil {
		return "", err
	}
	if *bind != "" {
		holder, err := wire.LoadOrCreateKey(*bind)
		if err != nil {
			return "", err
		}
		c.Key = holder.Public().(ed25519.PublicKey)
	}
	return token.Sign(c, key)
}
