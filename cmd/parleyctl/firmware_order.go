package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"parley/cmd/parleyctl/fleet"
	"parley/mqtt"
	"parley/mqtt/wire"
)

// firmwareWish is what boxes are to run.
type firmwareWish struct {
	url       string
	downgrade bool
	wait      bool
	timeout   time.Duration
	version   string
	manifest  wire.Envelope
	key       ed25519.PrivateKey
	eid       string
}

func (w *firmwareWish) flags(flags *flag.FlagSet) {
	flags.StringVar(&w.url, "url", "", "where the image is: `http://…` or https://…")
	flags.BoolVar(&w.downgrade, "downgrade", false, "also if it is older than what runs, or the same")
	flags.BoolVar(&w.wait, "wait", true, "wait until it runs, or has failed")
	flags.DurationVar(&w.timeout, "timeout", time.Hour, "wait so `long`")
}

// read reads the manifest.
func (w *firmwareWish) read(path string) error {
	m, _, e, err := readManifest(path)
	if err != nil {
		return err
	}
	if len(e.Signatures) == 0 {
		return fmt.Errorf("%s is not signed: parleyctl firmware sign", path)
	}
	w.version, w.manifest = m.Version, e
	return nil
}

// sign makes a box's order. Its number is the time: it only grows, whoever gives orders.
func (w *firmwareWish) sign(box string, now time.Time) (uint64, []byte, error) {
	order := uint64(now.UnixMilli())
	b, err := wire.SignFwDesired(wire.FwDesired{Schema: wire.FwSchema, EID: w.eid, Box: box, Order: order, URL: w.url, Downgrade: w.downgrade,
		Manifest: w.manifest}, w.key)
	return order, b, err
}

func firmwareOrder(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("firmware order", flag.ContinueOnError)
	var b brokerFlags
	var w firmwareWish
	b.add(flags)
	w.flags(flags)
	keyFile := flags.String("signing-key", "", "`file` with the key to sign with (default: box.key in -data)")
	words, err := arguments(flags, args, "firmware order MANIFEST --url URL --box NAME [flags]", 1, 1)
	if err != nil {
		return err
	}
	if w.url == "" || b.box == "" {
		return wrong("firmware order needs --url and --box")
	}
	if err := w.read(words[0]); err != nil {
		return err
	}
	if *keyFile == "" {
		*keyFile = filepath.Join(b.data, "box.key")
	}
	if w.key, err = wire.LoadKey(*keyFile); err != nil {
		return err
	}
	w.eid = b.eid.of(b.data)
	return w.give(ctx, &b, []string{b.box})
}

func provisionUpdate(ctx context.Context, args []string) error {
	flags := newFlags("update")
	var w firmwareWish
	w.flags(flags)
	all := flags.Bool("all", false, "every box that has enrolled; DIR MANIFEST")
	words, err := arguments(flags, args, "provision update DIR BOX|--all MANIFEST --url URL [flags]", 2, 3)
	if err != nil {
		return err
	}
	if *all == (len(words) == 3) || w.url == "" {
		return wrong("provision update needs --url, and a BOX or --all")
	}
	f, err := fleet.Open(words[0])
	if err != nil {
		return err
	}
	if err := w.read(words[len(words)-1]); err != nil {
		return err
	}
	box := ""
	if len(words) == 3 {
		box = words[1]
	}
	chosen, err := chooseBoxes(f, box, "", "")
	if err != nil {
		return err
	}
	var boxes []string
	for _, row := range chosen {
		boxes = append(boxes, row["box"])
	}
	w.key, w.eid = f.Operator(), f.EID
	return w.give(ctx, &newLink(f).at, boxes)
}

// fwHeard is a report of a box.
type fwHeard struct {
	box string
	wire.FwReported
}

// give gives the order to boxes, and tells what becomes of it.
func (w *firmwareWish) give(ctx context.Context, at *brokerFlags, boxes []string) error {
	reports := make(chan fwHeard, 4096)
	var client *mqtt.Client
	prepare := func(c *mqtt.Client) error {
		client = c
		return c.Subscribe("/e/"+w.eid+"/box/+/fw/reported", func(m mqtt.Message) {
			var r wire.FwReported
			if wire.DecodeKnown(m.Payload, &r) == nil {
				select {
				case reports <- fwHeard{boxOf(m.Topic), r}:
				default: // the next one says more
				}
			}
		})
	}
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	return at.with(ctx, prepare, func(ctx context.Context) error {
		waits := map[string]*fwWait{}
		for _, box := range boxes {
			order, envelope, err := w.sign(box, time.Now())
			if err != nil {
				return err
			}
			names, err := wire.NewBox(w.eid, box)
			if err != nil {
				return err
			}
			if err := client.Publish(names.FwDesired(), envelope, 1, true); err != nil {
				return err
			}
			waits[box] = &fwWait{order: order, hash: wire.HashOf(envelope)}
			fmt.Printf("%s: ordered %s (order %d)\n", box, w.version, order)
		}
		look := time.NewTicker(10 * time.Millisecond)
		defer look.Stop()
		for client.Stats().Queued > 0 {
			select {
			case <-look.C:
			case <-ctx.Done():
				return gaveUp(ctx, "the broker did not take it: "+at.url)
			}
		}
		if !w.wait {
			return nil
		}
		return followFirmware(ctx, waits, reports)
	})
}

// fwWait is an order that was given.
type fwWait struct {
	order uint64
	hash  string // of the message
	said  string
	over  bool
}

// errSomeFailed: the reports have said which, and why.
var errSomeFailed = errors.New("not every box runs it")

// followFirmware prints what boxes report until each has come to an end.
func followFirmware(ctx context.Context, waits map[string]*fwWait, reports <-chan fwHeard) error {
	left, failed := len(waits), false
	for left > 0 {
		var r fwHeard
		select {
		case r = <-reports:
		case <-ctx.Done():
			var names []string
			for name, w := range waits {
				if !w.over {
					names = append(names, name)
				}
			}
			return gaveUp(ctx, "not heard of the end: "+strings.Join(names, ", "))
		}
		w := waits[r.box]
		if w == nil || w.over {
			continue
		}
		text, over, bad := fwLine(r.FwReported, w.order, w.hash)
		if text != "" && text != w.said {
			w.said = text
			fmt.Fprintf(os.Stdout, "%s  %s: %s\n", time.Now().Format("15:04:05"), r.box, harmless(text))
		}
		if over {
			w.over, failed = true, failed || bad
			left--
		}
	}
	if failed {
		return errSomeFailed
	}
	return nil
}

// fwLine says what a report tells of an order; over: nothing more comes.
func fwLine(r wire.FwReported, order uint64, hash string) (text string, over, bad bool) {
	if x := r.Rejected; x != nil && x.Hash == hash {
		return "refused: " + x.Reason + " " + x.Detail, true, true
	}
	if r.Order != order {
		return "", r.Order > order, true // a newer order has come between
	}
	text = r.State
	if r.State == wire.FwDownloading && r.Size > 0 {
		text += fmt.Sprintf(" %d %%", 100*r.Done/r.Size)
	}
	if r.State == wire.FwUpdated {
		text += ", " + r.Version + " runs in slot " + r.Running.Slot
	}
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	if r.Detail != "" {
		text += " (" + r.Detail + ")"
	}
	return text, r.State == wire.FwUpdated || r.State == wire.FwFailed, r.State == wire.FwFailed
}
