package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"parley/audio/record"
	"parley/mqtt"
	"parley/mqtt/wire"
)

// recordings lists the recordings of a box: id, begin and end of what is there in ms since 1970, and whether they are whole.
func recordings(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("recordings DATA-FOLDER")
	}
	folder := filepath.Join(args[0], "recordings")
	list, err := record.NewLibrary(folder, record.Limits{}).List()
	if err != nil {
		return err
	}
	for _, r := range list {
		state := "whole"
		if r.Running {
			state = "running"
		} else if err := record.Verify(filepath.Join(folder, r.ID)); err != nil {
			state = fmt.Sprintf("broken: %v", err)
		}
		fmt.Println(r.ID, r.Started.UnixMilli(), r.Started.Add(r.Length).UnixMilli(), state)
	}
	return nil
}

// now is the time in ms since 1970.
func now([]string) error {
	fmt.Println(time.Now().UnixMilli())
	return nil
}

// desired sends a box settings at its own broker, signed by its own key, and waits until it reports that it has them, or has refused them.
func desired(args []string) error {
	flags := flag.NewFlagSet("desired", flag.ExitOnError)
	data := flags.String("data", "/data", "the box's data `folder`")
	broker := flags.String("broker", "mqtt://127.0.0.1:1883", "`URL`")
	box := flags.String("box", "box-1", "its `name`")
	version := flags.Uint64("version", 1, "")
	confirm := flags.Int("confirm", 20, "`seconds`")
	settings := flags.String("settings", "{}", "`JSON`")
	patience := flags.Duration("for", time.Minute, "")
	flags.Parse(args)
	key, err := wire.LoadOrCreateKey(filepath.Join(*data, "box.key"))
	if err != nil {
		return err
	}
	names, err := wire.NewBox("local", *box)
	if err != nil {
		return err
	}
	envelope, err := wire.SignDesired(wire.Desired{
		Schema: wire.SettingsSchema, EID: "local", Box: *box, Version: *version, ConfirmS: *confirm, Settings: json.RawMessage(*settings),
	}, key)
	if err != nil {
		return err
	}
	client, err := mqtt.New(mqtt.Config{URL: *broker, ClientID: "guest", Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), *patience)
	defer stop()
	outcome := make(chan string, 1)
	err = client.Subscribe(names.Reported(), func(m mqtt.Message) {
		var r wire.Reported
		if json.Unmarshal(m.Payload, &r) != nil {
			return
		}
		said := ""
		switch {
		case r.Good != nil && r.Good.Version == *version:
			said = "good"
		case r.Rejected != nil && r.Rejected.Version == *version:
			said = "rejected " + r.Rejected.Reason
		}
		if said != "" {
			select {
			case outcome <- said:
			default:
			}
		}
	})
	if err != nil {
		return err
	}
	if err := client.Publish(names.Desired(), envelope, 1, true); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	defer func() { stop(); <-ended }()
	select {
	case said := <-outcome:
		fmt.Println(said)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("version %d is neither good nor refused after %v", *version, *patience)
	}
}
