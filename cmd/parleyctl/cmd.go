package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"parley/mqtt"
	"parley/mqtt/wire"
)

// errNotDone is a command that the box refused or failed; its answer has been printed.
var errNotDone = errors.New("not done")

// cmdCommand signs a command with the key of the box beside which it runs, sends it and waits for the outcome.
func cmdCommand(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("cmd", flag.ContinueOnError)
	var b brokerFlags
	b.add(flags)
	keyFile := flags.String("signing-key", "", "`file` with the key to sign with (default: box.key in -data)")
	patience := flags.Duration("timeout", 90*time.Second, "wait so long for the outcome")
	words, err := arguments(flags, args, "cmd VERB [ARGUMENT] [flags]", 1, 2)
	if err != nil {
		return err
	}
	command := wire.Command{ID: rand.Text(), EID: b.eid.of(b.data), Verb: wire.Verb(words[0])}
	if len(words) == 2 {
		switch command.Verb {
		case wire.VerbDial:
			command.Args.Number = words[1]
		case wire.VerbHangup:
			command.Args.Call = words[1]
		case wire.VerbFactoryReset:
			command.Args.Confirm = words[1]
		default:
			if command.Verb.Known() {
				return wrong("%s takes no argument", words[0])
			}
		}
	}
	if !command.Verb.Known() {
		return wrong("there is no verb %q; there are %v", words[0], wire.Verbs())
	}
	if *keyFile == "" {
		*keyFile = filepath.Join(b.data, "box.key")
	}
	key, err := wire.LoadKey(*keyFile)
	if err != nil {
		return fmt.Errorf("%w (choose the box's data folder with -data, or a key with -signing-key)", err)
	}
	ctx, cancel := context.WithTimeout(ctx, *patience)
	defer cancel()
	states, answers := make(chan heard, 1), make(chan wire.Answer, 4)
	var client *mqtt.Client
	prepare := func(c *mqtt.Client) error {
		client = c
		return listenForBox(c, b, command.ID, states, answers)
	}
	return b.with(ctx, prepare, func(ctx context.Context) error {
		select {
		case box := <-states:
			command.Box, command.Sess = box.name, box.session
		case <-time.After(10 * time.Second):
			return fmt.Errorf("no box was heard of at %s under /e/%s", b.url, b.eid.of(b.data))
		case <-ctx.Done():
			return gaveUp(ctx, fmt.Sprintf("no box was heard of at %s under /e/%s", b.url, b.eid.of(b.data)))
		}
		command.Exp = time.Now().Add(*patience + time.Second).Unix()
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
		return outcome(ctx, answers)
	})
}

// heard is a box that runs. Its session is signed with the command, which is void once the box has started again: whoever
// catches the message cannot send it a second time then.
type heard struct {
	name    string
	session uint64
}

// listenForBox hears the answers to our command, and which box there is if none was named.
func listenForBox(c *mqtt.Client, b brokerFlags, id string, states chan<- heard, answers chan<- wire.Answer) error {
	box := b.box
	if box == "" {
		box = "+"
	}
	root := "/e/" + b.eid.of(b.data) + "/box/" + box
	err := c.Subscribe(root+"/res/+", func(m mqtt.Message) {
		var a wire.Answer
		if wire.DecodeKnown(m.Payload, &a) == nil && a.ID == id {
			answers <- a
		}
	})
	if err != nil {
		return err
	}
	return c.Subscribe(root+"/state", func(m mqtt.Message) {
		var s wire.BoxState
		if wire.DecodeKnown(m.Payload, &s) != nil || s.State == wire.Lost || s.State == wire.Disconnected {
			return
		}
		select {
		case states <- heard{strings.Split(m.Topic, "/")[4], s.Sess}:
		default:
		}
	})
}

// outcome prints every answer until the last one.
func outcome(ctx context.Context, answers <-chan wire.Answer) error {
	for {
		select {
		case a := <-answers:
			text := string(a.Status)
			if a.Reason != "" {
				text += ": " + a.Reason
			}
			if a.Detail != "" {
				text += " (" + harmless(a.Detail) + ")"
			}
			fmt.Println(text)
			if a.Status == wire.Done {
				return nil
			}
			if a.Status != wire.Accepted {
				return errNotDone
			}
		case <-ctx.Done():
			return gaveUp(ctx, "the box did not answer in time")
		}
	}
}

// gaveUp is why nothing more is waited for: the time is over, or somebody has interrupted us.
func gaveUp(ctx context.Context, late string) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New(late)
	}
	return errors.New("interrupted: what came of the command is not known")
}
