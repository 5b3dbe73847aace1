package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"parley/mqtt"
	"parley/mqtt/wire"
)

// cmdSupport fetches a support bundle: over HTTP with a token signed by the key beside the box, or, where a broker is named, by a signed
// command.
func cmdSupport(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("support", flag.ContinueOnError)
	var b brokerFlags
	b.add(flags)
	at := flags.String("http", "http://127.0.0.1:8080", "`URL` of the box's HTTP, which is asked unless -broker is given")
	tokenFile := flags.String("token", "", "`file` with an admin's token, instead of signing one")
	keyFile := flags.String("signing-key", "", "`file` with the key to sign the command with (default: box.key in -data)")
	to := flags.String("o", "", "`file` to write (default: support-BOX-TIME.txt.gz, or support-TIME.txt.gz)")
	if _, err := arguments(flags, args, "support [flags]", 0, 0); err != nil {
		return err
	}
	overMQTT := false
	flags.Visit(func(f *flag.Flag) { overMQTT = overMQTT || f.Name == "broker" })
	var bundle []byte
	var err error
	if overMQTT {
		bundle, err = b.support(ctx, *keyFile)
	} else {
		bundle, err = fetchSupport(ctx, *at, *tokenFile, b)
	}
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(bundle, []byte{0x1f, 0x8b}) {
		return errors.New("what came is no bundle")
	}
	if *to == "" {
		*to = strings.Join([]string{"support", b.box, time.Now().Format("20060102-150405") + ".txt.gz"}, "-")
		*to = strings.Replace(*to, "--", "-", 1)
	}
	if err := os.WriteFile(*to, bundle, 0o600); err != nil {
		return err
	}
	fmt.Printf("%s, %d bytes; zless shows it\n", *to, len(bundle))
	return nil
}

// maxBundle is the longest bundle that is taken.
const maxBundle = 1 << 20

func fetchSupport(ctx context.Context, at, tokenFile string, b brokerFlags) ([]byte, error) {
	d := &desk{data: b.data, eid: b.eid, as: "operator", role: "admin", tokenFile: tokenFile}
	shown, err := d.sign()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(at, "/")+"/api/v1/support", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+shown)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("no box answers at %s: %w (choose one with -http, or a broker with -broker)", at, errors.Unwrap(err))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the box answers %s", answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, maxBundle))
}

// support asks for a bundle by a signed command.
func (b *brokerFlags) support(ctx context.Context, keyFile string) ([]byte, error) {
	if keyFile == "" {
		keyFile = filepath.Join(b.data, "box.key")
	}
	key, err := wire.LoadKey(keyFile)
	if err != nil {
		return nil, fmt.Errorf("%w (choose the box's data folder with -data, or a key with -signing-key)", err)
	}
	command := wire.Command{ID: rand.Text(), EID: b.eid.of(b.data), Verb: wire.VerbSupport}
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	states, answers, bundles := make(chan heard, 1), make(chan wire.Answer, 4), make(chan []byte, 1)
	var client *mqtt.Client
	prepare := func(c *mqtt.Client) error {
		client = c
		box := b.box
		if box == "" {
			box = "+"
		}
		if err := listenForBox(c, *b, command.ID, states, answers); err != nil {
			return err
		}
		return c.Subscribe("/e/"+b.eid.of(b.data)+"/box/"+box+"/support", func(m mqtt.Message) {
			select {
			case bundles <- m.Payload:
			default:
			}
		})
	}
	var bundle []byte
	err = b.with(ctx, prepare, func(ctx context.Context) error {
		select {
		case box := <-states:
			command.Box, command.Sess, b.box = box.name, box.session, box.name
		case <-ctx.Done():
			return gaveUp(ctx, fmt.Sprintf("no box was heard of at %s under /e/%s", b.url, b.eid.of(b.data)))
		}
		command.Exp = time.Now().Add(time.Minute).Unix()
		envelope, err := wire.SignCommand(command, key)
		if err != nil {
			return err
		}
		names, err := wire.NewBox(b.eid.of(b.data), command.Box)
		if err != nil {
			return err
		}
		if err := client.Publish(names.Cmd(command.Verb), envelope, 1, false); err != nil {
			return err
		}
		if err := outcome(ctx, answers); err != nil {
			return err
		}
		select { // it was sent before the answer
		case bundle = <-bundles:
			return nil
		case <-ctx.Done():
			return gaveUp(ctx, "the bundle did not come")
		}
	})
	return bundle, err
}
