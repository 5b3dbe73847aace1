package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"

	"parley/mqtt"
)

// cmdWatch prints every message of the enterprise as it comes: time, R if it was kept by the broker, topic, payload.
func cmdWatch(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("watch", flag.ContinueOnError)
	var b brokerFlags
	b.add(flags)
	length := flags.Duration("for", 0, "stop after this `time`; 0: at ^C")
	if _, err := arguments(flags, args, "watch [flags]", 0, 0); err != nil {
		return err
	}
	filter := "/e/" + b.eid.of(b.data) + "/#"
	if b.box != "" {
		filter = "/e/" + b.eid.of(b.data) + "/box/" + b.box + "/#"
	}
	if *length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *length)
		defer cancel()
	}
	prepare := func(c *mqtt.Client) error {
		return c.Subscribe(filter, func(m mqtt.Message) {
			kept := " "
			if m.Retained {
				kept = "R"
			}
			fmt.Printf("%s %s %s %s\n", time.Now().Format("15:04:05.000"), kept, harmless(m.Topic), harmless(string(m.Payload)))
		})
	}
	fmt.Fprintf(os.Stderr, "watching %s at %s; ^C ends\n", filter, b.url)
	return b.with(ctx, prepare, func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})
}

// harmless shows what cannot be printed as a question mark: names in messages come from callers.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
