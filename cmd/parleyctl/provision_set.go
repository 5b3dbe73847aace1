package main

import (
	"cmp"
	"context"
	"crypto/ecdh"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"parley/cmd/parley/config"
	"parley/cmd/parleyctl/fleet"
	"parley/mqtt/wire"
)

// A settings file becomes one document for each box: {{names}} are filled in, the outcome is checked as the box checks it, secrets are sealed.
// Only when all of them are good is the first one told.

// settingOrder is what the command line asks for.
type settingOrder struct {
	file    string
	text    string
	base    string // file with what the boxes have beneath
	confirm time.Duration
	targets []fleet.Values // a row for each box; "box" is its name
}

func provisionSet(ctx context.Context, args []string) error {
	flags := newFlags("set")
	confirm := flags.Duration("confirm", time.Minute, "a box that cannot be reached by then goes back to the settings before; a `time` from 3s to 1h")
	wait := flags.Bool("wait", false, "wait until each box has said what came of it")
	timeout := flags.Duration("timeout", 0, "with --wait: for so `long` (default: three times --confirm, and a minute)")
	all := flags.Bool("all", false, "every box that has enrolled; DIR FILE.yaml")
	group := flags.String("group", "", "the boxes whose row in --values has this `word` in the column group; DIR FILE.yaml")
	values := flags.String("values", "", "`table` (CSV) with a row for each box: {{column}} in FILE.yaml becomes what stands there")
	base := flags.String("base", "", "settings `file` that the boxes have beneath these, for the check")
	check := flags.Bool("check", false, "only check: tell nobody")
	words, err := arguments(flags, args, "provision set DIR [BOX] FILE.yaml [flags]", 2, 3)
	if err != nil {
		return err
	}
	if many := *all || *group != ""; many == (len(words) == 3) || *all && *group != "" || *group != "" && *values == "" {
		return wrong("say for whom: a BOX, or --all, or --group with --values")
	}
	if s := *confirm / time.Second; s < wire.LeastConfirm || s > wire.MostConfirm {
		return wrong("--confirm is from %ds to %ds", wire.LeastConfirm, wire.MostConfirm)
	}
	f, err := fleet.Open(words[0])
	if err != nil {
		return err
	}
	o := settingOrder{file: words[len(words)-1], base: *base, confirm: *confirm}
	if err := o.read(); err != nil {
		return err
	}
	box := ""
	if len(words) == 3 {
		box = words[1]
	}
	if o.targets, err = chooseBoxes(f, box, *group, *values); err != nil {
		return err
	}
	documents, err := o.documents(f)
	if err != nil {
		return err
	}
	if *check {
		fmt.Printf("%s: good for %s\n", o.file, count(len(documents), "box", "boxes"))
		return nil
	}
	if *timeout == 0 {
		*timeout = 3**confirm + time.Minute
	}
	return tellSettings(ctx, f, documents, *wait, *timeout)
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}

func (o *settingOrder) read() error {
	in, err := os.Open(o.file)
	if err != nil {
		return err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, config.MaxFile+1))
	o.text = string(b)
	return err
}

func readTable(file string) ([]fleet.Values, error) {
	if file == "" {
		return nil, nil
	}
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	rows, err := fleet.ReadValues(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return rows, nil
}

// chooseBoxes gives a row for each box that is meant.
func chooseBoxes(f *fleet.Fleet, box, group, table string) (targets []fleet.Values, err error) {
	rows, err := readTable(table)
	if err != nil {
		return nil, err
	}
	boxes, err := f.Boxes()
	if err != nil {
		return nil, err
	}
	used := make([]bool, len(rows))
	for _, b := range boxes {
		i := slices.IndexFunc(rows, func(v fleet.Values) bool { return v["box"] == b.Box || v["box"] == "" && v["serial"] == b.Serial })
		row := fleet.Values{}
		if i >= 0 {
			row, used[i] = rows[i], true
		}
		if meant := b.Box == box || box == "" && !b.Released && (group == "" || row["group"] == group); !meant {
			continue
		}
		row = maps.Clone(row)
		row["box"], row["serial"] = b.Box, b.Serial
		targets = append(targets, row)
	}
	for i, v := range rows {
		if !used[i] && box == "" && (group == "" || v["group"] == group) {
			fmt.Fprintf(os.Stderr, "%s has not enrolled: left out\n", harmless(cmp.Or(v["box"], v["serial"])))
		}
	}
	switch {
	case len(targets) > 0:
		return targets, nil
	case box != "":
		return nil, fmt.Errorf("%w: %s has not enrolled here", fleet.ErrUnknownBox, box)
	}
	return nil, errors.New("no box is meant")
}

// document is what one box is to be told.
type document struct {
	box      string
	settings json.RawMessage
	confirm  int
}

// maxTold is how many boxes' errors are printed.
const maxTold = 5

func (o *settingOrder) documents(f *fleet.Fleet) ([]document, error) {
	var list []document
	var wrong []string
	for _, v := range o.targets {
		settings, err := o.document(f, v)
		if err != nil {
			wrong = append(wrong, v["box"]+": "+err.Error())
			continue
		}
		list = append(list, document{box: v["box"], settings: settings, confirm: int(o.confirm / time.Second)})
	}
	if len(wrong) == 0 {
		return list, nil
	}
	text := strings.Join(wrong[:min(len(wrong), maxTold)], "\n")
	if more := len(wrong) - maxTold; more > 0 {
		text += fmt.Sprintf("\nand %d more", more)
	}
	return nil, fmt.Errorf("nobody was told anything:\n%s", text)
}

// document makes one box's settings, sealed, and has looked at them as the box will.
func (o *settingOrder) document(f *fleet.Fleet, v fleet.Values) (json.RawMessage, error) {
	box, err := f.Box(v["box"])
	if err != nil {
		return nil, err
	}
	key, err := box.SealKey()
	if err != nil {
		return nil, err
	}
	text, err := fleet.Fill(o.text, v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.file, err)
	}
	var layers []config.Layer
	if o.base != "" {
		l, err := config.ReadLayer(o.base)
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	// First as a file, so that what is wrong has its line; then as the box gets it.
	file := config.NewLayer(o.file, []byte(text))
	if _, err := config.ParseLayers(config.Sources{Env: os.Getenv}, append(layers, file)...); err != nil {
		return nil, err
	}
	plain := map[string]string{}
	made := fleet.Settings{Folder: filepath.Dir(o.file), Env: os.Getenv, Secrets: config.Secrets(), Seal: sealer(key, f.EID, v["box"], plain)}
	settings, err := made.JSON([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.file, err)
	}
	unseal := func(path, _ string) (string, error) { return plain[path], nil }
	sent := config.Layer{Name: o.file, Data: settings, Outside: true}
	if _, err := config.ParseLayers(config.Sources{Env: os.Getenv, Unseal: unseal}, append(layers, sent)...); err != nil {
		return nil, err
	}
	return settings, nil
}

// sealer seals to a box's key, and notes in plain what it has sealed.
func sealer(key *ecdh.PublicKey, eid, box string, plain map[string]string) func(path, secret string) (string, error) {
	return func(path, secret string) (string, error) {
		plain[path] = secret
		return wire.Seal(key, wire.Place{EID: eid, Box: box, Key: path}, []byte(secret))
	}
}

// tellSettings publishes each document under the next version of its box, and waits for what becomes of it.
func tellSettings(ctx context.Context, f *fleet.Fleet, documents []document, wait bool, timeout time.Duration) error {
	l := newLink(f)
	reports := make(chan boxReport, 4096)
	known := map[string]wire.Reported{}
	if len(documents) == 1 {
		names, err := f.Topics(documents[0].box)
		if err != nil {
			return err
		}
		l.subs[names.Reported()] = listenReports(reports)
	} else {
		l.subs["/e/"+f.EID+"/box/+/config/reported"] = listenReports(reports)
	}
	return l.run(ctx, func(ctx context.Context) error {
		start, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if err := l.caughtUp(start); err != nil {
			return err
		}
		for done := false; !done; {
			select {
			case r := <-reports:
				known[r.box] = r.Reported
			default:
				done = true
			}
		}
		told := map[string]*awaited{}
		for _, d := range documents {
			version, envelope, err := f.Sign(d.box, fleet.Order{Settings: d.settings, ConfirmS: d.confirm, Above: newest(known[d.box])})
			if err != nil {
				return fmt.Errorf("%s: %w", d.box, err)
			}
			names, err := f.Topics(d.box)
			if err != nil {
				return err
			}
			if err := l.client.Publish(names.Desired(), envelope, 1, true); err != nil {
				return fmt.Errorf("%s: %w", d.box, err)
			}
			told[d.box] = &awaited{version: version, hash: wire.HashOf(envelope)}
			if len(documents) == 1 || !wait {
				fmt.Printf("%s: told version %d\n", d.box, version)
			}
		}
		if err := l.delivered(ctx); err != nil {
			return err
		}
		if !wait {
			return nil
		}
		return awaitReports(ctx, told, reports, timeout)
	})
}
