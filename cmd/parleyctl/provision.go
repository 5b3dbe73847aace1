package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"parley/cmd/parleyctl/fleet"
)

// The central side of a fleet, played from a terminal: what it decides and keeps is package fleet's; here it is joined to the broker and to
// the operator.

// provisions stand in the order in which help shows them.
var provisions = []struct {
	word, args, help string
	run              func(context.Context, []string) error
}{
	{"init", "DIR --eid E --broker URL", "make keys, certificates, the broker's settings and the boot file", provisionInit},
	{"boot", "DIR [CARD]", "print the boot file, or write it onto a mounted card", provisionBoot},
	{"serve", "DIR", "answer boxes that ask to be taken in; keep this running", provisionServe},
	{"allow", "DIR SERIAL …", "these may enrol, by serial number or name; --file LIST for many", provisionAllow},
	{"deny", "DIR SERIAL …", "these may not any more; who has enrolled stays", provisionDeny},
	{"release", "DIR BOX …", "another key may take this box's place; its certificate is withdrawn", provisionRelease},
	{"boxes", "DIR", "a table of all boxes", provisionBoxes},
	{"set", "DIR BOX FILE.yaml", "tell a box its settings; --all or --group for many, with a table of values", provisionSet},
	{"update", "DIR BOX MANIFEST --url U", "have a box run other firmware, or --all; parleyctl firmware makes it", provisionUpdate},
	{"command", "DIR BOX VERB [ARG]", "have a box do something; the verbs are those of parleyctl cmd", provisionCommand},
	{"watch", "DIR [BOX]", "what happens at the fleet's boxes, as it comes", provisionWatch},
}

func provisionUsage(w io.Writer) {
	fmt.Fprint(w, "parleyctl provision: take boxes into an enterprise and tell them their settings\n\n")
	for _, p := range provisions {
		fmt.Fprintf(w, "  %-8s %-26s %s\n", p.word, p.args, p.help)
	}
	fmt.Fprint(w, "\nDIR is the fleet's folder. It holds the keys to all boxes: keep a copy, and nobody else in.\nEach has -h. docs/provisioning.md goes from nothing to a hundred boxes.\n")
}

func cmdProvision(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		provisionUsage(os.Stdout)
		return nil
	}
	for _, p := range provisions {
		if p.word == args[0] {
			return p.run(ctx, args[1:])
		}
	}
	fmt.Fprintf(os.Stderr, "parleyctl: provision has no command %q\n\n", args[0])
	provisionUsage(os.Stderr)
	return errUsage
}

func newFlags(word string) *flag.FlagSet {
	return flag.NewFlagSet("provision "+word, flag.ContinueOnError)
}

func provisionInit(_ context.Context, args []string) error {
	flags := newFlags("init")
	eid := flags.String("eid", "", "enterprise: `letters, digits, -`; it is the root of every topic")
	broker := flags.String("broker", "", "`URL` under which boxes reach the broker: mqtts://host:port")
	hosts := flags.String("hosts", "", "further names and addresses of it, for its certificate: a `list` with commas")
	words, err := arguments(flags, args, "provision init DIR --eid E --broker URL [flags]", 1, 1)
	if err != nil {
		return err
	}
	if *eid == "" || *broker == "" {
		return wrong("provision init needs --eid and --broker")
	}
	o := fleet.Options{EID: *eid, Broker: *broker, Now: time.Now()}
	for h := range strings.SplitSeq(*hosts, ",") {
		if h = strings.TrimSpace(h); h != "" {
			o.Hosts = append(o.Hosts, h)
		}
	}
	dir := words[0]
	if _, err := fleet.Create(dir, o); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: nothing was changed", err)
		}
		return err
	}
	fmt.Printf(`made fleet %s in %s
  the broker:        mosquitto -c %s
  for each SD card:  parleyctl provision boot %s CARD
  who may come:      parleyctl provision allow %s SERIAL …
  let them in:       parleyctl provision serve %s
`, *eid, dir, filepath.Join(dir, "broker", "mosquitto.conf"), dir, dir, dir)
	return nil
}

// bootPath is where a box looks for its boot file, from the root of the card's boot partition.
const bootPath = "parley/provision.yaml"

func provisionBoot(_ context.Context, args []string) error {
	words, err := arguments(newFlags("boot"), args, "provision boot DIR [CARD]", 1, 2)
	if err != nil {
		return err
	}
	f, err := fleet.Open(words[0])
	if err != nil {
		return err
	}
	text, err := f.BootFile()
	if err != nil {
		return err
	}
	if len(words) == 1 {
		_, err := os.Stdout.Write(text)
		return err
	}
	if info, err := os.Stat(words[1]); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is no folder: name the mounted boot partition of a card", words[1])
	}
	path := filepath.Join(words[1], filepath.FromSlash(bootPath))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := writeThrough(path, text); err != nil {
		return err
	}
	fmt.Println("wrote", path)
	return nil
}

// writeThrough writes a file that is on the card when it returns: cards are pulled out.
func writeThrough(path string, content []byte) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(content)
	if err == nil {
		err = out.Sync()
	}
	if e := out.Close(); err == nil {
		err = e
	}
	return err
}

// listed are names from the command line and from a file.
func listed(words []string, file string) ([]string, error) {
	if file == "" {
		if len(words) == 0 {
			return nil, wrong("name at least one, or a file with --file")
		}
		return words, nil
	}
	in := os.Stdin
	if file != "-" {
		var err error
		if in, err = os.Open(file); err != nil {
			return nil, err
		}
		defer in.Close()
	}
	b, err := io.ReadAll(io.LimitReader(in, 8<<20))
	if err != nil {
		return nil, err
	}
	more, err := fleet.ParseList(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return append(words, more...), nil
}

// onList is what allow and deny have in common.
func onList(word string, args []string, change func(*fleet.Fleet, []string) (int, error), tell string) error {
	flags := newFlags(word)
	file := flags.String("file", "", "`file` with one per line; - is standard input")
	words, err := arguments(flags, args, "provision "+word+" DIR SERIAL … [--file LIST]", 1, 1<<20)
	if err != nil {
		return err
	}
	f, err := fleet.Open(words[0])
	if err != nil {
		return err
	}
	names, err := listed(words[1:], *file)
	if err != nil {
		return err
	}
	n, err := change(f, names)
	if err != nil {
		return err
	}
	fmt.Printf(tell+"\n", n)
	return nil
}

func provisionAllow(_ context.Context, args []string) error {
	return onList("allow", args, (*fleet.Fleet).Allow, "%d more may enrol")
}

func provisionDeny(_ context.Context, args []string) error {
	return onList("deny", args, (*fleet.Fleet).Deny, "%d fewer may enrol")
}

func provisionRelease(_ context.Context, args []string) error {
	words, err := arguments(newFlags("release"), args, "provision release DIR BOX …", 2, 1<<20)
	if err != nil {
		return err
	}
	f, err := fleet.Open(words[0])
	if err != nil {
		return err
	}
	for _, box := range words[1:] {
		if err := f.Release(box, time.Now()); err != nil {
			return err
		}
		fmt.Printf("%s: another key may take its place while it is on the list\n", box)
	}
	fmt.Printf("the certificates they had count no more once mosquitto has read the list again: kill -HUP $(cat %s)\n", filepath.Join(words[0], "broker", "mosquitto.pid"))
	return nil
}
